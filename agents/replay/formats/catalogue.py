"""The formats by name: `--format` chooses one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from agents.replay.formats import carts, orders, uci
from agents.replay.formats.lines import Lines
from agents.replay.formats.options import Options
from agents.replay.formats.reading import Sheet


class Format(NamedTuple):
    """How one kind of file becomes lines."""

    lines: Callable[[Sheet, Options], Lines]
    fields: tuple[str, ...]  # what --columns may map
    timezone: str  # of naive times, and of the location's days


FORMATS = {
    "orders": Format(orders.lines_of_orders, orders.FIELDS, "UTC"),
    "carts": Format(carts.lines_of_carts, carts.FIELDS, "UTC"),
    "uci-online-retail": Format(uci.lines_of_uci, (), uci.TIMEZONE),
    "jd-actions": Format(partial(carts.lines_of_carts, file=carts.JD_ACTIONS), carts.FIELDS, carts.JD_ACTIONS.timezone),
    "rees46": Format(partial(carts.lines_of_carts, file=carts.REES46), carts.FIELDS, carts.REES46.timezone),
}
