"""The demo's loop: tell events, let the buyer answer, look, draw."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import confluent_kafka
from rich.console import Console
from rich.live import Live as Screen

from agents.clock import now_ms, steady_s
from agents.demo import pace, screen
from agents.demo.scene import Scene, Shown, Told
from agents.demo.stage import Stage, stage
from agents.demo.watch import Watcher
from agents.settings import Settings
from agents.shop.config import HOUR_MS, Config
from agents.shop.door import listen
from agents.shop.door.live import Live
from agents.shop.door.publish import Publisher
from agents.shop.truth import Day
from agents.shop.world import World
from agents.stopping import asked_to_stop
from stream.errors import RestockError

ROUND_S = 0.05
MEASURE_S = 0.2
LOOK_S = 1.0
LINE_S = 5.0  # without a terminal: a line this often
SETTLE_S = 10.0  # at the end: how long the worker may take to finish what was told
SHOWN_SKUS = (0, 13, 3, 20, 5, 16, 9, 18, 1, 22, 11, 7)  # popular and slow ones by turns
WEEK_DAYS = 7

Show = Callable[[Scene], None]


def world_of(seed: int, wall_ms: int) -> World:
    """The demo's shop: two dozen SKUs at eight places, stocked so that some run low at once."""
    return World(
        Config(
            seed=seed, rows=192, locations=8, start_day=pace.start_day(wall_ms), customers_day=5.0, conversion=0.5,
            cart_lead_hours=3.0, opening_days=10.0, shrinkage_share=0.02, count_days=14, promotion_share=0.06,
        )
    )  # fmt: skip


def run(settings: Settings, seed: int, seconds: float) -> int:
    """Run until `seconds` are over (0: until Ctrl-C), print the summary. Raises RestockError where nothing flowed."""
    console = Console()
    scene = Scene()
    console.print("starting broker, ledger and worker ...", style="dim", highlight=False)
    with stage(settings) as staged:
        with asked_to_stop() as stop:
            _play(staged, scene, seed, seconds or float("inf"), console, stop)
        if stop():
            console.print("stopping ...", style="dim", highlight=False)
    print(screen.summary(scene))
    if not scene.flowed:
        raise RestockError(
            "nothing flowed",
            f"{scene.published:,} events published, {scene.orders:,} accepted, {scene.raised.total():,} alerts",
            "give it at least 15 seconds, and run restock doctor",
        )
    return 0


class _Play:
    """The shop, what it says and hears, and what is known of both."""

    def __init__(self, staged: Stage, scene: Scene, seed: int) -> None:
        self.live = Live(world_of(seed, now_ms()))
        self.world = self.live.world
        self.start_ms = self.world.now_ms
        self.scene, self.told = scene, Told()
        self.publisher = Publisher(staged.settings)
        self.watcher = Watcher(staged.settings, staged.web)
        self._heard: Counter[str] = Counter()
        self._week: deque[tuple[int, int, int]] = deque()  # day, units wanted, units lost
        scene.rows = self.world.config.rows
        scene.shown = _shown(self.world)

    def round(self, elapsed_s: float) -> None:
        """Tell what happened since; hear and answer."""
        worker_ms = max(self.scene.worker_ms, self.start_ms)
        to_ms = pace.shop_ms(self.start_ms, elapsed_s, now_ms(), worker_ms)
        self.publisher.publish(self.live.until(to_ms))
        self.publisher.tick(to_ms)
        self.told.note(to_ms, now_ms())
        self.hear()
        for day in self.world.truth():
            self._remember(day)

    def hear(self) -> None:
        """Take in what the worker said, and let the shop answer."""
        for heard in self.watcher.listen(self.scene, self.told):
            listen.answer(self.world, heard, self._heard)

    def look(self, elapsed_s: float) -> None:
        """Bring the scene up to date, with rates since the last look."""
        scene = self.scene
        published, since_s = scene.published, max(elapsed_s - scene.elapsed_s, 1e-9)
        self.watcher.look(scene)
        to_ms = self.told.latest_ms
        scene.hours_a_second = (to_ms - scene.shop_ms) / HOUR_MS / since_s if scene.shop_ms else 0.0
        scene.elapsed_s, scene.shop_ms, scene.published = elapsed_s, to_ms, self.publisher.published.total()
        scene.published_s = (scene.published - published) / since_s
        scene.orders_s = (scene.orders - scene.orders_looked) / since_s
        scene.orders_looked = scene.orders
        scene.throughput.append(scene.published_s)

    def _remember(self, day: Day) -> None:
        """What a local day's truth adds to the screen."""
        self._week.append((day.day, int(day.wanted_units.sum()), int(day.lost_units.sum())))
        while self._week[0][0] <= day.day - WEEK_DAYS:
            self._week.popleft()
        self.scene.wanted_units = sum(wanted for _, wanted, _ in self._week)
        self.scene.lost_units = sum(lost for _, _, lost in self._week)
        for row in self.scene.shown:
            at = self.world.row(row.sku, row.location) - day.first_row
            if 0 <= at < len(day.sold_units):
                row.sold.append(int(day.sold_units[at]))


def _shown(world: World) -> list[Shown]:
    """Popular and slow SKUs at one place after the other; none that is not sold yet."""
    rows = [sku + number % len(world.places) * world.config.skus for number, sku in enumerate(SHOWN_SKUS)]
    return [Shown(world.sku_of(row), world.location_of(row)) for row in rows if world.on_hand[row] > 0]


def _play(staged: Stage, scene: Scene, seed: int, seconds: float, console: Console, stop: Callable[[], bool]) -> None:
    play = _Play(staged, scene, seed)
    try:
        with _display(console, how_to_connect(staged.settings)) as show:
            begun = steady_s()
            measured = looked = -LOOK_S
            while (elapsed := steady_s() - begun) < seconds and not stop():
                staged.check()
                if elapsed - measured >= MEASURE_S:
                    play.watcher.measure(scene)
                    measured = elapsed
                play.round(elapsed)
                if elapsed - looked >= LOOK_S:
                    play.look(elapsed)
                    looked = elapsed
                    show(scene)
                time.sleep(ROUND_S)
            if not stop():
                play.publisher.flush()
                _settle(play, begun)
    finally:
        play.watcher.close()
        play.publisher.close()


def _settle(play: _Play, begun_s: float) -> None:
    """Let the worker finish what was told, within a bound."""
    deadline = steady_s() + SETTLE_S
    while steady_s() < deadline:
        play.hear()
        play.watcher.measure(play.scene)
        play.look(steady_s() - begun_s)
        if play.scene.lag_records == 0 and play.scene.orders >= play.publisher.published["orders"]:
            return
        time.sleep(ROUND_S)


def _display(console: Console, connect: list[str]) -> AbstractContextManager[Show]:
    return _live(console, connect) if console.is_terminal else _lines(connect)


@contextmanager
def _live(console: Console, connect: list[str]) -> Iterator[Show]:
    """A screen that is drawn anew at every look."""
    with Screen(console=console, screen=True, auto_refresh=False) as live:
        yield lambda scene: live.update(screen.draw(scene, connect, screen.Size(*console.size)), refresh=True)


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
    kcat = f"kcat -b {settings.safe_brokers} -t {settings.namespace}.stock-alerts -C"
    return [
        kcat,
        *(f"  where kcat fails (librdkafka of Debian 12 or older): LD_PRELOAD={lib} {kcat}" for lib in _librdkafka()),
        f"redis-cli -u {settings.redis_url} --scan --pattern '{settings.namespace}:*:stock:*'",
    ]
