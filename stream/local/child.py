"""Child processes that cannot outlive us, however we die.

A watchdog shell reads a pipe whose other end only we hold. When we end, even by `kill -9`, the pipe closes and the
watchdog kills the child's whole process group. (Linux's PR_SET_PDEATHSIG follows the *thread* that forked, which an
executor may end long before the process, and other systems lack it.)
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

STOP_S = 10.0  # a broker flushes and leaves in about 2 s; after this it is killed


class Child:
    """A running child process in its own session, so that Ctrl-C reaches only us and we stop it in order."""

    def __init__(self, args: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self.args, self.log = list(args), log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                self.args, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, start_new_session=True
            )
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", 'read -r _; kill -KILL "-$0"', str(self.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """The child's process id, also its process group's."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether the child still runs."""
        return self._process.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal to the child's process group; nothing happens where it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def stop(self, wait_s: float = STOP_S) -> int:
        """End the child: SIGTERM, and SIGKILL after `wait_s`. Returns its exit code."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)  # a stopped process would not see the SIGTERM
        try:
            self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
        return self._reap()

    def kill(self) -> int:
        """SIGKILL, at once. Returns the exit code."""
        self.signal(signal.SIGKILL)
        return self._reap()

    def tail(self, chars: int = 2_000) -> str:
        """The end of what the child has printed."""
        return self.log.read_text(errors="replace")[-chars:] if self.log.exists() else ""

    def _reap(self) -> int:
        code = self._process.wait()
        self._watchdog.kill()
        self._watchdog.wait()
        if self._watchdog.stdin is not None:
            self._watchdog.stdin.close()
        return code


def free_port() -> int:
    """A TCP port on loopback that nobody listens on just now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port
