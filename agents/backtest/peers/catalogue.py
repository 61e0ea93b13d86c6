"""The peers by name, and what `--compare` runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from agents.backtest.history import History
from agents.backtest.methods import Method, Sums
from agents.backtest.peers import rules
from agents.backtest.plan import Plan

Rule = Callable[[History, int, int, int], Sums]

RULES: dict[str, Rule] = {
    "textbook": rules.textbook,
    "empirical": rules.empirical,
    "static, yearly": partial(rules.static, monthly=False),
    "static, monthly": partial(rules.static, monthly=True),
}


def horizons_of(plan: Plan) -> list[int]:
    """What every method forecasts: the report's horizons, and the wait of an order."""
    return sorted({*plan.horizons, plan.wait})


def rule_methods(history: History, plan: Plan) -> Iterator[Method]:
    """Rules, on all rows and at every origin."""
    every = np.arange(history.rows)
    for name, rule in RULES.items():
        sums = {h: rule(history, plan.first, plan.last, h) for h in horizons_of(plan)}
        yield Method(name, sums, every)
