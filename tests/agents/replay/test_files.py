"""Any order or cart file by mapping, and the cart presets."""

from __future__ import annotations

import gzip
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.replay.formats import records as records_module
from agents.replay.formats import values
from agents.replay.formats.catalogue import FORMATS
from agents.replay.formats.options import Options, pairs
from agents.replay.formats.reading import digests, read_sheet, repeats
from agents.replay.formats.records import records
from stream.errors import SetupError
from tests.agents.replay.files import accepted_by_contract, events_of, flat, lines_of, retail_file

MAPPED = Options(
    columns={"order_id": "o", "sku": "s", "location": "l", "quantity": "q", "occurred_at": "t", "unit_price": "p"}
)


def line(**changes: Any) -> dict[str, Any]:
    return {"o": "1", "s": "a", "l": "shop", "q": "2", "t": "2026-01-05 10:00", "p": "1.5"} | changes


def test_a_mapped_file_becomes_orders() -> None:
    """Rows of an order and instant are one event; numbers and times of text are read exactly."""
    [event] = events_of(lines_of("orders", [line(), line(s="b", q="0.125", p=None)], MAPPED))
    assert event["occurred_at"] == "2026-01-05T10:00:00.000Z"
    assert [(li["sku"], li["quantity"], li.get("unit_price")) for li in event["lines"]] == [
        ("a", 2, 1.5),
        ("b", 0.125, None),
    ]
    assert "unit_price" not in event["lines"][1]


def test_naive_times_are_local_times_of_the_given_zone() -> None:
    """The same wall clock is another instant in another zone; a time that names its zone keeps it."""
    rows = [line(o="1"), line(o="2", t="2026-01-05T10:00:00+05:30"), line(o="3", t="2026-01-05 10:00:00 UTC")]
    options = Options(columns=MAPPED.columns, timezone="America/New_York")
    assert {e["order_id"]: e["occurred_at"] for e in events_of(lines_of("orders", rows, options))} == {
        "1": "2026-01-05T15:00:00.000Z",
        "2": "2026-01-05T04:30:00.000Z",
        "3": "2026-01-05T10:00:00.000Z",
    }


def test_summer_time_is_looked_up_row_by_row() -> None:
    """London noon is 12:00 UTC in winter and 11:00 in summer; the hour that happens twice is the first of them."""
    local = pa.array([datetime(2011, 1, 5, 12), datetime(2011, 7, 5, 12), datetime(2011, 10, 30, 1, 30)])
    utc = values.instants(local, "Europe/London").values.astype("M8[ms]").astype("M8[m]").astype(str)
    assert utc.tolist() == ["2011-01-05T12:00", "2011-07-05T11:00", "2011-10-30T00:30"]


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({"q": "six"}, "quantity"),
        ({"q": "-1"}, "quantity"),
        ({"q": "0.0001"}, "quantity"),
        ({"q": None}, "quantity"),
        ({"p": "free"}, "unit_price"),
        ({"p": "-3"}, "unit_price"),
        ({"s": None}, "sku"),
        ({"s": ""}, "sku"),
        ({"l": None}, "location"),
    ],
)
def test_a_bad_row_is_sent_alone_and_as_it_stands(bad: dict[str, Any], field: str) -> None:
    """The order's good rows go together; the bad one says what the file says."""
    events = events_of(lines_of("orders", [line(), line(**({"s": "x"} | bad)), line(s="b")], MAPPED))
    assert sorted(len(event["lines"]) for event in events) == [1, 2]
    [alone] = [event["lines"][0] for event in events if len(event["lines"]) == 1]
    assert alone[field] == next(iter(bad.values()))


def test_a_row_without_a_time_keeps_its_place() -> None:
    """It is published beside the row before it, with the text the file has."""
    rows = [line(o="1"), line(o="2", t="yesterday"), line(o="3", t="2026-01-06 10:00")]
    assert [(e["order_id"], e["occurred_at"]) for e in events_of(lines_of("orders", rows, MAPPED))] == [
        ("1", "2026-01-05T10:00:00.000Z"),
        ("2", "yesterday"),
        ("3", "2026-01-06T10:00:00.000Z"),
    ]


def test_a_missing_mapping_names_the_columns_there_are() -> None:
    """The error is enough to write the right command."""
    with pytest.raises(SetupError) as wrong:
        lines_of("orders", [line()], Options(columns={"sku": "s"}))
    assert "quantity, occurred_at" in str(wrong.value)
    assert "o, s, l, q, t, p" in str(wrong.value)
    with pytest.raises(SetupError, match="no column 'zz'"):
        lines_of("orders", [line()], Options(columns={**MAPPED.columns, "sku": "zz"}))


def test_long_orders_are_cut_and_copies_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part has an identity of its own, and a copy of a line has that of the part its first is in."""
    monkeypatch.setattr("agents.replay.formats.orders.EVENT_LINES", 2)
    rows = [line(s=s) for s in "abcde"] + [line(s="d")]
    events = events_of(lines_of("orders", rows, MAPPED))
    assert [[li["sku"] for li in e["lines"]] for e in events] == [["a", "b"], ["c", "d"], ["e"], ["d"]]
    assert events[3]["event_id"] == events[1]["event_id"]
    assert len({e["event_id"] for e in events}) == 3


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.builds(
            line,
            o=st.sampled_from(["1", "2", "long" * 64, None]),
            s=st.sampled_from(["a", "b", "", "long" * 65, None]),
            l=st.sampled_from(["shop", None]),
            q=st.sampled_from(["1", "2", "-1", "x", None, "1e3"]),
            p=st.sampled_from(["1", "-1", "1e13", None]),
            c=st.sampled_from(["x\x00", "7", None]),
            i=st.sampled_from(["1", "2", "3"]),
            t=st.sampled_from(["2026-01-05 10:00", "2026-01-05 09:00", "1850-01-01", "soon", None]),
        ),
        min_size=1,
        max_size=20,
    ),
    st.integers(1, 7),
    st.sampled_from([{}, {"line_id": "i"}, {"customer_id": "c", "cart_id": "c"}]),
)
def test_every_row_is_sent_or_counted_wherever_slices_are_cut(
    rows: list[dict[str, Any]], slice_rows: int, more: dict[str, str]
) -> None:
    """Rows read = rows sent + counted, in order of time; the contract takes exactly the good rows."""
    lines = lines_of("orders", rows, Options(columns={**MAPPED.columns, **more}))
    whole = list(records(lines))
    refused, repeated = lines.counted_here()
    assert sum(record.rows for record in whole) + refused.total() + repeated == len(rows)
    assert [r.at_ms for r in whole] == sorted(r.at_ms for r in whole)
    assert sum(r.rows for r in whole if accepted_by_contract(r)) == (lines.good & lines.published).sum()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(records_module, "SLICE_ROWS", slice_rows)
        assert list(records(lines)) == whole


def test_csv_keeps_text_and_counts_broken_rows(tmp_path: Path) -> None:
    """Codes keep leading zeros and letters that come late; a row of the wrong length is refused, not lost."""
    text = 'o,s,l,q,t,p\n1,007,"shop, 1",2,2026-01-05 10:00,\n2,B,x\nC3,"a ""b""",s,1,2026-01-05 11:00,2\n'
    path = tmp_path / "sales.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    sheet = read_sheet(path)
    lines = FORMATS["orders"].lines(sheet, MAPPED)
    assert sheet.rows == 3
    assert lines.counted_here() == ({"unreadable_row": 1}, 0)
    assert [(e["order_id"], e["lines"][0]["sku"]) for e in events_of(lines)] == [("1", "007"), ("C3", 'a "b"')]


@pytest.mark.parametrize("name", ["gone.csv", "broken.parquet"])
def test_a_file_that_cannot_be_read_says_so(tmp_path: Path, name: str) -> None:
    """No such file, or not what its name says: an error with a hint."""
    (tmp_path / "broken.parquet").write_text("not parquet")
    with pytest.raises(SetupError) as wrong:
        read_sheet(tmp_path / name)
    assert wrong.value.hint


@pytest.mark.parametrize(
    ("name", "encoding", "line"),
    [("sales.csv", "utf-16", 1), ("sales.csv", "cp1252", 3), ("sales.csv.gz", "cp1252", 3)],
)
def test_text_in_another_encoding_is_refused_with_its_line_and_read_by_its_name(
    tmp_path: Path, name: str, encoding: str, line: int
) -> None:
    """Nothing of it is read in part, whatever its rows look like; `--encoding` is the remedy."""
    path = tmp_path / name
    raw = "o,s\n1,a\n2,café,1\n3,ñ\n".encode(encoding)
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    with pytest.raises(SetupError) as wrong:
        read_sheet(path)
    assert f"line {line} is not utf-8" in wrong.value.detail
    assert "--encoding" in wrong.value.hint
    sheet = read_sheet(path, encoding=encoding)
    assert (sheet.column("s").to_pylist(), sheet.unreadable_rows) == (["a", "ñ"], 1)


@pytest.mark.parametrize("encoding", ["klingon", "hex"])
def test_what_is_no_encoding_of_text_says_so(tmp_path: Path, encoding: str) -> None:
    """An error of ours, not of a codec."""
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    with pytest.raises(SetupError, match="could not read"):
        read_sheet(tmp_path / "a.csv", encoding=encoding)


def test_digests_tell_rows_apart_that_join_alike() -> None:
    """Null, the empty string and a separator inside a text are different things."""
    table = pa.table({"a": ["x\x1f", "x", None, ""], "b": ["y", "\x1fy", "", None]})
    first, copy = repeats(digests(table))
    assert first.tolist() == [0, 1, 2, 3]
    assert copy.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("text", ["a", "a=", "=b", "nope=b"])
def test_a_wrong_mapping_is_refused(text: str) -> None:
    """An option that cannot be meant is an error, not a guess."""
    with pytest.raises(SetupError):
        pairs(text, ("order_id",))


@settings(max_examples=100, deadline=None)
@given(st.integers(-(10**12), 10**12))
def test_quantities_are_exact_in_every_form(milli: int) -> None:
    """Thousandths come back whether a file holds a float or its text."""
    units = milli / 1000
    for column in (pa.array([units]), pa.array([repr(units)])):
        exact, good = values.millis(column)
        assert good.all()
        assert exact.tolist() == [milli]


@pytest.mark.data
def test_jd_actions_add_up() -> None:
    """Each action becomes its event; `follow` is refused; later exact duplicates are sent as repeats."""
    path = retail_file("jdata_cart_actions.parquet")
    lines = FORMATS["jd-actions"].lines(read_sheet(path), Options())
    frame = pd.read_parquet(path)
    again = frame.duplicated()
    counts = frame[~again].event.value_counts()
    sent = flat(records(lines))
    seen = pd.DataFrame(sent).drop_duplicates(["event_id", "line_id"]).type.value_counts()
    assert seen.to_dict() == {
        "cart.item_viewed": counts["click"] + counts["browse"],
        "cart.item_added": counts["add_to_cart"],
        "cart.item_removed": counts["remove_from_cart"],
        "order.placed": counts["order"],
    }
    refused, repeated = lines.counted_here()
    assert refused == {"not_a_cart_event": counts["follow"]}
    assert len(sent) - seen.sum() + repeated == again.sum() == 23_870
    order = next(e for e in sent if e["type"] == "order.placed")
    assert order["cart_id"] == order["customer_id"]
    assert np.all(np.diff([e["at_ms"] for e in sent]) >= 0)
    first = pd.Timestamp(sent[0]["at_ms"], unit="ms", tz="UTC")
    assert first == pd.Timestamp("2016-01-31 23:59:02", tz="Asia/Shanghai")


@pytest.mark.data
def test_rees46_actions_add_up() -> None:
    """Views, carts and purchases; a purchase carries its price and the session as cart."""
    path = retail_file("rees46_clickstream.parquet")
    lines = FORMATS["rees46"].lines(read_sheet(path), Options())
    frame = pd.read_parquet(path)
    sent = flat(records(lines))
    assert pd.Series([e["type"] for e in sent]).value_counts().to_dict() == {
        "cart.item_viewed": (frame.event_type == "view").sum(),
        "cart.item_added": (frame.event_type == "cart").sum(),
        "order.placed": (frame.event_type == "purchase").sum(),
    }
    bought = [e for e in sent if e["type"] == "order.placed"]
    assert sum(e["unit_price"] for e in bought) == pytest.approx(frame[frame.event_type == "purchase"].price.sum())
    assert {e["cart_id"] for e in bought} == set(frame[frame.event_type == "purchase"].user_session)


def test_a_cart_file_needs_its_columns_and_known_actions() -> None:
    """`carts` maps words to actions; an unmapped word is refused row by row, an unknown action at once."""
    rows = [{"c": "1", "s": "a", "w": w, "t": "2026-01-05 10:00"} for w in ("look", "buy", "wave")]
    columns = {"cart_id": "c", "sku": "s", "action": "w", "occurred_at": "t"}
    lines = lines_of("carts", rows, Options(columns=columns, actions={"look": "view", "buy": "order"}))
    assert [e["type"] for e in events_of(lines)] == ["cart.item_viewed", "order.placed"]
    assert lines.counted_here() == ({"not_a_cart_event": 1}, 0)
    with pytest.raises(SetupError, match="no such action"):
        lines_of("carts", rows, Options(columns=columns, actions={"look": "stare"}))
    with pytest.raises(SetupError, match="no column is mapped"):
        lines_of("carts", rows)


def test_a_column_with_a_fields_name_needs_no_mapping() -> None:
    """As in a backtest; what is mapped goes before it."""
    row = {"order_id": "1", "sku": "a", "quantity": "2", "occurred_at": "2026-01-05 10:00", "code": "b"}
    assert [e["lines"][0]["sku"] for e in events_of(lines_of("orders", [row], Options()))] == ["a"]
    assert [e["lines"][0]["sku"] for e in events_of(lines_of("orders", [row], Options(columns={"sku": "code"})))] == [
        "b"
    ]


@pytest.mark.parametrize("text", ["1709287200", "1709287200000"])
def test_seconds_and_milliseconds_are_read_from_text_too(text: str) -> None:
    """A CSV file has nothing but text."""
    assert values.instants(pa.array([text]), "UTC").values.tolist() == [1_709_287_200_000]


@pytest.mark.parametrize("late", ["13/02/2026 10:00", "13.02.2026"])
def test_a_column_of_times_with_the_day_first_is_refused_whole(late: str) -> None:
    """Else 03/02/2026 would be the 2nd of March without a word, and only days after the 12th be missed."""
    with pytest.raises(SetupError, match="day before the month") as wrong:
        lines_of("orders", [line(t="03/02/2026 10:00"), line(t=late)], MAPPED)
    assert "--time-format '%d" in str(wrong.value)
    told = Options(columns=MAPPED.columns, time_format="%d/%m/%Y %H:%M")
    [event] = events_of(lines_of("orders", [line(t="03/02/2026 10:00")], told))
    assert event["occurred_at"] == "2026-02-03T10:00:00.000Z"


def test_two_columns_of_one_name_are_told_apart_by_the_user(tmp_path: Path) -> None:
    """They are no matter until one of them is asked for."""
    file = tmp_path / "twice.csv"
    file.write_text("s,q,q\na,1,2\n")
    sheet = read_sheet(file)
    assert sheet.column("s").to_pylist() == ["a"]
    with pytest.raises(SetupError, match="2 columns 'q'"):
        sheet.column("q")


@pytest.mark.parametrize("delimiter", ["", ";;"])
def test_a_delimiter_is_one_character(tmp_path: Path, delimiter: str) -> None:
    """Said in our words, before the file is read."""
    file = tmp_path / "a.csv"
    file.write_text("s\na\n")
    with pytest.raises(SetupError, match="--delimiter"):
        read_sheet(file, delimiter)
