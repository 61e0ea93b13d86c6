"""Rebalancing pays for itself where it is used and does nothing where it would not: the bench's simulation, small."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench.rebalancing import Year, simulate

WEEKS, FIRST = 70, 50


@pytest.fixture(scope="module")
def demand() -> np.ndarray:
    """Eight items in nine stores, rates that drift, Poisson around them; seed 4."""
    rng = np.random.default_rng(4)
    drift = np.exp(np.cumsum(rng.normal(0, 0.12, (WEEKS, 8, 9)), axis=0))
    return rng.poisson(20 * drift).astype(float)


@pytest.fixture(scope="module")
def idle(demand: np.ndarray) -> Year:
    return simulate(demand, FIRST, "none", 1.0)


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_the_solver_pays_for_itself_at_any_transfer_cost(demand: np.ndarray, idle: Year, factor: float) -> None:
    """Fewer sales are lost, and all costs together are less than with nobody moving anything."""
    year = simulate(demand, FIRST, "solver", factor)
    assert year.moved > 0
    assert year.lost < idle.lost
    assert year.total < idle.total


def test_dear_transfers_are_not_made(demand: np.ndarray, idle: Year) -> None:
    """At fifty times the cost nothing moves and the year is the idle one."""
    assert simulate(demand, FIRST, "solver", 50.0) == idle


def test_dearer_transfers_are_fewer(demand: np.ndarray) -> None:
    """What moves falls with what moving costs."""
    moved = [simulate(demand, FIRST, "solver", factor).moved for factor in (0.5, 1.0, 2.0, 4.0)]
    assert moved == sorted(moved, reverse=True)


def test_the_solver_beats_proportional_sharing(demand: np.ndarray) -> None:
    """Days of cover made equal cost more than they bring at the full transfer cost."""
    assert simulate(demand, FIRST, "solver", 1.0).total < simulate(demand, FIRST, "cover", 1.0).total


def test_units_are_conserved(demand: np.ndarray) -> None:
    """Sharing by cover sends no unit that does not arrive: what leaves equals what comes, whatever is floored."""
    from tests.bench.rebalancing import Network, _to_cover

    net = Network.of(9)
    rng = np.random.default_rng(1)
    for _ in range(50):
        out, come = _to_cover(net, rng.poisson(9, (6, 9)).astype(float), rng.gamma(1, 5, (6, 9)))
        for w in range(3):
            mine = net.warehouse == w
            assert out[:, mine].sum(axis=1) == pytest.approx(come[:, mine].sum(axis=1))
