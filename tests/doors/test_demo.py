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
from rich.cells import cell_len
from rich.console import Console

from agents.demo import screen
from agents.demo import stage as stage_module
from agents.demo.scene import Scene, Shown, Told
from agents.demo.watch import band_of, counted, see
from agents.settings import load
from stream.errors import SetupError
from tests.house import tree

ALERT = {"alert_id": "1", "kind": "low_stock", "severity": "warning", "sku": "[red]a\nb", "location": "x"}
ALERT |= {"sentence": "3 left " * 30, "money_at_risk_day": 12.5, "currency": "EUR", "raised_at": "2026-01-01T00:00:00Z"}
ORDER = {"replenishment_id": "r", "sku": "a", "location": "x", "quantity": 2.5, "remaining": 2.5}
ORDER |= {"sentence": "position 3"}


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


def readme_block() -> list[str]:
    """What README.md shows as the demo's last words."""
    text = tree.text(tree.ROOT / "README.md")
    found = re.search(r"<!-- demo-output: begin.*?-->\n```\n(.*?)\n```\n<!-- demo-output: end -->", text, re.DOTALL)
    assert found is not None
    return found[1].splitlines()


def summary_of(said: str) -> list[str]:
    """The summary at the end of what the demo printed."""
    lines = said.splitlines()
    begin = next(n for n, line in enumerate(lines) if re.match(r"\d+ seconds, shop time now", line))
    return lines[begin : begin + len(readme_block())]


def form(lines: list[str]) -> list[str]:
    """Lines without their numbers: which kinds of alerts there were, and what had no number yet, may differ."""
    bare = (re.sub(r"\(.*?\)|; .* was there", "", line) for line in lines)
    return [re.sub(r"[\d,.:-]+|-$", "9", line) for line in bare]


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
    assert form(readme_block()) == form(summary_of(said))
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
        scene.hear_alert("restock.alert.raised", dict(ALERT))
    assert scene.flowed is flowed


def full_scene() -> Scene:
    """More of everything than any screen has room for."""
    scene = Scene(rows=500, shop_ms=1_780_000_000_000, shown=[Shown("[b]x", f"y{n}") for n in range(30)])
    for n in range(60):
        scene.hear_alert("restock.alert.raised", {**ALERT, "alert_id": str(n), "sku": f"[red]a\nb{n}"})
        scene.hear_replenishment("restock.replenishment.proposed", {**ORDER, "replenishment_id": str(n)})
    for row in scene.shown:
        see(
            row, {"on_hand": "7", "on_order": "2", "reorder_point": "9", "order_up_to": "20", "safety_stock": "3"}, None
        )
        row.sold.extend(range(20))
    return scene


@pytest.mark.parametrize("width", [40, 80, 120, 220])
@pytest.mark.parametrize("height", [24, 31, 60])
@pytest.mark.parametrize("scene", [Scene(), full_scene()], ids=["empty", "full"])
def test_the_screen_fills_the_terminal_and_no_more(width: int, height: int, scene: Scene) -> None:
    """Nothing scrolls away, nothing wraps, names are printed as they are, and the legend is there."""
    console = Console(width=width, height=height, record=True, file=io.StringIO())
    console.print(screen.draw(scene, ["kcat", "LD_PRELOAD " * 30, "redis-cli"], screen.Size(width, height)))
    lines = console.export_text().splitlines()
    assert height - 1 <= len(lines) <= height + (1 if width < 80 else 0)
    assert all(cell_len(line) <= width for line in lines)
    text = "\n".join(lines)
    assert "Alerts by money at risk" in text
    assert "Replenishments" in text
    assert "█ on hand" in text
    assert width < 80 or "Ctrl-C ends" in text
    if scene.open and width >= 80:
        assert "[red]a b" in text
        assert "position 3" in text
        assert "7 ≤ 9 +2" in text


def test_colour_is_never_the_only_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    """With NO_COLOR the same text is there, and not one colour."""
    monkeypatch.setenv("NO_COLOR", "1")
    out = io.StringIO()
    console = Console(width=100, height=30, file=out, force_terminal=True)
    console.print(screen.draw(full_scene(), [], screen.Size(100, 30)))
    colours = re.findall(r"\x1b\[[0-9;]*m", out.getvalue())
    codes = {int(code) for colour in colours for code in re.findall(r"\d+", colour)}
    assert codes & set(range(30, 50)) == set()
    assert "▲" in out.getvalue()


def test_alerts_stand_by_money_once_a_row() -> None:
    """Two alerts of one SKU-location are about the same money; the graver one is shown, and that there are more."""
    scene = Scene()
    scene.hear_alert("restock.alert.raised", {**ALERT, "alert_id": "1", "sku": "b", "money_at_risk_day": 5.0})
    scene.hear_alert("restock.alert.raised", {**ALERT, "alert_id": "2", "sku": "a", "money_at_risk_day": 9.0})
    grave = {**ALERT, "alert_id": "3", "sku": "a", "kind": "stocked_out", "severity": "critical"}
    scene.hear_alert("restock.alert.raised", {**grave, "money_at_risk_day": 7.0})
    assert [(a["sku"], a["kind"], a["others"]) for a in scene.alerts()] == [
        ("a", "stocked_out", 1),
        ("b", "low_stock", 0),
    ]
    assert scene.at_risk_day == 14.0
    scene.hear_alert("restock.alert.resolved", grave)
    assert [(a["sku"], a["kind"]) for a in scene.alerts()] == [("a", "low_stock"), ("b", "low_stock")]
    assert (scene.raised.total(), scene.resolved) == (3, 1)


def test_only_the_newest_replenishments_are_kept_with_their_reason() -> None:
    """A demo that runs all day does not grow; what becomes of a proposal shows beside why it was made."""
    scene = Scene()
    for n in range(100):
        scene.hear_replenishment("restock.replenishment.proposed", {**ORDER, "replenishment_id": str(n)})
    later = {**ORDER, "replenishment_id": "99", "sentence": "supplier confirmed", "remaining": 0}
    scene.hear_replenishment("restock.replenishment.received", later)
    newest = list(scene.replenishments.values())[-1]
    assert len(scene.replenishments) < 30
    assert (newest["event"], newest["sentence"]) == ("received", "position 3")
    assert (scene.proposed, scene.received) == (100, 1)


def test_a_forecast_shows_as_the_band_until_supply_comes() -> None:
    """Median and 95 % of the horizon that is lead time and review."""
    horizons = [{"days": 1, "mean": 2.0, "quantiles": {"0.5": 2, "0.95": 5}},
                {"days": 4, "mean": 8.0, "quantiles": {"0.5": 7, "0.95": 13}}]  # fmt: skip
    assert band_of({"protection_days": 4, "horizons": horizons}) == (7.0, 13.0)


def test_latency_is_from_publishing_the_cause() -> None:
    """What happened at an instant was published with the first round that reached it."""
    told = Told(most=4)
    for n in range(1, 7):
        told.note(n * 100, n * 10.0)
    told.note(600, 99.0)  # event time stood still: it was published before
    assert (told.wall_ms(550), told.wall_ms(600), told.wall_ms(601)) == (60.0, 60.0, None)
    assert told.latest_ms == 600


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
