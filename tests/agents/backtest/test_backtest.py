"""`restock backtest`, through its door: no leak, the same bytes, units conserved, clear errors."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agents import cli
from agents.backtest import run, work
from agents.backtest.history import History
from agents.backtest.plan import Plan
from agents.backtest.run import run_shelf
from agents.planner.shelf import Shelf
from models.demand import scores
from models.stock.simulation import Thresholds, simulate
from tests.agents.backtest.files import backtest, demand, table

ROWS, PERIODS, ORIGIN = 12, 90, 60


def columns(path: Path) -> dict[str, np.ndarray]:
    read = pq.read_table(path)
    return {name: read.column(name).to_numpy() for name in read.column_names}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished backtest."""
    out = tmp_path_factory.mktemp("backtest")
    file = table(out / "demand.parquet", demand(ROWS, PERIODS, 1))
    assert backtest("--demand", file, "--out", out, "--horizons", "3,7", "--lead-days", "4") == 0
    return out


def test_no_forecast_reads_beyond_its_origin(done: Path, tmp_path: Path) -> None:
    """Shuffling everything after an origin changes no forecast made up to it, and some made after it."""
    units = demand(ROWS, PERIODS, 1)
    shuffled = units.copy()
    later = shuffled[:, ORIGIN + 1 :].reshape(-1)
    np.random.default_rng(2).shuffle(later)
    shuffled[:, ORIGIN + 1 :] = later.reshape(ROWS, -1)
    file = table(tmp_path / "shuffled.parquet", shuffled)
    assert backtest("--demand", file, "--out", tmp_path, "--horizons", "3,7", "--lead-days", "4") == 0
    before, after = columns(done / "forecasts.parquet"), columns(tmp_path / "forecasts.parquet")
    past = before["date"] <= np.datetime64("2024-01-01") + ORIGIN
    assert past.sum() > 0
    for name in before:
        assert (before[name][past] == after[name][past]).all(), name
    assert (before["mean"][~past] != after["mean"][~past]).any()


def test_the_same_inputs_give_the_same_bytes(done: Path, tmp_path: Path) -> None:
    """Run twice, every file is the same."""
    assert (
        backtest("--demand", done / "demand.parquet", "--out", tmp_path, "--horizons", "3,7", "--lead-days", "4") == 0
    )
    for name in ("forecasts.parquet", "days.parquet"):
        assert (tmp_path / name).read_bytes() == (done / name).read_bytes()


def test_carts_in_the_file_sharpen_the_next_day(tmp_path: Path) -> None:
    """Carts that tell of the next day's demand lower its pinball by a tenth; nothing of them is read ahead."""
    rng, origins = np.random.default_rng(4), slice(60, 98)
    wave = rng.gamma(8.0, 1 / 8, (16, 101))
    units, adds = rng.poisson(12 * wave[:, :-1]).astype(float), rng.poisson(30 * wave[:, 1:]).astype(float)
    loss = []
    for name, carts in (("without", {}), ("with", {"added": adds, "viewed": 3 * adds})):
        file = table(tmp_path / f"{name}.parquet", units, **carts)
        out = tmp_path / name
        assert (
            backtest("--demand", file, "--out", out, "--horizons", "1", "--lead-days", "1", "--from", "2024-02-20") == 0
        )
        told = columns(out / "forecasts.parquet")
        rows = {sku: i for i, sku in enumerate(sorted(set(told["sku"])))}
        at = (told["date"].astype("M8[D]") - np.datetime64("2024-01-01")).astype(int)
        some = (at >= origins.start) & (at < origins.stop) & (told["horizon_periods"] == 1)
        actual = units[[rows[sku] for sku in told["sku"][some]], at[some] + 1]
        quantiles = np.stack([told[q][some] for q in ("q50", "q80", "q90", "q95")], axis=1)
        loss.append(scores.pinball(actual, quantiles, np.array([0.5, 0.8, 0.9, 0.95])).mean())
    assert loss[1] < 0.9 * loss[0]


def test_jobs_show_in_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several shelves in one process or in two give the same bytes."""
    monkeypatch.setattr("agents.backtest.shelves.shelves_of", lambda history: 3)
    file = table(tmp_path / "demand.parquet", demand(ROWS, 40, 3))
    for jobs in ("1", "2"):
        assert backtest("--demand", file, "--out", tmp_path / jobs, "--jobs", jobs) == 0
    for name in ("forecasts.parquet", "days.parquet"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_an_origin_knows_its_own_day_however_many_rows_there_are(tmp_path: Path) -> None:
    """Demand that jumps is in every row's forecast made at the end of that day, of forty rows as of four."""
    for rows in (4, 40):
        units = np.full((rows, 34), 2.0)
        units[:, 30:] = 90.0
        out = tmp_path / str(rows)
        out.mkdir()
        file = table(out / "demand.parquet", units)
        assert backtest("--demand", file, "--out", out, "--horizons", "1", "--from", "2024-01-25") == 0
        told = columns(out / "forecasts.parquet")
        by_day = [told["mean"][told["date"].astype("M8[D]") == np.datetime64("2024-01-01") + day] for day in (29, 30)]
        assert len(by_day[0]) == len(by_day[1]) > 0
        assert by_day[1].min() > 2 * by_day[0].max(), rows


@pytest.mark.parametrize("unmet", ["--lost-sales", "--backorders"])
def test_units_are_conserved(unmet: str, tmp_path: Path) -> None:
    """Stock changes by what was ordered a lead time ago less what was sold; demand is sold, or lost, or waits."""
    file = table(tmp_path / "demand.parquet", demand(ROWS, PERIODS, 4))
    assert backtest("--demand", file, "--out", tmp_path, "--lead-days", "3", "--service-level", "0.6", unmet) == 0
    day = columns(tmp_path / "days.parquet")
    shape = (len(np.unique(day["date"])), ROWS)
    numbers = {n: day[n].reshape(shape) for n in day if n not in ("date", "sku", "location")}
    assert (numbers["on_hand"] >= 0).all()
    assert numbers["lost"].sum() > 0, "nothing ran out: the test shows nothing"
    assert np.allclose(numbers["sold"] + numbers["lost"], numbers["demand"])
    if unmet == "--lost-sales":
        came = numbers["on_hand"][1:] - numbers["on_hand"][:-1] + numbers["sold"][1:]
        assert np.allclose(came[3:], numbers["ordered"][: len(came) - 3])
    else:
        assert numbers["sold"].sum() < numbers["demand"].sum()


def test_what_could_not_be_seen_teaches_nothing(tmp_path: Path) -> None:
    """Days of no stock in the file hide demand: with `available` the forecast stays, without it it falls."""
    units = np.full((1, 60), 8.0)
    available = np.ones((1, 60))
    units[:, 40:], available[:, 40:] = 0.0, 0.0
    file = table(tmp_path / "demand.parquet", units, seen=available)
    mean = {}
    for name, words in {"with": ["--columns", "available=seen"], "without": []}.items():
        assert backtest("--demand", file, "--out", tmp_path / name, "--horizons", "7", *words) == 0
        mean[name] = columns(tmp_path / name / "forecasts.parquet")["mean"][-1]
    assert mean["with"] == pytest.approx(56.0, rel=0.05)
    assert mean["without"] < 20.0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--columns", "units=qty"], "the file has no column for units"),
        (["--known-ahead", "promo"], "the file has no column for promo"),
        (["--from", "2024-13-01"], "could not read --from"),
        (["--from", "2030-01-01"], "lies outside the file"),
        (["--from", "2024-02-20", "--to", "2024-02-10"], "nothing lies between"),
        (["--lead-days", "x"], "could not read --lead-days"),
        (["--horizons", "0"], "could not read --horizons"),
        (["--rows", "many"], "could not read --rows"),
        (["--columns", "date=sku"], "does not hold dates"),
        (["--columns", "available=units"], "does not hold shares of 0 to 1"),
        (["--known-ahead", "units"], "cannot be known ahead"),
        (["--horizons", "7,60"], "no forecast over 60 days can be scored"),
        (["--from", "2024-01-02", "--horizons", "90"], "could not read --horizons"),
    ],
)
def test_bad_input_is_named(
    words: list[str], said: str, done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong is said, with exit code 2, and nothing is written."""
    assert backtest("--demand", done / "demand.parquet", "--out", tmp_path / "new", *words) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ("", "holds no records"),
        ("2024-01-01,a,1", "1 periods are too few"),
        ("1950-01-01,a,1 1950-02-01,a,2", "dates beyond 1970 to 2199"),
        ("2024-01-01,a,0 2024-03-01,a,0", "nothing was sold before 2024-01-21"),
        ("2024-01-01,a, 2024-03-01,a,", "nothing was sold before"),
        ("2024-01-01,a,1 2024-03-01,a,2e9", "records beyond 1,000,000,000 units"),
        ("2024-01-01,a,1 ,a,2", "1 records without a date"),
    ],
)
def test_a_file_nothing_can_be_learnt_of_is_refused(
    records: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rather than told as a perfect score of nothing."""
    file = tmp_path / "demand.csv"
    file.write_text("\n".join(["date,sku,units", *records.split()]) + "\n")
    assert backtest("--demand", file, "--out", tmp_path / "new") == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("period", "numbers"), [("week", [202_401, 202_402]), ("month", [202_401, 202_402])])
def test_week_and_month_numbers_with_a_year_in_them_are_no_ordinals(
    period: str, numbers: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Between week 202452 and 202501 there are no 48 weeks without demand."""
    file = tmp_path / "demand.parquet"
    pq.write_table(pa.table({"date": numbers, "sku": ["a", "a"], "units": [1, 2]}), file)
    assert backtest("--demand", file, "--period", period, "--out", tmp_path / "new") == 2
    assert f"does not count {period}s" in capsys.readouterr().err


def test_a_discount_of_thirty_is_no_share(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Per cent would all count as 99 % off."""
    percent = np.where(np.arange(60) % 7 == 0, 30.0, 0.0)[None]
    file = table(tmp_path / "demand.parquet", demand(1, 60, 1), discount=percent)
    assert backtest("--demand", file, "--known-ahead", "discount", "--out", tmp_path / "new") == 2
    assert "does not hold shares of the price" in capsys.readouterr().err


def test_what_a_file_has_that_nobody_expects_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Records left out, added up or taken for nothing: by number, on standard error and in the report."""
    days = [f"2024-01-{day:02d},a,{day % 3 + 1}" for day in range(1, 31)]
    odd = ["2024-01-01,a,5", "2024-01-02,b", "2024-01-03,b,-2"]
    file = tmp_path / "demand.csv"
    file.write_text("\n".join(["date,sku,units", *days, *odd]) + "\n")
    assert backtest("--demand", file, "--out", tmp_path, "--horizons", "2", "--columns", "pricee=units") == 0
    said = capsys.readouterr().err
    for words in ("could not be cut into columns", "another names too", "have units below zero", "pricee"):
        assert words in said
    found = json.loads((tmp_path / "report.json").read_text())["file"]
    assert (found["unreadable_records_left_out"], found["records_added_to_another"]) == (1, 1)


def test_a_date_far_from_the_others_is_told_before_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is a slip of the pen, or hours of simulating nothing."""
    days = [f"2024-01-{day:02d},a,{day % 3 + 1}" for day in range(1, 31)]
    file = tmp_path / "demand.csv"
    for last, told in (("2024-02-01,a,1", False), ("2025-02-01,a,1", True)):
        file.write_text("\n".join(["date,sku,units", *days, last]) + "\n")
        assert backtest("--demand", file, "--out", tmp_path, "--horizons", "2") == 0
        said = capsys.readouterr().err
        words = "something was sold on 31 of 398 days from 2024-01-01 to 2025-02-01: is a date wrong?"
        assert (words in said) == told, said


def test_where_to_write_is_looked_at_before_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Hours of folding are not lost for want of a directory."""
    file = table(tmp_path / "demand.parquet", demand(2, 30, 1))
    (tmp_path / "taken").write_text("")
    assert backtest("--demand", file, "--out", tmp_path / "taken", "--horizons", "2") == 2
    said = capsys.readouterr().err
    assert "could not make the directory" in said
    assert "row-periods" not in said


def test_order_lines_add_up_to_days(tmp_path: Path) -> None:
    """An order cancelled on its day leaves that day's demand; one cancelled the day after stays."""
    file = tmp_path / "orders.csv"
    sale = "{0}{1},85123A,LAMP,{2},2011-01-{1:02d} {3},2.55,{4},United Kingdom"
    lines = ["InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"]
    lines += [sale.format("5000", d, 3, "10:00", 17850) for d in range(10, 29)]
    lines += [sale.format("6000", d, 80_000, "11:00", 17851) for d in (20, 22)]
    lines += [sale.format("C7000", 20, -80_000, "11:12", 17851), sale.format("C7000", 23, -80_000, "09:00", 17851)]
    file.write_text("\n".join(lines) + "\n")
    assert backtest("--orders", file, "--format", "uci-online-retail", "--out", tmp_path, "--horizons", "2") == 0
    asked = columns(tmp_path / "days.parquet")["demand"]
    assert asked.tolist() == [80_003.0 if day == 22 else 3.0 for day in range(16, 29)]


@pytest.mark.parametrize("policy", ["min-max", "order-up-to"])
@pytest.mark.parametrize("unmet", ["--lost-sales", "--backorders"])
def test_the_fold_and_the_simulation_give_the_same_days(policy: str, unmet: str, tmp_path: Path) -> None:
    """What the fold ordered and held is what the simulation does with its thresholds: so the frontier is its own."""
    file = table(tmp_path / "demand.parquet", demand(ROWS, PERIODS, 6))
    words = ["--lead-days", "3:1", "--service-level", "0.7", "--review-days", "2", "--policy", policy, unmet]
    args = cli.parser(["backtest"]).parse_args(["backtest", "--demand", str(file), "--out", str(tmp_path), *words])
    history = work.read(args)
    plan = work.planned(args, history)
    done = run_shelf(history, plan, np.arange(ROWS), lambda _: None)
    days = simulate(
        work.shop_of(history, plan, done.opening), Thresholds(done.story.reorder_point, done.story.order_up_to)
    )
    assert done.story.lost.sum() > 0
    assert done.story.ordered.sum() > 0
    for name in ("on_hand", "on_order", "sold", "lost", "ordered"):
        assert (getattr(done.story, name) == getattr(days, name)).all(), name


def test_a_plan_known_ahead_is_used_and_only_where_it_is_named(tmp_path: Path) -> None:
    """Promotions that treble demand: forecasts that know of them ahead miss by much less."""
    rng = np.random.default_rng(11)
    promo = np.broadcast_to(rng.random(100) < 0.25, (6, 100)).astype(float)
    units = rng.poisson(8.0 * (1.0 + 2.0 * promo)).astype(float)
    file = table(tmp_path / "demand.parquet", units, offer=promo)
    missed = {}
    for name, words in {"with": ["--known-ahead", "promo"], "without": []}.items():
        words = ["--columns", "promo=offer", "--horizons", "1,3", "--from", "2024-03-01", *words]
        assert backtest("--demand", file, "--out", tmp_path / name, *words) == 0
        missed[name] = json.loads((tmp_path / name / "report.json").read_text())["forecasts"]["1"]["restock"]["wape"]
    assert missed["with"] < 0.75 * missed["without"], missed


@pytest.mark.parametrize(("period", "step"), [("week", 7), ("month", 31)])
def test_longer_periods_count_in_periods_and_keep_the_files_dates(period: str, step: int, tmp_path: Path) -> None:
    """A file of weeks or months: horizons count them, and what comes out has the dates that went in."""
    first = np.datetime64("2020-01-06", "D")
    dates = first + 7 * np.arange(60) if step == 7 else (np.datetime64("2018-01", "M") + np.arange(60)).astype("M8[D]")
    units = demand(3, 60, 12)
    file = tmp_path / "demand.parquet"
    columns_ = {"week": np.tile(dates, 3), "sku": np.repeat(["A", "B", "C"], 60), "units": units.reshape(-1)}
    pq.write_table(pa.table(columns_), file)
    words = ["--columns", "date=week", "--period", period, "--horizons", "1,4", "--lead-days", "14"]
    assert backtest("--demand", file, "--out", tmp_path, *words) == 0
    told = columns(tmp_path / "forecasts.parquet")
    assert set(told["date"].astype("M8[D]")) <= set(dates)
    assert set(told["horizon_periods"].tolist()) == {1, 4}
    assert json.loads((tmp_path / "report.json").read_text())["plan"]["wait"] == (3 if period == "week" else 2)


@pytest.mark.parametrize("unmet", ["--lost-sales", "--backorders"])
def test_a_planner_that_tells_decides_the_same(unmet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With alerts and messages, as in production, every file is what it is without them."""
    file = table(tmp_path / "demand.parquet", demand(6, 60, 12))
    words = ("--demand", file, "--horizons", "7", "--lead-days", "3:1", unmet, "--policy", "min-max")
    assert backtest(*words, "--out", tmp_path / "silent") == 0
    shelf_of = run._shelf

    def telling(history: History, plan: Plan, first_day: int) -> Shelf:
        shelf = shelf_of(history, plan, first_day)
        shelf.config = replace(shelf.config, silent=False)
        return shelf

    monkeypatch.setattr(run, "_shelf", telling)
    assert backtest(*words, "--out", tmp_path / "telling") == 0
    for name in ("forecasts.parquet", "days.parquet"):
        assert (tmp_path / "silent" / name).read_bytes() == (tmp_path / "telling" / name).read_bytes()
