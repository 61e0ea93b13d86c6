"""What is sent when: ticks never run ahead of what is still to be sent, additions come at their time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import cli
from agents.replay import command, run
from agents.replay.dates import dates_of, refuse_future, refuse_old
from agents.replay.formats import catalogue
from agents.replay.formats.lines import What
from agents.replay.formats.options import Options
from agents.replay.formats.records import Record
from agents.replay.opening import opening_stock, parse_opening
from agents.replay.supplier import Supplier, parse_lead
from agents.replay.timeline import DAY_MS, HOUR_MS, Tick, Timeline, day_end_ms, day_start_ms
from agents.settings import load
from stream.errors import SetupError
from tests.agents.replay.files import accepted_by_contract, lines_of
from tests.agents.replay.test_files import MAPPED, line

T0 = 1_300_000_000_000  # 2011-03-13 07:06:40 UTC
MIDNIGHT = T0 - T0 % DAY_MS


def record(at_ms: int, rows: int = 1, key: str = "k") -> Record:
    return Record(at_ms, "orders", key, b"{}", rows, What.PLACED)


TIMES = st.lists(st.integers(0, 100 * HOUR_MS).map(lambda ms: T0 + ms), min_size=1, max_size=30).map(sorted)


@settings(max_examples=200, deadline=None)
@given(TIMES, TIMES, st.sampled_from([HOUR_MS, 6 * HOUR_MS, DAY_MS]))
def test_a_tick_stands_between_what_was_before_it_and_what_is_not(
    file: list[int], added: list[int], interval_ms: int
) -> None:
    """Everything sent before a tick of T is before T, everything after it at T or later; nothing is lost."""
    until_ms = max(file) + HOUR_MS
    timeline = Timeline(map(record, file), interval_ms, T0, until_ms)
    for at_ms in added:
        timeline.add(record(at_ms, 0, "added"))
    tick_ms, sent, ticks = None, [], []
    for one in timeline:
        if isinstance(one, Tick):
            assert tick_ms is None or one.at_ms > tick_ms
            assert all(r.at_ms < one.at_ms for r in sent)
            tick_ms = one.at_ms
            ticks.append(tick_ms)
        else:
            assert one.at_ms >= (tick_ms or 0)
            sent.append(one)
    assert tick_ms == until_ms
    assert ticks[0] == T0
    assert [r.at_ms for r in sent if r.key == "k"] == file
    assert [r.at_ms for r in sent if r.key == "added"] == [ms for ms in added if ms <= until_ms]
    assert [r.at_ms for r in sent] == sorted(r.at_ms for r in sent)


def test_ticks_come_at_whole_intervals_and_by_the_day_through_a_silence() -> None:
    """A week is ticked by the hour; of a year nothing happens in, all but the last fortnight by the day."""
    hourly = [
        one.at_ms for one in Timeline(iter([record(T0)]), HOUR_MS, MIDNIGHT, T0 + 7 * DAY_MS) if isinstance(one, Tick)
    ]
    assert all(ms % HOUR_MS == 0 for ms in hourly[:-1])
    assert len(hourly) == 7 + 7 * 24 + 2  # midnight, to the record, its week, the closing one
    silent = [
        one for one in Timeline(iter([record(T0)]), HOUR_MS, MIDNIGHT, T0 + 365 * DAY_MS) if isinstance(one, Tick)
    ]
    assert 351 + 13 * 24 <= len(silent) <= 361 + 14 * 24


def test_what_is_added_at_a_tick_is_sent_at_its_time() -> None:
    """A supplier may answer in the moment of a tick; an answer from before it is our mistake."""
    timeline = Timeline(iter([record(T0), record(T0 + 5 * HOUR_MS)]), HOUR_MS, T0, T0 + 6 * HOUR_MS)
    order = []
    for one in timeline:
        order.append((one.at_ms, isinstance(one, Tick)))
        if isinstance(one, Tick) and len(order) == 3:
            timeline.add(record(one.at_ms, 0))
            timeline.add(record(one.at_ms + 90_000, 0))
            timeline.add(record(T0 + 9 * HOUR_MS, 0))  # after the end: never sent
            answered_ms = one.at_ms
    assert (answered_ms, False) in order
    assert (answered_ms + 90_000, False) in order
    assert max(ms for ms, _ in order) == T0 + 6 * HOUR_MS
    with pytest.raises(AssertionError, match="before the last tick"):
        timeline.add(record(T0))


def test_without_an_interval_nothing_is_ticked() -> None:
    """By the wall clock a replay sends events only."""
    sent = list(Timeline(iter([record(T0), record(T0 + DAY_MS)]), None, T0, T0 + 2 * DAY_MS))
    assert [one.at_ms for one in sent] == [T0, T0 + DAY_MS]


def test_days_are_local() -> None:
    """The day summer time begins in London has 23 hours."""
    noon = int(datetime(2011, 3, 27, 12, tzinfo=UTC).timestamp() * 1000)
    assert day_end_ms(noon, "Europe/London") - day_start_ms(noon, "Europe/London") == 23 * HOUR_MS


def test_opening_stock_is_received_once_a_row_before_the_first_day() -> None:
    """N units of each SKU-location, or N days at the mean of its own first four weeks, rounded up to whole units."""
    rows = [
        line(s="a", q="3", t="2026-01-05 10:00"),
        line(s="a", q="4", t="2026-01-20 10:00"),
        line(s="a", q="1000", t="2026-03-20 10:00"),  # after its first four weeks
        line(s="b", q="28", t="2026-02-05 10:00"),
        line(s="c", q="-1", t="2026-02-05 10:00"),  # refused: nothing is known of it
    ]
    lines = lines_of("orders", [row | {"o": str(n)} for n, row in enumerate(rows)], MAPPED)

    def received(text: str) -> dict[str, float]:
        receipts = list(opening_stock(lines, parse_opening(text), T0, "f"))
        events = [orjson.loads(r.value) for r in receipts]
        assert all(r.rows == 0 and r.at_ms == T0 and r.topic == "stock-movements" for r in receipts)
        assert {e["type"] for e in events} <= {"stock.received"}
        assert len({e["event_id"] for e in events}) == len(events)
        return {e["sku"]: e["quantity"] for e in events}

    assert received("40") == {"a": 40, "b": 40}
    assert received("days:21") == {"a": 6, "b": 21}  # 7 units in 28 days are 5.25 in 21
    assert received("0") == {}


@pytest.mark.parametrize("text", ["many", "days:", "-1", "days:-3"])
def test_opening_stock_that_cannot_be_meant_is_refused(text: str) -> None:
    """An option that cannot be read is an error with an example."""
    with pytest.raises(SetupError) as wrong:
        parse_opening(text)
    assert "days:21" in wrong.value.hint


def test_a_supplier_answers_in_event_time_and_always_the_same() -> None:
    """Ordered, confirmed, received after the lead time, all naming the replenishment; drawn from its id alone."""
    proposal = {"replenishment_id": "r1", "sku": "a", "location": "shop", "quantity": 12}
    answers = list(Supplier(7.0, 2.0).answer(proposal, T0, T0 + DAY_MS))
    events = [orjson.loads(a.value) for a in answers]
    assert [e["type"] for e in events] == ["supply.ordered", "supply.confirmed", "stock.received"]
    assert [a.at_ms for a in answers] == sorted(a.at_ms for a in answers)
    assert answers[0].at_ms == T0
    assert events[1]["expected_at"] == events[2]["occurred_at"]
    assert {e["quantity"] for e in events} == {12}
    assert events[0]["replenishment_id"] == "r1"
    assert events[2]["reference"] == events[0]["order_ref"]
    assert answers == list(Supplier(7.0, 2.0).answer(proposal, T0, T0 + DAY_MS))
    assert list(Supplier(0.0, 0.0).answer(proposal, T0, T0 + DAY_MS))[2].at_ms == T0 + DAY_MS
    for answer, event in zip(answers, events, strict=True):
        assert accepted_by_contract(answer._replace(what=_Said(event["type"])))  # type: ignore[arg-type]


class _Said:
    def __init__(self, type: str) -> None:
        self.type = type


def test_lead_times_scatter_as_asked() -> None:
    """Over many replenishments mean and standard deviation are those asked for; none is instant."""
    days = [Supplier(7.0, 2.0).lead_days_of(f"r{n}") for n in range(4_000)]
    mean = sum(days) / len(days)
    sd = (sum((d - mean) ** 2 for d in days) / len(days)) ** 0.5
    assert abs(mean - 7.0) < 0.1
    assert abs(sd - 2.0) < 0.1
    assert min(Supplier(0.0, 0.0).lead_days_of(f"r{n}") for n in range(10)) == 0.25
    with pytest.raises(SetupError):
        parse_lead("soon")


def test_dates_say_what_is_wrong_with_them() -> None:
    """Order, gaps, missing and future times are counted and said."""
    rows = [
        line(o="1", t="2026-01-05 10:00"),
        line(o="2", t="2026-01-04 10:00"),
        line(o="3", t="2026-03-04 10:00"),
        line(o="4", t="soon"),
        line(o="5", t="2030-01-01 10:00"),
    ]
    now_ms = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp() * 1000)
    found = dates_of(lines_of("orders", rows, MAPPED), now_ms, 300_000)
    assert (found.rows, found.undated_rows, found.backward_rows, found.future_rows) == (5, 1, 1, 1)
    assert [round((b - a) / DAY_MS) for a, b in found.gaps] == [1399, 58]
    said = "\n".join(found.sentences())
    assert "5 rows from 2026-01-04T10:00:00.000Z to 2030-01-01T10:00:00.000Z" in said
    with pytest.raises(SetupError, match="lie in the future"):
        refuse_future(found, anyway=False)
    refuse_future(found, anyway=True)
    with pytest.raises(SetupError, match="too old for the wall clock"):
        refuse_old(found, now_ms, 30)


@pytest.mark.parametrize("rows", [[line(t="soon")], []])
def test_a_file_without_dates_is_refused(rows: list[dict[str, str]]) -> None:
    """Nothing to publish, or no time that can be read: an error that says what to try."""
    columns = Options(columns={"sku": "s", "quantity": "q", "occurred_at": "t"})
    table = pa.table({name: pa.array([r[name] for r in rows], pa.utf8()) for name in "sqt"})
    with pytest.raises(SetupError) as wrong:
        dates_of(lines_of("orders", table, columns), T0, 0)
    assert wrong.value.hint


class _Clock:
    """Time that passes only while somebody waits."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def steady_s(self) -> float:
        return self.now_s

    def poll(self, wait_s: float) -> None:
        self.now_s += wait_s


def test_speed_is_event_time_over_wall_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 60x an hour takes a minute, counted from the first event; `max` waits for nothing."""
    clock = _Clock()
    monkeypatch.setattr(run, "clock", clock)
    wait = run._pace(60.0, clock)  # type: ignore[arg-type]
    wait(T0)
    assert clock.now_s == 100.0
    wait(T0 + HOUR_MS)
    assert clock.now_s == pytest.approx(160.0)
    wait(T0 + HOUR_MS // 2)  # overdue
    assert clock.now_s == pytest.approx(160.0)
    run._pace(None, clock)(T0 + DAY_MS)  # type: ignore[arg-type]
    assert clock.now_s == pytest.approx(160.0)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--speed", "fast"], "write max, 1x or 60x"),
        (["--speed", "0x"], "write max, 1x or 60x"),
        (["--columns", "nope=x"], "no such field: nope"),
        (["--warm-until", "2026-01-05"], "names no zone"),
        (["--warm-until", "2026-01-05T00:00:00Z"], "RESTOCK_PUBLISH_AFTER"),
        (["--with-supplier", "--clock", "wall"], "needs the event clock"),
        (["--tick-minutes", "0"], "must be above zero"),
        (["--clock", "wall"], "too old for the wall clock"),
        (["--namespace", "a b"], "RESTOCK_NAMESPACE"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_sent(
    words: list[str],
    complaint: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exit code 2, and a message that says what to write instead; no broker is asked."""
    monkeypatch.setenv("RESTOCK_BROKERS", "127.0.0.1:1")
    monkeypatch.setenv("RESTOCK_CLOCK", "event")
    path = tmp_path / "sales.csv"
    path.write_text("s,q,t\na,1,2020-01-05 10:00\n")
    mapped = [] if "--columns" in words else ["--columns", "sku=s,quantity=q,occurred_at=t"]
    assert cli.main(["replay", str(path), *mapped, *words]) == 2
    assert complaint in capsys.readouterr().err


def test_check_publishes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads the file and says what is in it, without a broker and whatever its age."""
    monkeypatch.setenv("RESTOCK_BROKERS", "127.0.0.1:1")
    path = tmp_path / "sales.csv"
    path.write_text("s,q,t\na,1,2020-01-05 10:00\na,1\na,1,2020-01-05 10:00\n")
    assert cli.main(["replay", str(path), "--columns", "sku=s,quantity=q,occurred_at=t", "--check"]) == 0
    out = capsys.readouterr().out
    assert "rows 3: to be published 2, repeated 0" in out
    assert "refused unreadable_row: 1" in out


def test_a_replay_ends_when_the_last_sku_has_closed_its_day() -> None:
    """The last tick is past the seconds over which SKUs close a day, where they are asked for by the event clock."""
    at_once = load(clock="event", lateness_ms=7_000)
    assert run.closed_ms(T0, "UTC", at_once) == MIDNIGHT + DAY_MS + 7_000
    assert run.closed_ms(T0, "UTC", at_once.changed(close_spread_seconds=50)) == MIDNIGHT + DAY_MS + 57_000


def test_the_command_offers_every_format() -> None:
    """The parser names the formats without importing them; these are they."""
    assert set(command.FORMATS) == set(catalogue.FORMATS)
