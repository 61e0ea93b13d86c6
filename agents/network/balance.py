"""From an answer to a plan, and from a plan to rows of `sku-events`: the same plan always gives the same rows.

A row of a plan has the plan's number as its offset and its place in the plan as its line. Whoever tells a plan tells
it in order, starting no later than what is known to be acknowledged; so the planner's high-water mark recognises what
is told twice, and a plan that one leader began and another finished is told once and whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from agents.planner.messages import identity
from agents.planner.transfers import Proposal, write_proposal
from stream.events.kinds import NETWORK, Flag, Kind
from stream.events.partition import shelf_of
from stream.events.reading import COMING_LINE, hash_of
from stream.events.rows import encode, from_columns

TELL_TRANSFERS = 1_000  # told at once: 2,000 rows of about 500 B, one record of up to 1 MB a shelf


class Move(msgspec.Struct, array_like=True):
    """One transfer to propose."""

    sku: str
    sender: str
    receiver: str
    milli: int
    lead_days: float
    reason: str
    cost: float  # money on the lane
    gain: float  # money saved there, less given up here and the lane


class Later(msgspec.Struct, array_like=True):
    """One transfer of a later period: a plan to share, made again before it is proposed."""

    leaves_ms: int  # event time
    sku: str
    sender: str
    receiver: str
    milli: int


class Answer(msgspec.Struct):
    """What a solve came to: the moves, and the numbers of plan.json."""

    as_of_ms: int  # event time of the snapshot
    offsets: dict[str, int]  # of each shelf
    moves: list[Move]
    summary: dict[str, Any]
    later: list[Later] = []


class Plan(msgspec.Struct):
    """What is put as the standing plan."""

    number: int
    id: str
    made_ms: int  # by the clock
    as_of_ms: int
    expires_ms: int
    request: str  # that asked for it; empty: the schedule
    shelves: int
    offsets: dict[str, int]
    moves: list[Move]
    summary: dict[str, Any]
    later: list[Later] = []


pack_answer = pack_plan = msgspec.msgpack.Encoder(order="deterministic").encode
read_answer = msgspec.msgpack.Decoder(Answer).decode
read_plan = msgspec.msgpack.Decoder(Plan).decode


def made(answer: Answer, number: int, made_ms: int, expiry_ms: int, request: str, namespace: str, shelves: int) -> Plan:
    """The plan of an answer: how long its proposals hold, by event time."""
    return Plan(
        number,
        f"P-{identity(namespace, str(number))}",
        made_ms,
        answer.as_of_ms,
        answer.as_of_ms + expiry_ms,
        request,
        shelves,
        answer.offsets,
        answer.moves,
        answer.summary,
        answer.later,
    )


def transfer_id(plan: Plan, move: Move) -> str:
    """The name of a transfer of a plan, for ever."""
    return f"T-{identity(plan.id, move.sku, move.sender, move.receiver)}"


def told(plan: Plan, first: int) -> Iterator[tuple[int, list[tuple[int, bytes]]]]:
    """From transfer `first` on: how far each lot goes, and its records as (shelf, bytes)."""
    for begin in range(first, len(plan.moves), TELL_TRANSFERS):
        end = min(begin + TELL_TRANSFERS, len(plan.moves))
        lots: dict[int, list[int]] = {}
        for n in range(begin, end):
            lots.setdefault(shelf_of(plan.moves[n].sku, plan.shelves), []).append(n)
        yield end, [(shelf, _record(plan, lot)) for shelf, lot in sorted(lots.items())]


def _record(plan: Plan, lot: list[int]) -> bytes:
    rows = [row for n in lot for row in _rows(plan, n)]
    return encode(from_columns(**{name: [row[name] for row in rows] for name in rows[0]}), ())


def _rows(plan: Plan, n: int) -> Iterator[dict[str, Any]]:
    """One row at each end, the sender's first."""
    move = plan.moves[n]
    name = transfer_id(plan, move)
    numbers = {"lane_cost": move.cost, "expected_gain": move.gain}
    proposal = Proposal(move.sender, move.receiver, plan.expires_ms, plan.id, move.lead_days, move.reason, numbers)
    for line, (location, part, flags) in enumerate(
        ((move.sender, "", Flag.OUTBOUND), (move.receiver, COMING_LINE, 0)), start=2 * n
    ):
        yield {
            "kind": Kind.TRANSFER_PROPOSED,
            "sku": move.sku,
            "location": location,
            "milli": move.milli,
            "occurred_ms": plan.as_of_ms,
            "source": NETWORK,
            "partition": 0,
            "offset": plan.number,
            "line": line,
            "event_hash": hash_of(name, part),
            "flags": flags,
            "logged_ms": plan.made_ms,
            "reference": name,
            "raw": write_proposal(proposal),
        }
