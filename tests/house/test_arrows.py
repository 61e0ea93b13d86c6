"""Who may import whom. The picture is in docs/ARCHITECTURE.md; this is its table."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.house import tree

CLOCKS_AND_WORLD = ("asyncio", "os", "time", "random", "socket", "subprocess", "threading", "agents.clock")
NEIGHBOURS = ("faust", "mode", "aiokafka", "confluent_kafka", "redis", "aiohttp")


@dataclass(frozen=True)
class Arrow:
    """Files whose name fits may import, of ours, only these; and never those."""

    files: str  # a pattern; the first that fits counts
    ours: tuple[str, ...]
    never: tuple[str, ...] = ()


PURE_ROOM = ("models", "stream.events", "stream.errors", "stream.ledger.port", "stream.transport.port")

ARROWS = (
    Arrow("models/*", ("models",), (*CLOCKS_AND_WORLD, *NEIGHBOURS, "pyarrow", "pydantic")),
    Arrow("stream/errors.py", ()),
    Arrow("stream/events/*", ("stream.events", "stream.errors"), (*CLOCKS_AND_WORLD, *NEIGHBOURS)),
    Arrow("stream/*", ("stream",)),
    Arrow("agents/intake/agent.py", ("agents.intake", "agents.clock", "agents.metrics", "stream")),
    Arrow("agents/planner/agent.py", ("agents.planner", "agents.clock", "agents.metrics", "stream")),
    Arrow("agents/network/agent.py", ("agents.network", "stream")),
    Arrow("agents/refit/agent.py", ("agents.refit", "stream")),
    Arrow("agents/intake/*", ("agents.intake", *PURE_ROOM), (*CLOCKS_AND_WORLD, *NEIGHBOURS)),
    Arrow("agents/planner/*", ("agents.planner", *PURE_ROOM), (*CLOCKS_AND_WORLD, *NEIGHBOURS)),
    Arrow("agents/shop/door/*", ("agents", "stream")),
    Arrow(
        "agents/shop/*",
        ("agents.shop", "agents.planner.days", "stream.events", "stream.errors"),
        (*CLOCKS_AND_WORLD, *NEIGHBOURS, "agents.shop.door"),
    ),
    Arrow(
        "agents/network/*",
        ("agents.network", "agents.plan", "agents.planner", *PURE_ROOM),
        (*CLOCKS_AND_WORLD, *NEIGHBOURS),
    ),
    Arrow("agents/refit/*", ("agents.refit", "agents.planner", *PURE_ROOM), (*CLOCKS_AND_WORLD, *NEIGHBOURS)),
    Arrow("agents/*", ("agents", "models", "stream")),
)


def arrow_of(path: str) -> Arrow:
    """The first arrow whose pattern fits."""
    return next(arrow for arrow in ARROWS if fnmatch.fnmatch(path, arrow.files))


def under(module: str, packages: tuple[str, ...]) -> bool:
    """Whether a module is one of these or lies in one of them."""
    return any(module == package or module.startswith(package + ".") for package in packages)


def broken(path: str, imported: set[str]) -> list[str]:
    """What a file imports and may not."""
    arrow = arrow_of(path)
    outside = {m for m in imported if under(m, ("stream", "agents", "models")) and not under(m, arrow.ours)}
    return sorted(outside | {m for m in imported if under(m, arrow.never)})


@pytest.mark.parametrize("package", ["stream", "agents", "models"])
def test_every_import_follows_the_arrows(package: str) -> None:
    """stream carries, models compute, agents decide: nobody reaches where the picture has no arrow."""
    sources = list(tree.files(".py", tree.ROOT / package))
    assert sources
    wrong = {tree.name(path): bad for path in sources if (bad := broken(tree.name(path), tree.imports(path)))}
    assert wrong == {}


def test_nothing_shipped_imports_tests() -> None:
    """What is installed does not need what is not."""
    shipped = [path for package in ("stream", "agents", "models") for path in tree.files(".py", tree.ROOT / package)]
    assert [tree.name(path) for path in shipped if any(under(m, ("tests",)) for m in tree.imports(path))] == []


@pytest.mark.parametrize(
    ("path", "imported"),
    [
        ("models/stock/eoq.py", "stream.events.rows"),
        ("models/stock/eoq.py", "os.path"),
        ("stream/ledger/redis_ledger.py", "agents.settings"),
        ("stream/events/rows.py", "stream.ledger.port"),
        ("agents/planner/fold.py", "redis"),
        ("agents/planner/fold.py", "agents.clock.now_ms"),
        ("agents/intake/translate.py", "agents.planner.shelf"),
        ("agents/intake/agent.py", "agents.settings"),
    ],
)
def test_a_forbidden_import_is_seen(path: str, imported: str) -> None:
    """The table really forbids what the picture forbids."""
    assert broken(path, {imported}) == [imported]


def test_relative_imports_are_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`from ..events import rows` counts as stream.events.rows."""
    monkeypatch.setattr(tree, "ROOT", tmp_path)
    source = tmp_path / "stream" / "ledger" / "keys.py"
    source.parent.mkdir(parents=True)
    source.write_text("from ..events import rows\nfrom . import port\nimport redis.asyncio\n")
    assert tree.imports(source) == {"stream.events.rows", "stream.ledger.port", "redis.asyncio"}
