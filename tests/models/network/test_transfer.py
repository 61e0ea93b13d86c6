"""Transfers for now: the value of a unit, what limits do, and what is said when they cannot hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.network import strata
from models.network.cuts import LANE_FULL, STOCK_SPENT
from models.network.fixed import Fixed
from models.network.paths import walk
from models.network.plan import Plan, plan
from models.network.transfer import Goods, Lanes, Picture
from tests.models.network.pictures import certain, random_picture


def moves(p: Plan) -> dict[tuple[int, int], float]:
    return {(int(k), int(a)): float(u) for k, a, u in zip(p.sku, p.lane, p.units, strict=True)}


def knapsack(most_each: float) -> Plan:
    """Items of margin 10, 15, 20 and weight 2, 3, 4; one lane that carries 20 kg; money for 1,000."""
    return plan(
        certain(
            np.array([[0.0, most_each]] * 3),
            lanes=[(0, 1, 0.0)],
            lane_limits={"capacity_weight": np.array([20.0])},
            goods=Goods(np.ones(3), np.array([2.0, 3, 4]), np.ones(3)),
            on_hand=[[1000.0, 0]] * 3,
            worth=[[0.0, 10], [0, 15], [0, 20]],
            budget=1000.0,
        )
    )


def test_knapsack_in_whole_units() -> None:
    """20 kg at 5 a kg: worth 100. With at most one of each all three go, 9 kg, worth 45. The budget binds nowhere."""
    many, one = knapsack(1000), knapsack(1)
    assert many.objective == pytest.approx(-100)
    assert float(many.units @ np.array([2.0, 3, 4])[many.sku]) == 20
    assert one.objective == pytest.approx(-45)
    assert moves(one) == {(0, 0): 1, (1, 0): 1, (2, 0): 1}
    assert many.prices[many.row_kind == 3].tolist() == [0.0]


def test_stock_goes_where_its_next_unit_is_worth_most() -> None:
    """Ten units, two shops that want ten each at margins 10 and 7, lanes at 1 and 3: all go to the first, gain 90."""
    answer = plan(certain([[0, 10, 10]], lanes=[(0, 1, 1), (0, 2, 3)], on_hand=[[10, 0, 0]], worth=[[0, 10, 7]]))
    assert moves(answer) == {(0, 0): 10}
    assert answer.objective == pytest.approx(-90)
    assert answer.cuts.location.tolist() == [2]
    assert (answer.cuts.wanted[0], answer.cuts.got[0], answer.cuts.why[0]) == (10, 0, STOCK_SPENT)


def test_nothing_moves_where_it_would_not_pay() -> None:
    """A lane dearer than the margin stays empty, and doing nothing costs nothing."""
    answer = plan(certain([[0, 10]], lanes=[(0, 1, 11)], on_hand=[[10, 0]]))
    assert moves(answer) == {}
    assert answer.objective == 0


def test_a_shop_keeps_what_it_needs_itself() -> None:
    """The sender needs six of its ten at the same margin: four may go."""
    assert moves(plan(certain([[6, 10]], lanes=[(0, 1, 1)], on_hand=[[10, 0]]))) == {(0, 0): 4}


def test_frozen_and_minimum_stock_stay() -> None:
    """Of ten, three are frozen: seven may go. With a minimum of eight only two."""
    base = certain([[0, 20]], lanes=[(0, 1, 1)], on_hand=[[10, 0]], frozen=[[3, 0]])
    assert moves(plan(base)) == {(0, 0): 7}
    assert moves(plan(replace(base, minimum=np.array([[8.0, 0]])))) == {(0, 0): 2}


def test_a_minimum_is_reached_even_where_it_does_not_pay() -> None:
    """Five must be there: they go at a loss of 11 each."""
    answer = plan(certain([[0, 0]], lanes=[(0, 1, 11)], on_hand=[[10, 0]], minimum=[[0, 5]]))
    assert moves(answer) == {(0, 0): 5}
    assert answer.objective == pytest.approx(55)
    assert answer.feasible


def test_what_arrives_for_a_minimum_sells_too() -> None:
    """A minimum of five where three will be sold: five go, not eight."""
    answer = plan(certain([[0, 3]], lanes=[(0, 1, 1)], on_hand=[[10, 0]], minimum=[[0, 5]]))
    assert moves(answer) == {(0, 0): 5}
    assert answer.objective == pytest.approx(5 * 1 - 3 * 10)


def test_minimums_that_cannot_be_reached_name_stock_and_needs() -> None:
    """100 at one place, 70 and 50 must be at two others: short by 20; both needs and the stock are to blame."""
    answer = plan(certain([[0, 0, 0]], lanes=[(0, 1, 10), (0, 2, 20)], on_hand=[[100, 0, 0]], minimum=[[0, 70, 50]]))
    assert not answer.feasible
    assert answer.missing_units.sum() == 20
    assert {(b.kind, b.place, b.units) for b in answer.blames} == {
        ("need", 1, 70.0),
        ("need", 2, 50.0),
        ("stock", 0, 100.0),
    }


def test_a_full_lane_is_blamed_for_a_minimum() -> None:
    """Ten needed over a lane that carries six: short by four, need and lane named."""
    answer = plan(
        certain(
            [[0, 0]],
            lanes=[(0, 1, 1)],
            lane_limits={"capacity_units": np.array([6.0])},
            on_hand=[[50, 0]],
            minimum=[[0, 10]],
        )
    )
    assert answer.missing_units.sum() == 4
    assert {(b.kind, b.place, b.units) for b in answer.blames} == {("need", 1, 10.0), ("capacity_units", 0, 6.0)}


def test_whole_packs_only() -> None:
    """Packs of six, fourteen wanted: two packs sell out, a third would sell two of six, worth 20 against 12 of lane."""
    base = certain(
        [[0, 14]], lanes=[(0, 1, 2)], on_hand=[[40, 0]], goods=Goods(np.array([6.0]), np.ones(1), np.ones(1))
    )
    assert moves(plan(base)) == {(0, 0): 18}
    dearer = replace(base, lanes=replace(base.lanes, unit_cost=np.array([4.0])))
    assert moves(plan(dearer)) == {(0, 0): 12}


def test_what_comes_too_late_is_worth_nothing() -> None:
    """Seven a week at an empty shop: a lane of three days can still serve four, one of seven days none."""
    base = certain([[0, 7]], lanes=[(0, 1, 1)], on_hand=[[10, 0]], lane_limits={"lead_days": np.array([3.0])})
    assert moves(plan(base)) == {(0, 0): 4}
    assert moves(plan(replace(base, lanes=replace(base.lanes, lead_days=np.array([7.0]))))) == {}


def test_stock_that_lasts_until_the_arrival_makes_lateness_harmless() -> None:
    """Three in place serve the first three days; the four short after that can all be served."""
    base = certain([[0, 7]], lanes=[(0, 1, 1)], on_hand=[[10, 3]], lane_limits={"lead_days": np.array([3.0])})
    assert moves(plan(base)) == {(0, 0): 4}


def test_a_fast_lane_is_used_for_what_is_urgent_only() -> None:
    """Fast (1 day, 5 a unit) and slow (4 days, 1 a unit) to an empty shop of one a day: three fast, three slow."""
    lanes = Lanes.plain(np.array([0, 0]), np.array([1, 1]), np.array([5.0, 1.0]), lead_days=np.array([1.0, 4.0]))
    base = certain([[0, 7]], lanes=[(0, 1, 1)], on_hand=[[20, 0]])
    assert moves(plan(replace(base, lanes=lanes))) == {(0, 0): 3, (0, 1): 3}


def test_fixed_send_outs_leave_whatever_else_is_done() -> None:
    """Two lanes that earn 1 a unit, ten fixed on each: -20. They use stock and lane like everything else."""
    base = certain([[0, 0, 0]], lanes=[(0, 1, -1), (0, 2, -1)], on_hand=[[20, 0, 0]], worth=[[0.0, 0, 0]])
    fixed = Fixed(np.array([0, 0]), np.array([0, 1]), np.array([10.0, 10.0]))
    answer = plan(base, fixed)
    assert answer.objective == -20
    assert moves(answer) == {(0, 0): 10, (0, 1): 10}
    assert answer.fixed.all()


def test_fixed_send_outs_that_cannot_be_are_left_out_and_blamed() -> None:
    """Fifteen promised of ten on hand."""
    base = certain([[0, 0]], lanes=[(0, 1, 1)], on_hand=[[10, 0]])
    answer = plan(base, Fixed(np.array([0]), np.array([0]), np.array([15.0])))
    assert moves(answer) == {}
    assert [(b.kind, b.units) for b in answer.blames] == [("fixed", 15.0), ("stock", 10.0)]


def test_a_lane_that_is_full_has_a_price_and_says_so_to_those_it_cuts() -> None:
    """Ten wanted at margin 10 over a lane of 1 a unit that carries four: one more is worth 9."""
    answer = plan(
        certain([[0, 10]], lanes=[(0, 1, 1)], lane_limits={"capacity_units": np.array([4.0])}, on_hand=[[50, 0]])
    )
    assert answer.objective == pytest.approx(-36)
    assert answer.prices.tolist() == pytest.approx([9])
    assert (answer.cuts.wanted[0], answer.cuts.got[0], answer.cuts.why[0]) == (10, 4, LANE_FULL)


def test_the_budget_binds_like_a_lane() -> None:
    """Six money for lanes at one a unit: six units go, and one more money would save nine."""
    answer = plan(certain([[0, 10]], lanes=[(0, 1, 1)], on_hand=[[50, 0]], budget=6.0))
    assert answer.units.tolist() == [6]
    assert answer.prices.tolist() == pytest.approx([9])


def test_uncertain_demand_stops_where_the_next_unit_no_longer_pays() -> None:
    """Demand 5 or 15 at even odds, margin 10: the eleventh unit earns 5; at a lane of 6 only the first five pay."""
    base = certain([[0, 0]], lanes=[(0, 1, 4)], on_hand=[[50, 0]])
    odds = strata.Strata(np.full((2, 1), 0.5), np.array([[[0.0, 5]], [[0.0, 15]]]))
    cheap = plan(replace(base, strata=odds))
    assert moves(cheap) == {(0, 0): 15}
    assert cheap.objective == pytest.approx(-(5 * 6 + 10 * 1))
    dear = plan(replace(base, strata=odds, lanes=replace(base.lanes, unit_cost=np.array([6.0]))))
    assert moves(dear) == {(0, 0): 5}


def test_fair_share_gives_equal_days_of_cover() -> None:
    """Twelve units for shops that sell 1 and 2 a day: 4 and 8, four days each, though the second earns less."""
    base = certain([[0, 12, 24]], lanes=[(0, 1, 0.1), (0, 2, 0.1)], on_hand=[[12, 0, 0]], worth=[[0, 10, 7]])
    shared = strata.fair(np.array([[0.0, 1, 2]]), np.array([12.0]))
    rule = strata.by_rule(base.strata, shared, np.array([True]))
    fairly = plan(replace(base, strata=rule, worth=np.full((1, 3), 8.5)))
    assert moves(fairly) == {(0, 0): 4, (0, 1): 8}
    assert moves(plan(base)) == {(0, 0): 12}


def test_first_stock_of_a_new_item_is_placed_by_the_same_solver() -> None:
    """Nothing in any shop, forty at the warehouse: each shop gets what pays, the warehouse keeps the rest."""
    answer = plan(certain([[0, 12, 7, 3]], lanes=[(0, 1, 1), (0, 2, 1), (0, 3, 11)], on_hand=[[40, 0, 0, 0]]))
    assert moves(answer) == {(0, 0): 12, (0, 1): 7}


def test_slices_of_skus_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uncoupled SKUs solved a few at a time give the plan of all at once."""
    base = random_picture(30, 5, 3)
    whole = plan(base)
    monkeypatch.setattr("models.network.plan.SKUS_A_SLICE", 7)
    sliced = plan(base)
    assert moves(sliced) == moves(whole)
    assert sliced.objective == pytest.approx(whole.objective)
    assert set(zip(sliced.cuts.sku.tolist(), sliced.cuts.location.tolist(), strict=True)) == set(
        zip(whole.cuts.sku.tolist(), whole.cuts.location.tolist(), strict=True)
    )


def test_a_lane_to_itself_is_refused() -> None:
    """It would hide shortages."""
    with pytest.raises(ValueError, match="itself"):
        Lanes.plain(np.array([1]), np.array([1]), np.array([0.0]))


def test_an_empty_picture_has_an_empty_plan() -> None:
    """No stock anywhere: nothing to do, nothing wrong."""
    base: Picture = certain([[5, 5]], lanes=[(0, 1, 1)])
    answer = plan(base)
    assert answer.feasible
    assert len(answer.units) == 0
    assert answer.objective == answer.bound == 0


def test_receipts_on_their_way_count_when_they_come() -> None:
    """Three weeks of five at a shop with five now and ten coming in week 2: only week 1's five can be served."""
    base = certain([[0, 15]], lanes=[(0, 1, 1)], on_hand=[[20, 5]], horizon_days=[[21, 21]])
    receipts = np.zeros((3, 1, 2))
    receipts[2, 0, 1] = 10
    weekly = np.array([[[[0.0, 5]], [[0, 5]], [[0, 5]]]])
    with_paths = replace(base, paths=walk(base.on_hand, receipts, weekly, 7.0))
    assert moves(plan(with_paths)) == {(0, 0): 5}
    late = replace(with_paths, lanes=replace(base.lanes, lead_days=np.array([8.0])))
    assert moves(plan(late)) == {}


def test_a_shop_whose_receipt_comes_late_spares_only_what_its_leanest_week_leaves() -> None:
    """Twelve now, five a week for two weeks, twenty coming in the third: two can go, not twenty-two."""
    base = certain([[15, 99]], lanes=[(0, 1, 1)], on_hand=[[12, 0]], horizon_days=[[21, 21]])
    receipts = np.zeros((3, 1, 2))
    receipts[2, 0, 0] = 20
    weekly = np.array([[[[5.0, 33]]] * 3]).reshape(1, 3, 1, 2)
    assert moves(plan(replace(base, paths=walk(base.on_hand, receipts, weekly, 7.0)))) == {(0, 0): 2}
