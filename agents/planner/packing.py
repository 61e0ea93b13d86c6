"""Rows as bytes: the numbers a row packs to, and its closed days with the forecaster's state.

Packed hot values: row number and version (u32), the numbers of that version, then what few rows have. Packed model:
version (u8), closed days, forecaster state.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from agents.planner import versions
from agents.planner.config import HISTORY_DAYS
from models.demand.contract import Family, State

Rows = npt.NDArray[np.int64]

HOT = versions.VERSIONS[-1].hot
NUMBER_BITS = 24  # of the number before a packed row; the rest is its version less one
HEAD = 4  # bytes of both
STATE_FROM = 1 + HISTORY_DAYS * 8  # where forecaster state begins in a packed model


def numbers(version: int, rows: Rows, hot: npt.NDArray[np.void]) -> tuple[bytes, int]:
    """The packed numbers of rows, `hot` (n,) of them, one after the other; and the bytes of each."""
    packed = versions.packed_layout(version, HOT, hot)
    n, size = len(rows), HEAD + packed.dtype.itemsize
    whole = np.empty((n, size), np.uint8)
    whole[:, :HEAD] = (rows | (version - 1) << NUMBER_BITS).astype("<u4").view(np.uint8).reshape(n, HEAD)
    whole[:, HEAD:] = packed.view(np.uint8).reshape(n, size - HEAD)
    return whole.tobytes(), size


def models(version: int, family: Family, history: Rows, state: State) -> list[bytes]:
    """The packed model of each row."""
    n, size = len(state), STATE_FROM + family.row.itemsize
    whole = np.empty((n, size), np.uint8)
    whole[:, 0] = version
    whole[:, 1:STATE_FROM] = history.view(np.uint8).reshape(n, STATE_FROM - 1)
    whole[:, STATE_FROM:] = state.view(np.uint8).reshape(n, size - STATE_FROM)
    blob = whole.tobytes()
    return [blob[at : at + size] for at in range(0, len(blob), size)]


def models_of(packed: list[bytes], family: Family) -> tuple[Rows, State]:
    """Closed days (n, HISTORY_DAYS) and state (n,) of packed models of one version."""
    whole = np.frombuffer(b"".join(packed), np.uint8).reshape(len(packed), -1)
    history = np.ascontiguousarray(whole[:, 1:STATE_FROM]).view(np.int64)
    state = np.ascontiguousarray(whole[:, STATE_FROM:]).view(family.row.base)
    return history, state.reshape(len(packed), *family.row.shape)


def unpacked(hot: bytes) -> tuple[Any, bytes]:
    """The numbers of a packed row, a record of HOT whatever version packed it; and what few rows have."""
    kept = versions.version((int.from_bytes(hot[:HEAD], "little") >> NUMBER_BITS) + 1).hot
    numbers, tail = np.frombuffer(hot, kept, 1, HEAD), hot[HEAD + kept.itemsize :]
    if kept == HOT:
        return numbers[0], tail
    whole = np.zeros(1, HOT)
    for name in kept.names or ():
        whole[name] = numbers[name]
    return whole[0], tail
