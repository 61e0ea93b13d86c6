"""Names of a shelf's keys in Redis; the table is in docs/ARCHITECTURE.md, "Keys in Redis".

The shelf number is a hash tag, so that everything one script touches lives on one node of a cluster.
"""

from __future__ import annotations

import re

from stream.ledger.port import SECTIONS


class Keys:
    """Key names within one namespace.

    >>> Keys("shop").stock(3, "a@b")
    'shop:{3}:stock:a@b'
    """

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self._shelf_of = re.compile(re.escape(namespace) + r":\{(\d+)\}:own")

    def of(self, shelf: int, name: str) -> str:
        """A key of a shelf: own, place, out or a section."""
        return f"{self.namespace}:{{{shelf}}}:{name}"

    def stock(self, shelf: int, row: str) -> str:
        """The readable hash of a row, `row` being its sku@location."""
        return f"{self.namespace}:{{{shelf}}}:stock:{row}"

    def source(self, topic: str, partition: int) -> str:
        """Intake's progress on one source partition."""
        return f"{self.namespace}:source:{topic}:{partition}"

    def snapshot(self) -> str:
        """When the newest snapshot was taken."""
        return f"{self.namespace}:snapshot"

    def sections(self, shelf: int) -> list[str]:
        """The keys of the state sections, in the order the scripts expect."""
        return [self.of(shelf, name) for name in SECTIONS]

    def glob(self, shelf: str, name: str) -> str:
        """A SCAN pattern; characters of the namespace that mean something in a pattern are quoted."""
        quoted = re.sub(r"([*?\[\]^\\])", r"\\\1", self.namespace)
        return f"{quoted}:{{{shelf}}}:{name}"

    def shelf_of(self, own_key: str) -> int | None:
        """The shelf an `own` key belongs to; None for a key that only looks like one."""
        found = self._shelf_of.fullmatch(own_key)
        return int(found[1]) if found else None
