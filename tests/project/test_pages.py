"""The code of every page runs, and shows what the page says; the site lists every page."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from ..pages import ROOT, pages, run


def read(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def readme(printed: str, folder: Path) -> None:
    assert "ConvPool2d" in printed
    assert "def run(" in printed
    assert "MaxPool2dGrad" in (folder / "back.svg").read_text("utf-8")
    assert (folder / "net.lucid").stat().st_size > 0


def proof(printed: str, folder: Path) -> None:
    text = re.sub(r"```.*?```", "", read("docs/proof.md"), flags=re.S)
    (shown,) = re.findall(r"\n\n((?:    .*\n)+)\n", text)
    words = " ".join(printed.split())
    assert " ".join(shown.split()) in words
    assert "they part at 1" in words
    assert sorted(path.name for path in (folder / "wrong").iterdir()) == ["opposite.lucid", "opposite.py"]


def commands(printed: str, folder: Path) -> None:
    assert (folder / "lenet.svg").stat().st_size > 0


def tutorial(printed: str, folder: Path) -> None:
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+)", printed)]
    assert losses[-1] < losses[0] / 2, "the loss falls"


AFTER: dict[str, Callable[[str, Path], None]] = {
    "README.md": readme, "docs/proof.md": proof, "docs/cli.md": commands, "docs/tutorial.md": tutorial,
}  # fmt: skip
"""What there is to see when a page has run."""

HAS_CODE = re.compile(r"```(?!{)|>>>")
APART = ("CONTRIBUTING.md", "docs/extending.md")  # test_contributing.py does what it says; tests/extend/test_page.py
ELSEWHERE = {"README.md": "rapidocr"}  # in tests/real/test_tour.py, as it takes a model from elsewhere


def given(page: str, folder: Path) -> dict[str, Any]:
    """What a page takes to be there."""
    if page != "docs/onnx.md":
        return {}
    text = '<ir_version: 10, opset_import: ["": 21]> net (float[n, 3] x) => (float[n, 3] y) { y = Relu(x) }'
    onnx.save(onnx.parser.parse_model(text), folder / "model.onnx")
    return {"x": np.ones((2, 3), np.float32)}


@pytest.mark.parametrize("page", [page for page in pages() if page not in APART and HAS_CODE.search(read(page))])
def test_the_code_of_a_page_runs(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run(page, given(page, tmp_path), ELSEWHERE.get(page))
    if page in AFTER:
        AFTER[page](capsys.readouterr().out, tmp_path)


def test_the_site_lists_every_page() -> None:
    contents = tomllib.loads(read("docs/contents.toml"))
    entries = [entry for part in contents.values() for entries in part.values() for entry in entries]
    patterns = [re.sub(r"^.*</(.*)>$", r"\1", entry) + ".md" for entry in entries]
    unlisted = [page for page in pages() if not any(Path(page).match(pattern) for pattern in patterns)]
    assert unlisted == ["docs/index.md"], "name them in docs/contents.toml"
