"""No variable of whoever runs the tests reaches them."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("RESTOCK_") and not name.startswith("RESTOCK_TEST_"):
            monkeypatch.delenv(name)
