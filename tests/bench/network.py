"""How fast the network solver is, beside plain scipy `linprog` and OR-tools in the same run.

python -m tests.bench.network                      # the standard cases, one after the other
python -m tests.bench.network --case coupled-20x5000
python -m tests.bench.network --case coupled-50x10000   # the largest: about ten minutes, no peers

Each case runs in a process of its own, so that its peak memory is its own. CPU seconds are printed beside seconds:
on a busy machine only they compare.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import optimize, sparse, stats

from models.network import apart as blocks
from models.network import linear, priced, strata, transfer, whole
from models.network.circulation import Circulation, used
from models.network.plan import plan
from models.network.transfer import Goods, Lanes, Picture
from tests.bench.machine import machine

LEVELS = np.array([0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99])
HORIZON_DAYS = 14.0
PEER_S = 300.0  # a peer that has no answer by then gets none: what we allow ourselves for 20 x 5,000
TIGHT = 0.5  # of what each lane would carry if nothing limited it


def picture(skus: int, places: int, seed: int = 0) -> Picture:
    """Negative-binomial demand, gamma stock about one horizon deep, four nearest lanes a place."""
    rng = np.random.default_rng(seed)
    mean = rng.gamma(0.7, 1.5, (skus, 1)) * rng.gamma(2, 0.5, (skus, places)) * HORIZON_DAYS
    count = mean / (0.3 * mean + 1e-9)
    quantiles = np.stack([stats.nbinom.ppf(u, count, count / (count + mean)) for u in LEVELS]).astype(float)
    spot = rng.random((places, 2))
    apart_ = np.hypot(*(spot[:, None] - spot[None]).transpose(2, 0, 1)) + 9 * np.eye(places)
    near = min(4, places - 1)
    origin = np.repeat(np.arange(places), near)
    destination = np.argsort(apart_, axis=1)[:, :near].reshape(-1)
    way = apart_[origin, destination]
    price = rng.gamma(2, 10, (skus, 1)) * np.ones((1, places))
    holding = price * 0.6 * 0.25 * HORIZON_DAYS / 365
    zero = np.zeros((skus, places))
    return Picture(
        Lanes.plain(origin, destination, 0.2 + 1.5 * way, lead_days=np.maximum(1, np.round(way * 6))),
        Goods(np.ones(skus), rng.gamma(2, 0.5, skus), rng.gamma(2, 0.01, skus)),
        strata.from_quantiles(mean, LEVELS, quantiles),
        np.floor(mean * rng.gamma(1.2, 1.0, (skus, places))),
        zero, zero, zero, zero + HORIZON_DAYS, price * 0.4 + holding, holding,
    )  # fmt: skip


def tightened(p: Picture) -> Picture:
    """Lanes limited in units and weight to about half of what they would carry."""
    free = plan(p)
    lanes = len(p.lanes.origin)
    units = np.bincount(free.lane, free.units, lanes)
    weight = np.bincount(free.lane, free.units * p.goods.weight[free.sku], lanes)
    limits = {"capacity_units": np.floor(units * TIGHT), "capacity_weight": np.maximum(1.0, weight * TIGHT)}
    return replace(p, lanes=replace(p.lanes, **limits))


Row = dict[str, Any]


def timed(what: str, run: Callable[[], Row]) -> Row:
    """One line of the table: what `run` says, with its seconds and the peak memory so far."""
    wall, cpu = time.perf_counter(), time.process_time()
    said = run()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    times = {"seconds": round(time.perf_counter() - wall, 2), "cpu_s": round(time.process_time() - cpu, 2)}
    return {"what": what, **said, **times, "peak_gb": round(peak, 2)}


def uncoupled(skus: int, places: int) -> Iterator[Row]:
    """The plan without limits; beside it a sample by HiGHS and by OR-tools one SKU at a time."""
    p = picture(skus, places)
    sample = transfer.build(p.some(slice(0, min(skus, 500)))).circulation

    def ours() -> Row:
        answer = plan(p)
        return {"objective": round(answer.objective, 2), "gap": 0.0, "arcs": answer.arcs, "moves": len(answer.units)}

    def one_at_a_time() -> Row:
        total = 0.0
        for sku in np.unique(sample.block):
            mine = np.flatnonzero(sample.block == sku)
            units = blocks.best_units(_some(sample, mine), sample.cost[mine], sample.upper[mine])
            total += float(sample.cost[mine] @ units)
        return {"objective": round(total, 2)}

    yield timed(f"ours, uncoupled {places} x {skus:,}", ours)
    yield timed("OR-tools, one SKU a call, 500 of them", one_at_a_time)
    for method in ("highs-ds", "highs-ipm"):
        yield timed(f"linprog sparse {method}, 500 stacked", lambda m=method: _linprog(sample, m))


def _some(c: Circulation, arcs: np.ndarray) -> Circulation:
    return Circulation(
        c.tail[arcs], c.head[arcs], c.upper[arcs], c.cost[arcs], c.block[arcs], c.required[arcs],
        sparse.csr_array(c.usage[:, arcs]), c.limit,
    )  # fmt: skip


def _linprog(c: Circulation, method: str, dense: bool = False) -> Row:
    rows = linear.conservation(c)
    shape = (lambda m: m.toarray()) if dense else (lambda m: m)
    limits = {"A_ub": shape(c.usage), "b_ub": c.limit} if len(c.limit) else {}
    bounds = np.stack([np.zeros(len(c.upper)), c.upper], axis=1)
    result = optimize.linprog(
        c.cost, A_eq=shape(rows), b_eq=np.zeros(rows.shape[0]), bounds=bounds, method=method,
        options={"time_limit": PEER_S}, **limits,
    )  # fmt: skip
    if result.status != 0:
        return {"objective": f"none within {PEER_S:.0f} s"}
    return {"objective": round(float(result.fun), 2), "rounds": int(result.nit)}


def _ortools(c: Circulation, solver: str) -> Row:
    """The same programme by one of OR-tools' own solvers."""
    from ortools.linear_solver.python import model_builder_helper as helper

    rows = linear.conservation(c)
    matrix = sparse.csr_matrix(sparse.vstack([rows, c.usage]))
    model = helper.ModelBuilderHelper()
    zero = np.zeros(rows.shape[0])
    model.fill_model_from_sparse_data(
        np.zeros(len(c.upper)),
        c.upper,
        c.cost,
        np.r_[zero, np.full(len(c.limit), -np.inf)],
        np.r_[zero, c.limit],
        matrix,
    )
    run = helper.ModelSolverHelper(solver)
    run.set_time_limit_in_seconds(PEER_S)
    run.solve(model)
    if not run.has_solution() or run.status() != helper.SolveStatus.OPTIMAL:
        return {"objective": f"none within {PEER_S:.0f} s"}
    return {"objective": round(float(run.objective_value()), 2)}


def coupled(skus: int, places: int, exact: bool, peers: bool) -> Iterator[Row]:
    """Lanes limited in units and weight: exactly (and rounded), or by prices."""
    p = tightened(picture(skus, places))
    c = transfer.build(p).circulation
    name = f"{places} x {skus:,}, {len(c.tail):,} arcs, {len(c.limit)} rows"
    if exact:
        yield timed(
            f"ours, simplex and rounding, {name}",
            lambda: _told(c, whole.from_fractions(c, linear.solve_linear(c, "simplex"))),
        )
    yield timed(f"ours, prices, {name}", lambda: _told(c, priced.solve_priced(c)))
    if not peers:
        return
    for method in ("highs-ipm", "highs"):
        yield timed(f"linprog sparse {method}", lambda m=method: _linprog(c, m))
    for solver in ("glop", "pdlp"):
        yield timed(f"OR-tools {solver}", lambda m=solver: _ortools(c, m))
    if skus <= 100:
        yield timed("linprog dense highs", lambda: _linprog(c, "highs", dense=True))


def _told(c: Circulation, flow: Any) -> Row:
    assert np.all(used(c, flow.units) <= c.limit + 1e-6)
    gap = (flow.cost - flow.bound) / max(abs(flow.bound), 1e-9)
    return {"objective": round(flow.cost, 2), "bound": round(flow.bound, 2), "gap": f"{gap:.4%}", "rounds": flow.rounds}


CASES: dict[str, Callable[[], Iterator[Row]]] = {
    "uncoupled-10x100000": lambda: uncoupled(100_000, 10),
    "coupled-10x100": lambda: coupled(100, 10, exact=True, peers=True),
    "coupled-10x1000": lambda: coupled(1_000, 10, exact=True, peers=True),
    "coupled-20x5000": lambda: coupled(5_000, 20, exact=False, peers=True),
    "coupled-50x10000": lambda: coupled(10_000, 50, exact=False, peers=False),
}
STANDARD = tuple(CASES)[:-1]  # the largest only when asked for


def main(argv: list[str] | None = None) -> int:
    """Run the cases asked for; a table on standard output."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=list(CASES), help="only this one; may be given again")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.here:
        for row in CASES[args.case[0]]():
            print(json.dumps(row), flush=True)
        return 0
    print(machine("scipy", "ortools", "numpy"))
    return max(apart(case) for case in args.case or STANDARD)


def apart(case: str) -> int:
    """Run a case in a process of its own and show its rows as they come; its exit code."""
    print(f"## {case}", flush=True)
    command = [sys.executable, "-m", "tests.bench.network", "--here", "--case", case]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        for line in run.stdout:
            row = json.loads(line)
            told = (f"{k} {v:,}" if isinstance(v, int | float) else f"{k} {v}" for k, v in row.items() if k != "what")
            print(f"{row['what']:60} {'  '.join(told)}", flush=True)
    return run.returncode


if __name__ == "__main__":
    sys.exit(main())
