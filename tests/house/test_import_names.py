"""The top-level names stay ours: see docs/adr/0003-import-names.md."""

from __future__ import annotations

from importlib.metadata import distributions

OURS = {"stream", "agents", "models"}


def test_no_installed_distribution_brings_a_module_of_our_name() -> None:
    """Whichever came first on the path would win in silence."""
    clashes = {
        f"{distribution.name}: {file.parts[0]}"
        for distribution in distributions()
        if distribution.name != "restock"
        for file in distribution.files or []
        if file.parts[0].removesuffix(".py") in OURS and (len(file.parts) > 1 or file.suffix == ".py")
    }
    assert clashes == set()
