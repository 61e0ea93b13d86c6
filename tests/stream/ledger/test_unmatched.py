"""What a tail means for the messages decided after it."""

from __future__ import annotations

import pytest

from stream.events.outgoing import Outgoing
from stream.ledger import unmatched
from stream.ledger.publisher import Found, Tail
from stream.ledger.unmatched import Unmatched


def message(id_: str, key: str = "k", topic: str = "positions") -> Outgoing:
    return Outgoing(topic, key.encode(), b"", (("ce_id", id_.encode()),))


def tail(*found: tuple[int, str, str], topic: str = "positions") -> Unmatched:
    return Unmatched(Tail([Found(topic, offset, key.encode(), id_) for offset, key, id_ in found]))


def test_what_was_found_is_skipped_once() -> None:
    """The second decision with the same id is news: the first one was the one in the log."""
    left = tail((5, "k", "a"))
    assert left.skips(message("a"))
    assert not left.skips(message("a"))


def test_the_same_id_in_another_topic_is_another_message() -> None:
    """Ids are unique within a topic."""
    left = tail((5, "k", "a"))
    assert not left.skips(message("a", topic="stock-alerts"))
    assert left.skips(message("a"))


def test_a_floor_rises_only_over_what_was_decided_again() -> None:
    """Order of decisions over keys is free: the floor stands at the first one still missing."""
    left = tail((5, "k", "a"), (6, "l", "b"), (9, "k", "c"))
    ends = {"positions": 11, "stock-alerts": 4}
    assert left.floors(ends) == {"positions": 5, "stock-alerts": 4}
    assert left.skips(message("b", "l"))
    assert left.floors(ends)["positions"] == 5
    assert left.skips(message("a"))
    assert left.floors(ends)["positions"] == 9
    assert left.skips(message("c"))
    assert left.floors(ends)["positions"] == 11


def test_after_a_hole_the_rest_of_the_key_is_sent_again() -> None:
    """Compaction removed a and b and kept c: all three are decided again, and c must end up last."""
    left = tail((7, "k", "c"), (8, "l", "x"))
    assert [left.skips(message(id_)) for id_ in ("a", "b", "c")] == [False, False, False]
    assert left.floors({"positions": 9}) == {"positions": 8}
    assert left.skips(message("x", "l"))


def test_what_never_comes_again_is_forgotten_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other code after a roll-back may never decide it again: the floor must not stand still for good."""
    monkeypatch.setattr(unmatched, "FORGET_AFTER", 3)
    left = tail((7, "k", "a"))
    for n in range(3):
        assert not left.skips(message(str(n), "other"))
    assert len(left) == 0
    assert left.floors({"positions": 9}) == {"positions": 9}


def test_two_locations_of_a_sku_are_decided_in_either_order() -> None:
    """They share a key; where a sweep was cut decides which comes first, so one says nothing of the other."""

    def alert(id_: str, row: str) -> Outgoing:
        return Outgoing("stock-alerts", b"sku", b"", (("ce_id", id_.encode()), ("ce_subject", row.encode())))

    left = tail((5, "sku@north", "n1"), (6, "sku@north", "n2"), topic="stock-alerts")
    assert left.skips(alert("n1", "sku@north"))
    assert not left.skips(alert("s1", "sku@south"))
    assert left.skips(alert("n2", "sku@north"))
