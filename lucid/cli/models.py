"""What a user names, as a compiled model: a .lucid or .onnx file, or ``module:attribute``."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field
from functools import reduce

from ..base.arrays import Array
from ..base.checks import named, shown
from ..base.structs import struct
from ..compiler.compiled import CompiledModel
from ..compiler.entry import compile, load
from ..errors import LucidError, OptionError
from ..graph.ir import Graph
from ..graph.types import spec
from ..nn.module import Module
from ..onnx import module as onnx
from .options import parse_sizes, parse_specs
from .sources import kind_of


@struct(frozen=True)
class Wish:
    """How a model is to be compiled, as the options of a command say."""

    specs: Sequence[str] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    threads: int | None = None
    exact: bool = False
    verify: bool | str = False
    tune: bool = False

    def sizes_to_draw(self, model: str) -> Mapping[str, int]:
        """The sizes of inputs that are drawn; those of an ONNX file are fixed as it is read, and free no more."""
        return {} if kind_of(model) == "onnx" else self.sizes


def wish(
    *, specs: Sequence[str] = (), sizes: Sequence[str] = (), threads: int | None = None, exact: bool = False,
    verify: bool | str = False, tune: bool = False,
) -> Wish:  # fmt: skip
    """From the texts of the options."""
    return Wish(specs, parse_sizes(sizes), threads, exact, verify, tune)


def open_model(name: str, how: Wish, given: Callable[[], Sequence[Array]] | None = None) -> CompiledModel:
    """The compiled model of a file or of ``module:attribute``.

    ``given`` reads its inputs, where they are known: a model of Python without a ``--spec`` is compiled for them. A
    command without it takes no inputs, and so no sizes of such but those that an ONNX file is read with.
    """
    kind = kind_of(name)
    if given is None and how.sizes and kind != "onnx":
        raise OptionError(f"--size fixes the sizes of an .onnx file; {named(name)} is not one")
    if kind != "python" and how.specs:
        raise OptionError(f"--spec is for module:attribute; {named(name)} already says what it takes")
    if kind == "lucid":
        if how.tune:
            raise OptionError(f"--tune applies when a model is compiled; {named(name)} already is")
        return load(name, threads=how.threads, exact=how.exact, verify=how.verify)
    if kind == "onnx":
        model = onnx.load(name, how.sizes)
        return _compiled(model, model.specs, {}, how)
    return _of_python(name, how, given or tuple)


def _compiled(model: object, by_position: Sequence[object], by_name: Mapping[str, object], how: Wish) -> CompiledModel:
    made: CompiledModel = compile(
        model, *by_position, threads=how.threads, exact=how.exact, verify=how.verify, tune=how.tune, **by_name
    )  # type: ignore[call-overload]
    return made


def _of_python(name: str, how: Wish, given: Callable[[], Sequence[Array]]) -> CompiledModel:
    model = attribute(name)
    by_position, by_name = parse_specs(how.specs)
    if isinstance(model, CompiledModel):
        if how.specs:
            raise OptionError(f"{named(name)} is already compiled; leave out --spec")
        return model
    if isinstance(model, Graph):
        return _compiled(model, (), {}, how)
    if not by_position and not by_name:
        by_position = [spec(*array.shape, dtype=array.dtype) for array in given()]
        if not by_position:
            raise OptionError(f"{named(name)}: describe its inputs, as in --spec N,3,224,224")
    with blamed(name):
        return _compiled(model, by_position, by_name, how)


def attribute(name: str) -> object:
    """What a module has under a name, in evaluation mode; what can be called without arguments makes the model."""
    module_name, _, path = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    with blamed(name):
        module = importlib.import_module(module_name)
    try:
        found: object = reduce(getattr, path.split("."), module)
    except AttributeError as error:
        raise OptionError(f"{named(name)}: {error}") from error
    if callable(found) and _makes(found):
        with blamed(name):
            found = found()
        if not callable(found) and not isinstance(found, Graph):
            raise OptionError(f"{named(name)}() returns {shown(found)}, which is not a model")
    if not callable(found) and not isinstance(found, Graph):
        raise OptionError(
            f"{named(name)} is {shown(found)}, neither a model, nor a function, nor something that makes one"
        )
    if isinstance(found, Module) and not isinstance(found, CompiledModel):
        found.eval()
    return found


def _makes(found: Callable[..., object]) -> bool:
    """Whether it is a class or function that makes a model: one that takes no input."""
    if isinstance(found, Module):
        return False
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):  # of what is written in C, nothing is known
        return isinstance(found, type)
    loose = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    needed = any(one.default is one.empty and one.kind not in loose for one in parameters)
    if isinstance(found, type) and needed:
        raise OptionError(f"the class {found.__name__} needs arguments; name a function that makes the model without")
    return isinstance(found, type) or not (needed or any(one.kind is one.VAR_POSITIONAL for one in parameters))


@contextmanager
def blamed(name: str) -> Iterator[None]:
    """What goes wrong within a user's module is one error, which says where."""
    try:
        yield
    except LucidError:
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        missing = isinstance(error, ModuleNotFoundError) and error.name == name.partition(":")[0]
        where = "" if missing else f" ({os.path.basename(frame.filename)}, line {frame.lineno})"
        raise OptionError(f"{named(name)}: {type(error).__name__}: {error}{where}") from error
