"""A scene drawn: a live screen on a terminal, a line every few seconds elsewhere, a summary at the end."""

from __future__ import annotations

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from agents.demo.scene import Scene
from stream.events.instants import text_from_ms

COLOURS = {"info": "cyan", "warning": "yellow", "critical": "bold red"}


def draw(scene: Scene, connect: list[str]) -> RenderableType:
    """The whole screen."""
    footer = Text("\n".join([*connect, "Ctrl-C ends the demo and everything it started"]), style="dim")
    return Group(_head(scene), _alerts(scene), _replenishments(scene), _stock(scene), footer)


def line(scene: Scene) -> str:
    """The same in one line.

    >>> line(Scene(elapsed_s=5.2, shop_ms=1_780_000_000_000, orders=1200))
    '   5 s  shop time 2026-05-28 20:26  orders 1,200  lag 0  alerts raised 0, resolved 0  proposed 0'
    """
    return (
        f"{scene.elapsed_s:4.0f} s  shop time {_clock(scene.shop_ms)}  orders {scene.orders:,}"
        f"  lag {scene.lag_records:,}  alerts raised {scene.raised.total():,}, resolved {scene.resolved:,}"
        f"  proposed {scene.proposed:,}"
    )


def summary(scene: Scene) -> str:
    """What happened, for the end of the run."""
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in scene.raised.most_common()) or "none"
    return "\n".join(
        (
            f"{scene.elapsed_s:.0f} seconds, shop time now {_clock(scene.shop_ms)}",
            f"  in   {scene.published:,} events published, {scene.orders:,} order events accepted, "
            f"{scene.refused:,} records refused, {scene.lag_records:,} waiting",
            f"  out  {scene.raised.total():,} alerts raised ({kinds}), {scene.resolved:,} resolved",
            f"       {scene.proposed:,} replenishments proposed, {scene.received:,} received in full",
        )
    )


def _clock(ms: int) -> str:
    return text_from_ms(ms)[:16].replace("T", " ")


def _head(scene: Scene) -> RenderableType:
    cells = (
        f"[bold]Restock[/]  {scene.elapsed_s:.0f} s",
        f"shop time [bold]{_clock(scene.shop_ms)}[/]",
        f"in [bold]{scene.rates.get('published', 0):,.0f}[/] events/s",
        f"orders [bold]{scene.rates.get('orders', 0):,.0f}[/]/s, {scene.orders:,} in all",
        f"lag [bold]{scene.lag_records:,}[/] records",
        f"alerts [bold]{scene.raised.total():,}[/] raised, {scene.resolved:,} resolved",
    )
    return Panel(Columns(cells, padding=(0, 3)), padding=(0, 1))


def _alerts(scene: Scene) -> RenderableType:
    table = Table(title="newest alerts", title_justify="left", expand=True, box=None)
    for name in ("", "kind", "severity", "sku", "at", "why"):
        table.add_column(name, no_wrap=True, ratio=1 if name == "why" else None)
    for alert in scene.alerts:
        style = "green" if alert["event"] == "resolved" else COLOURS[alert["severity"]]
        cells = (alert[name] for name in ("event", "kind", "severity", "sku", "location", "sentence"))
        table.add_row(*map(Text, cells), style=style)
    return table


def _replenishments(scene: Scene) -> RenderableType:
    table = Table(title="newest replenishments", title_justify="left", expand=True, box=None)
    for name in ("status", "sku", "at", "units", "why"):
        table.add_column(name, no_wrap=True, ratio=1 if name == "why" else None)
    for order in scene.replenishments:
        cells = (order["event"], order["sku"], order["location"], f"{order['quantity']:g}", order["sentence"])
        table.add_row(*map(Text, cells))
    return table


STOCK_COLUMNS = ("sku", "location", "on_hand", "available", "on_order", "reorder_point", "order_up_to", "days_of_cover")


def _stock(scene: Scene) -> RenderableType:
    table = Table(title="stock", title_justify="left", expand=True, box=None)
    for name in STOCK_COLUMNS:
        table.add_column(name.replace("_", " "), justify="left" if name in ("sku", "location") else "right")
    for row in scene.stock:
        table.add_row(*(Text(row.get(name, "-")) for name in STOCK_COLUMNS))
    return table
