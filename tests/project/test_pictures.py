"""The page on pictures: its pictures are those that its maker draws."""

from __future__ import annotations

import importlib.util
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "pictures.md"


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "examples" / "pictures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def words(path: Path) -> list[str]:
    root = ElementTree.fromstring(path.read_bytes())
    return [(element.text or "").strip() for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_its_pictures_are_there(maker: ModuleType) -> None:
    shown = re.findall(r"!\[[^]]+\]\(img/([^)]+)\)", PAGE.read_text("utf-8"))
    assert sorted(shown) == sorted(maker.PICTURES)
    for name in shown:
        path = ROOT / "docs" / "img" / name
        assert len(words(path)) > 5
        assert path.stat().st_size < 250_000


def test_a_picture_is_what_is_drawn_today(maker: ModuleType, tmp_path: Path) -> None:
    for name in ("lenet.svg", "resnet18_focus.svg"):
        maker.PICTURES[name](tmp_path / name)
        assert words(tmp_path / name) == words(ROOT / "docs" / "img" / name), "run: make pictures"


def test_it_names_the_options() -> None:
    said = set(re.findall(r"^\| `(\w+)=", PAGE.read_text("utf-8"), re.M))
    assert said == {"depth", "focus", "direction", "detail", "columns", "highlight", "links", "notes", "title"}
