"""Compiled models as ``.lucid`` files: the graphs, the weights, and the structure of arguments and result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from .arguments import Structure, from_json, leaf_names, to_json
from .errors import FileError, TraceError
from .graph import serialize
from .graph.ir import Graph
from .runtime.tuning import Tuned
from .specialization import Options, Specialization, TunedKey
from .tensor import Tensor


def write_archive(path: str | Path, specialization: Specialization) -> None:
    """Save a specialization; the file appears whole or not at all."""
    graphs = {"traced": specialization.traced, "optimised": specialization.graph}
    arrays = {name: specialization.state[name].numpy() for name in specialization.traced.parameters}
    extra = {
        "inputs": to_json(specialization.inputs),
        "outputs": to_json(specialization.outputs),
        "training": specialization.training,
        "exact": specialization.options.exact,
        "tuned": [
            {
                "sizes": dict(sizes),
                "threads": threads,
                "nodes": {name: [t.choice, t.seconds] for name, t in nodes.items()},
            }
            for (sizes, threads), nodes in specialization.tuned.items()
        ],
    }
    serialize.save(path, graphs, arrays, extra)


def read_archive(path: str | Path, options: Options) -> Specialization:
    """Load what :func:`write_archive` wrote, and check that its parts fit each other."""
    archive = serialize.load(path)
    try:
        traced, optimised = archive.graphs["traced"], archive.graphs["optimised"]
        inputs, outputs = _structure(archive.extra, "inputs"), _structure(archive.extra, "outputs")
        training = archive.extra["training"]
    except (KeyError, TraceError) as error:
        raise FileError(f"{path}: not a compiled model: {error}") from error
    _check(path, traced, optimised, inputs, outputs)
    tuned = _tuned(path, archive.extra.get("tuned", []))
    state: dict[str, Tensor] = {}
    for graph in (traced, optimised):
        for name, key in graph.parameters.items():
            type_, array = graph.node(key).outputs[0], archive.arrays.get(name)
            if array is None or array.shape != type_.shape or array.dtype != type_.dtype:
                raise FileError(f"{path}: parameter {name!r} should be {type_}, the file has {_kind(array)}")
            attrs: Any = graph.node(key).attrs
            state.setdefault(name, Tensor.wrap(array, requires_grad=attrs.trainable))
    was_exact = archive.extra.get("exact") is True
    known = None if options.exact and not was_exact else optimised  # an exact model does not go through all passes
    options = replace(options, exact=options.exact or was_exact)
    return Specialization(
        traced, inputs, outputs, state, training=training is True, options=options, optimised=known, tuned=tuned
    )


def _tuned(path: str | Path, found: Any) -> dict[TunedKey, dict[str, Tuned]]:
    """What tuning had found; a choice that does not exist here is left out when a plan is made."""
    try:
        return {
            (tuple(sorted((str(k), int(v)) for k, v in one["sizes"].items())), int(one["threads"])): {
                str(name): Tuned(str(choice), float(seconds)) for name, (choice, seconds) in one["nodes"].items()
            }
            for one in found
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileError(f"{path}: what it says of tuning is not readable: {error!r}") from error


def _structure(extra: Any, key: str) -> Structure:
    return from_json(extra[key])


def _kind(array: Any) -> str:
    return "none" if array is None else f"{array.dtype}{list(array.shape)}"


def _check(path: str | Path, traced: Graph, optimised: Graph, inputs: Structure, outputs: Structure) -> None:
    if len(list(leaf_names(inputs, "x"))) != len(traced.inputs) or len(list(leaf_names(outputs, "y"))) != len(
        traced.outputs
    ):
        raise FileError(f"{path}: the structure of arguments or results does not fit the graph")
    same = [(a.shape, a.dtype) for a in (*traced.input_types, *traced.output_types)] == [
        (a.shape, a.dtype) for a in (*optimised.input_types, *optimised.output_types)
    ]
    if not same or [name for name, _ in traced.updates] != [name for name, _ in optimised.updates]:
        raise FileError(f"{path}: the optimised graph does not have the inputs and outputs of the traced one")
    if set(optimised.parameters) - set(traced.parameters):
        raise FileError(f"{path}: the optimised graph reads parameters that the traced one does not have")
