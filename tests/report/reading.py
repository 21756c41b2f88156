"""Reads what a report holds, as a browser does."""

from __future__ import annotations

import base64
import hashlib
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any


class Reading(HTMLParser):
    """The elements of a page: tags with their attributes, and the text of scripts, styles, headings."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._within = ""
        self.feed(path.read_text("utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._within = tag
        if tag in ("script", "style", "title", "h1"):
            self.texts.append((tag, ""))

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def handle_data(self, data: str) -> None:
        if self.texts and self.texts[-1][0] == self._within:
            self.texts[-1] = (self._within, self.texts[-1][1] + data)

    def text(self, tag: str) -> list[str]:
        """The texts of all elements of a kind."""
        return [text for kind, text in self.texts if kind == tag]

    @property
    def data(self) -> Any:
        """What the page shows."""
        return json.loads(self.text("script")[0])

    @property
    def policy(self) -> dict[str, list[str]]:
        """What the page allows itself."""
        text = next(a["content"] for _, a in self.tags if a.get("http-equiv") == "Content-Security-Policy")
        assert text is not None
        return {name: rest for name, *rest in (part.split() for part in text.split(";"))}


def digest(text: str) -> str:
    """As a policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
