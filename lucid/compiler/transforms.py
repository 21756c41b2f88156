"""``lucid.grad``, ``jacrev``, ``vjp`` and their relatives: function transformations as in JAX and ``torch.func``.

Each takes a function of tensors and computes derivatives of it. They nest, in one another and in compiled functions.
"""

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
"""The function that a transformation returns."""


def value_and_grad(
    function: Callable[..., object], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Derived:
    """A function that returns ``(value, gradient)`` of a scalar function of tensors.

    Parameters
    ----------
    function
        A function that returns a tensor with one element.
    argnums
        The positional arguments to differentiate with respect to, each a tensor or nested lists, tuples and dicts of
        tensors. An int gives a single gradient, a tuple gives a tuple of gradients.
    has_aux
        Whether the function returns ``(value, aux)``. The auxiliary result ``aux`` is not differentiated but passed on:
        ``((value, aux), gradient)``.

    Returns
    -------
    A compiled function; inside another compiled or differentiated function it becomes part of that graph.
    """
    numbers = argument_numbers("grad", function, argnums)
    flag("grad", "has_aux", has_aux)

    def differentiated(*args: object, **kwargs: object) -> object:
        arguments = DifferentiatedArguments("grad", args, numbers)
        returned = function(*arguments.args, **kwargs)
        value, aux = split_aux("grad", returned) if has_aux else (returned, None)
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise GradientError("grad: the function must return a tensor with one element")
        objective = active_trace.get().lift(value)
        gradients = arguments.unflatten(_gradients({objective.value: full(objective, 1.0)}, arguments.symbols))
        return ((value, aux) if has_aux else value), (gradients[0] if isinstance(argnums, int) else gradients)

    return compile(differentiated)


def grad(function: Callable[..., object], argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Derived:
    """A function that returns the gradient of a scalar function; see :func:`value_and_grad`.

    With ``has_aux`` it returns ``(gradient, aux)``.
    """
    value_and_gradient = value_and_grad(function, argnums, has_aux)

    def gradient_of(*args: object, **kwargs: object) -> object:
        value, gradient = value_and_gradient(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return gradient_of


def grad_and_value(
    function: Callable[..., object], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Derived:
    """As :func:`lucid.value_and_grad`, with the results in PyTorch's order: ``(gradient, value)``."""
    value_and_gradient = value_and_grad(function, argnums, has_aux)

    def gradient_and_value(*args: object, **kwargs: object) -> object:
        value, gradient = value_and_gradient(*args, **kwargs)
        return gradient, value

    return gradient_and_value


def jacrev(
    function: Callable[..., object], argnums: int | tuple[int, ...] = 0, *, has_aux: bool = False,
    chunk_size: int | None = None,
) -> Derived:  # fmt: skip
    """A function that returns the Jacobian of a function of tensors, by reverse-mode differentiation.

    For a result of shape ``S`` and an argument of shape ``T`` the Jacobian has the shape ``S + T``. The graph holds one
    backward walk, vectorised over the elements of the result (as by :func:`lucid.func.vmap`).

    Parameters
    ----------
    function
        A function that returns a tensor, or nested lists, tuples and dicts of tensors.
    argnums
        The positional arguments to differentiate with respect to, as for :func:`lucid.value_and_grad`. In the
        result, each tensor is replaced by its Jacobian; for a tuple of arguments, by a tuple of Jacobians.
    has_aux
        Whether the function returns ``(result, aux)``. The auxiliary result is passed on: ``(jacobian, aux)``.
    chunk_size
        The number of elements of the result, and so of rows of the Jacobian, computed at once. By default as many as
        take some megabytes; one if there are convolutions or poolings, which are no faster on larger batches.

    Returns
    -------
    A compiled function; inside another compiled or differentiated function it becomes part of that graph.
    """
    numbers = argument_numbers("jacrev", function, argnums)
    flag("jacrev", "has_aux", has_aux)
    check_chunk("jacrev", chunk_size)

    def differentiated(*args: object, **kwargs: object) -> object:
        arguments = DifferentiatedArguments("jacrev", args, numbers)
        returned = function(*arguments.args, **kwargs)
        result, aux = split_aux("jacrev", returned) if has_aux else (returned, None)
        leaves, structure = flatten(result, results=True)
        jacobians = [arguments.unflatten(_jacobians(y, arguments.symbols, chunk_size)) for y in leaves]
        nested = unflatten(structure, [each[0] if isinstance(argnums, int) else each for each in jacobians])
        return (nested, aux) if has_aux else nested

    return compile(differentiated)


def hessian(function: Callable[..., object], argnums: int | tuple[int, ...] = 0) -> Derived:
    """A function that returns the Hessian of a function of tensors: :func:`jacrev` of its :func:`jacrev`."""
    return jacrev(jacrev(function, argnums), argnums)


def check_chunk(owner: str, chunk_size: object) -> None:
    """Raise unless ``chunk_size`` is a positive int or None."""
    if chunk_size is not None and (isinstance(chunk_size, bool) or not isinstance(chunk_size, int) or chunk_size < 1):
        raise OptionError(f"{owner}: chunk_size is a number of at least 1, or None, got {shown(chunk_size)}")


def argument_numbers(owner: str, function: object, argnums: object) -> tuple[int, ...]:
    """The positions of the arguments to differentiate with respect to, as a tuple even for a single int."""
    if not callable(function) or isinstance(function, type):
        raise OptionError(f"{owner}: differentiates a function, got {shown(function)}")
    numbers = (argnums,) if isinstance(argnums, int) and not isinstance(argnums, bool) else argnums
    if not isinstance(numbers, tuple) or not all(isinstance(n, int) and not isinstance(n, bool) for n in numbers):
        raise OptionError(f"{owner}: argnums is an int or a tuple of ints, got {shown(argnums)}")
    return numbers


def split_aux(owner: str, returned: object) -> tuple[object, object]:
    """The result and the auxiliary result that a function with ``has_aux`` returned."""
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise OptionError(f"{owner}: with has_aux the function returns a tuple of two, got {shown(returned)}")
    return returned


class DifferentiatedArguments:
    """The arguments of a function, where those to differentiate with respect to are distinct values of the graph.

    The function may also reach the same tensors in other ways, such as by a closure; those uses are not differentiated.

    Attributes
    ----------
    args
        The positional arguments to call the function with.
    symbols
        The tensors to differentiate with respect to, as they are before the call, which may change them in place.
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

    def unflatten(self, derivatives: Sequence[object]) -> tuple[object, ...]:
        """One item for each of :attr:`symbols`, nested as the arguments are: one entry for each of the positions."""
        by_place = dict(zip(self._distinct, unflatten(self._structure, derivatives), strict=True))
        return tuple(by_place[p] for p in self._places)


def _place(owner: str, args: tuple[object, ...], number: int) -> int:
    if not -len(args) <= number < len(args):
        raise OptionError(f"{owner}: there is no positional argument {number}; {len(args)} were given")
    return number % len(args)


def _gradient_symbols(seeds: Mapping[Value, Symbol], symbols: Sequence[Symbol]) -> list[Symbol]:
    """The gradients with respect to the symbols, zeros where none flows, from the cotangents of values."""
    gradients = emit_gradients(symbols[0].tracer, seeds, [symbol.value for symbol in symbols])
    return [full(x, 0.0) if g is None else g for g, x in zip(gradients, symbols, strict=True)]


def _gradients(seeds: Mapping[Value, Symbol], symbols: Sequence[Symbol]) -> list[Tensor]:
    return [TracedTensor(g) for g in _gradient_symbols(seeds, symbols)]


def _jacobians(result: Tensor, symbols: Sequence[Symbol], chunk: int | None) -> list[Tensor]:
    """The Jacobian of a result with respect to each symbol.

    A row of the Jacobian is the gradient for a row of the identity as the cotangent. The backward walk is recorded for
    one such row as a region, which captures what it reads of the forward computation, and is then vectorised.
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

    def backward(seed: AbstractTensor) -> Sequence[AbstractTensor]:
        assert isinstance(seed, Symbol)
        return _gradient_symbols({y.value: seed}, symbols)

    tracer = active_trace.get().tracer
    (walk, *_), captures = tracer.record([y.type], backward)
    batched = [True, *(False for _ in captures)]
    chunk = chunk or _default_chunk(walk, batched)
    if chunk == 1:
        stacked = scan(lambda seed: inline(walk, [seed, *captures], seed), [], [seeds], count)
    else:
        stacked = vectorized(tracer, walk, [seeds, *captures], batched, count, chunk)
    jacobians = zip(stacked, depends(walk, batched), symbols, strict=True)
    return [as_traced(with_batch_axis(y, flag, count).reshape((*shape, *x.type.shape))) for y, flag, x in jacobians]


def as_traced(y: AbstractTensor) -> TracedTensor:
    """A symbol as a tensor of the trace."""
    assert isinstance(y, Symbol)
    return TracedTensor(y)


_CHUNK_ELEMENTS = 1 << 20
"""The most elements that the largest value of a vectorised backward walk should have."""


def _default_chunk(walk: Region, batched: Sequence[bool]) -> int:
    """How many rows of a Jacobian to compute at once; see :func:`jacrev`."""
    nodes = [walk.graph.node(name) for name in dependents(walk, batched)]
    sizes = [type_.size for node in nodes for type_ in node.outputs]
    known = [size for size in sizes if isinstance(size, int)]
    if len(known) < len(sizes) or any(node.op.windowed for node in nodes):
        return 1
    return max(1, _CHUNK_ELEMENTS // max(1, *known))


def vjp(function: Callable[..., object], *primals: object, has_aux: bool = False) -> tuple[Any, ...]:
    """The result of a function, and the function that computes vector-Jacobian products at that point.

    The latter, ``vjp_fn(cotangents, retain_graph=True, create_graph=None)``, takes a cotangent for each tensor of the
    result, nested as the result is, and returns a tuple with the gradient for each argument. By default these gradients
    can themselves be differentiated wherever gradients are recorded. Gradients through the results of a compiled model
    cannot, so compute those within ``lucid.no_grad()``.

    Parameters
    ----------
    function
        A function that returns a tensor, or nested lists, tuples and dicts of tensors. It is called once.
    primals
        Its arguments, each a tensor or nested lists, tuples and dicts of tensors.
    has_aux
        Whether the function returns ``(result, aux)``; then this returns ``(result, vjp_fn, aux)``.
    """
    argument_numbers("vjp", function, 0)
    flag("vjp", "has_aux", has_aux)
    tensors, structure = flatten(primals)
    leaves = [_leaf(x) for x in tensors]
    with enable_grad():
        returned = function(*unflatten(structure, leaves))
    result, aux = split_aux("vjp", returned) if has_aux else (returned, None)
    ends, nesting = flatten(result, results=True)
    recorder = active_trace.get()
    traced = None if recorder is None else ([recorder.lift(y) for y in ends], [recorder.lift(x) for x in leaves])

    def back(cotangents: object, retain_graph: bool = True, create_graph: bool | None = None) -> tuple[object, ...]:
        seeds, structure_given = flatten(cotangents)
        if structure_given != nesting:
            raise OptionError(
                f"vjp: a tensor for each tensor of the result, nested as that is, got {shown(cotangents)}"
            )
        create = is_grad_enabled() if create_graph is None else create_graph
        if traced is not None:
            pulled_back = [x if create else x.detach() for x in _pulled_back(*traced, seeds)]
            return unflatten(structure, pulled_back)  # type: ignore[no-any-return]  # a tuple, as the arguments are
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
        filled = [full(x, 0.0) if g is None else g for g, x in zip(gradients, leaves, strict=True)]
        nested: tuple[object, ...] = unflatten(structure, filled)
        return nested

    return (result, back, aux) if has_aux else (result, back)


def jvp(
    func: Callable[..., object], primals: tuple[object, ...], tangents: tuple[object, ...], *, has_aux: bool = False
) -> tuple[Any, ...]:
    """The result of a function, and its Jacobian-vector product with ``tangents``: the directional derivative.

    It is computed in reverse mode: as the derivative of :func:`vjp`, which is linear in the cotangents.

    Parameters
    ----------
    func
        A function that returns a floating-point tensor, or nested lists, tuples and dicts of such tensors. It is called
        once.
    primals
        Its arguments, each a tensor or nested lists, tuples and dicts of tensors.
    tangents
        A direction for each argument, of the same shapes and nesting.
    has_aux
        Whether the function returns ``(result, aux)``; then ``aux`` comes third.

    Returns
    -------
    The result and the product, with the same shapes and nesting.
    """
    for name, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, tuple):
            raise OptionError(f"jvp: {name} is a tuple with one for each argument, got {shown(given)}")
    result, back, *aux = vjp(func, *primals, has_aux=has_aux)
    ends, nesting = flatten(result, results=True)

    def gradients(*cotangents: object) -> object:
        return back(unflatten(nesting, cotangents), create_graph=True)

    with enable_grad():
        _, forward = vjp(gradients, *(full(y, 0.0) for y in ends))
    return (result, unflatten(nesting, forward(tangents)), *aux)


def _pulled_back(ends: Sequence[Symbol], leaves: Sequence[Symbol], seeds: Sequence[object]) -> list[Tensor]:
    """The gradients with respect to ``leaves``, for a cotangent ``seeds[i]`` of each of the values ``ends``.

    The seeds may be of the graph of these values or of a region of it.
    """
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
    """A copy of an argument, with respect to which the function is differentiated."""
    given = x if isinstance(x, Tensor) else Tensor(x)  # type: ignore[arg-type]  # an array
    if not is_float(given.type.dtype):
        raise GradientError(f"vjp: {given.type} has no gradient, only floating-point tensors have")
    if active_trace.get() is not None or (is_grad_enabled() and given.requires_grad):
        copy: Tensor = given.clone()
    else:
        copy = given.detach().clone().requires_grad_()
    return copy
