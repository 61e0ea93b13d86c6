"""What carts tell of a day is shown to the family as it closes, on its own day whichever partition was read first."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from agents.planner import learning
from agents.planner.config import DAY_MS
from agents.planner.fold import fold
from agents.planner.keeping import load
from agents.planner.shelf import Shelf
from stream.events.kinds import Flag, Kind, Source
from stream.events.rows import Mark, decode, encode, from_columns
from tests.agents.planner.test_laws import differences
from tests.agents.planner.test_semantics import Shop
from tests.agents.planner.worlds import HOUR_MS, START_MS, busy, by_sku, config, run

VIEWED, ADDED, REMOVED = Kind.CART_VIEWED, Kind.CART_ADDED, Kind.CART_REMOVED


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> dict[int, list[float]]:
    """Signals a closing showed of the first row, by day."""
    seen, told = learning.seen, dict[int, list[float]]()

    def noting(shelf: Shelf, rows: Any, *args: Any) -> Any:
        made = seen(shelf, rows, *args)
        told.update(dict(zip(made.period[rows == 0].tolist(), made.signals[rows == 0].tolist(), strict=True)))
        return made

    monkeypatch.setattr(learning, "seen", noting)
    return told


def test_a_day_shows_what_was_viewed_added_and_removed_on_it(shown: dict[int, list[float]]) -> None:
    """Events of the next day wait for it; late ones, and what carts convert or abandon, are no signal."""
    shop = Shop(cart_signals=True)
    shop.world.order(START_MS + 1, 1, units=1, cart_hash=9)
    for kind, hour, units, more in (
        (VIEWED, 1, 7, {}), (ADDED, 2, 3, {}), (REMOVED, 3, 2, {}), (ADDED, 26, 5, {}), (ADDED, 75, 4, {}),
        (ADDED, 4, 9, {"flags": Flag.LATE, "late_ms": HOUR_MS}),
    ):  # fmt: skip
        shop.world.row(kind, START_MS + hour * HOUR_MS, units=units, cart_hash=9, **more)
    for day in range(5):
        shop.tell(START_MS + (day + 1) * DAY_MS)
    first = START_MS // DAY_MS
    assert [shown[first + day] for day in range(4)] == [[7, 3, 2, 0, 0], [0, 5, 0, 0, 0], [0] * 5, [0, 4, 0, 0, 0]]
    assert not shop.shelf.signals, "a closed day is kept no longer"


def test_nothing_is_kept_or_shown_without_the_setting(shown: dict[int, list[float]]) -> None:
    """Carts are counted as they were."""
    shop = Shop()
    shop.world.order(START_MS + 1, 1, units=1)
    shop.world.row(ADDED, START_MS + HOUR_MS, units=3, cart_hash=9)
    shop.tell()
    assert not shop.shelf.signals
    assert shop.get("added") == 3
    shop.tell(START_MS + DAY_MS)
    assert not np.any(list(shown.values()))


@pytest.mark.parametrize("seed", range(3))
def test_neither_cuts_nor_crashes_show(seed: int) -> None:
    """A busy shop with signals: the same bytes and messages however its log is cut."""
    records, cfg = busy(seed, days=6).records, config(cart_signals=True)
    whole, cut = run(cfg, records), run(cfg, records, random.Random(seed), crash=0.15)
    assert differences(whole, cut) == [], f"seed {seed}"
    assert by_sku(whole.messages) == by_sku(cut.messages), f"seed {seed}"


@pytest.mark.parametrize("seed", range(4))
def test_the_reading_order_of_carts_and_orders_does_not_show(seed: int) -> None:
    """Orders and carts by partitions of their own, read in any order: the same forecaster state in the end."""
    draw = random.Random(seed)
    sources = (Source.ORDERS, Source.CARTS)
    parts: list[list[tuple[int, int]]] = [
        sorted((draw.randrange(5 * 24), draw.randint(1, 5)) for _ in range(12)) for _ in sources
    ]
    states = []
    for _ in range(2):
        turns = [0] * 12 + [1] * 12
        draw.shuffle(turns)
        shelf, at, records = load(config(shape=dict.fromkeys(sources, 1), cart_signals=True), {}, -1), [0, 0], []
        for n in [0, *turns]:
            if at[n] == 12:
                continue
            hour, units = parts[n][at[n]]
            at_ms = START_MS + hour * HOUR_MS + n
            row = {
                "kind": ADDED if n else Kind.ORDER_PLACED, "sku": "S", "location": "L", "milli": units * 1000,
                "occurred_ms": at_ms, "source": sources[n], "partition": 0, "offset": at[n],
                "event_hash": 1 + n * 100 + at[n], "flags": 0 if n else Flag.SOLD_AT_ONCE, "cart_hash": n * 5,
            }  # fmt: skip
            frame = encode(from_columns(**{k: [v] for k, v in row.items()}), [Mark(sources[n], 0, at_ms, 0)])
            records.append(decode(frame, len(records)))
            at[n] += 1
        for source in sources:
            end = Mark(source, 0, START_MS + 7 * DAY_MS, 0)
            records.append(decode(encode(from_columns(kind=[]), [end]), len(records)))
        fold(shelf, records)
        states.append(shelf.model[0])
        assert np.any(shelf.model[0]["signal_slow"])
    assert states[0].tobytes() == states[1].tobytes(), f"seed {seed}"
