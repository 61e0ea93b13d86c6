"""Does event-to-alert latency move while the network agent solves? One worker, a real Kafka, a real Redis.

    python -m tests.bench.solving --rate 500 --seconds 15 --pairs 4

Orders come at a steady rate, window after window: alone, then while plans are asked for one after the other, and so on
in turn, so that drift of the machine meets both alike. The network: five places with lanes between all of them, each
limited in units, so that a solve is a coupled one.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import secrets
import statistics
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from stream.events.instants import text_from_ms
from stream.ledger.office import RedisOffice
from tests.bench import processes
from tests.bench.bench import Bench, add_options, report, right, say
from tests.bench.figures import quantile, spread
from tests.bench.load import Load
from tests.bench.orders import CYCLE_UNITS, PLACES

ALONE, SOLVING = "alone", "while it solves"
LANE_UNITS = 300
QUANTILES = (0.5, 0.9, 0.99)
LOOK_S = 0.05
ANSWER_S = 360  # RESTOCK_REBALANCE_SECONDS, and a minute to tell the plan


def lanes(bench: Bench) -> None:
    """Lanes between all places, as facts."""
    at = text_from_ms(time.time_ns() // 1_000_000)
    for a, b in itertools.permutations(range(PLACES), 2):
        ends = {"from_location": f"L{a}", "to_location": f"L{b}"}
        fact = {"event_id": f"lane-{a}-{b}", "type": "catalog.lane", "occurred_at": at, **ends}
        fact |= {"lead_days": 1, "unit_cost": 0.05, "capacity_units": LANE_UNITS}
        bench.send("catalog", f'["lane","L{a}","L{b}"]', json.dumps(fact).encode())
    assert bench.producer.flush(30) == 0
    bench.await_drained()


@dataclass
class Solves:
    """Plans, asked for one after the other until it is enough."""

    bench: Bench
    answers: list[dict[str, Any]] = field(default_factory=list)
    nices: set[int] = field(default_factory=set)  # of the solving processes, as seen
    solving_s: float = 0.0  # that a solving process was there
    enough: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Ask, wait, ask again."""
        asyncio.run(self._ask())

    async def _ask(self) -> None:
        office = RedisOffice(self.bench.redis.url, self.bench.at.namespace)
        while not self.enough.is_set():
            request = secrets.token_hex(4)
            await office.ask(request)
            deadline = time.monotonic() + ANSWER_S
            while (book := await office.book()).answered != request:  # to its end: the next window is to be alone
                assert time.monotonic() < deadline, "a solve was not answered"
                self._look()
                await asyncio.sleep(LOOK_S)
            self.answers.append(json.loads(book.outcome))
        await office.close()

    def _look(self) -> None:
        there = [n for own in self.bench.worker.pids for pid, n in processes.nices(own).items() if pid != own]
        self.nices.update(there)
        self.solving_s += LOOK_S if there and not self.enough.is_set() else 0.0


def measure(bench: Bench, rate: int, seconds: int, pairs: int) -> None:
    """Windows in turn, and what came of the solves."""
    solves, late = Solves(bench), 0.0
    found: dict[str, list[list[float]]] = {ALONE: [], SOLVING: []}
    with Load(bench) as load:
        for window in (ALONE, SOLVING) * pairs:
            begun = time.monotonic()
            solves.enough.clear()
            asker = threading.Thread(target=solves.run)
            if window == SOLVING:
                asker.start()
            late = max(late, load.run(rate, seconds))
            time.sleep(2.0)  # the last alerts
            if window == SOLVING:
                solves.enough.set()
                asker.join()
                bench.await_drained()
            took = load.stamps.took_ms(begun)
            assert took, "no alert came"
            found[window].append(took)
            levels = ", ".join(f"p{q * 100:g} {quantile(took, q):.0f} ms" for q in QUANTILES)
            say(f"{window}: {len(took)} alerts, {levels}")
    assert solves.answers, "no solve was done"
    told(bench, solves, found, rate=rate, seconds=seconds, pairs=pairs, producer_behind_s=round(late, 2))


def told(bench: Bench, solves: Solves, found: dict[str, list[list[float]]], **how: Any) -> None:
    """Milliseconds with and without, their ratio, and the solves."""
    figures: dict[str, Any] = {}
    for q in QUANTILES:
        alone, solving = ([quantile(took, q) for took in found[window]] for window in (ALONE, SOLVING))
        ratio = statistics.median(solving) / statistics.median(alone)
        figures[f"p{q * 100:g}_ms"] = f"alone {spread(alone)}, while it solves {spread(solving)}, ratio {ratio:.2f}"
    seconds = [answer.get("seconds", 0.0) for answer in solves.answers]
    kinds = ", ".join(sorted({f"{a['status']} ({a.get('method', a.get('why'))})" for a in solves.answers}))
    report(
        bench.chosen.json,
        **how,
        alerts={window: sum(map(len, took)) for window, took in found.items()},
        **figures,
        solves=f"{len(solves.answers)}, {max(seconds):.1f} s at most, {kinds}",
        proposed=sum(a.get("proposed", 0) for a in solves.answers),
        solving_share=round(solves.solving_s / (how["seconds"] * how["pairs"]), 2),
        solver_nice=sorted(solves.nices),
        stock_right=right(bench),
    )


def main() -> int:
    """Warm up, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=500, help="orders a second")
    parser.add_argument("--seconds", type=int, default=15, help="length of each window")
    parser.add_argument("--pairs", type=int, default=4, help="windows alone, and as many with solves")
    add_options(parser)
    chosen = parser.parse_args()
    bench = Bench(chosen)
    try:
        bench.warm_up()
        bench.stock_up(lambda _: bench.shop.rng.randint(1, CYCLE_UNITS))
        lanes(bench)
        say("measuring ...")
        measure(bench, chosen.rate, chosen.seconds, chosen.pairs)
    finally:
        bench.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
