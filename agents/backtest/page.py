"""report.html: what a planner reads before trusting a number with money. One file, no scripts, no assets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from agents.backtest.drawing import COLOURS, Plot, legend
from agents.backtest.plan import QUANTILE_NAMES, QUANTILES

OURS = "restock"
LEAST_FILL, MOST_FILL = 0.80, 0.995  # the part of the frontier shops live on

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1c2430; }
h1 { margin-bottom: .2rem; } h2 { margin-top: 2.2rem; border-bottom: 1px solid #d5dae2; padding-bottom: .2rem; }
table { border-collapse: collapse; margin: .6rem 0 1rem; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .22rem .55rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
th { border-bottom: 2px solid #8a94a6; font-weight: 600; } td { border-bottom: 1px solid #e2e6ec; }
td:first-child { white-space: normal; }
tr.ours td { background: #fdf1ea; font-weight: 600; } .note { color: #5b6675; } .bad { color: #a3261b; }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem 1.5rem; } .two > div { min-width: 0; }
.facts { display: grid; grid-template-columns: repeat(4, 1fr); gap: .8rem; margin: 1rem 0; }
.facts div { background: #f4f6f9; border-radius: 6px; padding: .6rem .8rem; }
.facts b { display: block; font-size: 1.35rem; }
svg { width: 100%; height: auto; } text { font: 12px system-ui, sans-serif; fill: #3d4756; }
text.name { fill: #1c2430; }
.legend span { margin-right: 1rem; white-space: nowrap; }
.legend i { display: inline-block; width: .8rem; height: .8rem;
border-radius: 2px; margin-right: .3rem; vertical-align: -1px; }
@media (max-width: 46rem) { .two { grid-template-columns: 1fr; } .facts { grid-template-columns: 1fr 1fr; } }
"""


def page(report: Mapping[str, Any]) -> str:
    """A whole page, readable without a network connection."""
    parts = [_head(report), _facts(report), _frontier(report), *_forecasts(report), _segments(report), _worst(report)]
    parts += [_fans(report), _settings(report)]
    head = f'<meta charset="utf-8"><title>Backtest</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _head(r: Mapping[str, Any]) -> str:
    known = ", ".join(r["known_ahead"]) or "nothing"
    return (
        f"<h1>Backtest of {escape(str(r['file'].get('file', '')))}</h1><p class=note>{r['rows']:,} SKU-locations, "
        f"{r['from']} to {r['to']}, a {r['period']} at a time. Known ahead: {escape(known)}. Stock, orders and lead "
        "times are simulated; demand is the file's.</p>"
        + "".join(f"<p class=bad>{escape(sentence)}</p>" for sentence in r.get("left_out", ()))
    )


def _facts(r: Mapping[str, Any]) -> str:
    shop, plan = r["shop"], r["plan"]
    kept, asked = shop["cycle_service"], shop["promised"]
    verdict = "kept" if kept >= asked - 0.01 else "missed"
    days = {"day": "days", "week": "weeks", "month": "months"}[r["period"]]
    cells = [
        (f"{kept:.1%}", f"cycles without a stock-out; {asked:.1%} promised: {verdict}"),
        (f"{shop['fill_rate']:.1%}", "of demand served from stock"),
        (
            f"{shop['mean_stock_units']:,.0f}",
            f"units in stock on average, {shop['days_of_cover']:.1f} {days} of demand",
        ),
        (f"{shop['turnover_year']:.1f}", "times a year the stock turned over"),
        (f"{shop['orders']:,}", f"orders over {shop['cycles']:,} cycles"),
        (f"{shop['stockout_share']:.2%}", f"of row-{days} with somebody turned away ({shop['stockout_days']:,})"),
        (f"{shop['slow_share']:.1%}", "of stock is slow: over a quarter year of its own demand"),
        (f"{shop['dead_share']:.1%}", "of stock is dead: nobody asked for it"),
    ]
    facts = "".join(f"<div><b>{value}</b>{escape(what)}</div>" for value, what in cells)
    wait = plan["wait"]
    return f"<div class=facts>{facts}</div><p class=note>An order covers {wait} {days}: lead time plus review.</p>"


# --- service against stock ------------------------------------------------------------------------------------------


def _frontier(r: Mapping[str, Any]) -> str:
    methods = r["frontier"]["methods"]
    if not methods:
        return ""
    names = [(name, _colour(methods, name)) for name in methods]
    plots = _frontier_plot(methods, "stock_units", "mean stock, units")
    if r["frontier"]["valued"]:
        plots = f"<div class=two>{plots}{_frontier_plot(methods, 'stock_money', 'mean stock, money')}</div>"
    tables = _frontier_table(methods)
    if r["frontier"]["valued"]:
        words = "<p>The same in money. <i>One price of money</i> over all rows holds less of what is dear:</p>"
        tables += words + _money_table(methods)
    return _frontier_text(plots, names) + tables + _sampled(r["frontier"].get("sample"))


def _sampled(sample: Mapping[str, Any] | None) -> str:
    if sample is None:
        return ""
    words = f"<p>On the {sample['rows']} rows that slow methods were run on (thresholds held between refits):</p>"
    return words + _frontier_table(sample["methods"])


def _frontier_table(methods: Mapping[str, Any]) -> str:
    fills = list(next(iter(methods.values()))["restock_over_it"])
    rows = [
        [name, *(_ratio(m["restock_over_it"][f]["units"]) for f in fills), *(_level(m, a) for a in (0.9, 0.95, 0.975))]
        for name, m in methods.items()
    ]
    return _table([*_fill_heads(fills), "kept at 90 %", "at 95 %", "at 97.5 %"], rows)


def _money_table(methods: Mapping[str, Any]) -> str:
    fills = list(next(iter(methods.values()))["restock_over_it"])
    ways = [("restock_over_it", "equal service"), ("one_price_over_it", "one price")]
    rows = [
        [name if way == "restock_over_it" else "", word, *(_ratio(m[way][f]["money"]) for f in fills)]
        for name, m in methods.items()
        if not name.endswith("one price of money")
        for way, word in ways
        if way in m
    ]
    method, *heads = _fill_heads(fills)
    return _table([method, "Restock with", *heads], rows)


def _fill_heads(fills: Sequence[str]) -> list[str]:
    first, *others = (f"{float(fill):.0%}" for fill in fills)
    return ["method", f"{first} served", *others]


def _frontier_text(plots: str, names: Sequence[tuple[str, str]]) -> str:
    return (
        "<h2>Service against stock</h2>"
        "<p>Each line is one way to forecast under the same policy, asked for 10 to 99.999 %. Lower is less stock for "
        "the same share of demand served.</p>"
        f"{plots}{legend(names)}"
        "<p>Restock's stock over the method's at the same total fill rate (under 1: Restock needs less), and the share "
        "of cycles each kept when that level was asked for.</p>"
    )


def _frontier_plot(methods: Mapping[str, Any], field: str, name: str) -> str:
    inside = {
        m: [(f, s) for f, s in zip(c["fill_rate"], c[field], strict=True) if LEAST_FILL <= f <= MOST_FILL]
        for m, c in methods.items()
    }
    every = [point for points in inside.values() for point in points]
    if not every:
        return "<p class=note>No method serves 80 % of demand or more.</p>"
    reach = [s for _, s in inside.get(OURS, [])] or [s for _, s in every]
    plot = Plot(
        (min(f for f, _ in every), max(f for f, _ in every)),
        (0.0, min(max(s for _, s in every), 2.0 * max(reach))),
        "share of demand served from stock",
        name,
        percent=True,
    )
    for method, points in inside.items():
        xs, ys = [f for f, _ in points], [s for _, s in points]
        plot.line(xs, ys, _colour(methods, method), width=3 if method == OURS else 1.6)
        plot.dots(xs, ys, _colour(methods, method), [f"{method}: {f:.2%} served with {s:,.0f}" for f, s in points])
    return f"<div>{plot.text('service against stock')}</div>"


def _level(method: Mapping[str, Any], asked: float) -> str:
    at = min(range(len(method["asked"])), key=lambda i: abs(method["asked"][i] - asked))
    return f"{method['cycle_service'][at]:.1%}"


# --- forecasts ------------------------------------------------------------------------------------------------------


def _forecasts(r: Mapping[str, Any]) -> list[str]:
    out = []
    for horizon, methods in r["forecasts"].items():
        ours = methods.get(OURS, {})
        if not ours.get("forecasts"):
            continue
        out.append(
            f"<h2>Forecasts of the next {horizon} {r['period']}s</h2>"
            f"<p class=note>{ours['forecasts']:,} forecasts at {ours['origins']:,} origins; {ours['zero_share']:.0%} "
            f"of the sums are zero.</p><div class=two><div>{_calibration(ours)}</div><div>{_pit(ours)}</div></div>"
            "<p>Left: the share of sums at or under each quantile should be the quantile's own level. Where demand is "
            "whole, it is an interval (bar): calibrated when it holds the line. Right: flat is calibrated; a hill in "
            "the middle says too wide, walls at the sides too narrow.</p>" + _score_table(methods)
        )
    return out


def _calibration(ours: Mapping[str, Any]) -> str:
    plot = Plot((0.45, 1.0), (0.45, 1.0), "level asked", "share of sums under the quantile", percent=True)
    plot.line([0.45, 1.0], [0.45, 1.0], "#8a94a6", dash="4 4", width=1)
    for level, name in zip(QUANTILES, QUANTILE_NAMES, strict=True):
        under, within = ours["coverage_under"][name], ours["coverage_within"][name]
        off = max(0.0, level - within, under - level)
        colour = "#5a7d2a" if off <= 0.01 else "#c2410c"
        words = f"{level:.1%}: covered {under:.1%} to {within:.1%}, off by {100 * off:.1f} points"
        plot.bar(level - 0.004, level + 0.004, under, within, colour, words)
    return plot.text("calibration")


def _pit(ours: Mapping[str, Any]) -> str:
    bins = ours["pit"]
    even = 1.0 / len(bins)
    plot = Plot((0.0, 1.0), (0.0, max(2.0 * even, 1.1 * max(bins))), "where the sum fell in its forecast", "share")
    for k, share in enumerate(bins):
        words = f"{share:.1%} of sums fell between {k * even:.0%} and {(k + 1) * even:.0%}"
        plot.bar(k * even + 0.002, (k + 1) * even - 0.002, 0.0, share, "#9db8d6", words)
    plot.line([0.0, 1.0], [even, even], "#1c2430", dash="4 4", width=1)
    return plot.text("probability integral transform")


def _score_table(methods: Mapping[str, Any]) -> str:
    heads = [
        "method",
        "pinball",
        "90 %",
        "Restock / it",
        "90 %",
        "off from 90 %",
        "WAPE",
        "bias",
        "MASE",
        "RMSSE",
        "CRPS",
    ]
    rows = []
    for name, m in methods.items():
        if not m.get("forecasts"):
            continue
        low, high = m["scaled_pinball_90"]
        against = m.get("restock_over_it")
        rows.append([
            f"{name}{' (knows the plan)' if m['knows_plan'] else ''}{'; ' + m['note'] if m['note'] else ''}",
            f"{m['scaled_pinball']:.4f}", f"{low:.4f}-{high:.4f}",
            "" if against is None else f"{against[0]:.3f}",
            "" if against is None else f"{against[1]:.3f}-{against[2]:.3f}",
            f"{100 * m['coverage_error_from_90']:.1f} pt", f"{m['wape']:.1%}", f"{m['bias']:+.1%}",
            f"{m['mase']:.3f}", f"{m['rmsse']:.3f}", f"{m['crps']:.3g}",
        ])  # fmt: skip
    return _table(heads, rows)


def _segments(r: Mapping[str, Any]) -> str:
    horizon, methods = next(iter(r["forecasts"].items()))
    told, shop = methods.get(OURS, {}).get("segments", {}), r["shop"]["segments"]
    rows = [
        [
            name,
            f"{shop[name]['rows']:,}",
            f"{shop[name]['cycle_service']:.1%}",
            f"{shop[name]['fill_rate']:.1%}",
            f"{shop[name]['mean_stock_units']:,.0f}",
            f"{shop[name]['days_of_cover']:.1f}",
            f"{told[name]['scaled_pinball']:.3f}" if name in told else "",
            f"{100 * told[name]['coverage_error_from_90']:.1f} pt" if name in told else "",
            f"{told[name]['bias']:+.1%}" if name in told else "",
        ]
        for name in shop
    ]
    heads = ["segment", "rows", "cycles kept", "filled", "stock", "cover", "pinball", "off from 90 %", "bias"]
    return (
        "<h2>By segment</h2><p>A, B, C: rows that make up the first 80 %, the next 15 and the last 5 % of value. X, Y, "
        f"Z: weekly demand varies by under half, under once, or more of its mean. Forecasts: the next {horizon}.</p>"
        + _table(heads, rows, ours="")
    )


# --- rows -----------------------------------------------------------------------------------------------------------


def _worst(r: Mapping[str, Any]) -> str:
    rows = [
        [f"{w['sku']} @ {w['location']}", f"{w['share_of_loss']:.1%}", f"{w['units']:,.1f}", f"{w['mean']:,.1f}",
         f"{w['scaled_pinball']:.3f}"]
        for w in r["worst"]
    ]  # fmt: skip
    heads = ["SKU", "share of all loss", "came, mean", "forecast, mean", "pinball"]
    return f"<h2>Rows that cost most</h2>{_table(heads, rows, ours='')}"


def _fans(r: Mapping[str, Any]) -> str:
    plots = []
    for fan in r["fans"]:
        xs = list(range(len(fan["came"])))
        if len(xs) < 2:
            continue
        top = max([*fan["came"], *fan["q95"]])
        plot = Plot((0, len(xs) - 1), (0.0, 1.05 * top), f"origins, {fan['dates'][0]} to {fan['dates'][-1]}", "units")
        plot.band(xs, fan["q50"], fan["q99"], "#9db8d6", 0.25)
        plot.band(xs, fan["q50"], fan["q95"], "#9db8d6", 0.45)
        plot.band(xs, fan["q50"], fan["q80"], "#6b97c4", 0.55)
        plot.line(xs, fan["q50"], "#2f6fb3", width=1.2)
        plot.line(xs, fan["came"], "#1c2430", width=1.4)
        name = f"{fan['sku']} @ {fan['location']}"
        plots.append(f"<div><b>{escape(name)}</b>{plot.text('forecast of ' + name)}</div>")
    names = [("what came", "#1c2430"), ("median", "#2f6fb3"), ("to 80 %", "#6b97c4"), ("to 95 %", "#b9cce0"),
             ("to 99 %", "#dbe6f0")]  # fmt: skip
    horizon = r["fans"][0]["horizon"] if r["fans"] else ""
    return (
        f"<h2>Six rows, from the largest to the smallest</h2><p>Sums over the next {horizon}: what was said at each "
        f"origin, and what came.</p>{legend(names)}<div class=two>{''.join(plots)}</div>"
    )


def _settings(r: Mapping[str, Any]) -> str:
    plan = ", ".join(f"{name} {value}" for name, value in r["plan"].items())
    found = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in r["file"].items())
    return f"<h2>How it was run</h2><p class=note>{escape(plan)}.</p><p class=note>{escape(found)}.</p>"


# --- pieces ---------------------------------------------------------------------------------------------------------


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], ours: str = OURS) -> str:
    top = "".join(f"<th>{escape(h)}</th>" for h in heads)
    body = "".join(
        f"<tr{' class=ours' if ours and row[0].startswith(ours) else ''}>"
        + "".join(f"<td>{escape(c)}</td>" for c in row)
        + "</tr>"
        for row in rows
    )
    return f"<table><tr>{top}</tr>{body}</table>"


def _ratio(value: float | None) -> str:
    return "beyond" if value is None else f"{value:.3f}"


def _colour(methods: Mapping[str, Any], name: str) -> str:
    return COLOURS[list(methods).index(name) % len(COLOURS)]
