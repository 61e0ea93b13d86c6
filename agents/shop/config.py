"""What a world is: one value. The same value and the same answers give the same events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stream.events.instants import BELOW_DAY

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
STEP_MS = 15 * MINUTE_MS  # every zone's midnight lies on a quarter of an hour
MOST_ROWS = 10_000_000  # about 2 GB

Restocking = Literal["answers", "own", "none"]
_MOST_LEAD_HOURS = 14 * 24


@dataclass(frozen=True)
class Config:
    """A world. Raises ValueError naming the field that is out of bounds."""

    seed: int = 1
    rows: int = 100  # SKU-locations
    locations: int = 4  # never more than rows; the second is the web shop
    start_day: int = 20_454  # local date of the first day, days since 1970-01-01: 2026-01-01
    customers_day: float = 4.0  # a row, in the mean over all rows
    zipf: float = 1.0  # exponent of popularity: 0 all alike
    cart_lead_hours: float = 0.0  # by how much carts lead orders; 0: carts say nothing
    conversion: float = 0.4  # share of filled carts that become orders
    promotion_share: float = 0.03  # of SKUs, a week
    wholesale_share: float = 0.002  # wholesale orders a customer
    shrinkage_share: float = 0.015  # units stolen a unit wanted
    count_days: int = 30  # each row is counted once in these
    new_share: float = 0.08  # of SKUs are launched within the first half year
    ending_share: float = 0.06  # of SKUs end within it
    opening_days: float = 21.0  # opening stock, in days of mean demand; the rows differ by half of it
    restocking: Restocking = "answers"

    def __post_init__(self) -> None:
        bounds: dict[str, tuple[float, float]] = {
            "seed": (0, 2**63 - 1),
            "rows": (1, MOST_ROWS),
            "locations": (1, 1_000),
            "start_day": (1, BELOW_DAY - 3_700),
            "customers_day": (1e-6, 1e5),
            "zipf": (0, 3),
            "cart_lead_hours": (0, _MOST_LEAD_HOURS),
            "conversion": (0.01, 1),
            "promotion_share": (0, 1),
            "wholesale_share": (0, 0.5),
            "shrinkage_share": (0, 1),
            "count_days": (1, 3_650),
            "new_share": (0, 0.5),
            "ending_share": (0, 0.5),
            "opening_days": (0, 3_650),
        }
        for name, (least, most) in bounds.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} must lie in {least:g} to {most:g}, not be {getattr(self, name):g}")
        if self.locations > self.rows:
            raise ValueError(f"locations must not be more than rows: {self.locations} > {self.rows}")
        if self.restocking not in ("answers", "own", "none"):
            raise ValueError(f"restocking must be answers, own or none, not {self.restocking!r}")

    @property
    def skus(self) -> int:
        """How many SKUs: the last location may keep fewer.

        >>> Config(rows=10, locations=4).skus
        3
        """
        return -(-self.rows // self.locations)
