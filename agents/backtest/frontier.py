"""Service against stock: one way to forecast, under one policy, at every level that might be asked of it.

A single level says little: who holds more serves more. So each method is simulated at levels from 50 to 99.8 %, and
methods are compared at equal total fill rate, read off the curve between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agents.backtest.history import Floats, Ints
from agents.backtest.plan import Plan
from agents.planner.plan import LEVELS
from models.stock import reorder
from models.stock.portfolio import QuantileCurve
from models.stock.simulation import Days, Money, Service, Shop, Thresholds, cycles_kept, service, simulate

ASKED = np.array(
    [0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.965, 0.975, 0.985, 0.99, 0.995, 0.998, 0.9995, 0.99999]
)
FILL_TARGETS = (0.90, 0.95, 0.98, 0.99)


@dataclass(frozen=True)
class Curve:
    """Levels asked (P,), and what came of each: (P,) of everything a planner weighs."""

    asked: Floats
    fill_rate: Floats
    cycle_service: Floats
    stock_units: Floats
    stock_money: Floats

    def stock_at(self, fill_rate: float, *, money: bool = False) -> float:
        """Mean stock at a total fill rate: straight in the logarithm of what is lost. NaN beyond the curve."""
        stock = self.stock_money if money else self.stock_units
        lost = np.log(np.maximum(1.0 - self.fill_rate, 1e-6))
        order = np.argsort(lost)
        wanted = np.log(max(1.0 - fill_rate, 1e-6))
        if not lost.min() <= wanted <= lost.max():
            return float("nan")
        return float(np.exp(np.interp(wanted, lost[order], np.log(np.maximum(stock[order], 1e-9)))))


def thresholds(plan: Plan, quantiles: Floats, mean: Floats, level: Floats | float) -> Thresholds:
    """What the planner would set at `level` (one, or (E, n)): quantiles (E, n, K) and mean (E, n) over the wait."""
    shape = mean.shape
    asked = np.broadcast_to(np.asarray(level, dtype=np.float64), shape).reshape(-1)
    point = QuantileCurve(LEVELS, quantiles.reshape(-1, quantiles.shape[2])).at(asked)[0].reshape(shape)
    step = min(max(plan.pack_milli, 1), 1000)
    whole = reorder.to_milli_up(np.maximum(point, 0.0), step)
    cover = plan.cover if plan.cover >= 0 else max(plan.review, plan.set_cover)
    return Thresholds(whole, whole + reorder.to_milli_up(mean / plan.wait * cover, step))


def run_at(plan: Plan, shop: Shop, quantiles: Floats, mean: Floats, level: Floats | float) -> Days:
    """The shop's days at one level."""
    return simulate(shop, thresholds(plan, quantiles, mean, level))


def curve(plan: Plan, shop: Shop, quantiles: Floats, mean: Floats, money: Money, periods_year: float) -> Curve:
    """The whole frontier, one quantile for all rows."""
    served = [service(run_at(plan, shop, quantiles, mean, a), shop.demand, money, periods_year) for a in ASKED]
    return curve_of(ASKED, served)


def curve_of(asked: Floats, served: list[Service]) -> Curve:
    """A curve from what came of each level."""

    def column(name: str) -> Floats:
        return np.array([getattr(s, name) for s in served])

    return Curve(
        asked, column("fill_rate"), column("cycle_service"), column("mean_stock_units"), column("mean_stock_money")
    )


def kept_by(days: Days, group: npt.NDArray[np.str_]) -> dict[str, tuple[int, float]]:
    """Cycles and the share of them without a stock-out, a group of rows."""
    counts, kept = cycles_kept(days)
    out = {}
    for name in sorted(set(group.tolist())):
        here: Ints = np.flatnonzero(group == name)
        total = int(counts[here].sum())
        out[name] = (total, float(kept[here].sum() / total) if total else 1.0)
    return out
