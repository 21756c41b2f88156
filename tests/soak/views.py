"""Every kind of view before and behind every op, through every lowering that accepts it.

A row of the table of ops is traced with its arguments seen through views (of an input, a parameter, or of what is made
of one), and its results too, so that the gradients that come in are views. Each lowering of each node runs in turn,
twice in the same memory with other inputs and parameters: what was copied when the program was bound would be stale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

import lucid
from lucid import nn
from lucid.errors import ExecutionError
from lucid.graph.builder import Builder
from lucid.graph.facts import read_values
from lucid.graph.ir import Graph
from lucid.graph.ops.pad import pad
from lucid.graph.ops.shape import STOP_GRADIENT
from lucid.graph.trace import Tracer
from lucid.reference import evaluate_reference
from lucid.runtime import eager
from lucid.runtime.planning.choosing import as_read
from lucid.runtime.planning.registry import Choice, choices
from lucid.runtime.program.plan import make_plan
from lucid.runtime.program.printer import generate

from ..cases.case import Case as Row
from ..op_checks import (
    _copied,
    _input,
    _tuple,
    all_cases,
    assert_all_close,
    channels_last,
    garbage_arena,
    inputs_of,
    joint_graph,
    projection_seeds,
    threads_only,
    types_of,
)
from .sweep import Case

SMALL = 500

TOLERANCE = {"float32": 1e-3, "float64": 1e-8}
"""Coarse lowerings of a gradient through two ops; stale memory is off by whole numbers, or NaN."""

ROUNDS = 6
"""Programs of one graph that are tried at most."""

Array = np.ndarray[Any, Any]
Rng = np.random.Generator


@dataclass(frozen=True)
class View:
    """What an array of a wanted shape is a view of (``base`` of such an array), and how it is seen there."""

    base: Callable[[Array], Array]
    see: Callable[[Any], Any]


# ---------------------------------------------------------------- kinds of views


def _axis(shape: Sequence[int], rng: Rng) -> int:
    return int(rng.integers(len(shape)))


def _cut(axis: int, part: slice) -> tuple[slice, ...]:
    return (*(slice(None),) * axis, part)


def _step(shape: Sequence[int], rng: Rng) -> View:
    axis = _axis(shape, rng)
    return View(lambda x: np.repeat(x, 2, axis), lambda t: t[_cut(axis, slice(None, None, 2))])


def _crop(shape: Sequence[int], rng: Rng) -> View:
    inner = tuple(slice(1, 1 + size) for size in shape)
    return View(lambda x: np.pad(x, 1, constant_values=1), lambda t: t[inner])


def _flip(shape: Sequence[int], rng: Rng) -> View:
    axis = _axis(shape, rng)
    return View(lambda x: x, lambda t: t.flip(axis))


def _narrow(shape: Sequence[int], rng: Rng) -> View:
    axis = _axis(shape, rng)
    return View(lambda x: np.concatenate([x, x], axis), lambda t: t.narrow(axis, 0, shape[axis]))


def _chunk(shape: Sequence[int], rng: Rng) -> View:
    axis = _axis(shape, rng)
    last = slice(shape[axis], 2 * shape[axis])
    return View(lambda x: np.concatenate([x, x], axis), lambda t: t[_cut(axis, last)])


def _permute(shape: Sequence[int], rng: Rng) -> View:
    axes = [int(a) for a in rng.permutation(len(shape))]
    back = [axes.index(a) for a in range(len(axes))]
    return View(lambda x: x.transpose(axes), lambda t: t.permute(*back))


def _transpose(shape: Sequence[int], rng: Rng) -> View:
    a, b = _axis(shape, rng), _axis(shape, rng)
    return View(lambda x: x.swapaxes(a, b), lambda t: t.transpose(a, b))


def _expand(shape: Sequence[int], rng: Rng) -> View:
    axis = _axis(shape, rng)
    return View(lambda x: x.take([0], axis) if x.size else x, lambda t: t.expand(*shape))


def _select(shape: Sequence[int], rng: Rng) -> View:
    return View(lambda x: np.stack([x, x], len(shape)), lambda t: t[..., 1])


def _squeeze(shape: Sequence[int], rng: Rng) -> View:
    return View(lambda x: x[None], lambda t: t.squeeze(0))


def _reshape(shape: Sequence[int], rng: Rng) -> View:
    return View(lambda x: x.reshape(-1), lambda t: t.reshape(shape))


def _turned_rows(shape: Sequence[int], rng: Rng) -> View:
    """A reshape of what does not lie in rows."""
    size = math.prod(shape)
    width = next((w for w in (3, 2, 5) if size % w == 0), 1)
    return View(lambda x: x.reshape(size // width, width).T, lambda t: t.transpose(0, 1).reshape(shape))


def _detached(shape: Sequence[int], rng: Rng) -> View:

    def see(t: Any) -> Any:
        return t.apply(STOP_GRADIENT, STOP_GRADIENT.attrs(), (t.flip(0),))[0].flip(0)

    return View(lambda x: x, see)


OF_ANY = (_select, _squeeze, _reshape, _turned_rows)
OF_AXES = (_step, _crop, _flip, _narrow, _chunk, _permute, _transpose, _expand, _detached)


def draw_view(shape: Sequence[int], rng: Rng, deep: bool = True) -> tuple[str, View]:
    """A view of an array of this shape, or a view of a view."""
    kinds = OF_ANY + OF_AXES * 2 if shape else OF_ANY
    kind = kinds[int(rng.integers(len(kinds)))]
    outer = kind(tuple(shape), rng)
    name = kind.__name__[1:]
    if deep and rng.random() < 0.4:
        below, inner = draw_view(outer.base(np.zeros(shape)).shape, rng, deep=False)
        return f"{name} of {below}", View(lambda x: inner.base(outer.base(x)), lambda t: outer.see(inner.see(t)))
    return name, outer


# ---------------------------------------------------------------- a graph of them


@dataclass(frozen=True)
class Seen:
    """One argument: its view, and whether what it is a view of is a parameter, and made in the program."""

    name: str
    view: View
    parameter: bool
    made: bool

    def __str__(self) -> str:
        return f"{self.name} of {'a made ' if self.made else 'a '}{'parameter' if self.parameter else 'input'}"


def _draw(row: Row, rng: Rng) -> tuple[list[Array], list[Seen], Callable[[Any], Any], str]:
    arrays, seen = [], []
    for index, array in enumerate(inputs_of(row, "float32")):
        name, view = draw_view(array.shape, rng)
        seen.append(Seen(name, view, index > 0 and rng.random() < 0.6, rng.random() < 0.7))
        arrays.append(np.array(view.base(array), order="C"))
    kinds = [_step_out, _turn_out, _flip_out, _pad_out, _expand_out, lambda y: y]
    out = kinds[int(rng.integers(len(kinds)))]
    return arrays, seen, out, out.__name__


def _step_out(y: Any) -> Any:
    return y[..., ::2] * 2 if y.type.rank else y * 2


def _turn_out(y: Any) -> Any:
    return y.transpose(-1, y.type.rank // 2) * 2 if y.type.rank > 1 else y * 2


def _flip_out(y: Any) -> Any:
    return y.flip(0) * 2 if y.type.rank else y * 2


def _pad_out(y: Any) -> Any:
    return pad(y, (1, 1)) * 2 if y.type.rank else y * 2


def _expand_out(y: Any) -> Any:
    return y.sum() * 2


def _graph(row: Row, arrays: Sequence[Array], seen: Sequence[Seen], out: Callable[[Any], Any]) -> Graph:
    tracer = Tracer(Builder())
    symbols = [_input(tracer, i, t, s.parameter) for i, (t, s) in enumerate(zip(types_of(arrays), seen, strict=True))]
    given = [s.view.see(_copied(x) if s.made else x) for x, s in zip(symbols, seen, strict=True)]
    results = [out(y) if y.type.dtype == "float32" else y for y in _tuple(row.function(*given))]
    return tracer.builder.finish([y.value for y in results])


# ---------------------------------------------------------------- running it


def _rounds(graph: Graph, threads: int, rng: Rng) -> Iterator[dict[str, Choice]]:
    """Choices of all nodes, until every lowering of each has had its turn."""
    read, found = read_values(graph), {}
    for name, node in graph.nodes():
        if not graph.inputs_of(name):
            continue
        types = tuple(graph.type(value) for value in graph.inputs_of(name))
        every: dict[str, list[Choice]] = {}
        for choice in choices(as_read(name, node, read), types, threads=threads):
            every.setdefault(choice.lowering.name, []).append(choice)
        found[name] = [ways[int(rng.integers(len(ways)))] for ways in every.values()]
    for number in range(min(ROUNDS, max(map(len, found.values()), default=1))):
        yield {name: ways[number % len(ways)] for name, ways in found.items()}


def _shuffled(x: Array, rng: Rng) -> Array:
    """The same numbers in another order; indices stay where they are."""
    return rng.permutation(np.array(x).reshape(-1)).reshape(x.shape) if x.dtype.kind == "f" else x.copy()


def _check_graph(graph: Graph, arrays: Sequence[Array], weights: set[int], rng: Rng, what: str) -> int:
    order = [int(name[1:]) for name in graph.parameters]  # those that are read
    which = [i for i in range(len(arrays)) if i not in weights]
    turns = [list(arrays), [_shuffled(x, rng) for x in arrays]]
    named = [{f"x{i}": turn[i] for i in order} for turn in turns]
    expected = [
        evaluate_reference(graph, [turn[i] for i in which], names) for turn, names in zip(turns, named, strict=True)
    ]
    tried = 1
    with np.errstate(all="ignore"):
        got = eager.evaluate(graph, [turns[0][i] for i in which], named[0])
    assert_all_close(got, expected[0], f"eager {what}", TOLERANCE)
    threads = int(rng.integers(1, 3))
    for chosen in _rounds(graph, threads, rng):
        plan = make_plan(graph, threads=threads, chosen=chosen)
        held = [turns[0][i].copy() for i in order]
        prepare, bind = generate(plan).load("program")(held)
        run = threads_only(threads).bind(bind, garbage_arena(plan.arena_bytes, None))
        for turn, want in zip(turns, expected, strict=True):
            for target, i in zip(held, order, strict=True):
                target[...] = turn[i]
            try:
                with np.errstate(all="ignore"):
                    prepare()
                    got = list(run(*(turn[i] for i in which)))
            except ExecutionError:
                if not any(np.isnan(y).any() for y in want):
                    raise
                continue  # NaN from beside a view: LAPACK may find no pivot among them, and call a matrix singular
            lowerings = ", ".join(f"{s.name} by {s.lowering}" for s in plan.steps if s.lowering != "numpy")
            assert_all_close(got, want, f"{what} ({lowerings})", TOLERANCE)
        tried += 1
    return tried


def check(row: Row, seed: int) -> int:
    """Forward, and where the row has a gradient forward and backward, in a layout of the images."""
    rng = np.random.default_rng(seed)
    arrays, seen, out, how = _draw(row, rng)
    graph = _graph(row, arrays, seen, out)
    what = f"{row.name} of {'; '.join(map(str, seen))}; {how}"
    feeds = list(arrays)
    if row.gradient and any(x.dtype.kind == "f" for x in arrays) and rng.random() < 0.6:
        seeds = projection_seeds(graph)
        graph, feeds = joint_graph(graph), [*arrays, *(s.astype("float32") for s in seeds)]
        what += "; gradients"
    if rng.random() < 0.5:
        graph, what = channels_last(graph), what + "; channels last"
    return _check_graph(graph, feeds, {i for i, s in enumerate(seen) if s.parameter}, rng, what)


# ---------------------------------------------------------------- as a user meets them


class _Model(nn.Module):
    """The row behind views of what is made of inputs and parameters."""

    def __init__(self, row: Row, arrays: Sequence[Array], seen: Sequence[Seen], out: Callable[[Any], Any]) -> None:
        super().__init__()
        self.row, self.seen, self.out = row.function, tuple(seen), out
        for i, (x, s) in enumerate(zip(arrays, seen, strict=True)):
            if s.parameter:
                self.register_buffer(f"x{i}", lucid.tensor(x))
                if x.dtype.kind == "f":
                    getattr(self, f"x{i}").requires_grad = True

    def forward(self, *inputs: Any) -> Any:
        rest, results = iter(inputs), []
        for i, s in enumerate(self.seen):
            x = getattr(self, f"x{i}") if s.parameter else next(rest)
            results.append(s.view.see(x * 0.75 + 0.125 if s.made and x.dtype.kind == "f" else x))
        return tuple(self.out(y) if y.dtype == "float32" else y for y in _tuple(self.row(*results)))


def _results(model: Any, module: nn.Module, inputs: Sequence[Array], gradients: bool) -> list[Array]:
    """What a call returns and, if asked for, the gradients of its sum."""
    tensors = [lucid.tensor(x, requires_grad=gradients and x.dtype.kind == "f") for x in inputs]
    results = model(*tensors)
    arrays = [y.numpy().copy() for y in results]
    if not gradients:
        return arrays
    for y in results:
        if y.requires_grad:
            y.sum().backward()
    for x in (*tensors, *module.buffers()):
        arrays.append(np.zeros(x.shape, x.dtype) if x.grad is None else x.grad.numpy().copy())
        x.grad = None
    return arrays


def check_program(row: Row, seed: int) -> int:
    """Eagerly, compiled, and compiled exactly, twice with other numbers, training and not."""
    rng = np.random.default_rng(seed)
    arrays, seen, out, how = _draw(row, rng)
    what = f"{row.name} of {'; '.join(map(str, seen))}; {how}"
    module = _Model(row, arrays, seen, out).train(bool(rng.integers(2)))
    programs = [lucid.compile(module, exact=exact, threads=int(rng.integers(1, 3))) for exact in (False, True)]
    gradients = row.gradient and bool(rng.integers(2))
    for _ in range(2):
        inputs = [_shuffled(x, rng) for x, s in zip(arrays, seen, strict=True) if not s.parameter]
        with lucid.set_grad_enabled(gradients):
            want = _results(module, module, inputs, gradients)
            for exact, program in enumerate(programs):
                got = _results(program, module, inputs, gradients)
                assert_all_close(got, want, f"compiled {what}, exact {exact}, gradients {gradients}", TOLERANCE)
        for x in module.buffers():
            x.copy_(_shuffled(x.numpy(), rng))
    return 4


@cache
def rows() -> list[Row]:
    """Those of the table whose results depend on their inputs alone."""
    return [row for row in all_cases() if row.name != "random-key"]


def cases(rng: Rng) -> Iterator[Case]:
    """The rows in turn, in a new order each time."""
    while True:
        for index in rng.permutation(len(rows())):
            row, seed = rows()[int(index)], int(rng.integers(1 << 31))
            how = check if rng.random() < 0.75 else check_program
            yield Case(f"{how.__name__} {row.name}, seed {seed}", partial(how, row, seed))
