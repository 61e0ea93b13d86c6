"""What the rows of a shelf know together: read while a closing runs, told by each row that closes, settled once.

A closing wake begins with `freeze`: what was settled last is what its rows read, and what outlooks read until the next
closing begins. Each slice `tell`s what its rows said; when the wake has passed every row, `settle` makes of it what the
next closing will read. Rows are settled in the order of their names, whichever slices they closed in and however they
were numbered: so neither slices, batches nor the interleaving of partitions show.

Kept in the section `shared`: `now:NAME` and `next:NAME` the arrays of the family, each with its type and shape (numpy's
.npy), as a family may begin new ones while it learns; `told:N` what slices of an unfinished closing said, in as
many parts as there were slices. Once the closing is over nothing is told: it is settled.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from agents.planner.records import in_order
from models.demand import baseline
from models.demand.contract import Between, Family, Shared, Told, go_on

Rows = npt.NDArray[np.int64]
Changes = dict[bytes, bytes | None]


class Learnt(NamedTuple):
    """A settling that was computed ahead: of which parts, of how many of them, and what came of it."""

    parts: list[tuple[Rows, Told]]
    slices: int
    shared: Shared


class Commons(Protocol):
    """See the module."""

    shared: Shared

    def freeze(self) -> None:
        """A closing begins."""

    def tell(self, rows: Rows, told: Told) -> None:
        """Rows closed, in one slice of it, and said this."""

    def settle(self, keys: Sequence[bytes]) -> None:
        """Every row has closed; `keys` are all rows' names, by number."""

    def know(self, keys: Sequence[bytes]) -> None:
        """`keys` are the rows' names, by number: so that the first settling need not put them in order."""

    def unsettled(self) -> int:
        """How many rows told something that is not settled."""

    def settling(self, keys: Sequence[bytes], between: Between = go_on) -> Callable[[], Learnt]:
        """What a settling would compute, to be called anywhere, in another thread too: it touches nothing of ours.

        `between` is called between its steps, as the family's contract has it.
        """

    def take(self, learnt: Learnt) -> bool:
        """It was computed: the settling that follows uses it, if nobody told anything since. Whether that is so."""

    def meta(self) -> dict[bytes, bytes]:
        """What of it is kept with the shelf's own numbers."""

    def pack_changes(self) -> Changes:
        """What of it changed in the section `shared`, and forget that it did."""

    def forget_kept(self) -> None:
        """The ledger holds nothing of it any more: all of it is to be written."""

    def fields(self) -> set[bytes]:
        """Every field of the section the ledger may hold of it."""

    def replace(self, fields: set[bytes]) -> None:
        """It begins where another was, of which the ledger may hold `fields`."""

    def load(self, meta: Mapping[bytes, bytes], section: Mapping[bytes, bytes]) -> None:
        """As it was kept."""


class Counted:
    """Version 1: the baseline's counts of errors. They commute, so they are added as they come."""

    def __init__(self) -> None:
        self.shared = baseline.FAMILY.fresh_shared()
        self.next = np.zeros_like(self.shared["pool"])

    def freeze(self) -> None:
        """See Commons."""
        self.shared = {"pool": baseline.fade_pool(self.shared["pool"] + self.next)}
        self.next = np.zeros_like(self.next)

    def tell(self, rows: Rows, told: Told) -> None:  # noqa: ARG002 the port's
        """See Commons."""
        self.next = self.next + baseline.counts(told)

    def settle(self, keys: Sequence[bytes]) -> None:
        """Nothing is left to do."""

    def know(self, keys: Sequence[bytes]) -> None:
        """Names do not matter."""

    def unsettled(self) -> int:
        """None ever is."""
        return 0

    def settling(self, keys: Sequence[bytes], between: Between = go_on) -> Callable[[], Learnt]:  # noqa: ARG002
        """Nothing is left to do."""
        return lambda: Learnt([], 0, self.shared)

    def take(self, learnt: Learnt) -> bool:  # noqa: ARG002 the port's
        """Nothing is left to do."""
        return True

    def meta(self) -> dict[bytes, bytes]:
        """See Commons."""
        return {b"pool": self.shared["pool"].tobytes(), b"pool_next": self.next.tobytes()}

    def pack_changes(self) -> Changes:
        """Nothing is kept there."""
        return {}

    def forget_kept(self) -> None:
        """Nothing is kept there."""

    def fields(self) -> set[bytes]:
        """None."""
        return set()

    def replace(self, fields: set[bytes]) -> None:
        """It is the first."""
        assert not fields

    def load(self, meta: Mapping[bytes, bytes], section: Mapping[bytes, bytes]) -> None:  # noqa: ARG002
        """See Commons."""
        shape = self.next.shape
        self.shared = {"pool": np.frombuffer(meta[b"pool"], np.int64).reshape(shape).copy()}
        self.next = np.frombuffer(meta[b"pool_next"], np.int64).reshape(shape).copy()


class Settled:
    """From version 2 on: any family's shared arrays."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.shared = self.next = family.fresh_shared()
        self._told: list[tuple[Rows, Told]] = []
        self._learnt: Learnt | None = None
        self._kept_told = 0  # of these, so many are in the ledger
        self._gone_told = 0  # and so many that were settled since still are
        self._changed = [(b"now:", self.shared), (b"next:", self.next)]
        self._replaced: set[bytes] = set()
        self._by_name: list[int] = []  # rows in the order of their names
        self._ranks: Rows = np.zeros(0, np.int64)

    def freeze(self) -> None:
        """See Commons."""
        assert not self._told, "a closing begins before the one before it is settled"
        self.shared = self.next
        self._changed.append((b"now:", self.shared))

    def tell(self, rows: Rows, told: Told) -> None:
        """See Commons."""
        self._told.append((np.array(rows), told))

    def settle(self, keys: Sequence[bytes]) -> None:
        """See Commons."""
        if not self._told:
            return
        ahead = self._learnt
        if ahead is None or not self._holds(ahead):
            ahead = self.settling(keys)()
        self.next, self._learnt = ahead.shared, None
        self._changed.append((b"next:", self.next))
        self._gone_told = max(self._gone_told, self._kept_told)
        self._told, self._kept_told = [], 0

    def know(self, keys: Sequence[bytes]) -> None:
        """See Commons."""
        self._rank(keys)

    def unsettled(self) -> int:
        """See Commons."""
        return sum(len(rows) for rows, _ in self._told)

    def settling(self, keys: Sequence[bytes], between: Between = go_on) -> Callable[[], Learnt]:
        """See Commons."""
        parts, count, ranks = self._told, len(self._told), self._rank(keys)
        shared, settle = self.shared, self.family.settle

        def learn() -> Learnt:
            places = ranks[np.concatenate([rows for rows, _ in parts[:count]])]
            told = in_order([told for _, told in parts[:count]], places, between)
            return Learnt(parts, count, settle(shared, told, between))

        return learn

    def take(self, learnt: Learnt) -> bool:
        """See Commons."""
        self._learnt = learnt
        return self._holds(learnt)

    def _holds(self, learnt: Learnt) -> bool:
        return learnt.parts is self._told and learnt.slices == len(self._told)

    def _rank(self, keys: Sequence[bytes]) -> Rows:
        """The place of each row among all by name, (n,). Rows only come: few new ones are sorted into many known."""
        if len(self._by_name) < len(keys):
            self._by_name.extend(range(len(self._by_name), len(keys)))
            self._by_name.sort(key=keys.__getitem__)
            self._ranks = np.empty(len(keys), np.int64)
            self._ranks[self._by_name] = np.arange(len(keys))
        return self._ranks

    def meta(self) -> dict[bytes, bytes]:
        """Nothing is kept there."""
        return {}

    def pack_changes(self) -> Changes:
        """See Commons."""
        out: Changes = dict.fromkeys(self._replaced)
        for head, arrays in self._changed:
            out.update({head + name.encode(): _packed(array) for name, array in arrays.items()})
        out.update(dict.fromkeys(map(_told_name, range(self._gone_told))))
        for i in range(self._kept_told, len(self._told)):
            rows, told = self._told[i]
            out[_told_name(i)] = len(rows).to_bytes(4, "little") + rows.tobytes() + told.tobytes()
        self._changed, self._gone_told, self._kept_told = [], 0, len(self._told)
        self._replaced = set()
        return out

    def forget_kept(self) -> None:
        """See Commons."""
        self._changed = [(b"now:", self.shared), (b"next:", self.next)]
        self._kept_told, self._gone_told, self._replaced = 0, 0, set()

    def fields(self) -> set[bytes]:
        """See Commons."""
        told = {_told_name(i) for i in range(max(self._gone_told, self._kept_told))}
        names = {b"now:" + n.encode() for n in self.shared} | {b"next:" + n.encode() for n in self.next}
        return told | self._replaced | names

    def replace(self, fields: set[bytes]) -> None:
        """See Commons."""
        self._replaced = fields

    def load(self, meta: Mapping[bytes, bytes], section: Mapping[bytes, bytes]) -> None:  # noqa: ARG002
        """See Commons."""
        self.shared, self.next = (
            {
                name.removeprefix(head).decode(): np.load(io.BytesIO(raw), allow_pickle=False)
                for name, raw in sorted(section.items())
                if name.startswith(head)
            }
            for head in (b"now:", b"next:")
        )
        fresh = self.family.fresh_shared()
        for kept in (self.shared, self.next):  # which may have more: normal equations come with the first lessons
            for name, array in fresh.items():
                if kept and (name not in kept or kept[name].shape != array.shape):
                    raise ValueError(f"what rows know together lacks {name!r} of shape {array.shape}")
        names = sorted(name for name in section if name.startswith(b"told:"))
        self._told = [self._told_of(section[name]) for name in names]
        self._changed, self._gone_told, self._kept_told = [], 0, len(names)

    def _told_of(self, raw: bytes) -> tuple[Rows, Told]:
        n = int.from_bytes(raw[:4], "little")
        return np.frombuffer(raw, np.int64, n, 4), np.frombuffer(raw, self.family.told, n, 4 + 8 * n)


def _told_name(i: int) -> bytes:
    return b"told:%08d" % i


def _packed(array: npt.NDArray[Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()
