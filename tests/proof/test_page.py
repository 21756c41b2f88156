"""docs/proof.md runs as it stands, and what it shows is what comes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "proof.md").read_text("utf-8")


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        exec(compile(block, "proof.md", "exec"), names)
    printed = " ".join(capsys.readouterr().out.split())
    (shown,) = re.findall(r"\n\n((?:    .*\n)+)\n", re.sub(r"```.*?```", "", PAGE, flags=re.S))
    assert " ".join(shown.split()) in printed
    assert "they part at 1" in printed
    assert sorted(path.name for path in Path("wrong").iterdir()) == ["opposite.lucid", "opposite.py"]
