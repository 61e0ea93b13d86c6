"""A Prometheus of the machine's own, for tests: Debian's package `prometheus` has the server and promtool."""

from __future__ import annotations

import os
import shutil

import pytest

# set by .ci/run once it has installed the package: from then on a missing tool is a failure
MUST = "RESTOCK_TEST_PROMETHEUS"


def tool(name: str) -> str:
    """Path of `prometheus` or `promtool`; skips the test, loudly, where it is not installed."""
    found = shutil.which(name)
    if found is not None:
        return found
    why = f"no {name} on PATH: rules and dashboards are not tried; apt-get install prometheus"
    if os.environ.get(MUST):
        raise FileNotFoundError(why)
    pytest.skip(why)
