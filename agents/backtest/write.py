"""What a backtest leaves behind: forecasts.parquet and days.parquet, in order of date, SKU and location."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from agents.backtest.history import History
from agents.backtest.plan import QUANTILE_NAMES, Plan
from agents.backtest.run import Story, Told

Floats = npt.NDArray[np.float64]
PERIODS_A_GROUP = 64  # of rows x periods written at once, so that a long history needs no second copy in memory


def forecasts_file(path: Path, history: History, plan: Plan, told: Sequence[Told]) -> None:
    """date (origin), sku, location, horizon_periods, mean, q50..q99; units."""
    names = ["mean", *QUANTILE_NAMES]
    schema = pa.schema([*_keys(), ("horizon_periods", pa.int32()), *[(n, pa.float64()) for n in names]])
    with pq.ParquetWriter(path, schema, compression="zstd") as out:
        for begin, end in _groups(plan):
            for one in told:
                values = np.concatenate(
                    [one.mean[begin:end, :, None], one.quantiles[begin:end, :, : len(QUANTILE_NAMES)]], axis=2
                )
                keys = _key_columns(history, plan, begin, end)
                horizon = pa.array(np.full(values.shape[0] * values.shape[1], one.horizon, np.int32))
                columns = [pa.array(values[:, :, k].reshape(-1)) for k in range(values.shape[2])]
                out.write_table(pa.Table.from_arrays([*keys, horizon, *columns], schema=schema))


def days_file(path: Path, history: History, plan: Plan, story: Story) -> None:
    """demand, sold, lost, on_hand, on_order, ordered, reorder_point, order_up_to a row and period; units."""
    names = ["demand", "sold", "lost", "on_hand", "on_order", "ordered", "reorder_point", "order_up_to"]
    schema = pa.schema([*_keys(), *[(n, pa.float64()) for n in names]])
    with pq.ParquetWriter(path, schema, compression="zstd") as out:
        for begin, end in _groups(plan):
            columns = [pa.array(getattr(story, n)[begin:end].reshape(-1) / 1000.0) for n in names]
            out.write_table(pa.Table.from_arrays([*_key_columns(history, plan, begin, end), *columns], schema=schema))


def _keys() -> list[tuple[str, pa.DataType]]:
    return [("date", pa.timestamp("ms")), ("sku", pa.utf8()), ("location", pa.utf8())]


def _groups(plan: Plan) -> list[tuple[int, int]]:
    periods = plan.last - plan.first + 1
    return [(b, min(b + PERIODS_A_GROUP, periods)) for b in range(0, periods, PERIODS_A_GROUP)]


def _key_columns(history: History, plan: Plan, begin: int, end: int) -> list[pa.Array]:
    dates = history.dates[plan.first + begin : plan.first + end].astype("M8[ms]")
    rows = pa.array(np.tile(np.arange(history.rows), end - begin))
    return [
        pa.array(np.repeat(dates, history.rows), pa.timestamp("ms")),
        pa.array(history.skus, pa.utf8()).take(rows),
        pa.array(history.locations, pa.utf8()).take(rows),
    ]
