"""Who runs beside Restock, how each is started, and the environments they need."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent / "peers"
BYTEWAX = ("bytewax==0.21.1", "confluent-kafka>=2.8,<3", "orjson>=3.10,<4")
QUIX = ("quixstreams==3.28.1",)


class NotHere(Exception):
    """A peer that cannot run on this machine; the message says why."""


@dataclass(frozen=True)
class Peer:
    """A contender: how sure its output is, what share of the orders it reads, and its command."""

    name: str
    guarantee: str
    share: float
    command: Callable[[Path], list[str]]  # of a directory for its state
    topics: tuple[str, ...] = ("alerts", "replenishments")
    orders_counted: bool = False  # it counts orders, not lines
    latency: Callable[[Path], list[str]] | None = None  # set for latency, where that differs


def cache() -> Path:
    """Where environments and built jars are kept between runs."""
    return Path(os.environ.get("RESTOCK_CACHE") or Path.home() / ".cache" / "restock")


def environment(name: str, packages: tuple[str, ...]) -> str:
    """The Python of a virtual environment with these packages, made the first time. Raises NotHere."""
    place = cache() / f"bench-{name}-{sys.version_info.major}{sys.version_info.minor}"
    python = place / "bin" / "python"
    done = place / ".packages"
    if not done.exists() or done.read_text() != " ".join(packages):
        venv.create(place, with_pip=True, clear=True)
        ran = subprocess.run([python, "-m", "pip", "install", "-q", *packages], capture_output=True, text=True)
        if ran.returncode != 0:
            raise NotHere(f"pip could not install {name}: {ran.stderr.strip().splitlines()[-1:]}")
        done.write_text(" ".join(packages))
    return str(python)


def streams_jar() -> str:
    """Class path of the Kafka Streams peer, built by Maven the first time and after a change. Raises NotHere."""
    if lacking := [tool for tool in ("java", "mvn") if shutil.which(tool) is None]:
        raise NotHere(f"no {' and no '.join(lacking)}")
    built, source = cache() / "bench-kstreams", HERE / "kstreams"
    text = "".join(p.read_text() for p in sorted(source.rglob("*")) if p.is_file())
    done = built / ".source"
    if not done.exists() or done.read_text() != text:
        shutil.rmtree(built, ignore_errors=True)
        shutil.copytree(source, built)
        goals = ["package", "dependency:copy-dependencies", "-DoutputDirectory=libs", "-DincludeScope=runtime"]
        ran = subprocess.run(["mvn", "-q", "-B", *goals], cwd=built, capture_output=True, text=True)
        if ran.returncode != 0:
            raise NotHere(f"Maven could not build it: {(ran.stdout + ran.stderr)[-400:]}")
        done.write_text(text)
    return f"{built / 'target' / 'kstreams-1.jar'}:{built / 'libs'}/*"


def _streams(*args: str, threads: int = 1) -> Callable[[Path], list[str]]:
    return lambda _: ["java", "-Xmx1g", f"-Dthreads={threads}", "-cp", streams_jar(), "peer.Main", *args]


def _script(name: str, *args: str) -> Callable[[Path], list[str]]:
    return lambda _: [sys.executable, str(HERE / name), *args]


def _bytewax(processes: int) -> Callable[[Path], list[str]]:
    """One process; or a cluster of several on this machine."""
    run = ["bytewax.run"] if processes == 1 else ["bytewax.testing", "-p", str(processes)]

    def command(state: Path) -> list[str]:
        python = environment("bytewax", BYTEWAX)
        recovery = state / "recovery"
        recovery.mkdir(parents=True)
        subprocess.run([python, "-m", "bytewax.recovery", str(recovery), str(processes)], check=True)
        return [python, "-m", *run, "-r", str(recovery), "-s", "10", "-b", "0", f"{HERE / 'bytewax_app.py'}:flow"]

    return command


def _quix(_: Path) -> list[str]:
    return [environment("quix", QUIX), str(HERE / "quix_app.py")]


EOS, ALO = "exactly once", "at least once"
PEERS = (
    Peer("kstreams-eos", EOS, 1.0, _streams("exactly_once_v2", "nocache")),
    Peer(
        "kstreams-eos-2", EOS, 1.0, _streams("exactly_once_v2", "nocache", threads=2)
    ),
    Peer("kstreams-alo", ALO, 1.0, _streams("at_least_once", "nocache")),
    Peer(
        "kstreams-cache", ALO, 1.0, _streams("at_least_once", "cache"),
        latency=_streams("at_least_once", "cache", "30000", "0"),
    ),
    Peer(
        "kstreams-cache-2", ALO, 1.0, _streams("at_least_once", "cache", threads=2),
        latency=_streams("at_least_once", "cache", "30000", "0", threads=2),
    ),
    Peer("bytewax", ALO, 1.0, _bytewax(1)),
    Peer("bytewax-2", ALO, 1.0, _bytewax(2)),
    Peer("pipeline", ALO, 0.4, _script("pipeline.py")),
    Peer("pipeline-rekey", ALO, 0.3, _script("pipeline.py", "--rekey"), ("alerts", "replenishments", "sales")),
    Peer("quix", ALO, 0.25, _quix),
    Peer(
        "faust", ALO, 0.025, _script("faust_tables.py", "worker", "-l", "warn", "--without-web"),
        ("alerts", "replenishments"),
    ),
    Peer("consume", "none", 2.5, _script("consume.py"), (), orders_counted=True),
)  # fmt: skip
