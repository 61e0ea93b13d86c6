"""Min-cost flow by the textbook door, held to known answers, networkx, OR-tools and brute force."""

from __future__ import annotations

import itertools

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ortools.graph.python import min_cost_flow as min_cost_flow_of_ortools

from models.network.flow import min_cost_flow

EDGES = [(0, 1, 10), (0, 2, 20), (0, 3, 30), (0, 4, 40), (1, 2, 15)]
EDGES += [(1, 3, 25), (1, 4, 35), (2, 3, 20), (2, 4, 30), (3, 4, 10)]
BOTH = np.array([*EDGES, *[(b, a, c) for a, b, c in EDGES]])


def five_nodes(*needs: float):
    return min_cost_flow(np.array([100.0, -needs[0], -needs[1], 0, 0]), BOTH[:, 0], BOTH[:, 1], BOTH[:, 2])


def test_five_nodes_ship_direct() -> None:
    """100 at node 0, 50 needed at 1 and at 2: both go direct, 50 * 10 + 50 * 20 = 1,500."""
    shipped = five_nodes(50, 50)
    assert shipped.feasible
    assert shipped.cost == 1500
    assert {(int(a), int(b)): u for (a, b, _), u in zip(BOTH, shipped.units, strict=True) if u > 0} == {
        (0, 1): 50,
        (0, 2): 50,
    }


def test_five_nodes_short_by_twenty_are_said_to_be() -> None:
    """100 at node 0, 70 and 50 needed: short by 20, and the supply and both needs are named."""
    shipped = five_nodes(70, 50)
    assert not shipped.feasible
    assert shipped.missing.sum() == 20
    assert shipped.blamed_nodes.tolist() == [0, 1, 2]
    assert shipped.blamed_arcs.tolist() == []


def test_a_loop_at_a_node_is_refused() -> None:
    """A free loop would hide what is missing."""
    with pytest.raises(ValueError, match="arc 1 runs from node 2 to itself"):
        min_cost_flow(np.array([1.0, 0, -1]), [0, 2], [2, 2], [1.0, 0.0])


def three_goods(need: float):
    return min_cost_flow(
        np.array([10.0, 15, 20, -need]),
        np.array([0, 1, 2]),
        np.array([3, 3, 3]),
        np.array([5.0, 8, 10]),
        np.array([10.0, 15, 20]),
        np.ones((1, 3)),
        np.array([35.0]),
    )


def test_three_goods() -> None:
    """At most 35 together: nothing is cheapest. Exactly 35: 10, 15 and 10, for 50 + 120 + 100 = 270. 40: short by 5."""
    assert three_goods(0).cost == 0
    exactly = three_goods(35)
    assert exactly.units.tolist() == [10, 15, 10]
    assert exactly.cost == 270
    over = three_goods(40)
    assert over.missing.sum() == 5
    assert over.blamed_rows.tolist() == [0]


def test_fixed_flows_that_earn() -> None:
    """Minimise -a - b with both fixed at 10: -20."""
    assert min_cost_flow(np.array([10.0, 10, -10, -10]), [0, 1], [2, 3], [-1.0, -1.0]).cost == -20


def test_the_lane_to_blame_is_named() -> None:
    """Ten are there and ten needed, but the lane carries six: it is short by four and the lane is to blame."""
    shipped = min_cost_flow(np.array([10.0, -10]), [0], [1], [1.0], np.array([6.0]))
    assert shipped.missing.sum() == 4
    assert shipped.blamed_arcs.tolist() == [0]
    assert shipped.blamed_nodes.tolist() == [1]


@st.composite
def networks(draw: st.DrawFn):
    size = draw(st.integers(2, 7))
    pairs = [(a, b) for a in range(size) for b in range(size) if a != b]
    arcs = draw(st.lists(st.sampled_from(pairs), min_size=1, max_size=14, unique=True))
    cost = draw(st.lists(st.integers(-2, 9), min_size=len(arcs), max_size=len(arcs)))
    width = draw(st.lists(st.integers(0, 8), min_size=len(arcs), max_size=len(arcs)))
    supply = draw(st.lists(st.integers(-5, 5), min_size=size - 1, max_size=size - 1))
    return np.array([*supply, -sum(supply)], float), np.array(arcs), np.array(cost, float), np.array(width, float)


@settings(max_examples=80, deadline=None)
@given(networks())
def test_random_networks_cost_what_networkx_and_ortools_say(network) -> None:
    """Same cost as networkx and OR-tools; where it cannot be done all say so, and the shortfall is the max flow's."""
    supply, arcs, cost, width = network
    shipped = min_cost_flow(supply, arcs[:, 0], arcs[:, 1], cost, width)
    graph = nx.DiGraph()
    graph.add_nodes_from((i, {"demand": -int(s)}) for i, s in enumerate(supply))
    for (a, b), c, w in zip(arcs, cost, width, strict=True):
        graph.add_edge(int(a), int(b), weight=int(c), capacity=int(w))
    try:
        expected = nx.min_cost_flow_cost(graph)
    except nx.NetworkXUnfeasible:
        assert not shipped.feasible
        for i, s in enumerate(supply):
            graph.add_edge("s", i, capacity=max(int(s), 0)), graph.add_edge(i, "t", capacity=max(-int(s), 0))
        most = nx.maximum_flow_value(graph, "s", "t")
        assert shipped.missing.sum() == pytest.approx(np.maximum(-supply, 0).sum() - most)
        return
    assert shipped.feasible
    assert shipped.cost == pytest.approx(expected)
    assert shipped.cost == pytest.approx(_ortools_cost(supply, arcs, cost, width))
    moved = np.bincount(arcs[:, 1], shipped.units, len(supply)) - np.bincount(arcs[:, 0], shipped.units, len(supply))
    assert moved == pytest.approx(-supply)
    assert np.all((shipped.units >= 0) & (shipped.units <= width))


def _ortools_cost(supply: np.ndarray, arcs: np.ndarray, cost: np.ndarray, width: np.ndarray) -> float:
    """The cheapest flow by OR-tools' network of supplies, not by the circulation we give it."""
    solver = min_cost_flow_of_ortools.SimpleMinCostFlow()
    solver.add_arcs_with_capacity_and_unit_cost(
        *(np.asarray(values, np.int64) for values in (arcs[:, 0], arcs[:, 1], width, cost))
    )
    solver.set_nodes_supplies(np.arange(len(supply)), np.asarray(supply, np.int64))
    assert solver.solve() == solver.OPTIMAL
    return float(solver.optimal_cost())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 3), st.integers(0, 3), st.lists(st.integers(0, 6), min_size=4, max_size=4), st.integers(0, 5))
def test_small_integers_cost_what_trying_all_says(a: int, b: int, cost: list[int], limit: int) -> None:
    """Two sources, two sinks, four arcs, one row over two of them: nothing tried is fuller or cheaper."""
    supply = np.array([3.0, 3, -a, -b])
    tail, head = np.array([0, 0, 1, 1]), np.array([2, 3, 2, 3])
    usage = np.array([[1.0, 0, 2, 0]])
    shipped = min_cost_flow(supply, tail, head, cost, np.full(4, 3.0), usage, np.array([float(limit)]))
    tried = []
    for units in itertools.product(range(4), repeat=4):
        x = np.array(units, float)
        lawful = x[0] + x[1] <= 3 and x[2] + x[3] <= 3 and usage[0] @ x <= limit
        if lawful and x[0] + x[2] <= a and x[1] + x[3] <= b:
            tried.append((a + b - x.sum(), float(np.array(cost) @ x)))
    assert (shipped.missing.sum(), pytest.approx(shipped.cost)) == min(tried)
