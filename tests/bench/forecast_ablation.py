"""What each expert and each piece of knowledge is worth, and what it costs: one run, printed.

usage: python -m tests.bench.forecast_ablation [SET] [--rows 60] [--origins 16] [--only NAME,NAME]
       python -m tests.bench.forecast_ablation --shop 24 [--rows 120] [--origins 60]

The production family on a seeded sample of rows of a shared set; then with each guest as an expert more; then
with a piece of knowledge taken away. Gain is pinball saved against the family alone, cost CPU seconds more, over the
run. Without SET, a simulated world with known truth in which carts run ahead of demand shows what carts are worth; with
--shop the simulated shop does, whose web carts lead orders by so many hours (0: they say nothing).
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from agents.planner.config import HISTORY_DAYS
from agents.planner.guests import MOST_TIMES
from agents.refit import fit
from agents.shop.config import Config
from agents.shop.world import World
from models.demand.backtest import Guest, forecast_history
from models.demand.contract import Ahead, Floats, Ints, Shared, State, Told
from models.demand.online import Online
from models.demand.panel import Panel, panel
from models.demand.places import LEVELS as QUANTILES
from models.demand.refit import fits
from models.demand.rowwise.learners import LEARNERS, learner
from models.demand.rowwise.net import NeuralNet
from models.demand.scores import pinball
from models.demand.trees import NightlyTrees
from tests.models import forecast_file as files

SEED = 1
REFIT_EVERY = 14


@dataclass
class Refit:
    """The slow lane as a guest: every row fitted anew every REFIT_EVERY periods, in between its word fades.

    `fit` gives the quantiles of a row from its last `kept` periods.
    """

    name: str
    panel: Panel
    fit: Callable[[Floats, Ints], Floats | None]
    from_period: int
    kept: int = fits.LONGEST_PERIODS

    def hear(self, period: int, told: Told) -> None:
        pass

    def quantiles(
        self, family: Online, state: State, shared: Shared, period: int, horizons: Ints, ahead: Ahead
    ) -> Floats | None:
        if period % REFIT_EVERY or period < max(fits.LEAST_PERIODS, self.from_period):
            return None
        seen = np.where(self.panel.exposure >= 0.8, self.panel.units, np.nan)[:, : period + 1][:, -self.kept :]
        told = np.zeros((len(seen), horizons.shape[1], len(QUANTILES)))
        for i, row in enumerate(seen):
            if np.isfinite(row).sum() >= fits.LEAST_PERIODS and (one := self.fit(row, horizons[i])) is not None:
                told[i] = one
        return told


def by(model: Callable[..., fits.Fit], season: int) -> Callable[[Floats, Ints], Floats | None]:
    """Quantiles by one model; nothing where none of its orders can be fitted."""

    def fitted(units: Floats, horizons: Ints) -> Floats | None:
        try:
            return model(units, horizons, QUANTILES, season=season).quantiles
        except ValueError:
            return None

    return fitted


def as_served(units: Floats, horizons: Ints) -> Floats | None:
    """Quantiles by both models, as the slow lane of the service tells them."""
    first = units[int(np.argmax(np.isfinite(units))) :]
    return fit.fit(fit.Task(first, horizons, MOST_TIMES * float(np.nanmax(units)))).quantiles


def carts_world(rows: int, days: int) -> tuple[Panel, Floats]:
    """Demand that follows carts by two days: panel and signals (n, T, 5). Truth: demand ~ yesterday's adds x 0.4."""
    rng = np.random.default_rng(SEED)
    level = rng.choice([2.0, 8.0, 30.0], rows)[:, None]
    waves = np.exp(np.cumsum(rng.normal(0.0, 0.18, (rows, days)), axis=1) * 0.5)
    waves = waves / waves.mean(axis=1, keepdims=True)
    wanted = level * np.clip(waves, 0.2, 5.0)
    early = np.concatenate([wanted[:, 5:], wanted[:, -5:]], axis=1)  # people look and fill carts days before they buy
    adds = rng.poisson(2.5 * early).astype(float)
    signals = np.stack([4.0 * adds, adds, 0.2 * adds, 0.5 * adds, 0.4 * adds], axis=2)
    return panel(rng.poisson(wanted).astype(float)), signals


def shop_world(rows: int, days: int, lead_hours: float) -> tuple[Panel, Floats]:
    """The web location of the simulated shop: what was wanted, and signals (n, T, 5): views, adds and removals."""
    config = Config(
        seed=5, rows=2 * rows, locations=2, customers_day=6, cart_lead_hours=lead_hours, restocking="own", new_share=0,
        ending_share=0,
    )  # fmt: skip
    world = World(config)
    truth = [world.day() for _ in range(days)]

    def column(name: str) -> Floats:
        return np.stack([getattr(day, name)[config.skus :] for day in truth], axis=1).astype(float)

    seen = [column(f"cart_{what}_units") for what in ("viewed", "added", "removed")]
    signals = np.stack([*seen, *(np.zeros_like(seen[0]) for _ in range(2))], axis=2)
    plan = {"prices": (column("price"),), "flags": (column("promotion"), column("holiday"))}
    return panel(column("wanted_units"), **plan), signals


def main() -> None:
    """Print the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("set", nargs="?")
    words.add_argument("--rows", type=int, default=60)
    words.add_argument("--origins", type=int, default=16)
    words.add_argument("--only", default="")
    words.add_argument("--shop", type=float, metavar="LEAD_HOURS")
    asked = words.parse_args()
    print(f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}")
    if asked.shop is not None:
        shop(asked)
    elif asked.set is None:
        carts(asked)
    else:
        lanes(asked)


def carts(asked: argparse.Namespace) -> None:
    """With carts and without, in a world where they tell."""
    world, signals = carts_world(asked.rows, 240)
    origins = [232 - 7 * k for k in range(asked.origins)][::-1]
    rest = {"all": signals}
    for i, name in enumerate(("views", "adds", "removals", "abandonment")):
        left = signals.copy()
        left[:, :, i] = 0.0
        rest[f"without {name}"] = left
    rest["no carts"] = np.zeros_like(signals)
    base = None
    for name, known in rest.items():
        loss = loss_of(world, forecast_history(world, [7], origins, signals=known)[0].quantiles, origins, 7)
        base = loss if base is None else base
        print(f"  {name:22s} pinball {loss:.4f}   {100 * (loss / base - 1):+.1f} %")


def shop(asked: argparse.Namespace) -> None:
    """With the shop's carts and without, by horizon."""
    days = 90 + asked.origins
    world, signals = shop_world(asked.rows, days, asked.shop)
    for span in (1, 3, 7):
        origins = list(range(days - asked.origins - span, days - span))
        without, with_carts = (
            loss_of(world, forecast_history(world, [span], origins, signals=known)[0].quantiles, origins, span)
            for known in (None, signals)
        )
        gain = 100 * (with_carts / without - 1)
        print(f"  {span} days: pinball without carts {without:.4f}, with {with_carts:.4f}, {gain:+.2f} %", flush=True)


def lanes(asked: argparse.Namespace) -> None:
    """Each guest, and each piece of knowledge taken away, on a sample of a shared set."""
    loaded = files.load(asked.set)
    rows = np.sort(np.random.default_rng(SEED).permutation(loaded.panel.rows)[: asked.rows])
    whole, span = some_rows(loaded.panel, rows), loaded.source.horizon
    last = whole.periods - 1 - span
    origins = [last - loaded.source.every * k for k in range(asked.origins)][::-1]
    since = max(origins[0] - 6 * max(span, 1), 28)  # a guest is weighed by what it told: give it horizons to be seen in
    guests: dict[str, Callable[[], Guest]] = {
        **{name: (lambda name=name: learner(name)) for name in LEARNERS},
        "neural net": NeuralNet,
        "trees": lambda: NightlyTrees(whole, from_period=since),
        "ARIMA": lambda: Refit("refit", whole, by(fits.arima, max(whole.season, 1)), since),
        "ETS": lambda: Refit("refit", whole, by(fits.smoothing, max(whole.season, 1)), since),
        "both of six weeks": lambda: Refit("refit", whole, as_served, since, HISTORY_DAYS),
    }
    knowledge: dict[str, Panel] = {
        "without the plan": replace(whole, prices=(), flags=()),
        "without like rows": replace(whole, groups=()),
        "stock-outs read as no demand": replace(whole, exposure=np.ones_like(whole.exposure)),
    }
    print(f"{asked.set}: {len(rows)} rows, {len(origins)} origins, horizon {span}")
    started = time.process_time()
    base = loss_of(whole, forecast_history(whole, [span], origins)[0].quantiles, origins, span)
    cost = time.process_time() - started
    print(f"  {'the family alone':30s} pinball {base:.4f}   {cost:7.1f} s")
    only = set(asked.only.split(",")) - {""}
    for name, made in guests.items():
        if only and name not in only:
            continue
        started = time.process_time()
        loss = loss_of(whole, forecast_history(whole, [span], origins, (made(),))[0].quantiles, origins, span)
        more = time.process_time() - started - cost
        print(f"  + {name:28s} pinball {loss:.4f}   gain {100 * (1 - loss / base):+.1f} %   {more:+7.1f} s", flush=True)
    for name, part in knowledge.items():
        if only and name not in only:
            continue
        loss = loss_of(whole, forecast_history(part, [span], origins)[0].quantiles, origins, span)
        print(f"  {name:30s} pinball {loss:.4f}   {100 * (loss / base - 1):+.1f} %", flush=True)


def some_rows(whole: Panel, rows: Ints) -> Panel:
    """The part of some rows."""
    return replace(
        whole,
        units=whole.units[rows],
        exposure=whole.exposure[rows],
        prices=tuple(p[rows] for p in whole.prices),
        flags=tuple(f[rows] for f in whole.flags),
        groups=tuple(g[rows] for g in whole.groups),
    )


def loss_of(whole: Panel, quantiles: Floats, origins: list[int], span: int) -> float:
    """Pinball over the units that came, both summed over rows and origins that were seen in full."""
    loss = total = 0.0
    for origin, told in zip(origins, quantiles, strict=True):
        window = slice(origin + 1, origin + 1 + span)
        seen = whole.exposure[:, window].min(axis=1) >= 0.8
        actual = whole.units[seen, window].sum(axis=1)
        loss += float(pinball(actual, told[seen], QUANTILES).mean(axis=1).sum())
        total += float(actual.sum())
    return 2.0 * loss / total


if __name__ == "__main__":
    main()
