"""The nightly trees: what they are grown on, and what that brings."""

from __future__ import annotations

import numpy as np
import pytest

from models.demand import trees
from models.demand.exactly import FEATURE_STEP
from models.demand.online import FAMILY
from models.demand.own_past import PAST_COLUMNS
from models.demand.places import LEVELS, QUANTILE_STEP, quantiles_of
from models.demand.row_sums import REGRESSION
from models.demand.scores import pinball
from tests.models import conformance as c


def test_they_are_grown_on_what_rows_tell_themselves():
    """The regression asked for features gives what rows told of their own horizons as they opened them."""
    world = c.believable(FAMILY, 4, 30, 60)
    state, shared = c.run(FAMILY, world)
    period = np.full(30, 59)
    state = FAMILY.tell_again(state, shared, period, world.horizons, world.ahead(FAMILY, 59))
    pending, compared = state["pending"], 0
    for row, slot in zip(*np.nonzero(pending["opened"] == 59), strict=True):
        kept = pending[row, slot]
        features, scale = kept["features"][None] * FEATURE_STEP, kept["scale"][None].astype(float)
        told = FAMILY.regressed(shared, features, scale, kept["span"][None])
        np.testing.assert_allclose(quantiles_of(kept["told"][REGRESSION]), told[0], atol=QUANTILE_STEP)
        compared += 1
    assert compared > 3


def test_what_the_regression_knows_is_not_learnt_again():
    """Where demand is the regression's quantiles and a step it does not see, both forests beat the one from nothing."""
    pytest.importorskip("lightgbm", reason="LightGBM is not installed: pip install restock[trees]")
    rng, count = np.random.default_rng(7), 3000
    lessons = np.zeros(count, FAMILY.told["lesson"].base)
    features = rng.uniform(0.0, 2.0, (count, FAMILY.setting.features))
    lessons["features"] = np.rint(features / FEATURE_STEP)
    lessons["scale"], lessons["span"] = 5.0, 7
    known = features @ rng.uniform(0.0, 0.15, features.shape[1])  # of everything a little: trees need many steps for it
    lessons["target"] = known + 0.5 * (features[:, 0] > 1.0) + rng.gamma(2.0, 0.1, count)
    regressed = np.repeat(known[:, None], len(LEVELS), axis=1)
    past = np.full((count, PAST_COLUMNS), np.nan)
    made = trees.train(lessons[:2000], past[:2000], regressed[:2000], 60)
    asked = (features[2000:], lessons["scale"][2000:].astype(float), lessons["span"][2000:], past[2000:])
    both, alone = made.quantiles(*asked, regressed[2000:]), made.from_nothing(*asked)
    target = lessons["target"][2000:].astype(float)
    assert pinball(target, both, LEVELS).mean() < 0.8 * pinball(target, alone, LEVELS).mean()
    assert (np.diff(both, axis=1) >= 0.0).all()
