"""TracedTensor: the tensors that a model sees while it is traced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn, Self

from ..errors import GradientError, ShapeError, TraceError
from ..graph.opdef import Attrs, OpDef
from ..graph.ops.shape import STOP_GRADIENT
from ..graph.trace import Symbol, active_trace, user_location
from ..graph.traced_dims import TracedDim
from ..graph.types import TensorType, is_float
from .inplace import check_result
from .memory import Memory
from .strides import Layout
from .tensor import Tensor
from .views import Steps


class TracedTensor(Tensor):
    """A tensor that stands for a value of the graph being recorded; it has a type and no data."""

    __slots__ = ("layout", "memory", "seen", "several", "shared", "steps", "symbol")

    def __init__(self, symbol: Symbol) -> None:
        self.symbol = symbol
        self.shared = ""
        """Why it must not be changed in place, for a message; may be empty."""
        self.several = False
        """Whether several of its elements, or of those of the tensor that it views, share one memory location."""
        self.memory: Memory | None = None
        """The memory that it shares with its views: it is the view by ``steps`` of the value after ``seen`` writes."""
        self.seen = 0
        self.steps: Steps = ()
        self.layout: Layout | None = None
        """Its memory layout if the model ran eagerly; None for row-major."""
        self._type = symbol.type
        self._record = None
        self._born, self._view, self._hooks = -1, None, None
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
        """There is no data: code that reads it expects an eager tensor, so the tensor has left its trace."""
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
        given = active_trace.get().gave(self)
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
        """The error for use outside its trace."""
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

    def detach_(self) -> Self:
        recorder = active_trace.get()
        if not self.live():
            raise self.left()
        if recorder.gave(self) or self.steps:
            raise TraceError(f"detach_: of an argument or a view write x = x.detach() ({user_location()})")
        apart = self.detach()
        self.symbol, self.memory, self.steps, self.seen = apart.symbol, apart.memory, apart.steps, apart.seen
        return self

    def clone(self) -> Any:
        if not self.live():
            raise self.left()
        return active_trace.get().read(self)

    def contiguous(self) -> Self:
        if self.layout is None or not self.live():
            return self
        found: Self = active_trace.get().in_rows(self)
        return found

    def is_contiguous(self) -> bool:
        if not self.live():
            raise self.left()
        return active_trace.get().lies_in_rows(self)  # type: ignore[no-any-return]

    def apart(self, others: Sequence[object]) -> Tensor:
        if any(self is one for one in others):
            return active_trace.get().read(self)  # type: ignore[no-any-return]
        return self if self.memory is None else TracedTensor(active_trace.get().lift(self))

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

    def _before_change(self, tracked: bool, name: str) -> Tensor:
        if not self.live():
            raise self.left()
        return self

    def _become(self, name: str, result: Tensor) -> Any:
        if not self.live():
            raise self.left()
        active_trace.get().change(self, name, check_result(name, self, result))
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
