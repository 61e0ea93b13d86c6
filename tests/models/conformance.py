"""What every family of forecasters must pass, whatever it computes (see models/demand/contract.py)."""

from __future__ import annotations

import numpy as np

from models.demand.contract import NO_BIN, Family, Floats, Ints, add_to_pool, empty_pool

LEVELS = np.array([0.5, 0.8, 0.9, 0.95, 0.975, 0.99])


def believable_days(seed: int, rows: int, days: int) -> tuple[Floats, Floats, Ints]:
    """Demand (days, rows), exposure (days, rows) and horizons (rows,): slow and fast, gaps, lumps, one absurd order."""
    rng = np.random.default_rng(seed)
    rate = rng.choice([0.0, 0.05, 0.5, 3.0, 40.0], rows)
    demand = rng.poisson(rate * rng.gamma(2.0, 0.5, (days, rows))).astype(float)
    demand[rng.random((days, rows)) < 0.001] = 80_995.0
    exposure = rng.choice([1.0, 1.0, 1.0, 0.0, 0.37], (days, rows))
    return demand, exposure, rng.integers(1, 90, rows)


def run(
    family: Family, demand: Floats, exposure: Floats, horizon: Ints, cuts: list[Ints] | None = None
) -> tuple[Floats, Ints]:
    """Close all days; with `cuts`, each day's rows are closed in those groups."""
    state, pool = family.fresh(demand.shape[1]), empty_pool(family)
    groups = [np.arange(demand.shape[1])] if cuts is None else cuts
    for t in range(len(demand)):
        frozen = pool
        for rows in groups:
            done = family.close(
                state[rows], frozen, np.full(len(rows), t), demand[t, rows], exposure[t, rows], horizon[rows]
            )
            state[rows] = done.state
            pool = add_to_pool(pool, done)
    return state, pool


def check_cut_invariance(family: Family, seed: int, rows: int = 29, days: int = 45) -> None:
    """Rows closed in any groups, one by one included, give the bytes of closing them together."""
    demand, exposure, horizon = believable_days(seed, rows, days)
    rng = np.random.default_rng(seed + 1)
    state, pool = run(family, demand, exposure, horizon)
    shuffled = np.array_split(rng.permutation(rows), rng.integers(2, 12))
    for cuts in (shuffled, [np.array([i]) for i in range(rows)]):
        again, pool_again = run(family, demand, exposure, horizon, cuts)
        assert again.tobytes() == state.tobytes()
        assert pool_again.tobytes() == pool.tobytes()
    day = np.full(rows, days - 1)
    whole = family.outlook(state, pool, day, horizon, LEVELS)
    for rows_of_cut in shuffled:
        part = family.outlook(state[rows_of_cut], pool, day[rows_of_cut], horizon[rows_of_cut], LEVELS)
        assert part.mean_day_units.tobytes() == whole.mean_day_units[rows_of_cut].tobytes()
        assert part.mean_sum_units.tobytes() == whole.mean_sum_units[rows_of_cut].tobytes()
        assert part.quantile_sum_units.tobytes() == whole.quantile_sum_units[rows_of_cut].tobytes()


def check_bounded(family: Family, demand: Floats, exposure: Floats, horizon: Ints) -> None:
    """Whatever was seen, answers are finite, not negative, do not cross, and do not run far off the data."""
    state, pool = run(family, demand, exposure, horizon)
    assert np.isfinite(state).all()
    assert (pool >= 0).all()
    for asked in (horizon, np.full(len(horizon), 1), np.full(len(horizon), 365)):
        out = family.outlook(state, pool, np.full(len(horizon), len(demand) - 1), asked, LEVELS)
        for values in (out.mean_day_units, out.mean_sum_units, out.quantile_sum_units):
            assert np.isfinite(values).all()
            assert (values >= 0).all()
        assert (np.diff(out.quantile_sum_units, axis=1) >= 0).all()
        most = np.nanmax(demand, axis=0, initial=0.0)
        assert (out.mean_day_units <= 2 * most + 1e-9).all()
        assert (out.quantile_sum_units <= 60 * (asked * most + 1.0)[:, None]).all()


def check_persists(family: Family, seed: int) -> None:
    """A row's state is its bytes: brought back from them it goes on as if nothing had happened."""
    demand, exposure, horizon = believable_days(seed, 17, 40)
    state, pool = run(family, demand, exposure, horizon)
    back = np.stack([np.frombuffer(state[i].tobytes(), dtype=np.float64) for i in range(len(state))])
    day = np.full(17, 40)
    one = family.close(state, pool, day, demand[0], exposure[0], horizon)
    two = family.close(back, pool, day, demand[0], exposure[0], horizon)
    assert one.state.tobytes() == two.state.tobytes()
    assert (one.bin == two.bin).all()


def check_unseen_teaches_nothing(family: Family, seed: int) -> None:
    """A day in which demand could not be seen leaves the forecast where it was."""
    demand, exposure, horizon = believable_days(seed, 23, 50)
    state, pool = run(family, demand, exposure, horizon)
    day = np.full(23, 50)
    after = family.close(state, pool, day, np.zeros(23), np.zeros(23), horizon)
    before_out = family.outlook(state, pool, day, horizon, LEVELS)
    after_out = family.outlook(after.state, pool, day, horizon, LEVELS)
    np.testing.assert_allclose(after_out.mean_day_units, before_out.mean_day_units, rtol=0.35, atol=1e-9)
    assert ((after.bin == NO_BIN) | (after.bin >= 0)).all()


def check_fresh_asks_for_nothing(family: Family) -> None:
    """A row nobody has asked for forecasts zero at every level, so its reorder point is zero."""
    state, pool = family.fresh(3), empty_pool(family)
    assert state.shape == (3, family.WIDTH)
    out = family.outlook(state, pool, np.zeros(3, int), np.array([1, 7, 400]), LEVELS)
    assert (out.mean_sum_units == 0).all()
    assert (out.quantile_sum_units == 0).all()
    assert (out.cycles == 0).all()


def check_closing_touches_no_input(family: Family, seed: int) -> None:
    """Closing returns new state; what was handed in is as it was."""
    demand, exposure, horizon = believable_days(seed, 9, 20)
    state, pool = run(family, demand, exposure, horizon)
    before = state.tobytes(), pool.tobytes()
    family.close(state, pool, np.full(9, 20), demand[0], exposure[0], horizon)
    assert (state.tobytes(), pool.tobytes()) == before
