"""Hash -> sequence number, in one open table: a lookup is one place in memory, whatever is kept.

Linear probing; what leaves is taken out and what was pushed past it moves back, so that nothing dead is ever walked and
the table is made anew only as it grows. 16 B a place, at least a third of which are taken once there are thousands.
Hashes are expected to be even, as xxh3's are.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.demand.compiled import kernel

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]

LEAST_PLACES = 4_096


class HashIndex:
    """Numbers from 0 on by hash; of one hash the latest.

    >>> index = HashIndex()
    >>> index.add(np.array([7, 9, 7], np.uint64), np.array([0, 1, 2]))
    >>> index.remove(np.array([7, 9], np.uint64), np.array([0, 1]))
    >>> index.find(np.array([7, 9], np.uint64)).tolist(), len(index)
    ([2, -1], 1)
    """

    def __init__(self) -> None:
        self.table: Ints = np.zeros((LEAST_PLACES, 2), np.int64)  # hash, number + 1; 0: free
        self._taken = 0

    def make_room(self, more: int) -> None:
        """There will be so many more hashes at most."""
        places = len(self.table)
        while 3 * (self._taken + more) > 2 * places:
            places *= 2
        if places > len(self.table):
            old, self.table = self.table, np.zeros((places, 2), np.int64)
            _move(old, self.table)

    def add(self, hashes: Hashes, numbers: Ints) -> None:
        """Add entries; a hash may come more than once, with numbers that only grow."""
        self.make_room(len(hashes))
        self.took(_add(self.table, hashes.view(np.int64), numbers))

    def took(self, more: int) -> None:
        """Somebody else has added so many hashes to `table`."""
        self._taken += more

    def find(self, hashes: Hashes) -> Ints:
        """The latest number of each hash, -1 where it is unknown; shape (n,)."""
        found = np.empty(len(hashes), np.int64)
        _find(self.table, hashes.view(np.int64), found)
        return found

    def remove(self, hashes: Hashes, numbers: Ints) -> None:
        """Forget these hashes, but where a later number took the place of this one."""
        self._taken -= _remove(self.table, hashes.view(np.int64), numbers)

    def __len__(self) -> int:
        return self._taken


@kernel
def place_of(table: Ints, hash: int) -> int:
    """Where a hash is, or the free place where it would be."""
    mask = len(table) - 1
    at = hash & mask
    while table[at, 1] != 0 and table[at, 0] != hash:
        at = (at + 1) & mask
    return at


@kernel
def _move(old: Ints, table: Ints) -> None:
    for i in range(len(old)):
        if old[i, 1] != 0:
            at = place_of(table, old[i, 0])
            table[at, 0], table[at, 1] = old[i, 0], old[i, 1]


@kernel
def _find(table: Ints, hashes: Ints, found: Ints) -> None:
    for i in range(len(hashes)):
        found[i] = table[place_of(table, hashes[i]), 1] - 1


@kernel
def _add(table: Ints, hashes: Ints, numbers: Ints) -> int:
    """How many of the hashes are new."""
    new = 0
    for i in range(len(hashes)):
        at = place_of(table, hashes[i])
        new += table[at, 1] == 0
        table[at, 0], table[at, 1] = hashes[i], numbers[i] + 1
    return new


@kernel
def _remove(table: Ints, hashes: Ints, numbers: Ints) -> int:
    """How many were taken out."""
    gone, mask = 0, len(table) - 1
    for i in range(len(hashes)):
        free = place_of(table, hashes[i])
        if table[free, 1] != numbers[i] + 1:
            continue
        gone += 1
        at = (free + 1) & mask
        while table[at, 1] != 0:
            if (at - (table[at, 0] & mask)) & mask >= (at - free) & mask:  # it wanted the free place, or one before
                table[free, 0], table[free, 1] = table[at, 0], table[at, 1]
                free = at
            at = (at + 1) & mask
        table[free, 0], table[free, 1] = 0, 0
    return gone


def warm() -> None:
    """Compile the loops, or load what is kept."""
    index, one = HashIndex(), np.ones(1, np.uint64)
    index.make_room(LEAST_PLACES)
    index.add(one, np.zeros(1, np.int64))
    index.find(one)
    index.remove(one, np.zeros(1, np.int64))
