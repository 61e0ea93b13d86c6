"""What a replay tells the catalog before anything else: the time zone that cuts its locations' days."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from agents.replay.formats.lines import Lines, What
from agents.replay.formats.records import Record
from stream.events.facts import key_of, key_text
from stream.events.instants import text_from_ms


def location_facts(lines: Lines, timezone: str, at_ms: int) -> Iterator[Record]:
    """A `catalog.location` for each location of the file; none where days are cut by UTC anyway.

    >>> from agents.replay.formats import orders, options, reading
    >>> table = pa.table({"s": ["a"], "q": ["1"], "t": ["2026-01-05 10:00"]})
    >>> mapped = options.Options(columns={"sku": "s", "quantity": "q", "occurred_at": "t"})
    >>> lines = orders.lines_of_orders(reading.Sheet(table), mapped)
    >>> [fact.key for fact in location_facts(lines, "Europe/Paris", 0)], list(location_facts(lines, "UTC", 0))
    (['["location","main"]'], [])
    """
    if timezone == "UTC":
        return
    for location in sorted(pc.unique(lines.location.filter(pa.array(lines.published & lines.good))).to_pylist()):
        fact = {
            "event_id": f"replay:location:{timezone}",
            "type": "catalog.location",
            "occurred_at": text_from_ms(at_ms),
            "location": location,
            "timezone": timezone,
        }
        yield Record(at_ms, "catalog", key_text(key_of(fact)), orjson.dumps(fact), 0, What.NOTHING)
