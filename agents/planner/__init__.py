"""Rows to state, replenishments and alerts."""
