"""The shop floor: what customers, thieves and staff do to stock in one step. README.md, "Stock"."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agents.shop.agenda import Columns, step_after
from agents.shop.carts import TYPES, visits
from agents.shop.config import DAY_MS, HOUR_MS, MINUTE_MS, STEP_MS
from agents.shop.demand import BASKETS
from agents.shop.draws import For, Ints, generator, uniform
from agents.shop.said import Carts, Lines, Moves
from agents.shop.state import State
from agents.shop.stock import take

# ms of a step at which the staff's work is dated: no two kinds share an instant, so counts are never in doubt
STOCKED, PACKED, RETURNED, BROKEN, SAMPLED, COUNTED = 1, 3, 4, 5, 6, 9
TILL, WEB, WHOLESALE = 0, 1, 2  # channels
PACK_HOURS = (2.0, 30.0)
RETURNED_SHARE, RETURN_DAYS = 0.03, (4.0, 14.0)
NOTICED = 0.3  # of rows that are empty against the books, an evening
EVENING_HOURS = 21
_WHOLESALE_FROM = BASKETS * 9 // 10  # wholesale orders are numbered from here
_CANCELLED_AFTER_MS = (3 * MINUTE_MS, 20 * MINUTE_MS)
_FETCHED_HOURS = (24.0, 48.0)


def open_day(s: State, location: int, day: int) -> None:
    """Put the staff's day of a location on the agenda."""
    begin, end = s.slice_of(location)
    midnight_ms, count_days = s.places[location].midnight_ms(day), s.config.count_days
    evening = (midnight_ms + EVENING_HOURS * HOUR_MS) // STEP_MS
    rng = generator(s.config.seed, For.SMALL_THINGS, location, day)
    turn = begin + np.flatnonzero((np.arange(begin, end) * 7 + day) % count_days == 0)
    s.agenda.put("counts", evening + rng.integers(0, 4, len(turn)), row=turn)
    s.agenda.put("notice", np.array([evening]), location=np.array([location]), day=np.array([day]))
    for what, share in (("broken", 0.004), ("sampled", 0.002)):
        rows = begin + rng.integers(0, end - begin, rng.poisson(share * (end - begin)))
        s.agenda.put(what, np.full(len(rows), evening - 2), row=rows)


def open_custom(s: State, location: int, day: int) -> None:
    """Put a local day's customers on the agenda, and for the web shop their visits, which may begin today."""
    begin, _ = s.slice_of(location)
    customers = s.demand.customers(location, day)
    first = _first_order(s, location, day)
    s.agenda.put(
        "customers",
        customers.at_ms // STEP_MS,
        at_ms=customers.at_ms,
        row=begin + customers.sku,
        units=customers.units,
        order=np.where(customers.basket < 0, -1, first + customers.basket),
        line=customers.line,
    )
    if s.places[location].web:
        seen = visits(s.demand, location, day, customers)
        at_ms = np.maximum(seen.at_ms, s.now_ms + COUNTED + 1)
        rows = begin + seen.sku
        s.agenda.put("visits", at_ms // STEP_MS, type=seen.type, at_ms=at_ms, cart=first + seen.cart, row=rows,
                     units=seen.units)  # fmt: skip
    whole = s.demand.wholesale(location, day)
    number = first + _WHOLESALE_FROM + np.arange(len(whole.sku))
    s.agenda.put("wholesale", whole.at_ms // STEP_MS, at_ms=whole.at_ms, row=begin + whole.sku, units=whole.units,
                 order=number, stands=whole.stands)  # fmt: skip


def _first_order(s: State, location: int, day: int) -> int:
    """Orders of a location and day are numbered from here."""
    return ((day - s.config.start_day) * len(s.places) + location) * BASKETS


# -- customers ----------------------------------------------------------------------------------------------------


def sell(s: State) -> None:
    """Customers, thieves and wholesalers of the step, and what is looked at in the web shop."""
    _visit(s)
    if (due := s.agenda.take("customers", s.step)) is not None:
        in_time = np.lexsort((due["line"], due["at_ms"]))
        due = {name: column[in_time] for name, column in due.items()}
        web = s.web[due["row"]] == 1
        _tills(s, {name: column[~web] for name, column in due.items()})
        _web(s, {name: column[web] for name, column in due.items()})
    _wholesale(s)


def _visit(s: State) -> None:
    if (due := s.agenda.take("visits", s.step)) is None:
        return
    for code, name in enumerate(("cart_viewed_units", "cart_added_units", "cart_removed_units")):
        its = due["type"] == code
        s.tally.add(name, due["row"][its], due["units"][its])
    types = [TYPES[code] for code in due["type"].tolist()]
    s.happened.append(Carts(types, due["at_ms"], due["cart"], due["row"], due["units"]))


def _tills(s: State, due: Columns) -> None:
    """Sold, or stolen, from what lies there."""
    rows, thief = due["row"], due["order"] < 0
    got = take(s.on_hand, rows, due["units"])
    np.subtract.at(s.on_hand, rows, got)
    np.subtract.at(s.book, rows[~thief], got[~thief])
    s.tally.add("stolen_units", rows[thief], got[thief])
    s.tally.add("shipped_units", rows[~thief], got[~thief])
    _sold(s, due, got, ~thief, TILL)


def _web(s: State, due: Columns) -> None:
    """Sold from what the books say; thieves take what lies there."""
    rows, thief = due["row"], due["order"] < 0
    stolen = take(s.on_hand, rows[thief], due["units"][thief])
    np.subtract.at(s.on_hand, rows[thief], stolen)
    s.tally.add("stolen_units", rows[thief], stolen)
    due = {name: column[~thief] for name, column in due.items()}
    rows = due["row"]
    got = take(s.book - s.allocated, rows, due["units"])
    np.add.at(s.allocated, rows, got)
    sold = got > 0
    _sold(s, due, got, np.ones(len(got), np.bool_), WEB)
    s.tally.add("cart_converted_units", rows[sold], got[sold])
    order = due["order"]
    chance = uniform(s.config.seed, For.STOCK, order)
    packed_ms = due["at_ms"] + ((PACK_HOURS[0] + chance * (PACK_HOURS[1] - PACK_HOURS[0])) * HOUR_MS).astype(np.int64)
    steps = step_after(packed_ms)
    s.agenda.put("parcels", steps[sold], order=order[sold], line=due["line"][sold], row=rows[sold], units=got[sold])
    _check_out(s, order[sold], due["at_ms"][sold])


def _check_out(s: State, order: Ints, at_ms: Ints) -> None:
    orders, first = np.unique(order, return_index=True)
    n = len(orders)
    nothing = np.zeros(n, np.int64)
    s.happened.append(Carts(["cart.checked_out"] * n, at_ms[first] - 1, orders, nothing, nothing))


def _sold(s: State, due: Columns, got: Ints, pays: npt.NDArray[np.bool_], channel: int) -> None:
    """Orders of what was got, and what was not got is lost."""
    rows = due["row"]
    s.tally.add("sold_units", rows[pays], got[pays])
    s.tally.add("lost_units", rows[pays], (due["units"] - got)[pays])
    its = pays & (got > 0)
    placed = {name: column[its] for name, column in due.items()}
    prices = s.price[placed["row"]]
    s.happened.append(
        Lines("order.placed", placed["at_ms"], placed["order"], placed["line"], placed["row"], got[its], prices,
              channel, cart=channel == WEB)
    )  # fmt: skip


def _wholesale(s: State) -> None:
    """Placed without a look at the stock; cancelled minutes later, or fetched."""
    if (due := s.agenda.take("wholesale", s.step)) is None:
        return
    rows, units, stands, at_ms, order = (due[name] for name in ("row", "units", "stands", "at_ms", "order"))
    np.add.at(s.allocated, rows, units)
    s.tally.add("sold_units", rows[stands], units[stands])
    s.tally.add("wholesale_cancelled_units", rows[~stands], units[~stands])
    line = np.ones(len(rows), np.int64)
    s.happened.append(Lines("order.placed", at_ms, order, line, rows, units, s.price[rows], WHOLESALE))
    chance = uniform(s.config.seed, For.STOCK, order)
    low, high = _CANCELLED_AFTER_MS
    cancelled_ms = at_ms + (low + chance * (high - low)).astype(np.int64)
    low_h, high_h = _FETCHED_HOURS
    fetched_ms = at_ms + ((low_h + chance * (high_h - low_h)) * HOUR_MS).astype(np.int64)
    gone = ~stands
    s.agenda.put("unwanted", np.maximum(step_after(cancelled_ms), s.step + 1)[gone], order=order[gone], row=rows[gone],
                 units=units[gone])  # fmt: skip
    s.agenda.put("parcels", step_after(fetched_ms)[stands], order=order[stands], line=line[stands], row=rows[stands],
                 units=units[stands])  # fmt: skip


# -- staff --------------------------------------------------------------------------------------------------------


def staff(s: State) -> None:
    """First stock, parcels, returns, breakage, samples and counts of the step."""
    _first_stock(s)
    _unwanted(s)
    recount = _pack(s)
    _take_back(s)
    for what, type, offset in (("broken", "stock.written_off", BROKEN), ("sampled", "stock.adjusted", SAMPLED)):
        _one_less(s, what, type, s.now_ms + offset)
    _count(s, recount)


def _first_stock(s: State) -> None:
    """New items come in before their launch; nobody had to order them."""
    if (due := s.agenda.take("stocked", s.step)) is None:
        return
    s.booked(due["row"], due["units"], "received_units")
    at = np.full(len(due["row"]), s.now_ms + STOCKED)
    s.happened.append(Moves("stock.received", at, due["row"], due["units"]))


def _unwanted(s: State) -> None:
    if (due := s.agenda.take("unwanted", s.step)) is None:
        return
    np.subtract.at(s.allocated, due["row"], due["units"])
    _lines(s, "order.cancelled", s.now_ms + PACKED - 1, due, np.ones(len(due["row"]), np.int64), due["units"])


def _pack(s: State) -> Ints:
    """Parcels leave with what lies there; rows where something was missing are counted."""
    if (due := s.agenda.take("parcels", s.step)) is None:
        return np.empty(0, np.int64)
    in_order = np.lexsort((due["line"], due["order"]))
    due = {name: column[in_order] for name, column in due.items()}
    rows, units = due["row"], due["units"]
    got = take(s.on_hand, rows, units)
    missing = units - got
    np.subtract.at(s.allocated, rows, units)
    s.booked(rows, -got, "shipped_units")
    s.tally.add("failed_units", rows, missing)
    _lines(s, "order.fulfilled", s.now_ms + PACKED, due, due["line"], got)
    _lines(s, "order.cancelled", s.now_ms + PACKED, due, due["line"], missing)
    _note_returns(s, due, got)
    return np.unique(rows[missing > 0])


def _lines(s: State, type: str, at_ms: int, due: Columns, line: Ints, units: Ints) -> None:
    its = units > 0
    if its.any():
        at = np.full(int(its.sum()), at_ms)
        s.happened.append(Lines(type, at, due["order"][its], line[its], due["row"][its], units[its]))


def _note_returns(s: State, due: Columns, got: Ints) -> None:
    chance = uniform(s.config.seed, For.RETURNS, due["order"], due["line"])
    its = (got > 0) & (chance < RETURNED_SHARE) & (s.web[due["row"]] == 1)
    days = RETURN_DAYS[0] + chance[its] / RETURNED_SHARE * (RETURN_DAYS[1] - RETURN_DAYS[0])
    steps = step_after(s.now_ms + (days * DAY_MS).astype(np.int64))
    s.agenda.put("returns", steps, order=due["order"][its], line=due["line"][its], row=due["row"][its], units=got[its])


def _take_back(s: State) -> None:
    if (due := s.agenda.take("returns", s.step)) is None:
        return
    in_order = np.lexsort((due["line"], due["order"]))
    due = {name: column[in_order] for name, column in due.items()}
    s.booked(due["row"], due["units"], "returned_units")
    _lines(s, "order.returned", s.now_ms + RETURNED, due, due["line"], due["units"])


def _one_less(s: State, what: str, type: str, at_ms: int) -> None:
    """A unit breaks, or is taken as a sample, where there is one."""
    if (due := s.agenda.take(what, s.step)) is None:
        return
    got = take(s.on_hand, due["row"], np.ones(len(due["row"]), np.int64))
    rows, units = due["row"][got > 0], got[got > 0]
    if len(rows) == 0:
        return
    adjusted = type == "stock.adjusted"
    s.booked(rows, -units, "adjusted_units" if adjusted else "written_off_units")
    at = np.full(len(rows), at_ms)
    s.happened.append(Moves(type, at, rows, -units if adjusted else units, reason="" if adjusted else "broken"))


def _count(s: State, recount: Ints) -> None:
    """Count rows: those whose turn it is, those found missing at packing, and some that are empty against the books."""
    rows = [recount]
    if (due := s.agenda.take("counts", s.step)) is not None:
        rows.append(due["row"])
    if (due := s.agenda.take("notice", s.step)) is not None:
        for location, day in zip(due["location"].tolist(), due["day"].tolist(), strict=True):
            rows.append(_noticed(s, location, day))
    counted = np.unique(np.concatenate(rows))
    if len(counted) == 0:
        return
    found = s.on_hand[counted]
    s.tally.add("corrected_units", counted, found - s.book[counted])
    s.book[counted] = found
    s.happened.append(Moves("stock.counted", np.full(len(counted), s.now_ms + COUNTED), counted, found))


def _noticed(s: State, location: int, day: int) -> Ints:
    begin, end = s.slice_of(location)
    here = slice(begin, end)
    wrong = (s.on_hand[here] == 0) & (s.book[here] > 0) & (s.tally.counts["lost_units"][here] > 0)
    seen = generator(s.config.seed, For.COUNTS, location, day).random(end - begin) < NOTICED
    return begin + np.flatnonzero(wrong & seen)
