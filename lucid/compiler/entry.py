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
        An ``nn.Module``, a function, or a graph. Without it, a decorator is returned.
    *specs, **keyword_specs
        Types of the positional and keyword inputs (:func:`lucid.spec`), possibly with symbolic dimensions, and within
        lists, tuples, dicts and dataclasses where the inputs are such; then it is traced and optimised now, once for
        all sizes. Without them, at the first call with new types.
    threads
        How many threads (or helper processes, see :func:`lucid.set_num_threads`) one call may use, the caller's among
        them; by default :func:`lucid.get_num_threads`.
    exact
        Take no lowering that rounds differently from a plain sum of products. Without it, convolutions may run by
        Winograd's or a block-Toeplitz product or with their strides as channels, which are coarser in the last digits
        and spread one infinity or NaN of the input over the pixels made together; and a bias before a ReLU may be
        added by the layer after it, so that results are as coarse as the largest bias is, and a bias that is infinite
        makes them NaN; and weights that are subnormal (below 1e-38 in float32), with which processors take many times
        as long, are taken for zeros.
    verify
        Compare each pass and gradient rule on samples, and each program's steps on its first inputs, with the
        reference. The :class:`ProofError` names the node, and a script in a folder (this path, or a temporary one).
    passes
        The usual ones with others among them, as ``lucid.passes.default().insert_after("fold_batch_norm", mine)``, for
        inference and training; or a list of those to run for inference instead.
    tune
        Measure the ways to run each node, in the program itself, when an inference program is made (of a large network
        in some seconds), and take the quickest. What was learnt is shown by ``print(compiled.plan)`` and kept in the
        saved file, but for images that lie channels last. Without it a cost model chooses.
    backend
        A :class:`lucid.extend.Backend`, or the name of an installed one, that runs the graph instead of a NumPy
        program: inference only; there are no gradients, no tuning and no file of such a model.
    parameters
        Arrays or tensors by name, for the parameters of a graph.

    Returns
    -------
    CompiledModel

    Raises
    ------
    TraceError
        For what cannot be traced, with the user's line and the way out.
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
"""What one may do instead of giving specs."""


def _misplaced(function: Callable[..., object], keyword: str | None, instead: str) -> str:
    """The message about an argument that is no spec."""
    if keyword is None:
        return f"inputs are described by lucid.spec(...){instead}"
    options = [name for name, kind in inspect.signature(function).parameters.items() if kind.kind is kind.KEYWORD_ONLY]
    return f"{keyword!r} is no option ({', '.join(options)}), and the input of that name has a lucid.spec(...)"


def checked_specs(
    function: Callable[..., object], model: object, specs: Specs, parameters: object, instead: str = FIRST_CALL
) -> Specs:
    """The specs that a function was given, if they are specs and containers of specs, and go with the model."""
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
    """Read a compiled model from a ``.lucid`` file; nothing in the file is executed.

    Parameters
    ----------
    path
        A regular file. Of a large one (256 MiB of weights) the weights are mapped: to replace it, save a new file over
        it rather than write into it.
    threads
        As for :func:`compile`.
    exact
        Take no lowering that rounds differently from a plain sum of products. A model that was compiled so stays so.
    verify
        As for :func:`compile`; what the passes had made of the graph when it was saved is compared as a whole.

    Raises
    ------
    FileError
        Where the file cannot be read or is not what it claims to be.
    """
    return CompiledModel.from_specialization(read_archive(path, Options(threads, exact, verify)))
