"""A shelf's version: newer code decides and packs as the log says, and a switch in the log takes it to the next one."""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from zlib import crc32

import numpy as np
import pytest

from agents.planner import packing, versions
from agents.planner.fold import fold
from agents.planner.keeping import load, meta
from agents.planner.shelf import Shelf
from agents.planner.versions import NEWEST, VERSIONS, Version
from models.demand.baseline import WIDTH, Baseline
from models.demand.contract import Family, IntsLike, State
from stream.errors import SetupError
from stream.events.rows import SkuRecord, decode, switch_frame
from tests.agents.planner.test_laws import differences
from tests.agents.planner.worlds import Store, at_rest, busy, by_sku, config, run

NEXT = NEWEST + 1
SEEDS = range(3)


class Wider(Baseline):
    """The baseline with one number more a row, made of all the others and the row's number: it shows what was read."""

    row = np.dtype((np.float64, (WIDTH + 1,)))

    def inherit(self, source: Family, state: State, phase: IntsLike) -> State:
        taken = self.fresh(phase)
        taken[:, -1] = np.array([crc32(one.tobytes()) for one in state]) + phase
        return taken


def _note(shelf: Shelf) -> None:
    """Something beside the rows is brought over."""
    shelf.counters["brought over"] += shelf.n


@pytest.fixture
def with_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that has one version more, with a wider state and another pool."""
    after = Version(NEXT, "9.0", "for this test", VERSIONS[-1].hot, Wider(), switch=_note)
    monkeypatch.setattr(versions, "VERSIONS", (*VERSIONS, after))
    monkeypatch.setattr(versions, "NEWEST", NEXT)


def switched(records: list[SkuRecord], at: int, to: int = NEXT) -> list[SkuRecord]:
    """The log with a switch before its record `at`."""
    switch = decode(switch_frame(to), 0)
    return [replace(r, offset=i) for i, r in enumerate([*records[:at], switch, *records[at:]])]


@pytest.mark.parametrize("seed", SEEDS)
def test_without_a_switch_newer_code_writes_what_older_code_wrote(seed: int, request: pytest.FixtureRequest) -> None:
    """Byte for byte: so workers of two releases may take a shelf from each other."""
    records = busy(seed).records
    before = run(config(version=NEWEST), records)
    request.getfixturevalue("with_next")
    after = run(config(version=NEWEST), records, random.Random(seed), crash=0.1)
    assert differences(before, after) == []
    assert by_sku(before.messages) == by_sku(after.messages)


@pytest.mark.usefixtures("with_next")
@pytest.mark.parametrize("seed", SEEDS)
def test_where_the_log_is_cut_around_a_switch_does_not_show(seed: int) -> None:
    """The same log with a switch in it gives the same bytes and messages, whoever crashes and reloads where."""
    records = busy(seed).records
    log = switched(records, random.Random(seed).randrange(len(records) // 4, len(records)))
    whole = run(config(), log)
    cut = run(config(), log, random.Random(seed + 50), crash=0.15)
    assert differences(whole, cut) == [], f"seed {seed}"
    assert by_sku(whole.messages) == by_sku(cut.messages), f"seed {seed}"
    assert whole.sections["meta"][b"deciding"] == b"%d" % NEXT


@pytest.mark.usefixtures("with_next")
def test_a_replay_decides_as_was_decided() -> None:
    """What was decided before the switch is decided so again; and this switch does change what is decided after it."""
    records = busy(3).records
    at = len(records) // 2
    plain, log = run(config(), records), run(config(), switched(records, at))
    early, after = by_sku(run(config(), records[:at]).messages), by_sku(log.messages)
    assert {row: after[row][: len(its)] for row, its in early.items()} == early
    assert [m.value for m in log.messages] != [m.value for m in plain.messages]


@pytest.mark.usefixtures("with_next")
def test_rows_of_two_formats_load_as_one() -> None:
    """Right after a switch Redis holds rows as they were; a shelf loaded from them equals the one in memory."""
    store = Store(config())
    records = busy(5).records
    memory = store.open()
    store.keep(memory, fold(memory, records).messages + at_rest(memory))
    store.keep(memory, fold(memory, switched(records, len(records))[-1:]).messages)
    changed = np.arange(0, memory.n, 2)
    memory.dirty_model.add(changed)
    memory.dirty_hot.add(changed)
    store.keep(memory, [])
    assert {blob[0] for blob in store.sections["model"].values()} == {NEWEST, NEXT}, "the test wants both"
    loaded = store.open()
    assert loaded.version == memory.version == NEXT
    assert loaded.model.shape[1] == WIDTH + 1
    assert np.array_equal(loaded.model[: loaded.n], memory.model[: memory.n])
    assert np.array_equal(loaded.hot[: loaded.n], memory.hot[: memory.n])
    assert meta(loaded) == meta(memory)


def test_a_switch_that_was_made_already_changes_nothing() -> None:
    """A second switch to the same version, and one back, leave version and rows alone."""
    records = busy(2, days=2).records
    log = [*switched(records, 5, NEWEST), decode(switch_frame(versions.FIRST), len(records) + 1)]
    plain, twice = (run(config(version=NEWEST), its).open() for its in (records, log))
    assert twice.version == plain.version == NEWEST
    for name in ("on_hand", "reorder_point", "units0", "demand_rate"):
        assert np.array_equal(twice.hot[name][: twice.n], plain.hot[name][: plain.n])
    assert np.array_equal(twice.model[: twice.n], plain.model[: plain.n])


def test_a_number_a_version_does_not_have_is_not_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code with one more number a row writes the older layout until the switch; read back, the number begins as 0."""
    records = busy(4, days=3).records
    store = run(config(version=NEWEST), records)
    full = store.open()
    assert full.hot["viewed"][: full.n].any()
    names = [n for n in packing.HOT.names or () if n != "viewed"]
    older = versions.layout(names[:-2], names[-2:])
    after = replace(VERSIONS[-1], number=NEXT)
    monkeypatch.setattr(versions, "VERSIONS", (*VERSIONS[:-1], replace(VERSIONS[-1], hot=older), after))
    monkeypatch.setattr(versions, "NEWEST", NEXT)
    packed = full.pack_hot(np.arange(full.n))
    assert all(len(packed[k] or b"") == len(v) - 8 for k, v in store.sections["hot"].items())
    store.sections["hot"] = {k: v for k, v in packed.items() if v is not None}
    loaded = store.open()
    assert not loaded.hot["viewed"][: loaded.n].any()
    for name in names:
        assert np.array_equal(loaded.hot[name][: loaded.n], full.hot[name][: full.n], equal_nan=True), name
    assert (loaded.orders, loaded.alerts) == (full.orders, full.alerts)
    loaded.switch(NEXT)
    loaded.hot["viewed"][0] = 5
    number, tail = packing.unpacked(loaded.pack_hot(np.arange(1))[loaded.keys[0]] or b"")
    assert number["viewed"] == 5
    assert tail == packing.unpacked(store.sections["hot"][loaded.keys[0]])[1]


def test_code_that_lacks_a_version_stops() -> None:
    """A switch to a version this code does not have is refused by name: it must not decide by another."""
    shelf = Store(config()).open()
    with pytest.raises(SetupError, match="newer code"):
        fold(shelf, [decode(switch_frame(NEXT), 0)])


def test_something_that_only_looks_like_a_switch_or_a_move_is_not_ours() -> None:
    """A frame with their count and another content is nobody's: it is set aside, and stops nothing."""
    for frame in (switch_frame(2)[:-1], switch_frame(2) + b"x", b"RS\x01\xff\xff\x04\x02\x00"):
        with pytest.raises(ValueError, match="neither rows nor a switch"):
            decode(frame, 0)


def test_versions_count_up_from_one() -> None:
    """Numbers are places in the table, each with a release and a sentence, and what it packs holds what it says."""
    assert [v.number for v in VERSIONS] == list(range(1, NEWEST + 1))
    for v in VERSIONS:
        assert v.says
        assert v.release
        assert set(v.hot.names or ()) <= set(packing.HOT.names or ()), "what a version packs is in memory"
        state = v.family.fresh(np.arange(3))
        assert state.tobytes() == np.frombuffer(state.tobytes(), v.family.row).tobytes()
    for before, step in itertools.pairwise(VERSIONS):
        state = step.family.inherit(before.family, before.family.fresh(np.arange(2)), np.arange(2))
        assert len(state.tobytes()) == 2 * step.family.row.itemsize


def _shorter_rows(kept: dict[str, dict[bytes, bytes]]) -> dict[str, dict[bytes, bytes]]:
    return {**kept, "model": {name: state[:-8] for name, state in kept["model"].items()}}


def _shared_by_other_names(kept: dict[str, dict[bytes, bytes]]) -> dict[str, dict[bytes, bytes]]:
    return {**kept, "shared": {name.replace(b":came", b":mean"): its for name, its in kept["shared"].items()}}


@pytest.mark.parametrize("other", [_shorter_rows, _shared_by_other_names])
def test_a_state_that_no_release_wrote_is_refused_with_what_to_do(other: Callable[[Any], Any]) -> None:
    """An unreleased layout of the same version: an error that says so and changes nothing, not a fault of ours."""
    store = run(config(version=NEWEST), busy(0).records)
    kept = store.sections
    sections = other(kept)
    assert sections != kept
    before = copy.deepcopy(sections)
    with pytest.raises(SetupError, match="not as a release keeps it") as refused:
        load(config(version=NEWEST), sections, store.place.offset)
    assert "restock ledger rebuild" in (refused.value.hint or "")
    assert sections == before
