"""``lucid info``: a description of a model, for which no more of a file is read than necessary."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import field

import click

from ..base.checks import named
from ..base.lazy import LazyModule
from ..base.structs import struct
from ..formats.onnx import ops as ops  # which register themselves
from ..formats.onnx.model import ValueDef
from ..formats.onnx.reader import read
from ..formats.onnx.registry import find
from ..formats.serialize import skim
from ..graph.ir import Graph
from ..graph.types import TensorType
from . import options
from .answer import Answer, Table, amount, facts
from .sources import kind_of

models = LazyModule("lucid.cli.models")

PARAMETERS = (options.model(), options.SPECS, click.Option(["--weights"], is_flag=True, help="List the weights too."))


@struct
class _Found:
    """What is known about a model; unknown fields are empty."""

    about: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    assumes: list[str] = field(default_factory=list)
    nodes: dict[str, int] = field(default_factory=dict)
    operators: Counter[str] = field(default_factory=Counter)
    unsupported: list[str] = field(default_factory=list)
    weights: dict[str, TensorType] | None = None


def run(model: str, weights: bool, settings: options.Settings) -> Answer:
    """Weights are not read, and whether a file is damaged is not asked: `lucid verify` does."""
    kind = kind_of(model)
    found = _of_lucid(model) if kind == "lucid" else _of_onnx(model) if kind == "onnx" else _of_python(model, settings)
    data: dict[str, object] = {"model": model, "kind": kind}
    if kind != "python":
        data["bytes"] = os.path.getsize(model)
        found.about = {"file": amount(os.path.getsize(model)), **found.about}
    data |= {name: value for name, value in vars(found).items() if name != "weights"}
    if found.weights is not None:
        data["weights"] = _sums(found.weights) | (
            {"list": {name: str(type_) for name, type_ in found.weights.items()}} if weights else {}
        )
    return Answer(data, _parts(model, found, weights))


def _sums(weights: Mapping[str, TensorType]) -> dict[str, object]:
    numbers = sum(type_.nbytes // type_.dtype.itemsize for type_ in weights.values())
    return {"count": len(weights), "numbers": numbers, "bytes": sum(type_.nbytes for type_ in weights.values())}


def _parts(model: str, found: _Found, weights: bool) -> list[str | Table]:
    about = dict(found.about)
    if found.weights is not None:
        sums = _sums(found.weights)
        about["weights"] = f"{sums['numbers']:,} numbers in {sums['count']} arrays, {amount(float(str(sums['bytes'])))}"
    if found.assumes:
        about["holds where"] = ", ".join(found.assumes)
    if found.nodes:
        about["nodes"] = ", ".join(f"{count} {name}" for name, count in found.nodes.items())
    ends = [("input", name, type_) for name, type_ in found.inputs.items()]
    ends += [("output", name, type_) for name, type_ in found.outputs.items()]
    parts: list[str | Table] = [named(model), facts(**about)]
    if ends:
        parts.append(Table(("", "name", "type"), ends))
    if found.operators:
        parts.append(Table(("operator", ">nodes"), [(op, str(count)) for op, count in found.operators.most_common()]))
    if found.unsupported:
        parts.append(Table(("not supported",), [(line,) for line in found.unsupported]))
    if weights and found.weights:
        rows = [(name, str(type_), amount(type_.nbytes)) for name, type_ in found.weights.items()]
        parts.append(Table(("weight", "type", ">size"), rows))
    return parts


# ---------------------------------------------------------------- of each kind


def _of_lucid(path: str) -> _Found:
    archive = skim(path)
    extra = archive.extra if isinstance(archive.extra, dict) else {}
    found = _Found({"format": ".lucid"})
    if isinstance(extra.get("training"), bool):
        found.about["saved in"] = "training mode" if extra["training"] else "evaluation mode"
    if extra.get("exact") is True:
        found.about["compiled"] = "exact"
    found.assumes = [str(one) for one in extra.get("assumptions", ()) if isinstance(one, str)]
    found.nodes = {name: len(graph) for name, graph in archive.graphs.items()}
    graph = archive.graphs.get("traced") or next(iter(archive.graphs.values()), None)
    if graph is not None:
        _take_graph(found, graph)
        names = extra.get("names", ())
        if len(names) == len(found.inputs):  # of an ONNX model, as it had them
            found.inputs = dict(zip(map(str, names), found.inputs.values(), strict=True))
    found.weights = {name: TensorType(array.shape, array.dtype) for name, array in archive.arrays.items()}
    return found


def _take_graph(found: _Found, graph: Graph) -> None:
    """Take inputs, outputs and operators from a traced graph."""
    found.inputs = {name: str(type_) for name, type_ in zip(graph.inputs, graph.input_types, strict=True)}
    found.outputs = {f"{n}: {v.node}": str(graph.type(v)) for n, v in enumerate(graph.outputs)}
    found.operators = Counter(node.op.name for _, node in graph.nodes() if node.op.source is None)


def _of_onnx(path: str) -> _Found:
    model = read(path, weights=False)
    graph = model.graph
    found = _Found({"format": "ONNX", "made by": model.producer})
    found.about["opset"] = ", ".join(
        f"{named(domain) or 'ai.onnx'} {version}" for domain, version in sorted(model.opsets.items())
    )
    found.inputs = {one.name: _onnx_type(one) for one in graph.inputs}
    found.outputs = {one.name: _onnx_type(one) for one in graph.outputs}
    nodes = list(graph.walk())
    found.operators = Counter(node.kind for node in nodes)
    found.nodes = {"in the file": len(nodes)}
    found.unsupported = [f"{node.kind} of opset {node.version}, in {node}" for node in nodes if find(node) is None]
    return found


def _onnx_type(one: ValueDef) -> str:
    kind = "?" if one.dtype is None else one.dtype.name
    if one.shape is None:
        return kind
    return f"{kind}[{', '.join('?' if size is None else str(size) for size in one.shape)}]"


def _of_python(name: str, settings: options.Settings) -> _Found:
    model = models.attribute(name)
    found = _Found({"is": type(model).__name__})
    if settings.specs or isinstance(model, Graph | models.CompiledModel):
        net = models.open_model(name, settings)
        found.nodes = {"traced": len(net.traced), "optimised": len(net.graph)}
        _take_graph(found, net.traced)
    if isinstance(model, models.Module):
        found.about["module"] = f"{sum(1 for _ in model.modules())} modules"
        state = model.state_dict()
        found.weights = {key: TensorType(tuple(array.shape), array.dtype) for key, array in state.items()}
    return found
