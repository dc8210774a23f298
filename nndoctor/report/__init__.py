"""The reporters: they know Report, Finding and the catalogue, and nothing of how findings come about."""
