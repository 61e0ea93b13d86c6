"""What a replay ends with: every file row accounted for, and what Restock made of them. Pure.

    read = accepted + repeated + refused

`refused` and `repeated` are what the replay settled itself (documented rules of the format) plus what the pipeline did:
refusals from its dead letters, repeats from the planner's counters.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from agents.replay.outgoing import Message
from stream.events.units import number_from_milli

UNITS = ("ordered", "cancelled", "returned", "written_off")
OVER = ("received", "cancelled", "expired")  # replenishments nobody waits for any more


@dataclass(frozen=True)
class Sent:
    """What went out, from the producer's acknowledgements."""

    rows: Counter[str]  # file rows by topic
    added: Counter[str]  # records that are not the file's, by topic
    begin: Mapping[tuple[str, int], int]  # (short topic, partition) -> first offset
    end: Mapping[tuple[str, int], int]
    not_rows: set[tuple[str, int, int]]  # coordinates of what is not the file's


@dataclass
class Refused:
    """Refusals of what this replay sent."""

    rows: Counter[str] = field(default_factory=Counter)  # file rows by reason
    rows_of: Counter[str] = field(default_factory=Counter)  # file rows by topic
    added: Counter[str] = field(default_factory=Counter)  # records that are not the file's, by reason
    added_of: Counter[str] = field(default_factory=Counter)  # the same by topic; ticks have no topic of their own


def refusals(letters: Iterable[Message], sent: Sent) -> Refused:
    """Dead letters of this replay's records; a record stands for its lines."""
    found = Refused()
    for letter in letters:
        data = letter.data
        topic, place = data["topic"], (data["topic"], data["partition"])
        if not sent.begin.get(place, 0) <= data["offset"] < sent.end.get(place, 0):
            continue
        said = _said(data["value"])
        if (*place, data["offset"]) in sent.not_rows or said.get("type") == "clock.tick":
            found.added[data["reason"]] += 1
            found.added_of[topic] += said.get("type") != "clock.tick"
            continue
        rows = len(said["lines"]) if isinstance(said.get("lines"), list) else 1
        found.rows[data["reason"]] += rows
        found.rows_of[topic] += rows
    return found


@dataclass(frozen=True)
class Account:
    """The fate of every row."""

    read: int
    accepted: int
    repeated: int
    refused: dict[str, int]
    unaccounted: int  # rows sent of which the pipeline says nothing, or (below zero) says too much: 0


def account(
    read: int,
    counted_here: tuple[Counter[str], int],
    sent: Sent,
    refused: Refused,
    counters: Mapping[str, int],
    copied: Mapping[str, tuple[int, int]] | None = None,
) -> Account:
    """Settle the account of a file of `read` rows; `counters` is how far the planner's counters moved.

    Rows that go to every shelf are counted by each: `copied` says for a topic how many times (accepted, repeated) rows
    were counted too often. The replay's own additions are taken off what was accepted; where they were sent in an
    earlier replay too, off what was repeated.
    """
    refused_here, repeated_here = counted_here
    accepted = repeated = unaccounted = 0
    for topic in sorted(sent.rows):  # topics without file rows have no part in it
        too_often = (copied or {}).get(topic, (0, 0))
        took = counters.get(f"accepted:{topic}", 0) - too_often[0]
        again = counters.get(f"repeated:{topic}", 0) - too_often[1]
        added = sent.added[topic] - refused.added_of[topic]
        of_added = min(added, took)
        accepted += took - of_added
        repeated += again - (added - of_added)
        unaccounted += sent.rows[topic] + added - refused.rows_of[topic] - took - again
    by_reason = refused_here + refused.rows
    return Account(read, accepted, repeated + repeated_here, dict(sorted(by_reason.items())), unaccounted)


def units_by_sku(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> dict[str, dict[str, int | float]]:
    """Units ordered, cancelled, returned and written off a SKU, over its locations, by the planner's own totals."""
    milli: dict[str, Counter[str]] = {}
    for (sku, location), now in sorted(after.items()):
        then = before.get((sku, location), {})
        of_sku = milli.setdefault(sku, Counter())
        for name in UNITS:
            of_sku[name] += now[name] - then.get(name, 0)
    return {sku: {name: number_from_milli(of_sku[name]) for name in UNITS} for sku, of_sku in milli.items()}


_POSITION = (
    "on_hand",
    "allocated",
    "in_transit",
    "on_order",
    "proposed",
    "reorder_point",
    "order_up_to",
    "safety_stock",
)


def positions(totals: Mapping[tuple[str, str], Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every SKU-location as it stands, in units."""
    return [
        {
            "sku": sku,
            "location": location,
            "available": number_from_milli(row["on_hand"] - row["allocated"]),
            **{name: number_from_milli(row[name]) for name in _POSITION},
            "demand_rate_day": round(row["demand_rate"], 6),
        }
        for (sku, location), row in sorted(totals.items())
    ]


def alerts_of(messages: Iterable[Message]) -> dict[str, Any]:
    """Alerts raised, updated, resolved and still open, in all and by kind."""
    counts: dict[str, Counter[str]] = {}
    standing: dict[str, str] = {}
    for type, data in messages:
        verb = type.rpartition(".")[2]
        counts.setdefault(data["kind"], Counter())[verb] += 1
        if verb == "resolved":
            standing.pop(data["alert_id"], None)
        else:
            standing[data["alert_id"]] = data["kind"]
    still = Counter(standing.values())
    by_kind = {
        kind: {"raised": c["raised"], "updated": c["updated"], "resolved": c["resolved"], "open": still[kind]}
        for kind, c in sorted(counts.items())
    }
    total = {verb: sum(k[verb] for k in by_kind.values()) for verb in ("raised", "updated", "resolved", "open")}
    return {**total, "by_kind": by_kind}


def replenishments_of(messages: Iterable[Message]) -> dict[str, Any]:
    """Replenishments raised (proposed), resolved (received, cancelled, expired) and open; events and units by kind."""
    events: Counter[str] = Counter()
    status: dict[str, str] = {}
    units = {"proposed": 0.0, "ordered": 0.0}
    for type, data in messages:
        what = type.rpartition(".")[2]
        events[what] += 1
        if what != "unlawful":
            status[data["replenishment_id"]] = data["status"]
        if what in units:
            units[what] += data["quantity"]
    resolved = sum(s in OVER for s in status.values())
    return {
        "raised": len(status),
        "resolved": resolved,
        "open": len(status) - resolved,
        "by_kind": dict(sorted(events.items())),
        "by_status": dict(sorted(Counter(status.values()).items())),
        **{f"{what}_units": round(total, 3) for what, total in units.items()},
    }


def _said(value: str | None) -> dict[str, Any]:
    try:
        said = orjson.loads(base64.b64decode(value or ""))
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
