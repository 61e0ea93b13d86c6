"""What the models ask of each field, as data: from this the columnar path takes its Arrow schema and its checks.

Nothing is said twice. A field added to a model is checked in columns too, or refused here at import if its type is new.
"""

from __future__ import annotations

from enum import Enum
from types import NoneType
from typing import Any, Final, NamedTuple, get_args, get_type_hints

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream.events import public
from stream.events.reading import KINDS


class Check(Enum):
    """What a value must be."""

    TEXT = "text"
    ID = "id"
    INSTANT = "instant"
    UNITS = "units"  # positive, not negative or not zero, by type
    MONEY = "money"
    FLAG = "flag"


class Sign(Enum):
    """Which numbers of units are allowed."""

    POSITIVE = 1
    NOT_NEGATIVE = 2
    NOT_ZERO = 3


class Rule(NamedTuple):
    """One field of one model."""

    check: Check
    required: bool
    sign: Sign | None = None


_FORMS: Final = (
    (public.Id, Check.ID, None),
    (public.Text, Check.TEXT, None),
    (public.Instant, Check.INSTANT, None),
    (public.Quantity, Check.UNITS, Sign.POSITIVE),
    (public.Count, Check.UNITS, Sign.NOT_NEGATIVE),
    (public.Change, Check.UNITS, Sign.NOT_ZERO),
    (public.Money, Check.MONEY, None),
    (bool, Check.FLAG, None),
)
ARROW: Final = {
    Check.TEXT: pa.utf8(),
    Check.ID: pa.utf8(),
    Check.INSTANT: pa.utf8(),
    Check.UNITS: pa.float64(),
    Check.MONEY: pa.float64(),
    Check.FLAG: pa.bool_(),
}


def rules_of(model: type[public.Model]) -> dict[str, Rule]:
    """The rule of each field but `type` and `lines`. Raises TypeError where a field's type has no columnar check."""
    hints = get_type_hints(model, include_extras=True)
    names = [name for name in model.model_fields if name not in ("type", "lines")]
    return {name: _rule(hints[name], f"{model.__name__}.{name}") for name in names}


def _rule(form: Any, name: str) -> Rule:
    required = NoneType not in get_args(form)
    bare = form if required else next(arg for arg in get_args(form) if arg is not NoneType)
    for known, check, sign in _FORMS:
        if bare == known:
            return Rule(check, required, sign)
    raise TypeError(f"{name}: no columnar check for {bare}")


class FieldPlan(NamedTuple):
    """One field over all types of a topic; arrays are indexed by type code."""

    name: str
    check: Check
    said: npt.NDArray[np.bool_]  # types that have the field; of others it is an unknown field, and ignored
    required: npt.NDArray[np.bool_]
    sign: npt.NDArray[np.int8]  # Sign values, 0 where none


class Plan(NamedTuple):
    """How a topic is read in columns. A type's code is its place in `types`."""

    types: pa.Array
    kinds: npt.NDArray[np.uint8]
    fields: tuple[FieldPlan, ...]
    line_fields: tuple[FieldPlan, ...]  # of orders; else empty
    schema: pa.Schema


def _field_plans(models: list[type[public.Model]]) -> tuple[FieldPlan, ...]:
    rules = [rules_of(model) for model in models]
    plans = []
    for name in dict.fromkeys(name for of_model in rules for name in of_model):
        of_types = [of_model.get(name) for of_model in rules]
        (check,) = {rule.check for rule in of_types if rule is not None}  # one Arrow type a topic and name
        plans.append(
            FieldPlan(
                name,
                check,
                np.array([rule is not None for rule in of_types]),
                np.array([rule is not None and rule.required for rule in of_types]),
                np.array([rule.sign.value if rule and rule.sign else 0 for rule in of_types], np.int8),
            )
        )
    return tuple(plans)


def _plan(topic: str) -> Plan:
    models = public.INCOMING[topic]
    fields = _field_plans(list(models.values()))
    line_fields = _field_plans([public.OrderLine]) if topic == "orders" else ()
    columns = [pa.field("type", pa.utf8()), *(pa.field(f.name, ARROW[f.check]) for f in fields)]
    if line_fields:
        line = pa.struct([pa.field(f.name, ARROW[f.check]) for f in line_fields])
        columns.append(pa.field("lines", pa.list_(line)))
    kinds = np.array([KINDS[name] for name in models], np.uint8)
    return Plan(pa.array(list(models), pa.utf8()), kinds, fields, line_fields, pa.schema(columns))


PLANS: Final = {topic: _plan(topic) for topic in ("orders", "carts", "stock-movements", "supply")}
