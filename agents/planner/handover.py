"""What rows about transfers do to one end of them; the rules of a transfer's life are in transfers.py.

Nothing here looks at the other end. The receiver's end tells the world, so that each move is told once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.planner import messages, transfers
from agents.planner.config import NEVER
from agents.planner.life import Unlawful
from agents.planner.shelf import Transfer
from stream.events.instants import text_from_ms as instant
from stream.events.kinds import Flag, Kind
from stream.events.outgoing import Outgoing
from stream.events.units import number_from_milli as units

if TYPE_CHECKING:
    from agents.planner.row import Event, Row
    from agents.planner.shelf import Shelf

_DECIDED = (Kind.TRANSFER_PROPOSED, Kind.TRANSFER_APPROVED, Kind.TRANSFER_CANCELLED)
KINDS = (*_DECIDED, Kind.TRANSFER_LEFT, Kind.TRANSFER_COMING, Kind.TRANSFER_ARRIVED)
_MOVES = {
    Kind.TRANSFER_APPROVED: "approve",
    Kind.TRANSFER_CANCELLED: "cancel",
    Kind.TRANSFER_LEFT: "ship",
    Kind.TRANSFER_COMING: "ship",
    Kind.TRANSFER_ARRIVED: "receive",
}


def moved(shelf: Shelf, row: Row, event: Event) -> list[Outgoing]:
    """A transfer is proposed, approved, cancelled, shipped or received, as this end sees it."""
    if event.kind == Kind.TRANSFER_PROPOSED:
        return _propose(shelf, row, event)
    outbound = event.kind == Kind.TRANSFER_LEFT or bool(event.flags & Flag.OUTBOUND)
    found = next((t for t in row.transfers if t.id == event.reference and t.outbound == outbound), None)
    if found is None:
        return _unknown(shelf, row, event, outbound)
    try:
        _move(shelf, found, event)
    except Unlawful as wrong:
        return [] if outbound else [_unlawful(shelf, row, event, found, wrong)]
    row.sum_transfers()
    return [] if outbound else [_tell(shelf, row, found, event.cause, event.occurred_ms)]


def _move(shelf: Shelf, transfer: Transfer, event: Event) -> None:
    if event.kind == Kind.TRANSFER_APPROVED:
        transfers.approve(transfer, event.milli, event.occurred_ms + shelf.config.transfer_expiry_ms)
    elif event.kind == Kind.TRANSFER_CANCELLED:
        transfers.cancel(transfer, event.milli)
    elif event.kind == Kind.TRANSFER_ARRIVED:
        transfers.receive(transfer, event.milli)
    else:
        transfers.ship(transfer, event.milli)


def _propose(shelf: Shelf, row: Row, event: Event) -> list[Outgoing]:
    """A new transfer, unless one on the same lane still waits to be shipped: nothing is proposed twice."""
    proposal = transfers.read_proposal(event.raw or b"{}")
    new = transfers.begin(
        event.reference or "", proposal, bool(event.flags & Flag.OUTBOUND), event.milli, event.occurred_ms
    )
    if any(t.counts and t.outbound == new.outbound and t.other == new.other for t in row.transfers):
        if not new.outbound:
            shelf.counters["transfers:repeated"] += 1
        return []
    row.transfers = [*_bounded(shelf, row.transfers), new]
    row.sum_transfers()
    return [] if new.outbound else [_tell(shelf, row, new, event.cause, event.occurred_ms)]


def _bounded(shelf: Shelf, known: list[Transfer]) -> list[Transfer]:
    """Room for one more: the oldest shipment nobody reports as received is forgotten; its units stay in transit."""
    if len(known) < transfers.TRANSFERS_MAX:
        return known
    shelf.counters["transfers:forgotten"] += 1
    oldest = next((t for t in known if not t.counts), known[0])
    return [t for t in known if t is not oldest]


def _unknown(shelf: Shelf, row: Row, event: Event, outbound: bool) -> list[Outgoing]:
    """Transfers made outside are only moved stock; but nothing can be approved or cancelled that is not there."""
    if outbound or event.kind not in _DECIDED:
        return []
    wrong = Unlawful("unknown", _MOVES[Kind(event.kind)], "transfer")
    none = Transfer(event.reference or "", "unknown", False, "", event.milli, 0, 0, 0, "", 0.0, "", {})
    return [_unlawful(shelf, row, event, none, wrong)]


def _unlawful(shelf: Shelf, row: Row, event: Event, transfer: Transfer, wrong: Unlawful) -> Outgoing:
    shelf.counters[f"unlawful:transfer:{wrong.status}:{wrong.move}"] += 1
    return messages.transfer(shelf, row, transfer, "unlawful", event.cause, event.occurred_ms, f"refused: {wrong}")


def _tell(shelf: Shelf, row: Row, transfer: Transfer, cause: str, now_ms: int) -> Outgoing:
    what = transfer.status
    shelf.counters[f"transfers:{what}"] += 1
    text = f"{units(transfer.quantity):,} of {row.sku} from {transfer.other} to {row.location}: {what}"
    if transfer.counts:
        text += f", to be shipped before {instant(max(transfer.expires_ms, 0))}"
    elif what == "shipped":
        text += f", {units(transfer.remaining):,} on the way"
    return messages.transfer(shelf, row, transfer, what, cause, now_ms, text)


def expire(shelf: Shelf, row: Row, cause: str, now_ms: int) -> list[Outgoing]:
    """Transfers nobody shipped in time stop counting, at both ends."""
    out = []
    gone = [t for t in row.transfers if t.counts and t.expires_ms <= now_ms]
    for transfer in gone:
        transfers.expire(transfer)
        if not transfer.outbound:
            out.append(_tell(shelf, row, transfer, cause, now_ms))
    if gone:
        row.sum_transfers()
    return out


def next_expiry_ms(row: Row) -> int:
    """When the next transfer expires."""
    return min((t.expires_ms for t in row.transfers if t.counts), default=NEVER)
