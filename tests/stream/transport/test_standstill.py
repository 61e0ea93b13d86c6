"""A worker that holds partitions and does not read them ends, so that somebody else has them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from stream.errors import Away
from stream.transport import app as transport_app
from stream.transport.app import App, watch_standstill


class Still:
    """As much of an app as is looked at; it stands still at the looks that are named."""

    def __init__(self, still: set[int]) -> None:
        self.looks, self.still, self.reason = 0, still, list[BaseException]()
        self.desks = [SimpleNamespace(kept={1: 2, 3: 4})]

    def standing_still(self) -> bool:
        """Counts its looks."""
        self.looks += 1
        return self.looks in self.still

    def forgotten(self) -> set[tuple[str, int]]:
        """No poll was lost."""
        return set()

    def doom(self, error: BaseException) -> None:
        """The end."""
        self.reason.append(error)


def watch(app: Still) -> None:
    """Three looks of patience, a tenth of a second of looking at most."""

    async def story() -> None:
        await asyncio.wait_for(watch_standstill(cast(App, app), 0.003), 0.1)

    asyncio.run(story())


def test_it_ends_after_standing_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where it stands still at every look in a row."""
    monkeypatch.setattr(transport_app, "LOOK_S", 0.001)
    app = Still({2, 3, 5, 6, 7, 8})
    watch(app)
    (why,) = app.reason
    assert isinstance(why, Away)
    assert "2 partitions" in why.detail
    assert app.looks >= 7


def test_a_poll_that_never_comes_to_its_agent_ends_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the same one waits at every look in a row while nobody works; not where another one does each time."""
    monkeypatch.setattr(transport_app, "LOOK_S", 0.001)

    class Lossy(Still):
        """Its polls wait, as named, look by look."""

        def __init__(self, numbers: list[int]) -> None:
            super().__init__(set())
            self.numbers = iter(numbers)

        def forgotten(self) -> set[tuple[str, int]]:
            """What waits at this look."""
            return {("planner", number) for number in (next(self.numbers, 0),) if number}

    app = Lossy([1, 2, 2, 3, 4, 5, 5, 5, 5, 5])
    watch(app)
    (why,) = app.reason
    assert "lost" in str(why)
    busy = Lossy(list(range(1, 1_000)))
    with pytest.raises(TimeoutError):
        watch(busy)
    assert busy.reason == []


def test_a_worker_that_reads_or_waits_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Now and then not reading is what a rebalance looks like."""
    monkeypatch.setattr(transport_app, "LOOK_S", 0.001)
    app = Still({2, 3, 5, 6, 8, 9})
    with pytest.raises(TimeoutError):
        watch(app)
    assert app.reason == []


def test_standing_still_is_holding_everything_and_reading_nothing() -> None:
    """Not while partitions are to be taken, not with none, not while reading."""

    def still(waits: str, assigned: Any, flows: bool) -> bool:
        app = SimpleNamespace(
            waiting_for=lambda: waits, _assignment=assigned, _consumer=SimpleNamespace(flow_active=flows)
        )
        return App.standing_still(cast(App, app))

    assert still("", {1}, False)
    assert not still("", {1}, True)
    assert not still("", set(), False)
    assert not still("partitions to be assigned", {1}, False)
