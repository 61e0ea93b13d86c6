"""`/metrics`, `/live` and `/ready` of a worker.

`/live` answers 200 as long as the event loop turns: a supervisor restarts a worker that does not answer. `/ready`
answers 200 once the worker holds its partitions and reaches its neighbours, else 503 with the reason as text.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from agents import metrics
from stream.errors import SetupError

log = logging.getLogger(__name__)


class Web:
    """The worker's small web server; `waiting_for` says why the worker is not ready, or nothing when it is."""

    def __init__(self, host: str, port: int, waiting_for: Callable[[], str]) -> None:
        self.host, self.port = host, port
        self._waiting_for = waiting_for
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Listen; returns the port, chosen by the system where 0 was asked. Raises SetupError where it is taken."""
        app = web.Application()
        app.add_routes([web.get(path, answer) for path, answer in self._routes().items()])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self.host, self.port).start()
        except OSError as error:
            await self.stop()
            raise SetupError(
                f"could not listen on {self.host}:{self.port}",
                error.strerror or str(error),
                "another worker on this host? RESTOCK_WEB_PORT=0 takes any free port",
            ) from error
        self.port = self._runner.addresses[0][1]
        log.info("web on http://%s:%d", self.host, self.port, extra={"web_port": self.port})
        return self.port

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _routes(self) -> dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]]:
        return {"/metrics": self._metrics, "/live": self._live, "/ready": self._ready}

    async def _metrics(self, _: web.Request) -> web.StreamResponse:
        return web.Response(
            body=metrics.exposition(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    async def _live(self, _: web.Request) -> web.StreamResponse:
        return web.Response(text="live\n")

    async def _ready(self, _: web.Request) -> web.StreamResponse:
        reason = self._waiting_for()
        return web.Response(
            text="ready\n" if reason == "" else f"waiting for {reason}\n", status=200 if reason == "" else 503
        )
