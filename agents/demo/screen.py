"""A scene drawn: a live screen on a terminal, a line every few seconds elsewhere, a summary at the end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from agents.demo.scene import Scene, Shown
from stream.events.instants import text_from_ms

BARS = "▁▂▃▄▅▆▇█"
MARKS = {"critical": ("●", "bold red"), "warning": ("▲", "yellow"), "info": ("·", "cyan")}
KINDS = {
    "stockout_imminent": "runs out",
    "stocked_out": "sold out",
    "low_stock": "low stock",
    "discrepancy": "miscount",
}
STATES = {
    "proposed": ("→ proposed", "bold cyan"),
    "ordered": ("→ ordered", "cyan"),
    "confirmed": ("✓ confirmed", "blue"),
    "part_received": ("◐ in part", "green"),
    "received": ("✔ received", "bold green"),
    "cancelled": ("✗ cancelled", "dim"),
    "expired": ("✗ expired", "dim"),
    "unlawful": ("! unlawful", "red"),
}
WIDE = 200  # columns from which alerts and replenishments stand side by side
NAME = 28  # columns for SKU and location
ROOMY = 110  # columns from which numbers are written out
GAUGE_MOST = 48  # columns
SPARK = 14
FIXED = 9  # lines: three of head, three headings, three of legend


class Size(NamedTuple):
    """Of the terminal, in characters."""

    width: int
    height: int


class Shares(NamedTuple):
    """Lines each part gets below its heading."""

    alerts: int
    orders: int
    rows: int
    connect: int


def shares(size: Size, connect: int) -> Shares:
    """How a screen's lines are shared out; headings, head and legend take what they need first.

    >>> shares(Size(80, 24), 3), shares(Size(200, 40), 3)
    (Shares(alerts=5, orders=6, rows=4, connect=0), Shares(alerts=20, orders=20, rows=9, connect=3))
    """
    wide = size.width >= WIDE
    shown = connect if size.height >= 30 else 0
    left = max(size.height - FIXED - shown + wide, 6)
    rows = min(max(left * 3 // 10, 2), 12) + (1 if left >= 16 else 0)
    above = left - rows
    if wide:
        return Shares(above, above, rows, shown)
    return Shares(above - (above + 1) // 2, (above + 1) // 2, rows, shown)


def draw(scene: Scene, connect: list[str], size: Size) -> RenderableType:
    """The whole screen; never more lines than there are."""
    share = shares(size, len(connect))
    alerts = Group(
        _heading("Alerts by money at risk a day: ● critical ▲ warning · info, + more than one"),
        _alerts(scene, share.alerts),
    )
    orders = Group(_heading("Replenishments, newest first, and why"), _orders(scene, share.orders, size))
    if size.width >= WIDE:
        beside = Table.grid(padding=(0, 2), expand=True)
        beside.add_column(ratio=1)
        beside.add_column(ratio=1)
        beside.add_row(alerts, orders)
        middle: list[RenderableType] = [beside]
    else:
        middle = [alerts, orders]
    rows = Group(_heading("Some SKUs: sold a day, stock, forecast, reorder point"), _rows(scene, share.rows, size))
    return Group(_head(scene, size), *middle, rows, _legend(), *_connect(connect, share.connect))


# -- parts ----------------------------------------------------------------------------------------------------------


def _head(scene: Scene, size: Size) -> RenderableType:
    title = Table.grid(expand=True)
    title.add_column(no_wrap=True)
    title.add_column(no_wrap=True, justify="right")
    name = Text.assemble((" Restock ", "bold reverse"), f"  a simulated shop, {scene.rows:,} SKU-locations")
    clock = Text.assemble((_clock(scene.shop_ms), "bold"), f" {_pace(scene)}")
    if size.width >= ROOMY:
        clock = Text.assemble("shop time (UTC) ", clock, (f"   {scene.elapsed_s:.0f} s", "dim"))
    title.add_row(name, clock)
    flow = _words(
        ("in", f"{scene.published_s:,.0f}/s"),
        ("", spark(list(scene.throughput)[-16:])),
        ("orders", f"{scene.orders_s:,.0f}/s"),
        ("lag", f"{scene.lag_records:,}"),
        ("alert after", _latency(scene)),
    )
    served = "-" if scene.served_share is None else f"{scene.served_share:.1%}"
    stands = _words(
        ("at risk", f"{scene.at_risk_day:,.0f} {_currency(scene)}/day"),
        ("alerts", f"{len(scene.open):,} open, {scene.resolved:,} resolved"),
        ("in stock, 7 days", served),
    )
    return Group(title, flow, stands)


def _alerts(scene: Scene, lines: int) -> RenderableType:
    table = _table()
    table.add_column(width=1)
    table.add_column(justify="right", width=7)
    table.add_column(width=11)
    table.add_column(width=NAME)
    table.add_column(ratio=1)
    for alert in scene.alerts()[:lines]:
        mark, style = MARKS[alert["severity"]]
        kind = KINDS.get(alert["kind"], alert["kind"].replace("_", " ")) + (" +" if alert["others"] else "")
        money = f"{alert['money_at_risk_day']:,.0f}"
        cells = (mark, money, kind, _name(alert["sku"], alert["location"]), alert["sentence"])
        table.add_row(*_styled(cells, (style, "bold", style, "", "dim")))
    return _filled(table, lines, "nothing is wrong, or nothing is known yet")


def _orders(scene: Scene, lines: int, size: Size) -> RenderableType:
    """A line each; where lines are short, the newest one's reason is written out below it."""
    newest = list(scene.replenishments.values())[::-1]
    whole = 2 if size.width < WIDE and lines >= 4 and newest else 0
    table = _table()
    table.add_column(width=11)
    table.add_column(justify="right", width=6)
    table.add_column(width=NAME)
    table.add_column(ratio=1)
    reason = None
    for order in newest[: lines - whole]:
        state, style = STATES[order["event"]]
        cells = (state, f"{order['quantity']:,g}", _name(order["sku"], order["location"]), order["sentence"])
        table.add_row(*_styled(cells, (style, "bold", "", "dim")))
    if whole:
        reason = Text(f"  {newest[0]['sku']}: {newest[0]['sentence']}", style="italic dim")
        reason.truncate(size.width * whole - 4, overflow="ellipsis")
        return _filled(Group(table, reason), lines, "", rows=table.row_count + _lines_of(reason, size.width))
    return _filled(table, lines, "nothing has to be bought yet")


def _rows(scene: Scene, lines: int, size: Size) -> RenderableType:
    table = _table()
    wide = size.width >= ROOMY
    gauge = min(max(size.width - NAME - SPARK - (38 if wide else 18) - 4, 6), GAUGE_MOST)
    table.add_column(width=NAME)
    table.add_column(width=SPARK)
    table.add_column(width=gauge)
    table.add_column(ratio=1)
    for row in scene.shown[:lines]:
        name, sold = _styled((_name(row.sku, row.location), spark(row.sold)), ("", "cyan"))
        table.add_row(name, sold, _gauge(row, gauge), _numbers(row, wide))
    return _filled(table, lines, "")


def _numbers(row: Shown, wide: bool) -> Text:
    if not row.known:
        return Text("not known yet", style="dim")
    words = [(f"{row.on_hand:,.0f}", f"bold {_state(row)}"), (_against(row), "dim")]
    words += [(f"{row.reorder_point:,.0f}", "")]
    if row.on_order:
        words += [(f" +{row.on_order:,.0f}", "green")]
    if wide:
        words += [(f"   expects {row.likely:,.0f} to {row.most:,.0f} until supply", "dim")]
    return Text.assemble(*words, no_wrap=True, overflow="ellipsis")


def _gauge(row: Shown, width: int) -> Text:
    """Stock as a bar; demand until supply as a shaded band; the reorder point as a line.

    >>> _gauge(Shown("a", "b", on_hand=5, reorder_point=6, order_up_to=10, likely=3, most=6, known=True), 10).plain
    '███▓▓░┃   '
    """
    most = max(row.on_hand, row.order_up_to, row.most, row.reorder_point, 1.0)
    text = Text()
    point = min(int(row.reorder_point / most * width), width - 1) if row.reorder_point > 0 else -1
    for at in range(width):
        units = at / width * most
        filled, band = units < row.on_hand, row.likely <= units < row.most
        sign = ("▓" if filled else "░") if band else ("█" if filled else " ")
        style = _state(row) if filled else "dim"
        text.append("┃" if at == point else sign, "bold" if at == point else style)
    return text


def _against(row: Shown) -> str:
    return " > " if row.on_hand > row.reorder_point else " ≤ "


def _state(row: Shown) -> str:
    if row.on_hand <= 0:
        return "red"
    return "yellow" if row.on_hand <= row.reorder_point else "green"


def _legend() -> RenderableType:
    text = Text(style="dim", no_wrap=True, overflow="ellipsis")
    text.append("█ on hand  ░ demand until supply: likely to worst (50-95 %)  ┃ reorder point\n")
    text.append("▂▅ sold, 14 days  9 ≤ 40 +24: on hand, reorder point, on order   Ctrl-C ends")
    return Group(Rule(style="dim"), text)


def _connect(connect: Sequence[str], lines: int) -> Iterable[Text]:
    return [Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in connect[:lines]]


# -- words ----------------------------------------------------------------------------------------------------------


def spark(values: Iterable[float]) -> str:
    """A line of bars, the highest for the largest value.

    >>> spark([0, 2, 4, 8])
    '▁▃▅█'
    """
    kept = list(values)
    most = max(kept, default=0.0)
    if most <= 0:
        return BARS[0] * len(kept)
    return "".join(BARS[min(int(value / most * 8), 7)] for value in kept)


def line(scene: Scene) -> str:
    """The same in one line.

    >>> line(Scene(elapsed_s=5.2, shop_ms=1_780_000_000_000, orders=1200))
    '   5 s  shop time 2026-05-28 20:26  orders 1,200  lag 0  alerts raised 0, resolved 0  at risk 0 a day  proposed 0'
    """
    return (
        f"{scene.elapsed_s:4.0f} s  shop time {_clock(scene.shop_ms)}  orders {scene.orders:,}"
        f"  lag {scene.lag_records:,}  alerts raised {scene.raised.total():,}, resolved {scene.resolved:,}"
        f"  at risk {scene.at_risk_day:,.0f} a day  proposed {scene.proposed:,}"
    )


def summary(scene: Scene) -> str:
    """What happened, for the end of the run."""
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in scene.raised.most_common()) or "none"
    served = "" if scene.served_share is None else f"; {scene.served_share:.1%} of what was wanted last week was there"
    return "\n".join(
        (
            f"{scene.elapsed_s:.0f} seconds, shop time now {_clock(scene.shop_ms)}",
            f"  in   {scene.published:,} events published, {scene.orders:,} order events accepted, "
            f"{scene.refused:,} records refused, {scene.lag_records:,} waiting",
            f"  out  {scene.raised.total():,} alerts raised ({kinds}), {scene.resolved:,} resolved",
            f"       {scene.proposed:,} replenishments proposed, {scene.received:,} received in full{served}",
            f"  alert after its cause was published: {_latency(scene)}",
        )
    )


def _latency(scene: Scene) -> str:
    half, most = scene.latency_ms(0.5), scene.latency_ms(0.99)
    return "-" if half is None or most is None else f"{half:,.0f} ms, p99 {most:,.0f} ms"


def _currency(scene: Scene) -> str:
    return next((alert["currency"] for alert in scene.open.values()), "")


def _pace(scene: Scene) -> str:
    return f"{scene.hours_a_second:.0f} h/s" if scene.hours_a_second >= 1 else f"{scene.hours_a_second * 60:.0f} min/s"


def _clock(ms: int) -> str:
    return text_from_ms(ms)[:16].replace("T", " ")


def _name(sku: str, location: str) -> str:
    return f"{sku} {location}"


def _words(*pairs: tuple[str, str]) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    for label, value in pairs:
        text.append(f"{label} " if label else "", "dim")
        text.append(f"{value}  ", "bold" if label else "cyan")
    return text


def _heading(title: str) -> Rule:
    return Rule(Text(title, style="bold"), align="left", style="dim")


def _table() -> Table:
    return Table.grid(padding=(0, 1), expand=True)


def _styled(cells: Iterable[str], styles: Iterable[str]) -> list[Text]:
    return [Text(cell.replace("\n", " "), style=style, no_wrap=True, overflow="ellipsis")
            for cell, style in zip(cells, styles, strict=True)]  # fmt: skip


def _lines_of(text: Text, width: int) -> int:
    return -(-max(text.cell_len, 1) // width)


def _filled(part: RenderableType, lines: int, empty: str, rows: int | None = None) -> RenderableType:
    """A part with blank lines below, so that nothing jumps."""
    count = rows if rows is not None else part.row_count if isinstance(part, Table) else 0
    if count == 0 and empty:
        return Group(Text(f"  {empty}", style="dim"), *[Text("")] * (lines - 1))
    return Group(part, *[Text("")] * max(lines - count, 0))
