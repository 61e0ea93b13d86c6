"""`restock shop`: at a pace, into files, with its truth beside it."""

from __future__ import annotations

import csv
import json
import os
import signal
from math import inf
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

from agents import cli
from agents.commands import tail
from agents.shop.config import DAY_MS, HOUR_MS, STEP_MS, Config
from agents.shop.door import pace, run
from agents.shop.door.listen import Heard, answer
from agents.shop.door.live import Live
from agents.shop.world import World
from stream.events.instants import parse_day
from stream.events.kinds import Source
from stream.events.topics import full_name
from stream.transport import topics_admin
from tests.doors.conftest import Neighbours

WORLD = ["--rows", "40", "--locations", "3", "--restocking", "own", "--start", "2026-03-02", "--cart-lead-hours", "2"]


def shop(*words: str) -> int:
    """The exit code of `restock shop`."""
    return cli.main(["shop", *WORLD, *words])


def test_files_hold_what_the_world_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Key, tab, event, one file a topic; truth and stock lists beside; a summary that adds up."""
    truth, stock = tmp_path / "truth.parquet", tmp_path / "stock.csv"
    out = tmp_path / "events"
    assert shop("--out", str(out), "--days", "4", "--truth", str(truth), "--stock", str(stock), "--json") == 0
    tale = json.loads(capsys.readouterr().out)
    world = World(Config(rows=40, locations=3, restocking="own", start_day=parse_day("2026-03-02"), cart_lead_hours=2))
    said = world.tell(world.now_ms + 4 * DAY_MS)
    for source in Source:
        lines = [line.split(b"\t", 1) for line in (out / f"{source.topic}.tsv").read_bytes().splitlines()]
        mine = [one for one in said if one.topic == source.topic]
        assert [(key.decode(), orjson.loads(event)) for key, event in lines] == [(one.key, one.event) for one in mine]
        assert tale["published"].get(source.topic, 0) == len(mine)
    told = pq.read_table(truth)
    days = world.truth()
    assert told.num_rows == sum(len(day.sold_units) for day in days)
    assert sum(told["wanted_units"].to_pylist()) == tale["wanted_units"] == sum(d.wanted_units.sum() for d in days)
    assert set(told["location"].to_pylist()) == {"berlin", "web", "new-york"}
    with stock.open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["units"]) for row in rows] == world.book.tolist()
    assert [int(row["on_hand"]) for row in rows] == world.on_hand.tolist()


def test_it_publishes_in_order_of_keys_with_ticks(
    neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything the world said is in its topic once; every partition ends with a tick of the last instant."""
    from agents.installation import installation

    settings = neighbours.settings(clock="event")
    neighbours.set_variables(monkeypatch, settings)
    topics_admin.create(installation(settings))
    assert shop("--speed", "max", "--days", "2", "--json") == 0
    tale = json.loads(capsys.readouterr().out)
    for source in Source:
        topic = full_name(settings.namespace, source.topic)
        found = [orjson.loads(message.value()) for message in tail.read_to_end(settings.brokers, topic)]
        events = [event for event in found if event["type"] != "clock.tick"]
        assert len(events) == tale["published"].get(source.topic, 0)
        assert len({event["event_id"] for event in events}) == len(events)
        assert max(event["occurred_at"] for event in found) == tale["shop_time"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--speed", "60x"], "by the wall clock a shop can only go in real time"),
        (["--speed", "fast", "--out", "x"], "could not read --speed fast"),
        (["--rows", "0", "--out", "x"], "rows must lie in"),
        (["--start", "2026-13-01", "--out", "x"], "no such day"),
        (["--out", "x", "--truth", "nowhere/truth.parquet"], "there is no directory nowhere"),
        (["--out", "x", "--stock", "."], "it is a directory"),
    ],
)
def test_what_cannot_be_is_said(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, the reason and what to do."""
    assert shop(*words) == 2
    wrong = capsys.readouterr().err
    assert said in wrong
    assert "hint" in wrong


@pytest.mark.parametrize("words", [["--days", "0"], ["--days", "nan"], ["--seconds", "-1"], ["--seconds", "soon"]])
def test_a_span_is_above_zero(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A shop that lives no time has told nothing, and would say so as if all were well."""
    with pytest.raises(SystemExit) as ended:
        shop("--out", "x", *words)
    assert ended.value.code == 2
    assert "is not a number above zero" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_the_end_cuts_off_nothing(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """While the last of what was lived is told, a first signal changes nothing: lists are written as well."""
    whole = run._finish

    def signalled(*args: Any) -> None:
        os.kill(os.getpid(), number)
        whole(*args)

    monkeypatch.setattr(run, "_finish", signalled)
    stock = tmp_path / "stock.csv"
    assert shop("--out", str(tmp_path / "events"), "--days", "1", "--stock", str(stock)) == 0
    assert len(stock.read_text().splitlines()) == 41
    assert "told" in capsys.readouterr().out


def test_nothing_is_told_before_its_time() -> None:
    """Looked at every seven minutes, the same events come as in one go, each not before it happened."""
    config = Config(rows=30, locations=2)
    live, whole = Live(World(config)), World(config)
    begin_ms = live.world.now_ms
    said = []
    for at_ms in range(begin_ms, begin_ms + 12 * HOUR_MS, 7 * 60_000):
        part = live.until(at_ms)
        assert all(at_ms - 7 * 60_000 < one.at_ms <= at_ms for one in part)
        said += part
    said += live.rest()
    assert said == whole.tell(live.world.now_ms)
    assert live.world.now_ms % STEP_MS == 0


def test_a_world_can_begin_in_the_middle_of_a_day() -> None:
    """It begins with a count of everything; its truth begins with the first day that is whole everywhere."""
    config = Config(rows=60, locations=4, start_day=parse_day("2026-05-04"))
    from_ms = pace.morning_ms(config.start_day)
    world = World(config, from_ms)
    said = world.tell(from_ms + 5 * HOUR_MS)
    assert said[0].at_ms == from_ms == world.now_ms - 5 * HOUR_MS
    assert sum(one.event["type"] == "order.placed" for one in said) > 20
    days = [world.day() for _ in range(2)]
    assert [day.day for day in days] == [parse_day("2026-05-06"), parse_day("2026-05-07")]
    assert all((day.wanted_units.sum() > 0) and len(day.sold_units) == 60 for day in days)
    opening, moved = days[1].opening_units, days[0].on_hand_units
    assert (opening == moved).all()


def test_paces() -> None:
    """Real time begins yesterday at the earliest; faster ones where they do not meet the wall clock."""
    wall_ms = 100 * DAY_MS + HOUR_MS
    assert pace.start_day(wall_ms, 1.0, None) == 99
    assert pace.start_day(wall_ms, 60.0, 10) == 88
    assert pace.Pace(50, inf).at(1.0, wall_ms) == wall_ms
    for wrong in ("fast", "0x", "-1x", "nan"):
        with pytest.raises(ValueError):  # noqa: PT011 whatever it says
            pace.speed_of(wrong)


def test_what_is_heard_is_answered_or_counted() -> None:
    """Proposals are ordered, needless ones forgotten, those of another shop are left alone."""
    from collections import Counter

    world, counts = World(Config(rows=8, locations=2, restocking="answers")), Counter[str]()
    world.tell(world.now_ms + HOUR_MS)

    def hear(what: str, **data: object) -> None:
        about = {"replenishment_id": "r", "sku": "oat-drink-1l", "location": "berlin", "quantity": 12.0}
        answer(world, Heard(f"restock.{what}", {**about, **data}, "", 0), counts)

    hear("replenishment.proposed")
    hear("replenishment.proposed", replenishment_id="gone")
    hear("replenishment.cancelled", replenishment_id="gone")
    hear("replenishment.proposed", sku="nobody")
    hear("transfer.proposed", transfer_id="t", from_location="berlin", to_location="web", quantity=2)
    said = [one.event for one in world.tell(world.now_ms + DAY_MS)]
    assert counts == {"replenishment proposed": 2, "replenishment cancelled": 1, "not ours": 1, "transfer proposed": 1}
    assert [e["replenishment_id"] for e in said if e["type"] == "supply.ordered"] == ["r"]
    assert [e["transfer_id"] for e in said if e["type"] == "stock.transfer_shipped"] == ["t"]
