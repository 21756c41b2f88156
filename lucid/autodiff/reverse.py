"""Reverse-mode differentiation, graph to graph.

``emit_gradients`` is the reverse walk: it visits each node between the wanted values and the outputs once, last first,
applies the op's gradient rule to get the gradients of its inputs, and sums the gradients of a value that has several
uses. ``differentiate`` adds them to a graph; ``partition`` cuts this joint graph into a forward graph, which also
returns the values to keep, and a backward graph, which reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from ..base.garbage import collection_paused
from ..base.structs import struct
from ..errors import GradientError, GraphError, note_where
from ..graph.builder import MAX_NAME, Builder, printable
from ..graph.cut import cut
from ..graph.facts import drawn, live, reachable, settled
from ..graph.ir import Graph, Node, Value
from ..graph.opdef import GradContext, NoGradient, ParameterAttrs, TypeAttrs
from ..graph.ops.source import INPUT, full
from ..graph.region import Region
from ..graph.trace import Symbol, Tracer
from ..graph.types import is_float

COTANGENT = "grad."
"""Prefix of the inputs that are the gradients of the outputs."""
GRADIENT = "∂"
"""Prefix of the names of gradients, before the name of what they are with respect to."""


def emit_gradients(
    tracer: Tracer,
    seeds: Mapping[Value, Symbol],
    wanted: Sequence[Value],
    stop: Iterable[str] = (),
    through: Mapping[Value, Callable[[Symbol], Symbol]] | None = None,
) -> list[Symbol | None]:
    """Emit the gradients of ``sum(value * seed)`` with respect to the wanted values.

    Parameters
    ----------
    tracer
        Emits into the builder that holds the values.
    seeds
        Gradient with respect to each output, of the output's shape.
    wanted
        Values to differentiate with respect to.
    stop
        Names of nodes behind which the walk does not go.
    through
        Functions of the gradients of some values, each called once the gradient is complete. The result replaces it.

    Returns
    -------
    One symbol for each wanted value, or None if no gradient reaches it.
    """
    builder = tracer.builder
    path = _between(builder, [value.node for value in seeds], [value.node for value in wanted], set(stop))
    sums: dict[Value, Symbol] = dict(seeds)
    sources = {value.node for value in wanted}
    for name in sorted(path - set(stop), key=builder.position.__getitem__, reverse=True):
        node: Node = builder.dag.nodes[name]["node"]
        outputs = tuple(Value(name, i) for i in range(len(node.outputs)))
        if through:
            sums |= {value: through[value](sums[value]) for value in outputs if value in sums and value in through}
        cotangents = tuple(sums.get(value) for value in outputs)
        if isinstance(node.op.gradient, NoGradient) or all(c is None for c in cotangents):
            continue
        inputs = builder.inputs_of(name)
        flows = tuple(is_float(builder.type(v).dtype) and (v.node in path or v.node in sources) for v in inputs)
        if not any(flows):
            continue
        origin = replace(node.origin, history=(*node.origin.history, f"autodiff: {name}"))
        with tracer.at(origin):
            context = GradContext(
                node.attrs,
                tuple(map(tracer.symbol, inputs)),
                tuple(map(tracer.symbol, outputs)),
                cotangents,
                flows,
                lambda x: full(x, 0),
                region_gradient,  # type: ignore[arg-type]  # of the regions of this graph
            )
            for value, flow, gradient in zip(inputs, flows, _apply_rule(tracer, node, context), strict=True):
                if flow and gradient is not None:
                    _check(node, builder, value, gradient)
                    sums[value] = sums[value] + gradient if value in sums else gradient
    return [sums.get(value) for value in wanted]


def _between(builder: Builder, ends: Sequence[str], starts: Sequence[str], stop: set[str]) -> set[str]:
    """Nodes on a path from a start to an end, both included; no path leads through ``stop``."""
    behind = reachable(builder.dag, ends, stop)
    found: set[str] = set()
    stack = [name for name in starts if name in behind]
    while stack:
        name = stack.pop()
        if name not in found:
            found.add(name)
            stack.extend(s for s in builder.dag.successors(name) if s in behind)
    return found


def _apply_rule(tracer: Tracer, node: Node, context: GradContext) -> Sequence[Any | None]:
    rule = node.op.gradient
    if any(c is not None for c in context.cotangents[len(context.outputs) - node.op.kept :]):
        raise GradientError(f"{node.op.name}: the values that it keeps for its gradient cannot be differentiated")
    if rule is not None and not isinstance(rule, NoGradient):
        try:
            found = rule(context)
        except Exception as error:
            note_where(error, f"in the gradient rule of {node.op.name}")
            raise
        if not isinstance(found, list | tuple) or len(found) != len(context.inputs):
            given = f"{len(found)} entries" if isinstance(found, list | tuple) else f"a {type(found).__name__}"
            raise GradientError(
                f"the gradient rule of {node.op.name} gave {given} for {len(context.inputs)} inputs: it returns a list "
                f"with a symbol for each input, or None where no gradient flows"
            )
        return found
    if node.op.decompose is None:
        raise GradientError(f"{node.op.name} has neither a gradient rule nor a decomposition")
    return _through_decomposition(tracer, node.op.decompose, context)


def _through_decomposition(
    tracer: Tracer, decompose: Callable[..., object], context: GradContext
) -> Sequence[Any | None]:
    outputs = decompose(context.attrs, *context.inputs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    seeds: dict[Value, Symbol] = {}
    for output, cotangent in zip(outputs, context.cotangents, strict=True):
        if isinstance(cotangent, Symbol):
            seeds[output.value] = seeds[output.value] + cotangent if output.value in seeds else cotangent
    inputs = [x.value for x in context.inputs if isinstance(x, Symbol)]
    once = list(dict.fromkeys(inputs))  # a value that the op reads twice has one gradient, for both uses
    found = dict(zip(once, emit_gradients(tracer, seeds, once, {value.node for value in once}), strict=True))
    return [found.pop(value, None) for value in inputs]


def _check(node: Node, builder: Builder, value: Value, gradient: Symbol) -> None:
    if not isinstance(gradient, Symbol):
        raise GradientError(f"the gradient rule of {node.op.name} gave a {type(gradient).__name__}, not a symbol")
    if not gradient.type.same_value(builder.type(value)):
        raise GraphError(
            f"the gradient rule of {node.op.name} gave {gradient.type} for an input of type {builder.type(value)}"
        )


def differentiable(graph: Graph, wanted: Collection[str]) -> tuple[bool, ...]:
    """For each output, whether it requires a gradient if the named inputs and parameters do."""
    found = {Value(name) for name in wanted}
    for name, node in graph.nodes():
        if isinstance(node.op.gradient, NoGradient) or found.isdisjoint(graph.inputs_of(name)):
            continue
        found.update(Value(name, i) for i, type_ in enumerate(node.outputs) if is_float(type_.dtype))
    return tuple(value in found for value in graph.outputs)


@struct(frozen=True)
class Joint:
    """A graph that computes outputs and gradients.

    Attributes
    ----------
    graph
        Its inputs are the original's, then one cotangent per distinct output that is differentiated; its outputs are
        the original's, then the gradients.
    forward_outputs
        How many of the outputs are the original's.
    wanted
        Names of the inputs and parameter nodes whose gradients follow, in order.
    """

    graph: Graph
    forward_outputs: int
    wanted: tuple[str, ...]


@collection_paused()
def differentiate(
    graph: Graph, wanted: Sequence[str], used: Collection[Value] | None = None, *, zeros: bool = True
) -> Joint:
    """Add to ``graph`` the gradients of its outputs with respect to the named inputs and parameters.

    Parameters
    ----------
    graph
        The graph; it is not changed.
    wanted
        Names of inputs and parameter nodes.
    used
        The outputs whose gradients (cotangents) are given, as inputs named ``grad.<output>``; by default all of a
        floating-point type.
    zeros
        Whether the gradient of a wanted value that no gradient reaches is zeros; otherwise it is left out.
    """
    builder = Builder.extending(graph)
    tracer = Tracer(builder)
    seeds: dict[Value, Symbol] = {}
    for value in graph.outputs:
        type_ = graph.type(value)
        if is_float(type_.dtype) and value not in seeds and (used is None or value in used):
            (seed,) = tracer.emit(INPUT, TypeAttrs(type_.shape, type_.dtype), name=COTANGENT + value.node)
            seeds[value] = seed
    found = dict(zip(wanted, emit_gradients(tracer, seeds, [Value(name) for name in wanted]), strict=True))
    if zeros:
        found = {n: full(tracer.symbol(Value(n)), 0) if g is None else g for n, g in found.items()}
    reached = {name: g for name, g in found.items() if g is not None}
    names = [*(graph.names or [""] * len(graph.outputs)), *(f"{GRADIENT} {_called(graph, name)}" for name in reached)]
    joint = builder.finish((*graph.outputs, *(g.value for g in reached.values())), graph.updates, names)
    return Joint(joint, len(graph.outputs), tuple(reached))


def region_gradient(region: Region, wanted: Sequence[bool], used: Sequence[bool]) -> Region:
    """A region that computes the gradients of another, recomputing its values.

    It takes the region's inputs, then the cotangents of the outputs that are ``used``, and returns the gradients with
    respect to the ``wanted`` inputs; zeros where none flows.
    """
    graph = region.graph
    builder = Builder.extending(graph)
    tracer = Tracer(builder)
    seeds: dict[Value, Symbol] = {}
    for value in (value for value, use in zip(graph.outputs, used, strict=True) if use):
        seed = tracer.input(graph.type(value), COTANGENT + value.node)
        seeds[value] = seeds[value] + seed if value in seeds else seed
    sources = [Value(name) for name, want in zip(graph.inputs, wanted, strict=True) if want]
    found = [
        full(tracer.symbol(value), 0) if g is None else g
        for value, g in zip(sources, emit_gradients(tracer, seeds, sources), strict=True)
    ]
    return Region(builder.finish([g.value for g in found]))


def _called(graph: Graph, name: str) -> str:
    """The user's name for an input or a parameter node."""
    attrs = graph.node(name).attrs
    return printable(attrs.name if isinstance(attrs, ParameterAttrs) else name)[: MAX_NAME - len(GRADIENT) - 1]


Place: TypeAlias = "tuple[str, int]"
"""The place of a value in a forward graph: ``("input", i)`` or ``("output", i)``."""


@struct(frozen=True)
class Backward:
    """The half of a joint graph that computes gradients.

    Attributes
    ----------
    graph
        Takes the cotangents, then the kept values; returns the gradients.
    kept
        The place of each kept value in the forward graph.
    wanted
        Names of the inputs and parameter nodes whose gradients it returns.
    """

    graph: Graph
    kept: tuple[Place, ...]
    wanted: tuple[str, ...]


@struct(frozen=True)
class Partition:
    """A joint graph cut in two.

    Attributes
    ----------
    forward
        Computes the original outputs and, after them, the values that only the backward half needs.
    half
        The backward half.
    places
        Every value of the joint graph that the forward graph takes or returns.
    """

    forward: Graph
    half: Backward
    places: Mapping[Value, Place]

    @property
    def backward(self) -> Graph:
        """The graph of the backward half."""
        return self.half.graph

    @property
    def kept(self) -> tuple[Value, ...]:
        """The values of ``forward`` that the backward half reads."""
        places = {"input": tuple(map(Value, self.forward.inputs)), "output": self.forward.outputs}
        return tuple(places[kind][number] for kind, number in self.half.kept)


@collection_paused()
def partition(joint: Joint) -> Partition:
    """Cut a joint graph in two: the nodes that the outputs need and all random draws, and the rest.

    Values are kept only if the backward graph cannot read them from a parameter or a constant.
    """
    graph, count = joint.graph, joint.forward_outputs
    outputs, gradients = graph.outputs[:count], graph.outputs[count:]
    inputs = [name for name in graph.inputs if not name.startswith(COTANGENT)]
    forward_nodes = live(graph.dag, [*outputs, *(v for _, v in graph.updates), *map(Value, inputs)])
    backward_nodes = reachable(graph.dag, [v.node for v in gradients]) - forward_nodes
    crossing: dict[Value, None] = {}
    for name in (n for n in graph.order if n in backward_nodes):
        crossing.update(dict.fromkeys(v for v in graph.inputs_of(name) if v.node in forward_nodes))
    crossing.update(dict.fromkeys(v for v in gradients if v.node in forward_nodes))
    given: dict[Value, Place] = {Value(name): ("input", i) for i, name in enumerate(inputs)}
    produced = [v for v in crossing if not _readable_again(graph, v) and v not in given and v not in outputs]
    places: dict[Value, Place] = {v: ("output", i) for i, v in reversed(list(enumerate((*outputs, *produced))))}
    places |= given
    forward = cut(graph, forward_nodes, {}, inputs, (*outputs, *produced), graph.updates, graph.names[:count])
    return Partition(forward, backward_half(joint, places), places)


@collection_paused()
def backward_half(joint: Joint, places: Mapping[Value, Place]) -> Backward:
    """The half of a joint graph that computes the gradients, from the values of a forward graph at ``places``."""
    graph, gradients = joint.graph, joint.graph.outputs[joint.forward_outputs :]
    cotangents = [name for name in graph.inputs if name.startswith(COTANGENT)]
    nodes, kept = set(cotangents), set()
    stack = list(gradients)
    while stack:
        value = stack.pop()
        if value in places and not _readable_again(graph, value):
            kept.add(value)
        elif value.node not in nodes:
            nodes.add(value.node)
            stack.extend(graph.inputs_of(value.node))
    again = [name for name in drawn(graph) if name in nodes]
    if again:
        raise GraphError(f"the backward graph would draw {again[0]} again, and get a different number")
    keep = [Value(name, i) for name, node in graph.nodes() for i in range(len(node.outputs)) if Value(name, i) in kept]
    return Backward(
        cut(graph, nodes, dict.fromkeys(keep), cotangents, gradients, (), graph.names[joint.forward_outputs :]),
        tuple(places[value] for value in keep),
        joint.wanted,
    )


def _readable_again(graph: Graph, value: Value) -> bool:
    """Whether the backward graph can read a value itself: a parameter or a constant, but not a random key."""
    return not graph.dag.pred[value.node] and settled(graph.node(value.node))
