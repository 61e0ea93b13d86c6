"""Where the world stands: stock of every row, what is due, what is counted, what happened in the step."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from agents.shop.agenda import Agenda
from agents.shop.config import STEP_MS, Config
from agents.shop.demand import Demand
from agents.shop.draws import Floats, Ints
from agents.shop.items import Items, Suppliers
from agents.shop.places import Place
from agents.shop.plan import Plan
from agents.shop.said import Happened
from agents.shop.truth import Tally


@dataclass
class State:
    """Columns are (rows,) of whole units; row r is SKU `r % skus` at location `r // skus`."""

    config: Config
    places: tuple[Place, ...]
    items: Items
    suppliers: Suppliers
    plan: Plan
    demand: Demand
    now_ms: int  # begin of the next step
    on_hand: Ints  # what lies there
    book: Ints  # what all published events add up to
    allocated: Ints  # ordered and not yet packed or cancelled
    on_order: Ints  # still to come from suppliers
    in_transit: Ints  # still to come from other locations
    web: Ints  # 1 where the row is sold by the web shop
    price: Floats  # what a unit costs today
    tally: Tally
    agenda: Agenda = field(default_factory=Agenda)
    happened: list[Happened] = field(default_factory=list)

    @property
    def step(self) -> int:
        """The number of the step that begins now."""
        return self.now_ms // STEP_MS

    def location_of(self, rows: Ints) -> Ints:
        """Location numbers of rows."""
        return rows // self.config.skus

    def sku_of(self, rows: Ints) -> Ints:
        """SKU numbers of rows."""
        return rows % self.config.skus

    def slice_of(self, location: int) -> tuple[int, int]:
        """The rows of a location: from, to."""
        begin = location * self.config.skus
        return begin, min(begin + self.config.skus, self.config.rows)

    def booked(self, rows: Ints, units: Ints, counted_as: str) -> None:
        """Units come in (or, below zero, go out), and an event says so."""
        np.add.at(self.on_hand, rows, units)
        np.add.at(self.book, rows, units)
        self.tally.add(counted_as, rows, units if counted_as == "adjusted_units" else np.abs(units))
