"""A shelf that is put in place whole is all of it: nothing a shelf keeps is left out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.planner.config import DAY_MS
from agents.planner.fold import fold
from agents.planner.wakes import sweep
from agents.snapshots.rebuild import whole
from tests.agents.planner.worlds import START_MS, Store, busy, config, run


@pytest.mark.parametrize("mid_closing", [False, True])
def test_a_shelf_written_whole_has_every_section_it_was_loaded_from(mid_closing: bool) -> None:
    """What rows learnt together and open transfers too, at rest and in the middle of a closing."""
    log, cfg = busy(5).records, config()
    half = len(log) // 2
    store = run(cfg, log[:half])
    if mid_closing:
        shelf = store.open()
        marks = tuple(mark._replace(mark_ms=START_MS + 5 * DAY_MS) for mark in log[-1].marks)
        store.keep(shelf, fold(shelf, [replace(log[-1], offset=half, marks=marks)]).messages)
        assert shelf.pending
        store.keep(shelf, sweep(shelf, 2))
    assert store.sections["transfers"]
    assert store.sections["shared"]
    write = whole(store.open(), store.place)
    anew = Store(cfg)
    for section, fields in write.changes.items():
        anew.sections[section] = {name: value for name, value in fields.items() if value is not None}
    anew.sections["meta"][b"clean_through"] = store.sections["meta"][b"clean_through"]
    assert write.next == store.place
    assert {k: v for k, v in anew.sections.items() if v} == {k: v for k, v in store.sections.items() if v}
