"""The page: template, styles and scripts in a single file, which lets nothing else run.

Everything that comes from a file or a user is data: JSON in a block that browsers do not run, with every character
escaped that could end the block. The content security policy lists the styles and scripts by their digests and forbids
everything else.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
from importlib import resources
from string import Template

from ..base.tables import printable
from ..formats.draw.style import LOOKS, ON_DARK
from .nodes import Data

STYLES = ("base", "scene", "views")
SCRIPTS = (
    "dom", "state", "squeeze", "scene", "camera", "table", "charts", "graph", "source", "details", "search", "times",
    "memory", "plan", "passes", "weights", "main",
)  # fmt: skip
"""In the order in which they need one another."""
_ESCAPED = str.maketrans({sign: f"\\u{ord(sign):04x}" for sign in "<>&"})


def page(title: str, data: Data) -> bytes:
    """The page as a file."""
    style = "".join(_asset("css", f"{name}.css") for name in STYLES) + _looks()
    library = _asset("vendor", "panzoom.min.js")
    script = '"use strict";(() => {\n' + "".join(_asset("js", f"{name}.js") for name in SCRIPTS) + "})();\n"
    policy = (
        f"default-src 'none'; img-src data:; style-src {_digest(style)}; script-src {_digest(library)} "
        f"{_digest(script)}; base-uri 'none'; form-action 'none'"
    )
    text = Template(_asset("page.html")).substitute(
        policy=policy, title=html.escape(printable(title)), style=style, library=library, script=script,
        data=_json(data),
    )  # fmt: skip
    return text.encode()


def _asset(*names: str) -> str:
    return resources.files(__package__).joinpath("assets", *names).read_text("utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(data: Data) -> str:
    return json.dumps(_clean(data), separators=(",", ":")).translate(_ESCAPED)


def _clean(value: object) -> object:
    """The value with unprintable characters replaced, and None for numbers that JSON does not have."""
    if isinstance(value, str):
        return value if value.isprintable() else printable(value)
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _looks() -> str:
    """CSS rules for the colours of each kind of box, in light and dark mode."""
    rules = []
    for kind, look in LOOKS.items():
        rules.append(f".k-{kind}{{--face:{look.fill};--ink:{look.ink};--on:{look.title}}}")
        face = look.fill if look.title == ON_DARK else f"color-mix(in oklab,{look.ink} 38%,#14171c)"
        dark = f"--face:{face};--ink:color-mix(in oklab,{look.ink} 55%,#ffffff)"
        rules.append(f':root[data-theme="dark"] .k-{kind}{{{dark}}}')
    return "\n".join(rules) + "\n"
