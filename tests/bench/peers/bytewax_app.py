"""A Bytewax dataflow: Kafka in, flat_map, keyed state with SQLite recovery, Kafka out. Re-keys in memory."""

import orjson
from bytewax import operators as op
from bytewax.connectors.kafka import KafkaSinkMessage
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow
from job import (
    ALERTS,
    BROKERS,
    ORDER_QUANTITY,
    ORDERS,
    REPLENISHMENTS,
    REQUIRED,
    Meter,
    alert,
    replenishment,
    rule,
)

meter = Meter()


def explode(message):
    order = orjson.loads(message.value)
    if any(name not in order for name in REQUIRED):
        raise ValueError("order lacks a required field")
    at = order["occurred_at"]
    return [(f"{x['sku']}@{x['location']}", (x["quantity"], at)) for x in order["lines"]]


def track(state, keyed):
    """state: (on_hand, units_today, day, last_event); keyed: (key, (quantity, occurred_at))."""
    key, (units, at) = keyed
    initial, point = rule(key)
    on_hand, today, day, _ = state or (initial, 0, at[:10], at)
    on_hand -= units
    today = units if day != at[:10] else today + units
    out = []
    if on_hand < point:
        out.append((alert(key, on_hand, point, at), replenishment(key, at)))
        on_hand += ORDER_QUANTITY
    meter.n += 1
    return (on_hand, today, at[:10], at), out


flow = Dataflow("restock")
source = kop.input("orders", flow, brokers=[BROKERS], topics=[ORDERS], batch_size=1000)
op.raises("errors", source.errs)
sales = op.flat_map("explode", source.oks, explode)
keyed = op.map("key", sales, lambda sale: (sale[0], sale))
raised = op.stateful_flat_map("track", keyed, track)
for place, topic in enumerate((ALERTS, REPLENISHMENTS)):
    told = op.map(
        f"message{place}",
        raised,
        lambda kv, place=place: KafkaSinkMessage(key=kv[0].encode(), value=orjson.dumps(kv[1][place])),
    )
    kop.output(f"out{place}", told, brokers=[BROKERS], topic=topic)
