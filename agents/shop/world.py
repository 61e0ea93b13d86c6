"""The world: time goes on in steps of a quarter of an hour, and everything happens in the order README.md says."""

from __future__ import annotations

import hashlib

import numpy as np

from agents.planner.days import day_of
from agents.shop import catalogue, floor, supply, transfers
from agents.shop.carts import days_ahead
from agents.shop.config import HOUR_MS, STEP_MS, Config
from agents.shop.demand import Q_MEAN, Demand, Law
from agents.shop.draws import For, Ints, generator
from agents.shop.items import items, suppliers
from agents.shop.places import Place, places
from agents.shop.plan import Plan
from agents.shop.said import Facts, Moves, Said, Voice
from agents.shop.state import State
from agents.shop.truth import Day, Tally, joined, of_law

LAUNCH_STOCK_DAYS = 3  # before its launch a new item is stocked
FACTS_AT_MS = 12  # of a step


class World:
    """A shop from its first local midnight on; all columns are (rows,)."""

    def __init__(self, config: Config, from_ms: int | None = None) -> None:
        """The world at its first midnight; or at `from_ms`, some time after it: its first days are then not whole."""
        self.config = config
        self.places: tuple[Place, ...] = places(-(-config.rows // config.skus))
        its = items(config)
        plan = Plan(config, its, self.places)
        demand = Demand.of(config, self.places, its, plan)
        stock = _opening_stock(config, demand)
        zero = np.zeros(config.rows, np.int64)
        begin_ms = min(place.midnight_ms(config.start_day) for place in self.places)
        if from_ms is not None:
            begin_ms = max(begin_ms, from_ms - from_ms % STEP_MS)
        # the local day each location is in; nothing happens before the first
        self._open = [max(day_of(place.zone, begin_ms), config.start_day) - 1 for place in self.places]
        whole = all(place.midnight_ms(day + 1) >= begin_ms for place, day in zip(self.places, self._open, strict=True))
        self._first = [day + 1 for day in self._open]
        self._whole_day = max(self._open) + (1 if whole else 2)  # the first day that is whole everywhere
        self._s = State(
            config, self.places, its, suppliers(config.seed), plan, demand, begin_ms, stock, stock.copy(),
            zero, zero.copy(), zero.copy(), _web_rows(config, self.places), np.zeros(config.rows), Tally(config.rows),
        )  # fmt: skip
        self._desk = supply.Desk(np.zeros(config.rows, np.int64))
        self._dispatch = transfers.Dispatch()
        self._opening = stock.copy()  # of each row's local day
        self._laws: list[Law] = [demand.law(location, day) for location, day in enumerate(self._first)]
        self._closed: list[Day] = []
        self._voice = Voice(_name_of(config), its.names, [p.name for p in self.places], self._supplier_names())
        self._numbers = {name: number for number, name in enumerate(its.names)}
        self._location_numbers = {place.name: number for number, place in enumerate(self.places)}
        self._begin()

    # -- living ---------------------------------------------------------------------------------------------------

    def tell(self, to_ms: int) -> list[Said]:
        """Live every step that ends by `to_ms`; everything said in them, in order of time."""
        said: list[Said] = []
        while self.now_ms + STEP_MS <= to_ms:
            self._step()
            said += self._voice.say(self._s.happened)
            self._s.happened = []
        return said

    def day(self) -> Day:
        """Live until the next local day has ended everywhere; its truth. Nothing of it is said to anybody."""
        parts: list[Day] = []
        while True:
            wanted = min((d.day for d in self._closed), default=-1)
            parts = [d for d in self._closed if d.day == wanted]
            if len(parts) == len(self.places):
                self._closed = [d for d in self._closed if d.day != wanted]
                return joined(parts)
            self._step()
            self._s.happened = []

    def truth(self) -> list[Day]:
        """Local days that ended since this was last asked, one for each location and day."""
        closed, self._closed = self._closed, []
        return closed

    def _step(self) -> None:
        """One step; the order is README.md's."""
        s = self._s
        self._midnights()
        supply.deliver(s)
        transfers.arrive(s, self._dispatch)
        floor.staff(s)
        transfers.depart(s, self._dispatch)
        transfers.help_out(s, self._dispatch)
        transfers.approve(s, self._dispatch)
        supply.own_buyer(s)
        supply.office(s, self._desk)
        floor.sell(s)
        self._see_exposure()
        s.now_ms += STEP_MS

    # -- what it is told ------------------------------------------------------------------------------------------

    def order(self, rows: Ints, units: Ints) -> None:
        """Order units (n,) for rows (n,) from their suppliers, at once; none where `units` is 0."""
        supply.order(self._s, np.asarray(rows, np.int64), np.asarray(units, np.int64))

    def replenish(self, replenishment_id: str, sku: str, location: str, units: int) -> None:
        """A proposal reaches the buyer. Raises KeyError where the row is not of this world."""
        supply.propose(self._s, self._desk, replenishment_id, self.row(sku, location), units)

    def withdraw(self, replenishment_id: str) -> None:
        """The proposal is not needed any more; nothing happens where it is ordered already."""
        if replenishment_id in self._desk.proposals.values():
            self._desk.withdrawn.add(replenishment_id)

    def move(self, transfer_id: str, sku: str, from_location: str, to_location: str, units: int) -> None:
        """A transfer is asked for. Raises KeyError where a row is not of this world."""
        here, there = self.row(sku, from_location), self.row(sku, to_location)
        transfers.ask(self._s, self._dispatch, transfer_id, here, there, units, proposed=True)

    # -- what can be asked ----------------------------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        """Everything before this instant has happened."""
        return self._s.now_ms

    @property
    def on_hand(self) -> Ints:
        """What lies there."""
        return self._s.on_hand

    @property
    def book(self) -> Ints:
        """What all published events add up to: on hand, and what was stolen since the last count."""
        return self._s.book

    @property
    def allocated(self) -> Ints:
        """Ordered and not yet packed."""
        return self._s.allocated

    @property
    def on_order(self) -> Ints:
        """Still to come from suppliers."""
        return self._s.on_order

    @property
    def in_transit(self) -> Ints:
        """Still to come from other locations."""
        return self._s.in_transit

    @property
    def lead_days(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each row's lead time, as the catalogue says it."""
        supplier = self._s.items.supplier[self._s.sku_of(np.arange(self.config.rows))]
        return self._s.suppliers.lead_days[supplier], self._s.suppliers.lead_days_sd[supplier]

    def law(self, location: int, day: int) -> Law:
        """The law of a location's demand on any day."""
        return self._s.demand.law(location, day)

    def row(self, sku: str, location: str) -> int:
        """The number of a row. Raises KeyError."""
        row = self._location_numbers[location] * self.config.skus + self._numbers[sku]
        if row >= self.config.rows:
            raise KeyError(f"{sku} is not kept at {location}")
        return row

    def sku_of(self, row: int) -> str:
        """The SKU of a row."""
        return self._s.items.names[row % self.config.skus]

    def location_of(self, row: int) -> str:
        """The location of a row."""
        return self.places[row // self.config.skus].name

    # -- days -----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Facts and the first count of everything that is sold already."""
        s, day = self._s, min(self._first)
        s.happened.append(Facts(s.now_ms, catalogue.opening(s, day) + s.plan.told(day, first=True)))
        sold = np.flatnonzero(np.tile(s.items.launch_day <= day, len(self.places))[: self.config.rows])
        s.happened.append(Moves("stock.counted", np.full(len(sold), s.now_ms + 1), sold, s.on_hand[sold]))
        ahead = days_ahead(self.config)
        for location, place in enumerate(self.places):
            for later in range(ahead if place.web else 0):
                floor.open_custom(s, location, self._first[location] + later)

    def _midnights(self) -> None:
        """Local days that end and begin with the step."""
        for location, place in enumerate(self.places):
            following = self._open[location] + 1
            if place.midnight_ms(following) > self.now_ms:
                continue
            if self._open[location] >= self._first[location]:
                self._close(location)
            self._open_day(location, following)
            self._open[location] = following

    def _open_day(self, location: int, day: int) -> None:
        s, place = self._s, self.places[location]
        begin, end = s.slice_of(location)
        law = self._laws[location] = s.demand.law(location, day)
        s.price[begin:end] = law.price
        floor.open_day(s, location, day)
        floor.open_custom(s, location, day + (days_ahead(self.config) if place.web else 0))
        self._stock_new(location, day)
        morning = (place.midnight_ms(day) + supply.REVIEW_HOURS * HOUR_MS) // STEP_MS
        here = {"location": np.array([location]), "day": np.array([day])}
        if self.config.restocking == "own":
            s.agenda.put("review", np.array([morning]), **here)
        if location == 0:
            afternoon = (place.midnight_ms(day) + transfers.HELP_HOURS * HOUR_MS) // STEP_MS
            s.agenda.put("help", np.array([afternoon]), day=np.array([day]))
            if day > self._first[0]:
                told = catalogue.changes(s, day) + s.plan.told(day, first=False)
                s.happened.append(Facts(self.now_ms + FACTS_AT_MS, told))

    def _stock_new(self, location: int, day: int) -> None:
        """A new item's first stock comes some days before its launch."""
        begin, end = self._s.slice_of(location)
        launched = np.flatnonzero(self._s.items.launch_day[: end - begin] == day + LAUNCH_STOCK_DAYS)
        units = np.ceil(self._s.demand.base[location][launched] * Q_MEAN * self.config.opening_days).astype(np.int64)
        morning = (self.places[location].midnight_ms(day) + supply.REVIEW_HOURS * HOUR_MS) // STEP_MS
        self._s.agenda.put("stocked", np.full(len(launched), morning), row=begin + launched, units=units + 1)

    def _close(self, location: int) -> None:
        s = self._s
        begin, end = s.slice_of(location)
        columns = s.tally.closed(begin, end) | of_law(self._laws[location])
        columns |= {
            "opening_units": self._opening[begin:end].copy(),
            "on_hand_units": s.on_hand[begin:end].copy(),
            "book_units": s.book[begin:end].copy(),
            "allocated_units": s.allocated[begin:end].copy(),
        }
        self._opening[begin:end] = s.on_hand[begin:end]
        if self._open[location] >= self._whole_day:
            self._closed.append(Day(self._open[location], begin, **columns))

    def _see_exposure(self) -> None:
        """Add the step's share of the day's custom to rows that have something to sell."""
        s = self._s
        for location, place in enumerate(self.places):
            begin_ms = place.midnight_ms(self._open[location])
            if self._open[location] < self._first[location] or self._laws[location].closed:
                continue
            hour = min(int((self.now_ms - begin_ms) // HOUR_MS), 23)
            share = place.hours[hour] * STEP_MS / HOUR_MS
            if share == 0:
                continue
            begin, end = s.slice_of(location)
            there = s.book[begin:end] - s.allocated[begin:end] if place.web else s.on_hand[begin:end]
            s.tally.exposure[begin:end] += np.float32(share) * (there > 0)

    def _supplier_names(self) -> list[str]:
        return [self._s.suppliers.names[number] for number in self._s.items.supplier.tolist()]


def _opening_stock(config: Config, demand: Demand) -> Ints:
    """Days of mean demand, half as much to half as much again; nothing yet of what is not launched."""
    parts = []
    for location, base in enumerate(demand.base):
        days = config.opening_days * generator(config.seed, For.STOCK, location).uniform(0.5, 1.5, len(base))
        launched = demand.items.launch_day[: len(base)] <= config.start_day
        parts.append(np.ceil(base * Q_MEAN * days).astype(np.int64) * launched)
    return np.concatenate(parts)


def _web_rows(config: Config, there: tuple[Place, ...]) -> Ints:
    web = np.repeat(np.array([place.web for place in there], np.int64), config.skus)
    return web[: config.rows]


def _name_of(config: Config) -> str:
    """A short name of the world, of which event ids are made: other worlds in the same topics are no repeats."""
    plain = [
        value if isinstance(value, str) or value % 1 else int(value) for value in vars(config).values()
    ]  # 2.0 is 2
    return hashlib.blake2b(repr(plain).encode(), digest_size=4).hexdigest()
