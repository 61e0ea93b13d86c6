"""What a row of the production family holds, and where: the record people read by name, and the places kernels read.

Kernels see a record as words of one type, all at once: `Words` are the same bytes as float32, int32, int16, uint16 and
uint8, so everything is aligned to its own size. What every setting has comes first, at fixed places; what depends on
the setting (season, prices, plan columns, experts) follows, at places made from its numbers.

Quantiles are kept as uint16 in steps of 2^-12 row scales, up to 15.99; ABSENT_QUANTILE says that nobody spoke.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from models.demand.contract import Floats, Ints

LEVELS = np.array([0.5, 0.8, 0.9, 0.95, 0.975, 0.99])
K = len(LEVELS)
KINDS = 3  # of like rows: everybody, by location, by category
ABSENT = -1  # a period that is none
QUANTILE_STEP = 2.0**-12
ABSENT_QUANTILE = 65_535
GUEST_STEPS = 65_534.0  # of a guest's quantile over its largest

# words of a row, float32 but for the first two
LAST = 0
PHASE = 2  # in words of 16 bits
GROUP_BYTES = 6
SEEN, BOUGHT, SINCE, LARGEST_UNITS, CHANCE, SIZE = 2, 3, 4, 5, 6, 7
UNITS, EXPECTED, CLEAN_UNITS, CLEAN_EXPECTED = 8, 14, 20, 23
PERIOD_ERROR, PERIOD_ERROR_WEIGHT, SIGNAL_FAST, SIGNAL_SLOW, FRACTIONS, WEEK = 26, 27, 28, 33, 38, 39

# words of a head, int32 and int32 first
CYCLES, HORIZON, ERROR, ERROR_WEIGHT, BASE_ERROR, BLEND_ERROR, BLEND_WEIGHT, POOLED_LOSS, BIAS, HELD, EXCESS = (
    0, 1, 2, 3, 4, 13, 14, 15, 16, 18, 19,
)  # fmt: skip

# a pending origin: words of 32, of 16 and of 8 bits
OPENED, ACTUAL, SCALE, SPAN, CELLS_BYTE, WHOLE, QUANTILES = 0, 1, 2, 6, 14, 15, 8

# what a row tells: bytes, words, and of a lesson the same
CLOSED, TEACHES, TOLD_GROUPS, TOLD_PERIOD, TOLD_LEVELS = 0, 1, 2, 1, 2
MEAN, MISSED, USUAL_UNITS, PLAIN_UNITS, BELIEVED, TOLD_SCALE, RATE, CAME, CAME_EXPECTED, DRIFT, PLAN = (
    2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15,
)  # fmt: skip
TAUGHT, BAND, LESSON_SIZE, LESSON_CELLS, LESSON_SCALE, TARGET, LESSON_ERROR, LESSON_MEAN = 0, 1, 2, 3, 1, 2, 3, 4
LESSON_SPAN, LESSON_COUNTS, LESSON_QUANTILES = 10, 11, 12


class Words(NamedTuple):
    """Records (n,) as words (n, .) of each type, the same bytes."""

    f4: npt.NDArray[np.float32]
    i4: npt.NDArray[np.int32]
    i2: npt.NDArray[np.int16]
    u2: npt.NDArray[np.uint16]
    u1: npt.NDArray[np.uint8]


def words(records: npt.NDArray[Any]) -> Words:
    """The words of contiguous records, shared with them."""
    n, size, flat = len(records), records.dtype.itemsize, records.view(np.uint8)
    return Words(
        flat.view(np.float32).reshape(n, size // 4),
        flat.view(np.int32).reshape(n, size // 4),
        flat.view(np.int16).reshape(n, size // 2),
        flat.view(np.uint16).reshape(n, size // 2),
        flat.reshape(n, size),
    )


class Shape(NamedTuple):
    """The numbers of a setting, and the places they make."""

    season: int
    prices: int
    columns: int
    experts: int
    guests: int
    heads: int
    features: int
    week_expected: int
    price_sum: int
    price_weight: int
    answer_more: int
    answer_weight: int
    plan_past: int
    flags: int
    flag_before: int
    head: int
    head_words: int
    pending: int
    pending_words: int
    guest: int
    guest_words: int
    lesson: int
    lesson_words: int


def quantile_words(quantile: Floats) -> npt.NDArray[np.uint16]:
    """Quantiles in row scales as they are kept; NaN is nobody's."""
    steps = np.rint(np.clip(np.nan_to_num(quantile), 0.0, 15.9) / QUANTILE_STEP)
    return np.where(np.isnan(quantile), ABSENT_QUANTILE, steps).astype(np.uint16)


def quantiles_of(kept: npt.NDArray[np.uint16]) -> Floats:
    """Quantiles in row scales of what is kept; NaN where nobody spoke."""
    return np.where(kept == ABSENT_QUANTILE, np.nan, kept * QUANTILE_STEP)


def row_type(
    season: int, prices: int, columns: int, flags: int, guests: int, features: int, slots: tuple[int, ...]
) -> np.dtype[Any]:
    """The record of a row."""
    experts = 2 + guests
    head = np.dtype(
        [
            ("cycles", "<i4"),
            ("horizon", "<i4"),
            ("error", "<f4"),
            ("error_weight", "<f4"),
            ("base_error", "<f4", (9,)),
            ("blend_error", "<f4"),
            ("weight", "<f4"),
            ("pooled_loss", "<f4"),
            ("bias", "<f4", (2,)),
            ("held", "<f4"),
            ("excess", "<f4", (experts,)),
        ]
    )
    pending = _even(
        ("opened", "<i4"),
        ("actual", "<f4"),
        ("scale", "<f4"),
        ("span", "<i2"),
        ("cells", "u1"),
        ("whole", "u1"),
        ("told", "<u2", (experts, K)),
        ("final", "<u2", (K,)),
        ("features", "<i2", (features,)),
    )
    guest = _even(
        ("as_of", "<i4"), ("most", "<f4"), ("quantile", "<u2", (len(slots), K)), ("horizon", "<i2", (len(slots),))
    )
    return np.dtype(
        [
            ("last", "<i4"),
            ("phase", "<u2"),
            ("groups", "u1", (2,)),
            *((name, "<f4") for name in ("seen", "bought", "since", "largest", "chance", "size")),
            ("units", "<f4", (6,)),
            ("expected", "<f4", (6,)),
            ("clean_units", "<f4", (3,)),
            ("clean_expected", "<f4", (3,)),
            ("period_error", "<f4"),
            ("period_error_weight", "<f4"),
            ("signal_fast", "<f4", (5,)),
            ("signal_slow", "<f4", (5,)),
            ("fractions", "<f4"),
            ("week_units", "<f4", (season,)),
            ("week_expected", "<f4", (season,)),
            ("price_sum", "<f4", (prices,)),
            ("price_weight", "<f4", (prices,)),
            ("answer_more", "<f4", (columns,)),
            ("answer_weight", "<f4", (columns,)),
            ("plan_past", "<f4", (columns,)),
            ("flag_before", "<f4", (flags,)),
            ("head", head, (len(slots),)),
            ("pending", pending, (sum(slots),)),
            ("guest", guest, (guests,)),
        ]
    )


def told_type(columns: int, flags: int, guests: int, features: int, heads: int) -> np.dtype[Any]:
    """The record a row tells as it closes."""
    lesson = _even(
        ("taught", "u1"),
        ("band", "u1"),
        ("size", "u1"),
        ("cells", "u1"),
        ("scale", "<f4"),
        ("target", "<f4"),
        ("error", "<f4"),
        ("mean", "<f4"),
        ("span", "<i2"),
        ("counts", "<u2"),  # 1: the row sells whole units
        ("told", "<u2", (2 + guests, K)),
        ("final", "<u2", (K,)),
        ("features", "<i2", (features,)),
    )
    return np.dtype(
        [
            ("closed", "u1"),
            ("teaches", "u1"),
            ("groups", "u1", (2,)),
            ("period", "<i4"),
            *((name, "<f4") for name in ("mean", "missed", "usual", "plain_units", "believed", "scale", "rate")),
            ("came", "<f4"),
            ("expected", "<f4"),
            ("drift", "<f4", (4,)),
            ("plan", "<f4", (columns + 2 * flags,)),
            ("lesson", lesson, (heads,)),
        ]
    )


def _even(*fields: Any) -> np.dtype[Any]:
    """Fields to a whole number of words of 32 bits."""
    made = np.dtype(list(fields))
    return made if made.itemsize % 4 == 0 else np.dtype([*fields, ("spare", "<u2")])


def shape(season: int, row: np.dtype[Any], told: np.dtype[Any]) -> Shape:
    """The numbers kernels need of these records."""

    def at(name: str, record: np.dtype[Any] = row) -> int:
        assert record.fields is not None
        return int(record.fields[name][1]) // 4

    head, pending, guest, lesson = (
        record.base for record in (row["head"], row["pending"], row["guest"], told["lesson"])
    )
    return Shape(
        season=season,
        prices=int(row["price_sum"].shape[0]),
        columns=int(row["plan_past"].shape[0]),
        flags=int(row["flag_before"].shape[0]),
        experts=int(head["excess"].shape[0]),
        guests=int(row["guest"].shape[0]),
        heads=int(row["head"].shape[0]),
        features=int(pending["features"].shape[0]),
        week_expected=at("week_expected"),
        price_sum=at("price_sum"),
        price_weight=at("price_weight"),
        answer_more=at("answer_more"),
        answer_weight=at("answer_weight"),
        plan_past=at("plan_past"),
        flag_before=at("flag_before"),
        head=at("head"),
        head_words=head.itemsize // 4,
        pending=at("pending"),
        pending_words=pending.itemsize // 4,
        guest=at("guest"),
        guest_words=guest.itemsize // 4,
        lesson=at("lesson", told),
        lesson_words=lesson.itemsize // 4,
    )


class Seen(NamedTuple):
    """One closed period of rows, as a contract's `Observation` says it."""

    period: Ints
    units: Floats
    exposure: Floats
    horizons: Ints
    plan: Floats
    ahead: Floats
    signals: Floats
    groups: Ints
