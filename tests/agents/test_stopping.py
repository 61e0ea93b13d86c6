"""Signals as something to look at."""

from __future__ import annotations

import os
import signal

import pytest

from agents.stopping import asked_to_stop, interrupts_noted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_word_and_the_second_an_interrupt(number: signal.Signals) -> None:
    """Whoever looks sees the first; who does not look is interrupted by the second. Then all is as before."""
    before = signal.getsignal(number)
    with asked_to_stop() as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_is_noted_too(number: signal.Signals) -> None:
    """A client's callback may lose it like any other KeyboardInterrupt."""
    with interrupts_noted() as interrupted, asked_to_stop():
        os.kill(os.getpid(), number)
        assert not interrupted()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        assert interrupted()


def test_an_interrupt_is_noted_and_stays_one() -> None:
    """Also where somebody loses it."""
    with interrupts_noted() as interrupted:
        assert not interrupted()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert interrupted()
