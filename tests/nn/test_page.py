"""The signatures on docs/max_pool2d.md are those of the code."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from lucid import nn
from lucid.nn import functional

PAGE = Path(__file__).parents[2] / "docs" / "max_pool2d.md"


def test_the_signature_is_the_one_of_the_page() -> None:
    (text,) = re.findall(r"`lucid\.nn\.MaxPool2d\((.*?)\)`", PAGE.read_text(encoding="utf-8"))
    parameters = inspect.signature(nn.MaxPool2d).parameters
    for entry in text.replace("*, ", "").split(", "):
        name, default = entry.split("=")
        assert repr(parameters[name].default) == default
        assert repr(inspect.signature(functional.max_pool2d).parameters[name].default) == default
