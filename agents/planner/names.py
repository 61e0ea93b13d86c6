"""Names as numbers, for arrays: of categories and locations. The numbers are nowhere kept, the hashes may be."""

from __future__ import annotations

from zlib import crc32

import numpy as np
import numpy.typing as npt


class Names:
    """Names numbered in order of first use.

    >>> places = Names()
    >>> places.number("berlin"), places.number("rome"), places.number("berlin"), places[1]
    (0, 1, 0, 'rome')
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        """The number of a name."""
        number = self._numbers.setdefault(name, len(self._names))
        if number == len(self._names):
            self._names.append(name)
        return number

    def __getitem__(self, number: int) -> str:
        return self._names[number]

    def hashes(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """A number each name has for ever (CRC-32), by its number of today."""
        return np.array([crc32(name.encode()) for name in self._names], np.int64)[numbers]
