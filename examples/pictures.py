"""Draw the pictures of docs/pictures.md.

make pictures        # or: python examples/pictures.py [FOLDER]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import lucid
from lucid import nn
from lucid.inspect import draw_passes
from lucid.models import lenet5, resnet18, resnet50

IMAGES = Path(__file__).parents[1] / "docs" / "img"


def lenet() -> lucid.CompiledModel:
    return lucid.compile(lenet5().eval(), lucid.spec("N", 1, 28, 28))


def resnet(make: Callable[[], nn.Module]) -> lucid.CompiledModel:
    return lucid.compile(make().eval(), lucid.spec("N", 3, 224, 224))


def encoder() -> lucid.CompiledModel:
    layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
    return lucid.compile(nn.TransformerEncoder(layer, 4).eval(), lucid.spec("N", "T", 64))


PICTURES: dict[str, Callable[[Path], None]] = {
    "lenet.svg": lambda path: lenet().traced.draw(path),
    "lenet_passes.svg": lambda path: draw_passes(lenet(), path),
    "lenet_training.svg": lambda path: lenet().draw(path, backward=True),
    "resnet50.svg": lambda path: resnet(resnet50).draw(path),
    "resnet18_depth.svg": lambda path: resnet(resnet18).traced.draw(path, depth=1, direction="right"),
    "resnet18_focus.svg": lambda path: resnet(resnet18).traced.draw(path, focus="layer2.0"),
    "resnet18_backward.svg": lambda path: resnet(resnet18).backward_graph.draw(path),
    "encoder.svg": lambda path: encoder().draw(path),
}
"""How each of them is drawn."""


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in PICTURES.items():
        draw(folder / name)
        print(folder / name)


if __name__ == "__main__":
    main()
