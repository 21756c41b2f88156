"""The compiled model for a name: a .lucid or .onnx file, or ``module:attribute``."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import reduce

from ..base.arrays import Array
from ..base.checks import named, shown
from ..compiler.compiled import CompiledModel
from ..compiler.entry import compile, load
from ..errors import LucidError, OptionError
from ..graph.ir import Graph
from ..graph.types import spec
from ..nn.module import Module
from ..onnx import module as onnx
from .options import Settings, parse_specs
from .sources import kind_of


def open_model(name: str, settings: Settings, given: Callable[[], Sequence[Array]] | None = None) -> CompiledModel:
    """The compiled model of a file or of ``module:attribute``.

    ``given`` reads the inputs of commands that take any: a Python model without ``--spec`` is compiled for them. For
    other commands, sizes may be given only to fix those of an ONNX file.
    """
    kind = kind_of(name)
    if given is None and settings.sizes and kind != "onnx":
        raise OptionError(f"--size fixes the sizes of an .onnx file; {named(name)} is not one")
    if kind != "python" and settings.specs:
        raise OptionError(f"--spec is for module:attribute; {named(name)} already says what it takes")
    if kind == "lucid":
        if settings.tune:
            raise OptionError(f"--tune applies when a model is compiled; {named(name)} already is")
        return load(name, threads=settings.threads, exact=settings.exact, verify=settings.verify)
    if kind == "onnx":
        model = onnx.load(name, settings.sizes)
        return _compiled(model, model.specs, {}, settings)
    return _of_python(name, settings, given or tuple)


def _compiled(
    model: object, by_position: Sequence[object], by_name: Mapping[str, object], settings: Settings
) -> CompiledModel:
    made: CompiledModel = compile(
        model,
        *by_position,
        threads=settings.threads,
        exact=settings.exact,
        verify=settings.verify,
        tune=settings.tune,
        **by_name,
    )  # type: ignore[call-overload]
    return made


def _of_python(name: str, settings: Settings, given: Callable[[], Sequence[Array]]) -> CompiledModel:
    model = attribute(name)
    by_position, by_name = parse_specs(settings.specs)
    if isinstance(model, CompiledModel):
        if settings.specs:
            raise OptionError(f"{named(name)} is already compiled; leave out --spec")
        return model
    if isinstance(model, Graph):
        return _compiled(model, (), {}, settings)
    if not by_position and not by_name:
        by_position = [spec(*array.shape, dtype=array.dtype) for array in given()]
        if not by_position:
            raise OptionError(f"{named(name)}: describe its inputs, as in --spec N,3,224,224")
    with blamed(name):
        return _compiled(model, by_position, by_name, settings)


def attribute(name: str) -> object:
    """The object ``module:attribute``, in evaluation mode; if it is callable without arguments, what it returns."""
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
    """Whether it is a class or function that makes a model, as it needs no argument."""
    if isinstance(found, Module):
        return False
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):  # functions written in C may have no signature
        return isinstance(found, type)
    loose = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    needed = any(one.default is one.empty and one.kind not in loose for one in parameters)
    if isinstance(found, type) and needed:
        raise OptionError(f"the class {found.__name__} needs arguments; name a function that makes the model without")
    return isinstance(found, type) or not (needed or any(one.kind is one.VAR_POSITIONAL for one in parameters))


@contextmanager
def blamed(name: str) -> Iterator[None]:
    """While inside, any error in a user's module becomes a single error that says where it occurred."""
    try:
        yield
    except LucidError:
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        missing = isinstance(error, ModuleNotFoundError) and error.name == name.partition(":")[0]
        where = "" if missing else f" ({os.path.basename(frame.filename)}, line {frame.lineno})"
        raise OptionError(f"{named(name)}: {type(error).__name__}: {error}{where}") from error
