"""A simulated shop whose truth is known: see README.md beside this file."""
