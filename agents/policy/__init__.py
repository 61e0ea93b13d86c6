"""One multiplier over all rows, told as policies."""
