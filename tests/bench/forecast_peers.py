"""Our forecasts beside their peers on the shared sets, in one run, scored by the score.py that lies beside the data.

usage: python -m tests.bench.forecast_peers SET[,SET...] [--back N] [--rows N] [--trials 30] [--sample 100]
       [--no-trees] [--no-automatic] [--no-smoothers]

Peers: smoothers with the best memory a row and statsforecast's automatic models, both with pooled errors of the sum;
LightGBM quantiles on the production family's features (the plan among them), and on these and the rows' own past,
parameters of each the best of `--trials` random ones on horizons that were over before the first scored origin.
Automatic models run on a seeded sample of rows, and so does everybody in their comparison. Ratios are ours over theirs,
with 90 % intervals by bootstrap over origins.
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from models.demand import peers
from models.demand.backtest import forecast_history
from models.demand.contract import Ahead, Floats, Ints, Shared, State, Told
from models.demand.online import Online
from models.demand.panel import Panel
from models.demand.places import LEVELS as QUANTILES
from models.demand.tree_trials import best_parameters
from models.demand.trees import Forest, NightlyTrees, Trees, features_of, grown, thinned, told_by, with_size
from tests.bench.forecast_ablation import some_rows
from tests.models import forecast_file as files

SEED = 1
PLAIN, WITH_PAST = "LightGBM, tuned", "LightGBM, tuned, with the past"
OVER = "with trees / {}"
LEAST_OF_A_SEGMENT = 100  # forecasts, as score.py counts


def scorer() -> Any:
    """score.py beside the data."""
    spec = importlib.util.spec_from_file_location("score", files.DATA.parent / "score.py")
    if spec is None or spec.loader is None:
        raise SystemExit("score.py is not beside the data: this bench scores by it")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class Heard(NightlyTrees):
    """Trees that are heard by the mixture, beside the peers: plain forests that are not.

    Peers are trained as often, on the same lessons: one sees the family's features alone, the other, our trees' first
    forest, the rows' own past as well. Parameters of each are chosen once, on what was over before the first training.
    """

    trials: int = 30
    periods: set[int] = field(default_factory=set)
    plain: Forest = ()
    plain_parameters: dict[str, Any] = field(default_factory=dict)
    plain_rounds: int = 0
    kept: dict[str, dict[int, Floats]] = field(default_factory=lambda: {PLAIN: {}, WITH_PAST: {}})

    def trained(self, family: Online, shared: Shared, lessons: Told, past: Floats) -> Trees:
        if not self.parameters:
            self.parameters, self.rounds = best_parameters(lessons, self.trials, past)
            self.plain_parameters, self.plain_rounds = best_parameters(lessons, self.trials)
        some = lessons[thinned(len(lessons))]
        sized = with_size(features_of(some), some["scale"].astype(np.float64), some["span"])
        nothing = np.zeros((len(some), len(QUANTILES)))
        self.plain = grown(sized, some, nothing, self.plain_rounds, self.plain_parameters)
        return super().trained(family, shared, lessons, past)

    def quantiles(
        self, family: Online, state: State, shared: Shared, period: int, horizons: Ints, ahead: Ahead
    ) -> Floats | None:
        told = super().quantiles(family, state, shared, period, horizons, ahead)
        if told is not None and self.trees is not None and period in self.periods:
            now, horizon = np.full(len(state), period), horizons[:, 0]
            features, scale = family.features(state, shared, now, horizon, ahead)
            past = self.past.before(np.arange(len(state)), now, horizon, scale)
            peers_told = {
                PLAIN: told_by(self.plain, with_size(features, scale, horizon), np.zeros(1)),
                WITH_PAST: self.trees.from_nothing(features, scale, horizon, past),
            }
            for who, quantiles in peers_told.items():
                self.kept[who][period] = quantiles * scale[:, None]
        return told


@dataclass(frozen=True)
class Judge:
    """Scores quantiles of all rows at the origins by score.py, and compares two by origin."""

    source: files.Source
    panel: Panel
    origins: list[int]
    score: Any

    def losses(self, quantiles: Floats, rows: Ints | None = None) -> tuple[Floats, Floats]:
        """Sum of pinball, and of scale, at each origin."""
        span, units = self.source.horizon, self.panel.units
        scale, cap, _, _ = self.score.scales(units, span, min(self.origins) + 1)
        pairs = []
        for origin, told in zip(self.origins, quantiles, strict=True):
            z = units[:, origin + 1 : origin + 1 + span].sum(axis=1)
            keep = np.isfinite(scale)
            if self.source.file.startswith("freshretail"):
                keep &= self.panel.exposure[:, origin + 1 : origin + 1 + span].min(axis=1) >= 0.8
            if rows is not None:
                keep &= np.isin(np.arange(len(z)), rows)
            loss = self.score.pin(np.minimum(z, cap)[keep], np.minimum(told, cap[:, None])[keep]).mean(axis=1)
            pairs.append((loss.sum(), scale[keep].sum()))
        loss, total = np.array(pairs).T
        return loss, total

    def whole(self, quantiles: Floats) -> dict[str, Any]:
        """Everything score.py says."""
        row, came, told, _ = self._judged(quantiles)
        scale, cap, _, segment = self._scales()
        return dict(self.score.score(row, came, told, scale, cap, segment, self._counts))

    def worst_segment(self, quantiles: Floats) -> tuple[str, float, float]:
        """The segment of 100 forecasts or more that is furthest off at a level from .9 on: by how much, and its error.

        The standard error is clustered by origin: rows of one origin share its shocks.
        """
        row, came, told, origin = self._judged(quantiles)
        scale, _, _, segment = self._scales()
        told = np.ceil(told - 1e-6) if self._counts else told
        found = [("none", 0.0, 0.0)]
        for name in np.unique(segment[row]):
            here = (segment[row] == name) & np.isfinite(scale[row])
            if here.sum() < LEAST_OF_A_SEGMENT:
                continue
            for k in np.flatnonzero(QUANTILES >= 0.9):
                under = (came[here] < told[here, k] - 1e-9).astype(float)
                within = (came[here] <= told[here, k] + 1e-9).astype(float)
                share = within if within.mean() < QUANTILES[k] else under
                miss = max(QUANTILES[k] - within.mean(), under.mean() - QUANTILES[k], 0.0)
                each = np.bincount(origin[here], share - share.mean())
                found.append((str(name), float(miss), float(np.sqrt((each**2).sum()) / here.sum())))
        return max(found, key=lambda one: one[1])

    @property
    def _counts(self) -> bool:
        return bool(np.allclose(self.panel.units, np.round(self.panel.units)))

    def _scales(self) -> Any:
        return self.score.scales(self.panel.units, self.source.horizon, min(self.origins) + 1)

    def _judged(self, quantiles: Floats) -> tuple[Ints, Floats, Floats, Ints]:
        """Row, demand that came, quantiles told and origin of each forecast that counts."""
        span, units = self.source.horizon, self.panel.units
        rows, sums, told = [], [], []
        for origin, q in zip(self.origins, quantiles, strict=True):
            window = slice(origin + 1, origin + 1 + span)
            keep = np.ones(len(units), bool)
            if self.source.file.startswith("freshretail"):
                keep = self.panel.exposure[:, window].min(axis=1) >= 0.8
            rows.append(np.flatnonzero(keep))
            sums.append(units[keep, window].sum(axis=1))
            told.append(q[keep])
        origins = np.repeat(self.origins, [len(some) for some in rows])
        return np.concatenate(rows), np.concatenate(sums), np.concatenate(told), origins

    def ratio(self, one: Floats, two: Floats, rows: Ints | None = None) -> tuple[float, float, float]:
        """Pooled pinball of one over that of two, and its 90 % interval by bootstrap over origins."""
        a, _ = self.losses(one, rows)
        b, _ = self.losses(two, rows)
        drawn = np.random.default_rng(SEED).integers(0, len(a), (2000, len(a)))
        ratios = a[drawn].sum(axis=1) / b[drawn].sum(axis=1)
        return float(a.sum() / b.sum()), float(np.quantile(ratios, 0.05)), float(np.quantile(ratios, 0.95))


def run(name: str, asked: argparse.Namespace) -> dict[str, tuple[float, float, float]]:
    """One set: everybody's scores and our ratios to them."""
    loaded = files.load(name)
    source, panel = loaded.source, loaded.panel
    if asked.rows and asked.rows < panel.rows:
        panel = some_rows(panel, np.sort(np.random.default_rng(SEED).permutation(panel.rows)[: asked.rows]))
    wanted = files.origins(source, panel.periods, asked.back)
    judge = Judge(source, panel, wanted, scorer())
    found: dict[str, tuple[float, float, float]] = {}
    best: list[tuple[float, Floats]] = []  # pooled pinball and quantiles of the classical peers on these rows

    def say(who: str, quantiles: Floats, seconds: float, ours: Floats | None = None, rows: Ints | None = None) -> None:
        loss, scale = judge.losses(quantiles, rows)
        text = f"  {who:34s} pooled {loss.sum() / scale.sum():.4f}"
        if ours is not None:
            found[who] = judge.ratio(ours, quantiles, rows)
            text += "   ours / it {:.3f} ({:.3f} to {:.3f})".format(*found[who])
        print(f"{text}   {seconds:.0f} s", flush=True)

    print(f"{name}: {panel.rows} rows x {panel.periods} periods, {len(wanted)} origins, horizon {source.horizon}")
    started = time.perf_counter()
    ours = forecast_history(panel, [source.horizon], wanted)[0].quantiles
    say("ours", ours, time.perf_counter() - started)
    full = judge.whole(ours)
    print(
        f"    per series {full['per_series']:.4f}, raw {full['raw_pooled']:.4f}, coverage error from .9 on "
        f"{max(full['err'][2:]):.4f}, by segment {full['seg_cal_upper'] or 0:.4f}, "
        + "worst {} {:.4f} (standard error by origin {:.4f})".format(*judge.worst_segment(ours))
    )
    if panel.prices or panel.flags:
        started = time.perf_counter()
        blind = forecast_history(replace(panel, prices=(), flags=()), [source.horizon], wanted)[0].quantiles
        say("ours without the plan", blind, time.perf_counter() - started)
    for who in () if asked.no_smoothers else peers.SMOOTHERS:
        season = panel.season if panel.season > 1 else 1
        variants = {"": panel.exposure}
        if bool((panel.exposure < 1).any()):
            variants[", history as sold"] = np.ones_like(panel.exposure)
        for note, exposure in variants.items():
            started = time.perf_counter()
            told = peers.smoother(
                who, panel.units, exposure, source.horizon, np.array(wanted), QUANTILES, season=season
            )
            say(who + note, told.quantiles, time.perf_counter() - started, ours)
            best.append((float(judge.losses(told.quantiles)[0].sum()), told.quantiles))
    if not asked.no_automatic:
        rows = np.sort(np.random.default_rng(SEED).permutation(panel.rows)[: asked.sample])
        for who in peers.AUTOMATIC:
            started = time.perf_counter()
            some = peers.automatic(
                who, panel.units[rows], source.horizon, np.array(wanted), QUANTILES, season=max(panel.season, 1)
            )
            whole = np.zeros_like(ours)
            whole[:, rows] = some.quantiles
            say(f"{who} ({len(rows)} rows)", whole, time.perf_counter() - started, ours, rows)
    if not asked.no_trees:
        started = time.perf_counter()
        since = max(wanted[0] - 16 * source.horizon, 28)
        heard = Heard(panel, every_periods=28, from_period=since, trials=asked.trials, periods=set(wanted))
        mixed = forecast_history(panel, [source.horizon], wanted, (heard,))[0].quantiles
        seconds = time.perf_counter() - started
        for who, told_then in heard.kept.items():
            alone = np.stack([told_then[o] for o in wanted])
            say(who, alone, seconds, ours)
            found[OVER.format(who)] = judge.ratio(mixed, alone)
            print("    with trees / it {:.3f} ({:.3f} to {:.3f})".format(*found[OVER.format(who)]))
        say("ours with trees", mixed, seconds)
        print("   ", heard.parameters, heard.plain_parameters)
        if best:
            found[TREES_OVER_BEST] = judge.ratio(mixed, min(best, key=lambda one: one[0])[1])
            print("    with trees / best smoother {:.3f} ({:.3f} to {:.3f})".format(*found[TREES_OVER_BEST]))
    return found


def main() -> None:
    """Print the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("sets")
    words.add_argument("--back", type=int, default=0)
    words.add_argument("--rows", type=int, default=0, help="a seeded sample of them; 0: all")
    words.add_argument("--trials", type=int, default=30)
    words.add_argument("--sample", type=int, default=100)
    words.add_argument("--no-trees", action="store_true")
    words.add_argument("--no-automatic", action="store_true")
    words.add_argument("--no-smoothers", action="store_true")
    asked = words.parse_args()
    print(f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}")
    everybody = {name: run(name, asked) for name in asked.sets.split(",")}
    best = [
        max((r[0] for who, r in found.items() if who.split(" (")[0].split(",")[0] in CLASSICAL), default=0.0)
        for found in everybody.values()
    ]
    if min(best) > 0.0:
        print(f"geometric mean of ours over the best classical peer: {float(np.exp(np.mean(np.log(best)))):.3f}")
    for who in (PLAIN, OVER.format(PLAIN), WITH_PAST, OVER.format(WITH_PAST), TREES_OVER_BEST):
        ratios = [found[who][0] for found in everybody.values() if who in found]
        if ratios:
            print(f"geometric mean, {who}: {float(np.exp(np.mean(np.log(ratios)))):.3f}")


TREES_OVER_BEST = "with trees / best smoother"
CLASSICAL = {*peers.SMOOTHERS, *peers.AUTOMATIC}

if __name__ == "__main__":
    main()
