"""Writing traced models as ONNX files."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from ..base import changes
from ..base.checks import flag, integer, named, shown
from ..errors import GraphError, OptionError
from ..formats.onnx.write import file
from ..formats.onnx.write.draft import Draft
from ..formats.onnx.write.graph import Writer, refuse
from ..formats.onnx.write.versions import NEWEST, OLDEST, USUAL
from ..graph.assume import Assumption
from ..graph.ir import Graph
from ..tensor.tensor import Tensor
from .arguments import LEAF, Structure, leaf_names, leaf_structures

OWNER = "lucid.onnx.export"


class Form(NamedTuple):
    """Options of a file; see :func:`lucid.onnx.export` for what they mean."""

    opset: int = USUAL
    external_data: bool = False
    input_names: Sequence[str] = ()
    output_names: Sequence[str] = ()


class Traced(NamedTuple):
    """A traced model, as it is written.

    Attributes
    ----------
    graph, state
        The traced graph, and the tensors of its parameters.
    inputs, outputs
        Structures of its arguments and results.
    drops
        Whether it was traced in training mode and draws random numbers.
    taken
        The assumptions of the trace about sizes.
    """

    graph: Graph
    state: Mapping[str, Tensor]
    inputs: Structure
    outputs: Structure
    drops: bool
    taken: Sequence[Assumption]


def write_onnx(traced: Traced, path: str | os.PathLike[str], how: Form) -> None:
    """Write a traced model to a file."""
    graph, state = traced.graph, traced.state
    opset, external_data, input_names, output_names = how
    integer(OWNER, "opset", opset)
    if not OLDEST <= opset <= NEWEST:
        raise OptionError(f"{OWNER}: opset is from {OLDEST} to {NEWEST}, got {opset}")
    flag(OWNER, "external_data", external_data)
    file.check_package()
    _check(traced)
    with changes.writing:
        writer = Writer(Draft(opset), {name: state[name].numpy() for name in graph.parameters})
        given = _names("input_names", input_names, graph.inputs, graph.parameters)
        usual = graph.names or _output_names(traced.outputs)
        found = _names("output_names", output_names, usual, [*graph.parameters, *given])
        writer.whole(graph, given, found, traced.taken)
        refuse(writer.faults, "the model")
        file.save(writer.draft, path, external_data)


def _names(what: str, given: Sequence[str], usual: Sequence[str], taken: Collection[str]) -> Sequence[str]:
    """The given names, checked to be one for each; the usual ones if none were given."""
    listed = isinstance(given, Sequence) and not isinstance(given, str)
    if not listed or not all(isinstance(name, str) and name for name in given):
        raise OptionError(f"{OWNER}: {what} is a list of names, got {shown(given)}")
    if not given:
        return usual
    if len(given) != len(usual) or len(set(given)) < len(given):
        raise OptionError(
            f"{OWNER}: {what} has a name of its own for each of {', '.join(map(named, usual))}; got {shown(given)}"
        )
    for name in given:
        if name in taken:
            raise OptionError(
                f"{OWNER}: {what}: {named(name)} is already the name of a weight or an input of the model"
            )
    return given


def _output_names(structure: Structure) -> list[str]:
    """``output`` if there is only one; otherwise by position and key: ``output_0``, ``logits``, ``hidden.0``."""
    return ["output"] if structure == LEAF else list(leaf_names(structure, "", "output"))


def _check(traced: Traced) -> None:
    """Refuse models in training mode, and arguments and results that are not tensors of numbers."""
    changed = [name for name, _ in traced.graph.updates]
    if changed:
        raise OptionError(
            f"{OWNER}: each run of the model changes {', '.join(changed)}, and a file changes nothing: where that is "
            f"of training mode, call model.eval() before, and else let the model give what it changes"
        )
    if len(traced.graph.outputs) > len(list(leaf_structures(traced.outputs))):
        raise OptionError(
            f"{OWNER}: the model changes arguments in place, and a file changes nothing: compute new tensors in it "
            f"(x = x + 1 instead of x += 1)"
        )
    if traced.drops:
        raise OptionError(
            f"{OWNER}: the model is in training mode, where it draws what it leaves out: call model.eval() before"
        )
    for what, structure in (("takes", traced.inputs), ("gives", traced.outputs)):
        if any(part != LEAF for part in leaf_structures(structure)):
            raise GraphError(f"{OWNER}: the model {what} texts or maps, which a file has as numbers only: use these")
