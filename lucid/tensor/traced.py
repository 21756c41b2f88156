"""TracedTensor: the tensors that a model sees while it is traced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn, Self

from ..errors import GradientError, ShapeError, TraceError
from ..graph.facts import gives_gradients
from ..graph.opdef import Attrs, OpDef
from ..graph.ops.shape import STOP_GRADIENT
from ..graph.ops.source import INPUT
from ..graph.trace import Symbol, active_trace, user_location
from ..graph.traced_dims import TracedDim
from ..graph.types import TensorType, is_float
from .grad_mode import is_grad_enabled
from .inplace import check_result
from .tensor import Tensor


class Memory:
    """Memory that tensors of a trace would share if the model ran eagerly.

    A graph has no memory, so whoever reads a tensor must be told of writes to it under another name.
    """

    __slots__ = ("where", "writes")

    def __init__(self) -> None:
        self.where, self.writes = "", 0

    def write(self) -> int:
        """Note a write at the user's line; the number of writes by now."""
        self.where, self.writes = user_location(), self.writes + 1
        return self.writes

    def check(self, seen: int, type_: TensorType) -> None:
        """Refuse a reader that has seen fewer writes than there were."""
        if seen != self.writes:
            raise TraceError(
                f"a tensor of type {type_} is read ({user_location()}) whose memory was changed in place under another "
                f"name ({self.where}), which a graph cannot follow: take the view after the change, or compute on a "
                f"clone() of it"
            )


class TracedTensor(Tensor):
    """A tensor that stands for a value of the graph being recorded; it has a type and no data."""

    __slots__ = ("memory", "seen", "shared", "symbol")

    def __init__(self, symbol: Symbol) -> None:
        self.symbol = symbol
        self.shared = ""
        """What outside the trace would share its memory if the model ran eagerly, in words; may be empty."""
        self.memory: Memory | None = None
        """The memory that it shares with its views, and how many writes to it this tensor has seen (``seen``)."""
        self.seen = 0
        self._type = symbol.type
        self._record = None
        self._born, self._viewed = -1, 0
        self._requires_grad = is_float(symbol.type.dtype)
        self.grad = None

    @property
    def shape(self) -> tuple[Any, ...]:
        return tuple(map(TracedDim.wrap, self.type.shape))

    @shape.setter
    def shape(self, value: object) -> None:
        self._refuse_shape()

    @property
    def _array(self) -> NoReturn:  # type: ignore[override]
        """There is no data: code that asks for it takes this for an eager tensor, so it has left its trace."""
        raise self.left()

    @property
    def requires_grad(self) -> bool:
        """Not known while tracing: one trace serves calls whose arguments require a gradient and calls whose do not."""
        if not self.live():
            raise self.left()
        raise TraceError(
            f"whether a tensor requires a gradient is not known while the model is traced ({user_location()}), as it "
            f"may differ from call to call: ask for lucid.is_grad_enabled() or self.training, for which the model is "
            f"traced anew, or for that of a parameter"
        )

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if not self.live():
            raise self.left()
        given = self.shared and self.symbol.tracer.builder.dag.nodes[self.symbol.value.node]["node"].op is INPUT
        if value is not True or given:
            raise TraceError(
                f"whether an argument requires a gradient is changed while the model is traced ({user_location()}), "
                f"which its caller would see: tell it before the call, or write x = x.detach().requires_grad_()"
            )
        if not is_float(self.type.dtype):
            raise GradientError(f"only floating-point tensors have gradients; this one is {self.type}")

    def live(self) -> bool:
        """Whether the trace it belongs to is under way in this thread."""
        recorder = active_trace.get()
        return recorder is not None and recorder.traces(self.symbol)

    def left(self) -> TraceError:
        """The error of being used outside its trace."""
        shown = f"{self.symbol.value}: {TensorType(self.type.shape, self.type.dtype)}"
        return TraceError(
            f"this tensor stands for a value of a graph ({shown}) that was recorded while a model was traced, and it "
            f"is used outside that trace ({user_location()}): it has no data. A list, attribute or global has kept it "
            f"from the model's run, or it is used in another thread. Return the value from the compiled model, or "
            f"write it into a buffer with copy_(), and use that"
        )

    def apply(self, op: OpDef, attrs: Attrs, inputs: Sequence[object]) -> tuple[Tensor, ...]:
        if active_trace.get() is None:
            raise self.left()
        return super().apply(op, attrs, inputs)

    def detach(self) -> Any:
        return self.apply(STOP_GRADIENT, STOP_GRADIENT.attrs(), (self,))[0]

    def clone(self) -> Any:
        if not self.live():
            raise self.left()
        return active_trace.get().read(self) if is_grad_enabled() else self.detach()

    def contiguous(self) -> Self:
        if self.memory is None or not self.live():
            return self
        found: Self = active_trace.get().read(self)  # a copy, or the same, as memory would have it: a graph cannot tell
        active_trace.get().share(self, (found,))
        return found

    def __copy__(self) -> Any:
        return self.clone()

    def __deepcopy__(self, memo: dict[int, object]) -> Any:
        return self.clone()

    def __len__(self) -> int:
        if not self.live():
            raise self.left()
        if not self.shape:
            raise ShapeError("a scalar tensor has no length")
        return self.shape[0].__index__()  # type: ignore[no-any-return]

    def _refuse(self, *args: object, **kwargs: object) -> NoReturn:
        if not self.live():
            raise self.left()
        raise TraceError(
            f"the value of a tensor is not known while the model is traced ({user_location()}): no branch on it, "
            f"no float(), int(), .item() or np.asarray(), no change in place. Use lucid.where for a choice, "
            f"lucid.cond for a branch, lucid.while_loop for a loop, tensor operations for arithmetic, or compute it "
            f"outside the compiled model and pass it in"
        )

    numpy = item = tolist = __array__ = __bool__ = __float__ = __int__ = __index__ = _refuse
    touch = _refuse

    def _gives_gradients(self) -> bool:
        return is_float(self.type.dtype) and gives_gradients(self.symbol.tracer.builder.dag, self.symbol.value.node)

    def _before_change(self, tracked: bool, name: str) -> Tensor:
        if not self.live():
            raise self.left()
        if not is_grad_enabled() and self._gives_gradients():
            raise TraceError(
                f"{name} within no_grad changes a tensor that gradients flow through ({user_location()}), which a "
                f"graph cannot follow: take a detach() of it before, or compute a new tensor"
            )
        return super()._before_change(tracked, name)

    def _become(self, name: str, result: Tensor) -> Any:
        """A new value under the same name; refused where others would see the change, in the eager model only."""
        if not self.live():
            raise self.left()
        if self.shared:
            raise TraceError(
                f"{name} changes a tensor in place that {self.shared} ({user_location()}), which a graph cannot "
                f"follow: compute a new tensor, or change a clone() of it"
            )
        new: object = check_result(name, self, result)
        active_trace.get().refuse_within(self.symbol, name)
        self.symbol = active_trace.get().lift(new)
        if self.memory is not None:
            self.seen = self.memory.write()
        return self

    def backward(self, *args: object, **kwargs: object) -> None:
        if not self.live():
            raise self.left()
        raise TraceError(
            f"backward() inside a traced function ({user_location()}): call it on the compiled model's result, "
            f"or use lucid.autograd.grad"
        )

    def __repr__(self) -> str:
        return f"<traced {self.symbol.value}: {self.type}>"

    def __format__(self, spec: str) -> str:
        return self._refuse() if spec else repr(self)

    __hash__ = Tensor.__hash__
