"""Log lines as text or JSON on standard error; other people's loggers tamed."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from stream.errors import RestockError

# they speak at INFO for every rebalance and fetch; aiokafka's DEBUG records alone cost 9 % of a worker
CHATTY = ("aiokafka", "faust", "mode", "kafka", "asyncio", "aiohttp", "redis", "statsmodels", "matplotlib")

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
        if record.exc_info is not None:
            line["error"] = self.formatException(record.exc_info)
            if isinstance(record.exc_info[1], RestockError):
                line |= {"detail": record.exc_info[1].detail, "hint": record.exc_info[1].hint}
        return json.dumps(line, default=str, ensure_ascii=False)


class TextLines(logging.Formatter):
    """`2026-05-04T10:00:00.123Z info stream.ledger: message`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of one record, with its traceback below where there is one."""
        line = f"{_at(record)} {record.levelname.lower():7} {record.name}: {record.getMessage()}"
        return line if record.exc_info is None else f"{line}\n{self.formatException(record.exc_info)}"


def _at(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def setup(level: str, log_format: str) -> None:
    """Log from `level` (debug, info, warning, error) up, as `text` or `json`; chatty libraries from WARNING up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if log_format == "json" else TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
