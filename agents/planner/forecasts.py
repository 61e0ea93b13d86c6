"""The `forecasts` topic: what each row that has had demand is expected to need, told as its day closes if it is news.

The topic is compacted: what was told last stands. News is that a number moved to another cell of a grid of tenths, so
that what stands is never more than a tenth off, and needs no memory of what was told; once a week a row is told anyway.
A shop closes all its days at once, so this is written to be cheap: see forecast_text.py.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import lru_cache
from itertools import compress

import numpy as np
import numpy.typing as npt
import orjson

from agents.planner import forecast_text, messages
from agents.planner.flags import LEARNING
from agents.planner.plan import Wanted
from agents.planner.records import alike, gathered
from agents.planner.shelf import Rows, Shelf
from stream.events.instants import text_from_ms as instant
from stream.events.outgoing import Outgoing

Floats = npt.NDArray[np.float64]

ANYWAY_DAYS = 7  # a row is told at least so often, each on its own day
_WATCHED = ("demand_rate", "reorder_point", "order_up_to")
_TENTHS = np.cumprod(np.full(512, 1.1)) * 1e-6  # products, not a logarithm: the same on every machine

_EPOCH = date(1970, 1, 1)
_IMMINENT = 1  # place of the horizon that is nobody's business but ours


def made(shelf: Shelf, rows: Rows, before: npt.NDArray[np.void], wanted: Wanted, cause: str) -> list[Outgoing]:
    """One message a row that has something to tell.

    `before` (n,) are the hot values of the day that closed, `wanted` what its closing expected, row by row.
    """
    some = np.flatnonzero(_news(shelf, rows, before))
    if len(some) == 0:
        return []
    numbers = rows[some]
    end_ms, day = shelf.hot["day_start_ms"][numbers], shelf.hot["day"][numbers] - 1
    # by instant and day: where one day ends, another one may end with it, on the other side of the date line
    first, which = alike(end_ms << 3 | day & 7)
    moments = list(zip(end_ms[first].tolist(), day[first].tolist(), strict=True))
    texts = [_texts(*moment) for moment in moments]
    keys = list(map(shelf.keys.__getitem__, numbers.tolist()))
    names, name_ends = forecast_text.names(keys)
    horizons = np.delete(np.arange(wanted.days.shape[1]), _IMMINENT)
    look, place = wanted.made, np.ix_(some, horizons)
    sums = np.concatenate([look.mean_sum_units[place][:, :, None], look.quantile_sum_units[place]], axis=2)
    data = forecast_text.write(
        _phrases(look.experts, tuple(wanted.levels.tolist())),
        forecast_text.Told(
            forecast_text.packed([text.encode() for pair in texts for text in pair]).reshape(len(texts), -1),
            which,
            names,
            name_ends,
            wanted.days[place],
            sums,
            look.weights[some],
            wanted.cycles[some],
            wanted.rate_day[some],
            wanted.days[some, 0],
        ),
    )
    out = list[Outgoing]()
    for i, ((at, _), (as_of, _)) in enumerate(zip(moments, texts, strict=True)):
        told, mine = messages.Forecasts(shelf, f"{cause}-{at}", as_of), (which == i).tolist()
        out += told.messages(list(compress(keys, mine)), compress(data, mine))
    return out


def _news(shelf: Shelf, rows: Rows, before: npt.NDArray[np.void]) -> npt.NDArray[np.bool_]:
    """Which rows are to be told: shape (n,)."""
    now = gathered(shelf.hot, rows)
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


@lru_cache(maxsize=16)
def _phrases(experts: tuple[str, ...], levels: tuple[float, ...]) -> forecast_text.Phrases:
    return forecast_text.phrases([orjson.dumps(name).decode() for name in experts], [f"{level:g}" for level in levels])


@lru_cache(maxsize=1024)
def _texts(end_ms: int, day: int) -> tuple[str, str]:
    return instant(end_ms), (_EPOCH + timedelta(days=day)).isoformat()
