"""A demand distribution as slices of probability."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.network import ladder, strata

LEVELS = np.array([0.5, 0.75, 0.9, 0.99])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 100), min_size=4, max_size=4), st.floats(0, 1))
def test_strata_sum_to_one_rise_and_keep_the_mean_where_the_quantiles_allow(q: list[float], share: float) -> None:
    """The mean comes out whenever the part under the median can carry it."""
    quantiles = np.sort(np.array(q))[:, None, None]
    upper = strata.from_quantiles(np.zeros((1, 1)), LEVELS, quantiles)
    least = float(upper.probability[4:, 0] @ upper.units[4:, 0, 0])
    mean = least + 0.5 * quantiles[0, 0, 0] * (0.01 + 0.99 * share)
    s = strata.from_quantiles(np.array([[mean]]), LEVELS, quantiles)
    assert s.probability.sum() == pytest.approx(1)
    assert np.all(np.diff(s.units, axis=0) >= -1e-9)
    assert s.mean()[0, 0] == pytest.approx(mean)


def test_levels_out_of_order_are_refused() -> None:
    """Levels rise within (0, 1)."""
    with pytest.raises(ValueError, match="levels must rise"):
        strata.from_quantiles(np.ones((1, 1)), np.array([0.9, 0.5]), np.ones((2, 1, 1)))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 40), min_size=3, max_size=3), st.sampled_from([1.0, 2.5, 6.0]), st.integers(0, 30))
def test_steps_are_exact_at_every_whole_pack_and_never_grow_dearer_the_wrong_way(
    reach: list[float], pack: float, packs: int
) -> None:
    """The sum of the first n packs' steps is the expected sales they save; each pack is worth no more than the last."""
    probability = np.array([[0.5], [0.3], [0.2]])
    units = np.sort(np.array(reach))[:, None]
    most = np.array([30.0])
    taken = ladder.take_steps(probability, units, np.array([pack]), np.array([1.0]), np.array([0.0]), most)
    given_ = ladder.give_steps(probability, units, np.array([pack]), np.array([1.0]), np.array([0.0]), most)
    assert np.all(np.diff(taken.money) >= -1e-9)
    assert np.all(np.diff(given_.money) >= -1e-9)
    assert taken.width.sum() == given_.width.sum() == 30
    each = np.repeat(taken.money, taken.width.astype(int))[:packs].sum()
    lost = np.repeat(given_.money, given_.width.astype(int))[:packs].sum()
    count = np.array([[float(packs)]])
    assert -each == pytest.approx(ladder.gained_units(count, np.array([pack]), probability, units)[0, 0], abs=1e-7)
    assert lost == pytest.approx(ladder.lost_units(count, np.array([pack]), probability, units)[0, 0], abs=1e-7)
