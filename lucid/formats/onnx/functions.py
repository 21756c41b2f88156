"""Inlining of a model's local functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ...base.checks import named, shown
from ...base.lazy import LazyModule
from ...errors import GraphError, from_handler

if TYPE_CHECKING:
    from onnx import FunctionProto, ModelProto, NodeProto, OperatorSetIdProto

inliner: Any = LazyModule("onnx.inliner")

LARGEST = 1 << 18
"""The most nodes that a model may have after inlining."""
DEEPEST = 100
"""How deep functions may call each other."""


def inlined(proto: ModelProto) -> ModelProto:
    """The model with its local functions inlined.

    Raises
    ------
    GraphError
        If functions call themselves, or call each other so often that the graph would become too large.
    """
    called = {_key(one): _calls(one.node) for one in proto.functions}
    if len(called) < len(proto.functions):
        raise GraphError("two functions of the model have the same name")
    sizes = _sizes(called)
    whole = _expanded(_calls(proto.graph.node), sizes)
    if whole > LARGEST:
        raise GraphError(f"with its functions in their places the model has {whole:,} nodes; {LARGEST:,} is the most")
    try:
        model: ModelProto = inliner.inline_local_functions(_told_apart(proto))
        return model
    except Exception as error:
        if from_handler(error):
            raise
        raise GraphError(f"the functions of the model do not fit what calls them: {named(str(error))}") from error


OF_VERSION = "ai.onnx@"
"""Prefix, before the version, of the domain given to ONNX operators of another version than the model's."""


def _told_apart(proto: ModelProto) -> ModelProto:
    """The model with the version in the domain of ONNX operators, in functions that use another than the model.

    Otherwise these would take the model's version after inlining.
    """
    own = _versions(proto.opset_import)
    if all(_versions(one.opset_import).get("") in (None, own.get("")) for one in proto.functions):
        return proto
    made = type(proto)()
    made.CopyFrom(proto)
    for one in made.functions:
        version = _versions(one.opset_import).get("")
        if version is None or version == own.get(""):
            continue
        name = f"{OF_VERSION}{version}"
        pending = [one.node]
        for some in pending:
            for node in some:
                node.domain = name if node.domain in ("", "ai.onnx") else node.domain
                pending += [graph.node for at in node.attribute for graph in (at.g, *at.graphs) if graph.node]
        for held in one.opset_import:
            if held.domain in ("", "ai.onnx"):
                held.domain = name
        if name not in _versions(made.opset_import):
            made.opset_import.add(domain=name, version=version)
    return made


def _versions(imports: Iterable[OperatorSetIdProto]) -> dict[str, int]:
    return {"" if one.domain == "ai.onnx" else one.domain: one.version for one in imports}


Key = tuple[str, str, str]
"""Domain, name and overload of a function."""


def _key(one: FunctionProto) -> Key:
    return "" if one.domain == "ai.onnx" else one.domain, one.name, getattr(one, "overload", "")


def _calls(nodes: Iterable[NodeProto]) -> Counter[Key]:
    """How often each operator or function is applied by nodes, including those of nested graphs."""
    found: Counter[Key] = Counter()
    pending = [nodes]
    for some in pending:
        for node in some:
            domain = "" if node.domain == "ai.onnx" else node.domain
            found[domain, node.op_type, getattr(node, "overload", "")] += 1
            pending += [graph.node for one in node.attribute for graph in (one.g, *one.graphs) if graph.node]
    return found


def _expanded(calls: Counter[Key], sizes: dict[Key, int]) -> int:
    """The number of nodes that calls become, given the sizes of functions."""
    return sum(count * sizes.get(key, 1) for key, count in calls.items())


def _sizes(called: dict[Key, Counter[Key]]) -> dict[Key, int]:
    """The number of nodes that each function becomes, computed for callees before callers."""
    waiting = {key: {one for one in calls if one in called} for key, calls in called.items()}
    callers: dict[Key, list[Key]] = {}
    for key, before in waiting.items():
        for one in before:
            callers.setdefault(one, []).append(key)
    sizes: dict[Key, int] = {}
    depths: dict[Key, int] = {}
    ready = [key for key, before in waiting.items() if not before]
    for key in ready:
        sizes[key] = _expanded(called[key], sizes)
        depths[key] = 1 + max((depths[one] for one in called[key] if one in depths), default=0)
        if depths[key] > DEEPEST:
            raise GraphError(f"functions of the model call each other more than {DEEPEST} deep")
        for caller in callers.get(key, ()):
            waiting[caller].discard(key)
            if not waiting[caller]:
                ready.append(caller)
    left = next((key for key in called if key not in sizes), None)
    if left is not None:
        raise GraphError(f"the function {shown(left[1])} of the model calls itself")
    return sizes
