"""The command line of a release that has one version more than this code: it decides otherwise from a switch on.

python -m tests.connected.newer WORDS...     # as `restock WORDS...`
"""

from __future__ import annotations

import sys

from agents.planner import versions
from agents.planner.versions import Version

NEXT = versions.NEWEST + 1


def register() -> None:
    """Have the version: what rows know together begins anew with it, so quantiles are others from here on."""
    last = versions.VERSIONS[-1]
    versions.VERSIONS = (*versions.VERSIONS, Version(NEXT, "next", "errors begin anew", last.hot, last.family))
    versions.NEWEST = NEXT


if __name__ == "__main__":
    register()
    from agents.cli import main

    sys.exit(main(sys.argv[1:]))
