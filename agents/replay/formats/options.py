"""What the operator says about a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stream.errors import SetupError


@dataclass(frozen=True)
class Options:
    """How to read a file; what is None comes from the format."""

    columns: Mapping[str, str] = field(default_factory=dict)  # public field -> column of the file
    actions: Mapping[str, str] = field(default_factory=dict)  # cart files: word of the file -> view, add, remove, ...
    timezone: str | None = None  # of naive times
    location: str | None = None  # where the file names none
    time_format: str | None = None  # strptime
    delimiter: str = ","
    encoding: str = "utf-8"  # of CSV text
    cancel_window_hours: int = 24  # uci-online-retail: an older sale is returned, not cancelled
    sold_at_once: bool = True  # orders leave stock at once; otherwise they wait for a fulfilment


def pairs(text: str, lawful: tuple[str, ...] | None = None) -> dict[str, str]:
    """`a=b,c=d` as a mapping. Raises SetupError, naming the lawful names where they are given.

    >>> pairs("order_id=InvoiceNo,sku=StockCode")
    {'order_id': 'InvoiceNo', 'sku': 'StockCode'}
    """
    mapping: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if equals == "" or name == "" or value == "":
            raise SetupError(f"could not read {part!r}", f"in {text!r}", "write name=value,name=value")
        if lawful is not None and name not in lawful:
            raise SetupError(f"no such field: {name}", f"in {text!r}", f"the fields are {', '.join(lawful)}")
        mapping[name] = value
    return mapping
