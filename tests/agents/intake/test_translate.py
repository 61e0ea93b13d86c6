"""From records to rows: what each becomes, which shelf it goes to, which marks it moves, and that cuts do not show."""

from __future__ import annotations

import base64
import json
import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.intake.translate import IntakeConfig, Translated, idle_mark, marks_frame, translate
from stream.events import rows
from stream.events.facts import key_of, key_text
from stream.events.instants import parse_ms, text_from_ms
from stream.events.kinds import Flag, Kind, Source
from stream.events.partition import shelf_of
from stream.events.reading import cart_hash_of, hash_of
from stream.events.refusals import Reason
from stream.events.topics import SOURCES
from stream.ledger.port import SourcePosition
from stream.transport.port import Batch
from tests.contracts.samples import AT, GOOD, LINE, ODD_ORDERS, PLACED, placed, text

NOON = parse_ms("2026-01-05T12:00:00Z")
HOUR = 3_600_000
SHELVES = 3
CONFIG = IntakeConfig(SHELVES, lateness_ms=60_000, max_ahead_ms=300_000, max_behind_days=2)
EVENT_CLOCK = IntakeConfig(SHELVES, lateness_ms=60_000, max_ahead_ms=300_000, max_behind_days=2, clock="event")


def batch(
    topic: str,
    values: Sequence[bytes | None],
    partition: int = 0,
    start: int = 0,
    keys: Sequence[bytes | None] | None = None,
    logged_ms: int | Sequence[int] = NOON,
) -> Batch:
    n = len(values)
    stamps = [logged_ms] * n if isinstance(logged_ms, int) else logged_ms
    offsets = list(range(start, start + n))
    return Batch(topic, partition, start, start + n, start + n, offsets, stamps, keys or [None] * n, values, [()] * n)


def facts(topic: str, records: list[dict[str, Any]]) -> Batch:
    return batch(topic, [text(r) for r in records], keys=[key_text(key_of(r)).encode() for r in records])


def order_at(ms: int, event_id: str = "e") -> bytes:
    return placed(occurred_at=json.dumps(text_from_ms(ms)), event_id=json.dumps(event_id))


def tick_at(ms: int) -> bytes:
    return text({"event_id": "t", "type": "clock.tick", "occurred_at": text_from_ms(ms)})


def all_rows(translated: Translated) -> list[dict[str, Any]]:
    return [row for shelf in sorted(translated.shelves) for row in translated.shelves[shelf].to_pylist()]


def one(topic: str, kind: str) -> list[dict[str, Any]]:
    """Rows of the sample of one type, of the one shelf it goes to."""
    record = next(r for r in GOOD[topic] if r["type"] == kind)
    return all_rows(translate(CONFIG, {}, [batch(topic, [text(record)], partition=2, start=40)]))


def test_an_order_line_becomes_a_row() -> None:
    """Every column of a row, from an order that was sold at once."""
    (row,) = one("orders", "order.placed")
    assert row == {
        "kind": Kind.ORDER_PLACED,
        "sku": "A1",
        "location": "shop",
        "milli": 2000,
        "occurred_ms": parse_ms(AT),
        "source": Source.ORDERS,
        "partition": 2,
        "offset": 40,
        "line": 0,
        "event_hash": hash_of("id of order.placed", "1"),
        "order_hash": hash_of("o1", "1"),
        "cart_hash": cart_hash_of("k1"),
        "price": 3.5,
        "flags": Flag.SOLD_AT_ONCE,
        "logged_ms": NOON,
        "late_ms": 0,
        "expected_ms": 0,
        "reference": None,
        "replenishment_id": None,
        "supplier": None,
        "fact": None,
        "raw": None,
    }


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("order.cancelled", Kind.ORDER_CANCELLED),
        ("order.fulfilled", Kind.ORDER_FULFILLED),
        ("order.returned", Kind.ORDER_RETURNED),
    ],
)
def test_later_order_events_join_their_line(kind: str, expected: Kind) -> None:
    """They carry the hash of order and line that the placing had."""
    (row,) = one("orders", kind)
    assert (row["kind"], row["order_hash"], row["flags"]) == (expected, hash_of("o1", "1"), 0)


def test_a_shipped_transfer_is_two_rows_and_a_received_one_is_one() -> None:
    """It leaves the sender and is coming at the receiver; it arrives at the receiver."""
    left, coming = one("stock-movements", "stock.transfer_shipped")
    (arrived,) = one("stock-movements", "stock.transfer_received")
    assert (left["kind"], left["location"], left["line"]) == (Kind.TRANSFER_LEFT, "shop", 0)
    assert (coming["kind"], coming["location"], coming["line"]) == (Kind.TRANSFER_COMING, "mall", 1)
    assert (arrived["kind"], arrived["location"], arrived["line"]) == (Kind.TRANSFER_ARRIVED, "mall", 0)
    assert {row["reference"] for row in (left, coming, arrived)} == {"t1"}
    assert left["event_hash"] != coming["event_hash"]


@pytest.mark.parametrize(
    ("type", "kind"),
    [("transfer.approved", Kind.TRANSFER_APPROVED), ("transfer.cancelled", Kind.TRANSFER_CANCELLED)],
)
def test_what_is_decided_of_a_transfer_reaches_both_its_ends(type: str, kind: Kind) -> None:
    """A row where it would leave, marked so, and one where it would arrive."""
    there, here = one("stock-movements", type)
    assert (there["kind"], there["location"], there["line"], there["flags"]) == (kind, "shop", 0, Flag.OUTBOUND)
    assert (here["kind"], here["location"], here["line"], here["flags"]) == (kind, "mall", 1, 0)
    assert there["reference"] == here["reference"] == "t1"
    assert there["event_hash"] != here["event_hash"]


def test_a_count_keeps_its_bytes() -> None:
    """The planner may still refuse it, and a dead letter needs the record."""
    (row,) = one("stock-movements", "stock.counted")
    assert json.loads(row["raw"])["event_id"] == "id of stock.counted"
    assert row["milli"] == 0
    for kind in ("stock.received", "stock.adjusted", "stock.written_off"):
        assert one("stock-movements", kind)[0]["raw"] is None


def test_supply_says_when_and_who() -> None:
    """Reference, replenishment, supplier and the expected time."""
    (row,) = one("supply", "supply.confirmed")
    assert (row["reference"], row["replenishment_id"], row["supplier"]) == ("p1", "r1", "acme")
    assert row["expected_ms"] == parse_ms("2026-01-12T07:00:00Z")
    assert one("supply", "supply.cancelled")[0]["expected_ms"] == 0


def test_what_has_no_sku_goes_to_every_shelf_once() -> None:
    """A checked-out cart, and facts about locations, lanes, suppliers and categories."""
    wide = translate(
        CONFIG,
        {},
        [
            batch("carts", [text(GOOD["carts"][3])]),
            facts("catalog", GOOD["catalog"]),
            facts("calendar", GOOD["calendar"]),
        ],
    )
    assert wide.refused == []
    found: dict[str, set[int]] = defaultdict(set)
    for shelf, held in wide.shelves.items():
        for row in held.to_pylist():
            name = row["fact"] or "checked out"
            assert shelf not in found[name], "twice in one shelf"
            found[name].add(shelf)
            if row["sku"]:
                assert shelf == shelf_of(row["sku"], SHELVES)
    everywhere = {name for name, shelves in found.items() if shelves == set(range(SHELVES))}
    assert {name for name in found if '"sku":"A1"' not in name} == everywhere
    assert len(found) == 1 + len(GOOD["catalog"]) + len(GOOD["calendar"])


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=30), st.integers(1, 9))
def test_a_row_is_on_the_shelf_of_its_sku(skus: list[str], shelves: int) -> None:
    """All locations of a SKU share a shelf, the one the Java client would choose."""
    lines = [{**LINE, "line_id": str(i), "sku": sku, "location": f"l{i % 3}"} for i, sku in enumerate(skus)]
    value = placed(lines=json.dumps(lines))
    out = translate(IntakeConfig(shelves), {}, [batch("orders", [value])])
    for shelf, held in out.shelves.items():
        assert {shelf_of(row["sku"], shelves) for row in held.to_pylist()} == {shelf}
    assert sorted(row["line"] for row in all_rows(out)) == list(range(len(skus)))


def test_the_mark_is_the_latest_event_less_the_lateness() -> None:
    """It never goes back, and each partition has its own."""
    out = translate(
        CONFIG,
        {(Source.ORDERS, 1): NOON - 5 * HOUR, (Source.ORDERS, 2): NOON},
        [
            batch("orders", [order_at(NOON - HOUR), order_at(NOON), order_at(NOON - 2 * HOUR)], partition=0),
            batch("orders", [order_at(NOON - 3 * HOUR)], partition=1, start=7),
            batch("orders", [order_at(NOON - HOUR)], partition=2),
            batch("orders", [], partition=3, start=9),
        ],
    )
    minute = 60_000
    assert out.marks == (
        rows.Mark(Source.ORDERS, 0, NOON - minute, 2),
        rows.Mark(Source.ORDERS, 1, NOON - 3 * HOUR - minute, 7),
        rows.Mark(Source.ORDERS, 2, NOON, 0),
    )
    assert out.positions == {
        ("orders", 0): SourcePosition(3, NOON - minute),
        ("orders", 1): SourcePosition(8, NOON - 3 * HOUR - minute),
        ("orders", 2): SourcePosition(1, NOON),
        ("orders", 3): SourcePosition(9, None),
    }


def test_a_row_is_late_by_the_mark_before_it_in_its_own_partition() -> None:
    """At the mark is on time, a millisecond before it is late; what comes after it does not matter."""
    at = [NOON - HOUR, NOON - HOUR - 60_000, NOON - HOUR - 60_001, NOON]
    out = translate(
        CONFIG, {}, [batch("orders", [order_at(ms) for ms in at], partition=1), batch("orders", [order_at(0)])]
    )
    late = {(row["partition"], row["offset"]): bool(row["flags"] & Flag.LATE) for row in all_rows(out)}
    assert late == {(0, 0): False, (1, 0): False, (1, 1): False, (1, 2): True, (1, 3): False}
    assert {row["late_ms"] for row in all_rows(out)} == {0, 1}, "the difference to the mark, in ms"
    assert out.counts.late["orders"] == 1


def test_far_ahead_of_its_own_timestamp_is_refused_and_moves_no_mark() -> None:
    """One wrong clock does not close tomorrow for everybody."""
    just, beyond = NOON + 300_000, NOON + 300_001
    out = translate(CONFIG, {}, [batch("orders", [order_at(beyond), order_at(NOON - HOUR), order_at(just)])])
    assert out.counts.refused == {("orders", Reason.TOO_FAR_AHEAD): 1}
    assert [row["offset"] for row in all_rows(out)] == [1, 2]
    assert [bool(row["flags"] & Flag.LATE) for row in all_rows(out)] == [False, False]
    assert out.marks[0].mark_ms == just - 60_000


def test_without_a_timestamp_nothing_is_too_far_ahead() -> None:
    """A record from before Kafka had timestamps says -1."""
    out = translate(CONFIG, {}, [batch("orders", [order_at(NOON + HOUR)], logged_ms=-1)])
    assert out.refused == []


def test_far_behind_its_partition_is_refused_but_facts_are_not() -> None:
    """A re-sent archive teaches nothing; a catalog written years ago holds."""
    mark = NOON + 2 * 24 * HOUR
    out = translate(CONFIG, {(Source.ORDERS, 0): mark}, [batch("orders", [order_at(NOON - 1), order_at(NOON)])])
    assert out.counts.refused == {("orders", Reason.TOO_OLD): 1}
    assert [row["offset"] for row in all_rows(out)] == [1]
    old = {**GOOD["catalog"][0], "occurred_at": "1999-01-01T00:00:00Z"}
    told = translate(CONFIG, {(Source.CATALOG, 0): mark}, [facts("catalog", [old])])
    assert told.refused == []
    assert [row["flags"] for row in all_rows(told)] == [Flag.LATE]


def test_a_tick_moves_the_mark_to_its_time_and_makes_no_row() -> None:
    """No lateness is taken off; a tick before the mark changes nothing. In every source topic."""
    for topic, source in SOURCES.items():
        out = translate(EVENT_CLOCK, {}, [batch(topic, [tick_at(NOON), tick_at(NOON - HOUR)])])
        assert out.marks == (rows.Mark(source, 0, NOON, 1),)
        assert (out.shelves, out.refused) == ({}, [])
        assert (out.counts.ticks[topic], out.counts.accepted[topic]) == (2, 0)


def test_events_before_a_tick_are_late() -> None:
    """The tick said that its partition was complete up to there."""
    out = translate(EVENT_CLOCK, {}, [batch("orders", [order_at(NOON), tick_at(NOON), order_at(NOON - 1)])])
    assert [bool(row["flags"] & Flag.LATE) for row in all_rows(out)] == [False, True]


def test_a_tick_is_refused_under_the_wall_clock() -> None:
    """Nobody outside may move time there."""
    out = translate(CONFIG, {}, [batch("orders", [tick_at(NOON)])])
    assert out.counts.refused == {("orders", Reason.UNEXPECTED_TICK): 1}
    assert out.marks == ()
    assert out.positions == {("orders", 0): SourcePosition(1, None)}


def test_an_idle_mark_follows_the_wall_clock_only_where_it_rules() -> None:
    """It does not go back, and the event clock stands still."""
    assert idle_mark(CONFIG, None, NOON) == NOON - 60_000
    assert idle_mark(CONFIG, NOON, NOON) == NOON
    assert idle_mark(EVENT_CLOCK, None, NOON) is None
    assert idle_mark(EVENT_CLOCK, 5, NOON) == 5


def test_a_frame_of_marks_alone_has_no_rows() -> None:
    """The interval record."""
    said = rows.decode(marks_frame([rows.Mark(1, 2, 3, 4)]), 0)
    assert (said.rows.num_rows, said.marks) == (0, (rows.Mark(1, 2, 3, 4),))


def test_a_tombstone_has_the_time_of_its_record_or_of_its_partition() -> None:
    """Kafka's timestamp where the wall clock rules, the mark before it where events move time; each is an event."""
    item, key = text(GOOD["catalog"][0]), b'["item","A1"]'
    told = batch("catalog", [None, item, None], keys=[key, key, key], logged_ms=NOON)
    wall = [row for row in all_rows(translate(CONFIG, {}, [told])) if row["kind"] == Kind.FACT_GONE]
    event = [row for row in all_rows(translate(EVENT_CLOCK, {}, [told])) if row["kind"] == Kind.FACT_GONE]
    assert [row["occurred_ms"] for row in wall] == [NOON, NOON]
    assert [row["occurred_ms"] for row in event] == [0, parse_ms(AT) - 60_000]
    assert len({row["event_hash"] for row in wall}) == 2
    assert [row["fact"] for row in wall] == ['["item","A1"]'] * 2


def test_a_refused_record_becomes_a_dead_letter() -> None:
    """With reason, place, and the record itself; the same record gives the same letter."""
    values = [PLACED, b"{\xff", None]
    poll = [batch("orders", values, partition=3, start=100, keys=[b"o1", b"\x00k", None])]
    out = translate(CONFIG, {}, poll)
    broken, gone = out.refused
    letter = json.loads(broken.value)
    assert (broken.topic, broken.id, broken.key) == ("dead-letters", "dead-letter/orders/3/101", b"orders/3/101")
    assert letter["reason"] == "not_json"
    assert (letter["topic"], letter["partition"], letter["offset"]) == ("orders", 3, 101)
    assert letter["timestamp"] == "2026-01-05T12:00:00.000Z"
    assert base64.b64decode(letter["value"]) == b"{\xff"
    assert base64.b64decode(letter["key"]) == b"\x00k"
    assert (letter["value_bytes"], letter["truncated"]) == (2, False)
    assert json.loads(gone.value)["value"] is None
    assert translate(CONFIG, {}, poll).refused == out.refused


def test_a_record_too_large_is_cut_off_in_its_dead_letter() -> None:
    """10 MB do not fit into a dead letter; its place does, and says where the whole record is."""
    out = translate(CONFIG, {}, [batch("orders", [b"x" * 10_000_000, PLACED], keys=[b"k" * 1_000_000, None])])
    (dead,) = out.refused
    letter = json.loads(dead.value)
    assert (letter["reason"], letter["truncated"], letter["value_bytes"]) == ("too_large", True, 10_000_000)
    assert len(dead.value) < 2 << 20
    assert len(all_rows(out)) == 1


@pytest.mark.parametrize("logged_ms", [-1, -(2**63), 2**63 - 1, 0])
def test_nonsense_timestamps_stop_nobody(logged_ms: int) -> None:
    """A producer writes what it likes into a record's timestamp."""
    for config in (CONFIG, EVENT_CLOCK):
        out = translate(config, {}, [batch("orders", [b"{", PLACED, tick_at(NOON)], logged_ms=logged_ms)])
        counts = out.counts
        assert counts.accepted.total() + counts.refused.total() + counts.ticks.total() == 3


def test_counts_add_up_over_everything_odd() -> None:
    """accepted + refused + ticks = read, and every refusal is a dead letter."""
    out = translate(CONFIG, {}, [batch("orders", ODD_ORDERS), batch("orders", ODD_ORDERS, partition=1)])
    counts = out.counts
    assert counts.accepted.total() + counts.refused.total() == 2 * len(ODD_ORDERS)
    assert len(out.refused) == counts.refused.total()
    letters = [json.loads(dead.value) for dead in out.refused]
    refused = {(letter["partition"], letter["offset"]) for letter in letters}
    accepted = {(row["partition"], row["offset"]) for row in all_rows(out)}
    assert accepted | refused == {(p, i) for p in (0, 1) for i in range(len(ODD_ORDERS))}
    assert accepted & refused == set()


# --- the law: where a partition's records are cut cannot show ------------------------------------------------------

Log = dict[tuple[str, int], list[Any]]
HOME = [(topic, partition) for topic in ("orders", "stock-movements", "catalog") for partition in (0, 1)]


def a_value(topic: str) -> st.SearchStrategy[tuple[bytes | None, bytes | None]]:
    """Key and value of a record that may be good, late, far ahead, far behind, a tick, gone, or rubbish."""
    times = st.integers(NOON - 3 * 24 * HOUR, NOON + 400_000).map(text_from_ms)
    keyed = st.sampled_from(GOOD[topic]).flatmap(
        lambda record: times.map(
            lambda at: (
                key_text(key_of(record)).encode() if topic == "catalog" else b"k",
                text({**record, "occurred_at": at, "event_id": at}),
            )
        )
    )
    tick = times.map(lambda at: (None, text({"event_id": at, "type": "clock.tick", "occurred_at": at})))
    odd = st.sampled_from([(b'["item","A1"]', None), (None, b"{"), (b"k", b"[]"), (b"k", PLACED), (None, b"{}")])
    return keyed | keyed | tick | odd


logs = st.fixed_dictionaries({home: st.lists(a_value(home[0]), max_size=7) for home in HOME})


def run(config: IntakeConfig, log: Log, cuts: dict[tuple[str, int], list[int]]) -> Any:
    """Everything intake says of a log, polled in pieces: rows by shelf and source partition, letters, marks, counts."""
    said: dict[Any, list[Any]] = defaultdict(list)
    letters: dict[Any, list[Any]] = defaultdict(list)
    marks: dict[tuple[int, int], int | None] = {}
    total: dict[Any, int] = defaultdict(int)
    for piece in range(max(len(c) for c in cuts.values()) - 1):
        poll = []
        for home, ends in cuts.items():
            if piece + 1 < len(ends):
                part = log[home][ends[piece] : ends[piece + 1]]
                keys, values = [k for k, _ in part], [v for _, v in part]
                poll.append(batch(*(home[0], values, home[1], ends[piece], keys)))
        out = translate(config, marks, poll)
        for shelf, held in out.shelves.items():
            for row in held.to_pylist():
                said[shelf, row["source"], row["partition"]].append(repr(row))
        for dead in out.refused:
            letters[json.loads(dead.value)["topic"], json.loads(dead.value)["partition"]].append(dead)
        marks.update({(SOURCES[topic], p): at.mark_ms for (topic, p), at in out.positions.items()})
        for name in ("accepted", "late", "ticks", "refused"):
            for key, count in getattr(out.counts, name).items():
                total[name, key] += count
    return dict(said), dict(letters), marks, {key: count for key, count in total.items() if count}


@pytest.mark.parametrize("config", [CONFIG, EVENT_CLOCK], ids=["wall", "event"])
@settings(deadline=None, max_examples=60)
@given(log=logs, data=st.data())
def test_where_a_partition_is_cut_cannot_show(config: IntakeConfig, log: Log, data: st.DataObject) -> None:
    """Rows of each source partition in each shelf, dead letters, marks and counts are those of one poll."""
    whole = {home: [0, len(records)] for home, records in log.items()}
    cut = {
        home: [0, *sorted(data.draw(st.lists(st.integers(0, len(records)), max_size=3))), len(records)]
        for home, records in log.items()
    }
    assert run(config, log, cut) == run(config, log, whole)


@pytest.mark.parametrize("config", [CONFIG, EVENT_CLOCK], ids=["wall", "event"])
def test_polls_large_enough_for_columns_say_the_same(config: IntakeConfig) -> None:
    """Hundreds of records in one poll, read in columns, against a few at a time, read one by one."""
    rng = random.Random(5)
    log: Log = {}
    for home in HOME:
        kept = []
        for i in range(300):
            record = {**rng.choice(GOOD[home[0]]), "event_id": f"e{i}"}
            record["occurred_at"] = text_from_ms(NOON + rng.randrange(-3 * 24 * HOUR, 400_000) // (1 + i % 5))
            key = key_text(key_of(record)).encode() if home[0] == "catalog" else None
            kept.append((key, rng.choice([text(record)] * 20 + [b"{", tick_at(NOON - HOUR), None])))
        log[home] = kept
    pieces = {home: list(range(0, 301, 20)) for home in log}
    assert run(config, log, {home: [0, 300] for home in log}) == run(config, log, pieces)


@settings(deadline=None, max_examples=20)
@given(log=logs, data=st.data())
def test_the_order_of_batches_in_a_poll_cannot_show(log: Log, data: st.DataObject) -> None:
    """A poll brings its partitions in any order; a partition may come in two pieces."""
    poll = [
        batch(home[0], [v for _, v in part], home[1], start, [k for k, _ in part])
        for home, records in log.items()
        for start, part in ((0, records[:3]), (len(records[:3]), records[3:]))
    ]
    shuffled = data.draw(st.permutations(poll))
    one_way, other_way = translate(CONFIG, {}, poll), translate(CONFIG, {}, shuffled)
    assert one_way.refused == other_way.refused
    for said in ("marks", "positions", "counts"):
        assert getattr(one_way, said) == getattr(other_way, said)
    assert one_way.shelves.keys() == other_way.shelves.keys()
    assert all(rows.same(one_way.shelves[shelf], other_way.shelves[shelf]) for shelf in one_way.shelves)


def test_rows_can_be_framed_and_read_back() -> None:
    """What intake writes is what the planner reads, also where a batch is a slice of a larger one."""
    poll = [batch(topic, [text(record) for record in GOOD[topic]]) for topic in ("orders", "carts", "stock-movements")]
    out = translate(CONFIG, {}, [*poll, facts("catalog", GOOD["catalog"])])
    assert len(out.shelves) == SHELVES
    for held in out.shelves.values():
        held.validate(full=True)
        assert rows.same(rows.decode(rows.encode(held, out.marks), 5).rows, held)
