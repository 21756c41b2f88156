"""``lucid.grad`` and its relatives: function transformations as in JAX and ``torch.func``, which may be nested."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from .. import autograd
from ..autodiff.reverse import emit_gradients
from ..base.checks import flag, shown
from ..errors import GradientError, OptionError, ShapeError, TraceError
from ..graph.batching import with_batch_axis
from ..graph.ir import Value
from ..graph.opdef import AbstractTensor
from ..graph.ops.loops import scan
from ..graph.ops.source import full
from ..graph.region import Region, inline
from ..graph.trace import Symbol, active_trace
from ..graph.types import is_float
from ..graph.vectorize import dependents, depends, vectorized
from ..tensor.grad_mode import enable_grad, is_grad_enabled
from ..tensor.tensor import Tensor
from ..tensor.traced import TracedTensor
from .arguments import flatten, unflatten
from .entry import compile

Derived: TypeAlias = "Callable[..., Any]"
"""A function that gives derivatives, nested as the arguments and results of another one are."""


def value_and_grad(
    function: Callable[..., object], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Derived:
    """A function that returns ``(value, gradient)`` of a scalar function of tensors.

    Parameters
    ----------
    function
        Returns a tensor with one element.
    argnums
        The positional arguments to differentiate with respect to, each a tensor or nested lists, tuples and dicts of
        tensors. An int gives a single gradient, a tuple gives a tuple of gradients.
    has_aux
        Whether the function returns a tuple of the value and of something more, which is handed on:
        ``((value, more), gradient)``.

    Returns
    -------
    A compiled function; inside another compiled or differentiated function it becomes part of that graph.
    """
    numbers = argument_numbers("grad", function, argnums)
    flag("grad", "has_aux", has_aux)

    def differentiated(*args: object, **kwargs: object) -> object:
        chosen = Chosen("grad", args, numbers)
        found = function(*chosen.args, **kwargs)
        value = parted("grad", found)[0] if has_aux else found
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise GradientError("grad: the function must return a tensor with one element")
        objective = active_trace.get().lift(value)
        gradients = chosen.unflatten(_gradients({objective.value: full(objective, 1.0)}, chosen.symbols))
        return (tuple(found) if has_aux else value), (gradients[0] if isinstance(argnums, int) else gradients)  # type: ignore[arg-type]

    return compile(differentiated)


def grad(function: Callable[..., object], argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Derived:
    """A function that returns the gradient of a scalar function; see :func:`value_and_grad`.

    With ``has_aux`` it returns ``(gradient, more)``.
    """
    both = value_and_grad(function, argnums, has_aux)

    def gradient(*args: object, **kwargs: object) -> object:
        value, found = both(*args, **kwargs)
        return (found, value[1]) if has_aux else found

    return gradient


def grad_and_value(
    function: Callable[..., object], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Derived:
    """As :func:`lucid.value_and_grad` the other way round, as in PyTorch: ``(gradient, value)``."""
    both = value_and_grad(function, argnums, has_aux)

    def gradient_and_value(*args: object, **kwargs: object) -> object:
        value, found = both(*args, **kwargs)
        return found, value

    return gradient_and_value


def jacrev(
    function: Callable[..., object], argnums: int | tuple[int, ...] = 0, *, has_aux: bool = False,
    chunk_size: int | None = None,
) -> Derived:  # fmt: skip
    """A function that returns the derivatives of each element of what a function of tensors returns.

    Of a result of shape ``S`` and an argument of shape ``T`` they have the shape ``S + T``. The graph holds one walk
    from the results back to the arguments, for many elements of the results at once (as by :func:`lucid.func.vmap`).

    Parameters
    ----------
    function
        Returns a tensor, or nested lists, tuples and dicts of tensors.
    argnums
        The positional arguments, as of :func:`lucid.value_and_grad`. In place of each tensor of the result stands what
        belongs to them, for a tuple of numbers a tuple.
    has_aux
        Whether the function returns a tuple of the result and of something more, which is handed on:
        ``(derivatives, more)``.
    chunk_size
        For how many elements at once. By default for as many as take some megabytes, and of convolutions and poolings
        one after another, as these are no faster with more.

    Returns
    -------
    A compiled function; inside another compiled or differentiated function it becomes part of that graph.
    """
    numbers = argument_numbers("jacrev", function, argnums)
    flag("jacrev", "has_aux", has_aux)
    check_chunk("jacrev", chunk_size)

    def differentiated(*args: object, **kwargs: object) -> object:
        chosen = Chosen("jacrev", args, numbers)
        found = function(*chosen.args, **kwargs)
        result, more = parted("jacrev", found) if has_aux else (found, None)
        leaves, structure = flatten(result, results=True)
        rows = [chosen.unflatten(_rows(y, chosen.symbols, chunk_size)) for y in leaves]
        whole = unflatten(structure, [row[0] if isinstance(argnums, int) else row for row in rows])
        return (whole, more) if has_aux else whole

    return compile(differentiated)


def hessian(function: Callable[..., object], argnums: int | tuple[int, ...] = 0) -> Derived:
    """A function that returns the second derivatives of a function of tensors: :func:`jacrev` of its :func:`jacrev`."""
    return jacrev(jacrev(function, argnums), argnums)


def check_chunk(owner: str, chunk_size: object) -> None:
    """Raise unless this is a number of rows, or None."""
    if chunk_size is not None and (isinstance(chunk_size, bool) or not isinstance(chunk_size, int) or chunk_size < 1):
        raise OptionError(f"{owner}: chunk_size is a number of at least 1, or None, got {shown(chunk_size)}")


def argument_numbers(owner: str, function: object, argnums: object) -> tuple[int, ...]:
    """The numbers of the arguments to differentiate with respect to, which may be a single one."""
    if not callable(function) or isinstance(function, type):
        raise OptionError(f"{owner}: differentiates a function, got {shown(function)}")
    numbers = (argnums,) if isinstance(argnums, int) and not isinstance(argnums, bool) else argnums
    if not isinstance(numbers, tuple) or not all(isinstance(n, int) and not isinstance(n, bool) for n in numbers):
        raise OptionError(f"{owner}: argnums is an int or a tuple of ints, got {shown(argnums)}")
    return numbers


def parted(owner: str, found: object) -> tuple[object, object]:
    """What a function with ``has_aux`` returned."""
    if not isinstance(found, tuple) or len(found) != 2:
        raise OptionError(f"{owner}: with has_aux the function returns a tuple of two, got {shown(found)}")
    return found


class Chosen:
    """The arguments of a function, those to differentiate with respect to as values of their own.

    The function may know the same tensors otherwise. ``symbols`` are as the arguments are now: the function may change
    them in place.
    """

    def __init__(self, owner: str, args: tuple[object, ...], numbers: tuple[int, ...]) -> None:
        self._places = [_place(owner, args, n) for n in numbers]
        self._distinct = tuple(dict.fromkeys(self._places))
        tensors, self._structure = flatten(tuple(args[p] for p in self._distinct))
        if not tensors:
            given = shown(args[self._places[0]]) if self._places else "no argument"
            raise GradientError(f"{owner}: gradients are of tensors, got {given}; make it lucid.tensor(...)")
        recorder = active_trace.get()
        read = [recorder.read(x) for x in tensors]
        self.symbols: list[Symbol] = [recorder.lift(x) for x in read]
        for symbol in self.symbols:
            if not is_float(symbol.type.dtype):
                raise GradientError(f"{owner}: {symbol.type} has no gradient, only floating-point tensors have")
        own = dict(zip(self._distinct, unflatten(self._structure, read), strict=True))
        self.args = tuple(own.get(p, x) for p, x in enumerate(args))

    def unflatten(self, found: Sequence[object]) -> tuple[object, ...]:
        """What was found of each symbol as the arguments are nested, for each number."""
        by_place = dict(zip(self._distinct, unflatten(self._structure, found), strict=True))
        return tuple(by_place[p] for p in self._places)


def _place(owner: str, args: tuple[object, ...], number: int) -> int:
    if not -len(args) <= number < len(args):
        raise OptionError(f"{owner}: there is no positional argument {number}; {len(args)} were given")
    return number % len(args)


def _emitted(seeds: Mapping[Value, Symbol], symbols: Sequence[Symbol]) -> list[Symbol]:
    """The gradients with respect to the symbols, zeros where none flows."""
    found = emit_gradients(symbols[0].tracer, seeds, [symbol.value for symbol in symbols])
    return [full(x, 0.0) if g is None else g for g, x in zip(found, symbols, strict=True)]


def _gradients(seeds: Mapping[Value, Symbol], symbols: Sequence[Symbol]) -> list[Tensor]:
    return [TracedTensor(g) for g in _emitted(seeds, symbols)]


def _rows(result: Tensor, symbols: Sequence[Symbol], chunk: int | None) -> list[Tensor]:
    """The derivatives of each element of a result.

    Each row of the identity is a gradient of the result. The walk is recorded of one row, and what it reads of the
    forward computation is captured from around it.
    """
    y = active_trace.get().lift(result)
    shape = y.type.shape
    if not is_float(y.type.dtype):
        raise GradientError(f"jacrev: a result of type {y.type} has no gradient")
    sizes = [size for size in shape if isinstance(size, int)]
    if len(sizes) < len(shape):
        raise ShapeError(f"jacrev: derivatives are of each element, and how many {y.type} has is not known here")
    count = math.prod(sizes)
    seeds = y.constant(np.eye(count, dtype=y.type.dtype).reshape(count, *sizes))

    def turn(seed: AbstractTensor) -> Sequence[AbstractTensor]:
        assert isinstance(seed, Symbol)
        return _emitted({y.value: seed}, symbols)

    tracer = active_trace.get().tracer
    (walk, *_), captures = tracer.record([y.type], turn)
    differ = [True, *(False for _ in captures)]
    chunk = chunk or _at_once(walk, differ)
    if chunk == 1:
        stacked = scan(lambda seed: inline(walk, [seed, *captures], seed), [], [seeds], count)
    else:
        stacked = vectorized(tracer, walk, [seeds, *captures], differ, count, chunk)
    found = zip(stacked, depends(walk, differ), symbols, strict=True)
    return [as_traced(with_batch_axis(rows, one, count).reshape((*shape, *x.type.shape))) for rows, one, x in found]


def as_traced(y: AbstractTensor) -> TracedTensor:
    """A symbol as a tensor of the trace."""
    assert isinstance(y, Symbol)
    return TracedTensor(y)


_ELEMENTS = 1 << 20
"""About how many numbers of a walk back are computed at once."""


def _at_once(walk: Region, differ: Sequence[bool]) -> int:
    """For how many elements of a result the walk is taken at once."""
    nodes = [walk.graph.node(name) for name in dependents(walk, differ)]
    sizes = [type_.size for node in nodes for type_ in node.outputs]
    known = [size for size in sizes if isinstance(size, int)]
    if len(known) < len(sizes) or any(node.op.windowed for node in nodes):
        return 1
    return max(1, _ELEMENTS // max(1, *known))


def vjp(function: Callable[..., object], *primals: object, has_aux: bool = False) -> tuple[Any, ...]:
    """What a function returns of its arguments, and a function that goes back from there.

    The second one takes a tensor for each tensor of the result, nested as that is, and returns a tuple with the
    gradient of their product for each argument. Without ``create_graph``, these can be differentiated wherever
    gradients are recorded; of what a compiled model gives they cannot, so ask for them within ``lucid.no_grad()``.

    Parameters
    ----------
    function
        Returns a tensor, or nested lists, tuples and dicts of tensors. It is called once.
    primals
        Its arguments, each a tensor or nested lists, tuples and dicts of tensors.
    has_aux
        Whether the function returns a tuple of the result and of something more, which comes third.
    """
    argument_numbers("vjp", function, 0)
    flag("vjp", "has_aux", has_aux)
    tensors, structure = flatten(primals)
    leaves = [_leaf(x) for x in tensors]
    with enable_grad():
        found = function(*unflatten(structure, leaves))
    result, more = parted("vjp", found) if has_aux else (found, None)
    ends, nesting = flatten(result, results=True)
    recorder = active_trace.get()
    traced = None if recorder is None else ([recorder.lift(y) for y in ends], [recorder.lift(x) for x in leaves])

    def back(cotangents: object, retain_graph: bool = True, create_graph: bool | None = None) -> tuple[object, ...]:
        seeds, given = flatten(cotangents)
        if given != nesting:
            raise OptionError(
                f"vjp: a tensor for each tensor of the result, nested as that is, got {shown(cotangents)}"
            )
        create = is_grad_enabled() if create_graph is None else create_graph
        if traced is not None:
            moved = [x if create else x.detach() for x in _pulled(*traced, seeds)]
            return unflatten(structure, moved)  # type: ignore[no-any-return]  # a tuple, as the arguments are
        if active_trace.get() is not None:
            raise TraceError(
                "vjp: this walk back is of values computed outside the function that is traced or mapped, of which its "
                "graph knows nothing; call vjp within, as in vmap(lambda v: vjp(f, x)[1](v))(vs): it is computed once"
            )
        pairs = [(y, seed) for y, seed in zip(ends, seeds, strict=True) if y.requires_grad]
        gradients: Sequence[Tensor | None] = [None] * len(leaves)
        if pairs and leaves:
            outputs, weights = [y for y, _ in pairs], [seed for _, seed in pairs]
            gradients = autograd.grad(outputs, leaves, weights, retain_graph, create, allow_unused=True)
        zeros = [full(x, 0.0) if g is None else g for g, x in zip(gradients, leaves, strict=True)]
        whole: tuple[object, ...] = unflatten(structure, zeros)
        return whole

    return (result, back, more) if has_aux else (result, back)


def jvp(
    func: Callable[..., object], primals: tuple[object, ...], tangents: tuple[object, ...], *, has_aux: bool = False
) -> tuple[Any, ...]:
    """What a function returns of its arguments, and how that changes as they move along ``tangents``.

    This is the derivative of :func:`vjp`, which is linear in what it takes: two walks backwards for one forwards.

    Parameters
    ----------
    func
        Returns a floating-point tensor, or nested lists, tuples and dicts of such. It is called once.
    primals
        Its arguments, each a tensor or nested lists, tuples and dicts of tensors.
    tangents
        For each argument a direction, of the same shapes and nested alike.
    has_aux
        Whether the function returns a tuple of the result and of something more, which comes third.

    Returns
    -------
    The result and its change, nested alike.
    """
    for name, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, tuple):
            raise OptionError(f"jvp: {name} is a tuple with one for each argument, got {shown(given)}")
    result, back, *more = vjp(func, *primals, has_aux=has_aux)
    ends, nesting = flatten(result, results=True)

    def pulled(*cotangents: object) -> object:
        return back(unflatten(nesting, cotangents), create_graph=True)

    with enable_grad():
        _, along = vjp(pulled, *(full(y, 0.0) for y in ends))
    return (result, unflatten(nesting, along(tangents)), *more)


def _pulled(ends: Sequence[Symbol], leaves: Sequence[Symbol], seeds: Sequence[object]) -> list[Tensor]:
    """The gradients of values of a graph, for seeds of that graph or of a region of it."""
    recorder, weights = active_trace.get(), dict[Value, Symbol]()
    for y, seed in zip(ends, seeds, strict=True):
        weight = recorder.lift(seed)
        if not is_float(y.type.dtype):
            raise GradientError(f"vjp: a result of type {y.type} has no gradient")
        if weight.type.shape != y.type.shape:
            raise ShapeError(f"vjp: a cotangent of shape {weight.type.shape} for a result of type {y.type}")
        weight = weight.to(y.type.dtype)
        weights[y.value] = weights[y.value] + weight if y.value in weights else weight
    return _gradients(weights, leaves) if leaves else []


def _leaf(x: object) -> Tensor:
    """An argument as a value of its own, of which gradients can be asked for."""
    given = x if isinstance(x, Tensor) else Tensor(x)  # type: ignore[arg-type]  # an array
    if not is_float(given.type.dtype):
        raise GradientError(f"vjp: {given.type} has no gradient, only floating-point tensors have")
    if active_trace.get() is not None or (is_grad_enabled() and given.requires_grad):
        copy: Tensor = given.clone()
    else:
        copy = given.detach().clone().requires_grad_()
    return copy
