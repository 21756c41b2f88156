"""The program that the page on training shows for several processes runs."""

from __future__ import annotations

from pathlib import Path

from ..pages import BLOCK, ROOT
from .ranks import printed


def test_the_program_of_the_page_on_training(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "training.md").read_text("utf-8")
    (program,) = (code for _, code in BLOCK.findall(text) if "distributed.group()" in code)
    (tmp_path / "train.py").write_text(program, "utf-8")
    assert 0 < float(printed(2, str(tmp_path / "train.py"))) < 3
