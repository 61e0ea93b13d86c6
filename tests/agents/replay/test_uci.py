"""UCI Online Retail: every row has one fate, and the sums are those of a straight pandas count."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.replay.formats.lines import Lines
from agents.replay.formats.options import Options
from agents.replay.formats.reading import read_sheet
from agents.replay.formats.records import Record, records
from agents.replay.formats.uci import lines_of_uci
from tests.agents.replay.files import accepted_by_contract, events_of, flat, lines_of, retail_file, units_by_type

NOON = datetime(2011, 7, 1, 12, 0)


def row(**changes: Any) -> dict[str, Any]:
    """A good line: six of a product sold to a named customer."""
    return {
        "InvoiceNo": "536365",
        "StockCode": "85123A",
        "Description": "T-LIGHT HOLDER",
        "Quantity": 6,
        "InvoiceDate": NOON,
        "UnitPrice": 2.55,
        "CustomerID": 17850.0,
        "Country": "United Kingdom",
    } | changes


def uci(*rows: dict[str, Any], **options: Any) -> Lines:
    return lines_of("uci-online-retail", rows, Options(**options))


class Whole(NamedTuple):
    lines: Lines
    sent: list[Record]
    flat: list[dict[str, Any]]  # one entry a published line
    frame: pd.DataFrame


@pytest.fixture(scope="module")
def whole() -> Whole:
    path = retail_file("online_retail_2010_2011.parquet")
    lines = lines_of_uci(read_sheet(path), Options())
    frame = pd.read_parquet(path)
    frame["code"] = frame.StockCode.str.upper()
    frame["again"] = frame.drop(columns="code").duplicated()
    sent = list(records(lines))
    return Whole(lines, sent, flat(sent), frame)


@pytest.mark.data
def test_every_row_of_the_file_has_one_fate(whole: Whole) -> None:
    """Rows read = rows in records + rows refused or repeated by the replay itself."""
    lines, sent, _, frame = whole
    refused, repeated = lines.counted_here()
    assert sum(record.rows for record in sent) + refused.total() + repeated == len(frame) == 541_909


@pytest.mark.data
def test_what_is_refused_and_repeated_is_what_pandas_counts(whole: Whole) -> None:
    """Repeats are the later exact duplicates; of the others, bad debt and codes that are no products are refused."""
    lines, _, lines_sent, frame = whole
    refused, repeated = lines.counted_here()
    once = frame[~frame.again]
    bad_debt = once.InvoiceNo.str.startswith("A")
    non_product = ~once.code.str.match(r"^\d{5}") & ~bad_debt
    assert refused == {"bad_debt": bad_debt.sum(), "non_product": non_product.sum()}

    seen: Counter[tuple[str, str]] = Counter((li["event_id"], li.get("line_id", "")) for li in lines_sent)
    assert repeated + seen.total() - len(seen) == frame.again.sum() == 5_268


@pytest.mark.data
def test_units_by_sku_are_those_of_pandas(whole: Whole) -> None:
    """Ordered, cancelled with returned, written off and adjusted units a SKU are group sums of the file."""
    _, _, lines_sent, frame = whole
    good = frame[~frame.again & frame.code.str.match(r"^\d{5}") & ~frame.InvoiceNo.str.startswith("A")]
    back = good.InvoiceNo.str.startswith("C")
    sold = (good.Quantity > 0) & (good.UnitPrice > 0)
    found = (good.Quantity > 0) & (good.UnitPrice == 0)
    expected = {
        "ordered": good[sold],
        "back": good[back],
        "written_off": good[~back & (good.Quantity < 0)],
        "adjusted": good[found].assign(Quantity=good.Quantity.where(good.CustomerID.isna(), -good.Quantity)),
    }
    names = {
        "order.placed": "ordered",
        "order.cancelled": "back",
        "order.returned": "back",
        "stock.written_off": "written_off",
        "stock.adjusted": "adjusted",
    }
    frame_sent = pd.DataFrame(lines_sent).drop_duplicates(["event_id", "line_id"])
    frame_sent["kind"] = frame_sent.type.map(names)
    for kind, part in expected.items():
        units = part.groupby("code").Quantity.sum().abs() if kind != "adjusted" else part.groupby("code").Quantity.sum()
        ours = frame_sent[frame_sent.kind == kind].groupby("sku").quantity.sum()
        pd.testing.assert_series_equal(ours, units, check_names=False, check_dtype=False, check_index_type=False)


@pytest.mark.data
def test_records_go_out_in_order_of_event_time(whole: Whole) -> None:
    """Event time never goes back, and the first and last are the file's own, UK local time as UTC."""
    _, sent, _, _ = whole
    times = [record.at_ms for record in sent]
    assert times == sorted(times)
    assert pd.Timestamp(times[0], unit="ms") == pd.Timestamp("2010-12-01 08:26")
    assert pd.Timestamp(times[-1], unit="ms") == pd.Timestamp("2011-12-09 12:50")


@pytest.mark.data
def test_the_contract_takes_every_record(whole: Whole) -> None:
    """The file has no line that intake would refuse."""
    _, sent, _, _ = whole
    assert all(accepted_by_contract(record) for record in sent)


@pytest.mark.data
def test_a_cancellation_undoes_a_sale_that_was_sent_before(whole: Whole) -> None:
    """Each cancelled line names an earlier placed line of the same SKU, and never more units than it had."""
    _, _, lines_sent, _ = whole
    left: dict[tuple[str, str], list[Any]] = {}
    cancelled = 0
    seen = set()
    for line in lines_sent:
        name = (line["event_id"], line.get("line_id", ""))
        if name in seen:
            continue
        seen.add(name)
        if line["type"] == "order.placed":
            left[line["order_id"], line["line_id"]] = [line["quantity"], line["sku"], line["at_ms"]]
        elif line["type"] == "order.cancelled":
            sale = left[line["order_id"], line["line_id"]]
            sale[0] -= line["quantity"]
            assert sale[0] >= 0
            assert sale[1] == line["sku"]
            assert 0 <= line["at_ms"] - sale[2] <= timedelta(hours=24).total_seconds() * 1000
            cancelled += 1
    assert cancelled == 809


def test_lines_of_one_invoice_and_minute_are_one_order() -> None:
    """An order carries all its lines, codes upper-cased, with price, customer and the instant in UTC."""
    lines = uci(row(), row(StockCode="71053b", UnitPrice=3.39))
    [event] = events_of(lines)
    assert {k: event[k] for k in ("type", "order_id", "customer_id", "occurred_at", "fulfilled")} == {
        "type": "order.placed",
        "order_id": "536365",
        "customer_id": "17850",
        "occurred_at": "2011-07-01T11:00:00.000Z",  # noon of British summer time
        "fulfilled": True,
    }
    assert [(li["sku"], li["location"], li["quantity"], li["unit_price"]) for li in event["lines"]] == [
        ("85123A", "UK", 6, 2.55),
        ("71053B", "UK", 6, 3.39),
    ]


def test_an_exact_copy_is_sent_again_under_the_same_identity() -> None:
    """Three equal rows are three records with one event_id and line_id; another line stays with the first."""
    events = events_of(uci(row(), row(StockCode="71053"), row(), row()))
    assert [len(event["lines"]) for event in events] == [2, 1, 1]
    assert len({event["event_id"] for event in events}) == 1
    assert len({event["lines"][0]["line_id"] for event in events}) == 1


@pytest.mark.parametrize(
    ("changes", "type", "quantity"),
    [
        ({"Quantity": -5, "UnitPrice": 0.0, "CustomerID": None, "Description": "damaged"}, "stock.written_off", 5),
        ({"Quantity": 7, "UnitPrice": 0.0, "CustomerID": None, "Description": "found"}, "stock.adjusted", 7),
        ({"Quantity": 1, "UnitPrice": 0.0}, "stock.adjusted", -1),
        ({"InvoiceNo": "C536379", "Quantity": -4}, "order.returned", 4),
    ],
)
def test_lines_that_are_no_sale(changes: dict[str, Any], type: str, quantity: int) -> None:
    """Write-offs, found stock, gifts and returns become what they are, with the sign their event asks for."""
    [event] = events_of(uci(row(**changes)))
    told = event if type.startswith("stock.") else event["lines"][0]
    assert (event["type"], told["quantity"]) == (type, quantity)
    assert event.get("reason") == ("damaged" if type == "stock.written_off" else None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"StockCode": "POST"}, "non_product"),
        ({"StockCode": "m", "InvoiceNo": "C1", "Quantity": -1}, "non_product"),
        ({"InvoiceNo": "C5", "Quantity": 1}, "cancels_nothing"),
        ({"InvoiceNo": "A563185", "StockCode": "B", "UnitPrice": 11062.06}, "bad_debt"),
    ],
)
def test_lines_refused_by_rule(changes: dict[str, Any], reason: str) -> None:
    """What is no product or no sale at all is refused by the replay; a copy of it is a repeat."""
    lines = uci(row(**changes), row(), row(**changes))
    assert lines.counted_here() == ({reason: 1}, 1)
    assert len(events_of(lines)) == 1


def test_a_cancellation_within_the_window_names_the_sale() -> None:
    """Same customer and code, units still there: the event carries order and line of the sale; both parts add up."""
    lines = uci(
        row(),
        row(InvoiceNo="C9", Quantity=-4, InvoiceDate=NOON + timedelta(hours=1)),
        row(InvoiceNo="C9", Quantity=-2, InvoiceDate=NOON + timedelta(hours=1)),
        row(InvoiceNo="C9", Quantity=-1, InvoiceDate=NOON + timedelta(hours=1)),
    )
    sale, *undone = events_of(lines)
    cancelled = [event for event in undone if event["type"] == "order.cancelled"]
    assert sorted(event["lines"][0]["quantity"] for event in cancelled) in ([1, 2], [1, 4], [2, 4])
    assert {(event["order_id"], event["lines"][0]["line_id"]) for event in cancelled} == {
        (sale["order_id"], sale["lines"][0]["line_id"])
    }
    assert len({event["event_id"] for event in undone}) == 3  # none is taken for a repeat of another
    assert sum(event["lines"][0]["quantity"] for event in undone) == 7


@pytest.mark.parametrize(
    "changes",
    [
        {"InvoiceDate": NOON + timedelta(hours=25)},
        {"CustomerID": 1.0},
        {"CustomerID": None},
        {"StockCode": "71053"},
        {"Quantity": -7},
        {"InvoiceDate": NOON - timedelta(minutes=1)},
    ],
)
def test_what_matches_no_sale_is_a_return(changes: dict[str, Any]) -> None:
    """Too late, another or no customer, another code, too many units, before the sale: it comes back as a return."""
    undo = {"InvoiceNo": "C9", "Quantity": -4, "InvoiceDate": NOON + timedelta(hours=1)} | changes
    types = {event["type"] for event in events_of(uci(row(), row(**undo)))}
    assert types == {"order.placed", "order.returned"}


def test_the_window_is_an_option() -> None:
    """A wider window makes a cancellation of what was a return."""
    late = row(InvoiceNo="C9", Quantity=-6, InvoiceDate=NOON + timedelta(hours=25))
    assert events_of(uci(row(), late, cancel_window_hours=48))[1]["type"] == "order.cancelled"


@pytest.mark.parametrize(
    ("changes", "field", "as_it_stands"),
    [
        ({"Quantity": 0}, "quantity", 0),
        ({"UnitPrice": -1.5}, "unit_price", -1.5),
        ({"Quantity": None}, "quantity", None),
    ],
)
def test_a_bad_line_goes_alone_and_as_it_stands(changes: dict[str, Any], field: str, as_it_stands: Any) -> None:
    """A bad row does not travel with its order's good ones, and is not repaired on the way."""
    events = events_of(uci(row(), row(StockCode="71053", **changes), row(StockCode="22633")))
    assert sorted(len(event["lines"]) for event in events) == [1, 2]
    [bad] = [event for event in events if len(event["lines"]) == 1]
    assert bad["lines"][0][field] == as_it_stands


ROWS = st.builds(
    row,
    InvoiceNo=st.sampled_from(["536365", "536366", "C9", "C10", "A1"]),
    StockCode=st.sampled_from(["85123A", "85123a", "71053", "POST"]),
    Quantity=st.integers(-4, 5),
    InvoiceDate=st.integers(0, 3).map(lambda n: NOON + timedelta(minutes=n)),
    UnitPrice=st.sampled_from([0.0, 2.55, -1.0]),
    CustomerID=st.sampled_from([17850.0, 1.0, None]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=25))
def test_small_files_add_up(rows: list[dict[str, Any]]) -> None:
    """Whatever the file: rows are sent, refused or repeated, and `C` units accepted are cancelled plus returned."""
    lines = uci(*rows)
    sent = list(records(lines))
    refused, repeated = lines.counted_here()
    assert sum(record.rows for record in sent) + refused.total() + repeated == len(rows)
    assert sum(r.rows for r in sent if accepted_by_contract(r)) == (lines.good & lines.published).sum()

    once = pd.DataFrame(rows).drop_duplicates()
    good = once[(once.Quantity < 0) & (once.UnitPrice >= 0) & (once.StockCode != "POST")]
    undone = good[good.InvoiceNo.str.startswith("C")]
    units = units_by_type(record for record in sent if accepted_by_contract(record))
    assert units["order.cancelled"] + units["order.returned"] == -undone.Quantity.sum()


@settings(max_examples=100, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=12).flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(rows))))
def test_rows_of_a_file_may_come_in_any_order(files: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> None:
    """A file with its rows shuffled says the same: same lines with the same identities and units."""
    rows, shuffled = files
    one, other = (Counter(map(repr, map(canonical, flat(records(uci(*f)))))) for f in (rows, shuffled))
    assert one == other


def canonical(line: dict[str, Any]) -> list[tuple[str, Any]]:
    # customer is said once an event: of an invoice with two customers it is that of the first line
    return sorted((k, v) for k, v in line.items() if k != "customer_id")
