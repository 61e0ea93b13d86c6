"""A run of the slow lane as it is put and told: records of `sku-events`, the same ones whoever tells them.

Lots are told in order, each with the run's number and its own place, so that a run one leader began and another
finished is told once and whole. Nothing here needs the models: a worker tells what a process apart has made.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pyarrow as pa

from agents.planner.messages import identity
from stream.events import outlooks
from stream.events.outlooks import Head, Outlooks
from stream.events.rows import outlooks_frame


class Lot(msgspec.Struct, array_like=True):
    """Outlooks of one record, of one shelf and guest."""

    shelf: int
    guest: str
    family: str
    version: int
    levels: tuple[float, ...]
    rows: int
    batch: bytes  # Arrow, of outlooks.SCHEMA


class Answer(msgspec.Struct):
    """What a run came to."""

    as_of_ms: int  # event time of the snapshot
    lots: list[Lot]
    summary: dict[str, Any]


class Run(msgspec.Struct):
    """What is put as the standing plan of the slow lane."""

    number: int
    id: str
    made_ms: int  # by the clock
    request: str  # that asked for it; empty: the schedule
    shelves: int
    lots: list[Lot]
    summary: dict[str, Any]


pack_answer = pack_run = msgspec.msgpack.Encoder(order="deterministic").encode
read_answer = msgspec.msgpack.Decoder(Answer).decode
read_run = msgspec.msgpack.Decoder(Run).decode


def made(answer: Answer, number: int, made_ms: int, request: str, namespace: str, shelves: int) -> Run:
    """The run of an answer."""
    name = f"F-{identity(namespace, str(number))}"
    return Run(number, name, made_ms, request, shelves, answer.lots, answer.summary)


def told(run: Run, first: int, shelves: int) -> Iterator[tuple[int, list[tuple[int, bytes]]]]:
    """From lot `first` on: how far it goes, and its record as (shelf, bytes).

    A run of other numbers of shelves is told to nobody: `restock repartition` moved its rows meanwhile.
    """
    for part in range(first, len(run.lots)):
        lot = run.lots[part]
        yield part + 1, [(lot.shelf, record(run, part, lot))] if run.shelves == shelves else []


def record(run: Run, part: int, lot: Lot) -> bytes:
    """One lot as a record of `sku-events`."""
    rows = pa.ipc.read_record_batch(pa.py_buffer(lot.batch), outlooks.SCHEMA)
    head = Head(run.number, part, lot.guest, lot.family, lot.version, lot.levels)
    return outlooks_frame(Outlooks(head, rows))
