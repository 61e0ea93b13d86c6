"""`restock plan` from files to files."""

from __future__ import annotations

import json
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from agents.commands.parsing import Parser
from agents.plan import command
from stream.errors import SetupError

FIVE = [(0, 1, 10), (0, 2, 20), (0, 3, 30), (0, 4, 40), (1, 2, 15), (1, 3, 25), (1, 4, 35), (2, 3, 20), (2, 4, 30)]
FIVE += [(3, 4, 10)]
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Case:
    """Files of one problem in a directory, and the command run on them."""

    def __init__(self, where: Path) -> None:
        self.where = where
        self.items([("A", 1.0, 11.0)])
        self.demand([("S", "A", 7, 0)])

    def write(self, name: str, header: str, rows: list[tuple[Any, ...]]) -> None:
        text = "\n".join([header, *[",".join("" if c is None else str(c) for c in row) for row in rows]])
        (self.where / f"{name}.csv").write_text(text + "\n")

    def stock(self, rows: list[tuple[Any, ...]], header: str = "location,sku,on_hand,minimum") -> None:
        self.write("stock", header, rows)

    def demand(self, rows: list[tuple[Any, ...]]) -> None:
        """Certain demand: mean and every quantile the same."""
        self.write("demand", "location,sku,horizon_days,mean,q50,q90,q99", [(*r, r[3], r[3], r[3]) for r in rows])

    def lanes(self, rows: list[tuple[Any, ...]], header: str = "from,to,unit_cost,lead_days") -> None:
        self.write("lanes", header, rows)

    def items(
        self, rows: list[tuple[Any, ...]], header: str = "sku,unit_cost,unit_price,holding_cost_rate_year"
    ) -> None:
        if header.endswith("year"):
            rows = [(*row, 0.0) for row in rows]
        self.write("items", header, rows)

    def run(self, *more: str) -> tuple[int, dict[str, Any], list[dict[str, Any]]]:
        """Exit code, plan.json, rows of transfers.parquet."""
        code = command.run(self.args(*more), None)
        out = self.where / "out"
        rows = pq.read_table(out / "transfers.parquet").to_pylist()
        return code, json.loads((out / "plan.json").read_text()), rows

    def args(self, *more: str) -> Any:
        files = [part for name in ("stock", "demand", "lanes", "items") for part in (f"--{name}", str(self.file(name)))]
        parser = Parser(prog="restock")
        command.add_parser(parser.add_subparsers(dest="command"))
        return parser.parse_args(["plan", *files, "--out", str(self.where / "out"), *more])

    def file(self, name: str) -> Path:
        parquet = self.where / f"{name}.parquet"
        return parquet if parquet.exists() else self.where / f"{name}.csv"


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def flows(rows: list[dict[str, Any]]) -> dict[tuple[str, str, str], float]:
    return {(row["sku"], row["from"], row["to"]): row["quantity"] for row in rows}


def five_nodes(case: Case, *needs: int) -> None:
    case.stock([(0, "A", 100, 0), (1, "A", 0, needs[0]), (2, "A", 0, needs[1])])
    case.demand([(1, "A", 7, 0)])
    case.lanes([(a, b, c, 1) for a, b, c in FIVE] + [(b, a, c, 1) for a, b, c in FIVE])


@pytest.mark.parametrize("more", [(), ("--periods", "2")])
def test_five_nodes_ship_direct_for_1500(case: Case, more: tuple[str, ...]) -> None:
    """100 at 0, 50 needed at 1 and 2."""
    five_nodes(case, 50, 50)
    code, plan, rows = case.run(*more)
    assert (code, plan["status"], plan["objective"], plan["gap"]) == (0, "optimal", 1500, 0)
    assert flows(rows) == {("A", "0", "1"): 50, ("A", "0", "2"): 50}


def test_five_nodes_short_by_20_say_so_and_send_nothing(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """70 and 50 needed of 100: exit code 1, the shortfall, the constraints by name, and no transfer to carry out."""
    five_nodes(case, 70, 50)
    code, plan, rows = case.run()
    assert (code, plan["status"], plan["shortfall"], rows) == (1, "infeasible", 20, [])
    assert (plan["bound"], plan["gap"]) == (None, None)
    assert plan["conflict"] == [
        "A: 1 lacks 70 of its minimum",
        "A: 2 lacks 50 of its minimum",
        "A: 0 has 100 to give",
    ]
    assert "short by 20" in capsys.readouterr().out
    assert "short by 20" in (case.where / "out" / "plan.html").read_text()


def test_best_effort_writes_the_plan_that_comes_nearest(case: Case) -> None:
    """The same, with all 100 on their way."""
    five_nodes(case, 70, 50)
    code, plan, rows = case.run("--best-effort")
    assert (code, plan["shortfall"], sum(flows(rows).values())) == (1, 20, 100)


@pytest.mark.parametrize(("need", "cost", "units"), [(0, 0, []), (35, 270, [10, 15, 10])])
def test_three_goods(case: Case, need: int, cost: float, units: list[float]) -> None:
    """Three sources at 5, 8 and 10 a unit with 10, 15 and 20: nothing is cheapest; 35 cost 270."""
    case.stock([("A", "A", 10, 0), ("B", "A", 15, 0), ("C", "A", 20, 0), ("S", "A", 0, need)])
    case.lanes([("A", "S", 5, 1), ("B", "S", 8, 1), ("C", "S", 10, 1)])
    _, plan, rows = case.run()
    assert plan["objective"] == cost
    assert [row["quantity"] for row in rows] == units


def test_fixed_send_outs_that_earn(case: Case) -> None:
    """Two lanes that earn 1 a unit, ten fixed on each: -20."""
    case.stock([("W", "A", 20, 0), ("S", "A", 0, 0)])
    case.lanes([("W", "S", -1, 1), ("W", "T", -1, 1)])
    case.write("fixed", "from,to,sku,units", [("W", "S", "A", 10), ("W", "T", "A", 10)])
    _, plan, rows = case.run("--fixed", str(case.where / "fixed.csv"))
    assert plan["objective"] == -20
    assert [row["fixed"] for row in rows] == [True, True]


@pytest.mark.parametrize(("each", "worth"), [(1000, 100), (1, 45)])
def test_knapsack(case: Case, each: int, worth: float) -> None:
    """Margins 10, 15, 20 at 2, 3, 4 kg, 20 kg and money for 1,000: 100; at most one of each: 45. The budget is free."""
    names = ["a", "b", "c"]
    case.items(
        [(n, 0, 5 * w, 0, 1, w, 0) for n, w in zip(names, (2, 3, 4), strict=True)],
        "sku,unit_cost,unit_price,holding_cost_rate_year,pack_units,weight,volume",
    )
    case.stock([("W", n, 1000, 0) for n in names])
    case.demand([("S", n, 7, each) for n in names])
    case.lanes(
        [("W", "S", 0, 0, None, 20, None)], "from,to,unit_cost,lead_days,capacity_units,capacity_weight,capacity_volume"
    )
    _, plan, rows = case.run("--budget", "1000")
    assert plan["objective"] == -worth
    assert all(row["quantity"] == round(row["quantity"]) for row in rows)
    assert [d for d in plan["duals"] if d["name"] == "budget"] == []


def test_a_full_lane_says_what_one_more_would_be_worth_a_week(case: Case) -> None:
    """Two weeks' demand of 20 at margin 10, a lane of 4 at 1: one more unit is worth 9 over two weeks, 4.50 a week."""
    case.stock([("W", "A", 50, 0)])
    case.demand([("S", "A", 14, 20)])
    case.lanes([("W", "S", 1, 0, 4)], "from,to,unit_cost,lead_days,capacity_units")
    code, plan, rows = case.run()
    assert flows(rows) == {("A", "W", "S"): 4}
    assert plan["duals"][0]["words"] == "one more unit on W-S would be worth 4.50 a week"
    assert plan["cut_short"]["words"] == ["A: S could use 20 and gets 4: a lane to it is full"]
    assert rows[0]["reason"] == "S is expected to run 20.0 short within 14 days; W would have 50.0 left over"
    assert rows[0]["gain"] == pytest.approx(36)
    assert code == 0


def test_several_periods_share_the_plan_and_mark_what_is_for_now(case: Case) -> None:
    """Ten over two periods, a lane of four in each: four now, four in the next."""
    case.stock([("W", "A", 50, 0)])
    case.demand([("S", "A", 14, 10)])
    case.lanes([("W", "S", 1, 0, 4)], "from,to,unit_cost,lead_days,capacity_units")
    _, plan, rows = case.run("--periods", "2")
    assert [(row["period"], row["quantity"]) for row in rows] == [(0, 4), (1, 4)]
    assert plan["objective"] == -72
    assert {d["period"] for d in plan["duals"]} <= {0, 1}


def test_the_budget_limits_what_lanes_may_cost(case: Case) -> None:
    """Six money at one a unit: six units, and one more money is worth nine."""
    case.stock([("W", "A", 50, 0)])
    case.demand([("S", "A", 7, 10)])
    case.lanes([("W", "S", 1, 0)])
    _, plan, rows = case.run("--budget", "6")
    assert flows(rows) == {("A", "W", "S"): 6}
    assert plan["duals"][0]["words"] == "one more of money for lanes would be worth 9.00"


def test_segments_may_share_fairly(case: Case) -> None:
    """Twelve for shops of one and two a day: 4 and 8 by fair share; all to the nearer by marginal value."""
    case.stock([("W", "A", 12, 0)])
    case.demand([("S", "A", 12, 12), ("T", "A", 12, 24)])
    case.lanes([("W", "S", 1, 0), ("W", "T", 2, 0)])
    assert flows(case.run()[2]) == {("A", "W", "S"): 12}
    case.items([("A", 1, 11, 0, "fair")], "sku,unit_cost,unit_price,holding_cost_rate_year,share")
    assert flows(case.run()[2]) == {("A", "W", "S"): 4, ("A", "W", "T"): 8}


def test_parquet_and_numeric_names_are_read_alike(case: Case) -> None:
    """The five nodes as parquet with integer locations: the same plan."""
    five_nodes(case, 50, 50)
    for name in ("stock", "lanes", "demand", "items"):
        pq.write_table(pa.csv.read_csv(case.where / f"{name}.csv"), case.where / f"{name}.parquet")
    assert case.run()[1]["objective"] == 1500


class Text(HTMLParser):
    """Tags opened and closed, and the text between."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in ("meta", "circle", "path"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_shows_the_network_and_trusts_no_name(case: Case) -> None:
    """Names are escaped, every tag is closed, nothing is loaded from elsewhere."""
    case.items([("<b>&", 1, 11)])
    case.stock([("W<script>", "<b>&", 50, 0)])
    case.demand([("S", "<b>&", 7, 10)])
    case.lanes([("W<script>", "S", 1, 0)])
    case.run()
    html = (case.where / "out" / "plan.html").read_text()
    seen = Text()
    seen.feed(html)
    assert "<script" not in html
    assert "http" not in html
    assert [t for t in seen.open if t not in ("path", "circle")] == []
    assert "W<script>" in seen.words
    assert "10 units" in seen.words


@pytest.mark.parametrize(
    ("name", "header", "rows", "said"),
    [
        ("stock", "location,sku", [("W", "A")], "lacks the column on_hand"),
        ("stock", "location,sku,on_hand", [("W", "X", 1)], "row 1: sku X is in no row of the items"),
        ("stock", "location,sku,on_hand", [("W", "A", 1), ("W", "A", 2)], "A at W has more than one row"),
        ("stock", "location,sku,on_hand,minimum", [("W", "A", 1, -1)], "row 1: minimum is -1"),
        ("stock", "location,sku,on_hand", [("W", "A", "many")], "on_hand is not a column of numbers"),
        ("stock", "location,sku,on_hand", [("W", "A", None)], "row 1: on_hand is empty"),
        ("stock", "location,sku,on_hand", [(None, "A", 3)], "row 1: location is empty"),
        ("stock", "location,sku,on_hand", [("W", "A", 2), ("S", "A", "1e300")], "row 2: on_hand is 1e+300"),
        ("items", "sku,unit_cost,unit_price", [("A", 1, "2e9")], "row 1: unit_price is 2e+09"),
        ("lanes", "from,to,unit_cost,lead_days", [("W", "W", 1, 1)], "a lane from W to itself"),
        ("lanes", "from,to,unit_cost,lead_days", [("W", "S", 1, -1)], "row 1: lead_days is -1"),
        ("lanes", "from,to,unit_cost,lead_days", [("W", "S", 1, 1), ("W", "S", 2, 1)], "row 2: the lane W-S again"),
        ("items", "sku,unit_cost,unit_price", [("A", -1, 2)], "row 1: unit_cost is -1"),
        ("stock", "location,sku,on_hand,on_hand", [("W", "A", 1, 2)], "has the column on_hand more than once"),
        ("demand", "location,sku,horizon_days,mean,q100", [("S", "A", 7, 1, 1)], "q100 is no quantile"),
        ("items", "sku,unit_cost,unit_price,pack_units", [("A", 1, 2, 0)], "row 1: pack_units is 0"),
        ("items", "sku,unit_cost,unit_price", [("A", 1, 2), ("A", 1, 2)], "row 2: sku A again"),
        ("items", "sku,unit_cost,unit_price,share", [("A", 1, 2, "most")], "share most"),
        ("demand", "location,sku,horizon_days,mean", [("S", "A", 7, 1)], "has no quantiles"),
        ("demand", "location,sku,horizon_days,mean,q50", [("S", "A", 0, 1, 1)], "row 1: horizon_days is 0"),
    ],
)
def test_wrong_files_are_named_with_the_row(case: Case, name: str, header: str, rows: list[Any], said: str) -> None:
    """What the operator got wrong is a SetupError that says where."""
    case.stock([("W", "A", 5, 0)])
    case.lanes([("W", "S", 1, 1)])
    case.write(name, header, rows)
    with pytest.raises(SetupError) as error:
        case.run()
    assert said in str(error.value)
    assert name in str(error.value)


def test_a_promise_that_cannot_leave_is_short_of_no_minimum(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """Twenty promised of ten: both are named, and no shortfall of zero is told."""
    case.stock([("W", "A", 10, 0)])
    case.lanes([("W", "S", 1, 1)])
    case.write("fixed", "from,to,sku,units", [("W", "S", "A", 20)])
    code, plan, _ = case.run("--fixed", str(case.where / "fixed.csv"))
    assert (code, plan["conflict"]) == (1, ["A: 20 are to be sent on W-S", "A: W has 10 to give"])
    assert "short by" not in capsys.readouterr().out + (case.where / "out" / "plan.html").read_text()


def test_a_missing_file_is_named(case: Case) -> None:
    """Not a traceback."""
    with pytest.raises(SetupError, match="cannot read"):
        case.run()


def test_a_file_in_another_encoding_is_named(case: Case) -> None:
    """Whatever its bytes look like as UTF-8."""
    case.lanes([("W", "S", 1, 1)])
    (case.where / "stock.csv").write_bytes("location,sku,on_hand\nW,A,1\n".encode("utf-16"))
    with pytest.raises(SetupError, match="could not read"):
        case.run()


def test_fixed_send_outs_name_their_period(case: Case) -> None:
    """Two promised for the second of two periods, over one week here and two there; what fits nowhere is refused."""
    case.stock([("W", "A", 9, 0)])
    case.lanes([("W", "S", 1, 0)])
    case.demand([("S", "A", 7, 4), ("W", "A", 14, 0)])
    case.write("fixed", "from,to,sku,units,period", [("W", "S", "A", 2, 1)])
    fixed = ("--fixed", str(case.where / "fixed.csv"))
    _, plan, rows = case.run("--periods", "2", *fixed)
    told = [(row["period"], row["quantity"], row["fixed"], row["reason"] == "promised") for row in rows]
    assert told == [(0, 4, False, False), (1, 2, True, True)]
    assert (plan["objective"], plan["transport_cost"]) == (-34, 6)  # four save 9 each, two cost 1 each
    assert [row["gain"] for row in rows] == [36, None]
    with pytest.raises(SetupError, match=r"leaves in period 1; the last one is 0"):
        case.run(*fixed)
    case.write("fixed", "from,to,sku,units,period", [("W", "S", "A", 2, 0.5)])
    with pytest.raises(SetupError, match=r"period is 0\.5"):
        case.run("--periods", "2", *fixed)
    case.write("fixed", "from,to,sku,units", [("S", "W", "A", 1)])
    with pytest.raises(SetupError, match="no lane S-W"):
        case.run(*fixed)


@pytest.mark.parametrize("periods", ["1", "2"])
def test_what_is_left_over_stays_where_it_is(case: Case, periods: str) -> None:
    """Holding costs the same at both ends: a lane that costs nothing brings the five that sell, and no more."""
    case.write("items", "sku,unit_cost,unit_price,holding_cost_rate_year", [("A", 10, 12, 0.5)])
    case.stock([("W", "A", 100, 0)])
    case.demand([("S", "A", 7, 5), ("W", "A", 28, 10)])
    case.lanes([("W", "S", 0, 0)])
    _, _, rows = case.run("--periods", periods)
    assert sum(row["quantity"] for row in rows) == 5


@pytest.mark.parametrize(("periods", "got"), [("1", 4), ("2", 8)])
def test_requests_cut_short_are_said_with_by_how_much_and_why(case: Case, periods: str, got: int) -> None:
    """Ten wanted over a lane of four a period."""
    case.stock([("W", "A", 50, 0)])
    case.demand([("S", "A", 14, 10)])
    case.lanes([("W", "S", 1, 0, 4)], "from,to,unit_cost,lead_days,capacity_units")
    _, plan, _ = case.run("--periods", periods)
    words = [f"A: S could use 10 and gets {got}: a lane to it is full"]
    assert plan["cut_short"] == {"count": 1, "words": words}
    assert words[0] in (case.where / "out" / "plan.html").read_text()


@pytest.mark.skipif(BROWSER is None, reason="no chromium here: the page is not looked at in a browser")
def test_a_browser_shows_the_page(case: Case) -> None:
    """A real one, headless: the flows are drawn within the picture, nothing is fetched, names are text."""
    five_nodes(case, 50, 50)
    case.items([("A", 1, 11), ("<img src=x onerror=alert(1)>", 1, 11)])
    case.run()
    page = (case.where / "out" / "plan.html").as_uri()
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000")
    home = f"--user-data-dir={case.where / 'profile'}"
    run = subprocess.run(
        [str(BROWSER), *options, home, "--dump-dom", page], capture_output=True, text=True, timeout=120, check=True
    )
    seen = Text()
    seen.feed(run.stdout)
    assert "Transfer plan: optimal" in seen.words
    assert seen.words.count("50 units") == 2
    assert "<img" not in run.stdout
    shot = case.where / "page.png"
    subprocess.run(
        [str(BROWSER), *options, home, f"--screenshot={shot}", "--window-size=1000,1400", page],
        capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    assert shot.read_bytes().startswith(b"\x89PNG")


def test_a_larger_problem_obeys_its_files(case: Case) -> None:
    """120 SKUs, 6 places, limited lanes: limits, stock and packs hold in what is written, and plan.json adds up."""
    rng = np.random.default_rng(7)
    skus, places = [f"k{i:03}" for i in range(120)], [f"p{i}" for i in range(6)]
    pack = rng.integers(1, 5, len(skus))
    case.items(
        [(s, 4, 10, 0.2, p, 1.5, 0.1) for s, p in zip(skus, pack, strict=True)],
        "sku,unit_cost,unit_price,holding_cost_rate_year,pack_units,weight,volume",
    )
    stock = {(s, p): int(rng.gamma(0.8, 25)) for s in skus for p in places}
    case.stock([(p, s, n, 0) for (s, p), n in stock.items()])
    case.demand([(p, s, 14, round(float(rng.gamma(2, 8)), 2)) for s in skus for p in places])
    ring = [(places[i], places[(i + d) % 6], 0.5 * d, 2 * d, 200, 260, None) for i in range(6) for d in (1, 2)]
    case.lanes(ring, "from,to,unit_cost,lead_days,capacity_units,capacity_weight,capacity_volume")
    _, plan, rows = case.run()
    sent: dict[tuple[str, str], float] = {}
    for row in rows:
        key = (row["from"], row["to"])
        sent[key] = sent.get(key, 0) + row["quantity"]
        stock[row["sku"], row["from"]] -= row["quantity"]
        assert row["quantity"] % pack[skus.index(row["sku"])] == 0
    assert max(sent.values()) * 1.5 <= 260
    assert min(stock.values()) >= 0
    assert plan["transport_cost"] == pytest.approx(sum(row["cost"] for row in rows))
    assert plan["bound"] <= plan["objective"] < 0
    assert plan["gap"] <= 0.002
    assert len(plan["duals"]) > 0
    assert sum(row["gain"] for row in rows) == pytest.approx(-plan["objective"], rel=0.02)


def test_the_same_files_give_the_same_plan(case: Case) -> None:
    """Byte for byte, but for what the run took."""
    five_nodes(case, 50, 50)
    case.run()
    first = (case.where / "out" / "transfers.parquet").read_bytes()
    told = json.loads((case.where / "out" / "plan.json").read_text())
    _, again, _ = case.run()
    assert (case.where / "out" / "transfers.parquet").read_bytes() == first
    took = {"seconds", "memory_mb"}
    assert {k: v for k, v in again.items() if k not in took} == {k: v for k, v in told.items() if k not in took}


def test_a_page_of_nothing_is_still_a_page(case: Case) -> None:
    """No stock, no lanes in use: status optimal, nothing to send, objective 0."""
    case.stock([("W", "A", 0, 0)])
    case.lanes([("W", "S", 1, 1)])
    case.demand([("S", "A", 7, 5)])
    code, plan, rows = case.run()
    assert (code, plan["status"], plan["objective"], rows) == (0, "optimal", 0, [])
    assert "None." in (case.where / "out" / "plan.html").read_text()
