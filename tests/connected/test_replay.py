"""A file in, a worker on real servers or the embedded ones, and an account that adds up to the row."""

from __future__ import annotations

import csv
import json
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from agents import cli
from agents.installation import installation
from agents.replay import local
from agents.replay.pipeline import Pipeline
from agents.settings import Settings, load, variable
from stream.local.child import Child
from stream.transport import topics_admin
from tests.agents.replay.files import retail_file
from tests.kafka import Broker
from tests.servers import Server

SEED = 20_260_105
COLUMNS = "order_id=order,sku=sku,location=location,quantity=units,occurred_at=at,unit_price=price"
AWAIT_S = 40.0

Restock = Callable[..., int]


@pytest.mark.data
@pytest.mark.timeout(600)  # 60 s of one core: 40 s on two quiet ones, minutes where they are shared
def test_every_row_of_a_real_file_is_accounted_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """541,909 invoice lines through an embedded stack: the report is a straight pandas count of the file.

    Warmed up until the last day, so that only conditions open then are published, each once.
    """
    path, out = retail_file("online_retail_2010_2011.parquet"), tmp_path / "report.json"
    for name in ("BROKERS", "REDIS_URL", "NAMESPACE"):
        monkeypatch.delenv(f"RESTOCK_{name}", raising=False)
    for name in ("SHELVES", "SOURCE_PARTITIONS"):
        monkeypatch.setenv(f"RESTOCK_{name}", "2")
    words = f"replay {path} --format uci-online-retail --local --tick-minutes 360 --initial-stock 100"
    code = cli.main([*words.split(), "--warm-until", "2011-12-09T00:00:00Z", "--report", str(out)])
    report = json.loads(out.read_text())
    frame = pd.read_parquet(path)
    repeated = frame.duplicated()
    code_ = frame.StockCode.str.upper()
    product = code_.str.match(r"^\d{5}")
    bad_debt = frame.InvoiceNo.str.startswith("A")

    assert code == 0
    assert report["unaccounted"] == 0
    assert report["read"] == len(frame)
    assert report["repeated"] == repeated.sum()
    assert report["refused"] == {
        "bad_debt": (bad_debt & ~repeated).sum(),
        "non_product": (~product & ~bad_debt & ~repeated).sum(),
    }
    assert report["accepted"] == (product & ~bad_debt & ~repeated).sum()

    good = frame[product & ~bad_debt & ~repeated].assign(code=code_)
    back = good.InvoiceNo.str.startswith("C")
    parts = {
        "ordered": good[~back & (good.Quantity > 0) & (good.UnitPrice > 0)],
        "back": good[back],
        "written_off": good[~back & (good.Quantity < 0)],
        "adjusted": good[~back & (good.Quantity > 0) & (good.UnitPrice == 0)].assign(
            Quantity=lambda rows: rows.Quantity.where(rows.CustomerID.isna(), -rows.Quantity)
        ),
    }
    sums = {name: rows.groupby("code").Quantity.sum() for name, rows in parts.items()}
    ours = pd.DataFrame.from_dict(report["units_by_sku"], orient="index")
    expected = pd.DataFrame(sums).reindex(ours.index).fillna(0)
    assert set(good.code) == set(ours.index)
    assert (ours.ordered == expected.ordered).all()
    assert (ours.cancelled + ours.returned == -expected.back).all()
    assert (ours.written_off == -expected.written_off).all()
    assert ours.cancelled.sum() > 0

    stock = pd.DataFrame(report["positions"]).set_index("sku").on_hand
    moved = -expected.ordered - expected.back + expected.written_off + expected.adjusted
    assert (stock == 100 + moved).all()
    assert report["alerts"]["raised"] == report["alerts"]["open"] + report["alerts"]["resolved"] > 0
    assert report["replenishments"]["raised"] > 0


# -- a small file with every kind of trouble, on a real Kafka and a real Redis ----------------------------------------


@pytest.fixture(scope="module")
def settings(kafka: Broker, redis_server: Server) -> Settings:
    """An installation of its own, by the event clock."""
    return load(
        brokers=kafka.bootstrap,
        redis_url=redis_server.url,
        namespace=f"replay{uuid.uuid4().hex[:8]}",
        clock="event",
        mark_interval_ms=50,
        web_port=0,
        shelves=2,
        source_partitions=2,
    )


@pytest.fixture(scope="module")
def worker(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    topics_admin.create(installation(settings))
    log = tmp_path_factory.mktemp("worker") / "worker.log"
    child = Child([sys.executable, "-m", "agents.cli", "worker"], log, settings.environment())
    yield child
    child.stop()


@pytest.fixture
def restock(settings: Settings, worker: Child, monkeypatch: pytest.MonkeyPatch) -> Restock:
    """The command, in the settings of the running worker."""
    for name, value in settings.model_dump(mode="json").items():
        if value is not None:
            monkeypatch.setenv(variable(name), str(value))

    def run(*words: object) -> int:
        local.check(worker)
        return cli.main([str(word) for word in words])

    return run


@pytest.fixture(scope="module")
def sales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three days of orders of two lines in two shops, with bad rows and copies among them."""
    random = np.random.default_rng(SEED)
    path = tmp_path_factory.mktemp("sales") / "sales.csv"
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["order", "sku", "location", "units", "at", "price"])
        for n in range(300):
            at = pd.Timestamp("2026-01-05 08:00") + pd.Timedelta(minutes=14 * n)
            for sku in random.choice(["apple", "pear", "plum@1"], 2, replace=False):
                row = [n, sku, random.choice(["north", "south"]), random.integers(1, 9) / 4, at, "1.5"]
                out.writerow(row)
                if n % 50 == 7:
                    out.writerow(row)
            if n % 60 == 9:
                out.writerow([n, "apple", "north", "several", at, "1.5"])
                out.writerow([n, "apple", "", 1, at, "1.5"])
            if n % 100 == 3:
                out.writerow([n, "apple"])
    return path


def good_lines(sales: Path) -> pd.DataFrame:
    frame = pd.read_csv(sales, names=["order", "sku", "location", "units", "at", "price"], header=0)
    frame = frame.drop_duplicates()
    frame["units"] = pd.to_numeric(frame.units, errors="coerce")
    return frame.dropna()


def test_a_file_with_bad_rows_and_copies_adds_up(restock: Restock, sales: Path, tmp_path: Path) -> None:
    """Bad rows are refused by name and their orders' others accepted; the same file again is repeated, all of it."""
    out = tmp_path / "report.json"
    replayed = ["replay", sales, "--columns", COLUMNS, "--initial-stock", "200", "--report", out]

    assert restock(*replayed) == 0
    first = json.loads(out.read_text())
    assert first["refused"] == {"missing_field": 5, "unreadable_row": 3, "wrong_type": 5}
    assert first["repeated"] == 12
    good = good_lines(sales)
    assert first["accepted"] == len(good) == 600
    ordered = {sku: row["ordered"] for sku, row in first["units_by_sku"].items()}
    assert ordered == good.groupby("sku").units.sum().to_dict()
    assert "discrepancy" not in first["alerts"]["by_kind"]  # the opening stock came before the first sale
    stock = {(p["sku"], p["location"]): p["on_hand"] for p in first["positions"]}
    assert stock == (200 - good.groupby(["sku", "location"]).units.sum()).to_dict()

    assert restock(*replayed) == 0
    again = json.loads(out.read_text())
    assert (again["accepted"], again["repeated"]) == (0, 612)
    assert again["refused"] == first["refused"]
    assert again["positions"] == first["positions"]


def test_a_stock_list_is_compared_as_of_its_own_time(
    restock: Restock, sales: Path, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A list of the second evening agrees with the positions of then, whatever was sold since.

    A differing row is reported with its money; applied, it shifts today's stock by the difference; applied twice, no
    further.
    """
    assert restock("replay", sales, "--columns", COLUMNS, "--initial-stock", "200") == 0
    as_of = "2026-01-06T20:00:00Z"
    good = good_lines(sales)
    then = good[pd.to_datetime(good["at"]) <= pd.Timestamp(as_of).tz_localize(None)]
    listed = (200 - then.groupby(["sku", "location"]).units.sum()).reset_index()
    path = tmp_path / "list.csv"
    listed.to_csv(path, index=False)
    capsys.readouterr()
    assert restock("reconcile", path, "--as-of", as_of) == 0
    assert capsys.readouterr().out == ""

    listed.loc[(listed.sku == "pear") & (listed.location == "north"), "units"] -= 3
    listed = listed[~((listed.sku == "apple") & (listed.location == "south"))]
    listed.to_csv(path, index=False)
    assert restock("reconcile", path, "--as-of", as_of, "--json") == 1
    found = {(d["sku"], d["location"]): d for d in map(json.loads, capsys.readouterr().out.splitlines())}
    assert set(found) == {("pear", "north"), ("apple", "south")}
    assert found["pear", "north"]["delta_units"] == -3
    assert found["pear", "north"]["delta_money"] == -4.5
    assert found["apple", "south"]["kind"] == "not_listed"

    before = on_hand(settings)
    assert restock("reconcile", path, "--as-of", as_of, "--apply") == 0
    assert restock("reconcile", path, "--as-of", as_of, "--apply") == 0
    until(lambda: restock("reconcile", path, "--as-of", as_of) == 0, "the counts hold")
    shift = {("pear", "north"): -3, ("apple", "south"): found["apple", "south"]["delta_units"]}
    assert on_hand(settings) == {key: milli + round(1_000 * shift.get(key, 0)) for key, milli in before.items()}


def test_a_list_from_after_the_watermark_is_refused(
    restock: Restock, sales: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is not known yet is an error that says so."""
    assert restock("replay", sales, "--columns", COLUMNS, "--initial-stock", "200") == 0
    path = tmp_path / "list.csv"
    path.write_text("sku,location,units\napple,north,1\n")
    assert restock("reconcile", path, "--as-of", "2026-03-01T00:00:00Z") == 2
    assert "not known yet" in capsys.readouterr().err


def test_a_supplier_needs_a_time_of_its_own(restock: Restock, sales: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Receipts come after lead times of event time: in a namespace whose time is past the file's, that is refused."""
    assert restock("replay", sales, "--columns", COLUMNS) == 0
    assert restock("replay", sales, "--columns", COLUMNS, "--with-supplier") == 2
    assert "a supplier cannot answer in the past" in capsys.readouterr().err


def test_a_supplier_closes_the_loop(sales: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Little stock to begin with, on the embedded stack: what is proposed is ordered, confirmed and received in time.

    What was withdrawn is not ordered. Stock and what is on order are the opening stock and what was ordered since, less
    what was sold.
    """
    for name in ("BROKERS", "REDIS_URL", "NAMESPACE"):
        monkeypatch.delenv(f"RESTOCK_{name}", raising=False)
    words = ["replay", str(sales), "--columns", COLUMNS, "--local", "--initial-stock", "20", "--with-supplier"]
    out = tmp_path / "report.json"
    assert cli.main([*words, "--supplier-lead-days", "1", "--report", str(out)]) == 0
    first = json.loads(out.read_text())
    assert (first["accepted"], first["repeated"], first["unaccounted"], first["added_refused"]) == (600, 12, 0, {})
    replenishments = first["replenishments"]
    kinds = replenishments["by_kind"]
    assert replenishments["raised"] == kinds["proposed"]
    assert 0 < kinds["ordered"] <= kinds["proposed"] - kinds.get("cancelled", 0)
    assert replenishments["by_status"]["received"] > 0
    sold = good_lines(sales).units.sum()
    on_hand, on_order = (sum(p[name] for p in first["positions"]) for name in ("on_hand", "on_order"))
    assert on_hand + on_order == 6 * 20 - sold + replenishments["ordered_units"]


def until(true: Callable[[], bool], what: str) -> None:
    """Return when it is true; fail where it is not within a bound."""
    deadline_s = time.monotonic() + AWAIT_S
    while not true():
        assert time.monotonic() < deadline_s, f"not within {AWAIT_S:.0f} s: {what}"
        time.sleep(0.05)


def on_hand(settings: Settings) -> dict[tuple[str, str], int]:
    pipeline = Pipeline(settings)
    stock = {key: row["on_hand"] for key, row in pipeline.totals().items()}
    pipeline.close()
    return stock
