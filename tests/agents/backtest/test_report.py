"""The report: scores that can be checked by hand, a page that stands alone, peers on the same terms."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from agents import cli
from agents.backtest import work
from agents.backtest.drawing import Plot
from agents.backtest.frontier import ASKED, Curve
from agents.backtest.history import History
from agents.backtest.peers import catalogue, rules
from agents.backtest.peers.catalogue import RULES
from agents.backtest.peers.statistical import statistical_methods
from agents.backtest.peers.trees import lightgbm_method
from agents.backtest.report import ONE_PRICE
from models.stock.simulation import Days, Money, Shop, Thresholds, service, simulate
from tests.agents.backtest.files import backtest, demand, table


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished comparison."""
    out = tmp_path_factory.mktemp("report")
    units = demand(15, 120, 8)
    file = table(out / "demand.parquet", units, cost=np.full(units.shape, 2.0), price=np.full(units.shape, 5.0))
    assert (
        backtest("--demand", file, "--out", out, "--horizons", "7", "--lead-days", "4", "--compare", "--peers", "rules")
        == 0
    )
    return out


def test_scores_are_those_of_the_files(done: Path) -> None:
    """Pinball, coverage and bias of the report follow from forecasts.parquet and the demand file by hand."""
    read = pq.read_table(done / "forecasts.parquet").to_pylist()
    units = demand(15, 120, 8)
    told = json.loads((done / "report.json").read_text())["forecasts"]["7"]["restock"]
    loss = came = over = count = within = 0.0
    for one in read:
        at = int((np.datetime64(one["date"], "D") - np.datetime64("2024-01-01")) / np.timedelta64(1, "D"))
        row = units[int(one["sku"][1:])]
        if at + 7 >= 120 or row[: at + 1].sum() == 0:
            continue
        y = row[at + 1 : at + 8].sum()
        pairs = zip((0.5, 0.8, 0.9, 0.95, 0.975, 0.99), ("q50", "q80", "q90", "q95", "q975", "q99"), strict=True)
        loss += np.mean([max(p * (y - one[q]), (p - 1) * (y - one[q])) for p, q in pairs])
        within += y <= np.ceil(one["q95"] - 1e-6)
        came, over, count = came + y, over + one["mean"] - y, count + 1
    assert told["forecasts"] == count
    assert told["scaled_pinball"] == pytest.approx(2 * loss / came)
    assert told["bias"] == pytest.approx(over / came)
    assert told["coverage_within"]["q95"] == pytest.approx(within / count)
    assert sum(told["pit"]) == pytest.approx(1.0)


def test_the_page_stands_alone(done: Path) -> None:
    """No script, no style, font or picture from elsewhere; every part a planner asks for is there."""
    page = (done / "report.html").read_text()
    assert not re.search(r"<script|https?://|src=|url\(|@import|<link", page)
    for part in ("Service against stock", "By segment", "Rows that cost most", "calibrated", "Six rows"):
        assert part in page
    assert page.count("<svg") >= 6


def test_peers_stand_beside_ours(done: Path) -> None:
    """Each peer has its scores, its ratio with an interval, and its whole frontier."""
    report = json.loads((done / "report.json").read_text())
    peers = set(RULES) | {"restock"}
    assert set(report["forecasts"]["7"]) == peers == set(report["frontier"]["methods"]) - {ONE_PRICE}
    for name in peers - {"restock"}:
        ratio, low, high = report["forecasts"]["7"][name]["restock_over_it"]
        assert low <= ratio <= high
        curve = report["frontier"]["methods"][name]
        assert curve["asked"] == ASKED.tolist()
        assert (np.diff(curve["stock_units"]) >= -1e-9).all(), "more was asked for, less was held"
        assert curve["stock_money"] == pytest.approx([2.0 * s for s in curve["stock_units"]])


def test_one_price_of_money_serves_as_much_with_less_money(tmp_path: Path) -> None:
    """Rows that cost 1, 10 or 100: at equal total fill rate one price ties up less; with equal costs it is the same."""
    units = demand(15, 120, 8)
    words = ("--horizons", "7", "--lead-days", "4", "--out", tmp_path)
    ratios = []
    for cost in (np.array([1.0, 10.0, 100.0] * 5), np.full(15, 4.0)):
        file = table(tmp_path / "demand.parquet", units, cost=np.repeat(cost, 120).reshape(units.shape))
        assert backtest("--demand", file, *words) == 0
        told = json.loads((tmp_path / "report.json").read_text())["frontier"]["methods"]
        ratios.append([told["restock"]["one_price_over_it"][fill]["money"] for fill in ("0.9", "0.95")])
    assert max(ratios[0]) < 0.9
    assert ratios[1] == pytest.approx([1.0, 1.0])


def test_a_shop_by_hand() -> None:
    """Two a day against order-up-to 6 with no lead: stock, sales, money and cycles follow by hand."""
    asked = np.array([[2_000], [2_000], [8_000], [2_000], [2_000]])
    shop = Shop(asked, np.zeros((5, 1), np.int64), np.array([6_000]))
    days = simulate(shop, Thresholds(np.full((5, 1), 6_000), np.full((5, 1), 6_000)))
    assert days.on_hand[:, 0].tolist() == [4_000, 4_000, 0, 4_000, 4_000]
    assert days.lost[:, 0].tolist() == [0, 0, 2_000, 0, 0]
    told = service(days, asked, Money(np.array([2.0]), np.array([5.0]), 1.0, 0.01), 365.0)
    assert told.fill_rate == pytest.approx(14 / 16)
    assert (told.cycles, told.cycle_service) == (3, pytest.approx(2 / 3))
    assert told.mean_stock_units == pytest.approx(16 / 5)
    assert told.cost == pytest.approx(3.2 * 2.0 * 0.01 * 5 + told.orders)
    assert told.profit == pytest.approx(3.0 * 14 - told.cost)


def test_a_lead_time_is_waited_for() -> None:
    """Ordered at the end of a period with a lead of two, units arrive before the third period after it opens."""
    asked = np.array([[1_000], [0], [0], [0], [0]])
    days: Days = simulate(
        Shop(asked, np.full((5, 1), 2), np.array([1_000])), Thresholds(np.full((5, 1), 1_000), np.full((5, 1), 1_000))
    )
    assert days.ordered[:, 0].tolist() == [1_000, 0, 0, 0, 0]
    assert days.on_hand[:, 0].tolist() == [0, 0, 0, 1_000, 1_000]


def test_stock_is_read_off_the_frontier_between_its_points() -> None:
    """At a fill rate between two points the stock lies between theirs; beyond the curve there is none."""
    points = np.array([0.9, 0.99])
    curve = Curve(points, points, points, np.array([10.0, 40.0]), np.array([10.0, 40.0]))
    assert curve.stock_at(0.9) == pytest.approx(10.0)
    assert curve.stock_at(1 - 0.1 / 10**0.5) == pytest.approx(20.0)
    assert np.isnan(curve.stock_at(0.5))


def test_rules_see_only_the_past() -> None:
    """What comes after an origin changes no rule's forecast at it."""
    units = demand(4, 120, 9)
    other = units.copy()
    other[:, 81:] *= 3.0
    for rule in RULES:
        before, after = (RULES[rule](_history(u), 60, 80, 7) for u in (units, other))
        assert np.array_equal(before.quantiles, after.quantiles), rule


def _history(units: np.ndarray) -> History:
    n, periods = units.shape
    dates = np.datetime64("2024-01-01") + np.arange(periods)
    return History("day", dates, [f"S{i}" for i in range(n)], ["L"] * n, units, np.ones(units.shape))


def test_the_textbook_by_hand() -> None:
    """28 equal days of 3: the mean of 7 is 21 and nothing is uncertain."""
    made = rules.textbook(_history(np.full((1, 40), 3.0)), 35, 36, 7)
    assert made.mean == pytest.approx(21.0)
    assert made.quantiles == pytest.approx(21.0)


def test_a_plot_keeps_its_points_inside_the_frame() -> None:
    """A value beyond the axis is drawn at the edge, not outside."""
    plot = Plot((0.0, 1.0), (0.0, 1.0), "x", "y")
    assert plot.at(2.0, -1.0) == plot.at(1.0, 0.0)


def test_slow_peers_are_run_on_a_sample_and_see_only_the_past(tmp_path: Path) -> None:
    """Each slow peer forecasts every sampled row, and a changed future changes none of it."""
    pytest.importorskip("statsforecast", reason="pip install 'restock[compare]'")
    pytest.importorskip("lightgbm", reason="pip install 'restock[trees]'")
    units = demand(3, 60, 10)
    other = units.copy()
    other[:, 46:] *= 2.0
    quantiles = []
    for k, kind in enumerate((units, other)):
        file = table(tmp_path / f"{k}.parquet", kind)
        args = cli.parser(["backtest"]).parse_args(["backtest", "--demand", str(file), "--out", str(tmp_path)])
        history = work.read(args)
        plan = replace(work.planned(args, history), horizons=(3,), lead=2, first=30, last=45)
        trees = lightgbm_method(history, plan, [3], 1, lambda *_: None)
        slow = statistical_methods(history, plan, np.arange(3), [3], lambda *_: None)
        quantiles.append({m.name: m.sums[3].quantiles for m in (trees, *slow)})
    assert set(quantiles[0]) == {"LightGBM, tuned", "AutoETS", "AutoTheta", "CrostonSBA", "TSB"}
    for name, told in quantiles[0].items():
        assert np.isfinite(told).all()
        assert np.array_equal(told, quantiles[1][name]), name


def test_what_cannot_be_compared_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """A peer whose package is missing is left out, loudly; asked for by name it is refused before any work is done.
    Where a plan is known, ours stands there without it too."""
    monkeypatch.setitem(catalogue.NEEDS, "statistical", "a_package_nobody_has")
    monkeypatch.setitem(catalogue.NEEDS, "lightgbm", "another_one_nobody_has")
    units = demand(4, 60, 8)
    file = table(tmp_path / "demand.parquet", units, promo=(units > 5).astype(float))
    words = ("--demand", file, "--out", tmp_path / "out", "--known-ahead", "promo", "--horizons", "7", "--compare")
    assert backtest(*words, "--peers", "rules,statistical") == 2
    assert not (tmp_path / "out").exists()
    assert "a_package_nobody_has" in capsys.readouterr().err
    assert backtest(*words) == 0
    assert "without statistical peers: a_package_nobody_has is not installed" in capsys.readouterr().err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert len(report["left_out"]) == 2
    assert set(report["forecasts"]["7"]) == {"restock", "restock, without the plan", *RULES}
    assert report["forecasts"]["7"]["restock, without the plan"]["knows_plan"] is False
    assert "another_one_nobody_has" in (tmp_path / "out" / "report.html").read_text()
