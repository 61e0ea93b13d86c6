"""What a test module's `fingerprint()` is where nothing is compiled."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def fingerprint_of(module: str) -> str:
    """`module.fingerprint()` as a process makes it that interprets the loops; skips where nothing is compiled here."""
    pytest.importorskip(
        "numba", exc_type=ImportError, reason="numba is not installed: there is nothing compiled to compare with"
    )
    code = f"import {module} as t; print(t.fingerprint())"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()
