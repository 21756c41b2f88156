"""Saving evidence of a fault: a ``.lucid`` file, and a script that reproduces the fault."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from ..base.arrays import Array
from ..formats.serialize import save
from ..graph.builder import printable
from ..graph.ir import Graph

Folder: TypeAlias = "str | os.PathLike[str] | None"
"""The folder in which evidence is written; None for a new temporary folder."""

GRAPH = "graph"
"""Name of the graph in the file."""

INPUT = "(input) "
"""Prefix of the names of inputs, before their numbers; no parameter has a name that begins like this."""

_SCRIPT = """# {title}

from pathlib import Path

import lucid
from lucid.formats.serialize import load
{imports}
archive = load(Path(__file__).with_suffix(".lucid"))
graph, arrays = archive.graphs[{graph!r}], archive.arrays
{call}
"""


def write(
    folder: Folder, stem: str, graph: Graph, arrays: Mapping[str, Array], *, title: str, call: str, imports: str = ""
) -> Path:
    """Write a graph with the arrays it takes, and a script that runs ``call`` on ``graph`` and ``arrays``.

    Parameters
    ----------
    folder
        The folder, created if necessary.
    stem
        Both file names are derived from this.
    graph, arrays
        The content of the file; of the arrays, only the inputs and those that are parameters of the graph.
    title
        The heading of the script; escaped, as it contains text from users and files.
    call, imports
        Lines of the script.

    Returns
    -------
    Path of the script.
    """
    home = _made(folder)
    script = home / f"{re.sub(r'[^A-Za-z0-9_]+', '_', stem)[:80]}.py"
    needed = {name: array for name, array in arrays.items() if name in graph.parameters or name.startswith(INPUT)}
    save(script.with_suffix(".lucid"), {GRAPH: graph}, needed)
    text = _SCRIPT.format(title=printable(title), graph=GRAPH, imports=imports, call=call)
    script.write_text(text, "utf-8")
    return script


def _made(folder: Folder) -> Path:
    """The folder; a temporary one if it cannot be created, so that the evidence is not lost."""
    if folder is not None:
        with suppress(OSError, ValueError):
            Path(folder).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return Path(folder)
    return Path(tempfile.mkdtemp(prefix="lucid-"))


def as_inputs(arrays: Iterable[Array]) -> dict[str, Array]:
    """Arrays by the names of inputs in a file."""
    return {f"{INPUT}{i}": x for i, x in enumerate(arrays)}


def inputs_of(arrays: Mapping[str, Array]) -> list[Array]:
    """The inputs among the arrays of a file."""
    return [arrays[f"{INPUT}{i}"] for i in range(sum(name.startswith(INPUT) for name in arrays))]


def spelled(value: object) -> tuple[str, str]:
    """Imports and an expression for a function, a ``functools.partial``, or a dataclass of such.

    What cannot be imported (a lambda, a nested function) is left for the reader to supply.
    """
    imports: dict[str, None] = {}
    text = _spelled(value, imports)
    return "".join(f"{line}\n" for line in imports), text


def _on_path(module: str) -> Iterator[str]:
    """Lines that make a module importable which is neither part of this package nor installed."""
    file = getattr(sys.modules[module], "__file__", None)
    if file is None or module.split(".")[0] == "lucid" or "site-packages" in file:
        return
    root = Path(file).resolve().parents[module.count(".") + (Path(file).name == "__init__.py")]
    if str(root) != sysconfig.get_path("stdlib"):
        yield f"import sys\nsys.path.insert(0, {str(root)!a})"


def _spelled(value: object, imports: dict[str, None]) -> str:
    if isinstance(value, partial):
        imports["from functools import partial"] = None
        given = [_spelled(one, imports) for one in (value.func, *value.args)]
        return f"partial({', '.join([*given, *(f'{k}={_spelled(v, imports)}' for k, v in value.keywords.items())])})"
    if is_dataclass(value) and not isinstance(value, type):
        fields_ = (f"{f.name}={_spelled(getattr(value, f.name), imports)}" for f in fields(value))
        return f"{_spelled(type(value), imports)}({', '.join(fields_)})"
    if value is None or isinstance(value, bool | int | float | str):
        return ascii(value)
    module, name = getattr(value, "__module__", None), getattr(value, "__name__", None)
    known = isinstance(name, str) and module != "__main__" and getattr(sys.modules.get(str(module)), name, None)
    if isinstance(name, str) and name.isidentifier() and known is value:
        imports |= dict.fromkeys(_on_path(str(module)))
        imports[f"from {module} import {name}"] = None
        return name
    imports["# it comes from nowhere that could be imported: bring it here as yours"] = None
    return "yours"
