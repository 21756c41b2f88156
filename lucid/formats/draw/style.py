"""The look of pictures: all colours and sizes.

The hues are those of Okabe and Ito, which red-green colour-blind readers can tell apart; no two families have the same
hue at the same lightness. Lengths are in points, of which an A4 page has 595 by 842.
"""

from __future__ import annotations

from typing import Final, NamedTuple

FONT: Final = "Helvetica,Arial,sans-serif"
PAGE: Final = (595, 842)
MARGIN: Final = 6
"""Around the picture."""


ON_DARK: Final = "#ffffff"


class Look(NamedTuple):
    """Colours of a kind of box: its face, its line, and its title."""

    fill: str
    ink: str
    title: str = "#111827"


LOOKS: Final = {
    "input": Look("#ffffff", "#111827"),
    "parameter": Look("#fdf7d0", "#a38f00"),
    "constant": Look("#f3f4f6", "#9ca3af"),
    "conv": Look("#b3d9f5", "#0072b2"),
    "linear": Look("#a3a9ea", "#4b3fb0"),
    "pool": Look("#8fd6bd", "#00795a"),
    "norm": Look("#f5ec8f", "#8a7d00"),
    "elementwise": Look("#fde2ad", "#b87800"),
    "reduce": Look("#f5bfa0", "#b04a00"),
    "loss": Look("#e88e5e", "#8a3a00"),
    "shape": Look("#e2e5ea", "#6b7280"),
    "random": Look("#cdb9a6", "#6b4f34"),
    "control": Look("#fbeaf3", "#a3447c"),
    "gradient": Look("#e6b8d2", "#a3447c"),
    "other": Look("#ffffff", "#4b5563"),
    "module": Look("#eef2f7", "#475569"),
    "output": Look("#111827", "#111827", ON_DARK),
    "update": Look("#8a7d00", "#8a7d00", ON_DARK),
    "given": Look("#a3447c", "#a3447c", ON_DARK),
    "connector": Look("#475569", "#475569", ON_DARK),
}

BOX: Final = 'shape=box, style="rounded,filled", margin="0.06,0.02", height=0.2, width=0.3'
ARROW: Final = "arrowsize=0.5, penwidth=0.9"
ENDS: Final = ("input", "output", "update", "given")
"""Kinds of boxes that stand for inputs and outputs."""
FACES: Final = {
    **dict.fromkeys(ENDS, ("shape=oval", 'style="filled"', 'margin="0.03,0.01"')),
    **dict.fromkeys(("parameter", "constant"), ('style="filled"', "penwidth=0.6")),
    "connector": ("shape=circle", 'style="filled"', 'margin="0.01"', "width=0.2"),
    "module": ("penwidth=1.2",),
}
"""Further options of kinds of boxes other than those with round corners."""

TYPE_SIZE: Final = 7
TYPE: Final = f'shape=plain, style="", height=0.1, width=0.1, fontsize={TYPE_SIZE}'
"""The node that shows the type of a value, on its arrows."""
ROWS: Final = {
    "title": (9, ""),
    "name": (7.5, "#2f3947"),
    "detail": (7.5, "#1f2937"),
    "parameter": (7, "#3d3500"),
    "kept": (7, "#1e3a5f"),
    "gives": (7.5, "#5e1842"),
}
"""Size and colour of each kind of row; a title has the colour of its box."""

EDGES: Final = {
    "value": ("#4b5563", "weight=6"),
    "gradient": ("#a3447c", "weight=4"),
    "parameter": ("#a38f00", "penwidth=0.6, arrowsize=0.45"),
    "kept": ("#475569", "style=dashed, penwidth=0.7, weight=1"),
    "region": ("#a3447c", "style=dashed, weight=2"),
}
"""Colour and options of each kind of arrow."""

FRAMES: Final = {
    "module": ("#94a3b8", "#f8fafc", "rounded,filled", "#64748b"),
    "gradient": ("#c98aae", "#fdf6fa", "rounded,filled", "#8c2f66"),
    "region": ("#a3447c", "#ffffff", "rounded,dashed", "#8c2f66"),
    "section": ("#ffffff", "#ffffff", "filled", "#111827"),
}
"""Line, face, style and words of the frames around boxes."""
REPEAT_LINE: Final = 2.2
"""Line width of the frame around a repeated block."""

MARKS: Final = {"gone": "#d55e00", "new": "#0072b2", "changed": "#a38f00"}
"""Colours of the marks of a comparison, each accompanied by a sign."""
SIGNS: Final = {"gone": "–", "new": "+", "changed": "~"}
HIGHLIGHT: Final = "#d55e00"
FAINT: Final = ("#ffffff", "#b6bcc6", "#9aa1ad")
"""Face, line and text colours of the neighbours of what is shown."""

FRAME_SIZE: Final = 8.5
HEADING_SIZE: Final = 14
FRAME_MARGIN: Final = 4
PATIENCE: Final = ("nslimit=2, nslimit1=2", "nslimit=0.5, nslimit1=0.5, mclimit=0.2")
"""How long Graphviz searches for a better layout, for few boxes and for many."""
LARGE: Final = 400
"""The number of boxes from which on they are many."""
GAP: Final = (10, 8)
"""Between boxes side by side, and from one row of boxes to the next."""


def height(rows: list[str]) -> float:
    """The estimated height of a box with rows of these kinds."""
    return sum(1.2 * ROWS[kind][0] for kind in rows) + 7
