"""``lucid.func.vmap``: a function of one row becomes a function of a whole batch of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from ..base.checks import shown
from ..errors import OptionError, ShapeError
from ..graph.batching import with_batch_axis
from ..graph.dims import Dim
from ..graph.opdef import AbstractTensor
from ..graph.trace import active_trace
from ..graph.vectorize import depends, vectorized
from ..tensor.tensor import Tensor
from .arguments import Structure, flatten, leaf_structures, statics, unflatten
from .entry import compile
from .transforms import Derived, as_traced, check_chunk

_DRAWS: Final = (
    "in a function that vmap maps: say randomness='different' for other numbers in each row, 'same' for the same ones, "
    "or draw them before"
)


def vmap(
    func: Callable[..., object], in_dims: object = 0, out_dims: object = 0, randomness: str = "error", *,
    chunk_size: int | None = None,
) -> Derived:  # fmt: skip
    """A function that applies another one to every row of its arguments at once.

    The function is traced once, on one row, and its graph is vectorised: values that depend on a row get a batch axis,
    all others are computed once. ``vmap(grad(loss), in_dims=(None, 0, 0))`` gives the gradients of each sample.

    Parameters
    ----------
    func
        A function of rows that returns a tensor, or nested lists, tuples and dicts of tensors. Other tensors that it
        reads are shared by all rows, and so are keyword arguments. It must not change its arguments in place.
    in_dims
        For each positional argument the axis that enumerates the rows, or None for an argument that all rows share. An
        int stands for all tensors of nested lists, tuples and dicts; ``in_dims`` may also be nested as these are.
    out_dims
        The position of that axis in the results, likewise. None is for results that do not depend on a row.
    randomness
        Whether drawing random numbers is an ``"error"``, or gives all rows the ``"same"`` or ``"different"`` numbers.
    chunk_size
        The number of rows computed at once, in a loop over such chunks, to save memory; by default all rows.

    Returns
    -------
    A compiled function; inside another compiled or differentiated function it becomes part of that graph.

    Raises
    ------
    OptionError, ShapeError
        For an axis that does not exist, arguments with different numbers of rows, no argument with rows, or ``in_dims``
        or ``out_dims`` whose nesting is not that of the arguments or results.
    TraceError
        Where the function draws random numbers and ``randomness`` does not say which, changes a row in place, or needs
        a size that depends on the values of a row.
    """
    if not callable(func) or isinstance(func, type):
        raise OptionError(f"vmap: maps a function, got {shown(func)}")
    if randomness not in ("error", "same", "different"):
        raise OptionError(f"vmap: randomness is 'error', 'same' or 'different', got {shown(randomness)}")
    check_chunk("vmap", chunk_size)

    def mapped(*args: object, **kwargs: object) -> object:
        given, structure = flatten(args)
        tensors = [x if isinstance(x, Tensor) else Tensor(x) for x in given]
        rows = _Rows(tensors, _axes("in_dims", in_dims, structure))
        nesting: list[Structure] = []

        def one(*row: Tensor) -> Sequence[object]:
            found, kind = flatten(func(*unflatten(structure, rows.joined(row)), **kwargs), results=True)
            nesting[:] = [kind]
            return found

        made = rows.results(one, randomness, chunk_size)
        places = _axes("out_dims", out_dims, nesting[0])
        results = [_placed(y, differs, place, rows.size) for (y, differs), place in zip(made, places, strict=True)]
        return unflatten(nesting[0], results)

    return compile(mapped)


class _Rows:
    """The tensors that a mapped function is given, each with the axis of its rows or None."""

    def __init__(self, tensors: Sequence[Tensor], axes: Sequence[int | None]) -> None:
        self._tensors, self._axes = tensors, axes
        pairs = zip(tensors, axes, strict=True)
        self._rows = [_in_front("in_dims", x, axis) for x, axis in pairs if axis is not None]
        self.size = _count(self._rows)

    def joined(self, row: Sequence[Tensor]) -> list[Tensor]:
        """All tensors for one row: ``row`` holds those that are mapped over, the others are shared."""
        parts = iter(row)
        return [x if axis is None else next(parts) for x, axis in zip(self._tensors, self._axes, strict=True)]

    def results(
        self, one: Callable[..., Sequence[object]], randomness: str, chunk: int | None
    ) -> list[tuple[AbstractTensor, bool]]:
        """The results of a function of one row for all rows, each with whether it has the batch axis in front."""
        recorder = active_trace.get()
        types = [x.type.with_shape(x.type.shape[1:]) for x in self._rows]
        (regions, captures), drawn = recorder.record_row(types, one, _DRAWS if randomness == "error" else "")
        differ = [*(True for _ in self._rows), *(key and randomness == "different" for key in drawn)]
        inputs = [*(recorder.lift(x) for x in self._rows), *captures]
        found = vectorized(recorder.tracer, regions[0], inputs, differ, self.size, chunk)
        return list(zip(found, depends(regions[0], differ), strict=True))


def _axes(name: str, dims: object, structure: Structure) -> list[int | None]:
    """The axis of the rows, or None, for each tensor of a structure: ``dims`` broadcast over the nesting."""
    kind, *parts = structure
    if dims is None or (isinstance(dims, int) and not isinstance(dims, bool)):
        alone = next(statics(structure), _NONE) if dims is not None else _NONE
        if alone is not _NONE:
            raise OptionError(f"vmap: {name} is {dims} for {shown(alone)}, which has no rows; give None for it")
        return [dims] * sum(1 for _ in leaf_structures(structure))
    parts = parts[1:] if kind == "tuple" else parts
    if kind in ("tuple", "list") and isinstance(dims, tuple | list) and len(dims) == len(parts):
        pairs = list(zip(dims, parts, strict=True))
    elif kind == "dict" and isinstance(dims, dict) and set(dims) == {key for key, _ in parts}:
        pairs = [(dims[key], part) for key, part in parts]
    else:
        what = "the arguments are" if name == "in_dims" else "the results are"
        raise OptionError(f"vmap: {name} is an int, None, or nested as {what}, got {shown(dims)} for a {kind}")
    return [axis for one, part in pairs for axis in _axes(name, one, part)]


_NONE: Final = object()


def _in_front(name: str, x: Tensor, axis: int) -> Tensor:
    """A tensor with the axis of the rows in front."""
    if not -x.type.rank <= axis < x.type.rank:
        raise ShapeError(f"vmap: {name} is {axis} for a tensor {x.type}, which has no such axis")
    moved: Tensor = x.movedim(axis, 0)
    return moved


def _count(rows: Sequence[Tensor]) -> Dim:
    """The number of rows, which all tensors must agree on."""
    sizes = list(dict.fromkeys(x.type.shape[0] for x in rows))
    if not sizes:
        raise OptionError("vmap: there is nothing to map over: no tensor is given with an axis of rows")
    if len(sizes) > 1:
        raise ShapeError(f"vmap: tensors have {' and '.join(map(str, sizes))} rows", unequal=(sizes[:1], sizes[1:2]))
    return sizes[0]


def _placed(y: AbstractTensor, batched: bool, place: int | None, size: Dim) -> Tensor:
    """A result with the batch axis at ``place``."""
    if place is None:
        if batched:
            raise OptionError("vmap: out_dims is None for a result that depends on a row; give the place of its axis")
        return as_traced(y)
    whole = as_traced(with_batch_axis(y, batched, size))
    if not -whole.type.rank <= place < whole.type.rank:
        raise ShapeError(f"vmap: out_dims is {place} for a result {whole.type}, which has no such axis")
    moved: Tensor = whole.movedim(0, place)
    return moved
