"""The kind of model that a name stands for."""

from __future__ import annotations

import os
import re

from ..base.checks import named
from ..errors import FileError, OptionError

SUFFIXES = (".lucid", ".onnx")
_ATTRIBUTE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def kind_of(name: str) -> str:
    """``lucid``, ``onnx`` or ``python``; raises if it is none of them, or there is no such file."""
    suffix = os.path.splitext(name)[1].lower()
    if suffix in SUFFIXES:
        if not os.path.exists(name):
            raise FileError(f"there is no file {named(name)}")
        return suffix[1:]
    if _ATTRIBUTE.fullmatch(name) and not os.path.exists(name):
        return "python"
    raise OptionError(f"{named(name)} is not a model: give a .lucid or .onnx file, or module:attribute")
