"""Reports in a real browser: Debian's Chromium, without a window, driven by Playwright."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

import lucid
from lucid import nn
from lucid.models import lenet5
from tests.report.test_report import HOSTILE, hostile

NAMES = "chromium", "chromium-browser", "google-chrome", "chrome"
QUIET = [
    "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", *(["--no-sandbox"] if os.geteuid() == 0 else []),
]  # fmt: skip

Open = Callable[..., Page]


def program() -> str:
    """Where Chromium is."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.fail("there is no Chromium: apt-get install chromium", pytrace=False)
    return path


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=program(), args=QUIET)


class Block(nn.Module):
    """A residual block, so that modules have something in them that is not fused into one."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Any) -> Any:
        return nn.functional.softmax(self.two(self.one(x).tanh()), -1) + x


def blocks() -> lucid.CompiledModel:
    lucid.manual_seed(0)
    stages = [nn.Sequential(*(Block() for _ in range(3))) for _ in range(2)]
    return lucid.compile(nn.Sequential(*stages, nn.Linear(8, 2)).eval(), lucid.spec(4, 8), threads=1)


def thousand() -> lucid.CompiledModel:
    layers = [nn.Sequential(nn.Linear(4, 4), nn.Softmax(-1), nn.LayerNorm(4), nn.Softplus()) for _ in range(250)]
    return lucid.compile(nn.Sequential(*layers).eval(), lucid.spec(1, 4), threads=1)


MODELS: dict[str, tuple[Callable[[], lucid.CompiledModel], int]] = {
    "lenet": (lambda: lucid.compile(lenet5().eval(), lucid.spec(2, 1, 28, 28), threads=1), 3),
    "blocks": (blocks, 3),
    "hostile": (lambda: hostile(HOSTILE), 1),
    "thousand": (thousand, 0),
}
"""What is looked at, and how many runs are measured."""


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Writes the report of a model, once."""
    folder = tmp_path_factory.mktemp("reports")

    def written(name: str) -> Path:
        path = folder / f"{name}.html"
        if not path.exists():
            make, repeat = MODELS[name]
            make().report(path, repeat=repeat)
        return path

    return written


@pytest.fixture
def open_report(browser: Browser, report: Callable[[str], Path]) -> Iterator[Open]:
    """Opens reports; at the end, none may have said anything on the console, or asked for anything."""
    said: list[str] = []
    contexts = []

    def opened(name: str, *, dark: bool = False, still: bool = True, size: tuple[int, int] = (1400, 900)) -> Page:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if dark else "light",
            reduced_motion="reduce" if still else "no-preference",
        )  # fmt: skip
        contexts.append(context)
        page = context.new_page()
        address = report(name).as_uri()
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
        page.on("request", lambda asked: said.append(asked.url) if asked.url not in (address, "data:,") else None)
        page.goto(address)
        page.wait_for_function("document.querySelector('.world')?.style.transform")
        time.sleep(0.1)  # the camera goes to its first place
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == []
