"""Small histories as files: seeded, so that a failing one can be made again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from agents import cli


def demand(rows: int, periods: int, seed: int) -> np.ndarray:
    """Poisson demand (rows, periods) with a week in it, of rows of very different size."""
    rng = np.random.default_rng(seed)
    rate = np.exp(rng.normal(0.5, 1.2, (rows, 1))) * (1.0 + 0.5 * np.sin(np.arange(periods) * 2 * np.pi / 7))
    return rng.poisson(rate).astype(float)


def table(path: Path, units: np.ndarray, **more: np.ndarray) -> Path:
    """A demand table of a SKU a row from 2024-01-01 on, in shuffled order of records."""
    rows, periods = units.shape
    dates = np.datetime64("2024-01-01") + np.arange(periods)
    columns = {
        "date": np.tile(dates, rows),
        "sku": np.repeat([f"S{i:03d}" for i in range(rows)], periods),
        "location": np.repeat(["north", "south"] * rows, periods)[: rows * periods],
        "units": units.reshape(-1),
        **{name: column.reshape(-1) for name, column in more.items()},
    }
    order = np.random.default_rng(1).permutation(rows * periods)
    pq.write_table(pa.table({name: column[order] for name, column in columns.items()}), path)
    return path


def backtest(*words: str | Path) -> int:
    """Run the command; its exit code."""
    return cli.main(["backtest", *map(str, words)])
