"""Many small networks and the few rows that couple them: the one shape every problem of this room is brought into.

Flow goes round: out of a block's root along *give* arcs (what leaving costs), over lanes, and back along *take* arcs
(what arriving is worth, a negative cost). Doing nothing is always lawful and costs nothing, so a plan is never worse.
What *must* arrive is a required arc: it is paid so well that it is left short only where nothing else is possible, and
what is missing is the shortfall.

A block is one SKU. Blocks share nothing but the coupling rows `usage @ flow <= limit` (a lane's capacity, the budget).
Without them a vertex is whole wherever the widths are whole: packs need no rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

TOLERANCE = 1e-6  # HiGHS's own feasibility tolerance is 1e-7


@dataclass(frozen=True)
class Circulation:
    """m arcs in blocks, r coupling rows; flows lie between 0 and `upper`.

    `block` (m,) never falls: arcs of one block lie together. Node numbers belong to one block only. `upper` is whole.
    """

    tail: Ints
    head: Ints
    upper: Floats
    cost: Floats  # money a unit of flow; less is better
    block: Ints
    required: Bools
    usage: sparse.csr_array  # (r, m), not negative
    limit: Floats  # (r,)

    def __post_init__(self) -> None:
        assert np.all(np.diff(self.block) >= 0), "arcs of one block lie together"
        assert np.all(np.isfinite(self.upper)), "every arc has a finite width"
        assert self.usage.shape == (len(self.limit), len(self.tail)), "one column an arc"

    @property
    def reward(self) -> float:
        """What a unit on a required arc is paid: more than any way through one block can cost."""
        if not np.any(self.required):
            return 0.0
        nodes_most = int(np.bincount(np.searchsorted(np.unique(self.block), self.block)).max()) + 1
        return 1.0 + min(nodes_most, 64) * float(np.abs(self.cost).max(initial=0.0))

    def paid(self) -> Floats:
        """Costs with the reward of required arcs taken off, shape (m,)."""
        return self.cost - self.reward * self.required

    def short(self, flow: Floats) -> Floats:
        """What is missing on required arcs, shape (m,)."""
        return np.where(self.required, self.upper - flow, 0.0)

    def with_upper(self, upper: Floats) -> Circulation:
        """The same problem with other widths."""
        return replace(self, upper=upper)


@dataclass(frozen=True)
class Flow:
    """An answer. `cost + reward * shortfall >= bound` always; equal where the answer is proved best.

    `prices` (r,): what one more unit of a row's limit would save. Zero where a row does not bind.
    """

    units: Floats  # (m,)
    cost: float
    bound: float  # of cost + reward * shortfall
    shortfall: float
    prices: Floats
    method: str
    rounds: int = 1
    proven: bool = True

    @property
    def feasible(self) -> bool:
        """Whether everything required arrives."""
        return self.shortfall <= TOLERANCE


def answer(c: Circulation, units: Floats, bound: float | None, method: str, **more: Any) -> Flow:
    """A Flow from its arc flows; the bound is the answer's own value where it is proved best (None)."""
    missing = float(c.short(units).sum())
    cost = float(c.cost @ units)
    own = cost + c.reward * missing
    prices = more.pop("prices", np.zeros(len(c.limit)))
    return Flow(units, cost, own if bound is None else min(bound, own), missing, prices, method, **more)


def no_rows(arcs: int) -> sparse.csr_array:
    """The usage matrix of a problem without coupling."""
    return sparse.csr_array((0, arcs))


def balance(c: Circulation, units: Floats) -> Floats:
    """Inflow less outflow at each node; zero everywhere in a circulation."""
    nodes = int(max(c.tail.max(initial=-1), c.head.max(initial=-1))) + 1
    net: Floats = np.bincount(c.head, units, nodes).astype(float) - np.bincount(c.tail, units, nodes)
    return net


def used(c: Circulation, units: Floats) -> Floats:
    """What each coupling row uses, shape (r,)."""
    return np.asarray(c.usage @ units, dtype=np.float64)
