"""Explanations: where nodes come from, why they run as they do, and which passes did not apply."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..base.checks import shown
from ..errors import GraphError
from ..graph.facts import read_values
from ..graph.ir import Graph, Node, Value
from ..graph.region import Region, regions_of
from ..passes.rewrite import Decline
from ..runtime.planning.choosing import as_read, weight_is_stored
from ..runtime.planning.registry import choices
from ..runtime.program.plan import Plan
from ..runtime.program.step import Step


def explain(graph: Graph, declined: Iterable[Decline] = ()) -> str:
    """A paragraph for each node: its type, the user's lines, the passes that made it, and why others did not apply."""
    return "\n".join(_explained(graph, list(declined)))


def explain_node(name: str, graph: Graph, declined: Iterable[Decline], plan: Plan) -> str:
    """The paragraph of a node, or of the nodes it was merged into; and how it runs, compared to the alternatives.

    Raises
    ------
    GraphError
        If no node has, or had, that name.
    """
    steps = {step.name: step for step in plan.steps}
    lines = list(_told(name, graph, list(declined), steps, plan))
    if not lines:
        raise GraphError(f"no node is called {shown(name)}: net.graph.order lists them")
    return "\n".join(lines)


def _told(name: str, graph: Graph, declined: Sequence[Decline], steps: Mapping[str, Step], plan: Plan) -> Iterator[str]:
    """The paragraphs for a name in the graph, or otherwise in the graphs that its nodes run."""
    names = _places(graph).get(name, ())
    if names and name not in graph:
        yield f"{name} went into {', '.join(names)}"
    found = said(graph, declined)
    for one in names:
        yield from _paragraph(one, graph.node(one), found, declined)
        yield from _running(steps[one], plan) if one in steps else ()
    for outer, node in graph.nodes() if not names else ():
        for label, region in _regions(node):
            lines = list(_told(name, region.graph, _within(declined, outer, label), {}, plan))
            yield from (f"in {label} of {outer}:", *(f"    {line}" for line in lines)) if lines else ()


def _explained(graph: Graph, declined: Sequence[Decline]) -> Iterator[str]:
    found = said(graph, declined)
    for name, node in graph.nodes():
        yield from _paragraph(name, node, found, declined)


def _paragraph(name: str, node: Node, found: Mapping[str, list[str]], declined: Sequence[Decline]) -> Iterator[str]:
    types = ", ".join(map(str, node.outputs))
    yield f"{name}: {node.op.name} -> {types}"
    yield from (f"    from {place}" for place in (*node.origin.modules, *node.origin.locations))
    yield from (f"    by {step}" for step in node.origin.history)
    yield from found.get(name, ())
    for label, region in _regions(node):
        yield f"    in {label}:"
        yield from (f"        {line}" for line in _explained(region.graph, _within(declined, name, label)))


def _regions(node: Node) -> Iterable[tuple[str, Region]]:
    return regions_of(node.attrs).items() if node.op.regions else ()


def _within(declined: Sequence[Decline], name: str, label: str) -> list[Decline]:
    """The entries that concern a region of a node."""
    return [one._replace(path=one.path[2:]) for one in declined if one.path[:2] == (name, label)]


def _places(graph: Graph) -> dict[str, list[str]]:
    """For each name that a node has or had, the nodes that it is or was merged into, according to their histories."""
    found: dict[str, list[str]] = {name: [name] for name in graph.order}
    for name, node in graph.nodes():
        for line in node.origin.history:
            listed = line.partition(": from ")[2].partition(" and ")[0].split(", ")
            for part in listed:
                if part not in graph and name not in found.setdefault(part, []):
                    found[part].append(name)
    return found


def said(graph: Graph, declined: Iterable[Decline]) -> dict[str, list[str]]:
    """For each node, why passes did not apply, unless another pass has merged the nodes concerned."""
    places, found = _places(graph), dict[str, list[str]]()
    for one in declined:
        if one.path:
            continue
        ends = [set(places.get(name, ())) for name in dict.fromkeys(one.nodes)]
        if not ends[0] or any(ends[0] & others for others in ends[1:]):
            continue
        for name, at in zip(dict.fromkeys(one.nodes), ends, strict=True):
            for end in sorted(at):
                of = "" if name == one.nodes[0] else f" at {one.nodes[0]}"
                found.setdefault(end, []).append(f"    not by {one.label}{of}: {one.reason}")
    return found


def _running(step: Step, plan: Plan) -> Iterator[str]:
    """How a node runs, with the predicted times of this and all other ways."""
    measured = plan.measured.get(step.name)
    when = ", once for a change of the parameters" if step.fixed else ""
    beside = f", {measured * 1e6:.1f} us measured" if measured is not None else ""
    yield f"    runs by {step.choice}: {step.choice.way.seconds * 1e6:.1f} us predicted{beside}{when}"
    for other, seconds in others(step, plan, read_values(plan.graph)):
        yield f"        not by {other}: {seconds * 1e6:.1f} us"


def others(step: Step, plan: Plan, read: set[Value]) -> Iterator[tuple[str, float]]:
    """The other ways to run a node of a plan, in which the values ``read`` are read, with predicted seconds."""
    node = as_read(step.name, plan.graph.node(step.name), read)
    types = tuple(map(plan.graph.type, plan.graph.inputs_of(step.name)))
    lasting = plan.lasting and not step.fixed
    stored = not lasting and weight_is_stored(plan.graph, step.name)
    for other in choices(node, types, threads=plan.threads, exact=plan.exact, lasting=lasting, stored=stored):
        if str(other) != str(step.choice):
            yield str(other), other.way.seconds
