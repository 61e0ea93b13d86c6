"""Guaranteed-service safety stock, held to the literature's networks and to stockpyl."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.network.placement import NotATree, Placement, Stage, cost_of, cumulated, parse, place

FILES = Path(os.environ.get("RESTOCK_DATA", Path(__file__).parents[4] / "shared" / "data")) / "gsm_networks"
TREES = ("battery", "battery_small_divergent", "bulldozer", "bulldozer_small_convergent", "digital_camera")
CYCLES = ("chemicals", "cutlery", "fast_food", "fast_toys", "food", "semiconductors", "toys")


def stages_of(name: str) -> dict[str, Stage]:
    path = FILES / f"{name}.txt"
    if not path.exists():
        pytest.skip(f"the guaranteed-service networks are not at {FILES}: set RESTOCK_DATA")
    return parse(path.read_text())


LINE = """stage_id,lead_time,max_s_time,cost_rate,risk_pool,ext_demand_mean,ext_demand_std,ext_demand_thres,up_stages
Common,5,,2400,2,,,,
Final,4,0,2400,,5,3,1.645,Main,1
Main,8,,3600,2,,,,Common,1
"""


def test_a_line_of_three_keeps_stock_at_both_ends() -> None:
    """1.645 * 3 * (2,400 * sqrt 5 + 8,400 * sqrt 12) = 170,084.9; Final alone would cost 170,919.2."""
    stages = parse(LINE)
    best = place(stages)
    assert {name: s.holding for name, s in stages.items()} == {"Common": 2400, "Final": 8400, "Main": 6000}
    assert best.holders() == ["Common", "Final"]
    assert (best.service["Common"], best.service["Main"], best.service["Final"]) == (0, 8, 0)
    assert best.cost == pytest.approx(170_084.9, abs=0.05)
    assert cost_of(stages, {"Common": 5, "Main": 13, "Final": 0}) == pytest.approx(170_919.2, abs=0.05)


@pytest.mark.data
def test_the_small_bulldozer_file_gives_the_published_answer() -> None:
    """The file in the set is the line above."""
    best = place(stages_of("bulldozer_small_linear"))
    assert best.holders() == ["Common_Subassembly", "Final_Assembly"]
    assert best.cost == pytest.approx(170_084.9, abs=0.05)


@pytest.mark.data
@pytest.mark.parametrize("name", TREES)
def test_trees_of_the_set_cost_what_stockpyl_says(name: str) -> None:
    """Same networks, another program, same cost; and the promises cost what the table says."""
    stages = stages_of(name)
    best = place(stages)
    assert best.cost == pytest.approx(_stockpyl_cost(stages), rel=1e-9)
    assert cost_of(stages, best.service) == pytest.approx(best.cost, rel=1e-12)


def _stockpyl_cost(stages: dict[str, Stage]) -> float:
    from stockpyl.gsm_tree import optimize_committed_service_times, preprocess_tree, relabel_nodes
    from stockpyl.supply_chain_network import SupplyChainNetwork
    from stockpyl.supply_chain_node import SupplyChainNode

    number = {name: i + 1 for i, name in enumerate(stages)}
    network = SupplyChainNetwork(max_max_replenishment_time=None)
    for name, stage in stages.items():
        more = {}
        if stage.bound_units is not None:
            more["demand_bound_constant"] = 1.0
            more["external_outbound_cst"] = stage.service_most
        node = SupplyChainNode(number[name], network=network, processing_time=stage.lead, **more)
        node.local_holding_cost = stage.holding
        node.demand_bound_constant = 1.0
        if stage.bound_units is not None:
            node.demand_source.type, node.demand_source.mean = "N", 0.0
            node.demand_source.standard_deviation = stage.bound_units
        network.add_node(node)
    for name, stage in stages.items():
        for supplier in stage.suppliers:
            network.add_edge(number[supplier], number[name])
    tree = preprocess_tree(relabel_nodes(network, start_index=0, force_relabel=False))
    return float(optimize_committed_service_times(tree=tree)[1])


@pytest.mark.data
@pytest.mark.parametrize("name", CYCLES)
def test_networks_with_two_ways_are_refused_by_name(name: str) -> None:
    """A cycle is named stage by stage, and each named stage touches the next."""
    stages = stages_of(name)
    with pytest.raises(NotATree, match="two ways lead between stages") as refused:
        place(stages)
    named = refused.value.stages
    assert len(set(named)) == len(named) >= 4
    for one, other in zip(named, [*named[1:], named[0]], strict=True):
        assert other in stages[one].suppliers or one in stages[other].suppliers


@pytest.mark.data
def test_every_file_of_the_set_is_solved_or_refused() -> None:
    """No file is left out of the lists above."""
    stages_of("battery")
    assert {p.stem for p in FILES.glob("*.txt")} == {*TREES, *CYCLES, "bulldozer_small_linear"}


@st.composite
def trees(draw: st.DrawFn) -> dict[str, Stage]:
    """Small random trees: each stage joins an earlier one as its supplier or its customer; ends face customers."""
    size = draw(st.integers(2, 4))
    suppliers: dict[str, dict[str, float]] = {str(i): {} for i in range(size)}
    for i in range(1, size):
        other = draw(st.integers(0, i - 1))
        above, below = (i, other) if draw(st.booleans()) else (other, i)
        suppliers[str(below)][str(above)] = 1.0
    supplying = {s for needs in suppliers.values() for s in needs}
    added = {name: float(draw(st.integers(1, 9))) for name in suppliers}
    holding = cumulated(added, suppliers)
    return {
        name: Stage(
            draw(st.integers(0, 2)),
            holding[name],
            needs,
            None if name in supplying else draw(st.integers(0, 2)),
            None if name in supplying else float(draw(st.integers(1, 5))),
        )
        for name, needs in suppliers.items()
    }


@settings(max_examples=25, deadline=None)
@given(trees())
def test_small_trees_cost_what_trying_every_promise_says(stages: dict[str, Stage]) -> None:
    """Brute force over all promises finds nothing cheaper, and the placement's own promises cost what it says."""
    best: Placement = place(stages)
    assert cost_of(stages, best.service) == pytest.approx(best.cost)
    most = sum(s.lead for s in stages.values())
    tried = []
    for times in itertools.product(range(most + 1), repeat=len(stages)):
        try:
            tried.append(cost_of(stages, dict(zip(stages, times, strict=True))))
        except ValueError:
            continue
    assert best.cost == pytest.approx(min(tried))
    assert np.all(np.array(list(best.stock_units.values())) >= 0)


def test_an_unknown_supplier_and_a_stage_apart_are_refused() -> None:
    """Both are mistakes of the file; each is named."""
    with pytest.raises(ValueError, match="made from ghost"):
        place({"a": Stage(1, 1.0, {"ghost": 1.0})})
    with pytest.raises(NotATree, match="without a connection to the rest: b"):
        place({"a": Stage(1, 1.0, {}), "b": Stage(1, 1.0, {})})
