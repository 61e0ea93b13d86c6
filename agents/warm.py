"""`python -m agents.warm`: compile every loop a worker runs ahead of the first event, or load what is kept."""

from __future__ import annotations

from agents.intake import orders, routing
from agents.planner import forecast_text, hashes
from agents.planner.config import PlannerConfig
from agents.planner.fold import fold
from agents.planner.shelf import Shelf
from models.demand import warm as forecaster
from stream.events import rows
from stream.events.kinds import Kind, Source


def warm() -> None:
    """Call everything once. Nothing where loops are compiled already."""
    forecaster.warm()
    hashes.warm()
    forecast_text.warm()
    orders.warm()
    routing.warm()
    placed = rows.from_columns(kind=[Kind.ORDER_PLACED], source=[Source.ORDERS], sku=["a"], location=["b"], milli=[1])
    fold(Shelf(PlannerConfig(shelf=0, shape=dict.fromkeys(Source, 1))), [rows.decode(rows.encode(placed, ()), 0)])


if __name__ == "__main__":
    warm()
