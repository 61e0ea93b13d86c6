"""A small shop to watch: seeded events in, the worker's answers on a screen."""
