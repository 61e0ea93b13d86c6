"""The three laws, asked of an installation at rest: each is recomputed undisturbed from the topics themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from agents import wiring
from agents.intake.translate import Translated, translate
from agents.planner.fold import fold
from agents.planner.keeping import load
from agents.planner.shelf import Shelf
from agents.planner.view import readable
from stream.events import rows
from stream.events.naming import split_row_key
from stream.events.topics import DEAD_LETTERS, OUTGOING, SKU_EVENTS, SOURCES
from stream.transport.port import Batch
from tests.agents.planner.worlds import Store, at_rest, by_sku
from tests.connected.installation import Installation, Read
from tests.connected.traffic import HOUR_MS, START_MS


def log_of(at: Installation, shelf: int) -> list[rows.SkuRecord]:
    """The `sku-events` of a shelf."""
    return [rows.decode(r.value or b"", r.offset) for r in at.read(SKU_EVENTS.name, shelf)]


def refolded(at: Installation, shelf: int, records: Sequence[rows.SkuRecord]) -> Store:
    """The log folded in one go, by nobody disturbed."""
    store = Store(at.planner_config(shelf))
    state = store.open()
    store.keep(state, fold(state, records).messages)
    store.keep(state, at_rest(state))
    return store


def hold(at: Installation) -> dict[str, int]:
    """Assert all three laws; returns what was counted on the way."""
    counted: Counter[str] = Counter()
    batches = source_batches(at)
    undisturbed = translate(wiring.intake_config(at.settings), {}, batches)
    for shelf in range(at.settings.shelves):
        records = log_of(at, shelf)
        counted["log_records"] += len(records)
        law_of_state(at, shelf, records, counted)
        kept = _law_of_intake(shelf, records, undisturbed, counted)
        _law_of_the_whole(at, shelf, records, kept, counted)
    _counts(at, batches, undisturbed, counted)
    return dict(counted)


def state_holds(at: Installation) -> dict[str, int]:
    """Assert the laws of state and of intake: those that hold across a change of version too."""
    counted: Counter[str] = Counter()
    undisturbed = translate(wiring.intake_config(at.settings), {}, source_batches(at))
    for shelf in range(at.settings.shelves):
        records = log_of(at, shelf)
        counted["switches"] += sum(record.switch > 0 for record in records)
        law_of_state(at, shelf, records, counted)
        _law_of_intake(shelf, records, undisturbed, counted)
    return dict(counted)


def law_of_state(at: Installation, shelf: int, records: Sequence[rows.SkuRecord], counted: Counter[str]) -> None:
    """1: the same log gives the same state bytes and the same messages, each published once."""
    store = refolded(at, shelf, records)
    dump = at.dump(shelf)
    for section, fields in store.sections.items():
        there = dump.get(section, {})
        wrong = [k for k in sorted(fields.keys() | there.keys()) if fields.get(k) != there.get(k)]
        assert wrong == [], (
            f"shelf {shelf}: {section} differs at {wrong[:5]}: {_show(section, wrong[0], fields, there)}"
        )
    state = store.open()
    views = {f"stock:{k}": v for k, v in readable(state, np.arange(state.n)).items()}
    there = {k: {f.decode(): v.decode() for f, v in d.items()} for k, d in dump.items() if k.startswith("stock:")}
    assert there == views, f"shelf {shelf}: readable views differ"
    assert dump["place"] == {b"offset": str(store.place.offset).encode(), b"sweep": b""}
    published = published_by_sku(at, shelf)
    expected: dict[tuple[str, str], list[str]] = {}
    for topic in OUTGOING:
        for sku, its in by_sku([m for m in store.messages if m.topic == topic.name]).items():
            expected[topic.name, sku] = [i for i, _ in its]
    assert published == expected, f"shelf {shelf}: messages differ: {_first_difference(published, expected)}"
    counted["messages"] += sum(map(len, expected.values()))
    counted["rows"] += state.n


def _show(section: str, name: bytes, ours: dict[bytes, bytes], theirs: dict[bytes, bytes]) -> str:
    if section == "meta" and name not in (b"pool", b"pool_next"):
        return f"{ours.get(name)!r} against {theirs.get(name)!r}"
    return ""


def _first_difference(a: dict[tuple[str, str], list[str]], b: dict[tuple[str, str], list[str]]) -> Any:
    for row in sorted(a.keys() | b.keys()):
        if a.get(row) != b.get(row):
            x, y = a.get(row, []), b.get(row, [])
            return row, len(x), len(y), [i for i in x if x.count(i) > 1][:3], sorted(set(x) ^ set(y))[:3]
    return None


def published_by_sku(at: Installation, shelf: int) -> dict[tuple[str, str], list[str]]:
    """`ce_id`s by (topic, SKU), in order, as a read_committed consumer sees them."""
    out: dict[tuple[str, str], list[str]] = {}
    for topic in OUTGOING:
        for record in at.read(topic.name, shelf):
            headers = dict(record.headers)
            sku, _ = split_row_key(headers["ce_subject"].decode())
            out.setdefault((topic.name, sku), []).append(headers["ce_id"].decode())
    return out


def _law_of_intake(
    shelf: int, records: Sequence[rows.SkuRecord], undisturbed: Translated, counted: Counter[str]
) -> pa.RecordBatch:
    """2: less the repeats by coordinates, the rows in the log are those of an undisturbed run, in source order."""
    high: dict[tuple[int, int], tuple[int, int]] = {}
    kept: list[pa.RecordBatch] = []
    for record in records:
        c = rows.numbers(record.rows)
        keep = []
        for i, at in enumerate(zip(*(c[n].tolist() for n in ("source", "partition", "offset", "line")), strict=True)):
            if at[2:] > high.get(at[:2], (-1, -1)):
                high[at[:2]] = at[2:]
                keep.append(i)
        counted["sent_again"] += record.rows.num_rows - len(keep)
        kept.append(record.rows.take(pa.array(keep, pa.int64())))
    ours = rows.concat(kept) if kept else rows.empty()
    expected = undisturbed.shelves.get(shelf, rows.empty())
    assert rows.same(_by_source(ours), _by_source(expected)), f"shelf {shelf}: rows differ"
    return expected


def _by_source(batch: pa.RecordBatch) -> pa.RecordBatch:
    order = [(n, "ascending") for n in ("source", "partition", "offset", "line")]
    return batch.sort_by(order)


def _law_of_the_whole(
    at: Installation, shelf: int, records: Sequence[rows.SkuRecord], expected: pa.RecordBatch, counted: Counter[str]
) -> None:
    """3: positions, closed-day demand and forecasts are those of an undisturbed run; what is open is open there."""
    ours: Shelf = refolded(at, shelf, records).open()
    sources = {(m.source, m.partition) for r in records for m in r.marks}
    calm = load(at.planner_config(shelf), {}, -1)
    begun = [rows.SkuRecord(0, rows.empty(), (), r.switch) for r in records if r.switch][:1]  # a new log's first word
    fold(calm, begun + _calm_log(expected, sources, max(m.mark_ms for r in records for m in r.marks), len(begun)))
    at_rest(calm)
    assert sorted(ours.names) == sorted(calm.names)
    for name in sorted(ours.names):
        a, b = ours.index[name], calm.index[name]
        for field in (
            "on_hand",
            "allocated",
            "in_transit",
            "on_order",
            "units0",
            "ordered",
            "cancelled",
            "demand_rate",
        ):
            assert ours.hot[field][a] == calm.hot[field][b], (name, field, ours.hot[field][a], calm.hot[field][b])
        assert ours.history[a].tobytes() == calm.history[b].tobytes(), name
        assert ours.model[a].tobytes() == calm.model[b].tobytes(), name
        assert ours.hot["reorder_point"][a] == calm.hot["reorder_point"][b], name
        assert sorted(ours.alerts.get(a, {})) == sorted(calm.alerts.get(b, {})), name
        assert bool(ours.orders.get(a)) == bool(calm.orders.get(b)), name
        counted["alerts_open"] += len(ours.alerts.get(a, {}))
        counted["closed_days"] += int((int(ours.hot["day_start_ms"][a]) - START_MS) // 86_400_000)


def _calm_log(batch: pa.RecordBatch, sources: set[tuple[int, int]], end_ms: int, first: int) -> list[rows.SkuRecord]:
    """The rows merged by time, each source partition in its own order, a record an hour, its marks right after.

    Offsets count from `first`.
    """
    c = rows.numbers(batch)
    source = c["source"].astype(np.int64) << 32 | c["partition"]
    reached = np.zeros(len(source), np.int64)
    for one in np.unique(source):
        mine = np.flatnonzero(source == one)
        mine = mine[np.lexsort((c["line"][mine], c["offset"][mine]))]
        reached[mine] = np.maximum.accumulate(c["occurred_ms"][mine])
    order = np.lexsort((c["line"], c["offset"], source, reached))
    hour = reached[order] // HOUR_MS
    out: list[rows.SkuRecord] = []
    for now in np.unique(hour).tolist():
        part = batch.take(pa.array(order[hour == now]))
        marks = tuple(rows.Mark(s, p, now * HOUR_MS, 0) for s, p in sorted(sources))
        out.append(rows.SkuRecord(first + len(out), part, marks))
    last = tuple(rows.Mark(s, p, end_ms, 0) for s, p in sorted(sources))
    return [*out, rows.SkuRecord(first + len(out), rows.empty(), last)]


def _counts(at: Installation, batches: list[Batch], undisturbed: Translated, counted: Counter[str]) -> None:
    """accepted + refused + repeated = read, in records at intake and in rows at the planner."""
    read = sum(len(b.offsets) for b in batches)
    c = undisturbed.counts
    assert sum(c.accepted.values()) + sum(c.refused.values()) + sum(c.ticks.values()) == read
    letters = [dict(r.headers)["ce_id"] for r in at.read(DEAD_LETTERS.name, 0)]
    assert set(letters) == {m.id.encode() for m in undisturbed.refused}
    rows_read = sum(b.num_rows for b in undisturbed.shelves.values())
    told: Counter[str] = Counter()
    for shelf in range(at.settings.shelves):
        told.update(orjson.loads(at.dump(shelf)["meta"][b"counters"]))
    accepted = sum(v for k, v in told.items() if k.startswith("accepted:"))
    again = sum(v for k, v in told.items() if k.startswith("repeated:") and k != "repeated:coordinates")
    assert accepted + again == rows_read
    counted.update(read=read, refused=sum(c.refused.values()), repeated_upstream=again, rows_accepted=accepted)


def source_batches(at: Installation) -> list[Batch]:
    """Every source partition, whole."""
    out = []
    for topic in SOURCES:
        for partition in range(at.partitions(topic)):
            found: list[Read] = at.read(topic, partition)
            if found:
                end = found[-1].offset + 1
                columns = [list(column) for column in zip(*found, strict=True)]
                out.append(Batch(topic, partition, 0, end, end, *columns))  # type: ignore[arg-type]
    return out
