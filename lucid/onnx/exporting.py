"""Exporting models to ONNX files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from ..base.checks import shown
from ..compiler.arguments import flatten
from ..compiler.compiled import CompiledModel, Specs
from ..compiler.entry import checked_model, checked_specs, compile
from ..compiler.onnx_file import OWNER, Form, Traced, write_onnx
from ..compiler.record import record
from ..errors import OptionError
from ..formats.onnx.write.versions import USUAL
from ..graph.facts import drawn
from ..graph.ir import Graph
from ..graph.types import TensorType
from ..nn.module import Module
from ..tensor.tensor import Tensor
from .module import OnnxModel


def export(
    model: Callable[..., object] | Graph,
    path: str | os.PathLike[str],
    *specs: object,
    opset: int = USUAL,
    external_data: bool = False,
    input_names: Sequence[str] = (),
    output_names: Sequence[str] = (),
    parameters: Mapping[str, object] | None = None,
    **keyword_specs: object,
) -> None:
    """Write a model as an ONNX file, for other runtimes and for :func:`lucid.onnx.load`.

    The file holds the graph as traced, in evaluation mode. Symbolic sizes become named dimensions. Weights are named as
    in the model's ``state_dict``, and nodes after its modules.

    Parameters
    ----------
    model
        A module or a function, a compiled model, one from :func:`lucid.load`, or a graph.
    path
        The file to write. An existing file stays as it is until the new one is complete.
    *specs, **keyword_specs
        Types of the inputs, as for :func:`lucid.compile`. A graph has its own, as has a compiled model if
        none are given.
    opset
        The version of ONNX's operators.
    external_data
        Store the weights in a separate file next to it, as is always done beyond 2 GB, the limit of the format.
    input_names, output_names
        Names of inputs and outputs. By default inputs are named after the arguments of ``forward``, ``mask.0`` if an
        argument holds several; outputs are ``output``, or named by their keys and positions.
    parameters
        Arrays or tensors by name, for the parameters of a graph.

    Raises
    ------
    GraphError
        If the model has ops that ONNX lacks: the message names all of them, with their modules and your lines.
    OptionError
        If the opset is not one that can be exported, or the model is in training mode where that matters.
    FileError
        If the path cannot be written.
    """
    how = Form(opset, external_data, input_names, output_names)
    _refuse_pytorchs_ways(path, specs)
    given = checked_specs(export, model, (specs, keyword_specs), parameters, instead="")
    subject: object = compile(model, parameters=parameters) if isinstance(model, Graph) else model
    if isinstance(subject, CompiledModel) and any(given):
        if subject.model is None:
            raise OptionError(f"{OWNER}: a model from a .lucid file has the types of its inputs; give no specs with it")
        subject = subject.model  # which is traced for these
    if isinstance(subject, CompiledModel):
        subject.export_onnx(path, **how._asdict())
    else:
        write_onnx(_traced(checked_model(subject, OWNER), given), path, how)


def _refuse_pytorchs_ways(path: object, specs: Sequence[object]) -> None:
    """Explain order and description of the arguments to users who give them as in PyTorch."""
    if isinstance(path, tuple | list | dict | TensorType | Tensor | np.ndarray):
        raise OptionError(
            f"{OWNER}: takes a model, a path, and then lucid.spec(...) for each input; got {shown(path)} for the path"
        )
    for one in specs:
        if isinstance(one, Tensor | np.ndarray):
            described = TensorType(tuple(one.shape), np.dtype(one.dtype))
            raise OptionError(
                f"{OWNER}: an input is described by lucid.spec(...), with names for sizes that may be others; "
                f"got {described}, which is {_spec(described)}"
            )


def _spec(type_: TensorType) -> str:
    """The code that makes a type."""
    dtype = () if type_.dtype == np.float32 else (f'dtype="{type_.dtype.name}"',)
    return f"lucid.spec({', '.join([*map(str, type_.shape), *dtype])})"


def _traced(model: Callable[..., object], specs: Specs) -> Traced:
    """A model traced in evaluation mode."""
    types, structure = flatten(specs, (TensorType,))
    if not types:
        raise OptionError(f"{OWNER}: give lucid.spec(...) for each input after the path{_known(model)}")
    with _evaluating(model):
        made = record(model, structure, types)
        drops = bool(drawn(made.graph)) and any(one.training for one in made.recorder.modules.values())  # a function's
    state, outputs = made.recorder.state, made.results.structure
    return Traced(made.graph, state, structure, outputs, drops, tuple(made.recorder.assumptions))


def _known(model: object) -> str:
    """A hint at the specs of a model that has some."""
    return "; *model.specs are those of the file it is from" if isinstance(model, OnnxModel) else ""


@contextmanager
def _evaluating(model: object) -> Iterator[None]:
    """While inside, the modules of a model are in evaluation mode."""
    owner = getattr(model, "__self__", model)  # of a method
    modules = [one for one in owner.modules() if one.training] if isinstance(owner, Module) else []
    for one in modules:
        one.training = False
    try:
        yield
    finally:
        for one in modules:
            one.training = True
