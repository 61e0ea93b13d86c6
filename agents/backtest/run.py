"""One shelf through history: the planner's fold, a record a period, and the shop's answers to what it proposes.

The order of a period:
1. write its record: confirmations of yesterday's proposals, receipts, demand; the marks close it
2. fold it (`agents.planner.fold`): stock moves, the day closes, the forecaster learns, thresholds move, proposals come
3. read the thresholds and the forecasts made at its end
4. the supplier takes on what is proposed and not withdrawn
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import orjson

from agents.backtest.history import History
from agents.backtest.knowing import columns_of, family_of
from agents.backtest.log import MORNING_MS, Log, Said, demand
from agents.backtest.plan import QUANTILES, Plan, first_day_of
from agents.backtest.shop import Delivery, Shop, lead_periods
from agents.planner import plan as thresholds
from agents.planner import wakes
from agents.planner.calendar import ArrayPlan
from agents.planner.config import DAY_MS, PlannerConfig, Policy
from agents.planner.facts import fact_key
from agents.planner.fold import fold
from agents.planner.shelf import Shelf
from agents.planner.versions import NEWEST
from stream.events.kinds import Kind, Source
from stream.events.rows import SkuRecord

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

assert tuple(thresholds.LEVELS[: len(QUANTILES)].tolist()) == QUANTILES


@dataclass
class Story:
    """What happened, each (E, n) over the evaluated periods; quantities milli.

    Thresholds are those decided at the end of the period; `quantiles` (E, n, K) at `agents.planner.plan.LEVELS`, `mean`
    and `rate` are the forecast over lead plus review they came from.
    """

    demand: Ints
    sold: Ints
    lost: Ints
    on_hand: Ints
    on_order: Ints
    ordered: Ints
    served: Ints  # sold, and given to those who had waited
    reorder_point: Ints
    order_up_to: Ints
    quantiles: Floats
    mean: Floats
    rate: Floats


@dataclass
class Told:
    """Forecasts of one horizon at the end of each evaluated period: mean (E, n), quantiles (E, n, K)."""

    horizon: int
    mean: Floats
    quantiles: Floats


@dataclass
class Run:
    """One shelf's backtest."""

    rows: Ints  # numbers in the history
    opening: Ints  # milli a row, what the shop opened with
    story: Story
    told: list[Told]
    counters: dict[str, int] = field(default_factory=dict)


def run_shelf(history: History, plan: Plan, rows: Ints, progress: Callable[[int], None]) -> Run:
    """Fold these rows of history through one shelf; `progress` hears how many periods are done."""
    return _Driver(history, plan, rows).run(progress)


class _Driver:
    def __init__(self, history: History, plan: Plan, rows: Ints) -> None:
        self.plan, self.rows = plan, rows
        mine = history.take(rows)
        self.history = mine
        self.total_rows = history.rows
        self.first_day = first_day_of(history)
        self.asked: Ints = np.rint(mine.demand * 1000).astype(np.int64)
        self.exposure = mine.exposure
        self.shelf = _shelf(mine, plan, self.first_day)
        self.shelf.exposure = self._exposure_of
        if mine.carts is not None:
            self.shelf.carts_of = self._carts_of
        self.log = Log(mine.skus, mine.locations, None)
        self.shop = Shop(len(rows), plan.backorders)
        self.proposed: list[Delivery] = []
        self.served: Ints = np.zeros(len(rows), np.int64)
        self.opening: Ints = np.zeros(len(rows), np.int64)
        shape = (plan.last - plan.first + 1, len(rows))
        self.story = _blank(shape)
        self.told = [Told(h, np.zeros(shape), np.zeros((*shape, len(thresholds.LEVELS)))) for h in plan.horizons]

    def run(self, progress: Callable[[int], None]) -> Run:
        for period in range(self.plan.last + 1):
            begin_period = self.plan.first
            record, sold = self._record(period)  # 1
            fold(self.shelf, [record])  # 2
            wakes.finish(self.shelf)  # a closing of many rows is left to slices, and here is nobody who sweeps
            self.shelf.journal.changed.clear()  # nobody keeps it
            if period >= begin_period:
                self._read(period, sold)  # 3
                self._order(period)  # 4
            progress(period + 1)
        return Run(self.rows, self.opening, self.story, self.told, dict(self.shelf.counters))

    def _exposure_of(self, rows: Ints, day: Ints) -> Floats:
        """The file's own word on what could be seen; our simulated stock hides nothing from the forecaster."""
        return self.exposure[rows, np.clip(day - self.first_day, 0, self.exposure.shape[1] - 1)]

    def _carts_of(self, rows: Ints, day: Ints) -> Floats:
        """What the file says of carts on a day."""
        assert self.history.carts is not None
        return np.asarray(self.history.carts[rows, np.clip(day - self.first_day, 0, self.history.periods - 1)])

    # -- 1 ------------------------------------------------------------------------------------------------------------

    def _record(self, period: int) -> tuple[SkuRecord, Ints]:
        said: list[Said] = []
        every = np.arange(len(self.rows))
        if period == self.plan.first:
            said.append(self._opening(every))
        if period >= self.plan.first:
            said += self._morning(period)
        asked = self.asked[:, period]
        sold = self.shop.sell(asked) if period >= self.plan.first else asked
        some = asked > 0
        said += demand(self.log, every[some], asked[some], sold[some], self.plan.backorders)
        return self.log.record(self.first_day + period, said, self.shelf.config.shape), sold

    def _opening(self, every: Ints) -> Said:
        """The shop opens full: what the planner would hold, counted."""
        self.opening = self.shelf.hot["order_up_to"][: len(every)].copy()
        self.shop.on_hand[:] = self.opening
        return Said(Kind.STOCK_COUNTED, Source.STOCK_MOVEMENTS, every, self.shop.on_hand.copy(), 0)

    def _morning(self, period: int) -> list[Said]:
        said: list[Said] = []
        taken = self.proposed
        if taken:
            lead = lead_periods(self.total_rows, period - 1, self.plan.lead, self.plan.lead_sd, self.plan.seed)
            arrives = [period + int(lead[self.rows[d.row]]) for d in taken]
            for one, when in zip(taken, arrives, strict=True):
                self.shop.order(one, when)
            expected = (np.array(arrives) + self.first_day) * DAY_MS + MORNING_MS
            said.append(_of(taken, Kind.SUPPLY_CONFIRMED, Source.SUPPLY, 0, expected))
        arrived = self.shop.receive(period)
        if arrived:
            said.append(_of(arrived, Kind.STOCK_RECEIVED, Source.STOCK_MOVEMENTS, MORNING_MS))
        served = self.shop.serve_waiting()
        self.served = served
        some = np.flatnonzero(served)
        said.append(Said(Kind.ORDER_FULFILLED, Source.ORDERS, some, served[some], MORNING_MS))
        return said

    # -- 3 and 4 ------------------------------------------------------------------------------------------------------

    def _read(self, period: int, sold: Ints) -> None:
        at, n = period - self.plan.first, len(self.rows)
        hot, story = self.shelf.hot, self.story
        story.demand[at], story.sold[at] = self.asked[:, period], sold
        story.lost[at] = self.asked[:, period] - sold
        story.on_hand[at] = self.shop.on_hand
        story.served[at] = sold + self.served
        story.reorder_point[at], story.order_up_to[at] = hot["reorder_point"][:n], hot["order_up_to"][:n]
        horizons = np.array([self.plan.wait, *self.plan.horizons])
        made = thresholds.outlook(self.shelf, np.arange(n), np.tile(horizons, (n, 1)), thresholds.LEVELS)
        story.mean[at], story.rate[at] = made.mean_sum_units[:, 0], made.mean_period_units
        story.quantiles[at] = made.quantile_sum_units[:, 0]
        for j, told in enumerate(self.told, 1):
            told.mean[at] = made.mean_sum_units[:, j]
            told.quantiles[at] = made.quantile_sum_units[:, j]

    def _order(self, period: int) -> None:
        """What the planner has proposed and nobody has answered goes to the supplier."""
        orders = self.shelf.orders
        self.proposed = [
            Delivery(row, order.remaining, order.id)
            for row in sorted(orders)
            for order in orders[row]
            if order.status == "proposed"
        ]
        at = period - self.plan.first
        for one in self.proposed:
            self.story.ordered[at, one.row] += one.milli
        self.story.on_order[at] = self.shop.on_order + self.story.ordered[at]


def _tell_terms(shelf: Shelf, history: History, plan: Plan) -> None:
    """What the ledger would hold of each SKU: that its rows are alike, and what a unit was worth before."""
    for sku in sorted(set(history.skus)):
        shelf.facts.put(fact_key("item", sku), orjson.dumps({"category": sku}).decode())
    cost, price = history.worth(plan.first)
    if cost is None or price is None:
        return
    for sku, location, c, p in zip(history.skus, history.locations, cost.tolist(), price.tolist(), strict=True):
        fact = {"unit_cost": round(c, 6), "unit_price": round(p, 6)}
        shelf.facts.put(fact_key("policy", sku, location), orjson.dumps(fact).decode())


def _of(deliveries: list[Delivery], kind: Kind, source: Source, at_ms: int, expected: Ints | None = None) -> Said:
    ids = [d.replenishment_id for d in deliveries]
    row, milli = np.array([d.row for d in deliveries]), np.array([d.milli for d in deliveries])
    if kind == Kind.STOCK_RECEIVED:
        return Said(kind, source, row, milli, at_ms, reference=ids)
    return Said(kind, source, row, milli, at_ms, replenishment_id=ids, expected_ms=expected)


def _blank(shape: tuple[int, int]) -> Story:
    counts = [np.zeros(shape, np.int64) for _ in range(9)]
    demand, sold, lost, on_hand, on_order, ordered, served, point, up_to = counts
    quantiles = np.zeros((*shape, len(thresholds.LEVELS)))
    return Story(
        demand,
        sold,
        lost,
        on_hand,
        on_order,
        ordered,
        served,
        point,
        up_to,
        quantiles,
        np.zeros(shape),
        np.zeros(shape),
    )


def _shelf(history: History, plan: Plan, first_day: int) -> Shelf:
    """A shelf that knows its rows from the first day on and decides from the first evaluated period on."""
    policy = Policy(
        lead_days=plan.lead,
        lead_days_sd=plan.lead_sd,
        review_days=plan.review,
        service_level=plan.service_level,
        order_cost=plan.order_cost,
        review="periodic",
        cover_days=plan.cover,
        holding_cost_rate_year=plan.holding_cost_rate * 365.0,
        pack_milli=plan.pack_milli,
    )
    begin_ms = first_day * DAY_MS
    config = PlannerConfig(
        namespace="backtest",
        policy=policy,
        cover_days=plan.set_cover,
        positions_interval_ms=0,
        warm_until_ms=begin_ms + plan.first * DAY_MS + 1,
        slice_rows=2**62,
        version=NEWEST,
        family=family_of(history, plan),
        forecasts="off",
        silent=True,
        lead_times="stated",  # what is asked is what is waited
        forecast_days=plan.horizons,
        plan_days=max(plan.wait, *plan.horizons),
        send_rows=2**62,
    )
    shelf = Shelf(config)
    _tell_terms(shelf, history, plan)
    if history.known:
        shelf.plan = ArrayPlan(columns_of(history), first_day)
    for sku, location in zip(history.skus, history.locations, strict=True):
        shelf.row_of(sku, location, begin_ms)
    return shelf
