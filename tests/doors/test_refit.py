"""`restock refit`: a run in processes apart, on what stands in a real ledger; and what `stock --explain` says of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from agents import cli, refitting
from agents.apart import SolveFailed
from agents.commands import checks
from agents.planner import keeping
from agents.planner.fold import fold
from agents.planner.shelf import Shelf
from agents.refit.agent import Refit
from agents.refitting import refit_apart
from agents.settings import Settings
from agents.wiring import default_policy
from stream.events.rows import decode
from stream.ledger.leader import LeaderConfig
from stream.ledger.office import REFIT, RedisOffice
from stream.ledger.redis_ledger import RedisLedger
from stream.transport.port import Send
from tests.agents.refit.shops import shop
from tests.doors.conftest import Neighbours


@pytest.fixture
def settings(neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An installation of one shelf, without time for trees."""
    made = neighbours.settings(shelves=1).changed(refit_cpu_seconds=15.0)
    neighbours.set_variables(monkeypatch, made)
    monkeypatch.setenv("RESTOCK_REFIT_CPU_SECONDS", "15")
    return made


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    assert cli.main([*words, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


class Shop:
    """A shelf kept in the ledger, and the log to it: what is sent is folded and kept."""

    def __init__(self, settings: Settings) -> None:
        self.shelf: Shelf = shop(
            {"dear": 90.0, "cheap": 0.9}, namespace=settings.namespace, policy=default_policy(settings)
        )
        self.ledger = RedisLedger(settings.redis_url, settings.namespace)
        self.sent = 0

    async def keep(self) -> None:
        held = await self.ledger.acquire(0)
        assert await self.ledger.keep([(held, keeping.changes(self.shelf, held.place, [], 0))]) == [None]

    async def send(self, records: Sequence[Send]) -> None:
        for record in records:
            fold(self.shelf, [decode(record.value or b"", self.shelf.offset)])
            self.sent += 1
        await self.keep()


def test_a_run_is_made_apart_told_and_explained(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """Asked for: read from Redis, fitted, put, told; then the row's explanation names its guest."""

    async def story() -> Shop:
        world, office = Shop(settings), RedisOffice(settings.redis_url, settings.namespace, REFIT)
        await world.keep()
        config = LeaderConfig(settings.namespace, 1, "worker-7")
        worker = Refit(office, world, lambda: refit_apart(settings), config, lambda: 1_790_000_000_000)  # type: ignore[arg-type]
        assert not await worker.turn(), "no schedule, nobody asked"
        await office.ask("please")
        assert await worker.turn()
        assert (await office.book()).answered == "please"
        assert not await worker.turn()
        await office.close()
        await world.ledger.close()
        return world

    world = asyncio.run(story())
    (told,) = printed(capsys, "refit", "status")
    assert (told["leader"], told["status"], told["rows_refitted"]) == ("worker-7", "fitted", 2)
    assert told["cpu_seconds"] > 0
    assert "ETS" in told["models"]
    assert world.sent == 1
    assert world.shelf.counters["guests_adopted:refit"] == 2
    (row,) = printed(capsys, "stock", "dear", "L", "--explain")
    guest = next(one for one in row["forecast"]["experts"] if one["expert"] == "refit")
    assert guest["share"] > 0
    assert guest["out"] is None
    assert (guest["as_of"], guest["age_days"]) == ("2024-11-20", 0)
    assert next(one for one in row["forecast"]["experts"] if one["expert"] == "trees")["out"] == "never computed"
    assert cli.main(["stock", "dear", "L", "--explain"]) == 0
    assert "as of 2024-11-20" in capsys.readouterr().out


def test_a_run_that_takes_too_long_is_gone(settings: Settings) -> None:
    """It ends with its reason and what to set; nothing of it is left."""
    with pytest.raises(SolveFailed, match="the refit took too long") as failed:
        asyncio.run(refit_apart(settings.changed(refit_seconds=1), ("-S", "-c", "import time; time.sleep(99)")))
    assert "RESTOCK_REFIT_SECONDS" in failed.value.hint


def test_a_pool_stops_when_the_time_is_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs when it is enough is still heard, and nothing more is begun; its processes' time counts with ours."""
    monkeypatch.setattr(refitting, "timed", lambda task: (task, 1.5))
    pool = refitting.Pool(1)
    assert [i for i, _ in pool.fitting(iter("abc"), lambda: False)] == [0, 1, 2]  # type: ignore[arg-type]
    pool = refitting.Pool(2, ThreadPoolExecutor(2))
    begun = pool.spent_s()
    done = [i for i, _ in pool.fitting(iter("a" * 99), lambda: pool.spent_s() - begun >= 6.0)]  # type: ignore[arg-type]
    assert 4 <= len(done) <= 4 + refitting.AHEAD * 2
    assert sorted(done) == list(range(len(done)))
    pool.close()


def test_the_doctor_says_whether_the_slow_lane_runs(settings: Settings) -> None:
    """Off, on and never run, and on with a run that failed: with its reason and where to read on."""
    (found,) = checks.slow_lane(settings)
    assert (found.level, "off" in found.what) == ("ok", True)
    daily = settings.changed(refit_minutes=1_440)
    (found,) = checks.slow_lane(daily)
    assert (found.level, "no run yet" in found.what) == ("ok", True)

    async def fails() -> None:
        office = RedisOffice(settings.redis_url, settings.namespace, REFIT)
        await office.lead("t", 60_000, "worker-7")
        await office.note("t", json.dumps({"status": "failed", "why": "too slow", "at_ms": 0}), "")
        await office.close()

    asyncio.run(fails())
    (found,) = checks.slow_lane(daily)
    assert (found.level, "too slow" in found.what) == ("warn", True)
