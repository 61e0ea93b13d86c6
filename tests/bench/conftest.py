"""Benchmarks are run by `make bench`, not collected; what peers import is not installed here."""

collect_ignore_glob = ["peers/*"]
