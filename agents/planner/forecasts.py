"""The `forecasts` topic: what each row that has had demand is expected to need, told as its day closes if it is news.

The topic is compacted: what was told last stands. News is that a number moved to another cell of a grid of tenths, so
that what stands is never more than a tenth off, and needs no memory of what was told; once a week a row is told anyway.
A shop closes all its days at once, so this is written to be cheap: JSON from templates, about 10 us a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import orjson

from agents.planner import messages
from agents.planner.plan import Wanted
from agents.planner.shelf import LEARNING, Rows, Shelf
from models.demand.contract import Explanation
from stream.events.instants import text_from_ms as instant
from stream.events.outgoing import Outgoing

Floats = npt.NDArray[np.float64]

DIGITS = 6  # of the numbers told
LEAST_SHARE = 0.005  # an expert with less is not named
ANYWAY_DAYS = 7  # a row is told at least so often, each on its own day
_WATCHED = ("demand_rate", "reorder_point", "order_up_to")
_TENTHS = np.cumprod(np.full(512, 1.1)) * 1e-6  # products, not a logarithm: the same on every machine

_EPOCH = date(1970, 1, 1)
_IMMINENT = 1  # place of the horizon that is nobody's business but ours
_DATA = (  # keys in order, as everything outgoing has them
    '{"as_of":"%s","as_of_day":"%s","experts":[%s],"horizons":[%s],"learnt_from_cycles":%d,"location":%s,'
    '"mean_day":%s,"protection_days":%d,"sku":%s}'
)


def made(shelf: Shelf, rows: Rows, before: npt.NDArray[np.void], wanted: Wanted, cause: str) -> list[Outgoing]:
    """One message a row that has something to tell.

    `before` (n,) are the hot values of the day that closed, `wanted` what its closing expected, row by row.
    """
    some = np.flatnonzero(_news(shelf, rows, before))
    if len(some) == 0:
        return []
    numbers, h = rows[some], shelf.hot[rows[some]]
    told = zip(
        numbers.tolist(),
        h["day_start_ms"].tolist(),
        (h["day"] - 1).tolist(),
        carriers(shelf.family.explain(shelf.model[numbers], shelf.commons.shared)),
        _horizons(wanted, some),
        wanted.cycles[some].tolist(),
        np.round(wanted.rate_day[some], DIGITS).tolist(),
        wanted.days[some, 0].tolist(),
        strict=True,
    )
    out = []
    for row, end_ms, day, experts, horizons, cycles, rate, protection in told:
        as_of, as_of_day = _texts(end_ms, day)
        sku, location = (orjson.dumps(name).decode() for name in shelf.names[row])
        data = _DATA % (as_of, as_of_day, experts, horizons, cycles, location, rate, protection, sku)
        out.append(messages.forecast(shelf, shelf.keys[row], data.encode(), f"{cause}-{end_ms}", as_of.encode()))
    return out


def _news(shelf: Shelf, rows: Rows, before: npt.NDArray[np.void]) -> npt.NDArray[np.bool_]:
    """Which rows are to be told: shape (n,)."""
    now = shelf.hot[rows]
    learning = now["flags"] & LEARNING > 0
    if shelf.config.forecasts == "daily":
        return np.asarray(learning)
    first = (before["flags"] & LEARNING == 0) | (before["day_start_ms"] < shelf.config.warm_until_ms)
    news = first | ((now["day"] + shelf.phase[rows]) % ANYWAY_DAYS == 0)
    for name in _WATCHED:
        news |= _cell(now[name]) != _cell(before[name])
    return np.asarray(learning & news)


def _cell(numbers: npt.NDArray[np.generic]) -> Rows:
    """Which tenth (a factor of 1.1) each number lies in; nothing at all lies in the first."""
    return np.searchsorted(_TENTHS, numbers.astype(np.float64))


def carriers(explained: Explanation) -> Iterator[str]:
    """Who carries each row, the largest share first, as JSON objects."""
    order = np.argsort(-explained.weights, axis=1, kind="stable")
    shares = np.round(np.take_along_axis(explained.weights, order, axis=1), 3)
    names = [orjson.dumps(name).decode() for name in explained.experts]
    for its, of in zip(order.tolist(), shares.tolist(), strict=True):
        yield ",".join(
            f'{{"expert":{names[i]},"share":{share}}}' for i, share in zip(its, of, strict=True) if share >= LEAST_SHARE
        )


def _horizons(wanted: Wanted, some: Rows) -> Iterator[str]:
    """The sums of each row by days, ascending and each once, as JSON objects."""
    places = [j for j in range(wanted.days.shape[1]) if j != _IMMINENT]
    days = wanted.days[some][:, places]
    mean = wanted.made.mean_sum_units[some][:, places, None]
    numbers = np.round(np.concatenate([mean, wanted.made.quantile_sum_units[some][:, places]], axis=2), DIGITS)
    order = np.argsort(days, axis=1, kind="stable")
    days = np.take_along_axis(days, order, axis=1)
    numbers = np.take_along_axis(numbers, order[:, :, None], axis=1)
    levels = ",".join(f'"{level:g}":%s' for level in wanted.levels)
    one = f'{{"days":%d,"mean":%s,"quantiles":{{{levels}}}}}'
    for its, of in zip(days.tolist(), numbers.tolist(), strict=True):
        yield ",".join(one % (d, *of[i]) for i, d in enumerate(its) if i == 0 or d != its[i - 1])


@lru_cache(maxsize=1024)
def _texts(end_ms: int, day: int) -> tuple[str, str]:
    return instant(end_ms), (_EPOCH + timedelta(days=day)).isoformat()
