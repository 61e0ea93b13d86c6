"""Several periods: what is sent now knows what comes later."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from models.network.circulation import balance, used
from models.network.cuts import LANE_FULL, STOCK_SPENT
from models.network.fixed import Fixed
from models.network.periods import Schedule, schedule
from models.network.plan import plan
from models.network.transfer import Goods, Lanes, Picture
from models.network.unroll import SEND, unroll
from tests.models.network.pictures import certain, random_picture


def sent(s: Schedule) -> dict[tuple[int, int, int], float]:
    return {(int(k), int(a), int(t)): float(u) for k, a, t, u in zip(s.sku, s.lane, s.period, s.units, strict=True)}


def test_what_is_needed_later_is_sent_later_where_holding_costs_more_there() -> None:
    """Ten sold over two weeks at a shop that holds dearly: five go for each week; lane lead time none."""
    base = certain([[0, 10]], lanes=[(0, 1, 1)], on_hand=[[20, 0]], holding=[[0.0, 1.0]], worth=[[10.0, 11.0]])
    assert sent(schedule(base, 2)) == {(0, 0, 0): 5, (0, 0, 1): 5}


def test_lead_time_loses_the_first_periods() -> None:
    """Four periods of three at an empty shop, lane of two periods: six can still be sold."""
    base = certain([[0, 12]], lanes=[(0, 1, 1)], on_hand=[[20, 0]], lane_limits={"lead_days": np.array([3.5])})
    answer = schedule(base, 4)
    assert sum(answer.units) == 6
    assert answer.objective == pytest.approx(-6 * (10 - 1))


def test_a_receipt_on_its_way_is_counted_on() -> None:
    """Ten wanted over two periods, five expected in the second: five are sent, not ten."""
    base = certain([[0, 10]], lanes=[(0, 1, 1)], on_hand=[[20, 0]])
    receipts = np.zeros((2, 1, 2))
    receipts[1, 0, 1] = 5
    assert sum(schedule(base, 2, receipts).units) == 5


def test_a_receipt_can_be_sent_on_when_it_has_arrived() -> None:
    """The warehouse is empty now and gets ten in period 1: they leave in period 1 and sell in period 2."""
    base = certain([[0, 30]], lanes=[(0, 1, 1)], lane_limits={"lead_days": np.array([2.0])})
    receipts = np.zeros((3, 1, 2))
    receipts[1, 0, 0] = 10
    assert sent(schedule(base, 3, receipts)) == {(0, 0, 1): 10}


def test_stock_can_pass_through_a_hub_in_two_periods() -> None:
    """No direct lane: plant to hub in period 0, hub to shop in period 1, sold in period 2."""
    base = certain(
        [[0, 0, 9]],
        lanes=[(0, 1, 1), (1, 2, 1)],
        on_hand=[[20, 0, 0]],
        lane_limits={"lead_days": np.array([2.3, 2.3])},
    )
    assert sent(schedule(base, 3)) == {(0, 0, 0): 3, (0, 1, 1): 3}


def test_lane_limits_hold_in_every_period() -> None:
    """Ten wanted, a lane of four a period: four now, four next; one more would save nine."""
    base = certain([[0, 10]], lanes=[(0, 1, 1)], on_hand=[[20, 0]], lane_limits={"capacity_units": np.array([4.0])})
    answer = schedule(base, 2)
    assert sent(answer) == {(0, 0, 0): 4, (0, 0, 1): 4}
    assert answer.objective == pytest.approx(-72)
    assert answer.prices.max() == pytest.approx(9)


def test_a_minimum_that_cannot_be_reached_is_named() -> None:
    """Ten must stand at the shop, six exist."""
    answer = schedule(certain([[0, 0]], lanes=[(0, 1, 1)], on_hand=[[6, 0]], minimum=[[0, 10]]), 2)
    assert not answer.feasible
    assert answer.missing_units.tolist() == [[0, 4]]
    assert set(answer.blamed) == {("need", 0, 1), ("stock", 0, 0)}


def test_a_shorter_horizon_has_its_demand_first() -> None:
    """Six within one week here, six within two there; arrivals take a week: none can help the first, three there."""
    base = certain(
        [[0, 6, 6]],
        lanes=[(0, 1, 1), (0, 2, 1)],
        on_hand=[[20, 0, 0]],
        horizon_days=[[14, 7, 14]],
        lane_limits={"lead_days": np.array([7.0, 7.0])},
    )
    assert sent(schedule(base, 2)) == {(0, 1, 0): 3}
    near = replace(base, lanes=replace(base.lanes, lead_days=np.zeros(2)))
    assert sum(schedule(near, 2).units) == 12


def test_fixed_send_outs_leave_in_their_period() -> None:
    """Three promised for the second period although they earn nothing; the other six of nine go where they pay."""
    base = certain([[0, 6, 0]], lanes=[(0, 1, 1), (0, 2, 1)], on_hand=[[9, 0, 0]])
    promised = Fixed(np.array([0]), np.array([1]), np.array([3.0]), np.array([1]))
    answer = schedule(base, 2, fixed=promised)
    assert {(t, n) for (_, a, t), n in sent(answer).items() if a == 1} == {(1, 3)}
    assert answer.fixed.tolist() == [a == 1 for a in answer.lane.tolist()]
    assert answer.objective == pytest.approx(-6 * 9 + 3)
    assert answer.gap == 0


def test_fixed_send_outs_use_the_lanes_room_in_their_period_only() -> None:
    """A lane of four a period, three promised in the first: one more may go then, four in the next."""
    base = certain([[0, 20]], lanes=[(0, 1, 1)], on_hand=[[20, 0]], lane_limits={"capacity_units": np.array([4.0])})
    answer = schedule(base, 2, fixed=Fixed(np.array([0]), np.array([0]), np.array([3.0]), np.array([0])))
    assert np.bincount(answer.period, answer.units).tolist() == [4, 4]


def test_fixed_send_outs_that_cannot_leave_are_blamed() -> None:
    """Twelve promised of ten; and what is no pack or leaves after the last period is refused."""
    base = certain([[0, 5]], lanes=[(0, 1, 1)], on_hand=[[10, 0]])

    def one(units: float, period: int) -> Fixed:
        return Fixed(np.array([0]), np.array([0]), np.array([units]), np.array([period]))

    answer = schedule(base, 2, fixed=one(12, 1))
    assert not answer.feasible
    assert set(answer.blamed) == {("fixed", 0, 0), ("stock", 0, 0)}
    with pytest.raises(ValueError, match="whole packs"):
        schedule(base, 2, fixed=one(1.5, 1))
    with pytest.raises(ValueError, match="leaves in period 2; the last one is 1"):
        schedule(base, 2, fixed=one(1, 2))


def test_requests_cut_short_say_by_how_much_and_why() -> None:
    """Ten wanted: a lane of four in each of two periods cuts two; six units of stock cut four."""
    base = certain([[0, 10]], lanes=[(0, 1, 1)], on_hand=[[20, 0]], lane_limits={"capacity_units": np.array([4.0])})
    cuts = schedule(base, 2).cuts
    assert (cuts.location.tolist(), cuts.wanted.tolist(), cuts.got.tolist()) == ([1], [10], [8])
    assert cuts.why.tolist() == [LANE_FULL]
    cuts = schedule(certain([[0, 10]], lanes=[(0, 1, 1)], on_hand=[[6, 0]]), 2).cuts
    assert (cuts.wanted.tolist(), cuts.got.tolist(), cuts.why.tolist()) == ([10], [6], [STOCK_SPENT])
    assert len(schedule(certain([[0, 10]], lanes=[(0, 1, 1)], on_hand=[[20, 0]]), 2).cuts.sku) == 0


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 5_000), st.integers(1, 3), st.booleans())
def test_schedules_are_lawful_and_never_worse_than_idle(seed: int, periods: int, limited: bool) -> None:
    """Flow is conserved, limits hold in every period, nothing leaves that is not there, and idle costs nothing less."""
    p = random_picture(4, 4, seed, limited=limited, pack=np.full(4, 2.0))
    answer = schedule(p, periods)
    c = answer.unrolled.circulation
    assert np.all(balance(c, answer.flow.units) == 0)
    assert np.all(used(c, answer.flow.units) <= c.limit + 1e-6)
    assert answer.bound - 1e-6 <= answer.objective <= 1e-6
    out = np.zeros_like(p.on_hand)
    now = answer.period == 0
    np.add.at(out, (answer.sku[now], p.lanes.origin[answer.lane[now]]), answer.units[now])
    assert np.all(out <= p.on_hand + 1e-9)
    assert np.all(answer.units % 2 == 0)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 5_000))
def test_certain_demand_costs_what_a_plain_programme_says(seed: int) -> None:
    """I(t) = I(t-1) + in - out - sold, written down row by row for linprog, has the same optimum."""
    rng = np.random.default_rng(seed)
    periods, places = 3, 3
    demand = rng.integers(0, 6, places) * 6.0  # whole in every period, whatever the horizon
    lanes = [(0, 1, 1.0), (0, 2, 2.5), (1, 2, 0.5), (2, 1, 4.0)]
    lead = np.array([0, 1, 1, 0])
    holding, margin = rng.integers(0, 3, places) * 1.0, rng.integers(1, 9, places) * 1.0
    stock, receipts = rng.integers(0, 15, places) * 1.0, rng.integers(0, 4, (periods, places)) * 1.0
    horizon = np.array([7.0, *rng.choice([7.0, 14 / 3, 7 / 3], places - 1)])
    come = np.minimum(np.arange(periods + 1)[:, None] * 7 / periods / horizon, 1.0) * demand
    p = certain(
        demand[None],
        lanes=lanes,
        lane_limits={"lead_days": lead * 7 / 3 * 0.999},
        on_hand=stock[None],
        horizon_days=horizon[None],
        holding=(holding * horizon.min() / 7)[None],
        worth=(margin + holding * horizon.min() / 7)[None],
    )
    answer = schedule(p, periods, receipts[:, None, :])
    plain = _plain(np.diff(come, axis=0), lanes, lead, holding, margin, stock, receipts)
    assert answer.objective == pytest.approx(plain, abs=1e-6)


def _plain(demand, lanes, lead, holding, margin, stock, receipts) -> float:
    """Stock after sending (not negative) and at the end of each period; leftover holding is paid in every period."""
    periods, places = receipts.shape
    names = [("send", a, t) for a in range(len(lanes)) for t in range(periods) if t + lead[a] < periods]
    names += [("sold", i, t) for i in range(places) for t in range(periods)]
    names += [("end", i, t) for i in range(places) for t in range(periods)]
    col = {n: j for j, n in enumerate(names)}
    cost, upper = np.zeros(len(names)), np.full(len(names), np.inf)
    for (what, i, t), j in col.items():
        if what == "send":
            cost[j] = lanes[i][2] + holding[lanes[i][1]] * lead[i] / periods
        elif what == "sold":
            cost[j], upper[j] = -margin[i], demand[t, i]
        else:
            cost[j] = holding[i] / periods
    eq, rhs, ub, most = [], [], [], []
    for i in range(places):
        for t in range(periods):
            row, can = np.zeros(len(names)), np.zeros(len(names))
            row[col["end", i, t]] = row[col["sold", i, t]] = 1
            if t > 0:
                row[col["end", i, t - 1]] = can[col["end", i, t - 1]] = -1
            for a, (o, d, _) in enumerate(lanes):
                if o == i and ("send", a, t) in col:
                    row[col["send", a, t]] += 1
                    can[col["send", a, t]] += 1
                if d == i and ("send", a, t - lead[a]) in col:
                    row[col["send", a, t - lead[a]]] -= 1
                    if lead[a] > 0:
                        can[col["send", a, t - lead[a]]] -= 1
            come = receipts[t, i] + (stock[i] if t == 0 else 0)
            eq.append(row), rhs.append(come), ub.append(can), most.append(come)
    bounds = [(0, u) for u in upper]
    solved = optimize.linprog(cost, A_ub=ub, b_ub=most, A_eq=eq, b_eq=rhs, bounds=bounds)
    still = [(0, 0) if n[0] == "send" else b for n, b in zip(names, bounds, strict=True)]
    idle = optimize.linprog(cost, A_ub=ub, b_ub=most, A_eq=eq, b_eq=rhs, bounds=still)
    return float(solved.fun - idle.fun)


def test_rolling_over_certain_demand_loses_nothing_against_the_whole_plan() -> None:
    """Carrying out only the first period and planning again sends what the first schedule said it would."""
    p: Picture = certain(
        [[0, 12, 6]], lanes=[(0, 1, 1), (0, 2, 1)], on_hand=[[30, 0, 0]], holding=[[0.0, 0.5, 0.5]], worth=[[0, 9, 9.0]]
    )
    full = schedule(p, 3)
    total, stock = 0.0, p.on_hand
    for t in range(3):
        left = replace(p.strata, units=p.strata.units * (3 - t) / 3)
        now = schedule(replace(p, on_hand=stock, strata=left, horizon_days=p.horizon_days * (3 - t) / 3), 3 - t)
        first = now.period == 0
        total += now.units[first].sum()
        come = np.bincount(p.lanes.destination[now.lane[first]], now.units[first], 3)
        stock = np.maximum(stock + come[None] - np.array([[now.units[first].sum(), 4, 2]]), 0)
    assert total == full.units.sum() == 18


def test_one_period_without_lead_times_is_the_plan_for_now() -> None:
    """Where nobody both sends and receives the optimum is the same; else the periods may only do better."""
    p = random_picture(10, 4, 5)
    p = replace(p, lanes=replace(p.lanes, lead_days=np.zeros(len(p.lanes.origin))))
    star = replace(p, lanes=Lanes.plain(np.zeros(3, int), np.array([1, 2, 3]), np.array([0.5, 1.0, 2.0])))
    assert schedule(star, 1).objective == pytest.approx(plan(star).objective, rel=1e-6)
    assert schedule(star, 1).objective < 0
    assert schedule(p, 1).objective <= plan(p).objective + 1e-9


def test_only_lanes_that_could_pay_are_unrolled() -> None:
    """A lane dearer than any margin has no arcs."""
    p = certain([[0, 5]], lanes=[(0, 1, 50)], on_hand=[[5, 0]], goods=Goods(*(np.ones(1),) * 3))
    assert np.count_nonzero(unroll(p, 3).kind == SEND) == 0
