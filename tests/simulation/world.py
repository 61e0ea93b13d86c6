"""What happens in a seeded shop: acts of source records, as JSON, by partition. README.md says why there are acts."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from agents.intake.translate import IntakeConfig
from agents.planner.config import DAY_MS, PlannerConfig, Policy
from agents.planner.versions import NEWEST
from stream.events.facts import key_of, key_text
from stream.events.instants import text_from_ms
from stream.events.kinds import Source
from stream.events.partition import partition_of
from stream.events.topics import BY_NAME as TOPICS
from stream.events.topics import SOURCES, partitions

START_MS = 20_454 * DAY_MS
HOUR_MS = 3_600_000
KINDS = ("steps", "free", "wild")

GARBAGE: Sequence[bytes | None] = (
    None, b"", b"{", b"null", b"[]", b"\xff\xfe", b'{"event_id":"x","type":"order.placed"}', b'{"a":1}{"b":2}',
    b'{"event_id":"x","type":"clock.tick","occurred_at":"yesterday"}', b"[" * 300, b'{"event_id":NaN}',
    b'{"event_id":"x","type":"order.placed","occurred_at":"2026-01-05T10:00:00Z","order_id":"o","lines":'
    b'[{"line_id":"1","sku":"s","location":"l","quantity":"1"}]}',
)  # fmt: skip


class Input(NamedTuple):
    """One source record, before it has an offset."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    logged_ms: int


@dataclass(frozen=True)
class Act:
    """Records in the order of each partition, ticks at the end of each included."""

    records: list[Input]
    until_ms: int  # what the ticks say
    waits: bool  # for everything to be folded before the next act begins
    ticks: int


@dataclass(frozen=True)
class World:
    """A shop's story and the settings it is told to."""

    seed: int
    kind: str
    shelves: int
    source_partitions: int
    acts: list[Act]
    intake: IntakeConfig
    planner: PlannerConfig
    junk: bool  # whether somebody writes to sku-events what is not ours

    def of_shelf(self, shelf: int) -> PlannerConfig:
        """The planner's configuration of one shelf."""
        return PlannerConfig(**{**self.planner.__dict__, "shelf": shelf})


def world_of(seed: int, kind: str = "") -> World:
    """The world of a seed; kinds take turns."""
    kind = kind or KINDS[seed % 3]
    rng = random.Random(f"world {seed} {kind}")
    shelves, sources = rng.randint(1, 3), rng.randint(1, 2)
    intake = IntakeConfig(shelves, lateness_ms=12 * HOUR_MS if kind == "steps" else 2 * HOUR_MS, clock="event")
    story = Story(rng, kind, sources)
    acts = {"steps": steps, "free": free, "wild": wild}[kind](story)
    planner = _planner(rng, kind, shelves, story.counts)
    return World(seed, kind, shelves, sources, acts, intake, planner, junk=kind == "wild")


def _planner(rng: random.Random, kind: str, shelves: int, counts: dict[str, int]) -> PlannerConfig:
    more: dict[str, Any] = {}
    if kind == "wild":
        more["journal_rows"] = rng.choice((20, 60, 500_000))
        more["journal_days"] = rng.choice((1, 3, 35))
        more["carts_max"] = rng.choice((2, 100_000))
    if kind == "wild" and rng.random() < 0.3:
        more["warm_until_ms"] = START_MS + rng.randint(1, 5) * DAY_MS + HOUR_MS
    return PlannerConfig(
        cart_signals=True,
        shape={source: counts[source.topic] for source in Source},
        shelves=shelves,
        policy=Policy(lead_days=2.0, unit_cost=3.0),
        slice_rows=rng.choice((1, 2, 3, 2_000)),
        proposal_expiry_ms=rng.choice((24, 30)) * HOUR_MS,
        proposal_grace_ms=rng.choice((5, 10)) * HOUR_MS,
        positions_interval_ms=rng.choice((0, 1_000, 8 * HOUR_MS)),
        version=NEWEST,
        close_spread_ms=rng.choice((0, 30_000, HOUR_MS, 6 * HOUR_MS)),
        **more,
    )


class Row(NamedTuple):
    """A SKU-location."""

    sku: str
    location: str


@dataclass
class Sold:
    """An order that may still be fulfilled, cancelled or returned."""

    order_id: str
    lines: list[dict[str, Any]]
    at_once: bool
    gone: bool = False  # fulfilled


@dataclass
class Bought:
    """A supply order."""

    ref: str
    row: Row
    units: int
    act: int  # in which somebody last spoke of it
    closed: bool = False


@dataclass
class Story:
    """Writes records; remembers what was said, so that what follows can match it."""

    rng: random.Random
    kind: str
    sources: int
    now_ms: int = START_MS
    rows: list[Row] = field(default_factory=list)
    records: list[Input] = field(default_factory=list)
    said: list[Input] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)
    sold: list[Sold] = field(default_factory=list)
    bought: list[Bought] = field(default_factory=list)
    moving: list[tuple[str, Row, str, int]] = field(default_factory=list)  # id, from, to, units
    free_rows: set[Row] | None = None  # rows that nothing has touched in this act; None: does not matter
    serial: int = 0
    ticks: int = 0  # in this act

    def __post_init__(self) -> None:
        self.counts = {name: partitions(TOPICS[name], self.sources, 1, 1) for name in SOURCES}
        skus = ["A", "b@b%", "Käse 3", "D"][: self.rng.randint(1, 4)]
        self.rows = [Row(sku, location) for sku in skus for location in ("north", "south")]

    # -- saying -----------------------------------------------------------------------------------------------------

    def say(self, topic: str, key: str, type: str, at_ms: int, **fields: Any) -> None:
        """An event."""
        self.serial += 1
        event = {"event_id": f"e{self.serial}", "type": type, "occurred_at": text_from_ms(at_ms), **fields}
        self.put(topic, key.encode(), orjson.dumps(event))

    def fact(self, type: str, at_ms: int, **fields: Any) -> None:
        """A fact, under its own key."""
        topic = type.partition(".")[0]
        self.say(topic, key_text(key_of({"type": type, **fields})), type, at_ms, **fields)

    def put(self, topic: str, key: bytes, value: bytes | None) -> None:
        """Any record at all."""
        record = Input(topic, partition_of(key, self.counts[topic]), key, value, self.now_ms)
        self.records.append(record)
        self.said.append(record)

    def close(self, until_ms: int, waits: bool = True) -> None:
        """End the act: a tick into every partition."""
        self.now_ms = max(self.now_ms, until_ms)
        self.tick(until_ms)
        self.acts.append(Act(self.records, until_ms, waits, self.ticks))
        self.records, self.ticks = [], 0

    def tick(self, until_ms: int) -> None:
        """Nothing earlier is to come in any partition, unless late."""
        for topic, count in self.counts.items():
            for partition in range(count):
                self.serial += 1
                tick = {"event_id": f"t{self.serial}", "type": "clock.tick", "occurred_at": text_from_ms(until_ms)}
                self.records.append(Input(topic, partition, None, orjson.dumps(tick), self.now_ms))
        self.ticks += sum(self.counts.values())

    # -- choosing ---------------------------------------------------------------------------------------------------

    def pick(self, most: int = 1, where: Callable[[Row], bool] = lambda row: True) -> list[Row]:
        """Up to `most` rows, which are then taken for this act where that matters."""
        there = [row for row in self.rows if where(row) and (self.free_rows is None or row in self.free_rows)]
        chosen = self.rng.sample(there, min(len(there), self.rng.randint(1, most)))
        self.touch(chosen)
        return chosen

    def touch(self, rows: Sequence[Row]) -> None:
        """These rows have had their event of the act."""
        if self.free_rows is not None:
            self.free_rows -= set(rows)

    def untouched(self, rows: Sequence[Row]) -> bool:
        """Whether none of these rows has had its event."""
        return self.free_rows is None or self.free_rows.issuperset(rows)


# -- the three kinds of world -----------------------------------------------------------------------------------------


def steps(story: Story) -> list[Act]:
    """One event a row and act, and everybody waits for it: what a row lives through is the same in every run."""
    _opening(story)
    for _ in range(story.rng.randint(8, 11)):
        hours = story.rng.randint(2, 10)
        if story.rng.random() < 0.15:
            _fact(story, story.now_ms + HOUR_MS)
        else:
            story.free_rows = set(story.rows)
            for _ in range(story.rng.randint(2, 6)):
                trade(story, story.now_ms + story.rng.randint(0, hours * HOUR_MS - 1))
            _noise(story)
        story.close(story.now_ms + hours * HOUR_MS)
    story.close(story.now_ms + story.rng.randint(1, 3) * DAY_MS)
    return story.acts


def free(story: Story) -> list[Act]:
    """Days of trade in any interleaving, then an end that settles every row whatever came before it."""
    _opening(story)
    for _ in range(2):
        _days(story, story.rng.randint(2, 3), 14)
        story.close(story.now_ms)
        if story.rng.random() < 0.5:
            _fact(story, story.now_ms)
            story.close(story.now_ms)
        if story.rng.random() < 0.7:
            for _ in range(3):
                _count(story, story.now_ms)
            story.close(story.now_ms)
    for row in story.rows:
        if story.rng.random() < 0.5:
            _movement(story, "stock.received", row, story.now_ms, 5_000)
        else:
            _place(story, [row], story.now_ms, 5_000, at_once=False)
    story.close(story.now_ms + HOUR_MS)
    story.close(story.now_ms + 9 * DAY_MS)
    return story.acts


def wild(story: Story) -> list[Act]:
    """Everything at any time, lawful or not, and nobody waits."""
    for _ in range(story.rng.randint(2, 3)):
        _days(story, story.rng.randint(1, 3), 25)
        story.close(story.now_ms - story.rng.choice((0, HOUR_MS)), waits=False)
    story.close(story.now_ms + story.rng.randint(0, 3) * DAY_MS)
    return story.acts


def _opening(story: Story) -> None:
    """What is known before the doors open, and what lies on the shelves."""
    story.fact("catalog.location", story.now_ms, location="north", timezone=story.rng.choice(("UTC", "Asia/Tokyo")))
    story.fact("catalog.supplier", story.now_ms, supplier="acme", confirms=story.rng.random() < 0.5, lead_days=3)
    for _ in range(3):
        _fact(story, story.now_ms, zones=False)
    story.close(story.now_ms)
    for row in story.rows:
        if story.kind == "free" or story.rng.random() < 0.8:
            _movement(story, "stock.counted", row, story.now_ms, story.rng.choice((0, 5, 20, 60)))
    story.close(story.now_ms)


def _days(story: Story, days: int, a_day: int) -> None:
    for _ in range(days):
        at = sorted(story.rng.randint(0, DAY_MS - 1) for _ in range(story.rng.randint(a_day // 2, a_day)))
        begin_ms = story.now_ms
        for ms in at:
            story.now_ms = begin_ms + ms
            jitter_ms = story.rng.choice((0, 0, HOUR_MS))
            (anything if story.kind == "wild" else trade)(story, story.now_ms - jitter_ms)
            _noise(story)
        story.now_ms = begin_ms + DAY_MS
        story.tick(begin_ms + DAY_MS - 2 * HOUR_MS)  # so that days close while others are still read


def _noise(story: Story) -> None:
    """Records sent again, and records that are none."""
    if story.said and story.rng.random() < 0.08:
        again = story.rng.choice(story.said)
        story.records.append(again._replace(logged_ms=story.now_ms))
    if story.rng.random() < 0.06:
        topic = story.rng.choice([t for t in story.counts if t not in ("catalog", "calendar")])
        story.put(topic, b"k%d" % story.rng.randint(0, 9), story.rng.choice(GARBAGE))


# -- lawful trade -----------------------------------------------------------------------------------------------------


def trade(story: Story, at_ms: int) -> None:
    """One thing that happens in a shop whose books are in order."""
    deeds: list[tuple[int, Callable[[Story, int], None]]] = [
        (45, _order), (22, _follow_up), (8, _receipt), (6, _count), (8, _correction), (7, _transfer),
        (9, _supply), (6, _cart),
    ]  # fmt: skip
    [deed] = story.rng.choices([d for _, d in deeds], [w for w, _ in deeds])
    deed(story, at_ms)


def _order(story: Story, at_ms: int) -> None:
    rows = story.pick(3)
    if not rows:
        return
    if story.rng.random() < 0.08:
        at_ms -= story.rng.choice((6 * HOUR_MS, 2 * DAY_MS))  # late
    _place(story, rows, at_ms, story.rng.randint(1, 6), story.rng.random() < 0.5)


def _place(story: Story, rows: Sequence[Row], at_ms: int, units: int, at_once: bool) -> None:
    order_id = f"o{story.serial}"
    lines = [
        {"line_id": str(i), "sku": row.sku, "location": row.location, "quantity": units, "unit_price": 2.5}
        for i, row in enumerate(rows)
    ]
    more = {"cart_id": f"c{story.rng.randint(0, 5)}"} if story.rng.random() < 0.3 else {}
    story.say("orders", order_id, "order.placed", at_ms, order_id=order_id, lines=lines, fulfilled=at_once, **more)
    story.sold.append(Sold(order_id, lines, at_once, gone=at_once))


def _follow_up(story: Story, at_ms: int) -> None:
    ready = [s for s in story.sold if story.untouched([Row(x["sku"], x["location"]) for x in s.lines])]
    if not ready:
        return
    sold = story.rng.choice(ready)
    story.touch([Row(x["sku"], x["location"]) for x in sold.lines])
    what = story.rng.choice(("returned", "cancelled") if sold.gone and sold.at_once else ("fulfilled", "cancelled"))
    if sold.gone and not sold.at_once:
        what = "returned"
    if what == "fulfilled":
        sold.gone = True
    else:
        story.sold.remove(sold)
    story.say("orders", sold.order_id, f"order.{what}", at_ms, order_id=sold.order_id, lines=sold.lines)


def _movement(story: Story, type: str, row: Row, at_ms: int, units: float, **more: Any) -> None:
    fields = {"sku": row.sku, "location": row.location, "quantity": units, **more}
    story.say("stock-movements", row.sku, type, at_ms, **fields)


def _receipt(story: Story, at_ms: int) -> None:
    """Against a supply order somebody spoke of in an earlier act, or of goods nobody ordered."""
    act = len(story.acts)
    due = [b for b in story.bought if not b.closed and b.act < act and story.untouched([b.row])]
    if due and story.rng.random() < 0.8:
        bought = story.rng.choice(due)
        story.touch([bought.row])
        part = story.rng.random() < 0.4 and bought.units > 1
        bought.closed, bought.act = not part, act
        _movement(story, "stock.received", bought.row, at_ms, bought.units // 2 if part else bought.units,
                  reference=bought.ref)  # fmt: skip
        return
    for row in story.pick():
        _movement(story, "stock.received", row, at_ms, story.rng.randint(5, 30), reference="from nowhere")


def _count(story: Story, at_ms: int) -> None:
    for row in story.pick():
        back_ms = story.rng.choice((0, HOUR_MS, 5 * HOUR_MS, 30 * HOUR_MS))
        _movement(story, "stock.counted", row, at_ms - back_ms, story.rng.randint(0, 40))


def _correction(story: Story, at_ms: int) -> None:
    for row in story.pick():
        at_ms -= story.rng.choice((0, 0, 6 * HOUR_MS, 3 * DAY_MS))  # perhaps late
        if story.rng.random() < 0.5:
            _movement(story, "stock.adjusted", row, at_ms, story.rng.choice((-2, 1.5, 3)))
        else:
            _movement(story, "stock.written_off", row, at_ms, 1, reason="broken")


def _transfer(story: Story, at_ms: int) -> None:
    here = [m for m in story.moving if story.untouched([Row(m[1].sku, m[2])])]
    if here and story.rng.random() < 0.6:
        move = story.rng.choice(here)
        story.moving.remove(move)
        name, row, to, units = move
        story.touch([Row(row.sku, to)])
        _movement(story, "stock.transfer_received", row, at_ms, units, to_location=to, transfer_id=name)
        return
    for row in story.pick():
        to = "south" if row.location == "north" else "north"
        if not story.untouched([Row(row.sku, to)]):
            continue
        story.touch([Row(row.sku, to)])
        story.moving.append((f"t{story.serial}", row, to, 3))
        _movement(story, "stock.transfer_shipped", row, at_ms, 3, to_location=to, transfer_id=f"t{story.serial}")


def _supply(story: Story, at_ms: int) -> None:
    """Orders from suppliers. Nobody speaks of one in the act in which goods arrive for it."""
    act = len(story.acts)
    open_ = [b for b in story.bought if not b.closed and story.untouched([b.row]) and not _arrives(b, act, story)]
    if open_ and story.rng.random() < 0.6:
        bought = story.rng.choice(open_)
        story.touch([bought.row])
        bought.act = act
        what = story.rng.choice(("confirmed", "confirmed", "rescheduled", "cancelled"))
        bought.closed = what == "cancelled"
        _say_supply(story, what, bought, at_ms)
        return
    for row in story.pick():
        bought = Bought(f"p{story.serial}", row, story.rng.randint(2, 25), act)
        story.bought.append(bought)
        _say_supply(story, "ordered", bought, at_ms)


def _arrives(bought: Bought, act: int, story: Story) -> bool:
    return bought.act == act and any(b"stock.received" in (r.value or b"") and bought.ref.encode() in (r.value or b"")
                                     for r in story.records)  # fmt: skip


def _say_supply(story: Story, what: str, bought: Bought, at_ms: int) -> None:
    fields: dict[str, Any] = {"order_ref": bought.ref, "sku": bought.row.sku, "location": bought.row.location}
    if what in ("confirmed", "rescheduled"):
        fields["expected_at"] = text_from_ms(at_ms + story.rng.randint(1, 4) * DAY_MS)
    units = bought.units
    story.say("supply", bought.row.sku, f"supply.{what}", at_ms, quantity=units, supplier="acme", **fields)


def _cart(story: Story, at_ms: int) -> None:
    cart = f"c{story.rng.randint(0, 5)}"
    what = story.rng.choice(("item_viewed", "item_added", "item_added", "item_removed", "checked_out"))
    if what == "checked_out":
        story.say("carts", cart, "cart.checked_out", at_ms, cart_id=cart)
        return
    for row in story.pick():
        location = {} if story.free_rows is None and story.rng.random() < 0.3 else {"location": row.location}
        story.say("carts", cart, f"cart.{what}", at_ms, cart_id=cart, sku=row.sku, quantity=2, **location)


def _fact(story: Story, at_ms: int, zones: bool = True) -> None:
    """Somebody changes what is known."""
    row, rng = story.rng.choice(story.rows), story.rng
    what = rng.randint(0, 5 if zones else 3)
    if what == 0:
        story.fact("catalog.item", at_ms, sku=row.sku, lead_days=rng.randint(1, 4), pack_units=rng.choice((1, 6)))
    elif what == 1:
        more = rng.choice(
            ({"max_stock_units": 50}, {"min_order_units": 10}, {"status": "phase_out"}, {"review_days": 3})
        )
        story.fact("catalog.policy", at_ms, sku=row.sku, location=row.location, supplier="acme", **more)
    elif what == 2:
        story.fact("catalog.supplier", at_ms, supplier="acme", confirms=rng.random() < 0.5, lead_days=rng.randint(1, 5))
    elif what == 3:
        story.fact("calendar.holiday", at_ms, entry_id="x", first_day="2026-01-05", last_day="2026-01-06")
    elif what == 4:
        zone = rng.choice(("America/Lima", "Asia/Tokyo", "UTC"))
        story.fact("catalog.location", at_ms, location=row.location, timezone=zone)
    else:
        story.put("catalog", key_text(("policy", row.sku, row.location)).encode(), None)


# -- anything ---------------------------------------------------------------------------------------------------------


def anything(story: Story, at_ms: int) -> None:
    """Lawful trade, or what no book-keeper would sign."""
    if story.rng.random() < 0.6:
        trade(story, at_ms)
        return
    story.rng.choice((_unmatched, _stray_time, _stray_supply, _fact, _old_count, _late_carts))(story, at_ms)


def _unmatched(story: Story, at_ms: int) -> None:
    """A cancellation of an order nobody placed, or that is placed later; a transfer that never left."""
    row, rng = story.rng.choice(story.rows), story.rng
    if rng.random() < 0.3:
        _movement(story, "stock.transfer_received", Row(row.sku, "south"), at_ms, 2, to_location="north",
                  transfer_id="?")  # fmt: skip
        return
    order_id = f"o{story.serial + rng.randint(0, 30)}"
    line = {"line_id": "0", "sku": row.sku, "location": row.location, "quantity": rng.randint(1, 4)}
    what = rng.choice(("cancelled", "fulfilled", "returned"))
    story.say("orders", order_id, f"order.{what}", at_ms, order_id=order_id, lines=[line])


def _stray_time(story: Story, at_ms: int) -> None:
    """Too far ahead, too old, late."""
    ahead_ms = story.rng.choice((HOUR_MS, -40 * DAY_MS, -3 * DAY_MS))
    _movement(story, "stock.adjusted", story.rng.choice(story.rows), at_ms + ahead_ms, 1)


def _stray_supply(story: Story, at_ms: int) -> None:
    """Moves the life of a replenishment does not allow, and receipts in any order."""
    row = story.rng.choice(story.rows)
    bought = Bought(f"p{story.rng.randint(0, 9)}", row, story.rng.randint(1, 20), 0)
    if story.rng.random() < 0.4:
        more = {"reference": bought.ref} if story.rng.random() < 0.6 else {}
        _movement(story, "stock.received", row, at_ms, bought.units, **more)
    else:
        _say_supply(story, story.rng.choice(("ordered", "confirmed", "rescheduled", "cancelled")), bought, at_ms)


def _old_count(story: Story, at_ms: int) -> None:
    back_ms = story.rng.choice((3 * HOUR_MS, 30 * HOUR_MS, 5 * DAY_MS))
    _movement(story, "stock.counted", story.rng.choice(story.rows), at_ms - back_ms, story.rng.randint(0, 9))


def _late_carts(story: Story, at_ms: int) -> None:
    """A burst of carts, so that there are more than are kept."""
    for _ in range(5):
        _cart(story, at_ms - story.rng.choice((0, DAY_MS)))
