"""Choosing parameters of the quantile trees: random trials on the newest part of what is known."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.demand.contract import Floats, Told
from models.demand.row_sums import LARGEST
from models.demand.trees import FIXED, features_of, with_past

JUDGED_SHARE = 0.25  # of the lessons, the newest: the trials are judged by them
TRIAL_LESSONS = 12_000
TRIAL_LEVELS = (0.5, 0.95)
CHOICES: dict[str, tuple[Any, ...]] = {
    "learning_rate": (0.02, 0.03, 0.05, 0.08),
    "num_leaves": (7, 15, 31, 63),
    "min_data_in_leaf": (20, 50, 100, 200),
    "feature_fraction": (0.4, 0.6, 0.8, 1.0),
    "bagging_fraction": (0.6, 0.8, 1.0),
    "bagging_freq": (1,),
    "lambda_l2": (0.0, 1.0, 5.0, 20.0),
}
ROUNDS = (60, 120, 200)
SEED = 1


def best_parameters(lessons: Told, trials: int, past: Floats | None = None) -> tuple[dict[str, Any], int]:
    """Parameters and rounds of the best of `trials` random choices: trained on older lessons, judged on newer ones.

    Trees see the features of `lessons` (m,) and, where it is given, their rows' own `past` (m, PAST_COLUMNS).
    """
    import lightgbm

    past = np.zeros((len(lessons), 0)) if past is None else past
    if len(lessons) > TRIAL_LESSONS:
        kept = np.linspace(0, len(lessons) - 1, TRIAL_LESSONS).astype(np.int64)
        lessons, past = lessons[kept], past[kept]
    scale = lessons["scale"].astype(np.float64)
    features = with_past(features_of(lessons), scale, lessons["span"], past)
    target, weight = np.clip(lessons["target"].astype(np.float64), 0.0, LARGEST), np.sqrt(scale)
    cut = int(len(lessons) * (1.0 - JUDGED_SHARE))
    data = lightgbm.Dataset(features[:cut], target[:cut], weight=weight[:cut], free_raw_data=False)
    rng, found = np.random.default_rng(SEED), []
    for trial in range(trials):
        chosen = {name: values[int(rng.integers(len(values)))] for name, values in CHOICES.items()}
        loss = dict.fromkeys(ROUNDS, 0.0)
        for level in TRIAL_LEVELS:
            model = lightgbm.train({**chosen, **FIXED, "alpha": level}, data, max(ROUNDS))
            for rounds in ROUNDS:
                error = target[cut:] - model.predict(features[cut:], num_iteration=rounds, num_threads=1)
                pinball = np.maximum(level * error, (level - 1.0) * error)
                loss[rounds] += float((pinball * weight[cut:]).sum())
        found += [(cost, trial, rounds, chosen) for rounds, cost in loss.items()]
    _, _, rounds, chosen = min(found, key=lambda one: one[:3])
    return chosen, rounds
