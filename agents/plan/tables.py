"""Files to arrays: stock, demand, lanes, items and fixed send-outs, each checked before anything is solved."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from agents.replay.formats.reading import require_text, shown
from models.network import strata
from models.network.fixed import NOTHING_FIXED, Fixed
from models.network.transfer import Goods, Lanes, Picture
from stream.errors import SetupError
from stream.events.units import MOST_UNITS

Floats = npt.NDArray[np.float64]
QUANTILE = re.compile(r"q(\d{2,3})(?:\.(\d+))?$")  # q50, q99, q975, q97.5
HOLDING_RATE_YEAR = 0.25  # of the unit cost, where an item does not say
FAIR_DAYS_FACTOR = 2.0  # fair share levels cover up to twice the horizon
NAMES = ("location", "sku", "from", "to", "share")


@dataclass(frozen=True)
class Problem:
    """A picture with the names of its rows, columns and lanes."""

    picture: Picture
    fixed: Fixed
    skus: list[str]
    places: list[str]
    horizon_days: float

    @property
    def lanes(self) -> list[str]:
        """Lanes by name, `from-to`."""
        lanes = self.picture.lanes
        return [f"{self.places[a]}-{self.places[b]}" for a, b in zip(lanes.origin, lanes.destination, strict=True)]


def read_problem(
    stock: Path, demand: Path, lanes: Path, items: Path, fixed: Path | None = None, budget: float = np.inf
) -> Problem:
    """Everything a plan is made from. Raises SetupError that names the file, and the row where it is one."""
    tables = [
        Table.read(stock, ("location", "sku", "on_hand"), ("in_transit", "minimum", "frozen")),
        Table.read(demand, ("location", "sku", "horizon_days", "mean"), ()),
        Table.read(lanes, ("from", "to", "unit_cost", "lead_days"), LANE_LIMITS),
        Table.read(items, ("sku", "unit_cost", "unit_price"), ITEM_EXTRAS),
    ]
    held, wanted, ways, goods = tables
    skus = goods.unique("sku")
    places = sorted({*held["location"], *wanted["location"], *ways["from"], *ways["to"]})
    net = _lanes(ways, places)
    at = {name: i for i, name in enumerate(skus)}
    where = {name: i for i, name in enumerate(places)}
    grid = Grid(len(skus), len(places), at, where)
    on_hand, in_transit, minimum, frozen = (
        grid.filled(held, name, signed=name == "on_hand") for name in ("on_hand", "in_transit", "minimum", "frozen")
    )
    picture = _valued(grid, wanted, goods, net, budget, (on_hand, in_transit, minimum, frozen))
    promised = _fixed(fixed, net, grid, places)
    return Problem(picture, promised, skus, places, float(picture.horizon_days.max(initial=1.0)))


LANE_LIMITS = ("capacity_units", "capacity_weight", "capacity_volume")
ITEM_EXTRAS = ("holding_cost_rate_year", "pack_units", "weight", "volume", "share")


class Table:
    """One file: named columns, text or float64; NaN where a number is not given."""

    def __init__(self, path: Path, columns: dict[str, Any], rows: int) -> None:
        self.path, self.columns, self.rows = path, columns, rows

    def __getitem__(self, name: str) -> Any:
        return self.columns[name]

    @staticmethod
    def read(path: Path, needed: tuple[str, ...], more: tuple[str, ...]) -> Table:
        """CSV or parquet, by the end of the name; unknown columns are left alone."""
        raw = _load(path)
        missing = [name for name in needed if name not in raw.column_names]
        if missing:
            raise SetupError(
                f"{path} lacks the column {missing[0]}",
                f"it has {shown(raw.column_names)}",
                f"needed: {', '.join(needed)}; known too: {', '.join(more) or 'q50..q99'}",
            )
        columns = {}
        for name in raw.column_names:
            if raw.column_names.count(name) > 1 and (name in needed or name in more):
                raise SetupError(f"{path} has the column {name} more than once", "", "rename or leave out the others")
            if name in needed or name in more or QUANTILE.match(name):
                columns[name] = _text(path, raw, name) if name in NAMES else _numbers(path, raw, name)
        for name in needed:
            if name not in NAMES and np.isnan(columns[name]).any():
                row = int(np.argmax(np.isnan(columns[name])))
                raise SetupError(f"{path}, row {row + 1}: {name} is empty", "", "every row needs one")
        return Table(path, columns, raw.num_rows)

    def given(self, name: str, default: float) -> Floats:
        """A column that need not be there; empty cells and absent columns are `default`."""
        if name not in self.columns:
            return np.full(self.rows, default)
        return np.where(np.isnan(self.columns[name]), default, self.columns[name])

    def unique(self, name: str) -> list[str]:
        """The names of a column, sorted; twice the same is a mistake."""
        seen: set[str] = set()
        names: list[str] = self[name]
        for row, value in enumerate(names):
            if value in seen:
                raise SetupError(f"{self.path}, row {row + 1}: {name} {value} again", "", "one row each")
            seen.add(value)
        return sorted(seen)

    def check(self, name: str, values: Floats, lawful: npt.NDArray[np.bool_], wanted: str) -> None:
        """Name the first row where a value is not what it must be."""
        if not np.all(lawful):
            row = int(np.argmin(lawful))
            raise SetupError(f"{self.path}, row {row + 1}: {name} is {values[row]:g}", "", f"it must be {wanted}")


def _load(path: Path) -> pa.Table:
    try:
        if path.suffix in (".parquet", ".pq"):
            return pa.parquet.read_table(path)
        require_text(path)
        as_text = {name: pa.string() for name in NAMES}
        return pa.csv.read_csv(path, convert_options=pa.csv.ConvertOptions(column_types=as_text))
    except (OSError, pa.ArrowInvalid) as error:
        raise SetupError(f"cannot read {path}", str(error), "a CSV file with a header line, or parquet") from error


def _text(path: Path, raw: pa.Table, name: str) -> list[str]:
    values: list[str] = raw.column(name).cast(pa.string()).to_pylist()
    for row, value in enumerate(values):
        if (value is None or value == "") and name != "share":
            raise SetupError(f"{path}, row {row + 1}: {name} is empty", "", "every row needs one")
    return values


def _numbers(path: Path, raw: pa.Table, name: str) -> Floats:
    try:
        column = raw.column(name).cast(pa.float64()).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SetupError(f"{path}: {name} is not a column of numbers", str(error), "") from error
    values: Floats = np.array(column, dtype=float)
    if np.isinf(values).any() and not name.startswith("capacity"):
        raise SetupError(f"{path}, row {int(np.argmax(np.isinf(values))) + 1}: {name} is infinite", "", "")
    beyond = np.isfinite(values) & (np.abs(values) > MOST_UNITS)
    if beyond.any() and not name.startswith("capacity"):
        row = int(np.argmax(beyond))
        hint = f"it must be at most {MOST_UNITS:,.0f}; count in a larger unit"
        raise SetupError(f"{path}, row {row + 1}: {name} is {values[row]:g}", "", hint)
    return values


@dataclass(frozen=True)
class Grid:
    """SKUs by locations, and where a row of a file belongs in it."""

    skus: int
    places: int
    at: dict[str, int]
    where: dict[str, int]

    def cells(self, table: Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """SKU and location number of each row; unknown SKUs and repeated rows are mistakes."""
        for row, name in enumerate(table["sku"]):
            if name not in self.at:
                raise SetupError(
                    f"{table.path}, row {row + 1}: sku {name} is in no row of the items", "", "add it there"
                )
        k = np.array([self.at[name] for name in table["sku"]], dtype=np.int64)
        i = np.array([self.where[name] for name in table["location"]], dtype=np.int64)
        _, first, count = np.unique(k * self.places + i, return_index=True, return_counts=True)
        if np.any(count > 1):
            row = int(first[np.argmax(count > 1)])
            what = f"{table['sku'][row]} at {table['location'][row]}"
            raise SetupError(f"{table.path}: {what} has more than one row", "", "one row a SKU and location")
        return k, i

    def filled(self, table: Table, name: str, signed: bool = False) -> Floats:
        """A column on the grid, zero where no row says."""
        values = table.given(name, 0.0)
        if not signed:
            table.check(name, values, values >= 0, "zero or more")
        grid = np.zeros((self.skus, self.places))
        grid[self.cells(table)] = values
        return grid


def _lanes(table: Table, places: list[str]) -> Lanes:
    where = {name: i for i, name in enumerate(places)}
    origin = np.array([where[name] for name in table["from"]], dtype=np.int64)
    destination = np.array([where[name] for name in table["to"]], dtype=np.int64)
    if np.any(origin == destination):
        row = int(np.argmax(origin == destination))
        raise SetupError(
            f"{table.path}, row {row + 1}: a lane from {table['from'][row]} to itself",
            "",
            "leave it out: it hides shortages",
        )
    table.check("lead_days", table["lead_days"], table["lead_days"] >= 0, "zero or more")
    ways = np.stack([origin, destination])
    if ways.shape[1] > len(np.unique(ways.T, axis=0)):
        seen = list(zip(table["from"], table["to"], strict=True))
        row = next(n for n, way in enumerate(seen) if way in seen[:n])
        raise SetupError(
            f"{table.path}, row {row + 1}: the lane {'-'.join(seen[row])} again", "", "one row a direction"
        )
    limits = {name: table.given(name, np.inf) for name in LANE_LIMITS}
    for name, values in limits.items():
        table.check(name, values, values >= 0, "zero or more")
    return Lanes(origin, destination, table["unit_cost"], table["lead_days"], **limits)


def _valued(
    grid: Grid, demand: Table, items: Table, lanes: Lanes, budget: float, stock: tuple[Floats, Floats, Floats, Floats]
) -> Picture:
    order = np.argsort([grid.at[name] for name in items["sku"]])
    cost, price = items["unit_cost"][order], items["unit_price"][order]
    rate = items.given("holding_cost_rate_year", HOLDING_RATE_YEAR)[order]
    pack = items.given("pack_units", 1.0)
    for name in ("unit_cost", "unit_price", "holding_cost_rate_year"):
        money = items.given(name, 0.0)
        items.check(name, money, money >= 0, "zero or more")
    for name, values, lawful, wanted in (
        ("pack_units", pack, pack > 0, "more than zero"),
        ("weight", items.given("weight", 0.0), items.given("weight", 0.0) >= 0, "zero or more"),
        ("volume", items.given("volume", 0.0), items.given("volume", 0.0) >= 0, "zero or more"),
        ("horizon_days", demand["horizon_days"], demand["horizon_days"] > 0, "more than zero"),
    ):
        (demand if name == "horizon_days" else items).check(name, values, lawful, wanted)
    horizon = np.full((grid.skus, grid.places), demand["horizon_days"].max(initial=1.0))
    horizon[grid.cells(demand)] = demand["horizon_days"]
    held_days = horizon.min(axis=1, keepdims=True, initial=np.inf)
    holding = np.broadcast_to((cost * rate / 365)[:, None] * held_days, horizon.shape)
    margin = np.broadcast_to(np.maximum(price - cost, 0.0)[:, None], horizon.shape)
    goods = Goods(pack[order], items.given("weight", 0.0)[order], items.given("volume", 0.0)[order])
    fair = _fair(grid, items, order)
    wanted_strata = _strata(grid, demand, fair, horizon)
    return Picture(lanes, goods, wanted_strata, *stock, horizon, margin + holding, holding, budget, fair=fair)


def _fair(grid: Grid, items: Table, order: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    shares = [items["share"][i] or "marginal" for i in order] if "share" in items.columns else ["marginal"] * grid.skus
    if unknown := sorted(set(shares) - {"marginal", "fair"}):
        raise SetupError(f"{items.path}: share {unknown[0]}", "", "marginal or fair")
    return np.array([share == "fair" for share in shares])


def _strata(grid: Grid, demand: Table, is_fair: npt.NDArray[np.bool_], horizon: Floats) -> strata.Strata:
    found = {}
    for name in demand.columns:
        if match := QUANTILE.match(name):
            if match[1] == "100":
                raise SetupError(f"{demand.path}: {name} is no quantile", "", "q975 is 97.5 %; the most is under 100 %")
            found[float(f"0.{match[1]}{match[2] or ''}")] = name
    if len(found) == 0:
        raise SetupError(f"{demand.path} has no quantiles", "", "columns like q50, q90, q99")
    levels = sorted(found)
    mean = grid.filled(demand, "mean")
    quantiles = np.stack([grid.filled(demand, found[level]) for level in levels])
    marginal = strata.from_quantiles(mean, np.array(levels), quantiles)
    if not np.any(is_fair):
        return marginal
    days = horizon.max(axis=1) * FAIR_DAYS_FACTOR
    return strata.by_rule(marginal, strata.fair(mean / horizon, days), is_fair)


def _fixed(path: Path | None, lanes: Lanes, grid: Grid, places: list[str]) -> Fixed:
    """Send-outs already promised: from, to, sku, units, and the period each leaves in."""
    if path is None:
        return NOTHING_FIXED
    table = Table.read(path, ("from", "to", "sku", "units"), ("period",))
    table.check("units", table["units"], table["units"] > 0, "more than zero")
    period = table.given("period", 0.0)
    table.check("period", period, (period >= 0) & (period == np.floor(period)), "a whole number from 0 on")
    known = {(places[a], places[b]): n for n, (a, b) in enumerate(zip(lanes.origin, lanes.destination, strict=True))}
    sku, lane = [], []
    for row, (a, b, name) in enumerate(zip(table["from"], table["to"], table["sku"], strict=True)):
        if (a, b) not in known or name not in grid.at:
            raise SetupError(f"{path}, row {row + 1}: no lane {a}-{b} or no sku {name}", "", "add it to lanes or items")
        sku.append(grid.at[name])
        lane.append(known[a, b])
    return Fixed(np.array(sku, np.int64), np.array(lane, np.int64), table["units"], period.astype(np.int64))
