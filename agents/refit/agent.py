"""The slow lane at work: a run is made by one leader, in processes apart, and told as records of `sku-events`.

How it comes about, and what happens where its leader dies, is in stream/ledger/leader.py.
"""

from __future__ import annotations

from typing import Any

from agents.refit import record
from agents.refit.record import Answer, Run
from stream.ledger.leader import Leader, LeaderConfig, Lots
from stream.ledger.office import Standing


class Refit(Leader[Answer, Run, LeaderConfig]):
    """One worker's part in the slow lane."""

    what = "refit"

    def read_answer(self, raw: bytes) -> Answer:
        """See Leader."""
        return record.read_answer(raw)

    def read_plan(self, body: bytes) -> Run:
        """See Leader."""
        return record.read_run(body)

    def drafted(self, answer: Answer, last: Run | None, now_ms: int, request: str) -> Standing:
        """See Leader."""
        number = max(now_ms, last.number + 1 if last is not None else 0)  # grows, also after a loss
        run = record.made(answer, number, now_ms, request, self._config.namespace, self._config.shelves)
        return Standing(run.id, len(run.lots), 0, record.pack_run(run))

    def told(self, plan: Run, first: int) -> Lots:
        """See Leader."""
        return record.told(plan, first, self._config.shelves)

    def made_ms(self, plan: Run) -> int:
        """See Leader."""
        return plan.made_ms

    def outcome(self, plan: Run) -> tuple[dict[str, Any], str]:
        """See Leader."""
        return plan.summary, plan.request
