"""The code of an older release, taken out of git into a folder: its worker runs beside ours."""

from __future__ import annotations

import re
import subprocess
import tarfile
from pathlib import Path

from tests.house import tree

RELEASE = "0.1.0"


class NotThere(Exception):
    """The release cannot be had from this clone; the message says why."""


def last_commit(release: str = RELEASE) -> str:
    """The last commit whose pyproject.toml says this release. Raises NotThere."""
    if _git("rev-parse", "--is-shallow-repository") != "false":
        raise NotThere("no history: this is a shallow clone, or not a clone at all")
    touching = _git("log", "--format=%H", "--", "pyproject.toml").split()
    said = [
        re.search(r'^version = "(.+)"', _git("show", f"{commit}:pyproject.toml"), re.MULTILINE) for commit in touching
    ]
    for i, found in enumerate(said):
        if found is not None and found[1] == release:
            return _git("rev-parse", "HEAD" if i == 0 else f"{touching[i - 1]}^")
    raise NotThere(f"no commit of the history has release {release}")


def unpack(commit: str, folder: Path) -> Path:
    """The tree of a commit, in a folder of its own: nothing of the clone is touched."""
    folder.mkdir()
    archive = folder.with_suffix(".tar")
    with archive.open("wb") as out:
        subprocess.run(["git", "archive", commit, "agents", "models", "stream"], cwd=tree.ROOT, stdout=out, check=True)
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder


def _git(*words: str) -> str:
    ran = subprocess.run(["git", *words], cwd=tree.ROOT, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise NotThere(f"git {words[0]}: {ran.stderr.strip()}")
    return ran.stdout.strip()
