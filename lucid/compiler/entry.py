"""``lucid.compile`` and ``lucid.load``."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, overload

from ..base.checks import shown
from ..errors import OptionError, TraceError
from ..graph.ir import Graph
from ..graph.types import TensorType
from ..passes.editing import USUAL, Pipeline, as_pass
from ..passes.pipeline import Pass
from ..runtime.backends import Backend, find_backend
from .archive import read_archive
from .arguments import flatten, statics
from .compiled import CompiledModel, Specs
from .options import Options
from .specialization import of_graph

Passes: TypeAlias = "Pipeline | Sequence[Pass | Callable[[Graph], Graph]]"


@overload
def compile(
    model: Callable[..., object] | Graph,
    *specs: object,
    threads: int | None = None,
    exact: bool = False,
    verify: bool | str | Path = False,
    passes: Passes | None = None,
    tune: bool = False,
    backend: str | Backend | None = None,
    parameters: Mapping[str, object] | None = None,
    **keyword_specs: object,
) -> CompiledModel: ...
@overload
def compile(
    model: None = None,
    *specs: object,
    threads: int | None = None,
    exact: bool = False,
    verify: bool | str | Path = False,
    passes: Passes | None = None,
    tune: bool = False,
    backend: str | Backend | None = None,
    parameters: Mapping[str, object] | None = None,
    **keyword_specs: object,
) -> Callable[[Callable[..., Any]], CompiledModel]: ...


def compile(
    model: Callable[..., object] | Graph | None = None,
    *specs: object,
    threads: int | None = None,
    exact: bool = False,
    verify: bool | str | Path = False,
    passes: Passes | None = None,
    tune: bool = False,
    backend: str | Backend | None = None,
    parameters: Mapping[str, object] | None = None,
    **keyword_specs: object,
) -> CompiledModel | Callable[[Callable[..., Any]], CompiledModel]:
    """Compile a module or a function of tensors.

    Parameters
    ----------
    model
        An ``nn.Module``, a function, or a graph. If omitted, a decorator is returned.
    *specs, **keyword_specs
        Types of the positional and keyword inputs (:func:`lucid.spec`), possibly with symbolic dimensions, nested in
        lists, tuples, dicts and dataclasses as the inputs are. With specs, the model is traced and optimised now, once
        for all sizes; without, at the first call with new types.
    threads
        How many threads (or worker processes, see :func:`lucid.set_num_threads`) a call may use, including the
        caller's; by default :func:`lucid.get_num_threads`.
    exact
        Use only lowerings that round like a plain sum of products. Otherwise convolutions may run by Winograd's method,
        as block-Toeplitz products or with strides as channels, which are less accurate in the last digits and spread an
        infinity or NaN to pixels computed together; a bias before a ReLU may be added by the layer after it, so that
        results are only as accurate as the largest bias allows, and NaN if it is infinite; and subnormal weights (below
        1e-38 in float32), which slow processors down, count as zeros.
    verify
        Compare each pass and gradient rule on random inputs, and each step of the program on its first inputs, with the
        reference. A :class:`ProofError` names the node, and a script in a folder (this path, or a temporary one).
    passes
        The default passes with changes, such as
        ``lucid.passes.default().insert_after("fold_batch_norm", mine)``, for inference and training; or a list of
        passes to run for inference instead.
    tune
        When an inference program is made, measure the ways to run each node within the program, and use the fastest.
        This takes a few seconds for a large network. The results are shown by ``print(compiled.plan)`` and kept in a
        saved file, except for channels-last images. Without it a cost model chooses.
    backend
        A :class:`lucid.extend.Backend`, or the name of an installed one, that runs the graph instead of a NumPy
        program. For inference only: no gradients, no tuning, no saving.
    parameters
        Arrays or tensors by name, for the parameters of a graph.

    Returns
    -------
    CompiledModel

    Raises
    ------
    TraceError
        For code that cannot be traced, with the user's line and what to write instead.
    """
    runs = None if backend is None else find_backend(backend)
    options = Options(threads, exact, verify, checked_passes(passes), tune, runs)
    return _made(model, checked_specs(compile, model, (specs, keyword_specs), parameters), options, parameters)


def _made(
    model: object, given: Specs, options: Options, parameters: Mapping[str, object] | None
) -> CompiledModel | Callable[[Callable[..., Any]], CompiledModel]:
    if isinstance(model, Graph):
        return CompiledModel.from_specialization(of_graph(model, parameters or {}, options))
    if model is None:
        return lambda function: CompiledModel(checked_model(function), given, options)
    return CompiledModel(checked_model(model), given, options)


FIRST_CALL = ", or not at all, and then it is traced at the first call"
"""The end of a message that asks for specs: the alternative."""


def _misplaced(function: Callable[..., object], keyword: str | None, instead: str) -> str:
    """The message about an argument that is not a spec."""
    if keyword is None:
        return f"inputs are described by lucid.spec(...){instead}"
    options = [name for name, kind in inspect.signature(function).parameters.items() if kind.kind is kind.KEYWORD_ONLY]
    return f"{keyword!r} is no option ({', '.join(options)}), and the input of that name has a lucid.spec(...)"


def checked_specs(
    function: Callable[..., object], model: object, specs: Specs, parameters: object, instead: str = FIRST_CALL
) -> Specs:
    """The specs given to a function, checked: they must be specs or containers of specs, and match the model."""
    for where, spec in (*((None, one) for one in specs[0]), *specs[1].items()):
        try:
            strays = list(statics(flatten(spec, (TensorType,))[1]))
        except TraceError:  # an array or tensor, say
            strays = [spec]
        for stray in strays[:1]:
            raise OptionError(f"{function.__name__}: {_misplaced(function, where, instead)}, got {shown(stray)}")
    if parameters is not None and not (isinstance(model, Graph) and isinstance(parameters, Mapping)):
        raise OptionError(f"{function.__name__}: parameters are a dict of arrays, for a graph; a module has its own")
    if isinstance(model, Graph) and any(specs):
        raise OptionError(f"{function.__name__}: a graph has the types of its inputs; give no specs with it")
    return specs


def checked_model(model: object, owner: str = "compile") -> Callable[..., object]:
    if not callable(model) or isinstance(model, type | TensorType):
        file = isinstance(model, str | os.PathLike)
        way = "; lucid.load opens a .lucid file, lucid.onnx.load an .onnx file" if file else ""
        raise OptionError(f"{owner}: expected a module or a function, got {shown(model)} ({type(model).__name__}){way}")
    return model


def checked_passes(given: object) -> Pipeline | tuple[Pass, ...]:
    if given is None:
        return USUAL
    if isinstance(given, Pipeline):
        return given
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise OptionError(f"compile: passes must be a sequence of Pass, or lucid.passes.default(), got {shown(given)}")
    return tuple(map(as_pass, given))


def load(
    path: str | Path, *, threads: int | None = None, exact: bool = False, verify: bool | str | Path = False
) -> CompiledModel:
    """Load a compiled model from a ``.lucid`` file; nothing in the file is executed.

    Parameters
    ----------
    path
        A regular file. The weights of a large one (256 MiB of them) are memory-mapped: to replace such a file, save a
        new one in its place rather than write into it.
    threads
        As for :func:`compile`.
    exact
        Use only lowerings that round like a plain sum of products. A model that was compiled so stays so.
    verify
        As for :func:`compile`; the passes that ran before the model was saved are checked as a whole.

    Raises
    ------
    FileError
        If the file cannot be read or is not what it claims to be.
    """
    return CompiledModel.from_specialization(read_archive(path, Options(threads, exact, verify)))
