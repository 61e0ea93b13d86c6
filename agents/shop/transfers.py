"""Stock on its way between locations: stores that help each other out, and transfers somebody asked for."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from agents.shop.agenda import Columns, step_after
from agents.shop.config import DAY_MS, HOUR_MS
from agents.shop.draws import For, Ints, generator, uniform
from agents.shop.places import Place
from agents.shop.said import Moves
from agents.shop.state import State
from agents.shop.stock import take
from stream.events.public import INCOMING

ARRIVED, SHIPPED, APPROVED = 2, 7, 10  # ms of a step
HELPED_ROWS = 400  # rows for one look at who could help whom, a day
HELP_HOURS = 14  # local time of the first location
SHIP_HOURS = (1.0, 8.0)  # from being asked to
NEAR_DAYS, FAR_DAYS = 1.0, 3.0
LATE_SHARE = 0.1  # arrive a day later


@dataclass
class Dispatch:
    """Transfers by number: their names, until they have arrived."""

    names: dict[int, str] = field(default_factory=dict)
    proposed: set[int] = field(default_factory=set)  # of these, that somebody asked for and wants to hear of
    count: int = 0

    def named(self, name: str, proposed: bool) -> int:
        """A number for a transfer."""
        self.count += 1
        self.names[self.count] = name
        if proposed:
            self.proposed.add(self.count)
        return self.count


def lane_days(places: tuple[Place, ...], here: int, there: int) -> float:
    """Mean days between two locations: near on one continent, else far."""
    same = places[here].zone.partition("/")[0] == places[there].zone.partition("/")[0]
    return NEAR_DAYS if same else FAR_DAYS


def ask(s: State, dispatch: Dispatch, name: str, row: int, to: int, units: int, proposed: bool) -> None:
    """Units of `row` are to be sent to row `to`; shipped within hours, as far as they are there.

    What was proposed is approved at once, and cancelled where nothing can be spared.
    """
    number = dispatch.named(name, proposed)
    chance = uniform(s.config.seed, For.HELP, np.array([row]), np.array([to]), np.array([s.step]))
    hours = SHIP_HOURS[0] + chance * (SHIP_HOURS[1] - SHIP_HOURS[0])
    steps = step_after(s.now_ms + (hours * HOUR_MS).astype(np.int64))
    what = {"row": np.array([row]), "to": np.array([to]), "units": np.array([units]), "number": np.array([number])}
    s.agenda.put("departures", steps, **what)
    if proposed:
        s.agenda.put("approvals", np.array([s.step]), **what)


def approve(s: State, dispatch: Dispatch) -> None:
    """Say that proposed transfers will be sent."""
    if (due := s.agenda.take("approvals", s.step)) is not None:
        names = [dispatch.names[number] for number in due["number"].tolist()]
        _answer(s, "transfer.approved", s.now_ms + APPROVED, due, names)


def _answer(s: State, type: str, at_ms: int, due: Columns, names: list[str]) -> None:
    if type in INCOMING["stock-movements"] and names:
        at = np.full(len(names), at_ms)
        s.happened.append(Moves(type, at, due["row"], due["units"], names, s.location_of(due["to"])))


def arrive(s: State, dispatch: Dispatch) -> None:
    """Transfers that arrive in the step."""
    if (due := s.agenda.take("arrivals", s.step)) is None:
        return
    rows, to, units = due["row"], due["to"], due["units"]
    s.booked(to, units, "moved_in_units")
    np.subtract.at(s.in_transit, to, units)
    names = [dispatch.names.pop(number) for number in due["number"].tolist()]
    at = np.full(len(rows), s.now_ms + ARRIVED)
    s.happened.append(Moves("stock.transfer_received", at, rows, units, names, s.location_of(to)))


def depart(s: State, dispatch: Dispatch) -> None:
    """Transfers that leave in the step, with what can be spared of what lies there."""
    if (due := s.agenda.take("departures", s.step)) is None:
        return
    spare = np.minimum(s.on_hand, s.book - s.allocated)
    units = take(spare, due["row"], due["units"])
    _cancel(s, dispatch, {name: column[units == 0] for name, column in due.items()})
    its = units > 0
    rows, to, units, number = due["row"][its], due["to"][its], units[its], due["number"][its]
    if len(rows) == 0:
        return
    s.booked(rows, -units, "moved_out_units")
    np.add.at(s.in_transit, to, units)
    at = np.full(len(rows), s.now_ms + SHIPPED)
    names = [dispatch.names[n] for n in number.tolist()]
    s.happened.append(Moves("stock.transfer_shipped", at, rows, units, names, s.location_of(to)))
    _on_the_way(s, rows, to, units, number)


def _cancel(s: State, dispatch: Dispatch, due: Columns) -> None:
    """Nothing can be spared: who asked is told."""
    proposed = np.array([number in dispatch.proposed for number in due["number"].tolist()], np.bool_)
    names = [dispatch.names.pop(number) for number in due["number"].tolist()]
    told = {name: column[proposed] for name, column in due.items()}
    _answer(
        s, "transfer.cancelled", s.now_ms + SHIPPED, told, [n for n, its in zip(names, proposed, strict=True) if its]
    )


def _on_the_way(s: State, rows: Ints, to: Ints, units: Ints, number: Ints) -> None:
    pairs = zip(s.location_of(rows).tolist(), s.location_of(to).tolist(), strict=True)
    days = np.array([lane_days(s.places, here, there) for here, there in pairs])
    chance = uniform(s.config.seed, For.HELP, rows, to, np.full(len(rows), s.step))
    days = days * (0.7 + 0.6 * chance) + np.where(chance < LATE_SHARE, 1.0, 0.0)
    steps = step_after(s.now_ms + (days * DAY_MS).astype(np.int64))
    s.agenda.put("arrivals", steps, row=rows, to=to, units=units, number=number)


def help_out(s: State, dispatch: Dispatch) -> None:
    """Some SKUs are looked at: who has most of one sends a third of it to who has least, where that is a help."""
    if (due := s.agenda.take("help", s.step)) is None or len(s.places) < 2:
        return
    skus = s.config.rows - s.config.skus * (len(s.places) - 1)  # kept everywhere
    for day in due["day"].tolist():
        rng = generator(s.config.seed, For.HELP, day)
        for sku in rng.integers(0, skus, rng.poisson(s.config.rows / HELPED_ROWS)).tolist():
            rows = sku + s.config.skus * np.arange(len(s.places))
            free = s.book[rows] - s.allocated[rows]
            most, least = int(rows[free.argmax()]), int(rows[free.argmin()])
            units = int(free.max()) // 3
            if units >= 2 and free.min() + s.in_transit[least] < units // 2:
                ask(s, dispatch, f"help-{day}-{sku}", most, least, units, proposed=False)
