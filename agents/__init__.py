"""Decides: the one place where stream and models meet."""
