"""Draws the picture of docs/report.md: python -m tests.browser.picture"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from playwright.sync_api import sync_playwright

import lucid
from lucid.models import resnet18

from .conftest import QUIET, program

PICTURE = Path(__file__).parents[2] / "docs" / "img" / "report.png"
SIZE = {"width": 1280, "height": 800}
COLOURS = 128


def main() -> None:
    net = lucid.compile(resnet18().eval(), lucid.spec(1, 3, 224, 224))
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=program(), args=QUIET).new_page(viewport=SIZE)
        net.report(Path(folder) / "net.html")
        page.goto((Path(folder) / "net.html").as_uri())
        page.locator("#colour").select_option("heat")
        page.locator("#search").fill("layer2.0.conv2")
        page.keyboard.press("Enter")
        page.wait_for_timeout(800)
        page.screenshot(path=PICTURE)
    with Image.open(PICTURE) as picture:
        picture.convert("RGB").quantize(COLOURS).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
