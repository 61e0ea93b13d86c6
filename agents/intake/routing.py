"""The shelf of each row, by its SKU."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from agents.intake.hashing import murmur2
from models.demand.compiled import COMPILES, kernel
from stream.events.partition import shelf_of

EVERY_SHELF: Final = -1


def shelves_of(sku: pa.Array, shelves: int) -> npt.NDArray[np.int32]:
    """The shelf of each of these SKUs, as `stream.events.partition.shelf_of`; EVERY_SHELF where it is empty.

    >>> shelves_of(pa.array(["A1", "", "A1"]), 4).tolist() == [shelf_of("A1", 4), -1, shelf_of("A1", 4)]
    True
    """
    if COMPILES:
        _, ends, data = sku.buffers()
        if data is None:
            return np.full(len(sku), EVERY_SHELF, np.int32)
        out = np.empty(len(sku), np.int32)
        of_rows = np.frombuffer(ends, np.int32)[sku.offset : sku.offset + len(sku) + 1]
        _shelves(np.frombuffer(data, np.uint8), of_rows, shelves, out)
        return out
    coded = pc.dictionary_encode(sku)  # looked up once a different SKU
    known = [shelf_of(name, shelves) if name else EVERY_SHELF for name in coded.dictionary.to_pylist()]
    return np.array(known, np.int32)[coded.indices.to_numpy()] if known else np.empty(0, np.int32)


@kernel
def _shelves(data: npt.NDArray[np.uint8], ends: Any, shelves: int, out: npt.NDArray[np.int32]) -> None:
    for i in range(len(out)):
        size = ends[i + 1] - ends[i]
        out[i] = murmur2(data, ends[i], size) % shelves if size > 0 else EVERY_SHELF


def warm() -> None:
    """Compile the loop, or load what is kept."""
    shelves_of(pa.array(["A1"]), 1)
