"""Arguments and options that several commands have."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import cast

import click
from click.shell_completion import CompletionItem

from ..base.checks import shown
from ..base.structs import struct
from ..errors import OptionError
from ..graph.types import DTYPES, TensorType, spec
from .sources import kind_of


def _files(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Model files and folders whose names begin like this, for completion."""
    folder, _, start = begun.rpartition("/")
    try:
        entries = sorted(os.scandir(folder or ("/" if begun.startswith("/") else ".")), key=lambda one: one.name)
    except OSError:
        return []
    prefix = f"{folder}/" if "/" in begun else ""
    return [
        CompletionItem(f"{prefix}{one.name}{'/' if one.is_dir() else ''}")
        for one in entries
        if one.name.startswith(start) and (one.is_dir() or one.name.endswith((".lucid", ".onnx")))
    ]


@struct(frozen=True)
class Settings:
    """How a model is to be compiled, from the options that several commands have."""

    specs: Sequence[str] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    threads: int | None = None
    exact: bool = False
    verify: bool | str = False
    tune: bool = False

    def sizes_to_draw(self, model: str) -> Mapping[str, int]:
        """The sizes for random inputs; those of an ONNX file are fixed when it is loaded."""
        return {} if kind_of(model) == "onnx" else self.sizes


def with_settings(given: Mapping[str, object]) -> dict[str, object]:
    """The arguments of a command, with those that say how to compile a model replaced by ``settings``."""
    rest = dict(given)
    known = {name: rest.pop(name) for name in ("specs", "sizes", "threads", "exact") if name in rest}
    if "sizes" in known:
        known["sizes"] = parse_sizes(cast("Iterable[str]", known["sizes"]))
    return {**rest, "settings": Settings(**known)} if known else rest  # type: ignore[arg-type]  # as click parses them


class Number(click.FloatRange):
    """A number within bounds; NaN is refused."""

    def convert(self, value: float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number in a text."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{shown(value)} is no number", param, ctx)
        return number


def model(name: str = "model") -> click.Argument:
    """A model as an argument."""
    return click.Argument([name], shell_complete=_files)


SPECS = click.Option(
    ["--spec", "specs"], multiple=True, metavar="[NAME=][TYPE:]SIZES",
    help="An input of module:attribute: N,3,224,224 or mask=int64:N,128; a name is a size of any number.",
)  # fmt: skip
SIZES = click.Option(
    ["--size", "sizes"], multiple=True, metavar="NAME=NUMBER", help="A size that is not fixed: N=8. The rest are small."
)
THREADS = click.Option(["--threads"], type=click.IntRange(1), help="How many threads a call may use.")
EXACT = click.Option(["--exact"], is_flag=True, help="Round as plain sums of products do.")
SETTINGS = (SPECS, SIZES, THREADS, EXACT)
"""The options of :class:`Settings`."""
SEED = click.Option(["--seed"], type=click.IntRange(0), default=0, help="Of the numbers that are drawn.")
INPUTS = click.Option(
    ["--input", "inputs"], multiple=True, metavar="[NAME=]FILE",
    help="An input: .npy, .npz or a picture, in order or by name. What is not given is drawn at random.",
)  # fmt: skip


def pairs(texts: Iterable[str], what: str) -> dict[str, str]:
    """``NAME=VALUE`` as a dict."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise OptionError(f"{what} is NAME=VALUE, got {shown(text)}")
        if name in found:
            raise OptionError(f"{what}: {shown(name)} is given twice")
        found[name] = value
    return found


def parse_sizes(texts: Iterable[str]) -> dict[str, int]:
    """The numbers of ``--size``."""
    found = {}
    for name, text in pairs(texts, "--size").items():
        if not text.isdecimal() or len(text) > 18:
            raise OptionError(f"--size {name} is a whole number, got {shown(text)}")
        found[name] = int(text)
    return found


def parse_specs(texts: Sequence[str]) -> tuple[list[TensorType], dict[str, TensorType]]:
    """The types of ``--spec``, by position and by name."""
    by_position, by_name = [], {}
    for text in texts:
        name, equals, rest = text.rpartition("=")
        kind, colon, sizes = rest.rpartition(":")
        if colon and kind not in DTYPES:
            raise OptionError(f"--spec {shown(text)}: the type before ':' is one of {', '.join(DTYPES)}")
        dims = [int(size) if size.isdecimal() else size for size in sizes.replace(" ", "").split(",") if size]
        type_ = spec(*dims, dtype=kind or "float32")
        if equals:
            by_name[name] = type_
        else:
            by_position.append(type_)
    return by_position, by_name
