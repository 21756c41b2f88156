"""What tests of extensions need: registers that are as before after each, and distributions as if installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from lucid.graph import opdef
from lucid.passes import registered

Install = Callable[..., None]


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    monkeypatch.setattr(opdef, "_TABLE", dict(opdef._TABLE))
    monkeypatch.setattr(opdef, "_ADDED", set(opdef._ADDED))
    monkeypatch.setattr(registered, "_REGISTERED", dict(registered._REGISTERED))


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """``install(distribution, entry points by group, name of the module, its code)``."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def enter(name: str, entries: Mapping[str, Mapping[str, str]], module: str = "", code: str = "") -> None:
        info = tmp_path / f"{name.replace('-', '_')}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
        lines = [
            line for group, found in entries.items()
            for line in (f"[{group}]", *(f"{key} = {value}" for key, value in found.items()))
        ]  # fmt: skip
        (info / "entry_points.txt").write_text("\n".join(lines))
        if module:
            (tmp_path / f"{module}.py").write_text(code)

    return enter
