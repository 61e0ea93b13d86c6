"""What lies where, and what must not lie anywhere."""

from __future__ import annotations

import re
import stat
import tomllib

import pytest

from tests.house import tree

TOP = {
    ".ci", ".dockerignore", ".gitignore", "CHANGELOG.md", "LICENSE", "Makefile", "README.md", "agents", "deploy",
    "docker-compose.yml", "docs", "models", "pyproject.toml", "stream", "tests",
}  # fmt: skip

# paths of somebody's machine, and hosts of package registries: whoever builds this has their own
FORBIDDEN = re.compile(
    "|".join(
        (
            r"(?<![\w.])/(work|root|home/\w+|Users/\w+)/",
            r"/tmp/\w",
            "py" + r"pi\.org",
            "python" + r"hosted\.org",
            "np" + r"mjs\.org",
            r"repo1?\.maven\.(apache\.)?org",
            "crates" + r"\.io",
            r"proxy\.golang\.org",
        )
    )
)
MAY = {"tests/house/test_layout.py"}


def test_the_top_level_is_known() -> None:
    """A newcomer sees fifteen names at most, each with its purpose in the README or the architecture."""
    there = {path.name for path in tree.ROOT.iterdir() if path.name not in tree.MADE}
    there = {name for name in there if not name.endswith((".egg-info", ".log"))}
    assert there - TOP == set()
    assert TOP - there == set()


def test_no_machine_path_and_no_registry_host_is_written_anywhere() -> None:
    """What is built here builds elsewhere: the repository names no machine and no package registry."""
    found = [
        f"{tree.name(path)}:{number}: {match[0]}"
        for path in tree.files()
        if tree.name(path) not in MAY
        for number, line in enumerate(tree.text(path).splitlines(), 1)
        if (match := FORBIDDEN.search(line))
    ]
    assert found == []


@pytest.mark.parametrize("line", ["see /work/x", "open /root/a", "cd /home/ann/restock", "cp a /tmp/b"])
def test_a_machine_path_is_seen(line: str) -> None:
    """The pattern finds what it is for."""
    assert FORBIDDEN.search(line)


def test_the_changelog_tells_of_this_version() -> None:
    """The first version in the changelog is the one that is built, or older while there is an Unreleased."""
    version = tomllib.loads((tree.ROOT / "pyproject.toml").read_text())["project"]["version"]
    told = (tree.ROOT / "CHANGELOG.md").read_text()
    first = re.search(r"^## \[?(\d+\.\d+\.\d+)", told, re.MULTILINE)
    assert first is not None
    newest, built = ([int(part) for part in text.split(".")] for text in (first[1], version))
    assert newest < built if "\n## Unreleased\n" in told else newest == built


def test_the_licence_is_apache_2_in_full() -> None:
    """pyproject says Apache-2.0; LICENSE holds all of it."""
    licence = (tree.ROOT / "LICENSE").read_text()
    assert "Apache License" in licence
    assert "Version 2.0, January 2004" in licence
    assert "END OF TERMS AND CONDITIONS" in licence


def test_ci_runs_the_words_people_run() -> None:
    """.ci/run is executable and runs make check and make test."""
    script = tree.ROOT / ".ci" / "run"
    assert script.stat().st_mode & stat.S_IXUSR
    assert "make check" in script.read_text()
    assert re.search(r"make .*\btest\b", script.read_text())
