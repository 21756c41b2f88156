"""What ``make docs`` has built is whole: each public name, each link, each lesson of the course."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from pydoc import locate
from types import ModuleType
from urllib.parse import unquote, urlsplit

import pytest
from sphinx.util.inventory import InventoryFile

import lucid

from .conftest import ROOT, SITE, Page

#: Modules that are public beside those that ``lucid`` names.
MODULES = (
    "lucid", "lucid.nn.functional", "lucid.nn.init", "lucid.nn.utils", "lucid.optim.lr_scheduler",
    "lucid.optim.swa_utils", "lucid.inspect", "lucid.onnx.backend",
)  # fmt: skip

#: Where pages may lead to: such links cannot be followed where the tests run.
HOSTS = {"keepachangelog.com", "semver.org", "github.com", "networkx.org", "www.sphinx-doc.org", "pradyunsg.me"}


def modules() -> Iterator[ModuleType]:
    yield from map(importlib.import_module, MODULES)
    yield from (value for value in map(lucid.__getattribute__, lucid.__all__) if isinstance(value, ModuleType))


def public(module: ModuleType) -> dict[str, object]:
    """What it lists, or else what it or one below it defines; modules count for themselves."""

    def own(value: object) -> bool:
        return hasattr(module, "__all__") or getattr(value, "__module__", "").startswith(module.__name__)

    names = getattr(module, "__all__", None) or [name for name in dir(module) if not name.startswith("_")]
    found = {f"{module.__name__}.{name}": getattr(module, name) for name in names}
    return {name: value for name, value in found.items() if not isinstance(value, ModuleType) and own(value)}


def test_no_public_name_is_missing() -> None:
    """A thing may be described by another of its names."""
    inventory = InventoryFile.loads((SITE / "objects.inv").read_bytes(), uri="").data
    described = {name for kind, items in inventory.items() if kind.startswith("py:") for name in items}
    things = {id(locate(name)) for name in described}
    wanted = {name: value for module in modules() for name, value in public(module).items()}
    assert len(wanted) > 500
    missing = [name for name, x in wanted.items() if name not in described and not (callable(x) and id(x) in things)]
    assert not missing, f"docs/reference describes none of {', '.join(missing)}"


def test_links_lead_somewhere(pages: dict[Path, Page]) -> None:
    wrong = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme == "data" or not link:
                continue
            if parts.netloc:
                if parts.scheme != "https" or parts.netloc not in HOSTS:
                    wrong.append(f"{path.relative_to(SITE)}: {link}")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            place = unquote(parts.fragment)
            if not target.is_file() or (place and target in pages and place not in pages[target].places):
                wrong.append(f"{path.relative_to(SITE)}: {link}")
    assert not wrong, "\n".join(wrong)


def test_every_page_is_found_by_search() -> None:
    index = (SITE / "searchindex.js").read_text("utf-8")
    found = set(json.loads(re.search(r'"docnames":(\[.*?\])', index)[1]))  # type: ignore[index]
    assert {str(path.relative_to(ROOT).with_suffix("")) for path in (ROOT / "docs").rglob("*.md")} <= found


@pytest.mark.parametrize("lesson", sorted((ROOT / "docs" / "course").glob("*.md")), ids=lambda path: path.stem)
def test_a_lesson_is_a_notebook_that_ran(lesson: Path) -> None:
    notebook = json.loads((SITE / "docs" / "course" / f"{lesson.stem}.ipynb").read_text("utf-8"))
    assert notebook["nbformat"] == 4
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) == lesson.read_text("utf-8").count("```python\n") > 5
    assert all(cell["execution_count"] for cell in cells)
    outputs = [output for cell in cells for output in cell["outputs"]]
    said = [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    words = "".join("".join(output.get("text", "error")) for output in said)
    assert not re.sub(r"Fontconfig warning: .*", "", words).strip()  # of this system's fonts, and not of the lesson
    assert any("image/svg+xml" in output.get("data", {}) for output in outputs), "a lesson has pictures"
