"""Service against stock: one way to forecast, under one policy, at every level that might be asked of it.

A single level says little: who holds more serves more. So each method is simulated at levels from 10 to 99.999 %, and
methods are compared at equal total fill rate, read off the curve between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agents.backtest.history import Floats, Ints
from agents.backtest.methods import Sums
from agents.backtest.plan import Plan
from agents.planner.plan import LEVELS
from models.stock import reorder
from models.stock.portfolio import LOWEST_LEVEL, QuantileCurve
from models.stock.simulation import Money, Service, Shop, Thresholds, service, simulate

LOW = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85]
ASKED = np.array([*LOW, 0.9, 0.925, 0.95, 0.965, 0.975, 0.985, 0.99, 0.995, 0.998, 0.9995, 0.99999])
FILL_TARGETS = (0.8, 0.85, 0.9, 0.95, 0.98, 0.99)


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


class Held:
    """What a method says of demand over the wait, at E origins of n rows, ready to be read at any level."""

    def __init__(self, plan: Plan, made: Sums, rows: Ints) -> None:
        mean, quantiles = made.mean[:, rows], made.quantiles[:, rows]
        self.plan, self.shape = plan, mean.shape
        self.step = min(max(plan.pack_milli, 1), 1000)
        self.curve = QuantileCurve(LEVELS, quantiles.reshape(-1, quantiles.shape[2]))
        cover = plan.cover if plan.cover >= 0 else max(plan.review, plan.set_cover)
        self.beyond = reorder.to_milli_up(mean / plan.wait * cover, self.step)

    def thresholds(self, level: Floats | float) -> Thresholds:
        """What the planner would set at `level`: one for all, one a row (n,), or (E, n)."""
        asked = np.broadcast_to(np.asarray(level, dtype=np.float64), self.shape).reshape(-1)
        point = self.curve.at(asked)[0].reshape(self.shape)
        whole = reorder.to_milli_up(np.maximum(point, 0.0), self.step)
        return Thresholds(whole, whole + self.beyond)


def curve(shop: Shop, held: Held, money: Money, periods_year: float) -> Curve:
    """The whole frontier, one quantile for all rows."""
    return _curve(shop, held, money, periods_year, list(ASKED))


def one_price_curve(shop: Shop, held: Held, money: Money, periods_year: float) -> Curve:
    """The frontier of one price of money over all rows: dear ones are held for less service (`models.stock.portfolio`).

    `ASKED` are the levels of a row of usual cost. With equal costs it is the frontier of one quantile.
    """
    usual = float(np.exp(np.log(np.maximum(money.cost, 1e-9)).mean()))
    odds = [(1.0 - asked) / asked for asked in ASKED]
    levels = [np.clip(1.0 / (1.0 + o * money.cost / usual), LOWEST_LEVEL, ASKED[-1]) for o in odds]
    return _curve(shop, held, money, periods_year, levels)


def _curve(shop: Shop, held: Held, money: Money, periods_year: float, levels: Sequence[Floats | float]) -> Curve:
    served = [service(simulate(shop, held.thresholds(a)), shop.demand, money, periods_year) for a in levels]
    return curve_of(ASKED, served)


def curve_of(asked: Floats, served: list[Service]) -> Curve:
    """A curve from what came of each level."""

    def column(name: str) -> Floats:
        return np.array([getattr(s, name) for s in served])

    return Curve(
        asked, column("fill_rate"), column("cycle_service"), column("mean_stock_units"), column("mean_stock_money")
    )
