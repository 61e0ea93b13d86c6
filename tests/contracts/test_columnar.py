"""Three ways to read, one answer: columns and the compiled loop accept nothing that one by one is not read alike."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.intake import orders
from models.demand import compiled
from stream.events import columnar, framing
from stream.events.columnar import Quick, Read, State, read
from stream.events.public import INCOMING
from stream.events.reading import KINDS
from stream.events.refusals import Refusal
from tests.contracts.samples import GOOD, HUGE_ORDERS, LINE, ODD_ORDERS, PLACED, changed, paths, placed, text, with_line

MOST_BYTES = 1 << 20
NEVER = 1 << 60
WRONG = [..., None, "", "x", "7", 7, 0, -1, 1.5, 0.0005, True, [], {}, [{}], "a\x00b", "é" * 256, "z" * 257]
FOREIGN = [None, "", "other", "a\x00b", "z" * 257, 5, 0, -1, 0.0005, "2026-03-01T00:00:00Z", True]
COLUMNAR = ("orders", "carts", "stock-movements", "supply")


def answers(
    topic: str, values: list[bytes | None], columns_from: int, quick: Quick | None = None
) -> tuple[Read, list[Any]]:
    """What `read` says, and the same as plain values: per record its state, time and rows, or its refusal."""
    said = read(topic, [b"key"] * len(values), values, MOST_BYTES, columns_from, quick)
    rows: list[list[Any]] = [[] for _ in values]
    for row in said.rows.to_pylist():
        rows[row.pop("record")].append(
            {name: repr(value) for name, value in row.items()}
        )  # repr: NaN is NaN, -0 is not 0
    refused: list[Refusal | None] = [said.refusals.get(i) for i in range(len(values))]
    return said, list(zip(said.state.tolist(), said.occurred_ms.tolist(), rows, refused, strict=True))


def assert_same(topic: str, values: list[bytes | None]) -> Read:
    by_columns, columns = answers(topic, values, 0)
    _, one_by_one = answers(topic, values, NEVER)
    _, quickly = answers(topic, values, NEVER, orders.read if topic == "orders" else None)
    for value, a, b, c in zip(values, columns, one_by_one, quickly, strict=True):
        assert a == b == c, (value or b"null")[:300]
    return by_columns


def taken_by_columns(topic: str, values: list[bytes | None]) -> list[int]:
    """Places of the records that did not need the one-by-one path."""
    places: list[int] = []
    for at, records in framing.lots(*framing.framed(values, MOST_BYTES)):
        places += columnar._in_columns(topic, at, records).places.tolist()
    return sorted(places)


def test_every_type_is_taken_by_the_columns() -> None:
    """Healthy records do not need the slow path: each type of each topic goes through in columns."""
    for topic in COLUMNAR:
        values: list[bytes | None] = [text(record) for record in GOOD[topic]]
        assert taken_by_columns(topic, values) == list(range(len(values)))
        assert assert_same(topic, values).refusals == {}


def test_plain_orders_are_taken_by_the_compiled_loop() -> None:
    """Healthy orders need no other way; what is not written plainly is left to the others."""
    if not compiled.COMPILES:
        pytest.skip("nothing is compiled here: no order goes through the loop")
    values = [text(record) for record in GOOD["orders"]]
    odd = [placed(customer_id='"\\u0061"'), placed(x="{}"), placed(customer_id='"é"'), with_line(quantity="1e0")]
    accepted = orders.read([*values, *odd, PLACED], MOST_BYTES)
    assert accepted is not None
    assert accepted.places.tolist() == [*range(len(values)), len(values) + len(odd)]


def test_the_corpus_is_read_alike_alone_and_among_good_records() -> None:
    """Each odd text gets the same answer in a batch of its own and between two good records."""
    for odd in ODD_ORDERS:
        assert_same("orders", [odd])
        said = assert_same("orders", [PLACED, odd, PLACED])
        assert said.state[0] == said.state[2] == State.SAID


def test_the_corpus_is_read_alike_together() -> None:
    """All odd texts in one batch, forwards and backwards."""
    assert_same("orders", ODD_ORDERS + HUGE_ORDERS)
    assert_same("orders", ODD_ORDERS[::-1])


def test_broken_records_do_not_join_into_a_good_one() -> None:
    """Two halves of an order in consecutive records are two refusals, whatever stands around them."""
    for cut in range(1, len(PLACED)):
        halves: list[bytes | None] = [PLACED, PLACED[:cut], PLACED[cut:], PLACED]
        said = assert_same("orders", halves)
        assert said.state.tolist() == [State.SAID, State.REFUSED, State.REFUSED, State.SAID]


def test_two_objects_in_one_record_are_refused() -> None:
    """And do not push the records after them to another offset."""
    for glue in (b"", b"\n", b" ", b",", b"\r\n"):
        said = assert_same("orders", [PLACED + glue + PLACED, placed(order_id='"other"')])
        assert said.state.tolist() == [State.REFUSED, State.SAID]


def test_one_bad_record_sends_only_itself_the_slow_way() -> None:
    """What Arrow cannot join is found and taken out; the rest stays in columns."""
    values: list[bytes | None] = [PLACED] * 50
    not_utf8 = placed(x='"a"').replace(b'"a"', b'"\xff"')
    for i, bad in ((3, with_line(quantity='"1"')), (7, b"{"), (20, None), (31, not_utf8)):
        values[i] = bad
    assert taken_by_columns("orders", values) == [i for i in range(50) if i not in (3, 7, 20, 31)]
    assert_same("orders", values)


def test_too_many_bytes_are_read_in_lots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cutting a batch into lots of bounded size changes nothing."""
    values: list[bytes | None] = [placed(order_id=f'"o{i}"') for i in range(40)]
    whole, _ = answers("orders", values, 0)
    monkeypatch.setattr(framing, "MOST_JOINED_BYTES", 1000)
    assert len(framing.lots(*framing.framed(values, MOST_BYTES))) > 10
    cut, _ = answers("orders", values, 0)
    assert cut.rows.equals(whole.rows)
    assert cut.state.tolist() == whole.state.tolist()


@pytest.mark.parametrize("topic", sorted(GOOD))
@pytest.mark.parametrize("wrong", WRONG)
def test_each_field_changed_is_read_alike(topic: str, wrong: Any) -> None:
    """Every field of every type, absent, null, or of another kind."""
    values: list[bytes | None] = [
        text(changed(record, path, wrong)) for record in GOOD[topic] for path in paths(record)
    ]
    assert_same(topic, values)
    assert_same(topic, [v for value in values for v in (value, text(GOOD[topic][0]))])


@pytest.mark.parametrize("topic", COLUMNAR)
@pytest.mark.parametrize("value", FOREIGN)
def test_fields_of_other_types_are_ignored_alike(topic: str, value: Any) -> None:
    """A field another type of the topic has means nothing here, whatever it holds."""
    everything = {name for record in GOOD[topic] for name in record}
    values: list[bytes | None] = []
    for record in GOOD[topic]:
        values += [text({**record, name: value}) for name in sorted(everything - record.keys())]
        values += [text({**record, **dict.fromkeys(everything - record.keys(), value)})]
    assert_same(topic, values)
    for value_alone in values:
        assert_same(topic, [value_alone])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**25), 10**25) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
quantities = (
    st.integers(-3, 5)
    | st.decimals(-5, 5, places=4, allow_nan=False).map(float)
    | st.integers(-(10**13), 10**13).map(lambda milli: milli / 1000)
    | st.floats()
)
times = st.datetimes().map(lambda t: t.isoformat() + "Z") | st.sampled_from(
    ["2026-01-05T10:00:00+01:00", "2026-01-05T10:00:00.5-23:59", "2026-01-05t10:00:00.123456789z", "2026-1-5T10:00:00Z"]
)


@st.composite
def records(draw: st.DrawFn, topic: str) -> bytes:
    """A good record, changed in a few places, dumped in one of several styles, perhaps with bytes changed."""
    record = draw(st.sampled_from(GOOD[topic]))
    for _ in range(draw(st.integers(0, 3))):
        places = paths(record)
        path = draw(st.sampled_from(places)) if places else ("x",)
        value = draw(st.sampled_from([..., None]) | json_values | quantities | times)
        record = changed(record, path, value)
    if topic == "orders" and isinstance(record.get("lines"), list):
        for line in draw(st.lists(st.sampled_from(["1", "2", "3"]), max_size=3)):
            record = {**record, "lines": [*record["lines"], {**LINE, "line_id": line}]}
    if draw(st.booleans()):
        record = {**record, draw(st.text(max_size=5)): draw(json_values)}
    raw = json.dumps(record, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, None, 1])))
    value = raw.encode("utf-8", "surrogatepass")
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        at = draw(st.integers(0, len(value)))
        value = value[:at] + draw(st.binary(max_size=2)) + value[at + draw(st.integers(0, 3)) :]
    return value


@pytest.mark.parametrize("topic", COLUMNAR)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_batch_is_read_alike(topic: str, data: st.DataObject) -> None:
    """Whatever the records are and whatever stands beside them."""
    assert_same(topic, data.draw(st.lists(records(topic) | st.none() | st.binary(max_size=12), min_size=1, max_size=8)))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 400))
def test_bytes_around_a_cut_are_read_alike(noise: bytes, cut: int) -> None:
    """A good record with anything put into it, followed by the rest of it."""
    assert_same("orders", [PLACED[:cut] + noise, noise + PLACED[cut:], PLACED[:cut] + noise + PLACED[cut:]])


@settings(max_examples=60, deadline=None)
@given(st.lists(quantities, min_size=1, max_size=6))
def test_quantities_are_read_alike(numbers: list[float]) -> None:
    """Every number, at the edges of what a quantity may be."""
    texts = [repr(n) if isinstance(n, float) and np.isfinite(n) else json.dumps(n) for n in numbers]
    assert_same("orders", [with_line(quantity=t) for t in texts] + [with_line(unit_price=t) for t in texts])


def test_every_type_has_a_kind() -> None:
    """No event type is accepted without a row that says it."""
    assert set(KINDS) == {record["type"] for topic in COLUMNAR for record in GOOD[topic]}


def test_every_type_and_field_has_a_sample() -> None:
    """The samples cover the contract: every topic, every type, every field."""
    for topic, models in INCOMING.items():
        said: dict[str, set[str]] = {name: set() for name in models}
        for record in GOOD[topic]:
            said[record["type"]] |= record.keys()
        assert said == {name: set(model.model_fields) for name, model in models.items()}
