"""Which version this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def installed_version() -> str:
    """The version of the installed distribution; `unknown` when run from a bare tree."""
    try:
        return version("restock")
    except PackageNotFoundError:
        return "unknown"
