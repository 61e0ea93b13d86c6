"""`restock dead-letters`: what was refused, why, and sending it again once the reason is gone.

A dead letter is named by where it lies in `dead-letters`: PARTITION-OFFSET. Sending it again leaves it there.
"""

from __future__ import annotations

import argparse
import base64
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from agents.commands import tail
from agents.commands.output import print_json, show, word
from agents.commands.parsing import add_command, add_json
from agents.settings import Settings
from stream import kafka_address
from stream.errors import Away, SetupError
from stream.events.topics import DEAD_LETTERS, MOST_DEAD_LETTER_BYTES, SOURCES, full_name

SEND_TIMEOUT_S = 30.0
COLUMNS = ("id", "reason", "topic", "partition", "offset", "at", "key")


def add_parser(subparsers: Any) -> None:
    """The parsers of `restock dead-letters list`, `show` and `resubmit`."""
    commands = add_command(
        subparsers,
        "dead-letters",
        "List, show or send again what was refused.",
        "restock dead-letters list --reason bad_quantity",
        log_level=False,
    ).add_subparsers(dest="action", metavar="action", required=True, title="actions")
    _add_list(commands)
    _add_show(commands)
    _add_resubmit(commands)


def _add_list(commands: Any) -> None:
    parser = add_command(commands, "list", "List dead letters, oldest first.", "restock dead-letters list --json")
    _add_filters(parser)
    parser.add_argument("--count", action="store_true", help="only how many there are of each topic and reason")
    add_json(parser)


def _add_show(commands: Any) -> None:
    parser = add_command(commands, "show", "Show one dead letter whole.", "restock dead-letters show 0-17")
    parser.add_argument("id", help="PARTITION-OFFSET, as `list` shows it")
    add_json(parser)


def _add_resubmit(commands: Any) -> None:
    parser = add_command(
        commands,
        "resubmit",
        "Send dead letters to their topics again, key and bytes unchanged.",
        "restock dead-letters resubmit 0-17 --value corrected.json",
        more="""They go to the partition they came from. What was refused for a reason that still holds is refused
        again. A repeat of an event that was accepted meanwhile is recognised by its event_id.""",
    )
    parser.add_argument("ids", nargs="*", metavar="id", help="PARTITION-OFFSET, as `list` shows it")
    parser.add_argument("--all", action="store_true", help="all that --topic and --reason leave")
    _add_filters(parser)
    parser.add_argument("--value", type=Path, metavar="FILE", help="send this file's bytes instead; for one id only")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be sent")
    add_json(parser)


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--topic", choices=tuple(SOURCES), metavar="TOPIC", help="only letters from this topic, such as orders"
    )
    parser.add_argument("--reason", help="only letters whose reason contains this text")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """List, show or send again; returns the exit code."""
    actions = {"list": _list, "show": _show, "resubmit": _resubmit}
    return actions[args.action](args, settings)


def _list(args: argparse.Namespace, settings: Settings) -> int:
    found = _chosen(_letters(settings), args)
    if args.count:
        counts = Counter((letter["topic"], letter["reason"]) for letter in found)
        rows = [{"topic": t, "reason": r, "count": n} for (t, r), n in counts.most_common()]
        show(rows, args.json, ("topic", "reason", "count"))
    elif show((_listed(letter) for letter in found), args.json, COLUMNS) == 0 and not args.json:
        print("no dead letters")
    return 0


def _show(args: argparse.Namespace, settings: Settings) -> int:
    letter = _by_ids(settings, [args.id])[0]
    if args.json:
        print_json(letter)
        return 0
    for name, value in _listed(letter).items():
        print(f"{name:12} {word(value)}")
    raw = base64.b64decode(letter["value"] or "")
    print(f"value\n{raw.decode('utf-8', 'backslashreplace')}")
    return 0


def _resubmit(args: argparse.Namespace, settings: Settings) -> int:
    if (len(args.ids) == 0) != args.all:
        raise SetupError("nothing was sent", "give either ids or --all", "restock dead-letters list shows the ids")
    if args.value is not None and len(args.ids) != 1:
        raise SetupError("nothing was sent", "--value replaces the bytes of one letter", "give exactly one id")
    letters = list(_chosen(_letters(settings), args)) if args.all else _by_ids(settings, args.ids)
    if args.value is None and (cut := [letter["id"] for letter in letters if letter.get("truncated")]):
        raise SetupError(
            "nothing was sent",
            f"{', '.join(cut)}: the record was too large to be kept whole",
            "send these one by one with --value; the whole record lies at its own topic, partition and offset",
        )
    done = [_listed(letter) | {"done": "would be sent"} for letter in letters]
    if not args.dry_run:
        done = _send(settings, letters, _file(args.value))
    if show(done, args.json, ("id", "done", "topic", "partition", "new_offset", "reason")) == 0 and not args.json:
        print("no dead letters")
    return 0


def _file(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise SetupError(
            "nothing was sent", f"{path}: {error.strerror}", "--value names a file with the new bytes"
        ) from error


def _letters(settings: Settings) -> Iterator[dict[str, Any]]:
    """Every dead letter as its JSON object, with `id` in front.

    An intake that died between sending and noting its progress sends a letter again: the first one is shown.
    """
    seen: set[tuple[str, int, int]] = set()
    for message in tail.read_to_end(settings.brokers, full_name(settings.namespace, DEAD_LETTERS.name)):
        letter = json.loads(message.value())
        place = (letter["topic"], letter["partition"], letter["offset"])
        if place not in seen:
            seen.add(place)
            yield {"id": f"{message.partition()}-{message.offset()}", **letter}


def _chosen(letters: Iterable[dict[str, Any]], args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for letter in letters:
        if args.topic is not None and letter["topic"] != args.topic:
            continue
        if args.reason is None or args.reason in letter["reason"]:
            yield letter


def _by_ids(settings: Settings, ids: list[str]) -> list[dict[str, Any]]:
    """The letters of these ids, in the order they were asked for. Raises SetupError for one that is not there."""
    found = {letter["id"]: letter for letter in _letters(settings) if letter["id"] in ids}
    missing = [one for one in ids if one not in found]
    if missing:
        raise SetupError(f"no dead letter {', '.join(missing)}", "", "restock dead-letters list shows their ids")
    return [found[one] for one in ids]


def _listed(letter: dict[str, Any]) -> dict[str, Any]:
    """A letter as `list` prints it: key readable, value left out."""
    key = letter.get("key")
    readable = None if key is None else base64.b64decode(key).decode("utf-8", "backslashreplace")
    return {
        **{k: v for k, v in letter.items() if k not in ("key", "value")},
        "key": readable,
        "at": letter["timestamp"],
    }


def _send(settings: Settings, letters: list[dict[str, Any]], instead: bytes | None) -> list[dict[str, Any]]:
    """Send them and wait for every acknowledgement; what was done with each. Raises Away where one does not come."""
    from confluent_kafka import KafkaException, Producer

    producer = Producer(
        {
            **kafka_address.client(settings.brokers),
            **kafka_address.QUIET,
            "acks": "all",
            "enable.idempotence": False,
            "message.max.bytes": MOST_DEAD_LETTER_BYTES,  # a whole value of 1 MiB is more than the default takes
        }
    )
    done: list[dict[str, Any]] = []

    def acknowledged(row: dict[str, Any]) -> Any:
        def note(error: Any, message: Any) -> None:
            row["done"] = f"failed: {error}" if error is not None else "sent"
            row["new_offset"] = None if error is not None else message.offset()

        return note

    try:
        for letter in letters:
            row = {name: letter[name] for name in ("id", "topic", "partition", "reason")}
            done.append(row | {"done": "failed: not acknowledged", "new_offset": None})
            value = _bytes(letter["value"]) if instead is None else instead
            name, key, note = full_name(settings.namespace, letter["topic"]), _bytes(letter["key"]), done[-1]
            while True:
                try:
                    producer.produce(name, value, key, letter["partition"], on_delivery=acknowledged(note))
                    break
                except BufferError:  # librdkafka holds 100,000: wait for some of them
                    producer.poll(0.1)
        producer.flush(SEND_TIMEOUT_S)
    except KafkaException as error:
        raise Away("could not send dead letters again", str(error), "restock doctor") from error
    if any(row["done"] != "sent" for row in done):
        failed = [f"{row['id']} ({row['done']})" for row in done if row["done"] != "sent"]
        raise Away(
            f"{len(failed)} of {len(done)} dead letters may not have been sent",
            "; ".join(failed[:10]),
            "send them again: repeats are recognised by their event_id",
        )
    return done


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)
