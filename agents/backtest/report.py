"""The report as one dictionary: forecasts scored, the shop weighed, methods compared. report.html shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from agents.backtest import frontier, scoring
from agents.backtest.history import YEAR, Floats, History, Ints
from agents.backtest.methods import Method, Sums
from agents.backtest.plan import QUANTILES, Plan
from agents.backtest.run import Run
from models.demand import scores
from models.stock.simulation import Days, Money, Shop, service

OURS = "restock"
ONE_PRICE = "restock, one price of money"  # over all rows, as `restock policy` sets it
SEED = 20_240_101  # of resampling and of the randomised PIT: results depend on the file alone
FANS = 6  # rows drawn with their quantiles
FAN_PERIODS = 120
Heard = Callable[[str, int, int], None]


def report(
    history: History, plan: Plan, run: Run, shop: Shop, methods: Sequence[Method], heard: Heard
) -> dict[str, Any]:
    """Everything there is to say. `methods` holds ours first, then the peers."""
    segment = scoring.segments_of(history, plan)
    naive = scoring.naive_errors(history, plan)
    money = money_of(history, plan)
    days = days_of(run)
    return {
        "file": history.found,
        "period": history.period,
        "rows": history.rows,
        "from": str(history.dates[plan.first]),
        "to": str(history.dates[plan.last]),
        "known_ahead": sorted(history.known),
        "plan": {**asdict(plan), "wait": plan.wait},
        "forecasts": {f"{h}": _forecasts(history, plan, methods, h, segment, naive, heard) for h in plan.horizons},
        "shop": _shop(history, plan, days, shop, money, segment),
        "frontier": _frontiers(history, plan, shop, methods, money, heard),
        "worst": _worst(history, plan, methods[0]),
        "fans": _fans(history, plan, methods[0]),
        "counters": run.counters,
    }


def money_of(history: History, plan: Plan) -> Money:
    """What units are worth; 1 each where the file says nothing, and then money means units."""
    cost, price = history.worth(plan.first)
    one = np.ones(history.rows)
    return Money(
        one if cost is None else cost, one if price is None else price, plan.order_cost, plan.holding_cost_rate
    )


def days_of(run: Run) -> Days:
    """The fold's own days as the simulation has them; arrivals are what stock gained beyond sales."""
    story = run.story
    before = np.concatenate([run.opening[None], story.on_hand[:-1]])
    return Days(
        story.on_hand, story.on_order, story.sold, story.lost, story.ordered, story.on_hand + story.served - before
    )


# --- forecasts ------------------------------------------------------------------------------------------------------


def _forecasts(
    history: History,
    plan: Plan,
    methods: Sequence[Method],
    horizon: int,
    segment: scoring.Names,
    naive: tuple[Floats, Floats],
    heard: Heard,
) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for k, method in enumerate(methods):
        heard(f"scoring {horizon}", k, len(methods))
        if horizon not in method.sums:
            continue
        came = scoring.actual(history, plan, horizon, method.rows)
        made = method.sums[horizon]
        if method.made_at is not None:
            came = scoring.Actual(came.units, came.counts & method.made_at[:, None])
        one = scoring.scored(made, came, history.whole)
        mine = (naive[0][method.rows], naive[1][method.rows])
        told = scoring.told(one, made, horizon, mine, segment[method.rows], SEED)
        told |= {"knows_plan": method.knows_plan, "note": method.note}
        if k:
            told["restock_over_it"] = _against(methods[0].of(method.rows).sums[horizon], made, came)
        out[method.name] = told
    return out


def _against(ours: Sums, theirs: Sums, came: scoring.Actual) -> tuple[float, float, float]:
    """Ratio of pinball on the same rows and origins, with its 90 % interval."""
    origin, row = np.nonzero(came.counts)
    levels, units = np.array(QUANTILES), came.units[origin, row]
    loss = [
        scores.pinball(units, made.quantiles[origin, row, : len(levels)], levels).mean(axis=1)
        for made in (ours, theirs)
    ]
    return scoring.ratio_interval(loss[0], loss[1], origin, SEED)


# --- the shop -------------------------------------------------------------------------------------------------------


def _shop(history: History, plan: Plan, days: Days, shop: Shop, money: Money, segment: scoring.Names) -> dict[str, Any]:
    """What the fold itself did: over rows that had sold before the evaluation began, and by segment."""
    known = np.flatnonzero(history.demand[:, : plan.first].sum(axis=1) > 0)

    def of(rows: Ints) -> dict[str, Any]:
        part = Days(*(getattr(days, f)[:, rows] for f in Days.__dataclass_fields__))
        worth = Money(money.cost[rows], money.price[rows], money.order, money.holding_share)
        return asdict(service(part, shop.demand[:, rows], worth, YEAR[history.period]))

    names = sorted(set(segment[known].tolist()))
    return {
        "promised": plan.service_level,
        "rows": len(known),
        **of(known),
        "segments": {n: {"rows": int((segment[known] == n).sum()), **of(known[segment[known] == n])} for n in names},
    }


def _frontiers(
    history: History, plan: Plan, shop: Shop, methods: Sequence[Method], money: Money, heard: Heard
) -> dict[str, Any]:
    """Service against stock of every method that forecasts every row and origin over the wait."""
    known = np.flatnonzero(history.demand[:, : plan.first].sum(axis=1) > 0)
    part = _shop_rows(shop, known)
    worth = Money(money.cost[known], money.price[known], money.order, money.holding_share)
    valued = history.worth(plan.first)[0] is not None
    curves: dict[str, frontier.Curve] = {}
    for k, method in enumerate(methods):
        heard("service against stock", k, len(methods))
        if len(method.rows) == history.rows:
            held = frontier.Held(plan, method.sums[plan.wait], known)
            curves[method.name] = frontier.curve(part, held, worth, YEAR[history.period])
            if valued and method.name == OURS:
                curves[ONE_PRICE] = frontier.one_price_curve(part, held, worth, YEAR[history.period])
    out = {"valued": valued, "methods": _told_curves(curves)}
    sampled = [m for m in methods if len(m.rows) < history.rows]
    if sampled:
        out["sample"] = _sampled(history, plan, shop, methods[0], sampled, money)
    return out


def _sampled(
    history: History, plan: Plan, shop: Shop, ours: Method, sampled: Sequence[Method], money: Money
) -> dict[str, Any]:
    """The same on the rows that slow methods were run on, ours beside them."""
    rows = sampled[0].rows
    part = _shop_rows(shop, rows)
    worth = Money(money.cost[rows], money.price[rows], money.order, money.holding_share)
    curves = {}
    for method in (ours.of(rows), *sampled):
        held = frontier.Held(plan, method.sums[plan.wait], np.arange(len(rows)))
        curves[method.name] = frontier.curve(part, held, worth, YEAR[history.period])
    return {"rows": len(rows), "methods": _told_curves(curves)}


def _told_curves(curves: Mapping[str, frontier.Curve]) -> dict[str, Any]:
    ours, portfolio = curves[OURS], curves.get(ONE_PRICE)
    out: dict[str, Any] = {}
    for name, curve in curves.items():
        out[name] = {field: getattr(curve, field).tolist() for field in curve.__dataclass_fields__}
        out[name]["stock_at_fill_rate"] = {
            f"{fill}": {"units": _none(curve.stock_at(fill)), "money": _none(curve.stock_at(fill, money=True))}
            for fill in frontier.FILL_TARGETS
        }
        out[name]["restock_over_it"] = _ratios(ours, curve)
        if portfolio is not None:
            out[name]["one_price_over_it"] = _ratios(portfolio, curve)
    return out


def _ratios(ours: frontier.Curve, theirs: frontier.Curve) -> dict[str, dict[str, float | None]]:
    return {
        f"{fill}": {
            "units": _none(ours.stock_at(fill) / theirs.stock_at(fill)),
            "money": _none(ours.stock_at(fill, money=True) / theirs.stock_at(fill, money=True)),
        }
        for fill in frontier.FILL_TARGETS
    }


def _none(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _shop_rows(shop: Shop, rows: Ints) -> Shop:
    return Shop(
        shop.demand[:, rows],
        shop.lead[:, rows],
        shop.opening[rows],
        shop.pack,
        shop.review,
        shop.first_review,
        shop.backorders,
    )


# --- rows -----------------------------------------------------------------------------------------------------------


def _worst(history: History, plan: Plan, ours: Method) -> list[dict[str, Any]]:
    horizon = plan.horizons[0]
    came = scoring.actual(history, plan, horizon, ours.rows)
    one = scoring.scored(ours.sums[horizon], came, history.whole)
    return scoring.worst_rows(one, ours.sums[horizon], history, ours.rows)


def _fans(history: History, plan: Plan, ours: Method) -> list[dict[str, Any]]:
    """Rows at even places in order of size, with what was told and what came."""
    horizon = plan.horizons[0]
    made, came = ours.sums[horizon], scoring.actual(history, plan, horizon, ours.rows)
    sold = history.demand[:, : plan.first].sum(axis=1)
    order = np.argsort(-sold, kind="stable")[: max(int((sold > 0).sum()), 1)]
    picked = order[np.unique(np.linspace(0, len(order) - 1, FANS).round().astype(int))]
    last = len(came.units) - horizon
    begin = max(0, last - FAN_PERIODS)
    return [
        {
            "sku": history.skus[i],
            "location": history.locations[i],
            "horizon": horizon,
            "dates": [str(d) for d in history.dates[plan.first + begin : plan.first + last]],
            "came": came.units[begin:last, i].round(3).tolist(),
            "mean": made.mean[begin:last, i].round(3).tolist(),
            "q50": made.quantiles[begin:last, i, 0].round(3).tolist(),
            "q80": made.quantiles[begin:last, i, 1].round(3).tolist(),
            "q95": made.quantiles[begin:last, i, 3].round(3).tolist(),
            "q99": made.quantiles[begin:last, i, 5].round(3).tolist(),
        }
        for i in picked.tolist()
    ]
