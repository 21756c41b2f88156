"""Tensor: an eager value with ``.grad`` and ``.backward()``.

An operation on tensors runs the op's kernel at once and records the node. ``backward`` gathers the recorded nodes into
a graph, differentiates it, and executes the nodes that this adds: so an op needs a single gradient rule in all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from ..base import changes
from ..base.absent import TENSOR, TOP, advice
from ..base.arrays import Array, read_only
from ..base.checks import flag, shown
from ..base.lazy import LazyModule
from ..errors import DTypeError, ExecutionError, GradientError, OptionError, ShapeError, TraceError, note_where
from ..graph.dims import Dim, SymDim
from ..graph.opdef import Attrs, NoGradient, OpDef
from ..graph.public import as_array, set_eager_world
from ..graph.region import Recorded
from ..graph.trace import active_trace, user_location
from ..graph.types import DType, TensorType, as_dtype, format_shape, is_float, order_of
from .eager_layout import copy_keeping_layout, with_operand_layout
from .grad_mode import enable_grad
from .grad_mode import is_grad_enabled as is_grad_enabled
from .grad_mode import no_grad as no_grad
from .history import Record as Record
from .history import borrows_memory, gradients_of, gradients_with_history
from .hooks import Hooked, accumulated
from .inplace import InPlace, check_result
from .numpy_protocol import NumPyProtocol
from .printing import format_array
from .python_protocol import PythonProtocol, leak
from .views import Take, Taken, View, become, before_change, catch_up, check_change, is_at

eager = LazyModule("lucid.runtime.eager")
_new = object.__new__

_ABSENT = {**TOP, **TENSOR}
_INTERNAL = frozenset(
    [
        "apart", "apply", "as_size", "become", "check_change", "clear_grad", "constant", "has_hooks", "is_found",
        "made", "made_in", "part_of", "piece", "record", "set_dtype_", "sum_to", "wrap",
    ]
)  # fmt: skip
"""Methods for this package only, which ``dir`` does not list."""


class Tensor(Hooked, NumPyProtocol, InPlace, PythonProtocol["Tensor"]):
    """A multi-dimensional array that remembers how it was computed.

    Parameters
    ----------
    data
        Nested numbers, an array or a tensor; it is copied, and images that are channels last in memory stay so.
    requires_grad
        Whether ``backward`` stores a gradient in ``.grad``.
    dtype
        Element type; by default that of an array, float32 for Python floats, and int64 for ints.
    """

    __slots__ = ("__weakref__", "_array", "_born", "_grad", "_output", "_record", "_requires_grad", "_type", "_view")

    def __init__(self, data: npt.ArrayLike | Tensor, requires_grad: bool = False, dtype: object = None) -> None:
        content = data.numpy() if isinstance(data, Tensor) else data
        self._set(as_array("Tensor", content, dtype), flag("Tensor", "requires_grad", requires_grad))

    def _set(self, array: Array, requires_grad: bool) -> None:
        if array.dtype.kind not in "fbiu":
            raise DTypeError(f"a tensor holds numbers, not {array.dtype}")
        self._array = array
        self._type: TensorType | None = None
        self._record: Record | None = None
        self._output = 0
        self._view: View | None = None
        self._hooks = None
        trace = active_trace.get()
        self._born = 0 if trace is None else trace.serial
        self._grad: Tensor | None = None
        self._requires_grad = False
        if requires_grad:
            self.requires_grad = True

    @classmethod
    def wrap(cls, array: Array, requires_grad: bool = False) -> Self:
        """A tensor around ``array`` itself, without a copy."""
        tensor = cls.__new__(cls)
        tensor._set(array, requires_grad)
        return tensor

    @classmethod
    def made(cls, array: Array, type_: TensorType, record: Record | None = None, output: int = 0) -> Tensor:
        """As :meth:`wrap`, quicker: outside any trace, of a known type, and an output of ``record`` if there is one."""
        tensor: Tensor = _new(Tensor)
        tensor._array = array
        tensor._type = type_
        tensor._record = record
        tensor._output = output
        tensor._requires_grad = record is not None
        tensor._born = 0
        tensor._grad = tensor._view = tensor._hooks = None
        return tensor

    # ------------------------------------------------------------ what it is

    @property
    def type(self) -> TensorType:
        if self._type is None:
            self._type = TensorType(self._array.shape, as_dtype(self._array.dtype))
        return self._type

    @property
    def requires_grad(self) -> bool:
        """Whether ``backward`` computes a gradient for this tensor, and for a leaf adds it to ``.grad``."""
        if self._view is not None and changes.writes.begun:
            catch_up(self)
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        value = flag("Tensor", "requires_grad", value)
        if value and not is_float(self.dtype):
            raise GradientError(f"only floating-point tensors have gradients; this one is {self.type}")
        if value != self._requires_grad:
            self._requires_grad = value
            changes.of_models.note()

    @property
    def grad(self) -> Tensor | None:
        """The gradient that ``backward`` has stored, or None."""
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None and not isinstance(value, Tensor):
            raise GradientError(f"grad: is a tensor or None; write lucid.tensor(...), got {shown(value)}")
        self._grad = value

    @property
    def is_leaf(self) -> bool:
        """Whether the user created it, rather than a recorded operation."""
        if self._view is not None and changes.writes.begun:
            catch_up(self)
        return self._record is None

    @property
    def version(self) -> int:
        """A number that differs after every in-place change of the content, also one through a view."""
        return changes.writes.last(self._array)

    def numpy(self) -> Array:
        """The data as a read-only array that shares memory; ``np.array(t)`` makes a writable copy."""
        self._concrete("numpy()")
        return read_only(self._array)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    @property
    def data(self) -> Tensor:
        """The same memory, outside the history; assign a tensor to take its memory instead, or an array to copy."""
        return self.detach()

    @data.setter
    def data(self, value: npt.ArrayLike | Tensor) -> None:
        tracing = active_trace.get() is not None
        if not isinstance(value, Tensor):
            value = as_array("data", value)
        if (tracing or not isinstance(value, Tensor)) and value.shape != self.shape:
            raise ShapeError(f"data: {format_shape(value.shape)} cannot take the place of {self.type}")
        if tracing:
            self.copy_(value.detach() if isinstance(value, Tensor) else value)
            return
        before = self._array
        if not isinstance(value, Tensor):
            value = Tensor.wrap(np.empty_like(before)).copy_(value)
        array = value._array if value._array.flags.writeable else value._array.copy()
        if self._requires_grad and array.dtype.kind != "f":
            raise DTypeError(
                f"data: this tensor requires a gradient, so what it holds is floating-point: {array.dtype}"
            )
        self._array = array  # a tensor that shares the old memory, such as `backup = t.data`, keeps it
        if (array.shape, array.dtype) != (before.shape, before.dtype):
            self._type = None
            changes.of_models.note()
        self.touch()

    def _concrete(self, what: str) -> None:
        """Raise while tracing if the value would be frozen into the graph."""
        trace = active_trace.get()
        if trace is not None and not self.made_in(trace.serial):
            raise TraceError(leak(what))

    def made_in(self, serial: int) -> bool:
        """Whether it was created during the trace with this serial number, so that nothing outside refers to it."""
        return self._born == serial

    # ------------------------------------------------------------ history

    def detach(self) -> Tensor:
        """The same data, outside the history."""
        tensor = Tensor.wrap(self._array)
        tensor._born = self._born
        trace = active_trace.get()
        if trace is not None:
            trace.alias(tensor, self)
        return tensor

    def detach_(self) -> Self:
        """Leave the history; tensors that were computed from it keep theirs."""
        if active_trace.get() is not None or self._view is not None:
            raise GradientError("detach_: a view shares a history, and a model's state is its caller's; use detach()")
        self._record, self._output = None, 0
        self.requires_grad = False
        return self

    def clone(self) -> Any:
        """A copy that gradients flow through."""
        trace = active_trace.get()
        if trace is not None:
            return trace.read(self)
        return self * 1 if self.requires_grad else Tensor.wrap(copy_keeping_layout(self._array))

    def contiguous(self) -> Self:
        """The tensor itself if it is row-major in memory, else a row-major copy."""
        if active_trace.get() is not None or self._array.flags.c_contiguous:
            return self
        rows = self.clone()
        if not rows._array.flags.c_contiguous:
            rows._array = np.ascontiguousarray(rows._array)
        return rows  # type: ignore[no-any-return]

    def apart(self, others: Sequence[object]) -> Any:
        same = any(self is other for other in others)
        return self.clone() if same or (active_trace.get() is None and borrows_memory(self._array)) else self

    def part_of(self, whole: object, take: Take, see: Callable[[Array], Array], several: bool = False) -> None:
        trace = active_trace.get()
        if trace is not None:
            trace.part(self, whole, Taken(take), see, several)
        elif isinstance(whole, Tensor):
            self._array = see(whole._array)
            if several:
                self._array.flags.writeable = False
            self._view = View.by(Taken(take), whole)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set whether a gradient is wanted, and return the tensor."""
        self.requires_grad = requires_grad
        return self

    def _before_change(self, tracked: bool, name: str) -> Tensor:
        return self if active_trace.get() is not None else before_change(self, tracked, name)

    def _become(self, name: str, result: Tensor) -> Tensor:
        trace = active_trace.get()
        if trace is None:
            changed: Tensor = become(self, name, result)
            return changed
        trace.update(self, check_result(name, self, result))
        return self

    def _is_at(self, key: object, value: object) -> bool:
        trace = active_trace.get()
        if trace is None:
            return isinstance(value, Tensor) and is_at(self, key, value)
        return bool(trace.is_at(self, key, value))

    def check_change(self, tracked: bool, name: str) -> None:
        """Raise if an in-place change is refused; ``tracked`` says whether it enters the history."""
        check_change(self, tracked, name)

    def become(self, name: str, result: Tensor) -> None:
        """Take on the value and history of a result of the same type, as the in-place change ``name`` does."""
        check_change(self, result.requires_grad, name)
        self._become(name, result)

    def set_dtype_(self, dtype: DType) -> Tensor:
        """Convert this leaf to another element type in place; its gradient is dropped."""
        self._array = self._array.astype(dtype)
        self._type = None
        self.grad = None
        changes.of_models.note()
        self.touch()
        return self

    def touch(self) -> None:
        """Note that the content has changed, so that compiled models prepare their weights again."""
        changes.writes.note(self._array, user_location())

    def constant(self, array: Array) -> Tensor:
        trace = active_trace.get()
        return Tensor.wrap(as_array("constant", array)) if trace is None else trace.constant(array)

    def as_size(self) -> tuple[Dim, Tensor]:
        trace = active_trace.get()
        return (int(self._array), self) if trace is None else trace.as_size(self)

    def is_found(self, size: Dim) -> bool:
        trace = active_trace.get()
        return isinstance(size, SymDim) and trace is not None and bool(trace.tracer.is_found(size))

    def apply(self, op: OpDef, attrs: Attrs, inputs: Sequence[object]) -> tuple[Tensor, ...]:
        trace = active_trace.get()
        if trace is not None:
            recorded: tuple[Tensor, ...] = trace.apply(op, attrs, inputs)
            return recorded
        tensors = tuple([x if isinstance(x, Tensor) else Tensor.wrap(np.asarray(x)) for x in inputs])
        return run_op(op, attrs, tensors)

    def record(self, types: Sequence[TensorType], *functions: Callable[..., Sequence[object]]) -> Recorded | None:
        trace = active_trace.get()
        return None if trace is None else trace.record(types, *functions)

    def backward(
        self,
        gradient: Tensor | npt.ArrayLike | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Tensor | Sequence[Tensor] | None = None,
    ) -> None:
        """Add the gradient of this tensor, times ``gradient``, to ``.grad`` of every leaf.

        Parameters
        ----------
        gradient
            A cotangent of this tensor's shape; 1 by default, for scalars only.
        retain_graph
            Has no effect: ``backward`` may be called again as long as the tensor exists.
        create_graph
            Whether the gradients are differentiable themselves. A leaf and its ``.grad`` then refer to each other until
            one of them is cleared.
        inputs
            The only leaves to whose ``.grad`` to add; None for all.
        """
        flag("backward", "retain_graph", bool(retain_graph) if retain_graph is None else retain_graph)
        if not self.requires_grad:
            raise GradientError("backward: this tensor does not depend on any tensor that requires a gradient")
        wanted = None if inputs is None else _leaves(inputs)
        if flag("backward", "create_graph", create_graph):
            for leaf, found in differentiable_gradients([(self, seed_tensor("backward", self, gradient))], wanted):
                leaf._grad = found if leaf._grad is None else leaf._grad + found
                accumulated(leaf)
            return
        for leaf, array, own in gradients_of([(self, seed_of("backward", self, gradient))], wanted):
            _accumulate(leaf, array, own)
            accumulated(leaf)

    def clear_grad(self, keep: bool) -> None:
        """Drop the gradient, or ``keep`` its memory and fill it with zeros."""
        if keep and self.grad is not None:
            self.grad = self.grad.detach().zero_() if self.grad.requires_grad else self.grad.zero_()
        else:
            self.grad = None

    # ------------------------------------------------------------ printing

    def __repr__(self) -> str:
        tail = f", grad={self.grad}" if self._requires_grad else ""
        return f"Tensor({format_array(self._array)}{tail})"

    def __dir__(self) -> list[str]:
        return sorted(name for name in super().__dir__() if name[0] != "_" and name not in _INTERNAL)

    if not TYPE_CHECKING:  # to the type checker a name that is not here is an error

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(advice("Tensor", name, _ABSENT, lambda: dir(Tensor), numpy=True))

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


def _rebuild(cls: type[Tensor], array: Array, requires_grad: bool) -> Tensor:
    tensor = object.__new__(cls)
    tensor._set(array, requires_grad)
    return tensor


def run_op(op: OpDef, attrs: Attrs, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Run one op eagerly, and record it if it may be differentiated."""
    call, types = eager.op_call(op, attrs, tuple([x.type for x in inputs]))
    try:
        with np.errstate(all="ignore"):
            arrays = call(*[x._array for x in inputs])
    except MemoryError as error:
        raise ExecutionError(f"{op.name}: there is not enough memory for {', '.join(map(str, types))}") from error
    except Exception as error:
        note_where(error, f"in the kernel of {op.name}, whose type rule gives {', '.join(map(str, types))}")
        raise
    return remember(op, attrs, inputs, with_operand_layout(op, inputs, arrays), types)


def remember(
    op: OpDef,
    attrs: Attrs,
    inputs: tuple[Tensor, ...],
    arrays: tuple[Array, ...],
    types: tuple[TensorType, ...],
) -> tuple[Tensor, ...]:
    """Wrap the arrays that an op has computed, with a record if an input requires a gradient."""
    outputs = tuple(map(Tensor.made, arrays, types))
    if changes.writes.begun and is_grad_enabled():
        for x in inputs:
            if x._view is not None:
                catch_up(x)
    wanted = True in [x._requires_grad for x in inputs] and is_grad_enabled()
    if wanted and not isinstance(op.gradient, NoGradient):
        record = Record.of(op, attrs, inputs, arrays, types)
        for index, tensor in enumerate(outputs):
            if is_float(types[index].dtype):
                tensor._record, tensor._output, tensor._requires_grad = record, index, True
    if op.view:
        outputs[0]._view = View.of(arrays[0], op, attrs, inputs)
    return outputs


def seed_of(name: str, tensor: Tensor, gradient: Tensor | npt.ArrayLike | None) -> Array:
    """The cotangent of a tensor to differentiate: ``gradient``, or 1 for a scalar."""
    if gradient is None:
        if tensor._array.size != 1:
            raise GradientError(f"{name}: give a gradient of shape {tensor._array.shape}, or reduce to a scalar first")
        return np.ones_like(tensor._array)
    array = gradient._array if isinstance(gradient, Tensor) else as_array(name, gradient)
    if array.shape != tensor._array.shape:
        raise ShapeError(f"{name}: the gradient has shape {array.shape}, the tensor {tensor._array.shape}")
    return array.astype(tensor._array.dtype, copy=False)


def seed_tensor(name: str, tensor: Tensor, gradient: Tensor | npt.ArrayLike | None) -> Tensor:
    """As :func:`seed_of`, with the history that ``gradient`` has."""
    array = seed_of(name, tensor, gradient)
    return gradient.to(tensor.dtype) if isinstance(gradient, Tensor) else Tensor.wrap(array)


def differentiable_gradients(
    outputs: Sequence[tuple[Tensor, Tensor]], wanted: Sequence[Tensor] | None
) -> list[tuple[Tensor, Tensor]]:
    """The tensors behind some outputs, each with a differentiable gradient that nothing else refers to."""
    with enable_grad():
        found = gradients_with_history(outputs, wanted, run_op, Tensor.made)
        return [(tensor, gradient.clone()) for tensor, gradient in found]


def _leaves(inputs: object) -> list[Tensor]:
    """The leaves to whose gradients ``backward`` adds."""
    leaves = [inputs] if isinstance(inputs, Tensor) else inputs
    if not isinstance(leaves, list | tuple) or not leaves or not all(isinstance(x, Tensor) for x in leaves):
        raise OptionError(f"backward: inputs must be a tensor or a list of tensors, got {shown(inputs)}")
    if any(not x.is_leaf or not x.requires_grad for x in leaves):
        raise GradientError(
            "backward: inputs must be leaves that require a gradient; for that of another value use lucid.autograd.grad"
        )
    return list(leaves)


def _accumulate(leaf: Tensor, gradient: Array, own: bool) -> None:
    """Add to the gradient of a leaf, in place as in PyTorch; ``own`` says whether nothing else refers to the array."""
    held = leaf.grad
    if held is not None:
        with np.errstate(all="ignore"):
            total = held._array + gradient
        if held.requires_grad or total.dtype != held.dtype or total.shape != held.shape:
            leaf._grad = Tensor.wrap(total)
        else:
            held.copy_(total)
    else:
        leaf._grad = as_gradient(gradient, own)


def as_gradient(gradient: Array, own: bool) -> Tensor:
    """A gradient as a tensor: around the array itself if that is our ``own`` and dense in memory, else a copy."""
    reusable = own and (gradient.flags.c_contiguous or order_of(gradient))
    return Tensor.wrap(gradient if reusable else np.array(gradient, order="C"))


set_eager_world(Tensor(0.0))
