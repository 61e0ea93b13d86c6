"""A small neural net over shared features: one hidden layer, one output a quantile, pinball loss, Adam.

Rows in row scales share it. It takes a period's lessons as one step, so its cost does not grow with rows it speaks for.
River 0.26 has no net, and a framework for 3,000 weights would outweigh the service.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from models.demand.contract import Ahead, Floats, Ints, Shared, State, Told
from models.demand.exactly import FEATURE_STEP
from models.demand.online import Online
from models.demand.places import LEVELS
from models.demand.row_sums import FARTHEST, LARGEST
from models.demand.trees import lessons_of

HIDDEN = 24
STEP, FIRST_KEPT, SECOND_KEPT, SHRINK = 0.003, 0.9, 0.999, 1e-4
STEPS_A_PERIOD = 4
MOST_LESSONS = 2048
LEAST_PERIODS = 30
SEED = 1


@dataclass
class NeuralNet:
    """The net as a guest: weights by name, and Adam's two moments of each (Kingma & Ba 2015)."""

    name: str = "neural net"
    weights: dict[str, Floats] = field(default_factory=dict)
    moments: dict[str, tuple[Floats, Floats]] = field(default_factory=dict)
    steps: int = 0
    periods: int = 0

    def hear(self, period: int, told: Told) -> None:  # noqa: ARG002
        """Take a period's lessons in a few gradient steps."""
        lessons = lessons_of(told)
        if len(lessons) == 0:
            return
        lessons = lessons[:: -(-len(lessons) // MOST_LESSONS)]
        features = lessons["features"] * FEATURE_STEP
        target = np.clip(lessons["target"].astype(np.float64), 0.0, LARGEST)
        weight = np.sqrt(lessons["scale"].astype(np.float64))
        if not self.weights:
            self._begin(features.shape[1])
        for _ in range(STEPS_A_PERIOD):
            self._step(features, target, weight / weight.sum())
        self.periods += 1

    def predict(self, features: Floats) -> Floats:
        """Quantiles (n, K) in row scales."""
        hidden = np.tanh(features @ self.weights["in"] + self.weights["in bias"])
        told = hidden @ self.weights["out"] + features @ self.weights["skip"] + self.weights["out bias"]
        return np.maximum.accumulate(np.clip(told, 0.0, FARTHEST), axis=1)

    def quantiles(
        self, family: Online, state: State, shared: Shared, period: int, horizons: Ints, ahead: Ahead
    ) -> Floats | None:
        """Quantiles (n, H, K) in units; None while young."""
        if self.periods < LEAST_PERIODS:
            return None
        told = []
        for horizon in horizons.T:
            features, scale = family.features(state, shared, np.full(len(state), period), horizon, ahead)
            told.append(self.predict(features) * scale[:, None])
        return np.stack(told, axis=1)

    def _begin(self, p: int) -> None:
        rng, k = np.random.default_rng(SEED), len(LEVELS)
        self.weights = {
            "in": rng.normal(0.0, 1.0 / np.sqrt(p), (p, HIDDEN)),
            "in bias": np.zeros(HIDDEN),
            "out": rng.normal(0.0, 0.1 / np.sqrt(HIDDEN), (HIDDEN, k)),
            "skip": np.zeros((p, k)),
            "out bias": np.linspace(1.0, 2.5, k),
        }
        self.moments = {name: (np.zeros_like(w), np.zeros_like(w)) for name, w in self.weights.items()}

    def _step(self, features: Floats, target: Floats, weight: Floats) -> None:
        hidden = np.tanh(features @ self.weights["in"] + self.weights["in bias"])
        told = hidden @ self.weights["out"] + features @ self.weights["skip"] + self.weights["out bias"]
        pull = ((told > target[:, None]).astype(np.float64) - LEVELS) * weight[:, None]  # of pinball loss
        back = (pull @ self.weights["out"].T) * (1.0 - hidden * hidden)
        slopes = {
            "in": features.T @ back,
            "in bias": back.sum(axis=0),
            "out": hidden.T @ pull,
            "skip": features.T @ pull,
            "out bias": pull.sum(axis=0),
        }
        self.steps += 1
        for name, slope in slopes.items():
            first, second = self.moments[name]
            slope = slope + SHRINK * self.weights[name]
            first = FIRST_KEPT * first + (1.0 - FIRST_KEPT) * slope
            second = SECOND_KEPT * second + (1.0 - SECOND_KEPT) * slope * slope
            self.moments[name] = first, second
            unbiased = first / (1.0 - FIRST_KEPT**self.steps), second / (1.0 - SECOND_KEPT**self.steps)
            self.weights[name] = self.weights[name] - STEP * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
