"""Seeded worlds under seeded faults: see README.md."""
