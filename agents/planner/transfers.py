"""The life of a transfer, seen from both its ends: one table of lawful moves, and what counts where meanwhile.

    proposed --approve--> approved --ship--> shipped --receive--> received
        |  +-----------------|---ship---------^
        +--cancel, expire----+--cancel, expire--> cancelled, expired

Each end, a row of the same shelf, holds its own copy and moves it by its own rows of `sku-events`, so neither has to
look at the other. Until it is shipped a transfer counts: its units are *inbound* in the inventory position where they
would arrive, and *outbound*, spoken for, where they would leave. Shipped, the units are stock in transit at the
receiver, and the sender's copy is done. The receiver's copy has the whole life and does the telling.

A shop that reports no approval ships at once; that is lawful. A move that is not in the table raises Unlawful and
changes nothing: who calls counts it, and the physical fact still counts.
"""

from __future__ import annotations

import msgspec

from agents.planner.life import Unlawful
from agents.planner.shelf import Transfer

OPEN = ("proposed", "approved", "shipped")
TRANSFERS_MAX = 64  # open ones a SKU-location: one a lane waits to be shipped, the rest are on their way

_PART, _REST = "receive_part", "receive_rest"
MOVES: dict[tuple[str, str], str] = {
    ("proposed", "approve"): "approved",
    ("proposed", "ship"): "shipped",
    ("proposed", "cancel_part"): "proposed",
    ("proposed", "cancel_rest"): "cancelled",
    ("proposed", "expire"): "expired",
    ("approved", "approve"): "approved",
    ("approved", "ship"): "shipped",
    ("approved", "cancel_part"): "approved",
    ("approved", "cancel_rest"): "cancelled",
    ("approved", "expire"): "expired",
    ("shipped", "ship"): "shipped",
    ("shipped", _PART): "shipped",
    ("shipped", _REST): "received",
}


class Proposal(msgspec.Struct):
    """What a proposed transfer's rows carry beside their columns, as JSON: the same at both ends."""

    sender: str
    receiver: str
    expires_ms: int
    plan: str
    lead_days: float
    reason: str
    numbers: dict[str, float]


read_proposal = msgspec.json.Decoder(Proposal).decode
write_proposal = msgspec.json.Encoder(order="deterministic").encode


def begin(id: str, proposal: Proposal, outbound: bool, milli: int, at_ms: int) -> Transfer:
    """The copy of a proposed transfer at one end."""
    other = proposal.receiver if outbound else proposal.sender
    return Transfer(
        id,
        "proposed",
        outbound,
        other,
        milli,
        milli,
        at_ms,
        proposal.expires_ms,
        proposal.plan,
        proposal.lead_days,
        proposal.reason,
        proposal.numbers,
    )


def after(transfer: Transfer, move: str) -> str:
    """The status a move leads to. Raises Unlawful."""
    to = MOVES.get((transfer.status, move))
    if to is None:
        raise Unlawful(transfer.status, move, "transfer")
    return to


def approve(transfer: Transfer, milli: int, expires_ms: int) -> None:
    """Somebody agreed, perhaps to another quantity; it has that much longer to be shipped."""
    transfer.status = after(transfer, "approve")
    transfer.quantity = transfer.remaining = milli
    transfer.expires_ms = max(transfer.expires_ms, expires_ms)


def ship(transfer: Transfer, milli: int) -> None:
    """Units left. What was proposed beyond the first shipment will not come; a further shipment adds to it."""
    before = transfer.remaining if transfer.status == "shipped" else 0
    gone = transfer.quantity - before if transfer.status == "shipped" else 0
    transfer.status = after(transfer, "ship")
    transfer.remaining = before + milli
    transfer.quantity = gone + transfer.remaining


def receive(transfer: Transfer, milli: int) -> None:
    """Units arrived."""
    used = min(milli, transfer.remaining)
    transfer.status = after(transfer, _REST if used == transfer.remaining else _PART)
    transfer.remaining -= used


def cancel(transfer: Transfer, milli: int) -> None:
    """Units will not be sent; all of it, where `milli` covers it."""
    gone = min(milli, transfer.remaining)
    transfer.status = after(transfer, "cancel_rest" if gone == transfer.remaining else "cancel_part")
    transfer.remaining -= gone
    transfer.quantity -= gone


def expire(transfer: Transfer) -> None:
    """Nobody shipped it in time."""
    transfer.status = after(transfer, "expire")


def open_at(transfers: list[Transfer]) -> list[Transfer]:
    """Those this end still has to do with: the sender's part ends with the shipment."""
    return [t for t in transfers if (t.counts if t.outbound else t.status in OPEN)]
