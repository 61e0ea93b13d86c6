"""The network agent at work: transfers between locations, made by one leader, told as rows of `sku-events`.

How a plan comes about, and what happens where its leader dies, is in stream/ledger/leader.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agents.network import balance
from agents.network.balance import Answer, Plan
from stream.ledger.leader import Leader, LeaderConfig, Lots
from stream.ledger.office import Standing


@dataclass(frozen=True)
class NetworkConfig(LeaderConfig):
    """And how long a proposal waits to be shipped."""

    expiry_ms: int = 48 * 3_600_000


class Network(Leader[Answer, Plan, NetworkConfig]):
    """One worker's part in the network agent."""

    what = "transfer plan"

    def read_answer(self, raw: bytes) -> Answer:
        """See Leader."""
        return balance.read_answer(raw)

    def read_plan(self, body: bytes) -> Plan:
        """See Leader."""
        return balance.read_plan(body)

    def drafted(self, answer: Answer, last: Plan | None, now_ms: int, request: str) -> Standing:
        """See Leader."""
        number = max(now_ms, last.number + 1 if last is not None else 0)  # grows, also after a loss
        c = self._config
        plan = balance.made(answer, number, now_ms, c.expiry_ms, request, c.namespace, c.shelves)
        return Standing(plan.id, len(plan.moves), 0, balance.pack_plan(plan))

    def told(self, plan: Plan, first: int) -> Lots:
        """See Leader."""
        return balance.told(plan, first)

    def made_ms(self, plan: Plan) -> int:
        """See Leader."""
        return plan.made_ms

    def outcome(self, plan: Plan) -> tuple[dict[str, Any], str]:
        """See Leader."""
        return {**plan.summary, "proposed": len(plan.moves), "planned_later": len(plan.later)}, plan.request
