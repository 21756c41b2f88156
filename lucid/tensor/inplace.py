"""In-place changes: ``x.add_(1)``, ``x[i] = v`` and the other methods whose names end in an underscore.

With a history, the tensor becomes the result of the operation, as in PyTorch: earlier results still depend on the value
that they read, and ``backward`` raises if a gradient needs a value that has been overwritten. While a model is traced,
changing a value that the trace has computed makes a new value under the same name; changing a parameter or buffer is an
update that every run performs.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from ..base.arrays import Array
from ..errors import DTypeError, GradientError, LucidError, OptionError, ShapeError
from ..graph.opdef import AbstractTensor
from ..graph.ops.data_dependent import known
from ..graph.ops.elementwise import where
from ..graph.ops.indexing import index_with
from ..graph.ops.promotion import cast
from ..graph.ops.put import counted, put
from ..graph.ops.shape import broadcast_to, concat, flatten, reshape, stop_gradient
from ..graph.ops.subscript import getitem
from ..graph.public import as_array, operand
from ..graph.trace import active_trace
from ..graph.types import DType, Shape, format_shape, product
from .functions_in_place import Changes, wants_gradient
from .grad_mode import is_grad_enabled

I = TypeVar("I", bound="InPlace")  # noqa: E741 - one letter, as for the others


def positions(shape: tuple[int, ...], key: object) -> Array:
    """The flat indices of the elements of ``x[key]``, in its shape, for an ``x`` of the given shape."""
    try:
        plain = tuple(map(_plain, key)) if isinstance(key, tuple) else _plain(key)
        found: Array = np.arange(int(np.prod(shape))).reshape(shape)[plain]
    except (IndexError, ValueError, TypeError, OverflowError) as error:
        raise OptionError(f"x[...] = ...: {error}") from error
    return np.asarray(found)


def _plain(item: object) -> Any:
    """An index as NumPy takes it."""
    if isinstance(item, AbstractTensor | list | tuple | range):
        array = np.asarray(item)
        return array.astype(np.int64) if array.size == 0 and array.dtype.kind == "f" else array
    return item


class InPlace(Changes):
    """The methods that change a tensor in place."""

    __slots__ = ()

    def fill_(self: I, value: object) -> I:
        """Set all elements to ``value``, a number or a tensor with no axes."""
        rank = value.type.rank if isinstance(value, AbstractTensor) else np.ndim(value)  # type: ignore[arg-type]
        if rank:
            raise ShapeError("fill_: takes one number; copy_ takes tensors and arrays")
        self[...] = value
        return self

    def zero_(self: I) -> I:
        """Set all elements to 0."""
        return self.fill_(0)

    def copy_(self: I, value: object) -> I:
        """Copy ``value``, broadcast to the shape and converted to the element type; gradients flow to it.

        While a model is traced, copying into a parameter or buffer is an update that every run performs.
        """
        x: Any = self
        tracing = active_trace.get() is not None
        tracked = is_grad_enabled() and (wants_gradient(value) or (wants_gradient(self) and not (tracing or x.is_leaf)))
        before = self._before_change(tracked, "copy_")
        if not isinstance(value, AbstractTensor):
            value = _numbers("copy_", value, x.dtype)
        if tracked or tracing:
            self._become("copy_", _copied(before, value))
            return self
        source = np.asarray(value)
        try:
            with np.errstate(invalid="ignore", over="ignore"):
                np.copyto(self._array, source, casting="unsafe")
        except ValueError as error:
            raise ShapeError(f"copy_: cannot put {source.shape} into a tensor of shape {x.shape}") from error
        x.touch()
        return self

    def _is_at(self, key: object, value: object) -> bool:
        """Whether ``value`` is the view ``x[key]`` itself, as when ``x[key] += 1`` assigns the view that it changed."""
        raise NotImplementedError  # a tensor has its own

    def __setitem__(self, key: object, value: object) -> None:
        if isinstance(value, InPlace) and self._is_at(key, value):
            return
        tracked = is_grad_enabled() and (wants_gradient(self) or wants_gradient(value))
        x: Any = self
        value = operand("x[...] = ...", "the value", value, x)
        if type(value) is int and value in (0, 1) and x.dtype == np.bool_:
            value = bool(value)
        if tracked or active_trace.get() is not None:
            self._become("x[...] = ...", _put(self._before_change(tracked, "x[...] = ..."), key, value))
            return
        self._before_change(False, "x[...] = ...")
        _check_cast(np.asarray(value).dtype if isinstance(value, AbstractTensor) else _dtype_of(value), x.dtype)
        found = positions(x.shape, key)
        given = np.asarray(value)
        while given.ndim > found.ndim and given.shape[0] == 1:
            given = given[0]
        flat = x._array.reshape(-1) if x._array.flags.c_contiguous else None
        try:
            if flat is not None:
                flat[found.reshape(-1)] = np.broadcast_to(given, found.shape).reshape(-1)
            else:
                x._array[np.unravel_index(found, x.shape)] = given
        except (ValueError, OverflowError) as error:
            raise ShapeError(f"x[...] = ...: {error}") from error
        x.touch()


def _numbers(name: str, value: object, dtype: DType) -> Array:
    """An array unchanged, without a copy; Python numbers as an array of an element type."""
    if type(value) is np.ndarray and value.dtype.kind in "biuf":
        return value
    array = as_array(name, value)
    return array if hasattr(value, "__array__") else as_array(name, value, dtype)


def _copied(x: AbstractTensor, value: AbstractTensor | Array) -> AbstractTensor:
    """``value`` in the shape and type of ``x``, as a new value and not ``value`` itself."""
    tensor = value if isinstance(value, AbstractTensor) else x.constant(value)
    given = _broadcast("copy_", cast(tensor, x.type.dtype), x.type.shape)
    if active_trace.get() is None:
        return where(np.array(True), given, x)
    return given if is_grad_enabled() else stop_gradient(given)


def _dtype_of(value: object) -> DType:
    return np.dtype(np.float32) if isinstance(value, float) else np.asarray(value).dtype


def _check_cast(given: DType, own: DType) -> None:
    if given.kind not in "biuf":
        raise DTypeError(f"x[...] = ...: a value of {given.name} does not fit into a tensor of {own.name}")
    if "biuf".index(given.kind) > "biuf".index(own.kind) and not (given.kind in "iu" and own.kind in "iu"):
        raise DTypeError(f"x[...] = ...: {given.name} does not fit into a tensor of {own.name}")


def _put(x: AbstractTensor, key: object, value: Any) -> AbstractTensor:
    """``x`` with ``value`` at ``x[key]``; gradients flow to both."""
    is_scalar = not isinstance(value, AbstractTensor) or value.type.rank == 0
    if is_scalar and isinstance(key, AbstractTensor) and key.type.dtype == np.bool_:
        return _put_where(x, key, value)
    if not isinstance(value, AbstractTensor):
        value = x.constant(as_array("x[...] = ...", value))
    _check_cast(value.type.dtype, x.type.dtype)
    value = value.to(x.type.dtype)
    items = key if isinstance(key, tuple) else (key,)
    if x.type.symbols or any(isinstance(item, AbstractTensor) and known(item) is None for item in items):
        return _put_found(x, key, value)
    shape = x.type.concrete
    found = positions(shape, key)
    spread = flatten(_spread(value, found.shape))
    if not found.size:  # so that an empty value has a gradient too
        return reshape(concat([flatten(x), spread]), shape)
    chosen = np.full(int(np.prod(shape)), -1)
    chosen[found.reshape(-1)] = np.arange(found.size)  # the last of several for one place wins, as in NumPy
    taken = reshape(index_with(spread, (0,), [x.constant(np.maximum(chosen, 0))]), shape)
    return where(x.constant((chosen >= 0).reshape(shape)), taken, x)


def _spread(value: AbstractTensor, shape: Shape) -> AbstractTensor:
    """``value`` broadcast to ``shape``, without its leading axes of size 1 if it has too many axes."""
    lead = value.type.rank - len(shape)
    if lead > 0 and all(dim == 1 for dim in value.type.shape[:lead]):
        value = reshape(value, value.type.shape[lead:])
    return _broadcast("x[...] = ...", value, shape)


def _broadcast(name: str, value: AbstractTensor, shape: Shape) -> AbstractTensor:
    try:
        return broadcast_to(value, shape)
    except LucidError as error:
        raise ShapeError(f"{name}: {value.type} does not fit {format_shape(shape)}") from error


def _put_found(x: AbstractTensor, key: object, value: AbstractTensor) -> AbstractTensor:
    """``x`` with ``value`` at ``x[key]``, for keys or sizes that are not known while tracing."""
    shape = x.type.shape
    numbers = getitem(reshape(counted(x, product(shape)), shape), key)
    spread = flatten(_spread(value, numbers.type.shape))
    return reshape(put(flatten(x), (0,), [flatten(numbers)], spread), shape)


def _put_where(x: AbstractTensor, mask: AbstractTensor, value: Any) -> AbstractTensor:
    """``x`` with a number where ``mask`` (over all or the leading axes, possibly unknown) is true."""
    rank = mask.type.rank
    if mask.type.shape != x.type.shape[:rank]:
        raise ShapeError(f"x[...] = ...: the mask {mask.type} does not fit {x.type}")
    if not isinstance(value, AbstractTensor):
        value = x.constant(as_array("x[...] = ...", value))
    _check_cast(value.type.dtype, x.type.dtype)
    spread = reshape(mask, (*mask.type.shape, *(1,) * (x.type.rank - rank)))
    return where(spread, value.to(x.type.dtype), x)


def check_result(name: str, x: Any, result: Any) -> Any:
    """The result of a change in the element type of the tensor that is changed; raises where it does not fit."""
    own, given = x.type, result.type
    if given.shape != own.shape:
        raise ShapeError(f"{name}: the result {given} does not fit into the tensor {own}; the shape stays in place")
    if "biuf".index(given.dtype.kind) > "biuf".index(own.dtype.kind) and given.dtype.kind != own.dtype.kind:
        raise DTypeError(f"{name}: the result is {given}, which does not fit into the tensor {own}")
    return result.to(own.dtype)


def check_writable(name: str, array: Array) -> None:
    """Raise where a tensor's memory is read-only."""
    if not array.flags.writeable:
        raise OptionError(
            f"{name}: the memory of this tensor is read-only (it may repeat numbers, or be a copy of a part of another "
            f"tensor); change a clone() of it"
        )


def refuse_leaf(name: str) -> GradientError:
    """The error of changing a parameter with history."""
    return GradientError(
        f"{name}: a leaf that requires a gradient is changed in place, so backward could not tell its value before "
        f"from that after; write 'with lucid.no_grad():' around an update, or compute a new tensor"
    )
