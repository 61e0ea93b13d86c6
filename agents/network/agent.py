"""The network agent at work: transfers between locations, made by one leader, told as rows of `sku-events`.

How a plan comes about, and what happens where its leader dies, is in stream/ledger/leader.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from agents.network import balance
from agents.network.balance import Answer, Plan
from stream.ledger.leader import Leader, Lots, Watcher
from stream.ledger.office import Office, Standing
from stream.transport.port import Sender


@dataclass(frozen=True)
class NetworkConfig:
    """What the agent depends on besides the ledger."""

    namespace: str
    shelves: int
    name: str  # of this worker, for people
    every_minutes: int = 0  # 0: only on demand
    expiry_ms: int = 48 * 3_600_000


class Network(Leader[Answer, Plan]):
    """One worker's part in the network agent."""

    what = "transfer plan"

    def __init__(
        self,
        office: Office,
        sender: Sender,
        solve: Callable[[], Awaitable[bytes]],
        config: NetworkConfig,
        now_ms: Callable[[], int],
        watcher: Watcher | None = None,
    ) -> None:
        super().__init__(office, sender, solve, config.name, config.every_minutes, now_ms, watcher)
        self._config = config

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
