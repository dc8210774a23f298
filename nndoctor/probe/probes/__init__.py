"""One module a probe; each registers its function under its code."""
