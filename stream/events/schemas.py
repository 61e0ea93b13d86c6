"""JSON Schemas and the AsyncAPI document, made from the models and the table of topics.

python -m stream.events.schemas             # write docs/schemas/*.json and docs/asyncapi.json
python -m stream.events.schemas --check     # exit 1 and name them, where one is stale
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, Field, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from stream.events import topics
from stream.events.public import INCOMING, OUTGOING, Tick, type_name

CONTRACT_VERSION: Final = "1.1.0"  # of the contract, not of the program: fields may be added, none taken away
DOCS: Final = Path(__file__).resolve().parents[2] / "docs"

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_TEXT: Final = {"type": "string"}
_ENVELOPE: Final = {
    "ce_specversion": {"const": "1.0"},
    "ce_id": {"type": "string", "description": "the same decision always has the same id"},
    "ce_source": _TEXT,
    "ce_type": _TEXT,
    "ce_time": {"type": "string", "format": "date-time", "description": "event time"},
    "ce_subject": _TEXT,
    "content-type": {"const": "application/json"},
}


class _Untitled(GenerateJsonSchema):
    """Without a title for every field: it would only repeat the name."""

    def field_title_should_be_set(self, _schema: Any) -> bool:
        return False


def documents() -> dict[str, str]:
    """Every generated document, by its path under docs/."""
    found = {f"schemas/{topic}.json": topic_schema(topic) for topic in (*INCOMING, *OUTGOING)}
    found["asyncapi.json"] = asyncapi()
    return {path: json.dumps(document, indent=2, ensure_ascii=False) + "\n" for path, document in found.items()}


def topic_schema(topic: str) -> dict[str, Any]:
    """The JSON Schema of a record's value in a topic."""
    schema = TypeAdapter(_value_of(topic)).json_schema(schema_generator=_Untitled)
    head = {"$schema": _DIALECT, "title": topic, "description": topics.BY_NAME[topic].purpose}
    return {**head, **{name: part for name, part in schema.items() if name not in head}}


def _value_of(topic: str) -> Any:
    if topic in OUTGOING:
        return OUTGOING[topic][0]
    return Annotated[reduce(or_, (*INCOMING[topic].values(), Tick)), Field(discriminator="type")]


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3.0 document of all public topics."""
    models: list[type[BaseModel]] = [model for of_topic in INCOMING.values() for model in of_topic.values()]
    models += [Tick, *(model for model, _ in OUTGOING.values())]
    _, schemas = models_json_schema(
        [(model, "validation") for model in models],
        ref_template="#/components/schemas/{model}",
        schema_generator=_Untitled,
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Restock",
            "version": CONTRACT_VERSION,
            "description": "Orders, carts, stock and supply in; replenishments, alerts, transfers and positions out. "
            "What is not said here is in docs/contract.md.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {topic: _channel(topic) for topic in (*INCOMING, *OUTGOING)},
        "operations": {
            **{f"read-{topic}": _operation("receive", topic) for topic in INCOMING},
            **{f"write-{topic}": _operation("send", topic) for topic in OUTGOING},
        },
        "components": {"messages": _messages(), "schemas": schemas["$defs"]},
    }


def _channel(topic: str) -> dict[str, Any]:
    about = topics.BY_NAME[topic]
    settings = about.settings()
    configuration: dict[str, Any] = {"cleanup.policy": [about.cleanup]}
    if "retention.ms" in settings:
        configuration["retention.ms"] = about.retention_ms
    if "max.message.bytes" in settings:
        configuration["max.message.bytes"] = int(settings["max.message.bytes"])
    return {
        "address": f"{{namespace}}.{topic}",
        "description": f"{about.purpose}; key: {about.key}",
        "parameters": {"namespace": {"description": "the installation's namespace"}},
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _message_names(topic)},
        "bindings": {
            "kafka": {
                "partitions": topics.DEFAULT_PARTITIONS[about.role],
                "topicConfiguration": configuration,
                "bindingVersion": "0.5.0",
            }
        },
    }


def _message_names(topic: str) -> list[str]:
    return [*INCOMING[topic], type_name(Tick)] if topic in INCOMING else list(OUTGOING[topic][1])


def _operation(action: str, topic: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{topic}"},
        "messages": [{"$ref": f"#/channels/{topic}/messages/{name}"} for name in _message_names(topic)],
    }


def _messages() -> dict[str, Any]:
    incoming: dict[str, type[BaseModel]] = {type_name(Tick): Tick}
    for of_topic in INCOMING.values():
        incoming.update(of_topic)
    found: dict[str, Any] = {
        name: {"name": name, "summary": _summary(model), "payload": _ref(model)} for name, model in incoming.items()
    }
    for model_out, names in OUTGOING.values():
        for name in names:
            headers = {
                "type": "object",
                "properties": {**_ENVELOPE, "ce_type": {"const": name}},
                "required": [*_ENVELOPE],
            }
            found[name] = {
                "name": name,
                "summary": _summary(model_out),
                "headers": headers,
                "payload": _ref(model_out),
            }
    return found


def _summary(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").split("\n")[0]


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def stale(docs: Path | None = None) -> list[str]:
    """Documents that are not what the models say, or that no model has any more."""
    docs = docs or DOCS
    expected = documents()
    wrong = [p for p, text in expected.items() if not (docs / p).is_file() or (docs / p).read_text("utf-8") != text]
    kept = {f"schemas/{path.name}" for path in (docs / "schemas").glob("*")}
    return sorted({*wrong, *(kept - expected.keys())})


def main(arguments: list[str] | None = None) -> int:
    """Write or check; the exit code."""
    parser = argparse.ArgumentParser(description="Write or check the schemas in docs/.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a document is stale")
    if parser.parse_args(arguments).check:
        for path in stale():
            print(f"docs/{path} is stale: run python -m stream.events.schemas", file=sys.stderr)
        return 1 if stale() else 0
    for path, text in documents().items():
        (DOCS / path).parent.mkdir(parents=True, exist_ok=True)
        (DOCS / path).write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
