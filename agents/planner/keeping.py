"""A shelf to ledger sections and back: what changed since the last write, and everything at acquisition."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import orjson

from agents.planner import guards, restoring, versions, wakes
from agents.planner.config import PlannerConfig
from agents.planner.shelf import Rows, Shelf, Wake
from agents.planner.view import readable
from stream.errors import PartitionsChanged, SetupError
from stream.ledger.port import Place, Write

_wakes_encode = msgspec.msgpack.Encoder().encode
_wakes_decode = msgspec.msgpack.Decoder(list[Wake]).decode


REBUILDING = b"rebuilding"  # a field of meta while `restock ledger rebuild` is at work, and the only one
MOVING = b"moving"  # a field of meta while `restock repartition` is at work, in the end the only one


def place(shelf: Shelf) -> Place:
    """Where the shelf stands."""
    if not shelf.pending:
        return Place(shelf.offset)
    first, last = shelf.pending[0], shelf.pending[-1]
    sweep = (last.offset, len(shelf.pending), shelf.pass_wakes, shelf.cursor, first.watermark_ms)
    return Place(shelf.offset, ":".join(map(str, sweep)))


def changes(shelf: Shelf, expected: Place, messages: Any, views: int) -> Write:
    """Everything that changed since the last call, as one write; at most `views` readable hashes with it."""
    hot, model, view = shelf.dirty_hot.take(), shelf.dirty_model.take(), shelf.dirty_view.take(views)
    facts = {name.encode(): _encoded(shelf.facts.facts.get(name)) for name in sorted(shelf.changed_facts)}
    write = Write(
        expected,
        place(shelf),
        {
            "hot": shelf.pack_hot(hot),
            "model": shelf.pack_model(model),
            "shared": shelf.commons.pack_changes() | shelf.lead_times.pack_changes(),
            "facts": facts,
            "journal": dict(shelf.journal.changed),
            "carts": shelf.carts.pack_changes(),
            "transfers": shelf.pack_transfers(),
        },
        messages,
        readable(shelf, view) if len(view) else {},
    )
    if not shelf.dirty_view:
        # rows still to be woken will carry the offset of their wake
        shelf.clean_through = shelf.pending[0].offset if shelf.pending else max(shelf.offset, 0)
    now = meta(shelf)
    gone: dict[bytes, bytes | None] = dict.fromkeys(shelf.kept_meta.keys() - now.keys())
    write.changes["meta"] = gone | {name: value for name, value in now.items() if shelf.kept_meta.get(name) != value}
    shelf.kept_meta = now
    shelf.journal.changed.clear()
    shelf.changed_facts.clear()
    return write


def _encoded(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def meta(shelf: Shelf) -> dict[bytes, bytes]:
    """The shelf's own numbers, by field; of these a write carries the ones that changed."""
    return {
        **version_fields(shelf.readers, shelf.version),
        **shelf.commons.meta(),
        b"fixed": shelf.kept_meta.get(b"fixed") or _json(shelf.config.fixed()),
        b"marks": _json({f"{s}:{p}": m for (s, p), m in sorted(shelf.marks.items())}),
        b"high_water": _json({f"{s}:{p}": v for (s, p), v in sorted(shelf.high_water.items())}),
        b"watermark_ms": str(shelf.watermark_ms).encode(),
        b"counters": _json(dict(sorted(shelf.counters.items()))),
        b"pending": _wakes_encode(shelf.pending),
        b"sweep": _json([shelf.pass_wakes, shelf.cursor]),
        **({} if shelf.closing_end_ms is None else {b"closing": b"%d" % shelf.closing_end_ms}),
        b"zones": _json(shelf.zones),
        b"journal": _json([shelf.journal.first, shelf.journal.horizon_ms]),
        b"clean_through": str(shelf.clean_through).encode(),
    }


def version_fields(readers: int, version: int) -> dict[bytes, bytes]:
    """Which code may read the shelf, and by which version it decides. 0.1.0 knows only the former, and is version 1."""
    said = {b"version": str(readers).encode()}
    return said if readers == versions.FIRST else {**said, b"deciding": str(version).encode()}


def _json(value: Any) -> bytes:
    return orjson.dumps(value)


def load(config: PlannerConfig, sections: Mapping[str, Mapping[bytes, bytes]], offset: int) -> Shelf:
    """The shelf as it was kept. Raises PartitionsChanged or SetupError where it was begun under another shape.

    And SetupError where no release wrote it so: a version's layout may change until it is released.
    """
    kept = sections.get("meta", {})
    if not kept:
        return Shelf(config)
    config = _checked(config, kept)
    try:
        return _loaded(config, sections, offset)
    except (ValueError, KeyError, msgspec.MsgspecError) as wrong:
        raise SetupError(
            f"the state of shelf {config.shelf} is not as a release keeps it",
            f"version {config.version}: {wrong!r}; nothing was changed",
            "start the code that wrote it; or, where a snapshot of a release and the log, or the whole log, are there, "
            "`restock ledger rebuild`; else begin a new namespace",
        ) from wrong


def _loaded(config: PlannerConfig, sections: Mapping[str, Mapping[bytes, bytes]], offset: int) -> Shelf:
    shelf, kept = Shelf(config), sections["meta"]
    shelf.readers = int(kept[b"version"])
    shelf.offset, shelf.kept_meta = offset, dict(kept)
    shelf.watermark_ms = int(kept[b"watermark_ms"])
    shelf.live = shelf.watermark_ms >= config.warm_until_ms
    shelf.zones = orjson.loads(kept[b"zones"])
    for text, value in orjson.loads(kept[b"marks"]).items():
        source, partition = text.split(":")
        shelf.marks[int(source), int(partition)] = value
    for text, value in orjson.loads(kept[b"high_water"]).items():
        source, partition = text.split(":")
        shelf.high_water[int(source), int(partition)] = value
    shelf.counters = Counter(orjson.loads(kept[b"counters"]))
    shelf.commons.load(kept, sections.get("shared", {}))
    shelf.lead_times.load(sections.get("shared", {}))
    shelf.pending = _wakes_decode(kept[b"pending"])
    shelf.pass_wakes, shelf.cursor = orjson.loads(kept[b"sweep"])
    shelf.closing_end_ms = int(kept[b"closing"]) if b"closing" in kept else None
    shelf.clean_through = int(kept[b"clean_through"])
    for name, fact in sorted(sections.get("facts", {}).items()):
        shelf.facts.put(name.decode(), fact.decode())
    first, horizon_ms = orjson.loads(kept[b"journal"])
    shelf.journal.load(dict(sections.get("journal", {})), first, horizon_ms)
    shelf.carts.load(dict(sections.get("carts", {})))
    restoring.add_packed(shelf, sections.get("hot", {}), sections.get("model", {}))
    shelf.add_transfers(sections.get("transfers", {}))
    rows: Rows = np.arange(shelf.n)
    if shelf.n:
        guards.unsettled(shelf, rows)
        wakes.refresh_due(shelf, rows)
        shelf.dirty_view.add(np.flatnonzero(shelf.hot["as_of_offset"][: shelf.n] >= shelf.clean_through))
    return shelf


def begun_with(config: PlannerConfig, meta: Mapping[bytes, bytes]) -> PlannerConfig:
    """The configuration with what was fixed when the ledger was begun, whatever our settings say.

    Raises SetupError while the shelf is not whole.
    """
    _require_whole(config.shelf, meta)
    fixed = orjson.loads(meta[b"fixed"])
    fixed["shape"] = {int(source): partitions for source, partitions in fixed["shape"].items()}
    return replace(config, **fixed)


def require_not_moving(shelf: int, meta: Mapping[bytes, bytes]) -> None:
    """Raise SetupError while `restock repartition` is at work on a shelf."""
    if MOVING in meta:
        raise SetupError(
            f"shelf {shelf} is being moved to another number of partitions",
            f"the move is {meta[MOVING].decode()}",
            "run `restock repartition` again: it goes on where it was interrupted",
        )


def _require_whole(shelf: int, meta: Mapping[bytes, bytes]) -> None:
    if REBUILDING in meta:
        raise SetupError(
            f"shelf {shelf} is being rebuilt",
            "its state is not whole",
            "wait for `restock ledger rebuild`, or run it again where it was interrupted",
        )
    require_not_moving(shelf, meta)


def _checked(config: PlannerConfig, kept: Mapping[bytes, bytes]) -> PlannerConfig:
    """The configuration, with what the shelf's own history fixed: the end of its warm-up, its version."""
    _require_whole(config.shelf, kept)
    readers = int(kept[b"version"])
    if readers > versions.NEWEST:
        raise SetupError(
            f"shelf {config.shelf} was written by newer code",
            f"its state has version {readers}, this code writes up to version {versions.NEWEST}",
            "start the newer release; to go back, restore a snapshot taken before `restock upgrade --finish`",
        )
    then, now = orjson.loads(kept[b"fixed"]), config.fixed()
    for name in ("shape", "shelves"):
        if then[name] != now[name]:
            raise PartitionsChanged(
                f"the number of partitions has changed since shelf {config.shelf} was begun",
                f"{name} was {then[name]}, is {now[name]}",
                "set RESTOCK_SHELVES, RESTOCK_SOURCE_PARTITIONS and RESTOCK_FACT_PARTITIONS back; "
                "`restock repartition` moves to more",
            )
    if then["namespace"] != now["namespace"]:
        raise SetupError(
            f"shelf {config.shelf} was begun in another namespace",
            f"it was {then['namespace']}, is {now['namespace']}",
            "set RESTOCK_NAMESPACE back",
        )
    version = int(kept.get(b"deciding", kept[b"version"]))
    return replace(config, warm_until_ms=then["warm_until_ms"], version=version)
