"""The shop's events as files, one a topic: a line is the key, a tab, and the event, as `kcat -P -K '\\t'` takes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import orjson

from agents.shop.said import Said
from stream.errors import SetupError
from stream.events.kinds import Source


class Files:
    """Writes events into a folder."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._files: dict[str, BinaryIO] = {
                source.topic: (folder / f"{source.topic}.tsv").open("wb") for source in Source
            }
        except OSError as error:
            raise SetupError(f"cannot write into {folder}", str(error), "name another folder with --out") from error
        self.published: Counter[str] = Counter()  # by topic

    def publish(self, said: Iterable[Said]) -> None:
        """Write these, in order."""
        for one in said:
            self._files[one.topic].write(one.key.encode() + b"\t" + orjson.dumps(one.event) + b"\n")
            self.published[one.topic] += 1

    def tick(self, now_ms: int) -> None:
        """Files have no clock."""

    def flush(self) -> None:
        """Everything on its way to the disk."""
        for file in self._files.values():
            file.flush()

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
