"""What chosen rows are told: fits of one row's own days, and trees over all rows; as lots, each one record of the log.

A row's fit is the mean, level by level, of the quantiles of an ARIMA and of an exponential smoothing, each of the order
its criterion chose: two models that err in different ways. Trees learn from the kept days of a sample of rows, closed
once more by the row's family from nothing, and speak of every row as it stands today. All of it is bounded as the fold
will ask, so that what is told is taken over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from agents.planner import guests, learning, plan
from agents.planner.config import HISTORY_DAYS
from agents.planner.shelf import Rows, Shelf
from agents.refit.choose import Chosen, fit_to_be_asked, known_days, stake
from agents.refit.record import Lot
from models.demand import trees
from models.demand.contract import SIGNALS, Observation, Told, no_ahead
from models.demand.online import Online
from models.demand.own_past import Past
from models.demand.places import LEVELS
from models.demand.refit import fits
from stream.events.outlooks import MOST_ROWS, batch

TREES = "trees"  # the family's guest that trees speak through
TRAINED_ROWS = 3_000  # of all shelves: with 28 origins each more lessons than a training reads
WARM_DAYS = 14  # from nothing, levels and spreads of the first two weeks are no features
SPOKEN_ROWS = 50_000  # those with most at stake: 120 B each, 6 MB in the log and in the office

Floats = npt.NDArray[np.float64]


class Task(NamedTuple):
    """All that a fit of one row reads."""

    units: Floats  # (T,), NaN where a day did not teach
    horizons: Rows  # (H,) days
    most: float  # units a day


class Fitted(NamedTuple):
    """What came of it: quantiles (H, K)."""

    model: str
    quantiles: Floats | None  # None: no model could be fitted


class Word(NamedTuple):
    """What one row is to be told."""

    sku: str
    location: str
    model: str
    as_of: int
    horizons: list[int]
    quantiles: Floats


def task_of(one: Chosen) -> Task:
    """What is read for a row."""
    rows = np.array([one.row])
    horizons = plan.horizons(one.shelf, rows)[0, : one.shelf.family.heads]
    units = known_days(one.shelf, rows)[0]
    return Task(units[int(np.argmax(np.isfinite(units))) :], horizons, float(guests.most_units(one.shelf, rows)[0]))


def fit(task: Task) -> Fitted:
    """The mean of what an ARIMA and an exponential smoothing say."""
    told, names = list[Floats](), list[str]()
    for model in (fits.smoothing, fits.arima):
        try:
            found = model(task.units, task.horizons, LEVELS)
        except ValueError:  # too short, or nothing converged: the other one may know
            continue
        names.append(found.name)
        told.append(found.quantiles)
    quantiles = bounded(np.mean(told, axis=0), task.horizons, task.most) if told else None
    return Fitted(" + ".join(names), quantiles)


def bounded(quantiles: Floats, horizons: Rows, most: float | Floats) -> Floats:
    """Quantiles (..., H, K) that ascend, between nothing and the most a day (...) times the horizon (..., H)."""
    top = np.asarray(most)[..., None] * horizons
    return np.maximum.accumulate(np.clip(np.nan_to_num(quantiles), 0.0, top[..., None]), axis=-1)


def word_of(one: Chosen, task: Task, fitted: Fitted) -> Word:
    """A row's fit as it is told."""
    assert fitted.quantiles is not None
    sku, location = one.shelf.names[one.row]
    as_of = int(one.shelf.hot["day"][one.row]) - 1
    return Word(sku, location, fitted.model, as_of, task.horizons.tolist(), fitted.quantiles)


def lots(shelf: Shelf, guest: str, words: Iterable[Word]) -> Iterator[Lot]:
    """Words of a shelf's rows as records of a bounded size."""
    left = list(words)
    family = shelf.family
    for first in range(0, len(left), MOST_ROWS):
        part = left[first : first + MOST_ROWS]
        skus, places, models, as_of, horizons, quantiles = (list(column) for column in zip(*part, strict=True))
        rows = batch(skus, places, models, as_of, horizons, [q.reshape(-1).tolist() for q in quantiles])
        raw = bytes(rows.serialize())
        yield Lot(shelf.config.shelf, guest, family.name, family.version, tuple(LEVELS.tolist()), len(part), raw)


# -- trees ------------------------------------------------------------------------------------------------------------


def trained(shelves: list[Shelf], rounds: int) -> trees.Trees | None:
    """Trees of a sample of all rows' kept days; None where they teach too little. Raises ImportError without LightGBM.

    The plan of days gone by is not kept, so trees learn without it, and know it only by what the regression says of it.
    """
    told, pasts, regressed = list[Told](), list[Floats](), list[Floats]()
    for shelf in shelves:
        for lessons, past in _lessons(shelf, TRAINED_ROWS // len(shelves)):
            assert isinstance(shelf.family, Online), "only this family teaches trees"
            told.append(lessons)
            pasts.append(past)
            regressed.append(trees.regressed_of(shelf.family, shelf.commons.shared, lessons))
    if sum(map(len, told)) < trees.LEAST_LESSONS:
        return None
    return trees.train(np.concatenate(told), np.concatenate(pasts), np.concatenate(regressed), rounds)


def _past(shelf: Shelf, units: Floats, last: Rows) -> Past:
    """Kept days `units` (n, HISTORY_DAYS) of rows up to their days `last` (n,), as trees read them."""
    assert isinstance(shelf.family, Online), "only this family has trees"
    return Past(units, last - HISTORY_DAYS + 1, shelf.family.season, shelf.family.year)


def _lessons(shelf: Shelf, most_rows: int) -> Iterator[tuple[Told, Floats]]:
    """What the kept days of up to so many rows of a shelf, evenly chosen, teach about sums of them, with their past."""
    rows, family = fit_to_be_asked(shelf), shelf.family
    if len(rows) == 0 or not isinstance(family, Online) or most_rows == 0:
        return
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, most_rows).astype(np.int64))]
    units, last = known_days(shelf, rows), shelf.hot["day"][rows] - 1
    past = _past(shelf, units, last)
    horizons = plan.horizons(shelf, rows)[:, : family.heads]
    groups = [shelf.places.hashes(shelf.place[rows]), shelf.facts.categories.hashes(shelf.category[rows])]
    nothing = np.zeros((len(rows), len(SIGNALS)))
    unplanned = np.zeros((len(rows), 0))
    state, shared = family.fresh(shelf.phase[rows]), family.fresh_shared()
    for t in range(HISTORY_DAYS):
        day = last - (HISTORY_DAYS - 1 - t)
        wanted, seen = np.nan_to_num(units[:, t]), np.isfinite(units[:, t]).astype(np.float64)
        about = Observation(
            day, wanted, seen, horizons, unplanned, no_ahead(len(rows)), nothing, np.stack(groups, axis=1)
        )
        closed = family.close(state, shared, about)
        state, shared = closed.state, family.settle(shared, closed.told)
        if t >= WARM_DAYS:
            lessons, (row, origin) = trees.lessons_of(closed.told), trees.taught_by(closed.told)
            yield lessons, past.before(row, origin, lessons["span"].astype(np.int64), lessons["scale"].astype(float))


def said_by(found: trees.Trees, shelf: Shelf, most_rows: int) -> list[Word]:
    """What trees say of the rows of a shelf with most at stake, as of their last closed day."""
    rows, family = fit_to_be_asked(shelf), shelf.family
    assert isinstance(family, Online), "only this family has features"
    rows = rows[np.argsort(-stake(shelf, rows), kind="stable")][:most_rows]
    day = shelf.hot["day"][rows] - 1
    horizons = plan.horizons(shelf, rows)[:, : family.heads]
    ahead, told, place = learning.ahead(shelf, rows, day), [], np.arange(len(rows))
    kept = _past(shelf, known_days(shelf, rows), day)
    for horizon in horizons.T:
        features, scale = family.features(shelf.model[rows], shelf.commons.shared, day, horizon, ahead)
        regressed = family.regressed(shelf.commons.shared, features, scale, horizon)
        past = kept.before(place, day, horizon, scale)
        told.append(found.quantiles(features, scale, horizon, past, regressed) * scale[:, None])
    quantiles = bounded(np.stack(told, axis=1), horizons, guests.most_units(shelf, rows))
    return [
        Word(shelf.names[row][0], shelf.names[row][1], "LightGBM", as_of, days, its)
        for row, as_of, days, its in zip(rows.tolist(), day.tolist(), horizons.tolist(), quantiles, strict=True)
    ]
