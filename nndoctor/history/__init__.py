"""Check-ups over time: the log that `--log` appends to, and what got better or worse between two of its lines."""
