"""A slow lane's outlooks in the log: taken over at their place, wherever it is cut; what is wrong changes nothing."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from agents.planner import plan, versions
from agents.planner.config import DAY_MS
from agents.planner.fold import fold
from agents.planner.shelf import Shelf
from agents.planner.wakes import TAUGHT_DAYS
from stream.events import outlooks
from stream.events.kinds import SLOW_LANE, Kind
from stream.events.outlooks import Head, Outlooks
from stream.events.rows import SkuRecord, decode, outlooks_frame
from tests.agents.planner.test_laws import differences
from tests.agents.planner.test_rehome import by_row, configs, moved
from tests.agents.planner.worlds import START_MS, World, busy, by_sku, config, run

LEVELS = (0.5, 0.9, 0.99)
REFIT = 1  # of the family's guests


def word(shelf: Shelf, run: int, part: int = 0, *, rows: range | None = None, units: float = 1.0) -> SkuRecord:
    """What a slow lane would say of rows now: `units` a day, a half more at each level."""
    family = versions.version(versions.NEWEST).family
    head = Head(run, part, "refit", family.name, family.version, LEVELS)
    numbers = np.array(list(range(shelf.n) if rows is None else rows), np.int64)
    days = plan.horizons(shelf, numbers)[:, :3]
    said = outlooks.batch(
        [shelf.names[r][0] for r in numbers.tolist()],
        [shelf.names[r][1] for r in numbers.tolist()],
        ["ETS(A,N,N)"] * len(numbers),
        (shelf.hot["day"][numbers] - 1).tolist(),
        days.tolist(),
        [[d * units * (1.0 + 0.5 * k) for d in its for k in range(len(head.levels))] for its in days.tolist()],
    )
    return decode(outlooks_frame(Outlooks(head, said)), shelf.offset)


def with_guests(records: list[SkuRecord], seed: int, version: int = versions.NEWEST) -> list[SkuRecord]:
    """A log into which a slow lane spoke at five places of its second half, in two parts, one of them told twice."""
    draw, out, run = random.Random(seed), list[SkuRecord](), 0
    places = set(draw.sample(range(len(records) // 2, len(records)), 5))
    shelf = Shelf(config(version=version))
    for i, record in enumerate(records):
        out.append(record)
        fold(shelf, [replace(record, offset=i)])
        if i in places:
            run += 1
            half = shelf.n // 2
            first = word(shelf, run, 0, rows=range(half))
            out += [first, word(shelf, run, 1, rows=range(half, shelf.n)), first]
    return [replace(record, offset=i) for i, record in enumerate(out)]


def one_row(days: int = 40) -> tuple[World, Shelf]:
    """A SKU that sells three a day, with its days closed."""
    world = World()
    world.row(Kind.STOCK_COUNTED, START_MS, sku="A", units=500)
    for day in range(days):
        world.order(START_MS + day * DAY_MS + 1, day, sku="A", units=3)
        world.record(START_MS + (day + 1) * DAY_MS)
    shelf = Shelf(config())
    fold(shelf, world.records)
    return world, shelf


@pytest.mark.parametrize("seed", range(3))
def test_cuts_slices_and_crashes_do_not_show_with_guests(seed: int) -> None:
    """The same log, cut, sliced and reopened anywhere, gives the same bytes and messages; and the guests do speak."""
    log = with_guests(busy(seed).records, seed)
    whole = run(config(), log)
    cut = run(config(), log, random.Random(seed + 77), crash=0.15)
    assert differences(whole, cut) == [], f"seed {seed}"
    assert by_sku(whole.messages) == by_sku(cut.messages), f"seed {seed}"
    counters = whole.open().counters
    assert counters["guests_adopted:refit"] > 10
    assert counters["guests_refused:repeated"] > 0
    assert differences(whole, run(config(), busy(seed).records)) != []


def test_what_is_told_twice_changes_nothing() -> None:
    """A part told again, by the same leader or the next, is known by its coordinates."""
    _, shelf = one_row()
    first = word(shelf, 7)
    fold(shelf, [first])
    kept, adopted = shelf.model[: shelf.n].tobytes(), shelf.counters["guests_adopted:refit"]
    fold(shelf, [replace(first, offset=shelf.offset)])
    assert shelf.model[: shelf.n].tobytes() == kept
    assert shelf.counters["guests_adopted:refit"] == adopted == 1
    assert shelf.high_water[SLOW_LANE, 0] == 7 << 20


def test_a_guest_speaks_from_the_next_forecast_on() -> None:
    """Its word moves the forecast at once, the reorder point as the day closes; in a fortnight it lost half its say."""
    world, shelf = one_row()
    rows, point = np.array([0]), int(shelf.hot["reorder_point"][0])
    fold(shelf, [word(shelf, 1, units=9.0)])
    who = shelf.family.explain(shelf.model[rows], shelf.commons.shared)
    assert who.experts[2 + REFIT] == "refit"
    assert who.weights[0, 2 + REFIT] > 0
    assert shelf.family.heard(shelf.model[rows])[0, REFIT] == shelf.hot["day"][0] - 1
    assert int(shelf.hot["reorder_point"][0]) == point
    shares, points = [float(who.weights[0, 2 + REFIT])], list[int]()
    for day in range(40, 54):
        world.order(START_MS + day * DAY_MS + 1, day, sku="A", units=3)
        record = world.record(START_MS + (day + 1) * DAY_MS)
        fold(shelf, [replace(record, offset=shelf.offset)])
        points.append(int(shelf.hot["reorder_point"][0]))
        period = shelf.hot["day"][rows] - 1
        assert period[0] - shelf.family.heard(shelf.model[rows])[0, REFIT] == day - 39
        shares.append(float(shelf.family.explain(shelf.model[rows], shelf.commons.shared).weights[0, 2 + REFIT]))
    assert points[0] > points[-1] >= point, "it said too much, and is believed less and less"
    assert shares[-1] < 0.6 * shares[0]


def bad(shelf: Shelf) -> dict[str, Outlooks]:
    """A word that is wrong in one way each, by the reason it is refused for."""
    good = word(shelf, 1).outlooks
    assert good is not None
    columns = {name: good.rows.column(name).to_pylist() for name in outlooks.SCHEMA.names}
    day, horizon, quantile = (columns[name][0] for name in ("as_of", "horizon", "quantile"))

    def row(**changed: object) -> Outlooks:
        its = {**columns, **{name: [value] for name, value in changed.items()}}
        return Outlooks(good.head, outlooks.batch(*its.values()))

    def head(**changed: object) -> Outlooks:
        return Outlooks(Head(**{**{f: getattr(good.head, f) for f in Head.__struct_fields__}, **changed}), good.rows)

    return {
        "unknown_row": row(sku="nobody's"),
        "ahead": row(as_of=day + 1),
        "old": row(as_of=day - 28),
        "shape": row(quantile=quantile[:-1]),
        "shape ": row(horizon=horizon[:2], quantile=quantile[:6]),
        "shape  ": row(horizon=[0, *horizon[1:]]),
        "quantiles": row(quantile=[float("nan"), *quantile[1:]]),
        "quantiles ": row(quantile=[*quantile[:-1], float("inf")]),
        "quantiles  ": row(quantile=[*quantile[:-1], 1e7]),
        "quantiles   ": row(quantile=[-1.0, *quantile[1:]]),
        "quantiles    ": row(quantile=quantile[::-1]),
        "family": head(version=99),
        "family ": head(guest="stranger"),
        "levels": head(levels=(0.9, 0.5, 0.99)),
    }


def test_what_is_wrong_is_refused_and_counted() -> None:
    """Each changes no row, is counted by its reason, and the fold goes on."""
    _, shelf = one_row()
    kept = shelf.model[: shelf.n].tobytes()
    for run_, (why, said) in enumerate(bad(shelf).items(), start=2):
        before = shelf.counters[f"guests_refused:{why.strip()}"]
        said = Outlooks(Head(run_, *(getattr(said.head, f) for f in Head.__struct_fields__[1:])), said.rows)
        fold(shelf, [decode(outlooks_frame(said), shelf.offset)])
        assert shelf.counters[f"guests_refused:{why.strip()}"] == before + 1, why
        assert shelf.model[: shelf.n].tobytes() == kept, why
    assert shelf.n == 1, "a word about a row nobody knows makes none"


def test_a_guest_moves_with_its_row_to_another_shelf() -> None:
    """`restock repartition` keeps what rows heard and which days taught; what was told already stays told."""
    store = run(configs(1)[0], with_guests(busy(4, days=5).records, 4))
    (old,) = [store.open()]
    new = moved([store], 2)
    assert by_row(new) == by_row([old])
    heard = old.family.heard(old.model[: old.n])[:, REFIT]
    assert (heard >= 0).sum() > 4, "or nothing was tried"
    for shelf in new:
        assert shelf.high_water[SLOW_LANE, 0] == old.high_water[SLOW_LANE, 0]
        for name, row in shelf.index.items():
            assert shelf.hot["taught"][row] == old.hot["taught"][old.index[name]]
            assert shelf.family.heard(shelf.model[[row]])[0, REFIT] == heard[old.index[name]]


def test_an_older_word_does_not_replace_a_newer_one() -> None:
    """Two runs may overlap: the one that knew more days stands."""
    world, shelf = one_row()
    older = word(shelf, 2)
    world.order(START_MS + 40 * DAY_MS + 1, 40, sku="A", units=3)
    fold(shelf, [replace(world.record(START_MS + 41 * DAY_MS), offset=shelf.offset)])
    fold(shelf, [word(shelf, 1)])
    kept = shelf.model[: shelf.n].tobytes()
    fold(shelf, [replace(older, offset=shelf.offset)])
    assert shelf.counters["guests_refused:superseded"] == 1
    assert shelf.model[: shelf.n].tobytes() == kept


def test_a_shelf_of_release_0_1_0_takes_nothing_over() -> None:
    """Version 1 has no guests: it counts what comes, and its rows stay as they were."""
    world, newer = one_row()
    shelf = Shelf(config(version=versions.FIRST))
    fold(shelf, world.records)
    kept = shelf.model[: shelf.n].tobytes()
    fold(shelf, [word(newer, 1)])
    assert shelf.counters["guests_refused:version"] == 1
    assert shelf.model[: shelf.n].tobytes() == kept
    assert not shelf.hot["taught"][: shelf.n].any()


@pytest.mark.parametrize("raw", [b"", b"\x00", b"\x02\x00{}", b"\xff\xff{}", b"\x02\x00[]" + b"x" * 40])
def test_what_is_no_outlooks_record_is_not_ours(raw: bytes) -> None:
    """It is set aside with its reason, as anything else that somebody put into the log."""
    frame = outlooks_frame(word(one_row(2)[1], 1).outlooks)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="outlooks record"):
        decode(frame[:6] + raw, 3)


def test_a_row_remembers_which_of_its_days_taught() -> None:
    """A day without stock teaches nothing, one before the first sale was none: neither is remembered as taught."""
    world = World()
    world.row(Kind.STOCK_COUNTED, START_MS, sku="A", units=9)
    for day, units in enumerate((0, 3, 3, 3, 0, 0)):
        if units:
            world.order(START_MS + day * DAY_MS + 1, day, sku="A", units=units)
        world.record(START_MS + (day + 1) * DAY_MS)
    shelf = Shelf(config())
    fold(shelf, world.records)
    assert bin(int(shelf.hot["taught"][0])) == "0b11000", "two days in full, a half one, then nothing was there"
    many = one_row(60)[1]
    assert int(many.hot["taught"][0]) == TAUGHT_DAYS
