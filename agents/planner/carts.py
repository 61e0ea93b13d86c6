"""Carts: what is viewed, filled, converted or abandoned. They decide nothing; they are counted a row.

A cart that is silent for the set time, in event time, is abandoned with what it still holds. An order line that names
the cart and the SKU converts what the cart held of it. A checked-out cart waits for its order and is never abandoned.
A cart line without location counts at every location of the SKU that this shelf knows.
"""

from __future__ import annotations

import heapq

import msgspec


class Cart(msgspec.Struct, array_like=True):
    """One open cart: milli held by `sku@location` (or by `sku` where no location was said)."""

    last_ms: int
    lines: dict[str, int]
    checked_out: bool = False


pack_cart = msgspec.msgpack.Encoder().encode
unpack_cart = msgspec.msgpack.Decoder(Cart).decode


class Carts:
    """Open carts of a shelf by cart hash."""

    def __init__(self, silence_ms: int, carts_max: int) -> None:
        self.silence_ms, self.carts_max = silence_ms, carts_max
        self.open: dict[int, Cart] = {}
        self._by_age: list[tuple[int, int]] = []  # (last_ms when pushed, cart): lazily outdated
        self.changed: set[int] = set()

    def add(self, cart: int, line: str, milli: int, occurred_ms: int) -> None:
        """Put units into a cart (a view of a product touches it with 0)."""
        held = self._touch(cart, occurred_ms)
        if milli != 0:
            held.lines[line] = held.lines.get(line, 0) + milli

    def take(self, cart: int, line: str, milli: int, occurred_ms: int | None = None) -> int:
        """Take units out; returns how many there were to take. With `occurred_ms` it counts as activity."""
        held = self.open.get(cart)
        if occurred_ms is not None:
            held = self._touch(cart, occurred_ms)
        if held is None:
            return 0
        taken = min(milli, held.lines.get(line, 0))
        if taken:
            left = held.lines[line] - taken
            if left:
                held.lines[line] = left
            else:
                del held.lines[line]
            self.changed.add(cart)
        return taken

    def check_out(self, cart: int, occurred_ms: int) -> None:
        """The cart is bought: what it holds waits for its order and is not abandoned."""
        if cart in self.open:
            self._touch(cart, occurred_ms).checked_out = True

    def _touch(self, cart: int, occurred_ms: int) -> Cart:
        held = self.open.get(cart)
        if held is None:
            held = self.open[cart] = Cart(occurred_ms, {})
            heapq.heappush(self._by_age, (occurred_ms, cart))
        elif occurred_ms > held.last_ms:
            held.last_ms = occurred_ms
        self.changed.add(cart)
        return held

    def expire(self, watermark_ms: int) -> list[tuple[int, str, int]]:
        """Close carts silent until the watermark: (instant, line, milli) abandoned, oldest first.

        Over `carts_max` the oldest go early, as if silent.
        """
        gone: list[tuple[int, str, int]] = []
        while self._by_age and (
            self._by_age[0][0] + self.silence_ms <= watermark_ms or len(self.open) > self.carts_max
        ):
            pushed_ms, cart = heapq.heappop(self._by_age)
            held = self.open.get(cart)
            if held is None:
                continue
            if held.last_ms > pushed_ms:
                heapq.heappush(self._by_age, (held.last_ms, cart))
                continue
            del self.open[cart]
            self.changed.add(cart)
            if not held.checked_out:
                gone += [(held.last_ms + self.silence_ms, line, milli) for line, milli in sorted(held.lines.items())]
        return gone

    @property
    def next_ms(self) -> int | None:
        """When the oldest cart may fall silent."""
        return self._by_age[0][0] + self.silence_ms if self._by_age else None

    def pack_changes(self) -> dict[bytes, bytes | None]:
        """Changed carts for the ledger, and forget that they changed."""
        out = {
            b"%016x" % cart: pack_cart(self.open[cart]) if cart in self.open else None for cart in sorted(self.changed)
        }
        self.changed.clear()
        return out

    def load(self, fields: dict[bytes, bytes]) -> None:
        """Rebuild from the ledger's section."""
        self.open = {int(name, 16): unpack_cart(raw) for name, raw in fields.items()}
        self._by_age = [(cart.last_ms, number) for number, cart in self.open.items()]
        heapq.heapify(self._by_age)
