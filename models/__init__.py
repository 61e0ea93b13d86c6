"""Computes: arrays in, arrays out. No clock, no randomness, no I/O."""
