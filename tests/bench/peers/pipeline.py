"""A hand-written service: consume, orjson, read-fold-write through two Redis pipelines a batch, commit.

Without --rekey one process owns all keys. With it each line goes through a topic keyed by SKU, as it must when more
than one instance runs. At least once: a crash between write and commit counts twice.
"""

import sys

import orjson
from confluent_kafka import Consumer, Producer
from job import (
    ALERTS,
    BROKERS,
    NAME,
    ORDER_QUANTITY,
    ORDERS,
    REDIS_URL,
    REPLENISHMENTS,
    REQUIRED,
    SALES,
    Meter,
    alert,
    replenishment,
    rule,
)
from redis import Redis

REKEY = "--rekey" in sys.argv
FIELDS = ("on_hand", "units_today", "day", "last_event")
consumer = Consumer(
    {
        "bootstrap.servers": BROKERS,
        "group.id": NAME,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    }
)
consumer.subscribe([ORDERS, SALES] if REKEY else [ORDERS])
producer = Producer({"bootstrap.servers": BROKERS, "linger.ms": 5})
redis = Redis.from_url(REDIS_URL, decode_responses=True)
meter = Meter()


def explode(value):
    order = orjson.loads(value)
    if any(name not in order for name in REQUIRED):
        raise ValueError(f"order lacks a required field: {value[:200]!r}")
    return [(x["sku"], x["location"], x["quantity"], order["occurred_at"]) for x in order["lines"]]


def fold(sales):
    keys = list({f"{NAME}:{sale[0]}@{sale[1]}" for sale in sales})
    pipe = redis.pipeline(transaction=False)
    for key in keys:
        pipe.hmget(key, FIELDS)
    states = dict(zip(keys, pipe.execute(), strict=True))
    for sku, location, units, at in sales:
        key = f"{sku}@{location}"
        initial, point = rule(key)
        on_hand, today, day, _ = states[f"{NAME}:{key}"]
        on_hand = (initial if on_hand is None else int(on_hand)) - units
        today = units if day != at[:10] else int(today) + units
        if on_hand < point:
            producer.produce(ALERTS, orjson.dumps(alert(key, on_hand, point, at)), key)
            producer.produce(REPLENISHMENTS, orjson.dumps(replenishment(key, at)), key)
            on_hand += ORDER_QUANTITY
        states[f"{NAME}:{key}"] = (on_hand, today, at[:10], at)
    pipe = redis.pipeline(transaction=False)
    for key, state in states.items():
        pipe.hset(key, mapping=dict(zip(FIELDS, state, strict=True)))
    pipe.execute()


while True:
    messages = [m for m in consumer.consume(500, timeout=0.02) if not m.error()]
    sales = []
    for message in messages:
        if message.topic() == SALES:
            sales.append(orjson.loads(message.value()))
        elif REKEY:
            for sale in explode(message.value()):
                producer.produce(SALES, orjson.dumps(sale), sale[0])
        else:
            sales.extend(explode(message.value()))
    if not messages:
        continue
    if sales:
        fold(sales)
    producer.flush()
    consumer.commit(asynchronous=False)
    meter.n += len(sales)
