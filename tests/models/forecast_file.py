"""Forecasts of a shared data file in the format of score.py; a script, not a test.

usage: python -m tests.models.forecast_file NAME OUT.parquet [--no-plan] [--trees] [--back N]
then:  python ../shared/score.py OUT.parquet DEMAND.parquet --last .. --every .. [--freq ..] [--columns ..]
NAME is a key of SETS. --back N makes origins N periods earlier (a part of history kept for development).
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from models.demand.backtest import forecast_history
from models.demand.panel import Panel, panel
from models.demand.trees import NightlyTrees

DATA = Path(os.environ.get("RESTOCK_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
WEEK_ONE = pd.Timestamp("2000-01-03")  # ordinal weeks start at a Monday
COLUMNS = ["q50", "q80", "q90", "q95", "q975", "q99"]


@dataclass(frozen=True)
class Source:
    """Where a set is, how its columns are called, and how it is judged."""

    file: str
    names: dict[str, str]
    prices: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    freq: str = "D"
    horizon: int = 7
    last: int = 56
    every: int = 7


SETS = {
    "freshretail": Source("freshretail_c3_daily", {}, ("discount",), ("promo", "holiday")),
    "online_retail": Source("online_retail_2010_2011_daily", {}),
    "bakery": Source(
        "bakery_daily",
        {"demand": "units", "product": "sku", "store": "location", "promotion_currentweek": "promo"},
        flags=("promo", "is_holiday", "is_schoolholiday"),
    ),
    "m5_one": Source(
        "m5_one_item_10_stores", {"unique_id": "sku", "ds": "date", "y": "units"}, ("sell_price",), last=364
    ),
    "m5_foods": Source(
        "m5_foods_8_items",
        {"unique_id": "sku", "ds": "date", "y": "units"},
        ("sell_price",),
        ("event_type_Cultural", "event_type_National", "event_type_Religious", "event_type_Sporting"),
        last=364,
    ),
    "carparts": Source(
        "carparts_monthly",
        {"series_no": "sku", "month": "date", "qty": "units"},
        freq="MS",
        horizon=1,
        last=12,
        every=1,
    ),
    "orange_juice": Source(
        "orange_juice_weekly",
        {"brand": "sku", "store": "location", "units_moved": "units"},
        ("price",),
        ("deal", "feat"),
        freq="W-MON",
        horizon=1,
        last=26,
        every=1,
    ),
    "favorita": Source(
        "favorita_21_stores_weekly",
        {"item_idx": "sku", "store_idx": "location", "sales": "units"},
        freq="W-MON",
        horizon=1,
        last=26,
        every=1,
    ),
}


@dataclass(frozen=True)
class Loaded:
    """A set as a panel, with the dates of its periods and the (sku, location) of its rows."""

    source: Source
    panel: Panel
    dates: pd.DatetimeIndex
    rows: pd.MultiIndex


def load(name: str, *, plan: bool = True) -> Loaded:
    """Read a shared set; without `plan` nothing is known ahead."""
    source = SETS[name]
    path = DATA / f"{source.file}.parquet"
    if not path.is_file():
        raise SystemExit(f"no {path}: set RESTOCK_DATA to where the shared data lies")
    table = pd.read_parquet(path).rename(columns=source.names)
    if "week" in table:
        table["price"] = table.apply(lambda row: row[f"price{int(row.sku)}"], axis=1)
    for week in {"week", "week_idx"} & set(table):
        table["date"] = WEEK_ONE + pd.to_timedelta(7 * table[week].astype(int), "D")
    table["location"] = table["location"].astype(str) if "location" in table else ""
    table["sku"], table["date"] = table["sku"].astype(str), pd.to_datetime(table["date"])
    wide = table.pivot_table(index=["sku", "location"], columns="date", values="units", aggfunc="sum")
    dates = pd.date_range(wide.columns.min(), wide.columns.max(), freq=source.freq)

    def column(values: str) -> np.ndarray:
        found = table.pivot_table(index=["sku", "location"], columns="date", values=values)
        return found.reindex(index=wide.index, columns=dates).to_numpy(float)

    groups = tuple(pd.factorize(wide.index.get_level_values(k))[0].astype(np.int64) for k in (0, 1))
    whole = panel(
        wide.reindex(columns=dates).to_numpy(float),
        column("in_stock_fraction") if "in_stock_fraction" in table else None,
        prices=tuple(column(p) for p in source.prices) if plan else (),
        flags=tuple(column(f) for f in source.flags) if plan else (),
        groups=groups,
        season=7 if source.freq == "D" else 1,
        year={"D": 364, "MS": 12}.get(source.freq, 52),
    )
    return Loaded(source, whole, dates, wide.index)


def origins(source: Source, periods: int, back: int = 0) -> list[int]:
    """The origins score.py keeps with `--last` and `--every`, moved `back` periods."""
    newest = periods - 1 - source.horizon - back
    return list(range(newest, newest - (source.last - source.horizon) - 1, -source.every))[::-1]


def main() -> None:
    """Write the forecasts."""
    words = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    words.add_argument("name", choices=sorted(SETS))
    words.add_argument("out")
    words.add_argument("--no-plan", action="store_true")
    words.add_argument("--trees", action="store_true")
    words.add_argument("--back", type=int, default=0)
    asked = words.parse_args()
    loaded = load(asked.name, plan=not asked.no_plan)
    started = time.perf_counter()
    wanted = origins(loaded.source, loaded.panel.periods, asked.back)
    # A guest is weighed by what it told before: give it 16 horizons to be seen in.
    since = max(wanted[0] - 16 * loaded.source.horizon, 0)
    guests = (NightlyTrees(loaded.panel, every_periods=28, from_period=since),) if asked.trees else ()
    made = forecast_history(loaded.panel, [loaded.source.horizon], wanted, guests)[0]
    print(f"{loaded.panel.rows} rows x {loaded.panel.periods} periods in {time.perf_counter() - started:.1f} s")
    frames = []
    for origin, mean, quantiles in zip(made.origins, made.mean, made.quantiles, strict=True):
        frame = loaded.rows.to_frame(index=False)
        frame.insert(0, "date", loaded.dates[origin])
        frame["horizon_periods"], frame["mean"] = loaded.source.horizon, mean
        frame[COLUMNS] = quantiles
        frames.append(frame)
    pd.concat(frames).to_parquet(asked.out, index=False)


if __name__ == "__main__":
    main()
