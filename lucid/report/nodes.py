"""The nodes of the graph that runs: what each computes, where it comes from, what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from ..formats.draw.graph_view import family
from ..formats.draw.words import shorten
from ..graph.facts import read_values
from ..graph.ir import Graph, Node
from ..graph.region import regions_of, spelled
from ..inspect.explain import others
from ..inspect.profile import StepTime
from ..runtime.program.plan import Plan
from ..runtime.program.step import Step

NodePath: TypeAlias = "tuple[str, ...]"
"""The name of a node, preceded by the node that runs its graph and the label of the graph, if there is one."""

Data: TypeAlias = "dict[str, object]"
"""A JSON object."""

LONGEST = 300
"""The most characters of an attribute."""


def every_node(graph: Graph, around: NodePath = ()) -> Iterator[tuple[NodePath, Node]]:
    """The nodes of a graph and of those that they run, each by its path."""
    for name, node in graph.nodes():
        yield (*around, name), node
        for label, region in regions_of(node.attrs).items() if node.op.regions else ():
            yield from every_node(region.graph, (*around, name, label))


def node_data(
    plan: Plan, timed: Mapping[str, StepTime], left: Mapping[str, list[str]], lines: Mapping[str, tuple[int, ...]]
) -> list[Data]:
    """The details of each node, in the order of :func:`every_node`.

    Parameters
    ----------
    plan
        How they run.
    timed
        Measured times, by node.
    left
        Why passes did not apply, by node.
    lines
        The lines of the program that compute each node.
    """
    nodes = dict(every_node(plan.graph))
    numbers = {path: number for number, path in enumerate(nodes)}
    steps = {step.name: step for step in plan.steps}
    found, read = [], read_values(plan.graph)
    for path, node in nodes.items():
        data = _node(path, node) | {"lines": lines.get(spelled(path), ())}
        if len(path) == 1:
            name = path[0]
            data["feeds"] = [numbers[value.node,] for value in plan.graph.inputs_of(name)]
            data["left"] = left.get(name, [])
            if name in steps:
                data["step"] = _step(steps[name], timed.get(name)) | {"others": [*others(steps[name], plan, read)]}
        found.append(data)
    return found


def _node(path: NodePath, node: Node) -> Data:
    modules, places = node.origin.modules, node.origin.locations
    return {
        "name": spelled(path),
        "op": node.op.name,
        "kind": family(node),
        "type": ", ".join(str(type_.with_order(None)) for type_ in node.outputs),
        "modules": list(modules),
        "where": list(places),
        "history": list(node.origin.history),
        "attributes": [
            [field, shorten(str(value), LONGEST)] for field, value in node.attrs.items() if not node.op.regions
        ],
    }


def _step(step: Step, timed: StepTime | None) -> Data:
    results = [y for y in step.outs if y is not None]
    found: Data = {
        "lowering": str(step.choice),
        "view": bool(results) and step.outs[0] is not None and step.outs[0].base is not None,
        "workers": step.workers,
        "once": step.fixed,
        "predicted": step.choice.way.seconds,
        "bytes": sum(y.type.nbytes for y in results),
    }
    if timed is not None:
        found |= {
            "seconds": timed.seconds, "flops": timed.flops, "moved": timed.nbytes, "least": timed.least,
            "wanting": timed.to_be_had, "helpers": timed.helpers,
        }  # fmt: skip
    return found
