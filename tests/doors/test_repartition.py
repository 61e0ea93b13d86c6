"""`restock repartition` refuses what cannot be, before it changes anything."""

from __future__ import annotations

import orjson
import pytest
import redis

from agents import cli
from agents.planner.keeping import MOVING
from agents.repartition.move import Move
from stream.ledger.keys import Keys
from tests.doors.conftest import Neighbours


def test_what_cannot_be_is_refused_with_what_to_do(
    neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fewer partitions, nothing to move, no store, another move under way."""
    settings = neighbours.settings(shelves=2, source_partitions=1)
    neighbours.set_variables(monkeypatch, settings)
    assert cli.main(["topics", "create"]) == 0
    capsys.readouterr()

    assert cli.main(["repartition", "--shelves", "1"]) == 2
    assert "partitions cannot be taken away" in capsys.readouterr().err
    for number, said in (("0", "greater than or equal to 1"), ("1025", "less than or equal to 1024")):
        assert cli.main(["repartition", "--shelves", number]) == 2  # RESTOCK_SHELVES could never say it
        assert said in capsys.readouterr().err
    assert cli.main(["repartition", "--shelves", "2"]) == 0
    assert "nothing to do" in capsys.readouterr().err
    assert cli.main(["repartition", "--shelves", "4"]) == 1
    said = capsys.readouterr().out
    assert "no shelf was begun" in said
    assert "nothing was changed" in said
    assert cli.main(["repartition", "--shelves", "4", "--yes"]) == 2
    assert "--store is missing" in capsys.readouterr().err

    keys = Keys(settings.namespace)
    with redis.Redis.from_url(settings.redis_url) as client:
        client.hset(keys.of(0, "own"), "token", "t")
        client.hset(keys.of(0, "meta"), MOVING.decode(), orjson.dumps(Move(2, 1, 6, 1)))
        assert cli.main(["repartition", "--shelves", "4"]) == 2
        assert "a move to 6 shelves and 1 source partitions is under way" in capsys.readouterr().err
        cli.main(["doctor"])
        assert "a move to another number of partitions is under way" in capsys.readouterr().out
