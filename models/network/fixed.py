"""Send-outs already promised: they leave whatever else is done, and use stock, lanes and budget."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.network.circulation import Floats, Ints


@dataclass(frozen=True)
class Fixed:
    """One row a send-out; `period` is when each leaves, all in the first where it is not given."""

    sku: Ints
    lane: Ints
    units: Floats
    period: Ints | None = None

    def leaves(self) -> Ints:
        """The period of each."""
        return np.zeros(len(self.sku), np.int64) if self.period is None else self.period


NOTHING_FIXED = Fixed(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
