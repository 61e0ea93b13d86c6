"""What the planner is told once: shape of the log, defaults of a SKU nobody described, limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from models.demand.contract import Family
from stream.events.kinds import Source

HISTORY_DAYS = 42  # closed days kept a row: six weeks, so that a weekly pattern is seen six times
DAY_MS = 86_400_000
NEVER = 2**62  # ms; later than any event, and sums with it do not overflow
LONG_AGO = -(2**62)


@dataclass(frozen=True)
class Policy:
    """How a SKU-location is to be replenished; quantities in milli, money a unit. Defaults serve the undescribed."""

    lead_days: float = 7.0
    lead_days_sd: float = 0.0
    review_days: float = 1.0
    review: str = "continuous"  # periodic: proposes only when a day closes, every review_days
    cover_days: float = -1.0  # of demand an order brings beyond the reorder point; under 0: EOQ or the set cover
    service_level: float = 0.95
    service_measure: str = "cycle"  # or fill: the share of demand served
    unit_cost: float = 0.0  # 0: not known
    unit_price: float = 0.0  # 0: not known, the last price seen serves
    order_cost: float = 0.0
    holding_cost_rate_year: float = 0.25
    pack_milli: int = 1000
    min_order_milli: int = 0
    max_stock_milli: int = 0  # 0: none
    last_buy_day: int = NEVER  # last local day, by number, on which it may be ordered
    launch_day: int = 0  # first local day, by number, on which it is sold; 0: always was
    level_stated: bool = False  # whether a fact says the service level
    order_from: int = 0  # first one on which it may be ordered: so that it is there at its launch
    status: str = "active"
    confirms: bool = True  # False: the supplier does not confirm, ordered counts as confirmed
    category: str = ""
    supplier: str = ""

    @property
    def periodic(self) -> bool:
        """Whether it orders only when a day closes."""
        return self.review == "periodic"

    @property
    def fill(self) -> bool:
        """Whether its service level is a fill rate."""
        return self.service_measure == "fill"

    @property
    def orderable(self) -> bool:
        """Whether anything may be proposed for it."""
        return self.status in ("new", "active")


@dataclass(frozen=True)
class PlannerConfig:
    """Everything a fold depends on besides the log; written into a new shelf and checked against an old one."""

    shelf: int = 0
    namespace: str = "restock"
    shape: dict[int, int] = field(default_factory=lambda: dict.fromkeys(Source, 1))  # Source -> partitions
    shelves: int = 1
    policy: Policy = Policy()
    currency: str = "EUR"
    cover_days: float = 7.0  # order quantity where no EOQ can be had: this many days of demand
    journal_rows: int = 500_000  # 50 B each in Redis, 25 MB a shelf; in memory up to 60 MB, with their hashes
    journal_days: int = 35
    cart_silence_ms: int = 60 * 60_000
    carts_max: int = 100_000  # a cart is about 200 B
    proposal_expiry_ms: int = 72 * 3_600_000
    proposal_grace_ms: int = 24 * 3_600_000
    transfer_expiry_ms: int = 48 * 3_600_000  # from approval to shipment
    stockout_limit: float = 0.2  # chance to run out before the next confirmed receipt
    overstock_days: float = 60.0
    hysteresis: float = 0.05  # share of the threshold, at least one unit
    count_tolerance: float = 0.02  # share of on hand, at least one unit
    positions_interval_ms: int = 1_000
    warm_until_ms: int = LONG_AGO  # nothing is decided or published before the watermark reaches it
    close_spread_ms: int = 0  # SKUs close a day one after the other, this long past its end: see wakes.py
    slice_rows: int = 1_000  # most rows of a slice that closes days; a worker takes fewer where they take too long
    send_rows: int = 200  # rows woken at once, and in a slice that only sends positions: 200 of 40 us are 8 ms
    plan_days: int = 60  # how far ahead plans are looked at: longer lead times are rare, longer plans too
    forecasts: str = "changed"  # which are published when a day closes: these, daily or off
    segments: bool = False  # whether they say the service level where no fact does: see segments.py
    cart_signals: bool = False  # whether forecasts look at carts: see signals.py
    lead_times: str = "learnt"  # from receipts where there are enough; or stated: by facts and defaults alone
    forecast_days: tuple[int, ...] = (7, 28)  # sums told beside the one over lead time plus review
    family: Family | None = None  # in another setting than the version's: periods that are no days, other horizons
    version: int = 1  # of a log's beginning, see versions.py; a switch record in it leads to later ones
    silent: bool = False  # a backtest: decisions are read off the shelf; no messages, alerts, or lead times learnt
    force_slow: bool = False  # tests: send every row through the slow lane

    def fixed(self) -> dict[str, Any]:
        """What must never change under a ledger that has begun."""
        return {
            "shape": {str(k): v for k, v in sorted(self.shape.items())},
            "shelves": self.shelves,
            "namespace": self.namespace,
            "warm_until_ms": self.warm_until_ms,
        }
