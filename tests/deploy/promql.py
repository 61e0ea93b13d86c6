"""Just enough PromQL to ask of an expression which metrics it reads and what it computes before it compares."""

from __future__ import annotations

import re

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_MATCHERS = re.compile(r"\{[^{}]*\}")
_RANGE = re.compile(r"\[[^\]]*\]|\boffset\s+\w+")
_GROUPING = re.compile(r"\b(by|without|on|ignoring)\s*\(([^()]*)\)")
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_WORDS = {"and", "or", "unless", "bool"}
_SPLIT = re.compile(r"\s+(?:and|or|unless)\s+|\s*(?:==|!=|>=|<=|>|<)\s*(?:bool\s+)?")
_NUMBER = re.compile(r"[-+]?[0-9.]+(?:e[-+]?[0-9]+)?$")


def metrics(expression: str) -> set[str]:
    """Names of the metrics an expression reads.

    >>> sorted(metrics('sum by (topic) (rate(a_total{x="y"}[5m])) > 2 * b:c'))
    ['a_total', 'b:c']
    """
    bare = _RANGE.sub(" ", _MATCHERS.sub(" ", _STRING.sub('""', expression)))
    bare = _GROUPING.sub(" ", bare)
    found = set()
    for name in _NAME.finditer(bare):
        called = bare[name.end() :].lstrip().startswith("(")
        if name[0] not in _WORDS and not called and not bare[: name.start()].endswith(tuple("0123456789.")):
            found.add(name[0])
    return found


def labels(expression: str) -> set[str]:
    """Labels an expression groups or selects by.

    >>> sorted(labels('sum by (topic, le) (a{job="x", y!="z"})'))
    ['job', 'le', 'topic', 'y']
    """
    grouped = {label.strip() for _, its in _GROUPING.findall(expression) for label in its.split(",")}
    matched = {label for its in _MATCHERS.findall(expression) for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", its)}
    return (grouped | matched) - {""}


def operands(expression: str) -> list[str]:
    """What an alert's expression compares: every side that is not a number, without `absent`.

    >>> operands('max(a > 0) > 0.8 * b'), operands('absent(up{job="x"})'), operands('(a == 1) and (b < 2)')
    (['max(a > 0)', '0.8 * b'], ['up{job="x"}'], ['a', 'b'])
    """
    found = []
    for side in _sides(expression.strip()):
        inner = _unwrapped(side.removeprefix("absent")) if side.startswith("absent(") else _unwrapped(side)
        if _NUMBER.match(inner):
            continue
        found += [inner] if inner == side else operands(inner)
    return found


def _sides(expression: str) -> list[str]:
    """An expression cut at its outermost comparisons and set operators."""
    sides, start, at = [], 0, 0
    while at < len(expression):
        cut = _SPLIT.match(expression, at)
        if cut and cut[0].strip() and _depth(expression[:at]) == 0:
            sides.append(expression[start:at].strip())
            start = at = cut.end()
        else:
            at += 1
    return [*sides, expression[start:].strip()]


def _depth(text: str) -> int:
    bare = _STRING.sub("", text)
    return sum(bare.count(opener) - bare.count(closer) for opener, closer in ("()", "{}", "[]"))


def _unwrapped(side: str) -> str:
    """Without brackets around the whole of it."""
    if side.startswith("(") and side.endswith(")") and all(_depth(side[:i]) > 0 for i in range(1, len(side))):
        return side[1:-1].strip()
    return side
