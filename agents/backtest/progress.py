"""How far a backtest has come, on standard error: a line that is rewritten, or one every ten seconds in a log."""

from __future__ import annotations

import sys

from agents import clock

LIVE_S, LOG_S = 0.5, 10.0
WIDTH = 79


class Progress:
    """Counts steps of one stage after another."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._begin_s = self._shown_s = clock.steady_s()

    def say(self, stage: str, done: int, total: int) -> None:
        """Show a stage's progress, if nothing was shown just now."""
        now_s = clock.steady_s()
        if now_s - self._shown_s < (LIVE_S if self._live else LOG_S):
            return
        self._shown_s = now_s
        share = done / max(total, 1)
        self._write(f"{stage}: {share:4.0%}, {done:,} of {total:,}, {now_s - self._begin_s:.0f} s", end=not self._live)

    def close(self) -> None:
        """Leave no half line behind."""
        if self._live:
            self._write("", end=False)
            print("\r", end="", file=sys.stderr, flush=True)

    def _write(self, line: str, end: bool) -> None:
        whole = f"\r{line[:WIDTH]:<{WIDTH}}" if self._live else line
        print(whole, end="\n" if end else "", file=sys.stderr, flush=True)
