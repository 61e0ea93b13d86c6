"""`restock stock`: exact values from what the planner kept, whoever holds the shelf."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from agents import cli
from agents.commands.stock import COLUMNS
from agents.planner import keeping, view
from agents.planner.fold import fold
from agents.planner.shelf import Shelf
from agents.settings import Settings
from agents.wiring import default_policy
from stream.events.partition import shelf_of
from stream.ledger.redis_ledger import RedisLedger
from tests.agents.planner.worlds import at_rest, busy, config
from tests.doors.conftest import Neighbours

SKUS = [f"S{i}" for i in range(7)]


async def keep(settings: Settings, number: int) -> Shelf:
    """A busy world folded and kept as one shelf."""
    ledger = RedisLedger(settings.redis_url, settings.namespace)
    held = await ledger.acquire(number)
    here = {"shelf": number, "shelves": settings.shelves, "namespace": settings.namespace}
    shelf = Shelf(config(policy=default_policy(settings), **here))
    fold(shelf, busy(3).records)
    at_rest(shelf)
    assert await ledger.keep([(held, keeping.changes(shelf, held.place, [], 0))]) == [None]
    await ledger.close()
    return shelf


@pytest.fixture
def shelf(neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """An installation with one shelf, kept."""
    settings = neighbours.settings(shelves=1)
    neighbours.set_variables(monkeypatch, settings)
    return asyncio.run(keep(settings, 0))


def expected(shelf: Shelf) -> list[dict[str, Any]]:
    """What the planner itself says of every row, as JSON gives it back."""
    rows = [json.loads(json.dumps(view.exact(shelf, row), default=str)) for row in range(shelf.n)]
    return sorted(rows, key=lambda row: (row["sku"], row["location"]))


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    """The JSON lines of `restock stock`."""
    assert cli.main(["stock", *words, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_all_shows_every_row_as_the_planner_has_it(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is lost between the planner's memory, the ledger and the screen."""
    rows = printed(capsys, "--all")
    assert len(rows) > 10
    assert rows == expected(shelf)
    assert set(COLUMNS) <= rows[0].keys()


def test_a_sku_and_one_location_of_it(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    """Only what was asked for, and the same as in --all."""
    sku = expected(shelf)[0]["sku"]
    of_sku = [row for row in expected(shelf) if row["sku"] == sku]
    assert printed(capsys, sku) == of_sku
    assert printed(capsys, sku, of_sku[-1]["location"]) == of_sku[-1:]


def test_for_people_it_is_a_table_and_for_one_row_all_of_it(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    """Columns for many, a line a field for one."""
    assert cli.main(["stock", "--all"]) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == list(COLUMNS)
    first = expected(shelf)[0]
    assert cli.main(["stock", first["sku"], first["location"]]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == list(first)


def test_a_sku_is_looked_for_on_its_own_shelf(
    neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With several shelves, the one the partitioner names."""
    settings = neighbours.settings(shelves=3)
    neighbours.set_variables(monkeypatch, settings)
    sku = SKUS[0]
    asyncio.run(keep(settings, shelf_of(sku, 3)))
    assert {row["sku"] for row in printed(capsys, sku)} == {sku}


@pytest.mark.parametrize("words", [["no-such"], ["S1", "no-such"]])
def test_what_is_not_known_is_an_error_with_a_hint(
    shelf: Shelf, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    """Exit code 2, not an empty table."""
    assert cli.main(["stock", *words]) == 2
    assert f"the ledger does not know {' at '.join(words)}" in capsys.readouterr().err


def test_an_empty_ledger_says_so(
    neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """--all of nothing is most likely the wrong namespace."""
    neighbours.set_variables(monkeypatch, neighbours.settings())
    assert cli.main(["stock", "--all"]) == 2
    assert "RESTOCK_NAMESPACE" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["S1", "--all"]])
def test_it_takes_either_a_sku_or_all(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Neither and both are refused."""
    assert cli.main(["stock", *words]) == 2
    assert "either a SKU or --all" in capsys.readouterr().err


def test_a_sku_is_found_where_the_ledger_has_it_whatever_is_set_here(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A terminal without RESTOCK_SHELVES looked on another shelf and knew nothing of it."""
    monkeypatch.setenv("RESTOCK_SHELVES", "16")
    sku = next(name for name in SKUS if shelf_of(name, 16) != 0 and any(r["sku"] == name for r in expected(shelf)))
    assert {row["sku"] for row in printed(capsys, sku)} == {sku}


def test_a_snapshot_of_some_of_the_shelves_is_refused(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would push whole ones out of the store; the error names what to set. Where none is, `list` says so."""
    monkeypatch.setenv("RESTOCK_SHELVES", "2")
    assert cli.main(["snapshot", "take", "--store", str(tmp_path)]) == 2
    assert "set RESTOCK_SHELVES=1" in capsys.readouterr().err
    assert cli.main(["snapshot", "list", "--store", str(tmp_path)]) == 1
    assert "no snapshot of namespace" in capsys.readouterr().err
    assert cli.main(["snapshot", "take", "--store", "/proc/nowhere"]) == 2
    assert "could not write a snapshot to /proc/nowhere" in capsys.readouterr().err
