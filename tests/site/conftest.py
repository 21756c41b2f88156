"""The site as ``make docs`` has built it, page by page."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SITE = ROOT / "site" / "html"


class Page(HTMLParser):
    """Where it leads to, and the places in it that others may lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.places.add(value or "")
            elif name in ("href", "src") and tag != "use":
                self.links.add(value or "")


@pytest.fixture(scope="session")
def pages() -> dict[Path, Page]:
    found = {path: Page(path.read_text("utf-8")) for path in SITE.rglob("*.html")}
    assert found, "there is no site: make docs"
    return found
