"""Workers end to end on a real Kafka and a real Redis: orders a second, and latency of alerts at a given rate.

    python -m tests.bench.end_to_end throughput --orders 200000
    python -m tests.bench.end_to_end latency --rate 1000 --seconds 60
    python -m tests.bench.end_to_end latency --close     # a day of all 20,000 rows closes in the middle

All first tell the worker six days of history, so that every row has a reorder point, and then count the stock of each
so that about one order line in 45 crosses it; receipts, part of the log, lift it again. Latency is from the producer's
acknowledgement of an order to a separate read_committed consumer holding the alert it caused, after a warm-up under the
same load.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from tests.bench.bench import Bench, add_options, report, right, say
from tests.bench.closing import Closing
from tests.bench.event_time import MidnightTime
from tests.bench.figures import quantile
from tests.bench.load import Load
from tests.bench.orders import CYCLE_UNITS, LINES_A_CROSSING, crossings
from tests.bench.stages import table
from tests.bench.team import Team

PATIENCE_S = 60.0  # with a close that does not end within the time that is measured


def throughput(bench: Bench) -> None:
    """Fill the log, then let the worker run it down."""
    bench.warm_up()
    report(bench.chosen.json, **run_down(bench, bench.worker))


def run_down(bench: Bench, team: Team) -> dict[str, Any]:
    """Stop who works, fill the log, let `team` run it down; each row crosses its reorder point at most once."""
    bench.stock_up(crossings(bench.chosen.orders, len(bench.shop.rows), bench.shop.weights[-1]))
    bench.worker.stop()
    bench.worker = team
    before, raised = bench.counted("accepted:orders"), bench.counted("alerts_raised")
    total = fill(bench)
    bench.worker.start()
    looks: list[tuple[float, int, dict[str, float]]] = []
    with spying(bench) as spy:
        while not looks or looks[-1][1] < total:
            time.sleep(0.1)
            assert bench.worker.alive(), bench.worker.tail()
            done = bench.counted("accepted:orders") - before
            if done > 0:
                looks.append((time.monotonic(), done, bench.cpu_s()))
                spy()
    bench.await_drained()
    first, last = looks[0], looks[-1]
    middle = next(look for look in looks if look[1] >= total / 2)
    a_line = bench.chosen.orders / total
    stages = bench.stages()
    for name, seconds in last[2].items():
        say(f"{name}: {(seconds - first[2][name]) / (last[0] - first[0]):.2f} cores")
    print(table(stages, last[0] - first[0]), flush=True)
    cpu_s = last[2]["worker"] - first[2]["worker"]
    return {
        "orders": bench.chosen.orders,
        "lines": total,
        "lines_per_s": round((last[1] - first[1]) / (last[0] - first[0])),
        "orders_per_s": round((last[1] - first[1]) / (last[0] - first[0]) * a_line),
        "warm_orders_per_s": round((last[1] - middle[1]) / max(last[0] - middle[0], 1e-9) * a_line),
        "cpu_s_per_million_orders": round(cpu_s / max(last[1] - first[1], 1) / a_line * 1e6, 1),
        "lines_per_alert": round(total / max(bench.counted("alerts_raised") - raised, 1), 1),
        "published": {name: count for name, count in stages.published.items() if count},
        "worker_peak_mb": round(bench.worker.peak_mb()),
        "stock_right": right(bench),
    }


@contextmanager
def spying(bench: Bench) -> Iterator[Callable[[], None]]:
    """What is yielded begins, once, to sample the (last) worker's stacks with py-spy, if that is asked for.

    py-spy is not a dependency: `pip install py-spy`.
    """
    running: list[subprocess.Popen[bytes]] = []

    def begin() -> None:
        if bench.chosen.spy and not running:
            command = ["py-spy", "record", "--nonblocking", "-r", "100", "-d", "120", "-f", "raw"]
            command += ["-o", bench.chosen.spy, "-p", str(bench.worker.pids[-1]), *bench.chosen.spy_options.split()]
            spy = [Path(sys.executable).parent / command[0], *command[1:]]
            running.append(subprocess.Popen(spy, stdout=subprocess.DEVNULL))

    try:
        yield begin
    finally:
        for process in running:
            process.send_signal(signal.SIGINT)
            process.wait()


def fill(bench: Bench) -> int:
    """Orders into the log, all within a minute of event time, and a receipt every 45 lines; returns the lines.

    A receipt brings one unit: what crosses its reorder point does not depend on how far movements are read ahead.
    """
    now_ms, total = bench.time.now_ms(), 0
    say(f"filling the log with {bench.chosen.orders:,} orders ...")
    for n in range(bench.chosen.orders):
        at_ms = now_ms + n // 50  # 50,000 a second
        order_id, value, body = bench.shop.order(at_ms, bench.shop.lines())
        bench.send("orders", order_id, value)
        for line in body:
            bench.shop.stock[line["sku"], line["location"]] -= line["quantity"]
        received = (total + len(body)) // LINES_A_CROSSING - total // LINES_A_CROSSING
        total += len(body)
        for _ in range(received):
            row = bench.shop.rng.choice(bench.shop.rows)
            bench.shop.stock[row] += 1
            bench.send("stock-movements", row[0], bench.shop.movement("received", row, 1, at_ms))
        if n % 1_000 == 0:
            bench.producer.poll(0)
    assert bench.producer.flush(120) == 0
    return total


def latency(bench: Bench) -> None:
    """Orders at a steady rate, unmeasured first; with `--close`, midnight comes in the middle of what is measured."""
    chosen = bench.chosen
    bench.warm_up()
    bench.stock_up(lambda _: bench.shop.rng.randint(1, CYCLE_UNITS))
    if isinstance(bench.time, MidnightTime):
        closing: Closing | None = Closing(bench, bench.time.midnight_ms)
        bench.time.strike(in_s=chosen.warm_seconds + chosen.seconds / 2)
    else:
        closing = None
    with Load(bench) as load, closing or nullcontext():
        say(f"{chosen.warm_seconds} s of the same load, unmeasured ...")
        load.run(chosen.rate, chosen.warm_seconds)
        before, cpu, begun = bench.stages(), bench.cpu_s(), time.monotonic()
        with spying(bench) as spy:
            spy()
            late = load.run(chosen.rate, chosen.seconds)
            while closing is not None and closing.going_on() and time.monotonic() < begun + chosen.seconds + PATIENCE_S:
                load.run(chosen.rate, 1)
        ended = time.monotonic()
        used = {name: (seconds - cpu[name]) / (ended - begun) for name, seconds in bench.cpu_s().items()}
    took = load.stamps.took_ms(begun)
    assert took, "no alert came"
    print(table(bench.stages() - before, ended - begun), flush=True)
    report(
        chosen.json,
        rate=chosen.rate,
        warm_seconds=chosen.warm_seconds,
        seconds=chosen.seconds,
        producer_behind_s=round(late, 2),
        cores={name: round(cores, 2) for name, cores in used.items()},
        **quantiles(took),
        **({} if closing is None else during(load, closing, begun, ended)),
        stock_right=right(bench),
        milliseconds=[round(ms, 2) for ms in took],
    )


def quantiles(took: list[float]) -> dict[str, Any]:
    """How many alerts, and their milliseconds."""
    levels = {f"p{level * 100:.0f}_ms": round(quantile(took, level), 1) for level in (0.5, 0.9, 0.99)}
    return {"alerts": len(took), **levels, "max_ms": round(took[-1], 1) if took else None}


def during(load: Load, closing: Closing, begun: float, ended: float) -> dict[str, Any]:
    """Alerts under way while the day closed, and those before and after."""
    began = closing.began
    assert began is not None, "no close was seen: is the worker at the event clock?"
    assert begun < began, "the close began before anything was measured: --seconds more"
    assert not closing.going_on(), f"the day was not closed within {ended - began:.0f} s"
    alerts = load.stamps.alerts(begun)
    inside = sorted(ms for at, ms in alerts if at > began and at - ms / 1000 < closing.ended)
    outside = sorted(ms for at, ms in alerts if not (at > began and at - ms / 1000 < closing.ended))
    return {
        "close_began_s": round(began - begun, 2),
        "close_ended_s": round(closing.ended - begun, 2),
        "close_took_s": round(closing.ended - began, 2),
        "during_close": quantiles(inside),
        "outside": quantiles(outside),
    }


def main() -> int:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("throughput", "latency"))
    parser.add_argument("--orders", type=int, default=200_000, help="orders in the log (throughput)")
    parser.add_argument("--rate", type=int, default=1_000, help="orders a second (latency)")
    parser.add_argument("--warm-seconds", type=int, default=20, help="of the same load before, unmeasured (latency)")
    parser.add_argument("--seconds", type=int, default=60, help="how long (latency)")
    parser.add_argument("--close", action="store_true", help="a day closes in the middle (latency)")
    add_options(parser)
    parser.add_argument("--spy", metavar="FILE", help="sample the worker's stacks with py-spy")
    parser.add_argument("--spy-options", default="--gil", help="further options of py-spy")
    chosen = parser.parse_args()
    if chosen.close and chosen.what != "latency":
        parser.error("--close goes with latency")
    bench = Bench(chosen, MidnightTime() if chosen.close else None)
    try:
        {"throughput": throughput, "latency": latency}[chosen.what](bench)
    finally:
        bench.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
