"""The demo's loop: tell events, let the buyer answer, look, draw."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import confluent_kafka
from rich.console import Console
from rich.live import Live

from agents.clock import now_ms, steady_s
from agents.demo import pace, screen
from agents.demo.publish import Publisher
from agents.demo.scene import Scene
from agents.demo.shop import Shop
from agents.demo.stage import Stage, stage
from agents.demo.watch import Watcher
from agents.settings import Settings
from stream.errors import RestockError

ROUND_S = 0.1
LOOK_S = 1.0
LINE_S = 5.0  # without a terminal: a line this often
SETTLE_S = 10.0  # at the end: how long the worker may take to finish what was told

Show = Callable[[Scene], None]


def run(settings: Settings, seed: int, seconds: float) -> int:
    """Run until `seconds` are over (0: until Ctrl-C), print the summary. Raises RestockError where nothing flowed."""
    console = Console()
    scene = Scene()
    console.print("starting broker, ledger and worker ...", style="dim", highlight=False)
    with stage(settings) as staged:
        try:
            _play(staged, scene, seed, seconds or float("inf"), console)
        except KeyboardInterrupt:
            console.print("stopping ...", style="dim", highlight=False)
    print(screen.summary(scene))
    if not scene.flowed:
        raise RestockError(
            "nothing flowed",
            f"{scene.published:,} events published, {scene.orders:,} accepted, {scene.raised.total():,} alerts",
            "give it at least 15 seconds, and run restock doctor",
        )
    return 0


def _play(staged: Stage, scene: Scene, seed: int, seconds: float, console: Console) -> None:
    start_ms = pace.start_ms(now_ms())
    shop, publisher, watcher = Shop(seed, start_ms), Publisher(staged.settings), Watcher(staged.settings, staged.web)
    connect = how_to_connect(staged.settings)
    try:
        with _display(console, connect) as show:
            publisher.publish(shop.opening())
            begun, looked = steady_s(), 0.0
            while (elapsed := steady_s() - begun) < seconds:
                staged.check()
                watcher.measure(scene)
                worker_ms = max(scene.worker_ms, start_ms)
                publisher.publish(shop.until(pace.shop_ms(start_ms, elapsed, now_ms(), worker_ms)))
                publisher.tick(shop.now_ms)
                for proposal in watcher.listen(scene):
                    shop.replenish(
                        proposal["replenishment_id"], proposal["sku"], proposal["location"], proposal["quantity"]
                    )
                if elapsed - looked >= LOOK_S:
                    _look(scene, watcher, publisher, shop, elapsed)
                    looked = elapsed
                    show(scene)
                time.sleep(ROUND_S)
            publisher.flush()
            _settle(scene, watcher, publisher, shop, begun)
    finally:
        watcher.close()


def _look(scene: Scene, watcher: Watcher, publisher: Publisher, shop: Shop, elapsed_s: float) -> None:
    """Bring the scene up to date, with rates since the last look."""
    published, orders, since_s = scene.published, scene.orders_looked, elapsed_s - scene.elapsed_s
    watcher.look(scene)
    scene.elapsed_s, scene.shop_ms, scene.published = elapsed_s, shop.now_ms, publisher.published.total()
    scene.rates = {"published": (scene.published - published) / since_s, "orders": (scene.orders - orders) / since_s}
    scene.orders_looked = scene.orders


def _settle(scene: Scene, watcher: Watcher, publisher: Publisher, shop: Shop, begun_s: float) -> None:
    """Let the worker finish what was told, within a bound."""
    deadline = steady_s() + SETTLE_S
    while steady_s() < deadline:
        for _ in watcher.listen(scene):
            pass
        watcher.measure(scene)
        _look(scene, watcher, publisher, shop, steady_s() - begun_s)
        if scene.lag_records == 0 and scene.orders >= publisher.published["orders"]:
            return
        time.sleep(ROUND_S)


def _display(console: Console, connect: list[str]) -> AbstractContextManager[Show]:
    return _live(console, connect) if console.is_terminal else _lines(connect)


@contextmanager
def _live(console: Console, connect: list[str]) -> Iterator[Show]:
    """A screen that is drawn anew at every look."""
    with Live(console=console, screen=True, auto_refresh=False) as live:
        yield lambda scene: live.update(screen.draw(scene, connect), refresh=True)


@contextmanager
def _lines(connect: list[str]) -> Iterator[Show]:
    """Plain lines, for logs and CI."""
    said_s = 0.0

    def show(scene: Scene) -> None:
        nonlocal said_s
        if scene.elapsed_s - said_s >= LINE_S:
            said_s = scene.elapsed_s
            print(screen.line(scene), flush=True)

    print("\n".join(connect), flush=True)
    yield show


def _librdkafka() -> list[Path]:
    """Our own copy of the library kcat is built on: one before 2.1 cannot read the embedded broker's greeting."""
    return sorted((Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs").glob("librdkafka*.so*"))[:1]


def how_to_connect(settings: Settings) -> list[str]:
    """Commands with which to look around while the demo runs."""
    kcat = f"kcat -b {settings.brokers} -t {settings.namespace}.stock-alerts -C"
    return [
        kcat,
        *(f"  where kcat fails (librdkafka of Debian 12 or older): LD_PRELOAD={lib} {kcat}" for lib in _librdkafka()),
        f"redis-cli -u {settings.redis_url} --scan --pattern '{settings.namespace}:*:stock:*'",
    ]
