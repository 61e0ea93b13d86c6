"""The command line of a release that has one version more than this code: it decides otherwise from a switch on.

python -m tests.connected.newer WORDS...     # as `restock WORDS...`
"""

from __future__ import annotations

import sys

import numpy as np

from agents.planner import versions
from agents.planner.shelf import Shelf
from agents.planner.versions import Version

NEXT = versions.NEWEST + 1


def forget(shelf: Shelf) -> None:
    """The errors learnt so far are forgotten: quantiles are others from here on."""
    shelf.pool = np.zeros_like(shelf.pool)


def register() -> None:
    """Have the version."""
    last = versions.VERSIONS[-1]
    versions.VERSIONS = (*versions.VERSIONS, Version(NEXT, "next", "errors begin anew", last.hot, last.family, forget))
    versions.NEWEST = NEXT


if __name__ == "__main__":
    register()
    from agents.cli import main

    sys.exit(main(sys.argv[1:]))
