"""ONNX models as modules: their operators, weights and inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np

from ..base import checks
from ..base.checks import listed, named, placed, shown
from ..base.structs import struct
from ..errors import GraphError, LucidError, OptionError, TraceError, from_handler
from ..formats.onnx import ops as ops  # which register themselves
from ..formats.onnx.float_integers import FloatIntegers
from ..formats.onnx.host import evaluate, plain
from ..formats.onnx.limits import Allowance
from ..formats.onnx.model import Array, GraphDef, ModelDef, NodeDef, Size, ValueDef
from ..formats.onnx.reader import read
from ..formats.onnx.registry import Call, Converter, Value, as_tensor, find, is_host
from ..formats.onnx.sequences import Items
from ..formats.onnx.surrogates import as_text, is_text
from ..graph.opdef import AbstractTensor
from ..graph.texts import Text
from ..graph.types import DTYPES, TensorType, spec
from ..nn.module import Module
from ..nn.parameter import Parameter
from ..tensor.tensor import Tensor
from .gradients import slopes
from .inputs import is_of_texts, known, shape_inputs
from .names import identifier, numbered, path_of, state_of, symbol_of
from .sizes import agreed, failed, symbols_of

M = TypeVar("M", AbstractTensor, TensorType)


def load(source: object, shapes: Mapping[str, int] | None = None) -> OnnxModel:
    """Load an ONNX model as a module in evaluation mode.

    Parameters
    ----------
    source
        A path, the bytes of a file, or an ``onnx.ModelProto``.
    shapes
        Numbers for sizes that are not fixed, by the names that the file, or ``model.specs``, gives them: ``{"batch":
        1}``.

    Returns
    -------
    A module that takes the model's inputs in the file's order or by name. Its weights are parameters, at paths derived
    from the names in the file.

    Raises
    ------
    FileError
        If there is no such file.
    GraphError
        If the model is not ONNX, is broken, or has unsupported operators; all of these are named.
    OptionError
        If ``shapes`` is not a dict, or names a size that the model does not have.
    """
    model = read(source)
    _refuse_unknown(model)
    return OnnxModel(model, shapes).eval()


def check(source: object) -> list[str]:
    """The unsupported nodes of an ONNX model, a line for each; empty if all are supported. Weights are not read."""
    model = read(source, weights=False)
    return [_unknown(node) for node in model.graph.walk() if find(node) is None]


def _unknown(node: NodeDef) -> str:
    return f"{node.kind} of opset {node.version}, in {node}"


def _refuse_unknown(model: ModelDef) -> None:
    unknown = [node for node in model.graph.walk() if find(node) is None]
    if not unknown:
        return
    kinds: dict[str, list[NodeDef]] = {}
    for node in unknown:
        kinds.setdefault(f"{node.kind} (opset {node.version})", []).append(node)
    listed = "; ".join(
        f"{kind}: node {named(nodes[0].name) or nodes[0].index}" + (f" and {len(nodes) - 1} more" if nodes[1:] else "")
        for kind, nodes in kinds.items()
    )
    raise GraphError(f"{model.source} has operators that are not supported: {listed}")


VIEWS = frozenset({"Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators through which a weight may be read: it remains a single parameter, in the form that the file has."""

_WORLD = Tensor(np.zeros((), np.float32))
"""The tensor from which constants are made: eagerly, or in the trace that is recorded."""


@struct
class _Step:
    """One use of an operator; a struct, as arrays in a tuple or list would be taken for tensors by a module."""

    model: OnnxModel
    values: dict[str, Value]
    inputs: Sequence[Value]
    room: Allowance
    outputs: Sequence[Value] = ()


@struct(frozen=True)
class _Plan:
    """What a model is made of. Nothing in it changes, so guards need not check it.

    Attributes
    ----------
    graph, kinds
        The graph of the file, and its values whose element types differ from those that they are computed with.
    known
        Values that do not depend on inputs.
    weights
        For values that are parameters or buffers, their modules and names.
    operators
        The modules of nodes, by the names of their results, which are unique in the model.
    state
        For a file written by Lucid, the names of its weights, as in the state dict; None for others.
    """

    graph: GraphDef
    kinds: Mapping[str, int]
    known: dict[str, Array] = field(default_factory=dict)
    weights: dict[str, tuple[Module, str]] = field(default_factory=dict)
    operators: dict[tuple[str, ...], Operator] = field(default_factory=dict)
    state: frozenset[str] | None = None


class Scope(Module):
    """A component in the paths of a model's nodes."""


class Operator(Module):
    """One node of the model."""

    def __init__(self, node: NodeDef, converter: Converter) -> None:
        super().__init__()
        self.node, self.converter = node, converter

    def forward(self, step: _Step) -> None:
        model, given = step.model, self.node.inputs
        state = [given[slot] for slot in self.converter.state if slot < len(given)]

        def run(graph: GraphDef, given: Sequence[Value]) -> list[Value]:
            return model.run(graph, step.values, given, step.room)

        call = Call(
            self.node, _WORLD, run, model.kinds, self.training and all(map(model.has_weight, state)), step.room,
            partial(slopes, model._plan.graph, run),
        )  # fmt: skip
        step.outputs = self.converter.results(call, *step.inputs)

    def extra_repr(self) -> str:
        return str(self.node)


class OnnxModel(Module):
    """A model from an ONNX file.

    Attributes
    ----------
    input_names, output_names
        As in the file.
    shape_inputs
        Names of inputs that shapes depend on: axes, sizes, paddings. They are given as numbers or tuples of numbers; a
        compiled model has a trace for each value.
    """

    def __init__(self, model: ModelDef, shapes: Mapping[str, int] | None = None) -> None:
        super().__init__()
        graph = model.graph
        self.source = model.source
        self.input_names = tuple(one.name for one in graph.inputs)
        self.output_names = tuple(one.name for one in graph.outputs)
        self.shapes = {} if shapes is None else dict(checks.mapping("lucid.onnx.load", "shapes", shapes))
        self.shape_inputs = shape_inputs(graph)
        self._plan = _Plan(graph, model.kinds, state=state_of(model))
        self._check_shapes()
        _Builder(self, self._plan).build()

    # ------------------------------------------------------------ what it takes

    @cached_property
    def specs(self) -> tuple[TensorType | Text, ...]:
        """Types of the inputs, for ``lucid.compile(model, *model.specs)``.

        Sizes that the file does not fix are symbolic. Where operators require several sizes to be equal, a size to be a
        multiple of a number, or a size to be a particular number, the types say so.
        """
        named: dict[str, str] = {}
        declared = self._plan.graph.inputs
        types = tuple(self._spec(one, named) for one in declared)

        def wrapped(given: Sequence[M]) -> tuple[M | Text, ...]:
            return tuple(Text(x) if is_of_texts(one) else x for one, x in zip(declared, given, strict=True))

        return wrapped(agreed(lambda *given: self.forward(*wrapped(given)), types) if named else types)

    def _check_shapes(self) -> None:
        """Refuse numbers for sizes that the model does not have."""
        named: dict[str, str] = {}
        for one in self._plan.graph.inputs:
            self._dims(one, one.shape or (), named)
        for key, size in self.shapes.items():
            if key not in named and key not in named.values():
                there = listed(sorted({*named, *named.values()})) or "none: all are fixed"
                raise OptionError(f"lucid.onnx.load: shapes has {shown(key)}; the sizes that are not fixed are {there}")
            checks.integer("lucid.onnx.load", f"the size of {shown(key)}", size, 0)

    def _spec(self, one: ValueDef, named: dict[str, str]) -> TensorType:
        if one.many:
            raise LucidError(
                f"the input {shown(one.name)} is a sequence, and the file does not say of how many: give "
                "lucid.compile a list with a spec for each"
            )
        if is_of_texts(one) and one.shape is not None:
            letters = named.setdefault(f"letters of {one.name}", symbol_of(f"{one.name}_letters", named.values()))
            return spec(*self._dims(one, one.shape, named), letters, dtype="int32")
        if one.shape is None or one.dtype is None or one.dtype.name not in DTYPES:
            raise LucidError(f"the file does not say what type the input {shown(one.name)} has")
        return spec(*self._dims(one, one.shape, named), dtype=one.dtype.name)

    def _dims(self, one: ValueDef, sizes: Sequence[Size], named: dict[str, str]) -> list[int | str]:
        dims: list[int | str] = []
        for axis, size in enumerate(sizes):
            if isinstance(size, int):
                dims.append(size)
            else:
                key = size or f"{one.name}.{axis}"
                name = named.setdefault(key, symbol_of(key, named.values()))
                dims.append(self.shapes.get(key, self.shapes.get(name, name)))
        return dims

    # ------------------------------------------------------------ running

    def forward(self, /, *args: Any, **kwargs: Any) -> Any:
        """The model's outputs: a single value, or several as a tuple in the file's order."""
        given = placed(self.source, self.input_names, args, kwargs)
        declared = self._plan.graph.inputs
        values: dict[str, Value] = {one.name: known(x, one) for one, x in zip(declared, given, strict=True)}
        try:
            found = self.run(self._plan.graph, values, (), Allowance(1 << 28))
        except LucidError as error:
            self._name_sizes(error, values)
            raise
        results = [self._tensor(one) for one in found]
        return results[0] if len(results) == 1 else tuple(results)

    def _name_sizes(self, error: LucidError, values: Mapping[str, Value]) -> None:
        """Note with an error which sizes are not fixed, as it may come from them."""
        found = [(name, *place) for name in self.input_names for place in symbols_of(values[name])]
        if found:
            free = {symbol: f"{symbol!r} (axis {axis} of {shown(name)})" for name, symbol, axis in reversed(found)}
            error.add_note(
                f"sizes that are not fixed: {', '.join(reversed(free.values()))}. Those in model.specs go together as "
                f"far as the model shows it; lucid.onnx.load(path, shapes={{{found[0][1]!r}: 1}}) fixes one"
            )

    def _tensor(self, value: Value) -> object:
        if isinstance(value, Items):
            return [self._tensor(one) for one in value]
        if is_text(value):
            return as_text(_WORLD, value)
        if isinstance(value, FloatIntegers):
            return value.tensor
        return as_tensor(_WORLD, plain(value)) if is_host(value) else value

    def run(self, graph: GraphDef, outer: dict[str, Value], given: Sequence[Value], room: Allowance) -> list[Value]:
        """The results of a graph, which may read values of the graph around it."""
        values = outer if graph is self._plan.graph else {**outer}
        values.update(zip((one.name for one in graph.inputs), given, strict=False))
        for node in graph.nodes:
            if node.outputs in self._plan.operators:
                self._step(self._plan.operators[node.outputs], values, room)
        return [self._value(one.name, values) for one in graph.outputs]

    def _step(self, operator: Operator, values: dict[str, Value], room: Allowance) -> None:
        node = operator.node
        inputs: list[Value] = []
        for slot, name in enumerate(node.inputs):
            host = slot in operator.converter.host and name in self._plan.known
            inputs.append(None if not name else self._plan.known[name] if host else self._value(name, values))
        try:
            with _blamed(self.source, node):
                found = self._results(operator, values, inputs, room)
        except (LucidError, TraceError) as error:
            failed(error)
            unknown = [name for name in node.inputs if name in self.shape_inputs and not is_host(values.get(name))]
            if unknown:
                error.add_note(f"give the inputs {listed(unknown)} as numbers, or tuples of them")
            raise
        values.update((name, value) for name, value in zip(node.outputs, found, strict=False) if name)

    @property
    def paths(self) -> dict[str, str]:
        """The paths of the modules of operators, by the file's names of their first results."""
        places = {id(module): path for path, module in self.named_modules()}
        found = self._plan.operators.items()
        return {names[0]: places[id(operator)] for names, operator in found if names and names[0]}

    @property
    def kinds(self) -> Mapping[str, int]:
        """Numbers of the element types of values that are computed with as other types."""
        return self._plan.kinds

    def has_weight(self, name: str) -> bool:
        """Whether a value of the file is a parameter or buffer of the module."""
        return name in self._plan.weights

    def _results(
        self, operator: Operator, values: dict[str, Value], inputs: Sequence[Value], room: Allowance
    ) -> Sequence[Value]:
        if all(one is None or is_host(one) for one in inputs):
            found = evaluate(operator.node, inputs, room)  # type: ignore[arg-type]
            if found is not None:
                return found
        step = _Step(self, values, inputs, room)
        operator(step)
        return step.outputs

    def _value(self, name: str, values: Mapping[str, Value]) -> Value:
        if name in values:
            return values[name]
        if name in self._plan.weights:
            module, attribute = self._plan.weights[name]
            weight: Tensor = getattr(module, attribute)
            return weight
        if name in self._plan.known:
            return self._plan.known[name]
        raise GraphError(f"{self.source}: nothing gives the value {shown(name)}")


@contextmanager
def _blamed(source: str, node: NodeDef) -> Iterator[None]:
    """While inside, errors name the node."""
    try:
        yield
    except (LucidError, TraceError) as error:
        error.add_note(f"in {node} of {source}")
        raise
    except Exception as error:
        if from_handler(error):
            raise
        raise GraphError(f"{source}: {node} cannot be built: {type(error).__name__}: {error}") from error


class _Builder:
    """Makes a model's modules, parameters and known values."""

    def __init__(self, model: OnnxModel, plan: _Plan) -> None:
        self.model, self.plan, self.known = model, plan, plan.known
        self.scopes: dict[tuple[str, ...], Module] = {}
        self.taken: dict[int, set[str]] = {}
        given = sum(array.nbytes for array in plan.graph.constants.values())
        self.room = Allowance((1 << 30) + 8 * given)
        self.views: set[str] = set(plan.state or ())
        """Weights, and what they are read through."""

    def build(self) -> None:
        graphs = [self.plan.graph]
        for graph in graphs:
            self.known.update(graph.constants)
            graphs += [v for node in graph.nodes for v in node.attributes.values() if isinstance(v, GraphDef)]
        for graph in graphs:
            for node in graph.nodes:
                with _blamed(self.model.source, node):
                    self._fold(node)
        for graph in graphs:
            for node in graph.nodes:
                self._enter(node)

    def _fold(self, node: NodeDef) -> None:
        """Compute what does not depend on inputs, if that is cheap."""
        converter = find(node)
        assert converter is not None
        converter.check_inputs(node)
        inputs = [self.known.get(name) if name else None for name in node.inputs]
        if any(name and one is None for name, one in zip(node.inputs, inputs, strict=True)):
            return
        if node.op == "Constant":
            found: Sequence[Value] | None = converter.results(Call(node, _WORLD, lambda *_: []))
        else:
            found = evaluate(node, inputs, self.room)
        if found is not None:
            pairs = zip(node.outputs, found, strict=False)
            self.known.update((name, value) for name, value in pairs if name and isinstance(value, np.ndarray))

    def _enter(self, node: NodeDef) -> None:
        if node.outputs and all(name in self.known for name in node.outputs if name):
            if not self._is_view(node):
                return
            self.views.update(node.outputs)
        converter = find(node)
        assert converter is not None
        operator = Operator(node, converter)
        path = path_of(node.name) or ()
        kind = identifier(node.op)
        scope = self._scope(path[:-1] if path and path[-1] == kind else path)
        scope.add_module(self._fresh(scope, kind), operator)
        self.plan.operators[node.outputs] = operator
        for slot, name in enumerate(node.inputs):
            held = name in self.plan.weights or (name in self.views and name not in (self.plan.state or ()))
            if name in self.known and not held and slot not in converter.host:
                self._weigh(name, slot, converter, operator)

    def _is_view(self, node: NodeDef) -> bool:
        """Whether a node returns a weight of the file in another shape; for files written by Lucid, in any form."""
        if self.plan.state is not None:
            return not self.views.isdisjoint(node.inputs)
        name = node.inputs[0] if node.op in VIEWS and not node.domain and node.inputs else ""
        given = self.plan.graph.constants.get(name)
        return name in self.views or (given is not None and given.dtype.kind == "f" and given.ndim > 0)

    def _weigh(self, name: str, slot: int, converter: Converter, operator: Operator) -> None:
        """Make a value a parameter or buffer, if the operator names that input, or the file has it as a weight."""
        array, label = self.known[name], converter.names[slot] if slot < len(converter.names) else ""
        given, ours = name in self.plan.graph.constants, name in (self.plan.state or ())
        if self.plan.state is not None and not ours:  # a constant of ours is one: that of a layer without weights, say
            return
        if array.dtype.kind != "f" or array.dtype.name not in DTYPES or not (label or ours or (given and array.ndim)):
            return
        path = tuple(name.split(".")) if ours else path_of(name) if given else ()
        owner: Module = self._scope(path[:-1]) if ours or len(path) > 1 else operator
        attribute = self._fresh(owner, path[-1] if ours or len(path) > 1 else label or "weight")
        own = np.array(array, order="C")
        if slot in converter.state:
            owner.register_buffer(attribute, Tensor.wrap(own))
        else:
            owner.register_parameter(attribute, Parameter.wrap(own, requires_grad=True))
        self.plan.weights[name] = owner, attribute

    def _scope(self, path: Sequence[str]) -> Module:
        """The module at a path, created if necessary."""
        module: Module = self.model
        for end in range(1, len(path) + 1):
            key = tuple(path[:end])
            if key not in self.scopes:
                self.scopes[key] = Scope()
                module.add_module(self._fresh(module, path[end - 1]), self.scopes[key])
            module = self.scopes[key]
        return module

    def _fresh(self, module: Module, name: str) -> str:
        """The name, with a number if the module already has such an attribute."""
        taken = self.taken.get(id(module))
        if taken is None:
            taken = self.taken[id(module)] = set(object.__dir__(module))
        fresh = numbered(name, taken)
        taken.add(fresh)
        return fresh
