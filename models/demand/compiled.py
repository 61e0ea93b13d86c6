"""Loops over rows, compiled once and kept: `kernel` makes machine code of a function of arrays.

The machine code does what the Python source says, number by number: no fast-math, no fused or reordered sums, no
threads. So the interpreted source gives the same bytes, and is what runs where numba is missing or switched off
(`NUMBA_DISABLE_JIT=1`): correct, and hundreds of times slower.

Compiled code is kept in `NUMBA_CACHE_DIR` where that is set, else beside the source, else in the user's cache; where
none of them can be written it is compiled anew in each process. Numba looks only at the file of the function
itself, so the code is kept in a directory named by all the sources, and numbers of other modules, it is made of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

try:
    import numba
except ImportError:
    numba = None

COMPILES = numba is not None and not numba.config.DISABLE_JIT

SOURCES = (
    "exactly.py", "forgetting.py", "places.py", "row_levels.py", "row_sums.py", "row_loops.py", "compiled.py",
)  # fmt: skip

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """The function, compiled at its first call; a division by zero gives infinity or NaN, as in numpy."""
    if numba is None:
        return function
    made = numba.njit(function, error_model="numpy", _nrt=False)
    if hasattr(made, "enable_caching"):  # not where compiling is switched off
        _keep(made)
    return made  # type: ignore[no-any-return]


def piece(function: Function) -> Function:
    """A part of kernels: it is compiled where it is called."""
    if numba is None:
        return function
    return numba.njit(function, error_model="numpy", _nrt=False, inline="always")  # type: ignore[no-any-return]


def _keep(made: Any) -> None:
    for place in _places(made.py_func):
        before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, place
        try:
            made.enable_caching()
        except (RuntimeError, OSError):  # cannot be written
            continue
        else:
            return
        finally:
            numba.config.CACHE_DIR = before


def _places(function: Callable[..., Any]) -> list[str]:
    given, digest = numba.config.CACHE_DIR, _digest(function)
    bases = [Path(given)] if given else [_HERE / "__pycache__", _home() / "restock"]
    return [str(base / f"kernels-{digest}") for base in bases]


def _home() -> Path:
    try:
        return Path.home() / ".cache"
    except RuntimeError:  # a number without a name, as containers have
        return _HERE / "__pycache__"


def _digest(function: Callable[..., Any]) -> str:
    """Of every source and number whose code may end up in a kernel."""
    files, names = {str(_HERE / name) for name in SOURCES}, set[str]()
    _parts(function, files, names)
    for file in files - _KNOWN.keys():
        _KNOWN[file] = hashlib.sha256(Path(file).read_bytes()).digest()
    whole = b"".join(_KNOWN[file] for file in sorted(files)) + repr(sorted(names)).encode()
    return hashlib.sha256(whole).hexdigest()[:16]


def _parts(function: Callable[..., Any], files: set[str], names: set[str]) -> None:
    """The files of the kernels and pieces a function calls by name, their modules, and the numbers they name."""
    code = function.__code__
    files.add(code.co_filename)
    names.add(function.__module__)  # what is kept is loaded as part of it
    for name in code.co_names:
        value = function.__globals__.get(name)
        part = getattr(value, "py_func", None)
        if part is not None and part is not function:
            _parts(part, files, names)
        elif isinstance(value, (int, float)):
            names.add(f"{name} {value!r}")


_HERE = Path(__file__).parent
_KNOWN: dict[str, bytes] = {}  # digests of files
