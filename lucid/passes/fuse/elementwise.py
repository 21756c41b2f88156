"""Fuses element-wise ops into ``FusedElementwise`` nodes, whose intermediate results stay in the cache."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from typing import Final

from ...base.structs import struct
from ...graph.facts import is_elementwise, parameter_only
from ...graph.ir import Graph, Node, Value
from ...graph.opdef import apply
from ...graph.ops.fused import FUSED_ELEMENTWISE, FusedAttrs, Instruction
from ...graph.trace import Symbol
from ...graph.types import Shape
from ..rewrite import Declined, Site, rebuild


@struct(frozen=True)
class FuseOptions:
    """``limit``: the most ops one node may hold."""

    limit: int = 32


USUAL: Final = FuseOptions()


def fuse_elementwise(graph: Graph, options: FuseOptions = USUAL) -> Graph:
    """Fuse each element-wise op into its reader, if it has no other and the shapes are equal.

    A value may be read several times within one group, so groups are not only chains and trees. Nodes that depend on
    parameters only stay apart: they run once per change of the parameters.
    """
    groups = _Groups(graph, options.limit)

    def rule(site: Site) -> Symbol | None:
        if site.name in groups.left:
            reason, reader = groups.left[site.name]
            site.leave(Declined(reason, site.view(reader)))
        members = groups.members.get(site.name, ())
        if len(members) < 2:
            return None
        inputs: dict[Value, Symbol] = {}
        for name in members:
            for value in groups.feeds[name]:
                if value.node not in members:
                    inputs.setdefault(value, site.symbol_of(value))
        number = {value: i for i, value in enumerate(inputs)}
        program = []
        for name in members:
            node = graph.node(name)
            program.append(Instruction(node.op.name, node.attrs, tuple(number[v] for v in groups.feeds[name])))
            number[Value(name)] = len(number)
        site.absorb(*(site.view(name) for name in members))
        attrs = FusedAttrs(len(inputs), tuple(program))
        result: Symbol = apply(FUSED_ELEMENTWISE, attrs, *inputs.values())
        return result

    return rebuild(graph, rule, "fuse_elementwise") if groups.feeds else graph


class _Groups:
    """Which nodes are fused.

    The walk is from the last node to the first, so the readers of a node already have their groups. A node joins a
    group if all its readers are in it; then no path leaves the group and comes back.

    Attributes
    ----------
    members
        For the last node of each group, the names of all, in order.
    feeds
        The inputs of each fusible node.
    left
        For nodes that are not fused with a fusible reader: the reason, and the reader.
    """

    def __init__(self, graph: Graph, limit: int) -> None:
        self.graph = graph
        self.feeds = {name: graph.inputs_of(name) for name, node in graph.nodes() if _fusible(node)}
        self.members: dict[str, dict[str, None]] = {}
        self.left: dict[str, tuple[str, str]] = {}
        fixed = parameter_only(graph)
        results = {value.node for value in graph.results}
        root: dict[str, str] = {}
        size: dict[str, int] = {}
        for name in reversed(graph.order):
            if name not in self.feeds:
                continue
            groups = {root.get(user, "") for user in graph.dag.successors(name)}
            near = next((user for user in graph.dag.successors(name) if user in root), None)
            root[name] = name
            if near is not None:
                reason = self._apart(name, results, groups, size, limit, fixed)
                if not reason:
                    (root[name],) = groups
                elif not (name in fixed and near in fixed):  # those do not run at each call
                    self.left[name] = reason, near
            size[root[name]] = size.get(root[name], 0) + 1
        for name in graph.order:
            if name in root:
                self.members.setdefault(root[name], {})[name] = None

    def _apart(
        self, name: str, results: Container[str], groups: Collection[str], size: Mapping[str, int], limit: int,
        fixed: Container[str],
    ) -> str:  # fmt: skip
        """Why a node is not fused with its readers; empty if it is."""
        if name in results:
            return f"{name} is asked for as a result"
        if len(groups) > 1:
            return f"{name} is read by several that do not go together"
        (group,) = groups
        if (name in fixed) != (group in fixed):
            return f"{name} depends on parameters only, and is computed when these change"
        if self._shape(name) != self._shape(group):
            shapes = [", ".join(map(str, self._shape(one))) for one in (name, group)]
            return f"{name} has the shape ({shapes[0]}), and what reads it ({shapes[1]})"
        return f"a node holds at most {limit} ops" if size[group] >= limit else ""

    def _shape(self, name: str) -> Shape:
        return self.graph.node(name).outputs[0].shape


def _fusible(node: Node) -> bool:
    return is_elementwise(node) and node.op is not FUSED_ELEMENTWISE
