"""Padded sequences: what of the padding counts in the loss."""
