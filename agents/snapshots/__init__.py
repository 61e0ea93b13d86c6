"""Copies of shelves outside Redis, and shelves made from them and the log."""
