"""What rows know together: read frozen, told by slices, settled once, and none of it shows how a log was cut."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from agents.planner import versions
from agents.planner.commons import Settled
from agents.planner.fold import fold
from agents.planner.keeping import changes
from agents.planner.wakes import sweep
from models.demand.baseline import WIDTH, Baseline
from models.demand.contract import Between, Closing, Observation, Shared, State, Told, go_on
from tests.agents.planner.test_laws import differences
from tests.agents.planner.worlds import Store, busy, by_sku, config, run


class Neighbourly(Baseline):
    """The baseline, whose rows also remember what others said: a sum in which the order of adding shows in the bits."""

    row = np.dtype((np.float64, (WIDTH,)))
    told = np.dtype([("segment", "<i8"), ("bin", "<i8"), ("said", "<f8")])
    plan = ("price", "discount", "promotion", "holiday", "closure")

    def fresh_shared(self) -> Shared:
        return {**super().fresh_shared(), "heard": np.zeros(2), "closings": np.zeros((), np.int64)}

    def close(self, state: State, shared: Shared, seen: Observation) -> Closing:
        done = super().close(state, shared, seen)
        told = np.zeros(len(state), self.told)
        for name in done.told.dtype.names or ():
            told[name] = done.told[name]
        planned = np.nan_to_num(seen.plan).sum(axis=1) + np.nan_to_num(seen.ahead.plan).sum(axis=(1, 2))
        told["said"] = 0.1 * seen.units + 0.01 * planned + 0.001 * shared["heard"][0] + 1e-6 * seen.groups.sum(axis=1)
        return Closing(done.state, told)

    def settle(self, shared: Shared, told: Told, between: Between = go_on) -> Shared:
        heard = shared["heard"].copy()
        for said in told["said"].tolist():
            heard = np.array([0.9 * heard[0] + said, heard[1] + heard[0]])
        return {**super().settle(shared, told, between), "heard": heard, "closings": shared["closings"] + 1}


@pytest.fixture(autouse=True)
def neighbourly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest version has that family."""
    newest = replace(versions.VERSIONS[-1], family=Neighbourly())
    monkeypatch.setattr(versions, "VERSIONS", (*versions.VERSIONS[:-1], newest))


def heard(store: Store) -> Shared:
    """What rows of a store will read next."""
    commons = store.open().commons
    assert isinstance(commons, Settled)
    return commons.next


@pytest.mark.parametrize("seed", range(2))
def test_neither_slices_nor_crashes_show_in_what_is_heard(seed: int) -> None:
    """Any cuts, slices of a few rows and crashes between them: the same bytes of rows and of what they share."""
    records = busy(seed, days=5).records
    whole = run(config(), records)
    cut = run(config(), records, random.Random(seed), crash=0.2)
    assert differences(whole, cut) == []
    assert by_sku(whole.messages) == by_sku(cut.messages)
    assert heard(whole)["closings"] >= 5
    assert heard(whole)["heard"][0] != 0


def test_a_closing_in_the_middle_is_kept_as_it_stands() -> None:
    """A shelf reopened after each slice goes on as one that was not; at rest nothing that was told is left."""
    records = busy(1, days=4).records
    one, kept = Store(config()), 0
    shelf = one.open()
    for record in records:
        one.keep(shelf, fold(shelf, [record]).messages)
        while shelf.pending:
            kept += any(name.startswith(b"told:") for name in one.sections["shared"])
            shelf = one.open()
            one.keep(shelf, sweep(shelf, 2))
    assert kept > 3, "no closing was kept in the middle"
    assert not [name for name in one.sections["shared"] if name.startswith(b"told:")]
    assert differences(one, run(config(), records)) == []


def test_how_rows_are_numbered_does_not_show() -> None:
    """Rows that came in another order share the same."""

    def told_in(order: list[int]) -> bytes:
        commons = Settled(Neighbourly())
        told = np.zeros(3, Neighbourly.told)
        told["said"] = np.array([0.1, 0.2, 0.7])[order]
        commons.tell(np.arange(3), told)
        commons.settle([(b"a", b"b", b"c")[i] for i in order])
        return commons.next["heard"].tobytes()

    assert told_in([0, 1, 2]) == told_in([2, 0, 1]) == told_in([1, 2, 0])


def test_what_did_not_change_is_not_written_again() -> None:
    """The shared arrays are large: a write carries them only after a closing."""
    store = Store(config())
    shelf = store.open()
    records = busy(2, days=3).records
    store.keep(shelf, fold(shelf, records).messages)
    while shelf.pending:
        store.keep(shelf, sweep(shelf, 100))
    assert changes(shelf, store.place, [], 0).changes["shared"] == {}
