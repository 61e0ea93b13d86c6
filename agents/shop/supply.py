"""Buyers and suppliers: orders confirmed, late, short, in parts, cancelled. README.md, "Suppliers"."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtri

from agents.shop.agenda import Columns, step_after
from agents.shop.config import DAY_MS, HOUR_MS, STEP_MS
from agents.shop.draws import Floats, For, Ints, uniform
from agents.shop.said import Moves, Supplies, order_name
from agents.shop.state import State
from agents.shop.stock import nth

RECEIVED, ORDERED, CONFIRMED, RESCHEDULED, CANCELLED = 0, 20, 21, 22, 23  # ms of a step
OVERLOOKED = 0.05  # proposals
BUYER_HOURS = (0.5, 4.0)
CONFIRM_HOURS = (1.0, 6.0)
CANCELLED_SHARE, LATE_SHARE, PART_SHARE, SHORT_SHARE = 0.03, 0.10, 0.12, 0.04
MORE_DAYS = (1.0, 5.0)  # late, or the second part
FIRST_PART = (0.3, 0.8)
REVIEW_HOURS = 6  # local time of the own buyer's look
OWN_REVIEW_DAYS, OWN_SPREADS, OWN_COVER_DAYS = 1.0, 2.0, 7.0


@dataclass
class Desk:
    """The buyer's desk: which proposals wait, how many orders each row has had."""

    orders: Ints  # by row
    count: int = 0  # of all orders: names them
    proposals: dict[int, str] = field(default_factory=dict)  # number -> replenishment id, not ordered yet
    withdrawn: set[str] = field(default_factory=set)
    heard: int = 0


def propose(s: State, desk: Desk, replenishment: str, row: int, units: int) -> None:
    """A proposal reaches the buyer, who orders it within hours, or overlooks it."""
    rows, number = np.array([row]), np.array([desk.heard])
    desk.heard += 1
    nth_order = desk.orders[rows]
    if uniform(s.config.seed, For.BUYER, rows, nth_order, np.array([0]))[0] < OVERLOOKED:
        desk.orders[rows] += 1
        return
    chance = uniform(s.config.seed, For.BUYER, rows, nth_order, np.array([1]))
    hours = BUYER_HOURS[0] + chance * (BUYER_HOURS[1] - BUYER_HOURS[0])
    desk.proposals[int(number[0])] = replenishment
    steps = step_after(s.now_ms + (hours * HOUR_MS).astype(np.int64))
    s.agenda.put("orders", steps, row=rows, units=np.array([units]), number=number)


def order(s: State, rows: Ints, units: Ints) -> None:
    """Orders that nobody proposed, in the step that begins now."""
    its = units > 0
    steps = np.full(int(its.sum()), s.step)
    s.agenda.put("orders", steps, row=rows[its], units=units[its], number=np.full(len(steps), -1))


def deliver(s: State) -> None:
    """Receipts of the step."""
    if (due := s.agenda.take("receipts", s.step)) is None:
        return
    due = _by_row(due)
    rows, units = due["row"], due["units"]
    s.booked(rows, units, "received_units")
    np.subtract.at(s.on_order, rows, units)
    references = [order_name(number) for number in due["order"].tolist()]
    s.happened.append(Moves("stock.received", np.full(len(rows), s.now_ms + RECEIVED), rows, units, references))


def office(s: State, desk: Desk) -> None:
    """What buyer and suppliers write in the step."""
    _order(s, desk)
    for what, type, offset in (
        ("confirmations", "supply.confirmed", CONFIRMED),
        ("delays", "supply.rescheduled", RESCHEDULED),
        ("cancellations", "supply.cancelled", CANCELLED),
    ):
        if (due := s.agenda.take(what, s.step)) is None:
            continue
        due = _by_row(due)
        rows, units = due["row"], due["units"]
        if what == "cancellations":
            np.subtract.at(s.on_order, rows, units)
        at = np.full(len(rows), s.now_ms + offset)
        s.happened.append(Supplies(type, at, rows, units, due["order"], due.get("expected_ms")))


def _by_row(due: Columns) -> Columns:
    """In order of row and order: what was heard first does not show."""
    in_order = np.lexsort((due["order"], due["row"]))
    return {name: column[in_order] for name, column in due.items()}


def _order(s: State, desk: Desk) -> None:
    if (due := s.agenda.take("orders", s.step)) is None:
        return
    names = [desk.proposals.pop(number, "") if number >= 0 else "" for number in due["number"].tolist()]
    kept = np.array([name not in desk.withdrawn for name in names])
    desk.withdrawn.difference_update(names)
    in_order = np.flatnonzero(kept)[np.argsort(due["row"][kept], kind="stable")]
    rows, units = due["row"][in_order], due["units"][in_order]
    if len(rows) == 0:
        return
    nth_order = desk.orders[rows] + nth(rows)
    np.add.at(desk.orders, rows, 1)
    number = rows + nth_order * s.config.rows  # the row's n-th order has one name, whatever came between
    np.add.at(s.on_order, rows, units)
    at = np.full(len(rows), s.now_ms + ORDERED)
    s.happened.append(Supplies("supply.ordered", at, rows, units, number, None, [names[i] for i in in_order]))
    _fate(s, rows, units, number)


def _fate(s: State, rows: Ints, units: Ints, number: Ints) -> None:
    """What the supplier will make of it: the same for a row's n-th order, whatever else happens."""
    seed = s.config.seed
    supplier = s.items.supplier[s.sku_of(rows)]
    mean, sd = s.suppliers.lead_days[supplier], s.suppliers.lead_days_sd[supplier]
    low, high = CONFIRM_HOURS
    confirm_ms = s.now_ms + ((low + uniform(seed, For.CONFIRM, number) * (high - low)) * HOUR_MS).astype(np.int64)
    promised_ms = s.now_ms + (mean * DAY_MS).astype(np.int64)
    confirm = step_after(confirm_ms)
    s.agenda.put("confirmations", confirm, row=rows, units=units, order=number, expected_ms=promised_ms)
    lead_days = lognormal(mean, sd, uniform(seed, For.LEAD, number))
    late_days, late = _more(uniform(seed, For.LATE, number), LATE_SHARE)
    arrive = np.maximum(step_after(s.now_ms + ((lead_days + late_days) * DAY_MS).astype(np.int64)), confirm + 1)
    fate = uniform(seed, For.FATE, number)
    gone = fate < CANCELLED_SHARE
    told = np.maximum(step_after(promised_ms), confirm + 1)
    delayed = late & ~gone & (arrive > told)
    s.agenda.put("delays", told[delayed], row=rows[delayed], units=units[delayed], order=number[delayed],
                 expected_ms=arrive[delayed] * STEP_MS)  # fmt: skip
    s.agenda.put("cancellations", arrive[gone], row=rows[gone], units=units[gone], order=number[gone])
    _arrivals(s, arrive[~gone], rows[~gone], units[~gone], number[~gone])


def _arrivals(s: State, arrive: Ints, rows: Ints, units: Ints, number: Ints) -> None:
    """Whole, in two parts, or short."""
    seed = s.config.seed
    days, parted = _more(uniform(seed, For.PART, number), PART_SHARE)
    fate = uniform(seed, For.SHORT, number)
    short = (fate < SHORT_SHARE) & ~parted
    split = (parted | short) & (units > 1)
    share = FIRST_PART[0] + uniform(seed, For.SHORT, number, number) * (FIRST_PART[1] - FIRST_PART[0])
    first = np.where(split, np.clip(np.round(units * share).astype(np.int64), 1, units - 1), units)
    s.agenda.put("receipts", arrive, row=rows, units=first, order=number)
    rest = units - first
    second = split & parted
    later = arrive + np.maximum((days * DAY_MS).astype(np.int64) // STEP_MS, 1)
    s.agenda.put("receipts", later[second], row=rows[second], units=rest[second], order=number[second])
    lost = split & short
    s.agenda.put("cancellations", arrive[lost] + 4, row=rows[lost], units=rest[lost], order=number[lost])


def _more(chance: Floats, share: float) -> tuple[Floats, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]:
    """For a share of orders, days more, uniform; for the others none."""
    its = chance < share
    return np.where(its, MORE_DAYS[0] + chance / share * (MORE_DAYS[1] - MORE_DAYS[0]), 0.0), its


def lognormal(mean: Floats, sd: Floats, chance: Floats) -> Floats:
    """Quantiles (n,) of the lognormal with this mean and standard deviation.

    >>> lognormal(np.array([4.0]), np.array([1.0]), np.array([0.5])).round(3)  # median = mean / sqrt(1 + cv^2)
    array([3.881])
    """
    log_variance = np.log1p((sd / mean) ** 2)
    return np.asarray(mean * np.exp(np.sqrt(log_variance) * ndtri(chance) - log_variance / 2))


def own_buyer(s: State) -> None:
    """The shop's own buyer looks at the locations whose morning it is."""
    if (due := s.agenda.take("review", s.step)) is None:
        return
    for location, day in zip(due["location"].tolist(), due["day"].tolist(), strict=True):
        begin, end = s.slice_of(location)
        here = slice(begin, end)
        supplier = s.items.supplier[: end - begin]
        days = s.suppliers.lead_days[supplier] + OWN_REVIEW_DAYS
        life = s.demand.life(day)[: end - begin]
        mean = s.demand.base[location] * s.demand.season(s.places[location], day)[: end - begin] * life * 1.5
        spread = np.sqrt(days * (2.2 * mean + mean**2 / s.demand.shape[location]))
        position = s.book[here] - s.allocated[here] + s.on_order[here] + s.in_transit[here]
        point = mean * days + OWN_SPREADS * spread
        pack = s.items.pack[: end - begin]
        wanted = np.ceil((point + OWN_COVER_DAYS * mean - position) / pack).astype(np.int64) * pack
        order(s, np.arange(begin, end), np.where((position <= point) & (mean > 0), np.maximum(wanted, 0), 0))
