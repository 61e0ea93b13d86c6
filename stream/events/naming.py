"""How a SKU-location is written in a key.

A SKU may hold any character, so `%`, `@` and control characters are percent-encoded (UTF-8) in both parts.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

_RESERVED = re.compile("[%@\x00-\x1f\x7f]")


def _quote(text: str) -> str:
    return _RESERVED.sub(lambda m: f"%{ord(m[0]):02X}", text)


def row_key(sku: str, location: str) -> str:
    """The key of a SKU-location.

    >>> row_key("a@b", "shop 1")
    'a%40b@shop 1'
    """
    return f"{_quote(sku)}@{_quote(location)}"


def split_row_key(key: str) -> tuple[str, str]:
    """SKU and location back from a key.

    >>> split_row_key("a%40b@shop 1")
    ('a@b', 'shop 1')
    """
    sku, _, location = key.partition("@")
    if "%" not in key:
        return sku, location
    return unquote(sku), unquote(location)
