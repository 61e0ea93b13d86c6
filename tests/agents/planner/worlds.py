"""Small seeded worlds for the planner's laws: a log of `sku-events` records with everything a shop can do in it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import orjson

from agents.planner import wakes
from agents.planner.config import DAY_MS, PlannerConfig, Policy
from agents.planner.fold import close_ahead, fold
from agents.planner.keeping import changes, load, place
from agents.planner.shelf import Shelf
from agents.planner.transfers import Proposal, write_proposal
from agents.planner.versions import NEWEST
from agents.planner.wakes import sweep
from stream.events.facts import fact_text
from stream.events.kinds import NETWORK, Flag, Kind, Source
from stream.events.naming import split_row_key
from stream.events.outgoing import Outgoing
from stream.events.public import ItemFact
from stream.events.rows import Mark, SkuRecord, decode, empty, encode, from_columns

HOUR_MS = 3_600_000
START_MS = 20_000 * DAY_MS
SHAPE = {Source.ORDERS: 2, Source.STOCK_MOVEMENTS: 1}


def config(**kwargs: Any) -> PlannerConfig:
    """A shelf over two order partitions and one of movements."""
    base: dict[str, Any] = {
        "shape": dict(SHAPE),
        "policy": Policy(lead_days=2.0, unit_cost=3.0),
        "slice_rows": 4,
        "version": NEWEST,
    }
    return PlannerConfig(**{**base, **kwargs})


class World:
    """Writes rows with ever-growing source coordinates; `record` closes a record of the log."""

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.next = {(s, p): 0 for s, n in SHAPE.items() for p in range(n)}
        self.rows: list[dict[str, Any]] = []
        self.plans = 0
        self.transfers: list[dict[str, Any]] = []
        self.records: list[SkuRecord] = []

    def row(
        self,
        kind: Kind,
        at_ms: int,
        *,
        sku: str = "S",
        location: str = "L",
        units: float = 1,
        partition: int = 0,
        **more: Any,
    ) -> None:
        """Add a row."""
        source = more.get("source", Source.ORDERS if kind < 20 else Source.STOCK_MOVEMENTS)
        offset = self.next.get((source, partition), 0)
        if source != NETWORK:
            self.next[source, partition] += 1
        row = {
            "kind": kind,
            "sku": sku,
            "location": location,
            "milli": round(units * 1000),
            "occurred_ms": at_ms,
            "source": source,
            "partition": partition,
            "offset": offset,
            "line": 0,
            "event_hash": source * 1_000_003 + partition * 500_009 + offset * 7 + 1,
            "order_hash": 0,
            "cart_hash": 0,
            "price": float("nan"),
            "flags": 0,
            "logged_ms": at_ms,
            "late_ms": 0,
            "expected_ms": 0,
            "reference": None,
            "replenishment_id": None,
            "supplier": None,
            "fact": None,
            "raw": None,
        }
        self.rows.append({**row, **more})

    def propose(
        self, at_ms: int, sku: str, sender: str, receiver: str, units: float, expires_ms: int, id: str = ""
    ) -> str:
        """A plan of one transfer: a row at each end. Returns its id."""
        self.plans += 1
        name = id or f"T-{self.plans}"
        proposal = Proposal(sender, receiver, expires_ms, f"plan-{self.plans}", 1.0, "because", {"gain": 3.0})
        for line, (location, flags) in enumerate(((sender, Flag.OUTBOUND), (receiver, 0))):
            self.row(
                Kind.TRANSFER_PROPOSED, at_ms, sku=sku, location=location, units=units, source=NETWORK,
                offset=self.plans, line=line, flags=flags, reference=name, raw=write_proposal(proposal),
                event_hash=9_000_000_007 + self.plans * 2 + line,
            )  # fmt: skip
        self.transfers.append({"sku": sku, "sender": sender, "receiver": receiver, "units": units, "reference": name})
        return name

    def move(self, kind: Kind, at_ms: int, transfer: dict[str, Any], units: float) -> None:
        """What a shop says of a transfer, as intake writes it: shipped, approved and cancelled at both ends."""
        sku, reference = transfer["sku"], transfer["reference"]
        at, to = transfer["sender"], transfer["receiver"]
        if kind == Kind.TRANSFER_LEFT:
            self.row(kind, at_ms, sku=sku, location=at, units=units, reference=reference)
            self.row(Kind.TRANSFER_COMING, at_ms, sku=sku, location=to, units=units, reference=reference)
        elif kind == Kind.TRANSFER_ARRIVED:
            self.row(kind, at_ms, sku=sku, location=to, units=units, reference=reference)
        else:
            self.row(kind, at_ms, sku=sku, location=at, units=units, reference=reference, flags=Flag.OUTBOUND)
            self.row(kind, at_ms, sku=sku, location=to, units=units, reference=reference)

    def order(self, at_ms: int, order: int, *, at_once: bool = True, **more: Any) -> None:
        """An order line."""
        more.setdefault("order_hash", order + 1)
        self.row(Kind.ORDER_PLACED, at_ms, flags=Flag.SOLD_AT_ONCE if at_once else 0, **more)

    def record(self, mark_ms: int | None = None) -> SkuRecord:
        """Close a record; `mark_ms` is said of every source partition."""
        marks = () if mark_ms is None else tuple(Mark(s, p, mark_ms, 0) for s, p in self.next)
        rows = empty() if not self.rows else from_columns(**{k: [r[k] for r in self.rows] for k in self.rows[0]})
        record = decode(encode(rows, marks), len(self.records))
        self.rows = []
        self.records.append(record)
        return record


def busy(seed: int, days: int = 8, skus: int = 7) -> World:
    """Orders, cancellations, counts, receipts, supply, transfers, carts, facts and lateness over some days."""
    w = World(seed)
    rng = w.random
    names = [f"S{i}" for i in range(skus)]
    places = ["L", "M"]
    placed: list[dict[str, Any]] = []
    for sku in names:
        for location in places:
            w.row(Kind.STOCK_COUNTED, START_MS, sku=sku, location=location, units=rng.randint(0, 60), raw=b"{}")
    w.record(START_MS - HOUR_MS)
    for hour in range(days * 24):
        now = START_MS + hour * HOUR_MS
        for _ in range(rng.choice((0, 1, 2, 9))):
            _something(w, rng, now, names, places, placed)
        if rng.random() < 0.8:
            w.record(now - HOUR_MS if rng.random() < 0.7 else None)
    w.record(START_MS + (days + 1) * DAY_MS)
    return w


def crowded(seed: int, days: int = 3) -> World:
    """A few rows with a hundred events in each record, all that decides among plain order lines; no facts."""
    w = World(seed)
    placed: list[dict[str, Any]] = []
    for sku in ("S0", "S1"):
        w.row(Kind.STOCK_COUNTED, START_MS, sku=sku, location="L", units=60, raw=b"{}")
    w.record(START_MS - HOUR_MS)
    for hour in range(0, days * 24, 8):
        now = START_MS + hour * HOUR_MS
        for _ in range(100):
            _something(w, w.random, now, ["S0", "S1"], ["L"], placed)
        w.rows = [row for row in w.rows if row["kind"] < Kind.FACT]
        w.record(now - HOUR_MS)
    w.record(START_MS + (days + 1) * DAY_MS)
    return w


def _something(
    w: World, rng: random.Random, now: int, names: list[str], places: list[str], placed: list[dict[str, Any]]
) -> None:
    sku, location, p = rng.choice(names[: 1 + len(names) // 2] + names), rng.choice(places), rng.randint(0, 1)
    at = now + rng.randint(0, HOUR_MS - 1)
    what = rng.random()
    if what < 0.5:
        late = rng.random() < 0.05
        order = len(placed)
        more: dict[str, Any] = {"sku": sku, "location": location, "units": rng.randint(1, 5), "partition": p}
        at_once = rng.random() < 0.5
        cart = rng.randint(1, 20) if rng.random() < 0.3 else 0
        flags = (Flag.SOLD_AT_ONCE if at_once else 0) | (Flag.LATE if late else 0)
        when = at - 3 * DAY_MS if late else at
        late_ms = rng.randint(1, 3 * DAY_MS) if late else 0
        w.row(
            Kind.ORDER_PLACED,
            when,
            order_hash=order + 1,
            flags=flags,
            late_ms=late_ms,
            cart_hash=cart,
            price=2.5,
            **more,
        )
        placed.append({**more, "order_hash": order + 1})
    elif what < 0.62 and placed:
        kind = rng.choice((Kind.ORDER_CANCELLED, Kind.ORDER_FULFILLED, Kind.ORDER_RETURNED))
        w.row(kind, at, **rng.choice(placed))
    elif what < 0.72:
        w.row(Kind.STOCK_RECEIVED, at, sku=sku, location=location, units=rng.randint(5, 40))
    elif what < 0.76:
        back = rng.choice((0, HOUR_MS, 30 * HOUR_MS))
        w.row(Kind.STOCK_COUNTED, at - back, sku=sku, location=location, units=rng.randint(0, 40), raw=b"{}")
    elif what < 0.80:
        w.row(Kind.STOCK_ADJUSTED, at, sku=sku, location=location, units=rng.choice((-3, 2)))
    elif what < 0.84:
        ref = f"PO{rng.randint(0, 9)}"
        kind = rng.choice((Kind.SUPPLY_ORDERED, Kind.SUPPLY_CONFIRMED, Kind.SUPPLY_RESCHEDULED, Kind.SUPPLY_CANCELLED))
        w.row(kind, at, sku=sku, location=location, units=20, reference=ref, expected_ms=at + 2 * DAY_MS)
    elif what < 0.88:
        w.row(Kind.STOCK_RECEIVED, at, sku=sku, location=location, units=10, reference=f"PO{rng.randint(0, 9)}")
    elif what < 0.895:
        ends = ("L", "M") if location == "L" else ("M", "L")
        w.propose(at, sku, *ends, rng.randint(1, 9), at + rng.choice((HOUR_MS, 20 * HOUR_MS, 3 * DAY_MS)))
    elif what < 0.93 and w.transfers:
        one = rng.choice(w.transfers[-6:])
        kinds = (Kind.TRANSFER_APPROVED, Kind.TRANSFER_LEFT, Kind.TRANSFER_ARRIVED, Kind.TRANSFER_CANCELLED)
        for kind in rng.choice((kinds[:1], kinds[:2], kinds[1:3], kinds[:3], kinds[3:])):
            w.move(kind, at, one, one["units"] if rng.random() < 0.7 else rng.randint(1, 9))
    elif what < 0.94:
        w.row(Kind.TRANSFER_COMING, at, sku=sku, location=location, units=4)
        if rng.random() < 0.7:
            w.row(Kind.TRANSFER_ARRIVED, at, sku=sku, location=location, units=rng.choice((2, 4, 6)))
    elif what < 0.97:
        kind = rng.choice((Kind.CART_ADDED, Kind.CART_VIEWED, Kind.CART_REMOVED))
        w.row(kind, at, sku=sku, location=rng.choice((location, "")), cart_hash=rng.randint(1, 20), units=2)
    elif what < 0.985:
        fact = ItemFact(
            event_id="f",
            type="catalog.item",
            occurred_at="2026-01-01T00:00:00Z",
            sku=sku,
            lead_days=rng.randint(1, 4),
            lead_days_sd=rng.choice((None, 0.0, 1.5)),
            service_measure=rng.choice((None, "cycle", "fill")),
            category=rng.choice((None, "fruit")),
        )
        w.row(Kind.FACT, at, sku=sku, location="", fact=fact_text(fact))
    elif what < 0.993:
        first = at // DAY_MS + rng.randint(0, 3)
        days = {"first_day": str(np.datetime64(first, "D")), "last_day": str(np.datetime64(first + 1, "D"))}
        whom = rng.choice(({}, {"location": location}, {"category": "fruit"}))
        plan = rng.choice(({"type": "calendar.promotion", "discount_share": 0.3}, {"type": "calendar.closure"}))
        w.row(Kind.FACT, at, sku="", location="", fact=orjson.dumps({**plan, **days, **whom, "entry_id": "e"}).decode())
    else:
        location_fact = {
            "type": "catalog.location",
            "location": location,
            "timezone": rng.choice(("Asia/Tokyo", "America/Lima")),
            "closed_weekdays": rng.choice(([], [7])),
        }
        w.row(Kind.FACT, at, sku="", location="", fact=orjson.dumps(location_fact).decode())


def at_rest(shelf: Shelf) -> list[Outgoing]:
    """Finish whatever is pending."""
    out = []
    while shelf.pending:
        out += sweep(shelf, 3)
    return out


class Store:
    """The sections of one shelf, as a ledger would hold them."""

    def __init__(self, cfg: PlannerConfig) -> None:
        self.config, self.sections, self.place = cfg, {}, place(Shelf(cfg))
        self.messages: list[Outgoing] = []

    def keep(self, shelf: Shelf, messages: Sequence[Outgoing]) -> None:
        """Apply what changed."""
        write = changes(shelf, self.place, messages, 10**9)
        for section, fields in write.changes.items():
            held = self.sections.setdefault(section, {})
            for name, value in fields.items():
                if value is None:
                    held.pop(name, None)
                else:
                    held[name] = value
        self.place = write.next
        self.messages += messages

    def open(self) -> Shelf:
        """The shelf as kept."""
        return load(self.config, self.sections, self.place.offset)


def run(
    cfg: PlannerConfig, records: Sequence[SkuRecord], cuts: random.Random | None = None, crash: float = 0.0
) -> Store:
    """Fold a log into a store: whole, or cut at random, sliced at random and reopened at random."""
    store = Store(cfg)
    shelf = store.open()
    i = 0
    while i < len(records):
        n = len(records) if cuts is None else cuts.randint(1, 6)
        ahead = [] if cuts is None else close_ahead(shelf, records[i : i + n], cuts.randint(0, 9))[0]
        messages = ahead + fold(shelf, records[i : i + n]).messages
        if cuts is not None and cuts.random() < crash:  # died before keep: fold again from the ledger
            shelf = store.open()
            i = shelf.offset if shelf.offset >= 0 else 0
            continue
        store.keep(shelf, messages)
        i += n
        while cuts is not None and shelf.pending and cuts.random() < 0.5:
            store.keep(shelf, sweep(shelf, cuts.randint(1, 5)))
        if cuts is not None and cuts.random() < crash:  # died after keep
            shelf = store.open()
    store.keep(shelf, at_rest(shelf))
    return store


def by_sku(messages: Sequence[Outgoing]) -> dict[str, list[tuple[str, bytes]]]:
    """Messages per SKU, in order."""
    out: dict[str, list[tuple[str, bytes]]] = {}
    for m in messages:
        subject = next(v for k, v in m.headers if k == "ce_subject").decode()
        out.setdefault(split_row_key(subject)[0], []).append((m.id, m.value))
    return out


Levels = dict[tuple[tuple[str, str], int], tuple[int, bool]]


@contextmanager
def closings() -> Iterator[Levels]:
    """Notes of every closing: (SKU-location, day) -> (level at its end in milli, whether stock was known)."""
    close, noted = wakes.close, Levels()

    def noting(shelf: Shelf, rows: Any, wake: Any) -> list[Outgoing]:
        for row, h in zip(rows.tolist(), shelf.hot[rows], strict=True):
            known = bool(h["known_day"] <= h["day"])
            noted[shelf.names[row], int(h["day"])] = (int(h["opening"] + h["flow0"]), known)
        return close(shelf, rows, wake)

    wakes.close = noting
    try:
        yield noted
    finally:
        wakes.close = close
