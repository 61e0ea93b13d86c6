"""Log lines as text or JSON on standard error; other people's loggers tamed."""

from __future__ import annotations

import json
import logging
import sys
from asyncio import CancelledError
from datetime import UTC, datetime

from stream.errors import RestockError

# they speak at INFO for every rebalance and fetch; aiokafka's DEBUG records alone cost 9 % of a worker
CHATTY = ("aiokafka", "faust", "mode", "kafka", "asyncio", "aiohttp", "redis", "statsmodels", "matplotlib")
REPEAT_S = 30.0  # aiokafka says ten times a second that a broker is away: 36,000 lines an hour
TEXTS_MOST = 200  # texts remembered; some name an offset and never come again

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """One JSON object a line: at, level, logger, message, then whatever was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of one record."""
        line: dict[str, object] = {
            "at": _at(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:  # false, too, where whoever logs wants no traceback
            line["error"] = self.formatException(record.exc_info)
            if isinstance(record.exc_info[1], RestockError):
                line |= {"detail": record.exc_info[1].detail, "hint": record.exc_info[1].hint}
        return json.dumps(line, default=str, ensure_ascii=False)


class TextLines(logging.Formatter):
    """`2026-05-04T10:00:00.123Z info stream.ledger: message`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of one record, with its traceback below where there is one."""
        line = f"{_at(record)} {record.levelname.lower():7} {record.name}: {record.getMessage()}"
        return line if not record.exc_info else f"{line}\n{self.formatException(record.exc_info)}"


class Repeats(logging.Filter):
    """What a chatty library says again within REPEAT_S is counted; the number is told when it is written again.

    What it says of its own cancelled tasks is not written.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, str], tuple[float, int]] = {}  # by logger and text: when written, how often since

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is to be written."""
        if record.name.partition(".")[0] not in CHATTY:
            return True
        # a worker that ends, or lets go, cancels what they are at: they call that a crash, and trace it
        if record.exc_info and _is_cancelled(record.exc_info[1]):
            return False
        key = (record.name, text := record.getMessage())
        written, since = self._said.pop(key, (-REPEAT_S, 0))
        if record.created - written < REPEAT_S:
            self._said[key] = (written, since + 1)
            return False
        if since:
            record.msg, record.args = f"{text} ({since:,} times more since it was last said)", ()
        self._said[key] = (record.created, 0)
        if len(self._said) > TEXTS_MOST:
            del self._said[next(iter(self._said))]
        return True


def _is_cancelled(error: BaseException | None) -> bool:
    """Whether it is a cancellation, or what went wrong on the way out of one. (A timeout is made of one.)"""
    on_the_way_out = error is not None and error.__cause__ is None and isinstance(error.__context__, CancelledError)
    return isinstance(error, CancelledError) or on_the_way_out


def _at(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def setup(level: str, log_format: str) -> None:
    """Log from `level` (debug, info, warning, error) up, as `text` or `json`; chatty libraries from WARNING up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if log_format == "json" else TextLines())
    handler.addFilter(Repeats())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
