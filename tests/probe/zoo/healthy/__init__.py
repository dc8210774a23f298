"""Models that train well: no probe may report any of them."""
