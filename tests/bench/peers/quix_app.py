"""Quix Streams as its documentation teaches it: expand, group_by, stateful apply (RocksDB and changelog), to_topic."""

from job import (
    ALERTS,
    BROKERS,
    NAME,
    ORDER_QUANTITY,
    ORDERS,
    REPLENISHMENTS,
    REQUIRED,
    STATE_DIR,
    Meter,
    alert,
    replenishment,
    rule,
)
from quixstreams import Application

app = Application(
    broker_address=BROKERS,
    consumer_group=NAME,
    auto_offset_reset="earliest",
    state_dir=STATE_DIR,
    loglevel="WARNING",
)
orders = app.topic(ORDERS, value_deserializer="json")
alerts = app.topic(ALERTS, value_serializer="json")
replenishments = app.topic(REPLENISHMENTS, value_serializer="json")
meter = Meter()


def explode(order):
    if any(name not in order for name in REQUIRED):
        raise ValueError("order lacks a required field")
    at = order["occurred_at"]
    return [{"sku": x["sku"], "location": x["location"], "quantity": x["quantity"], "at": at} for x in order["lines"]]


def track(sale, state):
    meter.n += 1
    key, at = f"{sale['sku']}@{sale['location']}", sale["at"]
    initial, point = rule(key)
    stock = state.get(sale["location"]) or {"on_hand": initial, "units_today": 0, "day": at[:10]}
    if stock["day"] != at[:10]:
        stock["day"], stock["units_today"] = at[:10], 0
    stock["on_hand"] -= sale["quantity"]
    stock["units_today"] += sale["quantity"]
    stock["last_event"] = at
    raised = None
    if stock["on_hand"] < point:
        raised = alert(key, stock["on_hand"], point, at)
        stock["on_hand"] += ORDER_QUANTITY
    state.set(sale["location"], stock)
    return raised


raised = app.dataframe(orders).apply(explode, expand=True).group_by("sku").apply(track, stateful=True)
raised = raised.filter(lambda a: a is not None)
raised.to_topic(alerts)
raised.apply(lambda a: replenishment(a["key"], a["occurred_at"])).to_topic(replenishments)
app.run()
