"""The intermediate values of models of any kind."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import field
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from ..base.arrays import Array
from ..base.checks import placed, shown
from ..base.lazy import LazyModule
from ..base.structs import struct
from ..base.texts import is_array_of_texts
from ..compiler.compiled import CompiledModel
from ..compiler.entry import compile as compile_model
from ..compiler.entry import load
from ..errors import OptionError, ShapeError
from ..graph.facts import drawn
from ..graph.ir import Graph, Node, Value
from ..nn.module import Module
from ..onnx import module as onnx_module

onnx = LazyModule("onnx")
onnxruntime = LazyModule("onnxruntime")


@struct(frozen=True)
class Trail:
    """The values of a model for given inputs.

    Attributes
    ----------
    what
        A description of the model.
    results
        Its results.
    names
        Their names, if they are in dicts or are the outputs of a file; otherwise empty.
    keyed
        Whether the names are keys of dicts, which two equivalent models have in common.
    graph
        The graph whose nodes the ``steps`` are; None for a model that is not Lucid's.
    steps, nodes
        The (first) values of nodes by name, and the nodes.
    last
        For the path of a module, the name of the node that is computed last in it.
    modules
        For a model that is not Lucid's, the values that modules return, by path.
    """

    what: str
    results: Sequence[Array]
    names: Sequence[str] = ()
    keyed: bool = False
    graph: Graph | None = None
    steps: Mapping[str, Array] = field(default_factory=dict)
    nodes: Mapping[str, Node] = field(default_factory=dict)
    last: Mapping[str, str] = field(default_factory=dict)
    modules: Mapping[str, Array] = field(default_factory=dict)


def trail(model: object, inputs: Sequence[object], parameters: Mapping[str, Array]) -> Trail:
    """Run a model of any kind, and keep the values that it computes."""
    if isinstance(model, CompiledModel):
        return _of_program("the compiled model", model, inputs)
    if isinstance(model, Graph):
        return _of_definition("the graph", compile_model(model, parameters=parameters), inputs)
    if isinstance(model, str | PathLike):
        path = Path(fspath(model))
        return _of_onnx(path, inputs) if path.suffix == ".onnx" else _of_program(path.name, load(path), inputs)
    torch: Any = sys.modules.get("torch")
    if torch is not None and isinstance(model, torch.nn.Module):
        return _of_torch(torch, model, inputs)
    if callable(model) and not isinstance(model, type):
        name = f"the module {type(model).__name__}" if isinstance(model, Module) else "the function"
        return _of_definition(name, compile_model(model), inputs)
    raise OptionError(
        f"compare: a model is a compiled model, a module, a function, a graph, a path or a PyTorch module, "
        f"got {shown(model)}"
    )


def _of_program(what: str, net: CompiledModel, inputs: Sequence[object]) -> Trail:
    """The values that a compiled model's program computes."""
    return _of_values(what, *net.values(*_placed(net.input_names, inputs)))


def _of_definition(what: str, net: CompiledModel, inputs: Sequence[object]) -> Trail:
    """The values of the traced graph by definition, computed by the reference."""
    return _of_values(what, *net.values(*_placed(net.input_names, inputs), reference=True))


def _placed(names: Sequence[str], inputs: Sequence[object]) -> Sequence[object]:
    """Inputs in the order of their names, if they are given as a single dict."""
    if names and len(inputs) == 1 and isinstance(inputs[0], Mapping):
        return placed("compare", names, (), inputs[0])
    return inputs


def _of_values(what: str, graph: Graph, values: Mapping[Value, Array]) -> Trail:
    random = drawn(graph)
    if random:
        raise OptionError(
            f"compare: {what} draws random numbers ({random[0]}), others each time: model.eval() compares it"
        )
    nodes = {name: node for name, node in graph.nodes() if not node.op.source and Value(name) in values}
    steps = {name: values[Value(name)] for name in nodes}
    last = {node.origin.modules[0]: name for name, node in nodes.items() if len(node.origin.modules) == 1}
    last = {path: name for path, name in last.items() if not nodes[name].origin.history}  # unchanged since tracing
    return Trail(
        what, [values[value] for value in graph.outputs], graph.names, bool(graph.names), graph, steps, nodes, last
    )


def _of_torch(torch: Any, model: Any, inputs: Sequence[object]) -> Trail:
    """The values of a PyTorch module, with the results of each of its modules that runs exactly once."""
    given: dict[str, list[Array]] = {}

    def note(path: str, module: object, args: object, result: Any) -> None:
        if isinstance(result, torch.Tensor):
            given.setdefault(path, []).append(result.detach().cpu().numpy().copy())

    with ExitStack() as stack, torch.no_grad():
        if model.training:  # the run would change running statistics
            stack.callback(model.load_state_dict, {name: x.clone() for name, x in model.state_dict().items()})
        for path, module in model.named_modules():
            stack.callback(module.register_forward_hook(partial(note, path)).remove)
        result = model(*(_as_tensors(torch, x) for x in inputs))
    found = list(_tensors(torch, result))
    results = [one.detach().cpu().numpy() for _, one in found]
    keyed = any(not part.isdigit() for path, _ in found for part in path.split(".") if path)
    names = [path for path, _ in found] if keyed else []
    modules = {path: several[0] for path, several in given.items() if len(several) == 1}
    return Trail(f"the PyTorch module {type(model).__name__}", results, names, keyed, modules=modules)


def _as_tensors(torch: Any, value: object) -> object:
    """Arrays as tensors, within dicts and lists."""
    if isinstance(value, np.ndarray) and not is_array_of_texts(value):
        return torch.from_numpy(value)
    if isinstance(value, dict):
        return {key: _as_tensors(torch, one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return like(value, [_as_tensors(torch, one) for one in value])
    return value


def like(value: Sequence[object], items: list[object]) -> object:
    """These items as a list, tuple or named tuple, like ``value``."""
    make: Callable[..., object] = type(value)
    return items if isinstance(value, list) else make(*items) if hasattr(value, "_fields") else tuple(items)


def _tensors(torch: Any, result: object, path: str = "") -> Iterator[tuple[str, Any]]:
    """The tensors of a result, in order, with their keys and positions."""
    if isinstance(result, torch.Tensor):
        yield path, result
    items = dict(enumerate(result)) if isinstance(result, list | tuple) else result
    for key, one in items.items() if isinstance(items, Mapping) else ():
        yield from _tensors(torch, one, f"{path}.{key}" if path else str(key))


def _columns(value: object) -> object:
    """A list of dicts of scores by label as an array with a row for each dict and a column for each label."""
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        return np.array([list(row.values()) for row in value], np.float32)
    return value


def _of_onnx(path: Path, inputs: Sequence[object]) -> Trail:
    """The values of a file in ONNX Runtime, with the result of each operator."""
    paths = onnx_module.load(path).paths
    proto = onnx.load(path)
    outputs = [one.name for one in proto.graph.output]
    made = dict.fromkeys(name for node in proto.graph.node for name in node.output)
    more = [name for name in made if name in paths and name not in outputs]
    proto.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in more)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    weights = {one.name for one in proto.graph.initializer}
    names = [one.name for one in session.get_inputs() if one.name not in weights]
    inputs = _placed(names, inputs)
    if len(names) != len(inputs):
        raise ShapeError(f"compare: {path.name} takes {len(names)} inputs, got {len(inputs)}")
    found = session.run(None, dict(zip(names, inputs, strict=True)))
    values = dict(zip([*outputs, *more], map(_columns, found), strict=True))
    alone = [names[0] for node in proto.graph.node if len(names := [*filter(None, node.output)]) == 1]
    modules = {paths[name]: values[name] for name in alone if name in paths and isinstance(values[name], np.ndarray)}
    stray = next((name for name in outputs if not isinstance(values[name], np.ndarray)), None)
    if stray is not None:
        raise OptionError(f"compare: the result {shown(stray)} of {path.name} is no array in ONNX Runtime")
    return Trail(f"{path.name} in ONNX Runtime", [values[name] for name in outputs], outputs, modules=modules)
