"""What every family of forecasters must pass, whatever it computes (see models/demand/contract.py)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.demand.contract import CLOSURE, PRICE, Ahead, Family, Floats, Ints, Observation, Outlook, Shared, State

LEVELS = np.array([0.5, 0.8, 0.9, 0.95, 0.975, 0.99])
MOST_ROW_BYTES = 1491  # and the 8 B of the row's record beside it: under 1,500
AHEAD_PERIODS = 14


@dataclass
class World:
    """`units` and `exposure` (periods, rows), `horizons` (rows, H), and what else is known."""

    units: Floats
    exposure: Floats
    horizons: Ints
    plan: Floats = field(default_factory=lambda: np.zeros((0, 0, 0)))  # (periods + ahead, rows, C)
    signals: Floats | None = None
    groups: Ints | None = None

    @property
    def rows(self) -> int:
        return int(self.units.shape[1])

    def plan_of(self, family: Family, t: int) -> Floats:
        """Plan (rows, C) of period t."""
        if t < len(self.plan):
            return np.asarray(self.plan[t])
        return np.zeros((self.rows, len(family.plan)))

    def ahead(self, family: Family, t: int) -> Ahead:
        """What is known after period t."""
        return Ahead(np.stack([self.plan_of(family, t + 1 + a) for a in range(AHEAD_PERIODS)], axis=1))

    def seen(self, family: Family, t: int, rows: Ints) -> Observation:
        """Period t of some rows."""
        n = len(rows)
        return Observation(
            np.full(n, t),
            self.units[t, rows],
            self.exposure[t, rows],
            self.horizons[rows][:, : family.heads],
            self.plan_of(family, t)[rows],
            Ahead(self.ahead(family, t).plan[rows]),
            np.zeros((n, 5)) if self.signals is None else self.signals[t, rows],
            np.zeros((n, 2), int) if self.groups is None else self.groups[rows],
        )


def believable(family: Family, seed: int, rows: int, periods: int) -> World:
    """Slow and fast, gaps, lumps, one absurd order, plans, carts and groups, horizons that differ by row."""
    rng = np.random.default_rng(seed)
    rate = rng.choice([0.0, 0.05, 0.5, 3.0, 40.0], rows)
    units = rng.poisson(rate * rng.gamma(2.0, 0.5, (periods, rows))).astype(float)
    units[rng.random((periods, rows)) < 0.001] = 80_995.0
    exposure = rng.choice([1.0, 1.0, 1.0, 0.0, 0.37], (periods, rows))
    signals = rng.poisson(rate[:, None] * np.array([9.0, 2.0, 0.5, 0.5, 1.0]), (periods, rows, 5)).astype(float)
    horizons = np.stack([rng.integers(1, 90, rows), np.full(rows, 7), np.full(rows, 14)], axis=1)
    plan = wild_plan(family, rng, periods + AHEAD_PERIODS, rows)
    return World(units, exposure, horizons, plan, signals, rng.integers(0, 4, (rows, 2)))


def wild_plan(family: Family, rng: np.random.Generator, periods: int, rows: int) -> Floats:
    """Prices that move and are sometimes unknown, flags, closures."""
    columns: list[Any] = []
    for name in family.plan:
        if name.startswith(PRICE):
            price = rng.normal(0.0, 0.3, (periods, rows))
            columns.append(np.where(rng.random((periods, rows)) < 0.1, np.nan, price))
        else:
            columns.append(rng.random((periods, rows)) < (0.03 if name == CLOSURE else 0.1))
    return np.stack(columns, axis=2).astype(float) if columns else np.zeros((periods, rows, 0))


def run(family: Family, world: World, cuts: list[Ints] | None = None, first: int = 0) -> tuple[State, Shared]:
    """Close all periods; with `cuts`, each period's rows are closed in those groups and settled together."""
    state, shared = family.fresh(np.arange(world.rows)), family.fresh_shared()
    groups = [np.arange(world.rows)] if cuts is None else cuts
    for t in range(first, len(world.units)):
        told = np.zeros(world.rows, family.told)
        for rows in groups:
            done = family.close(state[rows], shared, world.seen(family, t, rows))
            state[rows], told[rows] = done.state, done.told
        shared = family.settle(shared, told)
    return state, shared


def look(family: Family, world: World, state: State, shared: Shared, horizons: Ints | None = None) -> Outlook:
    """The outlook after the last period of a world."""
    t = len(world.units) - 1
    asked = world.horizons if horizons is None else horizons
    return family.outlook(state, shared, np.full(world.rows, t), asked, world.ahead(family, t), LEVELS)


def same(one: Shared, two: Shared) -> bool:
    """Whether shared states are the same bytes."""
    return one.keys() == two.keys() and all(one[k].tobytes() == two[k].tobytes() for k in one)


def check_cut_invariance(family: Family, seed: int, rows: int = 29, periods: int = 45) -> None:
    """Rows closed in any groups, one by one included, give the bytes of closing them together."""
    world = believable(family, seed, rows, periods)
    rng = np.random.default_rng(seed + 1)
    state, shared = run(family, world)
    shuffled = np.array_split(rng.permutation(rows), rng.integers(2, 12))
    for cuts in (shuffled, [np.array([i]) for i in range(rows)]):
        again, shared_again = run(family, world, cuts)
        assert again.tobytes() == state.tobytes()
        assert same(shared, shared_again)
    whole, t = look(family, world, state, shared), periods - 1
    for part in [*shuffled, np.array([3])]:
        ahead = Ahead(world.ahead(family, t).plan[part])
        out = family.outlook(state[part], shared, np.full(len(part), t), world.horizons[part], ahead, LEVELS)
        assert out.mean_period_units.tobytes() == whole.mean_period_units[part].tobytes()
        assert out.mean_sum_units.tobytes() == whole.mean_sum_units[part].tobytes()
        assert out.quantile_sum_units.tobytes() == whole.quantile_sum_units[part].tobytes()
        assert out.cycles.tobytes() == whole.cycles[part].tobytes()


def check_bounded(family: Family, units: Floats, exposure: Floats, horizons: Ints, plan: Floats | None = None) -> None:
    """Whatever was seen, answers are finite, not negative, do not cross, and do not run far off the data."""
    world = World(units, exposure, horizons, np.zeros((0, 0, 0)) if plan is None else plan)
    check_answers(family, world, *run(family, world))


def check_answers(family: Family, world: World, state: State, shared: Shared) -> None:
    """Finite, not negative, in order and of the data's size, at the horizons asked and at far ones."""
    assert all(np.isfinite(a).all() for a in shared.values() if a.dtype.kind == "f")
    n, most = world.rows, np.nanmax(np.nan_to_num(world.units), axis=0, initial=0.0)
    for asked in (world.horizons, np.full((n, 1), 1), np.full((n, 1), 365)):
        out = look(family, world, state, shared, asked)
        for values in (out.mean_period_units, out.mean_sum_units, out.quantile_sum_units):
            assert np.isfinite(values).all()
            assert (values >= 0).all()
        assert (np.diff(out.quantile_sum_units, axis=2) >= 0).all()
        assert (out.mean_period_units <= 3 * most + 1e-9).all()
        assert (out.quantile_sum_units <= 60 * (asked * most[:, None] + 1.0)[:, :, None]).all()


def check_persists(family: Family, seed: int) -> None:
    """A row's state is its bytes: brought back from them it goes on as if nothing had happened."""
    world = believable(family, seed, 17, 40)
    state, shared = run(family, world)
    assert family.row.itemsize <= MOST_ROW_BYTES
    assert state[:1].nbytes == family.row.itemsize
    back = np.concatenate([np.frombuffer(state[i].tobytes(), dtype=family.row) for i in range(len(state))])
    seen = world.seen(family, 39, np.arange(17))
    one, two = family.close(state, shared, seen), family.close(back.reshape(state.shape), shared, seen)
    assert one.state.tobytes() == two.state.tobytes()
    assert one.told.tobytes() == two.told.tobytes()


def check_unseen_teaches_nothing(family: Family, seed: int) -> None:
    """A period in which demand could not be seen leaves the level where it was."""
    world = believable(family, seed, 23, 50)
    world.plan = np.zeros((0, 0, 0))
    state, shared = run(family, world)
    seen = world.seen(family, 49, np.arange(23))
    dark = Observation(
        np.full(23, 50), np.zeros(23), np.zeros(23), seen.horizons, seen.plan, seen.ahead, 0 * seen.signals, seen.groups
    )
    after = family.close(state, shared, dark)
    before_out, after_out = look(family, world, state, shared), look(family, world, after.state, shared)
    np.testing.assert_allclose(after_out.mean_period_units, before_out.mean_period_units, rtol=0.35, atol=1e-9)


def check_steady(family: Family, others: int, seed: int, periods: int = 60) -> None:
    """Rows that sell the same every period are forecast at it within 1 %, a period and every sum, among `others`."""
    rate = np.array([0.3, 1.0, 20.0, 5000.0]) if others else np.array([20.0])
    world = believable(family, seed, others + len(rate), periods)
    world.units[:, others:], world.exposure[:, others:] = rate, 1.0
    world.plan = np.zeros((0, 0, 0))
    out = look(family, world, *run(family, world))
    np.testing.assert_allclose(out.mean_period_units[others:], rate, rtol=0.01)
    expected = (rate[:, None] * world.horizons[others:])[:, 1:]  # the first horizons are of any length up to 90 periods
    np.testing.assert_allclose(out.mean_sum_units[others:, 1:], expected, rtol=0.01)


def check_fresh_asks_for_nothing(family: Family) -> None:
    """A row nobody has asked for forecasts zero at every level, so its reorder point is zero."""
    state, shared = family.fresh(np.arange(3)), family.fresh_shared()
    assert state.nbytes == 3 * family.row.itemsize
    world = World(np.zeros((1, 3)), np.ones((1, 3)), np.array([[1], [7], [400]]))
    out = look(family, world, state, shared)
    assert (out.mean_sum_units == 0).all()
    assert (out.quantile_sum_units == 0).all()
    assert (out.cycles == 0).all()


def check_starts(family: Family, seed: int) -> None:
    """Rows that start as others expect what those do, are bounded, and believe their own demand after a few weeks."""
    n = 9
    world = World(np.full((60, n), 12.0), np.ones((60, n)), np.tile([[3, 7, 14]], (n, 1))[:, : family.heads])
    like, shared = run(family, world)
    state = family.start(like, np.arange(n) + seed)
    assert state.dtype == family.row
    before, after = look(family, world, like, shared), look(family, world, state, shared)
    np.testing.assert_allclose(after.mean_period_units, before.mean_period_units, rtol=0.1)
    assert (after.cycles == 0).all()
    check_answers(family, world, state, shared)
    less = World(np.full((88, n), 3.0), np.ones((88, n)), world.horizons)
    for period in range(60, 88):
        done = family.close(state, shared, less.seen(family, period, np.arange(n)))
        state = done.state
    assert (look(family, less, state, shared).mean_period_units < 4.5).all()


def check_closing_touches_no_input(family: Family, seed: int) -> None:
    """Closing and settling return new values; what was handed in is as it was."""
    world = believable(family, seed, 9, 20)
    state, shared = run(family, world)
    before = state.tobytes(), {k: a.tobytes() for k, a in shared.items()}
    done = family.close(state, shared, world.seen(family, 19, np.arange(9)))
    family.settle(shared, done.told)
    look(family, world, state, shared)
    assert (state.tobytes(), {k: a.tobytes() for k, a in shared.items()}) == before


def check_explains(family: Family, seed: int) -> None:
    """Weights sum to one, losses are finite, and whoever is out has a reason."""
    world = believable(family, seed, 11, 60)
    told = family.explain(*run(family, world))
    np.testing.assert_allclose(told.weights.sum(axis=1), 1.0, rtol=1e-5)
    assert np.isfinite(told.loss_units).all()
    assert told.weights.shape == told.loss_units.shape == (11, len(told.experts))
    for weights, reasons in zip(told.weights, told.out, strict=True):
        assert all((weight > 0) == (why == "") for weight, why in zip(weights, reasons, strict=True))


def check_inherits(family: Family, source: Family, seed: int) -> None:
    """Rows of another family keep what they knew: their means stay near, and they go on learning without a jump."""
    world = believable(source, seed, 40, 70)
    world.units = np.minimum(world.units, 400.0)
    world.plan = np.zeros((0, 0, 0))
    state, shared = run(source, world)
    taken, fresh = family.inherit(source, state, np.arange(40)), family.fresh_shared()
    assert taken.nbytes == 40 * family.row.itemsize
    before, after = look(source, world, state, shared), look(family, world, taken, fresh)
    np.testing.assert_allclose(after.mean_period_units, before.mean_period_units, rtol=0.5, atol=0.05)
    check_answers(family, world, taken, fresh)
    world.horizons = world.horizons[:, : family.heads]
    done = family.close(taken, fresh, world.seen(family, len(world.units) - 1, np.arange(40)))
    check_answers(family, world, done.state, family.settle(fresh, done.told))
