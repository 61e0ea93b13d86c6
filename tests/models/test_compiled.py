"""Compiled loops are the interpreted source, faster: the same bytes, kept where they can be, and never stale."""

from __future__ import annotations

import hashlib
import sys

import numpy as np
import pytest

from models.demand import compiled
from models.demand.online import FAMILY
from tests.interpreted import fingerprint_of
from tests.models import conformance as c


def fingerprint() -> str:
    """Of states, shared states, outlooks and explanations of a small world with everything in it."""
    world, made = c.believable(FAMILY, 11, 5, 30), hashlib.sha256()
    state, shared = c.run(FAMILY, world)
    quantiles = np.broadcast_to(np.linspace(1.0, 60.0, 6), (5, 3, 6))
    state = FAMILY.adopt(state, 0, np.full(5, 29), world.horizons, quantiles, c.LEVELS)
    out, told = c.look(FAMILY, world, state, shared), FAMILY.explain(state, shared)
    for part in (state, *shared.values(), out.mean_sum_units, out.quantile_sum_units, told.weights, told.loss_units):
        made.update(part.tobytes())
    return made.hexdigest()


FACTOR = 0.5


def _scaled(x: float) -> float:
    return FACTOR * x


def test_interpreted_source_gives_the_same_bytes():
    """Without compiling, the same loops give the same state, shared state, outlook and explanation."""
    assert fingerprint_of(__name__) == fingerprint()


def test_compiled_code_is_kept_by_its_sources(tmp_path, monkeypatch):
    """A change of any source a kernel is made of is another directory; one that cannot be written is passed over."""
    numba = pytest.importorskip("numba", exc_type=ImportError, reason="numba is not installed: nothing is compiled")
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    (place,) = compiled._places(_scaled)
    assert place == f"{tmp_path}/kernels-{compiled._digest(_scaled)}"
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", 0.25)
    assert compiled._places(_scaled) != [place], "a number that is compiled in counts as source"
    (tmp_path / "file").write_text("not a directory")
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "file"))

    @compiled.kernel
    def twice(x: float) -> float:
        return 2.0 * x

    assert twice(2.0) == 4.0


def test_rows_of_another_setting_are_refused():
    """Kernels read memory by place: what does not fit is an error before it is read."""
    state, shared = FAMILY.fresh(np.arange(2)), FAMILY.fresh_shared()
    world = c.believable(FAMILY, 1, 2, 2)
    seen = world.seen(FAMILY, 0, np.arange(2))
    with pytest.raises(ValueError, match="not rows of the family"):
        FAMILY.close(np.zeros(2, np.int64), shared, seen)
    with pytest.raises(ValueError, match="an observation of 2 rows"):
        FAMILY.close(state, shared, seen.__class__(**{**vars(seen), "units": np.zeros(3)}))
    with pytest.raises(ValueError, match="does not fit 3 rows"):
        FAMILY.outlook(FAMILY.fresh(np.arange(3)), shared, np.zeros(3), np.ones((3, 1)), seen.ahead, c.LEVELS)
