"""What will happen: columns kept by the step they are due in, so that a million of them cost what a few arrays cost."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt

from agents.shop.config import STEP_MS
from agents.shop.draws import Ints

Columns = dict[str, npt.NDArray[Any]]


class Agenda:
    """Entries by what they are and the step they are due in; within one, in the order they were put."""

    def __init__(self) -> None:
        self._due: dict[tuple[str, int], list[Columns]] = defaultdict(list)

    def put(self, what: str, steps: Ints, **columns: npt.NDArray[Any]) -> None:
        """Note entries (n,), each due in its step."""
        if len(steps) == 0:
            return
        order = np.argsort(steps, kind="stable")
        sorted_steps = steps[order]
        cuts = np.flatnonzero(np.diff(sorted_steps)) + 1
        for begin, end in zip([0, *cuts.tolist()], [*cuts.tolist(), len(steps)], strict=True):
            part = order[begin:end]
            self._due[what, int(sorted_steps[begin])].append({name: column[part] for name, column in columns.items()})

    def take(self, what: str, step: int) -> Columns | None:
        """What is due in a step, and not noted any more; None where nothing is."""
        parts = self._due.pop((what, step), None)
        if parts is None:
            return None
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def step_after(at_ms: Ints) -> Ints:
    """The first step that begins at or after an instant.

    >>> step_after(np.array([0, 1, STEP_MS])).tolist()
    [0, 1, 1]
    """
    return -(-at_ms // STEP_MS)
