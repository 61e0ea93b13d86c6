"""Guards: compiled or interpreted the same; and who they say decides nothing, as a day closes or between, does not."""

from __future__ import annotations

import copy
import hashlib

import numpy as np
import pytest

from agents import warm
from agents.planner import decisions, fast, forecast_text, guards
from agents.planner.alerts import CRITICAL, INFO, KINDS, WARNING
from agents.planner.config import NEVER
from agents.planner.packing import HOT
from agents.planner.row import put_back, take
from agents.planner.shelf import Alert, Shelf
from models.demand import row_loops
from tests.agents.planner.worlds import busy, config, run
from tests.interpreted import fingerprint_of

ROWS = 400
SEVERITY = dict(zip(KINDS, (WARNING, WARNING, CRITICAL, INFO, WARNING), strict=True))


def standing_anywhere(seed: int) -> Shelf:
    """A shelf whose rows have stock, thresholds, policies and open alerts of any kind, and no open replenishment."""
    shelf, rng = Shelf(config()), np.random.default_rng(seed)
    shelf.live = True
    for i in range(ROWS):
        shelf.row_of(f"S{i}", "shop", 0)
    for name in HOT.names or ():
        shelf.hot[name][:ROWS] = 1_000 * rng.integers(0, 20, ROWS)
    hot = shelf.hot[:ROWS]
    hot["on_hand"] = 1_000 * rng.integers(-5, 40, ROWS)
    hot["demand_rate"], hot["day"] = rng.integers(0, 2, ROWS), rng.integers(0, 20, ROWS)
    hot["over_point"][rng.random(ROWS) < 0.5] = NEVER
    hot["count_off_day"] = rng.integers(1, 20, ROWS) * (rng.random(ROWS) < 0.1)
    for name in ("on_order", "confirmed", "proposed"):
        hot[name] = 0
    for name in ("orderable", "periodic"):
        shelf.policy[name][:ROWS] = rng.random(ROWS) < 0.3
    shelf.policy["review_days"][:ROWS] = rng.integers(0, 4, ROWS)
    for row in range(ROWS):
        shelf.alerts[row] = {kind: Alert(kind, SEVERITY[kind], 0) for kind in KINDS if rng.random() < 0.15}
    put_back(shelf, take(shelf, list(range(ROWS))))  # brings `alerting` in line
    return shelf


def fingerprint() -> str:
    """Of who may decide something, between closings and at one, and of the guards."""
    made = hashlib.sha256()
    for seed in range(3):
        shelf = standing_anywhere(seed)
        for closing in (False, True):
            may = guards.unsettled(shelf, np.arange(ROWS), closing)
            assert 20 < np.count_nonzero(may) < ROWS - 20, "rows of both kinds are to be compared"
            for part in (may, shelf.guard["lo"][:ROWS], shelf.guard["hi"][:ROWS]):
                made.update(part.tobytes())
    return made.hexdigest()


def test_interpreted_source_gives_the_same_bytes() -> None:
    """Where nothing can be compiled, the guards are the same ones."""
    assert fingerprint_of(__name__) == fingerprint()


@pytest.mark.parametrize("closing", [False, True])
def test_whom_nothing_is_expected_of_decides_nothing(closing: bool) -> None:
    """An open alert that still holds costs a closing nothing; who is left out would have said and changed nothing."""
    shelf = standing_anywhere(9)
    rows = np.flatnonzero(~guards.unsettled(shelf, np.arange(ROWS), closing))
    assert len([row for row in rows.tolist() if shelf.alerts.get(row)]) > 3
    before = copy.deepcopy(shelf.alerts)
    for row in take(shelf, rows.tolist()).values():
        assert decisions.settle(shelf, row, "cause", 5, 5, closing) == []
        assert row.alerts == before.get(row.number, {})


def test_no_loop_is_compiled_while_events_wait() -> None:
    """Warming up compiles all that a busy world calls: a loop that meets another kind of array stops it for 2 s."""
    pytest.importorskip("numba", exc_type=ImportError, reason="numba is not installed: nothing is compiled")
    warm.warm()
    loops = {
        loop.__name__: loop
        for loop in (
            *(fast._run, guards._unsettled, forecast_text._write, forecast_text._quote),
            *(row_loops.close, row_loops.look),
        )
    }
    before = {name: list(loop.signatures) for name, loop in loops.items()}
    run(config(version=2), busy(3).records)
    assert {name: loop.signatures for name, loop in loops.items()} == before
