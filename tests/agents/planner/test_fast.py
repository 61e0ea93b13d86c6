"""The loops over the lines of a record: compiled or interpreted, the same bytes."""

from __future__ import annotations

import hashlib

import numpy as np

from agents.planner import fast
from agents.planner.fold import fold
from agents.planner.journal import ENTRY
from agents.planner.packing import HOT
from agents.planner.shelf import Shelf
from stream.events.kinds import Flag, Kind
from tests.agents.planner.worlds import busy, config
from tests.interpreted import fingerprint_of

ROWS, LINES = 20, 200
KINDS = (Kind.ORDER_PLACED, Kind.ORDER_FULFILLED, Kind.ORDER_RETURNED, Kind.STOCK_RECEIVED, Kind.STOCK_COUNTED)


def lots(rng: np.random.Generator) -> tuple[Shelf, fast.Lines]:
    """A shelf whose rows stand anywhere, and lines of every kind, time and size."""
    shelf = Shelf(config())
    for i in range(ROWS):
        shelf.row_of(f"S{i}", "shop", 0)
    for name in HOT.names or ():
        shelf.hot[name][:ROWS] = rng.integers(0, 40, ROWS)
    shelf.hot["day_end_ms"][:ROWS], shelf.hot["next_end_ms"][:ROWS] = 60, 90
    shelf.hot["counted_ms"][:ROWS], shelf.hot["on_order"][:ROWS] = 5, rng.integers(0, 2, ROWS)
    shelf.guard["lo"][:ROWS], shelf.guard["hi"][:ROWS] = rng.integers(-80, 0, ROWS), rng.integers(40, 200, ROWS)
    shelf.dirty_hot.take()  # new rows are in it
    price = np.where(rng.random(LINES) < 0.3, np.nan, rng.random(LINES))
    flags = np.where(rng.random(LINES) < 0.05, Flag.LATE, 0) | np.where(rng.random(LINES) < 0.3, Flag.SOLD_AT_ONCE, 0)
    numbers = (rng.integers(0, ROWS, LINES), rng.choice(KINDS, LINES, p=(0.5, 0.2, 0.15, 0.1, 0.05)))
    more = (rng.integers(1, 9, LINES), rng.integers(30, 95, LINES), flags, price, rng.random(LINES) < 0.7)
    return shelf, lines_of(*numbers, *more)


def lines_of(*columns: np.ndarray) -> fast.Lines:
    """Columns in the order of `Lines` as a record has them."""
    types = (np.int64, np.uint8, np.int64, np.int64, np.uint8, np.float64, np.bool_)
    made = [column.astype(its) for column, its in zip(columns, types, strict=True)]
    for column in made[1:-1]:
        column.flags.writeable = False
    return fast.Lines._make(made)


def run(shelf: Shelf, lines: fast.Lines) -> tuple[fast.Ran, np.ndarray]:
    """One run over all lines, and the entries."""
    entries = np.zeros(LINES, ENTRY)
    return fast.run(shelf, lines, np.arange(LINES), entries, 3), entries


def fingerprint() -> str:
    """Of what many lots leave on a shelf, and of which lines go through."""
    made, through, rng = hashlib.sha256(), 0, np.random.default_rng(7)
    for _ in range(40):
        shelf, lines = lots(rng)
        ran, entries = run(shelf, lines)
        through += LINES - len(ran.left)
        for part in (shelf.hot[:ROWS], shelf.dirty_hot.take(), ran.left, ran.met, entries):
            made.update(part.tobytes())
    assert 1000 < through < 40 * LINES - 1000, "lines of both kinds are to be compared"
    made.update(folded())
    return made.hexdigest()


def folded() -> bytes:
    """What a few days of everything leave on a shelf whose journal soon forgets, and say."""
    shelf, made = Shelf(config(journal_rows=60)), hashlib.sha256()
    messages = [fold(shelf, [record]).messages for record in busy(5, days=2, skus=3).records]
    assert shelf.journal.first > 0, "hashes are to be forgotten"
    assert any(messages), "things are to be said"
    made.update(repr((messages, sorted(shelf.journal.changed.items()), shelf.counters)).encode())
    for part in (shelf.hot, shelf.guard["lo"], shelf.guard["hi"], shelf.dues.at):
        made.update(part[: shelf.n].tobytes())
    return made.digest()


def test_interpreted_source_gives_the_same_bytes() -> None:
    """Where nothing can be compiled, a record is folded as it is."""
    assert fingerprint_of(__name__) == fingerprint()


def test_a_row_waits_behind_its_first_line_that_stays() -> None:
    """In log order: later lines of the same row stay too, those of others go."""
    shelf, lines = lots(np.random.default_rng(1))
    ran, _ = run(shelf, lines)
    slow = np.isin(np.arange(LINES), ran.left)
    for row in range(ROWS):
        assert (np.diff(slow[lines.row == row].astype(int)) >= 0).all()
    assert sorted(shelf.dirty_hot.take().tolist()) == sorted(set(lines.row[~slow].tolist()))
    assert sorted(ran.met.tolist()) == sorted(set(lines.row.tolist()))
