"""Tensor: an eager value with ``.grad`` and ``.backward()``.

An operation on tensors runs the op's kernel at once and remembers the node. ``backward`` gathers the
remembered nodes into a graph, runs the autodiff pass on it, and executes what that adds: there is one
gradient rule for an op in the whole system.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from sys import getrefcount
from typing import Any

import numpy as np
import numpy.typing as npt

from . import clock
from .checks import flag
from .collector import collector_paused
from .errors import DTypeError, GradientError, ShapeError, TraceError
from .grad_mode import is_grad_enabled as is_grad_enabled
from .grad_mode import no_grad as no_grad
from .graph.builder import Builder
from .graph.ir import Node, Value
from .graph.opdef import Attrs, NoGradient, OpDef, TypeAttrs
from .graph.operators import Operators
from .graph.ops.source import INPUT
from .graph.public import as_array, set_eager_world
from .graph.trace import Tracer, active_trace, user_location
from .graph.types import DType, TensorType, as_dtype, is_float, order_of
from .numpy_protocol import NumPyProtocol
from .passes.autodiff import emit_gradients
from .printing import format_array
from .runtime.eager import evaluate_from, op_call

_new = object.__new__


@dataclass(slots=True)
class Record:
    """How a tensor came to be: the node, what fed it, and its outputs' arrays (not tensors: no cycles)."""

    op: OpDef
    attrs: Attrs
    inputs: tuple[Tensor, ...]
    versions: tuple[int, ...]
    arrays: tuple[np.ndarray[Any, Any], ...]
    types: tuple[TensorType, ...]


class Tensor(NumPyProtocol, Operators["Tensor"]):
    """A multi-dimensional array that remembers how it was computed.

    Parameters
    ----------
    data
        Nested numbers, an array or a tensor; it is copied, images that lie channels last as they lie.
    requires_grad
        Whether ``backward`` shall leave a gradient in ``.grad``.
    dtype
        Element type. When omitted: that of an array; float32 for Python floats, int64 for ints.
    """

    __slots__ = ("__weakref__", "_array", "_born", "_memory", "_output", "_record", "_requires_grad", "_type", "grad")

    def __init__(self, data: npt.ArrayLike | Tensor, requires_grad: bool = False, dtype: object = None) -> None:
        given = data.numpy() if isinstance(data, Tensor) else data
        self._set(as_array("Tensor", given, dtype), flag("Tensor", "requires_grad", requires_grad))

    def _set(self, array: np.ndarray[Any, Any], requires_grad: bool) -> None:
        if array.dtype.kind not in "fbiu":
            raise DTypeError(f"a tensor holds numbers, not {array.dtype}")
        self._array = array
        self._type: TensorType | None = None
        self._record: Record | None = None
        self._output = 0
        self._memory: clock.Version | None = None
        trace = active_trace.get()
        self._born = 0 if trace is None else trace.serial
        self.grad: Tensor | None = None
        self._requires_grad = False
        if requires_grad:
            self.requires_grad = True

    @classmethod
    def wrap(cls, array: np.ndarray[Any, Any], requires_grad: bool = False) -> Tensor:
        """A tensor around ``array`` itself, without a copy."""
        tensor = Tensor.__new__(Tensor)
        tensor._set(array, requires_grad)
        return tensor

    @classmethod
    def made(cls, array: np.ndarray[Any, Any], type_: TensorType) -> Tensor:
        """As :meth:`wrap` outside any trace, for an array of known type: what a compiled model returns."""
        tensor: Tensor = _new(Tensor)
        tensor._array = array
        tensor._type = type_
        tensor._record = tensor.grad = tensor._memory = None
        tensor._output = tensor._born = 0
        tensor._requires_grad = False
        return tensor

    # ------------------------------------------------------------ what it is

    @property
    def type(self) -> TensorType:
        if self._type is None:
            self._type = TensorType(self._array.shape, as_dtype(self._array.dtype))
        return self._type

    @property
    def requires_grad(self) -> bool:
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if value and not is_float(self.dtype):
            raise GradientError(f"only floating-point tensors have gradients; this one is {self.type}")
        if bool(value) != self._requires_grad:
            self._requires_grad = bool(value)
            clock.structure.tick()

    @property
    def is_leaf(self) -> bool:
        """Whether the user made it, rather than an operation that is remembered."""
        return self._record is None

    @property
    def version(self) -> int:
        """Changes whenever the tensor's content is changed in place, through it or another that shares its memory."""
        return 0 if self._memory is None else self._memory.now

    def _share(self, other: Tensor) -> None:
        """Say that this tensor lies in the other's memory."""
        if other._memory is None:
            other._memory = clock.Version()
        self._memory = other._memory

    def numpy(self) -> np.ndarray[Any, Any]:
        """The data as a read-only array that shares memory; ``np.array(t)`` makes a copy to write to."""
        self._concrete("numpy()")
        view = self._array.view()
        view.flags.writeable = False
        return view

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    @property
    def data(self) -> Tensor:
        """The same data, outside the history; assign an array or a tensor to replace the content."""
        return self.detach()

    @data.setter
    def data(self, value: npt.ArrayLike | Tensor) -> None:
        self.copy_(value)

    def item(self) -> Any:
        """The only element, as a Python number."""
        self._concrete("item()")
        if self._array.size != 1:
            raise ShapeError(f"item: needs exactly one element, this tensor is {self.type}")
        return self._array.item()

    def tolist(self) -> Any:
        """Nested Python lists."""
        return self.numpy().tolist()

    def __len__(self) -> int:
        if not self.shape:
            raise ShapeError("a scalar tensor has no length")
        length: int = self.shape[0]
        return length

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if is_float(self.dtype):
            raise DTypeError(f"a tensor of {self.dtype.name} is no index")
        return int(self.item())

    def _concrete(self, what: str) -> None:
        """A tensor's value must not leak into a graph that would keep it for ever."""
        trace = active_trace.get()
        if trace is not None and self._born != trace.serial:
            raise TraceError(_leak(what))

    # ------------------------------------------------------------ history

    def detach(self) -> Tensor:
        """The same data, outside the history."""
        tensor = Tensor.wrap(self._array)
        tensor._share(self)
        tensor._born = self._born
        trace = active_trace.get()
        if trace is not None:
            trace.alias(tensor, self)
        return tensor

    def clone(self) -> Any:
        """A copy that gradients flow through."""
        trace = active_trace.get()
        if trace is not None:
            return trace.read(self)
        return self * 1 if self._requires_grad else Tensor.wrap(self._array.copy())

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        self.requires_grad = requires_grad
        return self

    def copy_(self, value: npt.ArrayLike | Tensor) -> Tensor:
        """Replace the content in place, without history; shape and dtype stay.

        While a model is traced this is recorded as an update that every run performs.
        """
        trace = active_trace.get()
        if trace is not None:
            trace.update(self, value)
            return self
        source = np.asarray(value._array if isinstance(value, Tensor) else value)
        if source.shape != self._array.shape:
            raise ShapeError(f"copy_: cannot put {source.shape} into a tensor of shape {self._array.shape}")
        np.copyto(self._array, source, casting="same_kind")
        self.touch()
        return self

    def set_dtype_(self, dtype: DType) -> Tensor:
        """Convert this leaf to another element type in place; its gradient is dropped."""
        self._array = self._array.astype(dtype)
        self._memory = self._type = None
        self.grad = None
        clock.structure.tick()
        self.touch()
        return self

    def touch(self) -> None:
        """Say that the content has changed, so that compiled models prepare their weights again."""
        if self._memory is None:
            self._memory = clock.Version()
        self._memory.now = clock.content.tick()

    def constant(self, array: np.ndarray[Any, Any]) -> Tensor:
        trace = active_trace.get()
        return Tensor.wrap(as_array("constant", array)) if trace is None else trace.constant(array)

    def apply(self, op: OpDef, attrs: Attrs, inputs: Sequence[object]) -> tuple[Tensor, ...]:
        trace = active_trace.get()
        if trace is not None:
            recorded: tuple[Tensor, ...] = trace.apply(op, attrs, inputs)
            return recorded
        tensors = tuple(x if isinstance(x, Tensor) else Tensor.wrap(np.asarray(x)) for x in inputs)
        return run_op(op, attrs, tensors)

    def backward(self, gradient: Tensor | npt.ArrayLike | None = None) -> None:
        """Add to ``.grad`` of every leaf the gradient of this tensor, weighted by ``gradient``.

        Parameters
        ----------
        gradient
            Of this tensor's shape; may be omitted for a scalar.
        """
        if not self._requires_grad:
            raise GradientError("backward: this tensor does not depend on any tensor that requires a gradient")
        seed = self._seed(gradient)
        if self._record is None:
            _accumulate(self, seed, own=False)
        else:
            _backward(self, seed)

    def _seed(self, gradient: Tensor | npt.ArrayLike | None) -> np.ndarray[Any, Any]:
        if gradient is None:
            if self._array.size != 1:
                raise GradientError(
                    f"backward: give a gradient of shape {self._array.shape}, or reduce to a scalar first"
                )
            return np.ones_like(self._array)
        array = np.asarray(gradient._array if isinstance(gradient, Tensor) else gradient)
        if array.shape != self._array.shape:
            raise ShapeError(f"backward: the gradient has shape {array.shape}, the tensor {self._array.shape}")
        return array.astype(self._array.dtype, copy=False)

    # ------------------------------------------------------------ printing

    def __repr__(self) -> str:
        tail = f", grad={self.grad}" if self._requires_grad else ""
        return f"Tensor({format_array(self._array)}{tail})"

    def __copy__(self) -> Tensor:
        return self.__deepcopy__({})

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        trace = active_trace.get()
        if trace is not None:
            read: Tensor = memo.setdefault(id(self), trace.read(self))
            return read
        copy = object.__new__(type(self))
        copy._set(self._array.copy(), self._requires_grad)
        memo[id(self)] = copy
        return copy

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), np.array(self.numpy()), self._requires_grad)


def _rebuild(cls: type[Tensor], array: np.ndarray[Any, Any], requires_grad: bool) -> Tensor:
    tensor = object.__new__(cls)
    tensor._set(array, requires_grad)
    return tensor


def _leak(what: str) -> str:
    return (
        f"{what} asks for a tensor's value while the model is traced ({user_location()}); the graph would keep "
        f"that one value for ever. Keep to tensor operations (lucid.where for a choice), or compute it outside "
        f"the compiled model and pass it in"
    )


def run_op(op: OpDef, attrs: Attrs, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Run one op now, and remember it if a gradient may be asked for."""
    call, types = op_call(op, attrs, tuple(x.type for x in inputs))
    with np.errstate(all="ignore"):
        arrays = call(*(x._array for x in inputs))
    outputs = remember(op, attrs, inputs, arrays, types)
    for output in outputs:
        if output._array.base is not None:
            _share_memory(output, inputs)
    return outputs


def _share_memory(view: Tensor, inputs: tuple[Tensor, ...]) -> None:
    """Where an op's result is a view of an input, what is written to either is written to both."""
    owner = _owner(view._array)
    for x in inputs:
        if _owner(x._array) is owner:
            view._share(x)


def _owner(array: np.ndarray[Any, Any]) -> object:
    """What owns the memory that an array shows."""
    base = array.base
    while base is not None:
        array, base = base, getattr(base, "base", None)
    return array


def remember(
    op: OpDef,
    attrs: Attrs,
    inputs: tuple[Tensor, ...],
    arrays: tuple[np.ndarray[Any, Any], ...],
    types: tuple[TensorType, ...],
) -> tuple[Tensor, ...]:
    """Wrap the arrays an op has computed, with their history where it is wanted."""
    outputs = tuple(map(Tensor.wrap, arrays))
    for tensor, type_ in zip(outputs, types, strict=True):
        tensor._type = type_
    tracked = is_grad_enabled() and any(x._requires_grad for x in inputs) and not isinstance(op.gradient, NoGradient)
    if tracked:
        record = Record(op, attrs, inputs, tuple(x.version for x in inputs), arrays, types)
        for index, tensor in enumerate(outputs):
            if is_float(types[index].dtype):
                tensor._record, tensor._output, tensor._requires_grad = record, index, True
    return outputs


def _accumulate(leaf: Tensor, gradient: np.ndarray[Any, Any], own: bool) -> None:
    """Add to the gradient of a leaf; an array that nobody else has becomes the gradient itself."""
    if leaf.grad is not None:
        leaf.grad = Tensor.wrap(leaf.grad._array + gradient)
    elif own and (gradient.flags.c_contiguous or order_of(gradient)):
        leaf.grad = Tensor.wrap(gradient)
    else:
        leaf.grad = Tensor.wrap(np.array(gradient, order="C"))


def _counts(arrays: list[np.ndarray[Any, Any]]) -> tuple[np.ndarray[Any, Any], int, int]:
    """The last of the arrays, and how many references there are to it and to the array whose memory it shares."""
    array = arrays.pop()
    owner = array.base
    return array, getrefcount(array), getrefcount(owner)


_ALONE = _counts([np.empty((2, 2))])[1]
_OWNER_ALONE = _counts([np.empty((2, 2)).T])[2]
"""The counts of what nobody else has; they differ between versions of Python."""


def _pop(arrays: list[np.ndarray[Any, Any]]) -> tuple[np.ndarray[Any, Any], bool]:
    """The last of the arrays, and whether nothing else has it or its memory."""
    array, count, owners = _counts(arrays)
    owner: Any = array.base
    own = count <= _ALONE
    if owner is not None:
        own = own and isinstance(owner, np.ndarray) and owner.nbytes == array.nbytes and owners <= _OWNER_ALONE
    return array, own


class _Gather:
    """The remembered nodes behind one tensor, as a graph under construction whose values are known."""

    def __init__(self) -> None:
        self.builder = Builder()
        self.known: dict[Value, np.ndarray[Any, Any]] = {}
        self.leaves: list[tuple[Tensor, Value]] = []
        self._records: dict[int, str] = {}
        self._sources: dict[int, Value] = {}

    def add(self, record: Record) -> None:
        """Add a record and everything behind it, without recursion."""
        stack = [record]
        while stack:
            top = stack[-1]
            waiting = [
                x._record
                for x in top.inputs
                if x._record is not None and x._requires_grad and id(x._record) not in self._records
            ]
            if id(top) in self._records:
                stack.pop()
            elif waiting:
                stack.extend(waiting)
            else:
                stack.pop()
                self._add(top)

    def _add(self, record: Record) -> None:
        for x, version in zip(record.inputs, record.versions, strict=True):
            if x.version != version:
                raise GradientError(
                    f"backward: a tensor of type {x.type} that {record.op.name} read has been changed in place "
                    f"since; compute the result again, or make the change after backward"
                )
        node = Node(record.op, record.attrs, record.types)
        values = self.builder.add(node, [self.value(x) for x in record.inputs], record.op.name)
        self._records[id(record)] = values[0].node
        self.known.update(zip(values, record.arrays, strict=True))

    def value(self, x: Tensor) -> Value:
        """Where a tensor stands in the graph."""
        if x._record is not None and x._requires_grad:
            return Value(self._records[id(x._record)], x._output)
        if id(x) not in self._sources:
            type_ = x.type
            node = Node(INPUT, TypeAttrs(type_.shape, type_.dtype), (type_,))
            (value,) = self.builder.add(node, (), "x")
            self._sources[id(x)] = value
            self.known[value] = x._array
            if x._requires_grad:
                self.leaves.append((x, value))
        return self._sources[id(x)]


@collector_paused()
def _backward(output: Tensor, seed: np.ndarray[Any, Any]) -> None:
    gather = _Gather()
    assert output._record is not None
    gather.add(output._record)
    tracer = Tracer(gather.builder)
    (start,) = tracer.emit(INPUT, TypeAttrs(output.type.shape, output.type.dtype), name="seed")
    gather.known[start.value] = seed
    gradients = emit_gradients(tracer, {gather.value(output): start}, [value for _, value in gather.leaves])
    found = [(leaf, g.value) for (leaf, _), g in zip(gather.leaves, gradients, strict=True) if g is not None]
    graph = gather.builder.finish([value for _, value in found])
    arrays = evaluate_from(graph, gather.known)
    for leaf, _ in reversed(found):
        _accumulate(leaf, *_pop(arrays))


set_eager_world(Tensor(0.0))
