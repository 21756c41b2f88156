"""Compiled models as ``.lucid`` files: graphs, weights, and the structure of arguments and results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..base.checks import named
from ..base.structs import struct
from ..errors import FileError, ShapeError, TraceError
from ..formats import serialize
from ..formats.serialize import Archive
from ..graph.assume import Assumption, parse_assumption
from ..graph.dims import limited_work
from ..graph.equations import line
from ..graph.ir import Graph
from ..graph.stages import found_sizes
from ..runtime.tuning import Tuned
from ..tensor.tensor import Tensor
from .arguments import MAPS, TEXT, Structure, from_json, leaf_names, leaf_structures, to_json
from .options import Options
from .programs import TunedKey
from .results import Results
from .specialization import Specialization


def write_archive(path: str | Path, specialization: Specialization) -> None:
    """Save a specialization, atomically."""
    serialize.save(path, *_content(specialization))


def archive_bytes(specialization: Specialization) -> bytes:
    """What :func:`write_archive` writes."""
    return serialize.dump(*_content(specialization))


def _content(specialization: Specialization) -> tuple[dict[str, Graph], dict[str, Any], dict[str, object]]:
    """The graphs, the arrays and the remaining content of an archive."""
    if specialization.options.backend is not None:  # it would be loaded as our own program, of a graph not made for one
        raise specialization.options.refusal("saved file")
    if specialization.results.changed:
        raise TraceError(
            "save: the model changes arguments in place, and what is loaded from a file gives results alone: compute "
            "new tensors in it (x = x + 1 in place of x += 1, no inplace=True)"
        )
    traced = specialization.traced
    graphs = {"traced": traced, "optimised": specialization.graph}
    names = dict.fromkeys([*traced.parameters, *(name for name, _ in traced.updates)])
    arrays = {name: specialization.state[name].numpy() for name in names}
    extra = {
        "inputs": to_json(specialization.inputs),
        "outputs": to_json(specialization.results.structure),
        "training": specialization.training,
        "exact": specialization.options.exact,
        "assumptions": [str(one) for one in specialization.assumptions],
        "tuned": [
            {
                "sizes": dict(sizes),
                "threads": threads,
                "nodes": {name: [t.choice, t.seconds] for name, t in nodes.items()},
            }
            for (sizes, threads), nodes in specialization.programs.tuned.items()
        ],
    }
    if specialization.in_place:
        extra["step"] = True
        if specialization.options.memory_budget is not None:
            extra["memory_budget"] = specialization.options.memory_budget
    if specialization.input_names:
        extra["names"] = list(specialization.input_names)
    return graphs, arrays, extra


def read_archive(path: str | Path, options: Options) -> Specialization:
    """Load what :func:`write_archive` wrote, and check that its parts are consistent."""
    return _specialization(serialize.load(path), str(path), options)


def archive_from_bytes(data: bytes, options: Options) -> Specialization:
    """The specialization that :func:`archive_bytes` wrote."""
    return _specialization(serialize.loads(data), "<bytes>", options)


def _specialization(archive: Archive, path: str, options: Options) -> Specialization:
    try:
        traced, optimised, found = _parts(archive)
        _check(traced, optimised, found)
        state = _state(traced, optimised, archive)
    except TraceError as error:
        raise FileError(f"{named(path)}: not a compiled model: {error}") from error
    known = None if options.exact and not found.exact else optimised  # exact models skip some passes: run them again
    return Specialization(
        traced, found.inputs, Results(found.outputs), state, training=found.training,
        options=replace(options, exact=options.exact or found.exact, memory_budget=found.budget),
        optimised=known, tuned=found.tuned, assumptions=found.assumptions, input_names=found.names, in_place=found.step,
    )  # fmt: skip


@struct(frozen=True)
class _Extra:
    """The content of a file besides graphs and arrays."""

    inputs: Structure
    outputs: Structure
    training: bool
    exact: bool
    step: bool
    budget: int | None
    tuned: dict[TunedKey, dict[str, Tuned]]
    assumptions: list[Assumption]
    names: list[str]


def _parts(archive: Archive) -> tuple[Graph, Graph, _Extra]:
    graphs, extra = archive.graphs, archive.extra
    if set(graphs) != {"traced", "optimised"}:
        raise TraceError(f"it has the graphs {sorted(graphs)[:5]}, not a traced and an optimised one")
    if not isinstance(extra, dict) or not {"inputs", "outputs", "training"} <= extra.keys():
        raise TraceError("it does not describe its inputs and outputs")
    flags = extra["training"], extra.get("exact", False)
    if not all(isinstance(flag, bool) for flag in flags):
        raise TraceError(f"training and exact are {str(flags)[:60]}, not true or false")
    step = extra.get("step", False)
    if not isinstance(step, bool):
        raise TraceError(f"whether it is a training step is {str(step)[:60]}, not true or false")
    budget = extra.get("memory_budget")
    if budget is not None and (type(budget) is not int or budget < 1 or not step):
        raise TraceError(f"its budget of memory is {str(budget)[:60]}, not a number of bytes of a training step")
    return (
        graphs["traced"],
        graphs["optimised"],
        _Extra(
            from_json(extra["inputs"]), from_json(extra["outputs"]), *flags, step, budget,
            _tuned(extra.get("tuned", [])), _assumptions(extra.get("assumptions", [])), _names(extra.get("names", [])),
        ),
    )  # fmt: skip


def _names(found: object) -> list[str]:
    """The names of the inputs."""
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found) or len(set(found)) < len(found):
        raise TraceError(f"its names of inputs are not readable: {str(found)[:60]}")
    return found


def _assumptions(found: object) -> list[Assumption]:
    """The assumptions of the trace about symbolic sizes."""
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise TraceError(f"its assumptions about sizes are not readable: {str(found)[:60]}")
    try:
        with limited_work(_ASSUMING):
            return [parse_assumption(one) for one in found]
    except ShapeError as error:
        raise TraceError(f"its assumptions about sizes are not readable: {error}") from error


_ASSUMING = 100_000
"""The most steps of arithmetic for reading the assumptions, of which a file may hold any number."""


def _tuned(found: object) -> dict[TunedKey, dict[str, Tuned]]:
    """The results of tuning; choices that do not exist here are ignored when a plan is made."""
    tuned: dict[TunedKey, dict[str, Tuned]] = {}
    for one in found if isinstance(found, list) else [found]:
        match one:
            case {"sizes": dict(sizes), "threads": int(threads), "nodes": dict(nodes)} if (
                all(map(_is_count, sizes.values())) and _is_count(threads) and all(map(_is_choice, nodes.values()))
            ):
                best = {name: Tuned(choice, float(seconds)) for name, (choice, seconds) in nodes.items()}
                tuned[tuple(sorted(sizes.items())), threads] = best
            case _:
                raise TraceError(f"its tuning results are not readable: {str(one)[:60]}")
    return tuned


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_choice(value: object) -> bool:
    if not isinstance(value, list) or len(value) != 2:
        return False
    return isinstance(value[0], str) and type(value[1]) in (int, float) and value[1] >= 0


def _state(traced: Graph, optimised: Graph, archive: Archive) -> dict[str, Tensor]:
    """The tensors behind the parameters, checked to be exactly those in the file."""
    state: dict[str, Tensor] = {}
    for graph in (traced, optimised):
        for name, key in graph.parameters.items():
            type_, array = graph.node(key).outputs[0], archive.arrays.get(name)
            if array is None or array.shape != type_.shape or array.dtype != type_.dtype:
                raise TraceError(f"parameter {name[:60]!r} should be {type_}, the file has {_kind(array)}")
            attrs: Any = graph.node(key).attrs
            state.setdefault(name, Tensor.wrap(array, requires_grad=attrs.trainable))
    for name, value in traced.updates:
        if name not in state:  # a buffer that is only written: files of the first version do not hold it
            type_ = traced.type(value)
            array = archive.arrays.get(name)
            array = np.zeros(type_.concrete, type_.dtype) if array is None else array
            if array.shape != type_.shape or array.dtype != type_.dtype:
                raise TraceError(f"parameter {name[:60]!r} becomes {type_}, the file has {_kind(array)}")
            state[name] = Tensor.wrap(array)
    if others := sorted(archive.arrays.keys() - state.keys()):
        raise TraceError(f"no graph reads the array {others[0][:60]!r}")
    return state


def _kind(array: Any) -> str:
    return "none" if array is None else f"{array.dtype}{list(array.shape)}"


def _check(traced: Graph, optimised: Graph, found: _Extra) -> None:
    """Check the two graphs against each other and against the structures of arguments and results."""
    leaves = [len(list(leaf_names(structure, ""))) for structure in (found.inputs, found.outputs)]
    if leaves != [len(traced.inputs), len(traced.outputs)] or not _are_arguments(found.inputs):
        raise TraceError("the structure of arguments or results does not fit the graph")
    if found.names and (len(found.inputs[2]) - 2, len(found.inputs[3]) - 1) != (len(found.names), 0):
        raise TraceError("the names of the inputs do not fit their structure")
    for structure, types in ((found.inputs, traced.input_types), (found.outputs, traced.output_types)):
        for (kind, *parts), type_ in zip(leaf_structures(structure), types, strict=True):
            if kind == TEXT and (type_.dtype != np.int32 or not type_.shape):
                raise TraceError(f"it says that {type_} holds strings")
            if kind == MAPS and (type_.rank not in (1, 2) or type_.shape[-1] != len(parts[0])):
                raise TraceError(f"it has {len(parts[0])} labels for the columns of {type_}")
    same = [(a.shape, a.dtype) for a in (*traced.input_types, *traced.output_types)] == [
        (a.shape, a.dtype) for a in (*optimised.input_types, *optimised.output_types)
    ]
    if not same or [name for name, _ in traced.updates] != [name for name, _ in optimised.updates]:
        raise TraceError("the optimised graph does not have the inputs and outputs of the traced one")
    if set(optimised.parameters) - set(traced.parameters):
        raise TraceError("the optimised graph reads parameters that the traced one does not have")
    sized = {measured.name for type_ in traced.input_types for dim in type_.shape if (measured := line(dim))}
    if unsized := set(traced.symbols) - sized:
        raise TraceError(f"no axis of an input has the size {min(unsized)!r}")
    if unknown := {name for one in found.assumptions for name in one.dim.symbols} - sized - found_sizes(traced).keys():
        raise TraceError(f"it assumes something about the size {min(unknown)[:60]!r}, which no axis of an input has")


def _are_arguments(structure: Structure) -> bool:
    """Whether it is a tuple of positional arguments and a dict of keyword arguments."""
    match structure:
        case ("tuple", _, ("tuple", *_), ("dict", *items)):
            return all(isinstance(key, str) for key, _ in items)
    return False
