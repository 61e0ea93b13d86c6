"""Documents that are generated are fresh; documents that are written are complete and lead somewhere."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from agents import cli, metrics, pages
from agents.settings import Settings, variable
from tests.house import tree

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
NAMED = re.compile(r"`((?:tests|agents|stream|models)/[A-Za-z0-9_/]+\.(?:py|md|lua))`")
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)


@pytest.mark.parametrize("page", pages.ALL)
def test_a_generated_page_is_what_the_code_says(page: str) -> None:
    """`make docs` would change nothing."""
    assert pages.stale({page: pages.ALL[page]}) == []


def anchors(document: Path) -> set[str]:
    """The anchors GitHub gives to a document's headings."""
    titles = HEADING.findall(tree.text(document))
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", list(tree.files(".md")), ids=tree.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    """Links between documents name files and headings that exist."""
    dead = []
    for target in LINK.findall(tree.text(document)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        aim = (document.parent / file).resolve() if file else document
        if not aim.exists() or (anchor and anchor not in anchors(aim)):
            dead.append(target)
    assert dead == []


@pytest.mark.parametrize("document", list(tree.files(".md")), ids=tree.name)
def test_every_file_of_ours_that_is_named_is_there(document: Path) -> None:
    """A path in backticks that begins with a room of the repository exists."""
    assert [path for path in NAMED.findall(tree.text(document)) if not (tree.ROOT / path).exists()] == []


def sources() -> dict[str, str]:
    """Python files that are shipped, by name."""
    return {
        tree.name(p): tree.text(p) for package in ("agents", "stream") for p in tree.files(".py", tree.ROOT / package)
    }


def test_every_setting_is_read_by_something() -> None:
    """A setting nobody reads is a promise nobody keeps."""
    read = {
        node.attr
        for name, text in sources().items()
        if name != "agents/settings.py"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute)
    }
    unread = [name for name in Settings.model_fields if not {name, f"{name}_ms", f"safe_{name}"} & read]
    assert unread == []


def test_every_metric_is_counted_by_something() -> None:
    """A metric nobody moves reads as "nothing happened"."""
    shipped = "\n".join(text for name, text in sources().items() if name != "agents/metrics.py")
    names = [n for n, value in vars(metrics).items() if hasattr(value, "describe") and n.isupper() and n != "REGISTRY"]
    assert len(names) == len(metrics.DECLARED)
    assert [name for name in names if not re.search(rf"\bmetrics\.{name}\b", shipped)] == []


def test_every_setting_has_a_meaning_and_numbers_have_bounds() -> None:
    """The reference says what each setting is, in which unit and within which bounds."""
    for name, field in Settings.model_fields.items():
        assert field.description, name
        if field.annotation in (int, float):
            assert {type(rule).__name__ for rule in field.metadata} & {"Ge", "Gt"}, f"{name} has no lower bound"
            assert {type(rule).__name__ for rule in field.metadata} & {"Le", "Lt"}, f"{name} has no upper bound"


def test_variables_named_in_documents_exist() -> None:
    """No document tells to set what nothing reads."""
    known = {variable(name) for name in Settings.model_fields}
    elsewhere = re.compile("RESTOCK_(CONFIG|CACHE|DATA|SOAK_[A-Z_]*|TEST_[A-Z_]*)$")
    named = {
        (tree.name(path), word)
        for path in tree.files(".md")
        for word in re.findall(r"RESTOCK_[A-Z_]*[A-Z]", tree.text(path))
    }
    assert {(path, word) for path, word in named if word not in known and not elsewhere.match(word)} == set()


def test_runbook_places_named_in_errors_exist() -> None:
    """An error that sends somebody to the runbook at night names a heading that is there."""
    headings = {title.lower() for title in HEADING.findall(tree.text(tree.ROOT / "docs" / "runbook.md"))}
    named = {place.lower() for text in sources().values() for place in re.findall(r'runbook, "([^"]+)"', text)}
    assert named
    assert named - headings == set()


def test_commands_and_make_words_in_documents_exist() -> None:
    """Every `restock ...` and `make ...` in a code block of the written documents can be run."""
    makefile = tree.text(tree.ROOT / "Makefile")
    words = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for document in tree.files(".md"):
        for block in re.findall(r"```(?:sh|console|text)?\n(.*?)```", tree.text(document), re.DOTALL):
            for line in block.splitlines():
                command = re.sub(r"^\$ ?|#.*$", "", line.strip())
                if found := re.match(r"(?:\w+=\S+ )*(?:\.venv/bin/)?restock ([a-z-]+)", command):
                    assert found[1] in cli.COMMANDS, f"{tree.name(document)}: {line}"
                if found := re.match(r"(?:\w+=\S+ )*make ([a-z-]+)", command):
                    assert found[1] in words, f"{tree.name(document)}: {line}"


def test_decisions_are_numbered_without_gaps_and_have_their_three_parts() -> None:
    """An ADR says context, decision, and what gets worse."""
    decisions = sorted((tree.ROOT / "docs" / "adr").glob("*.md"))
    assert [int(path.name[:4]) for path in decisions] == list(range(1, len(decisions) + 1))
    for path in decisions:
        headings = " / ".join(HEADING.findall(tree.text(path))).lower()
        assert [part for part in ("context", "decision", "worse") if part not in headings] == [], path.name
