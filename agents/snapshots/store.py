"""The snapshot store: a directory, and in it one folder a snapshot. docs/snapshots.md describes it for other programs.

    STORE/NAMESPACE/20261126T031500123Z/
        shelf-3.arrow     every field of the shelf's sections and outbox, as an Arrow file: section, field, value
        manifest.json     where each shelf stood, checksums, versions; written last

A snapshot is made under a name that begins with a dot and renamed when all of it is on disk: there is never half a one.
Whoever reads compares checksums, so a damaged file is refused, not believed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from stream.errors import SetupError
from stream.ledger.port import Fields, Place, ShelfCopy

FORMAT = 1
FIELDS_A_BATCH = 5_000  # of 1.5 kB: 8 MB in memory while writing
MANIFEST = "manifest.json"
SCHEMA = pa.schema([("section", pa.string()), ("field", pa.binary()), ("value", pa.binary())])
OUTBOX = "outbox"


@dataclass(frozen=True)
class ShelfEntry:
    """A shelf in a manifest."""

    shelf: int
    file: str
    sha256: str
    bytes: int
    rows: int
    offset: int  # next record of sku-events to fold
    sweep: str
    published: dict[str, int]  # outgoing topic -> offset below which all is known to be published


@dataclass(frozen=True)
class Manifest:
    """What a snapshot says of itself."""

    format: int
    namespace: str
    taken_at: str  # RFC 3339
    release: str
    shelves: tuple[ShelfEntry, ...]
    sources: tuple[tuple[str, int, int, int | None], ...]  # topic, partition, offset, mark_ms of intake

    def entry(self, shelf: int) -> ShelfEntry | None:
        """A shelf's entry."""
        return next((entry for entry in self.shelves if entry.shelf == shelf), None)


class Store:
    """The snapshots of one namespace under a directory."""

    def __init__(self, directory: Path, namespace: str) -> None:
        self.folder, self.namespace = directory / namespace, namespace

    def snapshots(self) -> Iterator[tuple[Path, Manifest]]:
        """Whole snapshots, newest first. Raises SetupError for one written by newer code."""
        for path in sorted(self.folder.glob("[0-9]*"), reverse=True):
            if (path / MANIFEST).exists():
                yield path, _read_manifest(path / MANIFEST)

    def begin(self, at_ms: int) -> Draft:
        """A snapshot to be filled and then published."""
        name = datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y%m%dT%H%M%S") + f"{at_ms % 1000:03d}Z"
        draft = self.folder / f".{name}"
        draft.mkdir(parents=True)
        return Draft(draft, self.folder / name)

    def prune(self, keep: int) -> list[Path]:
        """Remove all but the newest `keep` snapshots, and drafts nobody finished; returns what was removed."""
        gone = [path for path, _ in self.snapshots()][keep:] + list(self.folder.glob(".[0-9]*"))
        for path in gone:
            shutil.rmtree(path)
        return gone


@dataclass(frozen=True)
class Draft:
    """A snapshot that is not one yet."""

    at: Path
    to: Path

    def add(self, copy: ShelfCopy) -> ShelfEntry:
        """Write a shelf's file, to disk."""
        path = self.at / f"shelf-{copy.shelf}.arrow"
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, SCHEMA, options=options) as out:
            for batch in _batches(copy):
                out.write_batch(batch)
        _sync(path)
        rows, place = len(copy.sections.get("hot", {})), copy.place
        return ShelfEntry(
            copy.shelf, path.name, _sha256(path), path.stat().st_size, rows, place.offset, place.sweep, copy.published
        )

    def publish(self, manifest: Manifest) -> Path:
        """Make it a snapshot, all at once."""
        path = self.at / MANIFEST
        path.write_text(json.dumps(asdict(manifest), indent=1) + "\n", "utf-8")
        _sync(path)
        _sync(self.at)
        self.at.rename(self.to)
        _sync(self.to.parent)
        return self.to


def read(folder: Path, entry: ShelfEntry) -> ShelfCopy:
    """A shelf's copy. Raises SetupError where the file is gone or is not what was written."""
    path = folder / entry.file
    found = _sha256(path) if path.exists() else "nothing"
    if found != entry.sha256:
        raise SetupError(
            f"the snapshot of shelf {entry.shelf} is damaged",
            f"{path} has checksum {found[:12]}, its manifest says {entry.sha256[:12]}",
            "use an older snapshot: move this one out of the store",
        )
    sections: dict[str, Fields] = {}
    outbox: list[bytes] = []
    with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:
        for i in range(file.num_record_batches):
            columns = file.get_batch(i).to_pydict()
            for section, field, value in zip(columns["section"], columns["field"], columns["value"], strict=True):
                if section == OUTBOX:
                    outbox.append(value)
                else:
                    sections.setdefault(section, {})[field] = value
    return ShelfCopy(entry.shelf, Place(entry.offset, entry.sweep), sections, outbox, dict(entry.published))


def _batches(copy: ShelfCopy) -> Iterator[pa.RecordBatch]:
    parts = [(name, sorted(fields.items())) for name, fields in sorted(copy.sections.items())]
    parts.append((OUTBOX, [(b"%d" % i, entry) for i, entry in enumerate(copy.outbox)]))
    for section, items in parts:
        for at in range(0, len(items), FIELDS_A_BATCH):
            fields, values = zip(*items[at : at + FIELDS_A_BATCH], strict=True)
            arrays = [pa.array([section] * len(fields)), pa.array(fields, pa.binary()), pa.array(values, pa.binary())]
            yield pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def _read_manifest(path: Path) -> Manifest:
    said: dict[str, Any] = json.loads(path.read_text("utf-8"))
    if said["format"] > FORMAT:
        raise SetupError(
            f"{path} was written by newer code",
            f"its format is {said['format']}, this code reads {FORMAT}",
            "use the release that wrote it",
        )
    shelves = tuple(ShelfEntry(**entry) for entry in said["shelves"])
    return Manifest(**{**said, "shelves": shelves, "sources": tuple(tuple(at) for at in said["sources"])})


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Wait until a file or folder is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
