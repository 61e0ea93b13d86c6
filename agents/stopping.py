"""Ctrl-C and SIGTERM, beside clients whose callbacks lose a KeyboardInterrupt: their call fails as `SystemError`."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], object]


def end_like_ctrl_c() -> None:
    """From here on SIGTERM is what SIGINT is: what was begun is told whole, what was started is stopped."""
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))


@contextmanager
def interrupts_noted() -> Iterator[Callable[[], bool]]:
    """Gives whether there was a SIGINT, which stays a KeyboardInterrupt. Off the main thread none is noted."""
    noted = False

    def note(_number: int, _frame: FrameType | None) -> None:
        nonlocal noted
        noted = True
        raise KeyboardInterrupt

    main = threading.current_thread() is threading.main_thread()
    with _handling(note, (signal.SIGINT,) if main else ()):
        yield lambda: noted


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Gives whether a SIGINT or SIGTERM came, for a loop that ends its round first; a second is a KeyboardInterrupt.

    For the main thread. Within `interrupts_noted` the second is noted too.
    """
    asked, interrupt = False, signal.getsignal(signal.SIGINT)

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            if callable(interrupt):
                interrupt(number, frame)
            raise KeyboardInterrupt
        asked = True

    with _handling(ask, (signal.SIGINT, signal.SIGTERM)):
        yield lambda: asked


@contextmanager
def _handling(handler: Handler, numbers: tuple[int, ...]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
