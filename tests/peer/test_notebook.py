"""What a real notebook shows: graphs as pictures that fit its cells, plans and profiles as tables."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import nbformat
from nbclient import NotebookClient

from lucid.formats.draw.files import CELL

CELLS = (
    """
import numpy as np
import lucid
from lucid import nn
block = lambda: nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
model = nn.Sequential(nn.Conv2d(1, 4, 3), block(), block(), nn.Flatten(), nn.Linear(400, 3)).eval()
net = lucid.compile(model, lucid.spec("N", 1, 12, 12))
x = np.zeros((2, 1, 12, 12), np.float32)
net(x).shape""",
    "net.traced",
    "net.graph",
    "net.backward_graph",
    "net.plan",
    "net.profile(x, repeat=2)",
)


def test_it_shows_graphs_plans_and_profiles() -> None:
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    NotebookClient(book, timeout=60, kernel_name="python3").execute()
    _, *graphs, plan, profile = [cell["outputs"][-1]["data"] for cell in book["cells"]]
    for shown in graphs:
        assert set(shown) == {"image/svg+xml", "text/plain"}
        picture = ElementTree.fromstring(shown["image/svg+xml"])
        assert float(picture.attrib["width"].removesuffix("pt")) <= CELL
        assert "max-width:100%" in picture.attrib["style"]
    assert "∂" in graphs[2]["image/svg+xml"]
    for shown in (plan, profile):
        assert set(shown) == {"text/html", "text/plain"}
        table = ElementTree.fromstring(shown["text/html"])
        assert [cell.text for cell in table.iter("th")][:3] == ["node", "op", "lowering"]
    assert re.search(r"total [\d.]+ us", profile["text/html"])
