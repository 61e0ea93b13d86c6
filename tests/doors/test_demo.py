"""`restock demo`: the first thing anybody runs, so it must run, end, and leave nothing behind."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from agents.demo import screen
from agents.demo import stage as stage_module
from agents.demo.scene import Scene
from agents.demo.watch import counted
from agents.settings import load
from stream.errors import SetupError

ALERT = {"kind": "low_stock", "severity": "warning", "sku": "[red]a\nb", "location": "x", "sentence": "3 left " * 30}
ORDER = {"replenishment_id": "r", "sku": "a", "location": "x", "quantity": 2.5, "sentence": "position 3"}


class Demo:
    """A running `restock demo`."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "agents.cli", "demo", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "RESTOCK_STATE_DIR": str(folder)},
        )

    def lines(self) -> Iterator[str]:
        """What it prints, as it comes."""
        assert self.process.stdout is not None
        yield from self.process.stdout


def listens(address: str) -> bool:
    """Whether somebody answers there."""
    host, port = address.rsplit(":", 1)
    with socket.socket() as s:
        return s.connect_ex((host, int(port))) == 0


@pytest.mark.parametrize("ended_by", ["time", "sigterm"])
def test_it_runs_ends_and_leaves_nothing_behind(tmp_path: Path, ended_by: str) -> None:
    """Orders in, alerts and replenishments out, a summary, exit code 0; broker, Redis, worker and files are gone."""
    demo = Demo(tmp_path, "--seconds", "12" if ended_by == "time" else "0")
    said = ""
    for line in demo.lines():
        said += line
        flowing = re.search(r"orders [1-9].*alerts raised [1-9].*proposed [1-9]", line)
        if ended_by == "sigterm" and flowing:
            demo.process.send_signal(signal.SIGTERM)
    assert demo.process.wait() == 0, said
    assert re.search(r"in +[\d,]+ events published, [1-9][\d,]* order events accepted", said), said
    assert re.search(r"out +[1-9][\d,]* alerts raised", said), said
    assert re.search(r"[1-9][\d,]* replenishments proposed", said), said
    broker, redis = re.search(r"kcat -b (\S+)", said), re.search(r"redis://([\d.:]+)", said)
    assert broker is not None
    assert redis is not None
    assert not listens(broker[1])
    assert not listens(redis[1])
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_does_not_start_ends_the_demo_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No waiting for a minute, no empty screen."""
    words = [sys.executable, "-c", "print('no such thing'); raise SystemExit(3)"]
    monkeypatch.setattr(stage_module, "WORKER", words)
    with pytest.raises(SetupError, match="the worker ended") as ended, stage_module.stage(load(state_dir=tmp_path)):
        pytest.fail("it began")
    assert ended.value.detail == "no such thing"
    assert list(tmp_path.iterdir()) == []


def test_it_has_a_namespace_of_its_own_and_event_time() -> None:
    """On a real broker it must not touch anybody's data."""
    ours = [stage_module.own_settings(load(namespace="shop"), "b:1", "redis://r:1/0") for _ in range(2)]
    assert ours[0].namespace != ours[1].namespace
    assert all(s.namespace.startswith("demo-") and s.clock == "event" for s in ours)
    assert (ours[0].brokers, ours[0].redis_url) == ("b:1", "redis://r:1/0")


@pytest.mark.parametrize(("orders", "alerts", "flowed"), [(0, 0, False), (5, 0, False), (0, 2, False), (5, 2, True)])
def test_it_says_whether_anything_flowed(orders: int, alerts: int, flowed: bool) -> None:
    """Orders without alerts are a failure too: there is always something to say about this shop."""
    scene = Scene(orders=orders)
    for _ in range(alerts):
        scene.hear_alert("restock.alert.raised", ALERT)
    assert scene.flowed is flowed


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_screen_can_be_drawn_at_any_width_with_any_text(width: int) -> None:
    """Names are printed as they are: no markup of theirs, and nothing is drawn before there is anything."""
    scene = Scene(stock=[{"sku": "[b]x", "location": "y", "on_hand": "3"}])
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(screen.draw(Scene(), []))
    scene.hear_alert("restock.alert.raised", ALERT)
    scene.hear_alert("restock.alert.resolved", ALERT)
    scene.hear_replenishment("restock.replenishment.proposed", ORDER)
    console.print(screen.draw(scene, ["kcat"]))
    text = console.export_text()
    assert "newest alerts" in text
    assert width < 80 or "[red]a" in text


def test_only_the_newest_messages_are_kept() -> None:
    """A demo that runs all day does not grow."""
    scene = Scene()
    for n in range(100):
        scene.hear_alert("restock.alert.raised", {**ALERT, "sku": str(n)})
    assert len(scene.alerts) < 20
    assert scene.alerts[0]["sku"] == "99"
    assert scene.raised.total() == 100


def exposition(**ages: float) -> str:
    """A worker's metrics with these watermark ages by shelf."""
    lines = [
        'restock_events_total{topic="orders",outcome="accepted"} 5.0',
        'restock_events_total{topic="orders",outcome="tick"} 7.0',
        'restock_events_total{topic="carts",outcome="accepted"} 11.0',
        'restock_events_total{topic="carts",outcome="refused"} 2.0',
        'restock_lag_records{topic="orders",partition="0"} 3.0',
        'restock_lag_records{topic="orders",partition="1"} 4.0',
        *(f'restock_watermark_age_seconds{{shelf="{shelf[1:]}"}} {age}' for shelf, age in ages.items()),
    ]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("ages", "worker_ms"),
    [({}, 0), ({"s0": 3.0}, 0), ({"s0": 3.0, "s1": 0.0}, 0), ({"s0": 3.0, "s1": 5.0}, 95_000)],
)
def test_the_worker_is_as_far_as_its_slowest_shelf(ages: dict[str, Any], worker_ms: int) -> None:
    """Until every shelf has a watermark it is nowhere: the shop waits for it."""
    scene = Scene()
    counted(exposition(**ages), 2, 100_000, scene)
    assert (scene.orders, scene.refused, scene.lag_records) == (5, 2, 7)
    assert scene.worker_ms == worker_ms
