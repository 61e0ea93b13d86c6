"""Plots as SVG text: axes with round numbers, lines, bars, bands. No scripts, no assets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 560, 300, 64, 44, 14, 16
COLOURS = ("#c2410c", "#2f6fb3", "#5a7d2a", "#7a4fa3", "#8a6d1f", "#2b8a83", "#a33d66", "#5b6675", "#b07d00", "#3b5bdb")
TICKS = 5


def ticks(low: float, high: float) -> list[float]:
    """Round numbers between two ends.

    >>> ticks(0.0, 10.0)
    [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    """
    span = max(high - low, 1e-12)
    raw = span / TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * s for s in (1, 2, 2.5, 5, 10) if power * s >= raw - 1e-12)
    first = math.ceil(low / step - 1e-9)
    return [round(step * k, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def short(value: float) -> str:
    """A number on an axis.

    >>> short(12500.0), short(0.95), short(3.0)
    ('12.5k', '0.95', '3')
    """
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:.4g}"


class Plot:
    """One plot; x and y in data units. `percent` writes the x axis as per cent."""

    def __init__(
        self, x: tuple[float, float], y: tuple[float, float], x_name: str, y_name: str, *, percent: bool = False
    ) -> None:
        self.x, self.y = x, (y[0], y[1] if y[1] > y[0] else y[0] + 1.0)
        self.parts: list[str] = []
        self._axes(x_name, y_name, percent)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Pixels of a point, held inside the frame."""
        across = (x - self.x[0]) / max(self.x[1] - self.x[0], 1e-12)
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        across, up = min(max(across, 0.0), 1.0), min(max(up, 0.0), 1.0)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - BOTTOM - TOP)

    def _axes(self, x_name: str, y_name: str, percent: bool) -> None:
        floor = HEIGHT - BOTTOM
        for v in ticks(*self.y):
            _, at = self.at(self.x[0], v)
            self.parts.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="#e2e6ec"/>')
            self.parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{short(v)}</text>')
        for v in ticks(*self.x):
            at, _ = self.at(v, self.y[0])
            word = f"{100 * v:.3g} %" if percent else short(v)
            self.parts.append(f'<text x="{at:.1f}" y="{floor + 16}" text-anchor="middle">{word}</text>')
        self.parts.append(f'<path d="M{LEFT} {TOP}V{floor}H{WIDTH - RIGHT}" fill="none" stroke="#8a94a6"/>')
        middle = (TOP + floor) / 2
        self.parts.append(
            f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle" class="name">'
            f"{escape(x_name)}</text>"
            f'<text x="14" y="{middle}" text-anchor="middle" class="name" transform="rotate(-90 14 {middle})">'
            f"{escape(y_name)}</text>"
        )

    def line(self, xs: Sequence[float], ys: Sequence[float], colour: str, *, dash: str = "", width: float = 2) -> None:
        """A line through points."""
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in (self.at(x, y) for x, y in zip(xs, ys, strict=True)))
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"{dashes}/>')

    def dots(self, xs: Sequence[float], ys: Sequence[float], colour: str, titles: Sequence[str]) -> None:
        """A dot a point, with what it says when pointed at."""
        for x, y, title in zip(xs, ys, titles, strict=True):
            a, b = self.at(x, y)
            self.parts.append(
                f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"><title>{escape(title)}</title></circle>'
            )

    def band(
        self, xs: Sequence[float], low: Sequence[float], high: Sequence[float], colour: str, opacity: float
    ) -> None:
        """The area between two lines."""
        there = [self.at(x, y) for x, y in zip(xs, high, strict=True)]
        back = [self.at(x, y) for x, y in zip(reversed(xs), reversed(low), strict=True)]
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in [*there, *back])
        self.parts.append(f'<polygon points="{points}" fill="{colour}" fill-opacity="{opacity}"/>')

    def bar(self, left: float, right: float, low: float, high: float, colour: str, title: str) -> None:
        """A box from (left, low) to (right, high)."""
        (a, b), (c, d) = self.at(left, low), self.at(right, high)
        box = f'x="{a:.1f}" y="{d:.1f}" width="{max(c - a, 1):.1f}" height="{max(b - d, 1.5):.1f}"'
        self.parts.append(f'<rect {box} fill="{colour}"><title>{escape(title)}</title></rect>')

    def text(self, label: str) -> str:
        """The whole picture."""
        return (
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">{"".join(self.parts)}</svg>'
        )


def legend(names: Sequence[tuple[str, str]]) -> str:
    """(name, colour) as a line of words."""
    return "<p class=legend>" + "".join(
        f'<span><i style="background:{colour}"></i>{escape(name)}</span>' for name, colour in names
    ) + "</p>"  # fmt: skip
