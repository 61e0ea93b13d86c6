"""The image is small in what it copies, pinned, not root, and asked whether it lives. No Docker here: it is read."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from agents import cli
from agents.settings import Settings, variable
from agents.web import Web
from tests.deploy import files
from tests.house import tree

DOCKERFILE = files.DEPLOY / "Dockerfile"
LINUX = {
    "python_version": "3.11",
    "python_full_version": "3.11.11",
    "sys_platform": "linux",
    "platform_system": "Linux",
}


def instructions() -> list[tuple[str, str]]:
    """(FROM, ...), (RUN, ...): every instruction, its continued lines joined."""
    lines = [line for line in DOCKERFILE.read_text("utf-8").splitlines() if not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in whole.splitlines()) if word]


def of(word: str) -> list[str]:
    return [rest for said, rest in instructions() if said == word]


def pinned() -> dict[str, Version]:
    """Versions in requirements.txt by canonical name."""
    text = (files.DEPLOY / "requirements.txt").read_text("utf-8")
    found = [line.split("==") for line in text.splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(exact) for name, exact in found}


def project() -> dict[str, object]:
    read: dict[str, object] = tomllib.loads((tree.ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return read


def test_every_stage_starts_from_a_named_version() -> None:
    """The base image is one release of Python, the same in both stages, and one the project supports."""
    (given,) = of("ARG")
    name, _, tag = given.partition("=")
    assert re.fullmatch(r"3\.\d+\.\d+-slim-\w+", tag)
    assert Requirement(f"python{project()['requires-python']}").specifier.contains(tag.split("-")[0])
    assert [source.split(" AS ")[0] for source in of("FROM")] == [f"python:${{{name}}}"] * 2


def test_it_runs_as_a_number_that_is_not_root() -> None:
    """Kubernetes' runAsNonRoot can only judge a number; it comes after the last instruction that needs root."""
    (user,) = of("USER")
    assert [int(part) > 0 for part in user.split(":")] == [True, True]
    last = [word for word, _ in instructions()]
    assert last.index("USER") > max(i for i, word in enumerate(last) if word in ("RUN", "COPY"))


def test_it_is_asked_whether_it_lives_where_the_worker_answers() -> None:
    """The health check asks a path and port the worker serves."""
    (check,) = of("HEALTHCHECK")
    environment = dict(re.findall(r"(\w+)=(\S+)", " ".join(of("ENV"))))
    asked = re.search(r"http://127\.0\.0\.1:(\d+)(/\w+)", check)
    assert asked is not None
    assert asked[1] == environment["RESTOCK_WEB_PORT"]
    assert asked[2] in Web("", 0, str)._routes()


def test_what_it_sets_and_runs_exists() -> None:
    """Every RESTOCK_ variable is a setting; entry point and command are a command line that parses."""
    known = {variable(name) for name in Settings.model_fields}
    assert set(re.findall(r"\bRESTOCK_\w+", " ".join(of("ENV")))) <= known
    (entry,), (command,) = of("ENTRYPOINT"), of("CMD")
    program, *words = [*re.findall(r'"([^"]+)"', entry), *re.findall(r'"([^"]+)"', command)]
    assert program in project()["scripts"]  # type: ignore[operator]
    assert cli.parser().parse_args(words).command == "worker"


def test_what_it_copies_is_there_and_nothing_else_is_sent() -> None:
    """.dockerignore leaves out everything but the sources of COPY: no tests, no history, no virtual environment."""
    copied = {source for rest in of("COPY") if "--from" not in rest for source in rest.split()[:-1]}
    assert {source for source in copied if not (tree.ROOT / source).exists()} == set()
    lines = (tree.ROOT / ".dockerignore").read_text("utf-8").split("\n")
    ruled = [line for line in lines if line and not line.startswith("#")]
    assert ruled[0] == "*"
    assert {line[1:] for line in ruled if line.startswith("!")} == copied
    shipped = {folder.split("*")[0] for folder in ("stream*", "agents*", "models*")}
    assert shipped <= copied


def test_its_libraries_are_pinned_and_complete() -> None:
    """Each pin meets the project's own requirement, and what a pinned library needs itself is pinned too."""
    pins = pinned()
    dependencies: list[str] = project()["dependencies"]  # type: ignore[assignment]
    extras: dict[str, list[str]] = project()["optional-dependencies"]  # type: ignore[assignment]
    asked = [Requirement(text) for text in [*dependencies, *extras["otel"]]]
    looked: set[str] = set()
    while asked:
        requirement = asked.pop()
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{name} is not pinned"
        assert requirement.specifier.contains(pins[name], prereleases=True), f"{requirement}: {pins[name]}"
        if (key := f"{name}{sorted(requirement.extras)}") in looked:
            continue
        looked.add(key)
        asked += _needs(name, requirement.extras, pins[name])
    assert len(looked) > 20


def _needs(name: str, extras: set[str], pin: Version) -> list[Requirement]:
    """What a library needs on Linux, as its installed copy says; nothing known where another version is installed."""
    try:
        if Version(version(name)) != pin:
            return []
        found = [Requirement(text) for text in requires(name) or []]
    except PackageNotFoundError:
        return []
    wanted = [{**LINUX, "extra": extra} for extra in ("", *extras)]
    return [r for r in found if r.marker is None or any(r.marker.evaluate(dict(each)) for each in wanted)]
