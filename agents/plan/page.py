"""The plan as one HTML page: the network with its flows, limits and prices, the largest transfers. No scripts."""

from __future__ import annotations

import math
from html import escape
from typing import Any

import numpy as np

from agents.plan.answer import Answer

ROWS_MOST = 100  # of a table; what is left out is said
LANES_MOST = 300  # drawn; more is a black ball
SIZE = 640  # of the drawing, pixels

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #1c2430; }
table { border-collapse: collapse; margin: 1rem 0; width: 100%; } th, td { padding: .25rem .6rem; text-align: left; }
th { border-bottom: 2px solid #8a94a6; } td { border-bottom: 1px solid #e2e6ec; } td.n, th.n { text-align: right; }
svg { width: 100%; max-width: 44rem; display: block; margin: 1rem auto; } .note { color: #5b6675; }
.bad { color: #a3261b; } text { font: 12px system-ui, sans-serif; }
"""


def page(answer: Answer, summary: dict[str, Any]) -> str:
    """A whole page, readable without a network connection."""
    parts = [
        f"<h1>Transfer plan: {escape(str(summary['status']))}</h1>",
        _head(summary),
        _conflict(summary),
        "<h2>The network and its flows</h2>",
        drawing(answer),
        _lane_table(answer),
        _sentences("What one more would be worth", [row["words"] for row in summary["duals"]]),
        _sentences("Requests cut short", summary["cut_short"]["words"], summary["cut_short"]["count"]),
        _transfer_table(answer),
    ]
    head = f'<meta charset="utf-8"><title>Transfer plan</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _head(summary: dict[str, Any]) -> str:
    saved = -summary["objective"]
    worth = f"saves {saved:,.2f}" if saved >= 0 else f"costs {-saved:,.2f}"
    proof = ""
    if summary["bound"] is not None:
        proof = f" No plan saves more than {-summary['bound'] + 0.0:,.2f} (gap {summary['gap']:.3%})."
    return (
        f"<p>{summary['transfers']:,} transfers of {summary['units']:,.10g} units: {worth} against doing nothing; "
        f"{summary['transport_cost']:,.2f} of it paid on lanes.{proof}</p>"
        f"<p class=note>{summary['skus']:,} SKUs, {summary['locations']:,} locations, "
        f"{summary['lanes']:,} lanes, {summary['periods']} period(s) over {summary['horizon_days']:g} days; "
        f"{escape(summary['method'])}, {summary['seconds']:g} s, {summary['memory_mb']:,.0f} MB.</p>"
    )


def _conflict(summary: dict[str, Any]) -> str:
    if summary["status"] != "infeasible":
        return ""
    lines = "".join(f"<li>{escape(line)}</li>" for line in summary["conflict"])
    short = f": short by {summary['shortfall']:,.10g}" if summary["shortfall"] > 0 else ""
    return f"<p class=bad>Not possible{short}. In conflict:</p><ul class=bad>{lines}</ul>"


def drawing(answer: Answer) -> str:
    """Locations on a circle, lanes as curves as thick as what they carry now; unused ones thin and grey."""
    lanes, names = answer.problem.picture.lanes, answer.problem.places
    now = answer.period == 0
    carried = np.bincount(answer.lane[now], answer.units[now], len(lanes.origin))
    most = max(float(carried.max(initial=0.0)), 1e-9)
    spot = [_spot(i, len(names)) for i in range(len(names))]
    drawn = np.argsort(-carried, kind="stable")[:LANES_MOST]
    lines = [_curve(spot[lanes.origin[a]], spot[lanes.destination[a]], float(carried[a]), most) for a in drawn[::-1]]
    dots = [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="#1c2430"/>'
        f'<text x="{x:.1f}" y="{y - 10:.1f}" text-anchor="middle">{escape(name)}</text>'
        for (x, y), name in zip(spot, names, strict=True)
    ]
    return (
        f'<svg viewBox="0 0 {SIZE} {SIZE}" role="img" aria-label="locations and the units on each lane">'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
        'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z" fill="#2f6fb3"/></marker></defs>'
        f"{''.join(lines)}{''.join(dots)}</svg>"
    )


def _spot(i: int, count: int) -> tuple[float, float]:
    turn = 2 * math.pi * i / max(count, 1) - math.pi / 2
    return SIZE / 2 + SIZE * 0.42 * math.cos(turn), SIZE / 2 + SIZE * 0.42 * math.sin(turn)


def _curve(a: tuple[float, float], b: tuple[float, float], units: float, most: float) -> str:
    bend_x, bend_y = (a[0] + b[0]) / 2 + (b[1] - a[1]) * 0.12, (a[1] + b[1]) / 2 - (b[0] - a[0]) * 0.12
    path = f"M{a[0]:.1f} {a[1]:.1f}Q{bend_x:.1f} {bend_y:.1f} {b[0]:.1f} {b[1]:.1f}"
    if units == 0:
        return f'<path d="{path}" fill="none" stroke="#d5dae2" stroke-width="1"/>'
    width = 1.5 + 6 * units / most
    return (
        f'<path d="{path}" fill="none" stroke="#2f6fb3" stroke-opacity=".75" stroke-width="{width:.1f}" '
        f'marker-end="url(#tip)"><title>{units:,.10g} units</title></path>'
    )


def _lane_table(answer: Answer) -> str:
    lanes = answer.problem.picture.lanes
    now = answer.period == 0
    carried = np.bincount(answer.lane[now], answer.units[now], len(lanes.origin))
    busy = np.argsort(-carried, kind="stable")[:ROWS_MOST]
    names = answer.problem.lanes
    rows = [
        [names[a], f"{carried[a]:,.10g}", f"{carried[a] * lanes.unit_cost[a]:,.2f}"] for a in busy if carried[a] > 0
    ]
    return _table("Lanes in use now", ["lane", "units", "cost"], rows, int(np.count_nonzero(carried)))


def _transfer_table(answer: Answer) -> str:
    problem, lanes = answer.problem, answer.problem.lanes
    order = np.lexsort((-answer.units, answer.period))[:ROWS_MOST]
    rows = [
        [problem.skus[answer.sku[n]], lanes[answer.lane[n]], str(answer.period[n]), f"{answer.units[n]:,.10g}"]
        for n in order
    ]
    return _table("Largest transfers", ["sku", "lane", "period", "units"], rows, len(answer.units))


def _table(title: str, heads: list[str], rows: list[list[str]], total: int) -> str:
    if len(rows) == 0:
        return f"<h2>{title}</h2><p class=note>None.</p>"
    number = [head in ("units", "cost", "period") for head in heads]
    top = "".join(f"<th{' class=n' if n else ''}>{h}</th>" for h, n in zip(heads, number, strict=True))
    body = "".join(
        "<tr>"
        + "".join(f"<td{' class=n' if n else ''}>{escape(c)}</td>" for c, n in zip(row, number, strict=True))
        + "</tr>"
        for row in rows
    )
    rest = f"<p class=note>{total - len(rows):,} more are in transfers.parquet.</p>" if total > len(rows) else ""
    return f"<h2>{title}</h2><table><tr>{top}</tr>{body}</table>{rest}"


def _sentences(title: str, lines: list[str], total: int = 0) -> str:
    if len(lines) == 0:
        return ""
    shown = lines[:ROWS_MOST]
    rest = max(total, len(lines)) - len(shown)
    more = f"<p class=note>{rest:,} more.</p>" if rest > 0 else ""
    return f"<h2>{title}</h2><ul>{''.join(f'<li>{escape(line)}</li>' for line in shown)}</ul>{more}"
