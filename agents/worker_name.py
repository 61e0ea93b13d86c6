"""What a worker calls itself in the consumer group: who finishes an upgrade must know whom it would shut out."""

from __future__ import annotations

import re

from agents.planner import versions
from agents.version import installed_version

_NAME = re.compile(r"restock-(?P<release>.+)-decides-(?P<version>\d+)")


def client_id() -> str:
    """The name of this code's workers.

    >>> _NAME.fullmatch(client_id()) is not None
    True
    """
    return f"restock-{installed_version()}-decides-{versions.NEWEST}"


def lacks(name: str, version: int) -> bool:
    """Whether a worker of this name lacks a version; release 0.1.0 calls itself by Faust's name.

    >>> [lacks(name, 2) for name in ("faust-0.15.3", "restock-0.1.1-decides-1", "restock-0.3.0-decides-3")]
    [True, True, False]
    """
    said = _NAME.fullmatch(name)
    return said is None or int(said["version"]) < version
