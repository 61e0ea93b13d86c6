"""The life of a replenishment: one table of lawful moves, and what a move does to the units that are on their way.

    proposed --order--> ordered --confirm--> confirmed --receive--> part_received --receive--> received
        |                  +------cancel--------+----------cancel--------+--------------------> cancelled
        +--expire--> expired

A shop that never reports its purchase orders receives straight against the proposal; that is lawful too. A move that is
not in the table raises Unlawful and changes nothing: who calls counts it, and the physical fact still counts.
"""

from __future__ import annotations

from agents.planner.shelf import Order

OPEN = ("proposed", "ordered", "confirmed", "part_received")
ON_ORDER = ("ordered", "confirmed", "part_received")
CONFIRMED = ("confirmed", "part_received")
ORDERS_MAX = 256  # open ones a SKU-location: at one a day, a lead time of eight months

_PART, _REST = "receive_part", "receive_rest"
MOVES: dict[tuple[str, str], str] = {
    ("proposed", "order"): "ordered",
    ("proposed", "confirm"): "confirmed",
    ("proposed", _PART): "part_received",
    ("proposed", _REST): "received",
    ("proposed", "cancel_rest"): "cancelled",
    ("proposed", "expire"): "expired",
    ("proposed", "withdraw"): "cancelled",
    ("ordered", "confirm"): "confirmed",
    ("ordered", "reschedule"): "confirmed",
    ("ordered", _PART): "part_received",
    ("ordered", _REST): "received",
    ("ordered", "cancel_part"): "ordered",
    ("ordered", "cancel_rest"): "cancelled",
    ("confirmed", "confirm"): "confirmed",
    ("confirmed", "reschedule"): "confirmed",
    ("confirmed", _PART): "part_received",
    ("confirmed", _REST): "received",
    ("confirmed", "cancel_part"): "confirmed",
    ("confirmed", "cancel_rest"): "cancelled",
    ("part_received", "confirm"): "part_received",
    ("part_received", "reschedule"): "part_received",
    ("part_received", _PART): "part_received",
    ("part_received", _REST): "received",
    ("part_received", "cancel_part"): "part_received",
    ("part_received", "cancel_rest"): "cancelled",
}


WHOLE = 1_000  # of an order, in thousandths


class Unlawful(Exception):
    """A move the table does not allow; nothing was changed."""

    def __init__(self, status: str, move: str, what: str = "replenishment") -> None:
        self.status, self.move = status, move
        super().__init__(f"a {what} that is {status} cannot {move.replace('_', ' ')}")


def after(order: Order, move: str) -> str:
    """The status a move leads to. Raises Unlawful."""
    to = MOVES.get((order.status, move))
    if to is None:
        raise Unlawful(order.status, move)
    return to


def began_ms(order: Order, supplier: str) -> int:
    """When the wait for it began; 0 where that is not known, or whom it comes from is not `supplier`.

    It is when the supplier was asked, else when we proposed it. An order told late, or first heard of by its
    confirmation, has begun nobody knows when.
    """
    if supplier and order.supplier and supplier != order.supplier:
        return 0
    if order.ordered_ms:
        return max(order.ordered_ms, 0)
    return order.proposed_ms if order.id.startswith("R-") else 0


def open_share(order: Order) -> int:
    """What of it has not come, thousandths."""
    return WHOLE * order.remaining // order.quantity if order.remaining > 0 else 0


def place(order: Order, ref: str, quantity: int, supplier: str) -> None:
    """The buyer ordered it, perhaps another quantity than proposed (milli)."""
    order.status = after(order, "order")
    order.ref, order.quantity, order.remaining = ref, quantity, quantity
    order.supplier = supplier or order.supplier


def confirm(order: Order, ref: str, quantity: int, expected_ms: int) -> None:
    """The supplier promises `quantity` in all by `expected_ms`."""
    order.status = after(order, "confirm")
    received = order.quantity - order.remaining
    order.ref = order.ref or ref
    order.quantity, order.remaining = max(quantity, received), max(quantity - received, 0)
    order.expected_ms = expected_ms


def reschedule(order: Order, expected_ms: int) -> None:
    """The promise moves to another day."""
    order.status = after(order, "reschedule")
    order.expected_ms = expected_ms


def receive(order: Order, milli: int) -> int:
    """Units arrived; returns those beyond what was still open."""
    used = min(milli, order.remaining)
    order.status = after(order, _REST if used == order.remaining else _PART)
    order.remaining -= used
    return milli - used


def cancel(order: Order, milli: int) -> None:
    """Units will not come; all of the rest, where `milli` covers it."""
    gone = min(milli, order.remaining)
    order.status = after(order, "cancel_rest" if gone == order.remaining else "cancel_part")
    order.remaining -= gone
    order.quantity -= gone


def withdraw(order: Order) -> None:
    """Nobody ordered it and it is not needed any more."""
    order.status = after(order, "withdraw")


def expire(order: Order) -> None:
    """Nobody ordered it in time."""
    order.status = after(order, "expire")
