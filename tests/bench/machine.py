"""What a figure was measured on, and by which command."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path


def machine(*packages: str, more: str = "") -> str:
    """Processor, system, the versions of these packages and how busy it was; three lines."""
    versions = ", ".join(filter(None, [*(f"{name} {version(name)}" for name in packages), more]))
    return (
        f"machine: {os.cpu_count()} cores, {_processor()}, Python {platform.python_version()}, "
        f"Linux {platform.release()}\n"
        f"versions: {versions}\n"
        f"load average before: {os.getloadavg()[0]:.1f}"
    )


def command() -> str:
    """The command this process was started by, one line."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    name = f"-m {spec.name.removesuffix('.__main__')}" if spec is not None else sys.argv[0]
    return f"command: python {' '.join([name, *sys.argv[1:]])}"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if "model name" in line), platform.machine())
