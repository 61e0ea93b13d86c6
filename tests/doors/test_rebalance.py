"""`restock rebalance` and `restock transfers`: what stands in the ledger and the office, and a real solve apart."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from agents import apart, cli, solving
from agents.apart import SolveFailed
from agents.network.balance import made, pack_plan, read_answer
from agents.planner import keeping, versions
from agents.settings import Settings
from agents.solving import solve_apart
from agents.wiring import default_policy
from stream.events.instants import text_from_ms
from stream.ledger.office import RedisOffice
from stream.ledger.redis_ledger import RedisLedger
from tests.agents.network.shops import Net, narrow_shops, two_shops
from tests.agents.network.test_picture import decided, put
from tests.doors.conftest import Neighbours

T = TypeVar("T")


@pytest.fixture
def settings(neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An installation of one shelf."""
    made = neighbours.settings(shelves=1)
    neighbours.set_variables(monkeypatch, made)
    return made


def keep(settings: Settings, proposed: bool) -> Net:
    """Two shops short of what a warehouse has, kept; with the plan told, or not."""
    here = {"shelves": 1, "namespace": settings.namespace, "policy": default_policy(settings)}
    net = two_shops(**here)
    if proposed:
        put(net, decided(net))
    keep_shelf(settings, net)
    return net


def keep_shelf(settings: Settings, net: Net) -> None:
    async def write() -> None:
        ledger = RedisLedger(settings.redis_url, settings.namespace)
        held = await ledger.acquire(0)
        assert await ledger.keep([(held, keeping.changes(net.shelf, held.place, [], 0))]) == [None]
        await ledger.close()

    asyncio.run(write())


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    assert cli.main([*words, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def of_office(settings: Settings, story: Any) -> Any:
    async def tell() -> Any:
        office = RedisOffice(settings.redis_url, settings.namespace)
        try:
            return await story(office)
        finally:
            await office.close()

    return asyncio.run(tell())


def run(work: Awaitable[T]) -> T:
    async def done() -> T:
        return await work

    return asyncio.run(done())


def test_open_transfers_are_listed_once_and_by_what_is_asked(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each as its receiver has it, with lane, quantity, reason and expiry."""
    net = keep(settings, proposed=True)
    rows = printed(capsys, "transfers")
    assert [(row["from_location"], row["to_location"]) for row in rows] == [("W", "L"), ("W", "M")]
    assert [row["quantity"] for row in rows] == [
        net.shelf.inbound[net.shelf.index["A", place]] / 1000 for place in ("L", "M")
    ]
    assert all(row["reason"] and row["expires_at"] and row["expected_gain"] > 0 for row in rows)
    assert printed(capsys, "transfers", "--to", "M") == rows[1:]
    assert printed(capsys, "transfers", "--status", "shipped") == []
    assert cli.main(["transfers"]) == 0
    assert rows[0]["transfer_id"] in capsys.readouterr().out


def test_what_later_periods_send_is_shown_and_not_proposed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Solved in three periods, put as the standing plan: `--status planned` lists what leaves later, with its day."""
    keep_shelf(settings, narrow_shops(shelves=1, namespace=settings.namespace, policy=default_policy(settings)))
    monkeypatch.setenv("RESTOCK_REBALANCE_PERIODS", "3")
    assert printed(capsys, "transfers", "--status", "planned") == []
    answer = run(solving.solve(settings.changed(rebalance_periods=3)))
    plan = made(answer, 1, answer.as_of_ms, 3_600_000, "", settings.namespace, 1)

    async def puts(office: RedisOffice) -> None:
        await office.lead("t", 60_000, "worker-7")
        await office.put("t", plan.id, len(plan.moves), pack_plan(plan))

    of_office(settings, puts)
    rows = printed(capsys, "transfers", "--status", "planned", "--from", "W")
    assert [row["quantity"] for row in rows] == [later.milli / 1000 for later in answer.later] != []
    assert {row["plan_id"] for row in rows} == {plan.id}
    assert min(row["leaves_at"] for row in rows) > text_from_ms(answer.as_of_ms)
    assert printed(capsys, "transfers") == []


def test_a_solve_in_a_process_of_its_own_answers_what_it_would_here(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Through Redis, a child process and back: the same moves; `try` proposes nothing."""
    net = keep(settings, proposed=False)
    answer = read_answer(run(solve_apart(settings)))
    assert sorted(answer.moves, key=lambda m: m.receiver) == decided(net)
    assert answer.offsets == {"0": net.shelf.offset}
    assert answer.summary["status"] == "optimal"
    shown = printed(capsys, "rebalance", "try")
    assert [row["quantity"] for row in shown] == [m.milli / 1000 for m in answer.moves]
    assert of_office(settings, lambda office: office.plan()) is None


def test_a_solve_has_the_lowest_priority_from_its_first_moment(settings: Settings) -> None:
    """Set before anything is imported, and the solve's own command begins with it."""
    assert solving.COMMAND[1].startswith(apart.LOWEST)
    says = apart.LOWEST + "sys.stdout.write(f'{os.nice(0)} {len([m for m in sys.modules if m == \"numpy\"])}')"
    assert run(solve_apart(settings, ("-S", "-c", says))) == b"19 0"


def test_a_shelf_that_decides_nothing_yet_is_named(settings: Settings) -> None:
    """An empty ledger: there is nothing to solve for, or to fit."""
    with pytest.raises(SolveFailed, match="shelf 0 decides nothing yet"):
        run(apart.read_shelves(settings))


@pytest.mark.parametrize("seconds", [0, 600])
def test_a_shelf_that_closes_a_day_is_waited_for_as_long_as_that_takes(
    seconds: int, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many seconds SKUs may close a day over; then it is named."""
    waited = list[float]()

    async def closing(*_: object) -> None:
        return None

    async def wait(for_s: float) -> None:
        waited.append(for_s)

    monkeypatch.setattr("agents.apart.snapshot.read", closing)
    monkeypatch.setattr("agents.apart.asyncio.sleep", wait)
    with pytest.raises(SolveFailed, match="shelf 0 was closing days all the time"):
        asyncio.run(apart.read_shelves(settings.changed(close_spread_seconds=seconds)))
    assert seconds + 30 <= sum(waited) <= seconds + 60


def test_a_namespace_in_the_midst_of_an_upgrade_plans_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers of the older release would not know the rows: the solve says so."""
    keep(settings, proposed=False)
    monkeypatch.setattr(versions, "NEWEST", versions.NEWEST + 1)
    with pytest.raises(SolveFailed, match="as an older release does"):
        run(apart.read_shelves(settings))


def test_a_solve_is_bounded_in_time_and_in_memory(settings: Settings, tmp_path: Path) -> None:
    """One that hangs is killed and gone; one that takes too much ends with the reason."""
    hangs = tmp_path / "hangs.py"
    note = tmp_path / "pid"
    hangs.write_text(f"import os, time\nopen({str(note)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)\n")
    with pytest.raises(SolveFailed, match="too long"):
        run(solve_apart(settings.changed(rebalance_seconds=6), ("-S", str(hangs))))
    assert note.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)
    greedy = tmp_path / "greedy.py"
    greedy.write_text(
        "import sys\nfrom agents import solving\n"
        "async def solve(settings):\n    return bytearray(3 << 30)\n"
        "solving.solve = solve\nsys.exit(solving.main())\n"
    )
    with pytest.raises(SolveFailed) as failed:
        run(solve_apart(settings.changed(rebalance_memory_mb=512), (str(greedy),)))
    assert "RESTOCK_REBALANCE_MEMORY_MB" in failed.value.detail
    with pytest.raises(SolveFailed) as failed:
        run(solve_apart(settings, ("-c", "import os; os.kill(os.getpid(), 9)")))
    assert "signal 9" in failed.value.detail


def test_status_says_who_leads_and_why_there_is_no_plan(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody, then a leader, then what came of a request."""
    (before,) = printed(capsys, "rebalance", "status")
    assert (before["leader"], before["standing_plan"], before["waiting"]) == (None, None, False)

    async def fails(office: RedisOffice) -> None:
        await office.lead("t", 60_000, "worker-7")
        await office.note("t", json.dumps({"status": "failed", "why": "too slow", "at_ms": 0}), "r")
        await office.ask("another")

    of_office(settings, fails)
    (after,) = printed(capsys, "rebalance", "status")
    assert (after["leader"], after["status"], after["why"], after["waiting"]) == (
        "worker-7",
        "failed",
        "too slow",
        True,
    )
    assert cli.main(["rebalance", "status"]) == 0
    assert "worker-7" in capsys.readouterr().out


def test_nobody_who_answers_is_said(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`now` without a worker: exit code 1, and the request stands for whoever comes."""
    monkeypatch.setattr("agents.commands.asking.MARGIN_S", 0)
    monkeypatch.setenv("RESTOCK_REBALANCE_SECONDS", "1")
    assert cli.main(["rebalance", "now"]) == 1
    assert "nobody leads" in capsys.readouterr().err
    assert of_office(settings, lambda office: office.book()).wanted != ""
