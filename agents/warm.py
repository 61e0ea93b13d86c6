"""`python -m agents.warm`: compile every loop a worker runs ahead of the first event, or load what is kept."""

from __future__ import annotations

from agents.intake import orders, routing
from agents.planner import fast, forecast_text
from models.demand import warm as forecaster


def warm() -> None:
    """Call everything once. Nothing where loops are compiled already."""
    forecaster.warm()
    fast.warm()
    forecast_text.warm()
    orders.warm()
    routing.warm()


if __name__ == "__main__":
    warm()
