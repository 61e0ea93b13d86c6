"""A supplier that answers proposals: ordered at once, confirmed an hour later, received after the lead time.

It lives in event time and looks at new proposals where the replay pauses for it, once a day of event time. A lead time
is a function of the replenishment's id (a normal draw, at least a quarter of a day), so every run gives the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import orjson
import xxhash

from agents.replay.formats.lines import What
from agents.replay.formats.records import Record
from stream.errors import SetupError
from stream.events.instants import text_from_ms

DAY_MS = 86_400_000
CONFIRMS_AFTER_MS = 3_600_000
LEAST_LEAD_DAYS = 0.25


@dataclass(frozen=True)
class Supplier:
    """Lead times of everything it delivers, days."""

    lead_days: float
    lead_days_sd: float

    def answer(self, proposal: Mapping[str, Any], now_ms: int, next_ms: int) -> Iterator[Record]:
        """The three events that answer a proposed replenishment, none before `now_ms` of event time.

        Nothing is received before `next_ms`, when the replay waits again: order and receipt go to two topics, and only
        such a wait says which is read first.
        """
        name = proposal["replenishment_id"]
        due_ms = max(now_ms + round(self.lead_days_of(name) * DAY_MS), next_ms)
        common = {"sku": proposal["sku"], "location": proposal["location"], "quantity": proposal["quantity"]}
        order = common | {"order_ref": f"order-{name}", "replenishment_id": name, "supplier": "replay"}
        expected = {"expected_at": text_from_ms(due_ms)}
        confirmed_ms = min(now_ms + CONFIRMS_AFTER_MS, due_ms)
        yield _record("supply", "supply.ordered", f"ordered:{name}", now_ms, order)
        yield _record("supply", "supply.confirmed", f"confirmed:{name}", confirmed_ms, order | expected)
        receipt = common | {"reference": order["order_ref"]}
        yield _record("stock-movements", "stock.received", f"received:{name}", due_ms, receipt)

    def lead_days_of(self, name: str) -> float:
        """This replenishment's lead time."""
        share = (xxhash.xxh3_64_intdigest(name.encode()) + 0.5) / 2**64
        drawn = self.lead_days + self.lead_days_sd * NormalDist().inv_cdf(min(max(share, 1e-12), 1 - 1e-12))
        return max(LEAST_LEAD_DAYS, drawn)


def parse_lead(text: str) -> Supplier:
    """`7` or `7,2` (mean, standard deviation) as a supplier. Raises SetupError.

    >>> parse_lead("7,2")
    Supplier(lead_days=7.0, lead_days_sd=2.0)
    """
    try:
        mean, _, sd = text.partition(",")
        supplier = Supplier(float(mean), float(sd or 0))
    except ValueError as wrong:
        raise SetupError(f"could not read --supplier-lead-days {text}", str(wrong), "write 7 or 7,2") from wrong
    if not (0 <= supplier.lead_days <= 366 and 0 <= supplier.lead_days_sd <= 366):
        raise SetupError(f"--supplier-lead-days {text} is not between 0 and 366 days", hint="write 7 or 7,2")
    return supplier


def _record(topic: str, type: str, event_id: str, at_ms: int, fields: Mapping[str, Any]) -> Record:
    event = {"event_id": f"supplier:{event_id}", "type": type, "occurred_at": text_from_ms(at_ms), **fields}
    return Record(at_ms, topic, fields["sku"], orjson.dumps(event), 0, What.NOTHING)
