"""A file's dates, looked at before anything is published: what they span, what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.replay.formats.lines import Lines
from stream.errors import SetupError
from stream.events.instants import text_from_ms

DAY_MS = 86_400_000
GAP_DAYS = 10  # Christmas closes a shop for this long; more is worth a line
GAPS_SHOWN = 5


@dataclass(frozen=True)
class Dates:
    """When the rows of a file happened; of published rows."""

    rows: int
    first_ms: int
    last_ms: int
    undated_rows: int
    backward_rows: int  # earlier than the row before them in the file
    future_rows: int
    gaps: tuple[tuple[int, int], ...]  # (from, to) in ms, longest first

    def sentences(self) -> list[str]:
        """What a person should know, a line each."""
        days = (self.last_ms - self.first_ms) / DAY_MS
        said = [
            f"{self.rows:,} rows from {text_from_ms(self.first_ms)} to {text_from_ms(self.last_ms)}, {days:,.1f} days"
        ]
        if self.backward_rows > 0:
            said.append(f"{self.backward_rows:,} rows are earlier than the row before them; they are sorted by time")
        if self.undated_rows > 0:
            said.append(f"{self.undated_rows:,} rows have no time that can be read; intake will refuse them")
        if self.future_rows > 0:
            said.append(f"{self.future_rows:,} rows lie in the future; intake will refuse them")
        for begin, end in self.gaps[:GAPS_SHOWN]:
            said.append(f"nothing for {(end - begin) / DAY_MS:.1f} days after {text_from_ms(begin)}")
        return said


def dates_of(lines: Lines, now_ms: int, ahead_ms: int) -> Dates:
    """Look at the dates of the published rows. Raises SetupError where there is nothing to publish or none is dated."""
    published = lines.published
    dated = lines.sound.get("occurred_at", np.ones(len(lines), bool))
    at = lines.at_ms[published & dated]
    if len(lines) == 0:
        raise SetupError(
            "the file has no row that can be read",
            f"{lines.unreadable_rows:,} rows could not be cut into columns",
            "check --delimiter and that each quote is closed",
        )
    if not np.any(published):
        raise SetupError(
            "no row of the file can be published",
            f"{len(lines):,} rows were read, all refused by the format's rules",
            "check --format and --columns",
        )
    if len(at) == 0:
        raise SetupError(
            "no row of the file has a time that can be read",
            f"the first says {_said(lines)!r}",
            "give --time-format (as strptime has it), or map occurred_at to another column",
        )
    ordered = np.sort(at)
    steps = np.diff(ordered)
    long = np.flatnonzero(steps > GAP_DAYS * DAY_MS)
    long = long[np.argsort(-steps[long], kind="stable")]
    return Dates(
        rows=int(published.sum()),
        first_ms=int(ordered[0]),
        last_ms=int(ordered[-1]),
        undated_rows=int((published & ~dated).sum()),
        backward_rows=int((np.diff(at) < 0).sum()),
        future_rows=int((at > now_ms + ahead_ms).sum()),
        gaps=tuple((int(ordered[i]), int(ordered[i + 1])) for i in long.tolist()),
    )


def refuse_future(dates: Dates, anyway: bool) -> None:
    """Raise SetupError where rows lie in the future, unless they are to be published (and refused) anyway."""
    if dates.future_rows > 0 and not anyway:
        raise SetupError(
            f"{dates.future_rows:,} rows of the file lie in the future",
            f"the last is {text_from_ms(dates.last_ms)}",
            "check --timezone and --time-format; with --anyway they are published and refused as too_far_ahead",
        )


def refuse_old(dates: Dates, now_ms: int, behind_days: int) -> None:
    """Raise SetupError where a worker by the wall clock would refuse the file's rows as too old."""
    if now_ms - dates.first_ms > behind_days * DAY_MS:
        raise SetupError(
            "the file is too old for the wall clock",
            f"it begins {text_from_ms(dates.first_ms)}; more than {behind_days} days behind is refused as too_old",
            "replay it by the event clock into a namespace of its own: --clock event --namespace NAME",
        )


def _said(lines: Lines) -> object:
    column = lines.raw.get("occurred_at")
    return None if column is None or len(column) == 0 else column[0].as_py()
