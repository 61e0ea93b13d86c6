"""A world told as time goes on: what happened up to an instant, and nothing of what comes after it."""

from __future__ import annotations

from collections import deque

from agents.shop.config import STEP_MS
from agents.shop.said import Said
from agents.shop.world import World


class Live:
    """A world's events by their time. A step is lived when its first instant comes, with what was heard until then."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._ahead: deque[Said] = deque()

    def until(self, to_ms: int) -> list[Said]:
        """What was not told yet and happened up to and at `to_ms`."""
        while self.world.now_ms <= to_ms:
            self._ahead.extend(self.world.tell(self.world.now_ms + STEP_MS))
        said = []
        while self._ahead and self._ahead[0].at_ms <= to_ms:
            said.append(self._ahead.popleft())
        return said

    def rest(self) -> list[Said]:
        """What is left of the last step: with it everything the world lived is told."""
        return self.until(self.world.now_ms - 1)
