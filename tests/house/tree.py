"""The repository as files, for tests about the house itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# made by tools, not by us; .gitignore has the same
MADE = {".git", ".venv", "__pycache__", "build", "dist", ".cache", ".hypothesis"}
MADE |= {".mypy_cache", ".ruff_cache", ".pytest_cache", "node_modules"}


def files(suffix: str = "", under: Path = ROOT) -> Iterator[Path]:
    """Every file of ours whose name ends so, in order."""
    for path in sorted(under.iterdir()):
        if path.name in MADE or path.name.endswith(".egg-info"):
            continue
        if path.is_dir():
            yield from files(suffix, path)
        elif path.name.endswith(suffix):
            yield path


def name(path: Path) -> str:
    """A file's path as people write it: from the root, with slashes."""
    return path.relative_to(ROOT).as_posix()


def text(path: Path) -> str:
    """A file's text; empty for one that is not text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def imports(path: Path) -> set[str]:
    """Modules a Python file imports, anywhere in it, as absolute dotted names down to the imported name."""
    package = name(path).removesuffix("/__init__.py").removesuffix(".py").split("/")
    if path.name != "__init__.py":
        package = package[:-1]
    found: set[str] = set()
    for node in ast.walk(ast.parse(text(path))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found
