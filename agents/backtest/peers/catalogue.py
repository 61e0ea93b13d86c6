"""The peers by name, and what `--compare` runs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from agents.backtest.history import History, Ints
from agents.backtest.methods import Method, Sums
from agents.backtest.peers import rules, statistical, trees
from agents.backtest.plan import Plan
from stream.errors import SetupError

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


SAMPLE_ROWS, SAMPLE_SEED, TRIALS = 20, 1, 30
NEEDS = {"rules": None, "statistical": "statsforecast", "lightgbm": "lightgbm"}  # and the package each group needs


def present(asked: list[str] | None, missing: Callable[[str], None]) -> list[str]:
    """The groups that can be run: those asked for, or all; `missing` hears a sentence of each that cannot.

    Raises SetupError where one that was asked for by name cannot, before anything has been worked out.
    """
    absent = {group: name for group, name in NEEDS.items() if name and importlib.util.find_spec(name) is None}
    for group, name in absent.items():
        if asked is not None and group in asked:
            raise SetupError(
                f"--peers {group} needs {name}",
                "it is not installed here",
                "pip install 'restock[compare]', or leave it out of --peers",
            )
        if asked is None:
            missing(f"without {group} peers: {name} is not installed; pip install 'restock[compare]'")
    return [group for group in NEEDS if group not in absent and (asked is None or group in asked)]


def methods(history: History, plan: Plan, peers: list[str], heard: Callable[[str, int, int], None]) -> Iterator[Method]:
    """The peers of the groups asked for: rules, statistical, lightgbm."""
    if "rules" in peers:
        yield from rule_methods(history, plan)
    if "lightgbm" in peers:
        yield trees.lightgbm_method(history, plan, horizons_of(plan), TRIALS, heard)
    if "statistical" in peers:
        rows = sample_rows(history, plan, SAMPLE_ROWS, SAMPLE_SEED)
        yield from statistical.statistical_methods(history, plan, rows, horizons_of(plan), heard)


def rule_methods(history: History, plan: Plan) -> Iterator[Method]:
    """Rules, on all rows and at every origin."""
    every = np.arange(history.rows)
    for name, rule in RULES.items():
        sums = {h: rule(history, plan.first, plan.last, h) for h in horizons_of(plan)}
        yield Method(name, sums, every)


def sample_rows(history: History, plan: Plan, most: int, seed: int) -> Ints:
    """Rows for methods too slow for all of them: drawn with a seed from those that had sold before the evaluation."""
    sold = np.flatnonzero(history.demand[:, : plan.first].sum(axis=1) > 0)
    if len(sold) <= most:
        return sold
    return np.sort(np.random.default_rng(seed).choice(sold, most, replace=False))
