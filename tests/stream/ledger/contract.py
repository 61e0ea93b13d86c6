"""What every ledger does. Run against memory and a real Redis by test_contract.py."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from stream.errors import Fenced, Stale
from stream.events.outgoing import Outgoing
from stream.ledger.port import SECTIONS, Held, Ledger, Place, SourcePosition, Write
from tests.stream.ledger.stores import Store

Body = Callable[[], Awaitable[None]]


def message(name: str, topic: str = "replenishments", key: str = "sku") -> Outgoing:
    return Outgoing(topic, key.encode(), f"value of {name}".encode(), (("ce_id", name.encode()),))


def step(held: Held, to: int, *names: str, sweep: str = "", **changes: Any) -> Write:
    """A write from where the shelf stands to offset `to`, with a row that tells of it and messages so named."""
    rows = {"hot": {b"row": b"at %d" % to}, **changes}
    return Write(held.place, Place(to, sweep), rows, [message(name) for name in names])


async def one(ledger: Ledger, held: Held, write: Write) -> Exception | None:
    [answer] = await ledger.keep([(held, write)])
    return answer


async def ids(ledger: Ledger, shelf: int) -> list[str]:
    """The outbox as a new owner finds it."""
    return [entry.id for _, entry in (await ledger.acquire(shelf)).outbox]


class LedgerContract:
    """Every test takes an empty store."""

    def test_a_shelf_nobody_kept_is_empty_and_before_the_log(self, store: Store) -> None:
        """Offset -1, every section there and empty, no outbox, numbering from 0."""

        async def body() -> None:
            held = await store.ledger().acquire(3)
            assert (held.shelf, held.place, held.next_out) == (3, Place(-1, ""), 0)
            assert held.sections == {name: {} for name in SECTIONS}
            assert (held.outbox, held.published) == ([], {})

        asyncio.run(body())

    def test_what_is_kept_is_what_the_next_owner_reads(self, store: Store) -> None:
        """Sections, place, sweep and outbox come back byte for byte; deleted fields do not."""

        async def body() -> None:
            ledger, odd = store.ledger(), bytes(range(256))
            held = await ledger.acquire(0)
            everything = {name: {name.encode() + b"/a": odd, b"b": b"", b"gone": b"x"} for name in SECTIONS}
            assert await one(ledger, held, Write(held.place, Place(7, "row é"), everything, [message("m")])) is None
            gone: Any = {name: {b"gone": None, b"never was": None} for name in SECTIONS}
            assert await one(ledger, held, Write(held.place, Place(8, "row é"), gone)) is None

            found = await store.ledger().acquire(0)

            assert found.sections == {name: {name.encode() + b"/a": odd, b"b": b""} for name in SECTIONS}
            assert found.place == Place(8, "row é")
            assert found.outbox == [(0, message("m"))]
            assert found.next_out == 1

        asyncio.run(body())

    def test_a_big_shelf_is_written_and_read_whole(self, store: Store) -> None:
        """10,001 rows, as many deletions and 5,001 messages pass through one write."""

        async def body() -> None:
            ledger = store.ledger()
            held = await ledger.acquire(0)
            rows = {b"row %d" % i: b"%d" % i * 50 for i in range(10_001)}
            sent = [message(str(i)) for i in range(5_001)]
            assert await one(ledger, held, Write(held.place, Place(1), {"hot": dict(rows)}, sent)) is None
            found = await ledger.acquire(0)
            assert found.sections["hot"] == rows
            assert found.outbox == list(enumerate(sent))
            assert await one(ledger, found, Write(found.place, Place(2), {"hot": dict.fromkeys(rows)})) is None
            assert (await ledger.acquire(0)).sections["hot"] == {}

        asyncio.run(body())

    def test_an_older_owner_is_fenced_and_changes_nothing(self, store: Store) -> None:
        """After a second acquire the first owner's keep and sent are refused as Fenced."""

        async def body() -> None:
            ledger = store.ledger()
            old = await ledger.acquire(0)
            assert await one(ledger, old, step(old, 1, "a")) is None
            new = await store.ledger().acquire(0)
            before = await ledger.dump(0)

            refused = await one(ledger, old, step(old, 2, "b"))
            with pytest.raises(Fenced, match="newer owner"):
                await ledger.sent(old, 0, {"replenishments": 5})

            assert isinstance(refused, Fenced)
            assert old.place == Place(1)
            assert await ledger.dump(0) == before
            assert await one(ledger, new, step(new, 2, "b")) is None
            assert await ids(ledger, 0) == ["a", "b"]

        asyncio.run(body())

    @pytest.mark.parametrize(
        ("which", "change"),
        [
            ("offset", lambda held: step(Held(**{**vars(held), "place": Place(4)}), 6)),
            ("sweep", lambda held: step(Held(**{**vars(held), "place": Place(5, "elsewhere")}), 6)),
        ],
    )
    def test_a_write_from_another_place_is_stale(self, store: Store, which: str, change: Any) -> None:
        """An offset or a sweep that is not the ledger's is named in the refusal; nothing is written."""

        async def body() -> None:
            ledger = store.ledger()
            held = await ledger.acquire(0)
            assert await one(ledger, held, step(held, 5)) is None
            before = await ledger.dump(0)
            refused = await one(ledger, held, change(held))
            assert isinstance(refused, Stale)
            assert f"its {which} is not what we left" in refused.what
            assert await ledger.dump(0) == before

        asyncio.run(body())

    def test_a_roll_back_is_seen_even_when_the_offset_is_equal(self, store: Store) -> None:
        """A write that moved no offset is lost: the stamp gives it away."""

        async def body() -> None:
            ledger = store.ledger()
            held = await ledger.acquire(0)
            assert await one(ledger, held, step(held, 5)) is None
            saved = store.save()
            assert await one(ledger, held, step(held, 5, hot={b"row": b"refreshed"})) is None
            store.restore(saved)

            refused = await one(ledger, held, step(held, 6))

            assert isinstance(refused, Stale)
            assert "its stamp is not what we left" in refused.what
            assert (await ledger.peek(0, {"hot": [b"row"]})).sections["hot"] == {b"row": b"at 5"}

        asyncio.run(body())

    def test_a_look_says_whether_a_shelf_is_as_we_left_it(self, store: Store) -> None:
        """None before anything is written and after a keep; Stale once it is rolled back, Fenced once it is taken."""

        async def body() -> None:
            ledger = store.ledger()
            held, other = await ledger.acquire(0), await ledger.acquire(1)
            assert await ledger.look([held, other]) == [None, None]
            assert await one(ledger, held, step(held, 1, "a")) is None
            saved = store.save()
            assert await one(ledger, held, step(held, 2, "b")) is None
            assert await ledger.look([held, other]) == [None, None]

            store.restore(saved)

            [stale, untouched] = await ledger.look([held, other])
            assert isinstance(stale, Stale)
            assert untouched is None
            await store.ledger().acquire(0)
            assert [type(verdict) for verdict in await ledger.look([held])] == [Fenced]

        asyncio.run(body())

    def test_a_roll_back_past_our_acquire_is_stale_not_fenced(self, store: Store) -> None:
        """The older owner's token is back, but nobody newer came: the owner reloads instead of giving way."""

        async def body() -> None:
            ledger = store.ledger()
            first = await ledger.acquire(0)
            assert await one(ledger, first, step(first, 5)) is None
            saved = store.save()
            second = await ledger.acquire(0)
            store.restore(saved)
            assert isinstance(await one(ledger, second, step(second, 6)), Stale)
            with pytest.raises(Stale):
                await ledger.sent(second, -1, {})

        asyncio.run(body())

    def test_a_store_that_lost_everything_is_stale(self, store: Store) -> None:
        """An emptied Redis has no owner at all: the owner begins again from the start of the log."""

        async def body() -> None:
            ledger, empty = store.ledger(), store.save()
            for _ in range(20):  # more than any memory of older owners
                held = await ledger.acquire(0)
            assert await one(ledger, held, step(held, 5)) is None
            store.restore(empty)
            assert isinstance(await one(ledger, held, step(held, 6)), Stale)
            assert (await ledger.acquire(0)).place == Place(-1)

        asyncio.run(body())

    def test_after_a_roll_back_a_newer_owner_still_fences(self, store: Store) -> None:
        """Roll-back past our acquire, then somebody takes the shelf: we give way to them."""

        async def body() -> None:
            ledger, saved = store.ledger(), store.save()
            ours = await ledger.acquire(0)
            store.restore(saved)
            theirs = await ledger.acquire(0)
            assert isinstance(await one(ledger, ours, step(ours, 1)), Fenced)
            assert await one(ledger, theirs, step(theirs, 1)) is None

        asyncio.run(body())

    def test_a_write_whose_answer_is_lost_counts_once(self, store: Store) -> None:
        """Asked again, the script recognises its stamp: state once, messages once, the next write fits."""

        async def body() -> None:
            ledger = store.ledger()
            held = await ledger.acquire(0)
            assert await one(ledger, held, step(held, 1, "a")) is None
            store.lose_answers(ledger, 3)
            assert await one(ledger, held, step(held, 2, "b", "c")) is None
            assert (held.place, held.next_out) == (Place(2), 3)
            assert await one(ledger, held, step(held, 3, "d")) is None
            assert await ids(ledger, 0) == ["a", "b", "c", "d"]

        asyncio.run(body())

    def test_an_acquire_whose_answer_is_lost_is_one_acquire(self, store: Store) -> None:
        """Asked again with the same token it fences nobody but older owners."""

        async def body() -> None:
            ledger = store.ledger()
            store.lose_answers(ledger, 1)
            held = await ledger.acquire(0)
            assert held.token not in held.before
            assert await one(ledger, held, step(held, 1)) is None

        asyncio.run(body())

    def test_the_same_write_given_again_is_written_once(self, store: Store) -> None:
        """After an Away the planner gives the same Write; the part that was kept is not kept twice."""

        async def body() -> None:
            ledger = store.ledger()
            held = await ledger.acquire(0)
            write = step(held, 1, "a")
            assert await one(ledger, held, write) is None
            assert await one(ledger, held, write) is None
            assert held.next_out == 1
            assert await ids(ledger, 0) == ["a"]

        asyncio.run(body())

    def test_shelves_of_one_keep_are_judged_each_for_itself(self, store: Store) -> None:
        """One shelf fenced and one stale do not keep the third from being written."""

        async def body() -> None:
            ledger = store.ledger()
            lost, behind, fine = [await ledger.acquire(shelf) for shelf in range(3)]
            await ledger.acquire(0)
            writes = [(held, step(held, 1)) for held in (lost, behind, fine)]
            writes[1][1].expected = Place(77)
            fenced, stale, done = await ledger.keep(writes)
            assert isinstance(fenced, Fenced)
            assert isinstance(stale, Stale)
            assert done is None
            assert [(await ledger.peek(shelf, {})).place.offset for shelf in range(3)] == [-1, -1, 1]

        asyncio.run(body())

    def test_the_outbox_keeps_its_order_and_numbers_over_owners(self, store: Store) -> None:
        """Numbers grow by one from message to message, whoever kept them and whatever was trimmed."""

        async def body() -> None:
            ledger = store.ledger()
            held = await ledger.acquire(0)
            assert await one(ledger, held, step(held, 1, "a", "b")) is None
            assert await one(ledger, held, step(held, 2, "c")) is None
            await ledger.sent(held, 0, {"replenishments": 1})
            held = await ledger.acquire(0)
            assert await one(ledger, held, step(held, 3, "d")) is None
            found = await ledger.acquire(0)
            assert [(number, entry.id) for number, entry in found.outbox] == [(1, "b"), (2, "c"), (3, "d")]
            assert found.published == {"replenishments": 1}
            assert found.next_out == 4

        asyncio.run(body())

    def test_sent_twice_is_sent_once(self, store: Store) -> None:
        """Trimming to a number already trimmed drops nothing more; offsets noted are the latest given."""

        async def body() -> None:
            ledger = store.ledger()
            held = await ledger.acquire(0)
            assert await one(ledger, held, step(held, 1, "a", "b", "c")) is None
            await ledger.sent(held, 1, {"replenishments": 2})
            store.lose_answers(ledger, 1)
            await ledger.sent(held, 1, {"replenishments": 2, "positions": 9})
            await ledger.sent(held, 0, {})
            await ledger.sent(held, -1, {})
            found = await ledger.acquire(0)
            assert [entry.id for _, entry in found.outbox] == ["c"]
            assert found.published == {"replenishments": 2, "positions": 9}

        asyncio.run(body())

    def test_noting_messages_the_ledger_forgot_is_stale(self, store: Store) -> None:
        """Offsets of messages kept after the copy must not be noted in it: their ids would never be looked for."""

        async def body() -> None:
            ledger = store.ledger()
            held = await ledger.acquire(0)
            assert await one(ledger, held, step(held, 1, "a")) is None
            saved = store.save()
            assert await one(ledger, held, step(held, 2, "b")) is None
            store.restore(saved)
            with pytest.raises(Stale):
                await ledger.sent(held, 1, {"replenishments": 2})
            found = await ledger.acquire(0)
            assert (found.published, len(found.outbox)) == ({}, 1)

        asyncio.run(body())

    def test_the_readable_row_is_replaced_whole_and_can_go(self, store: Store) -> None:
        """A field that is no longer said is no longer there; None removes the row."""

        async def body() -> None:
            ledger = store.ledger()
            held = await ledger.acquire(0)
            first = {"a@b": {"on_hand": "3", "next_receipt": "soon"}, "é %40@b": {"on_hand": "1"}}
            assert await one(ledger, held, Write(held.place, Place(1), readable=first)) is None
            second = {"a@b": {"on_hand": "2"}, "é %40@b": None, "never@b": None}
            assert await one(ledger, held, Write(held.place, Place(1), readable=second)) is None
            dump = await ledger.dump(0)
            assert {k: v for k, v in dump.items() if k.startswith("stock:")} == {"stock:a@b": {b"on_hand": b"2"}}

        asyncio.run(body())

    def test_equal_states_give_equal_dumps_however_they_came_about(self, store: Store) -> None:
        """Owners, stamps, numbers and the order of writing do not show in a dump; a changed byte does."""

        async def body() -> None:
            ledger = store.ledger()
            a, b = await ledger.acquire(0), await ledger.acquire(1)
            rows = {b"%d" % i: b"v" for i in range(100)}
            assert await one(ledger, a, Write(a.place, Place(2), {"hot": dict(rows)}, [message("x")])) is None
            b = await ledger.acquire(1)
            backwards = dict(reversed(rows.items()))
            assert await one(ledger, b, Write(b.place, Place(1), {"hot": {**backwards, b"z": b""}})) is None
            assert await one(ledger, b, Write(b.place, Place(2), {"hot": {b"z": None}})) is None
            first, second = await ledger.dump(0), await ledger.dump(1)
            assert first == second
            assert list(first["hot"]) == sorted(rows)
            assert await one(ledger, b, Write(b.place, Place(2), {"hot": {b"0": b"w"}})) is None
            assert await ledger.dump(1) != first

        asyncio.run(body())

    def test_a_peek_takes_nothing_from_the_owner(self, store: Store) -> None:
        """Asked-for fields and whole sections of one moment; the owner writes on."""

        async def body() -> None:
            ledger = store.ledger()
            held = await ledger.acquire(0)
            rows: Any = {"hot": {b"a": b"1", b"b": b"2"}, "facts": {b"f": b"3"}}
            assert await one(ledger, held, Write(held.place, Place(4, "s"), rows)) is None
            peek = await store.ledger().peek(0, {"hot": [b"b", b"none"], "facts": None, "carts": [], "meta": None})
            assert peek.place == Place(4, "s")
            assert peek.sections == {"hot": {b"b": b"2"}, "facts": {b"f": b"3"}, "carts": {}, "meta": {}}
            assert await one(ledger, held, step(held, 5)) is None
            assert (await ledger.peek(9, {"hot": None})).place == Place(-1)

        asyncio.run(body())

    def test_the_shelves_that_were_taken_are_known(self, store: Store) -> None:
        """By number, in order, and none of another namespace."""

        async def body() -> None:
            ledger = store.ledger()
            assert await ledger.shelves() == []
            for shelf in (11, 2, 0):
                await ledger.acquire(shelf)
            assert await ledger.shelves() == [0, 2, 11]

        asyncio.run(body())

    def test_source_positions_only_grow(self, store: Store) -> None:
        """Offset and mark each become the greater of old and new; no mark takes none away."""

        async def body() -> None:
            ledger, at, other = store.ledger(), ("orders", 0), ("orders", 1)
            assert await ledger.source_positions([at, other]) == {}
            await ledger.source_done({at: SourcePosition(5, None), other: SourcePosition(0, -7)})
            await ledger.source_done({at: SourcePosition(9, 100)})
            await ledger.source_done({at: SourcePosition(7, 200)})
            await ledger.source_done({at: SourcePosition(9, 150)})
            store.lose_answers(ledger, 1)
            await ledger.source_done({at: SourcePosition(8, None)})
            found = await store.ledger().source_positions([at, other, ("carts", 0)])
            assert found == {at: SourcePosition(9, 200), other: SourcePosition(0, -7)}
            assert await ledger.source_positions([]) == {}
            await ledger.source_done({})

        asyncio.run(body())
