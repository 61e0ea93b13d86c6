"""The forecasts topic, from days that close to messages that keep the contract."""

from __future__ import annotations

from typing import Any

import orjson

from agents.planner import versions
from agents.planner.config import DAY_MS
from agents.planner.explaining import explained
from stream.events.cloudevents import Envelope, outgoing_event
from stream.events.kinds import Kind
from stream.events.outgoing import Outgoing
from stream.events.public import Forecast
from tests.agents.planner.test_semantics import DAY0, Shop, of
from tests.agents.planner.worlds import HOUR_MS


def forecasts(messages: list[Outgoing]) -> list[dict[str, Any]]:
    """Data of forecasts, each held to the contract and written with sorted keys."""
    found = of(messages, "forecast.made")
    for data in found:
        Forecast.model_validate(data)
    raw = [m.value for m in messages if m.topic == "forecasts"]
    assert raw == [orjson.dumps(data, option=orjson.OPT_SORT_KEYS) for data in found]
    return found


def test_a_row_tells_its_forecast_when_its_day_closes() -> None:
    """One a closed day, as of its end: sums over the protection time and the fixed ones, experts' shares make one."""
    shop = Shop(forecasts="daily")
    shop.sells(20, units_a_day=10)
    told = forecasts(shop.said)
    assert len(told) == 20
    last = told[-1]
    assert last["as_of"] == "2024-10-24T00:00:00.000Z"
    assert last["as_of_day"] == "2024-10-23"
    assert [h["days"] for h in last["horizons"]] == [3, 7, 28]
    assert last["protection_days"] == 3
    assert 5 < last["mean_day"] < 15
    for horizon in last["horizons"]:
        quantiles = list(horizon["quantiles"].values())
        assert quantiles == sorted(quantiles)
        assert 0.5 * 10 * horizon["days"] < horizon["mean"] < 1.5 * 10 * horizon["days"]
    assert abs(sum(e["share"] for e in last["experts"]) - 1) < 0.02
    ids = [m.id for m in shop.said if m.topic == "forecasts"]
    assert len(set(ids)) == len(ids)


def test_whom_a_message_is_about_is_printable_on_every_topic() -> None:
    """A header holds no control character, whatever a SKU is called."""
    shop = Shop(forecasts="daily")
    shop.world.row(Kind.STOCK_COUNTED, DAY0, sku="A\x85B", units=9)
    shop.world.order(DAY0 + HOUR_MS, 1, sku="A\x85B", units=5)
    shop.tell(DAY0 + DAY_MS)
    topics = {message.topic for message in shop.said}
    assert topics >= {"forecasts", "positions", "replenishments"}
    assert {dict(message.headers)["ce_subject"] for message in shop.said} == {b"A%85B@L"}


def test_what_stands_is_never_more_than_a_tenth_off() -> None:
    """Only news is told: the topic's last word on a row stays within a tenth of what is told daily, for fewer words."""
    news, daily = (Shop(forecasts=which) for which in ("changed", "daily"))
    for shop in (news, daily):
        shop.sells(40, units_a_day=10)
    told = {data["as_of_day"]: data["mean_day"] for data in forecasts(news.said)}
    stands, off = 0.0, []
    for data in forecasts(daily.said):
        stands = told.get(data["as_of_day"], stands)
        off.append(abs(data["mean_day"] / stands - 1))
    assert max(off) < 0.1 + 1e-6
    assert 40 / 7 <= len(told) < 30
    assert min(told) == "2024-10-04", "the first closing is news"


def test_a_row_nobody_asked_for_tells_nothing() -> None:
    """A stocked row without demand has no forecast to tell."""
    shop = Shop()
    shop.world.row(22, DAY0, units=5)
    shop.tell(DAY0 + 3 * DAY_MS)
    assert forecasts(shop.said) == []


def test_forecasts_can_be_left_out_and_older_shelves_have_none() -> None:
    """The setting turns them off; a shelf that decides as 0.1.0 did sends none."""
    for kwargs in ({"forecasts": "off"}, {"version": versions.FIRST}):
        shop = Shop(**kwargs)
        shop.sells(3)
        assert forecasts(shop.said) == []


def test_a_forecast_is_explained_with_its_numbers() -> None:
    """Experts by share, why others are out, quantiles, and the sentence whose numbers are the row's."""
    shop = Shop()
    shop.sells(40, units_a_day=10, stock=500)
    told = explained(shop.shelf, shop.shelf.index["S", "L"])
    shares = [e["share"] for e in told["experts"]]
    assert shares == sorted(shares, reverse=True)
    assert abs(sum(shares) - 1) < 1e-3
    assert {e["expert"] for e in told["experts"] if e["out"]} == {"trees", "refit"}
    assert told["horizons"][0]["days"] == 3
    point, expected = shop.get("reorder_point"), shop.get("expected")
    assert f"reorder point {point:g} = {expected:g} expected over 3 days + {point - expected:g}" in told["sentence"]
    assert told["sentence"].startswith(f"position {shop.get('on_hand'):g} is over reorder point")
    shop.level(1)
    assert "; ordering" in explained(shop.shelf, 0)["sentence"] or "is over" in explained(shop.shelf, 0)["sentence"]


def test_a_closed_day_teaches_nothing() -> None:
    """Days on which the location is closed do not lower what is expected of a day on which it is open."""
    open_only, always = Shop(), Shop()
    for shop, closes in ((open_only, True), (always, False)):
        shop.world.row(22, DAY0, units=10_000)
        if closes:
            fact = {"type": "catalog.location", "location": "L", "closed_weekdays": [1, 2, 3]}
            shop.world.row(40, DAY0, sku="", fact=orjson.dumps(fact).decode())
        for day in range(35):
            if (DAY0 // DAY_MS + day + 3) % 7 + 1 > 3:
                shop.world.order(DAY0 + day * DAY_MS + HOUR_MS, 10_000 + day, units=10)
            shop.tell(DAY0 + (day + 1) * DAY_MS)
    closed, unknown = (shop.get("demand_rate") * 1000 for shop in (open_only, always))
    assert closed > 1.3 * unknown


def test_many_messages_are_what_each_would_be() -> None:
    """In columns or one by one, the same messages are made."""
    said = ("forecasts", "restock.forecast.made", "/restock/x")
    keys, ids, data = [b"A@1", b"B@2"], ["i1", "i2"], [{"b": 1, "a": 2}, {}]
    each = [
        outgoing_event(said[0], key.decode(), said[1], id, said[2], 1_767_225_600_000, key.decode(), its)
        for key, id, its in zip(keys, ids, data, strict=True)
    ]
    envelope = Envelope(*said, "2026-01-01T00:00:00.000Z")
    assert envelope.messages(keys, map(str.encode, ids), [b'{"a":2,"b":1}', b"{}"]) == each
