"""What the shop knows of itself, as files: `--truth` a line a row and local day, `--stock` a line a row at the end."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from pathlib import Path

import pyarrow.parquet as pq

from agents.shop.truth import Day, table
from agents.shop.world import World
from stream.errors import SetupError


def require_writable(option: str, path: Path | None) -> None:
    """Raise SetupError where a file cannot be written: it is known before the run, not at its end."""
    if path is None:
        return
    if path.is_dir():
        why = "it is a directory"
    elif not path.parent.is_dir():
        why = f"there is no directory {path.parent}"
    elif not os.access(path if path.exists() else path.parent, os.W_OK):
        why = "it is not ours to write to"
    else:
        return
    raise SetupError(f"cannot write {path}", why, f"name another file with {option}")


class TruthFile:
    """A parquet file that grows by one row group for each location and local day."""

    def __init__(self, path: Path, world: World) -> None:
        self._path, self._world = path, world
        self._writer: pq.ParquetWriter | None = None

    def write(self, days: Iterable[Day]) -> None:
        """Add days. Raises SetupError where the file cannot be written."""
        for day in days:
            rows = range(day.first_row, day.first_row + len(day.sold_units))
            named = table(day, [self._world.sku_of(r) for r in rows], [self._world.location_of(r) for r in rows])
            try:
                if self._writer is None:
                    self._writer = pq.ParquetWriter(self._path, named.schema, compression="zstd")
                self._writer.write_table(named)
            except OSError as error:
                raise SetupError(f"cannot write {self._path}", str(error), "name another file with --truth") from error

    def close(self) -> None:
        """Finish the file: only now it can be read."""
        if self._writer is not None:
            self._writer.close()


def write_stock(path: Path, world: World) -> None:
    """sku, location, units (the books), on_hand (what lies there) and allocated of every row, as of now."""
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            out = csv.writer(file)
            out.writerow(("sku", "location", "units", "on_hand", "allocated"))
            columns = (world.book.tolist(), world.on_hand.tolist(), world.allocated.tolist())
            for row, values in enumerate(zip(*columns, strict=True)):
                out.writerow((world.sku_of(row), world.location_of(row), *values))
    except OSError as error:
        raise SetupError(f"cannot write {path}", str(error), "name another file with --stock") from error
