"""The limit: read every order and do nothing. Counts orders."""

from confluent_kafka import Consumer
from job import BROKERS, NAME, ORDERS, Meter

meter = Meter()
consumer = Consumer(
    {
        "bootstrap.servers": BROKERS,
        "group.id": NAME,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "fetch.queue.backoff.ms": 2,  # else fetching pauses for a second whenever the local queue is full
    }
)
consumer.subscribe([ORDERS])
while True:
    batch = consumer.consume(5_000, timeout=0.1)
    for message in batch:
        message.value()
    meter.n += len(batch)
