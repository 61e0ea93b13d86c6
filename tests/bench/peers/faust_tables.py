"""Faust as its documentation teaches it: records, a topic keyed by SKU, a table, topics for what comes out."""

import faust
from job import (
    ALERTS,
    BROKERS,
    NAME,
    ORDER_QUANTITY,
    ORDERS,
    PARTITIONS,
    REPLENISHMENTS,
    SALES,
    STATE_DIR,
    Meter,
    alert,
    replenishment,
    rule,
)

app = faust.App(
    NAME,
    broker=f"kafka://{BROKERS}",
    store="memory://",
    datadir=STATE_DIR,
    topic_partitions=PARTITIONS,
    topic_replication_factor=1,
    topic_disable_leader=True,
    web_enabled=False,
    consumer_auto_offset_reset="earliest",
)


class Line(faust.Record, serializer="json"):
    line_id: str
    sku: str
    location: str
    quantity: int
    unit_price: float


class Order(faust.Record, serializer="json"):
    event_id: str
    type: str
    occurred_at: str
    order_id: str
    customer_id: str
    lines: list[Line]


class Sale(faust.Record, serializer="json"):
    sku: str
    location: str
    quantity: int
    occurred_at: str


class Stock(faust.Record, serializer="json"):
    on_hand: int
    units_today: int = 0
    day: str = ""
    last_event: str = ""


orders = app.topic(ORDERS, value_type=Order)
# internal: else Faust logs "missing topic" once and never reads it
sales = app.topic(SALES, key_type=str, value_type=Sale, partitions=PARTITIONS, internal=True)
alerts = app.topic(ALERTS, key_type=str, value_serializer="json")
replenishments = app.topic(REPLENISHMENTS, key_type=str, value_serializer="json")
stock = app.Table("stock", key_type=str, value_type=Stock, partitions=PARTITIONS)
meter = Meter()


@app.agent(orders)
async def explode(stream):
    async for order in stream:
        for line in order.lines:
            await sales.send(key=line.sku, value=Sale(line.sku, line.location, line.quantity, order.occurred_at))


@app.agent(sales)
async def track(stream):
    async for sale in stream:
        key, at = f"{sale.sku}@{sale.location}", sale.occurred_at
        initial, point = rule(key)
        state = stock.get(key) or Stock(initial)
        if state.day != at[:10]:
            state.day, state.units_today = at[:10], 0
        state.on_hand -= sale.quantity
        state.units_today += sale.quantity
        state.last_event = at
        if state.on_hand < point:
            await alerts.send(key=key, value=alert(key, state.on_hand, point, at))
            await replenishments.send(key=key, value=replenishment(key, at))
            state.on_hand += ORDER_QUANTITY
        stock[key] = state
        meter.n += 1


if __name__ == "__main__":
    app.main()
