"""``lucid.autograd.Function``: functions whose gradient is written by hand.

In eager code the results are recorded as a ``Call`` node, whose gradient is another ``Call`` that runs ``backward`` on
tensors. While a model is traced, both methods run on traced tensors: ``forward`` adds its nodes to the graph, and
``backward`` becomes a region of the ``CustomGradient`` node that follows them, which differentiation inlines.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NoReturn, TypeVar, cast

from ..base.absent import FUNCTION, advice
from ..base.checks import flag, shown
from ..errors import GradientError, LucidError, OptionError
from ..graph.opdef import NoAttrs
from ..graph.ops.call import CALL, BackwardCallee, CallAttrs
from ..graph.ops.custom_gradient import CUSTOM_GRADIENT, ONCE, CustomGradientAttrs
from ..graph.trace import active_trace
from ..graph.types import TensorType, is_float
from ..tensor.grad_mode import enable_grad, is_grad_enabled, no_grad
from ..tensor.hooks import TensorCallee
from ..tensor.tensor import Tensor, remember
from ..tensor.traced import TracedTensor

B = TypeVar("B", bound="Callable[..., Any]")


class FunctionCtx:
    """The context that ``forward`` passes to ``backward``: saved tensors, and attributes of any name.

    Attributes
    ----------
    needs_input_grad
        For each argument of ``forward``, whether it is a tensor that requires a gradient. While a model is traced this
        is True for all floating-point tensors that the model computes or is given, as it may differ from call to call;
        a gradient that a call does not need is not computed.
    """

    def __init__(self, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad
        self._saved: tuple[Tensor | None, ...] = ()
        self._versions: tuple[int, ...] = ()
        self._constant: tuple[Tensor, ...] = ()
        self._materialize = True
        self._replacements: dict[int, Tensor] = {}
        """The tensors that ``backward`` sees in place of saved inputs and outputs, by the ids of these."""
        self._sources: tuple[Tensor, ...] = ()
        """The tensors that the gradients depend on, besides the cotangents."""

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors, or None, for :attr:`saved_tensors`.

        Second gradients flow through those that are arguments or results of the function. A tensor that is changed in
        place before ``backward`` reads it is an error.
        """
        for tensor in tensors:
            if tensor is not None and not isinstance(tensor, Tensor):
                raise OptionError(
                    f"save_for_backward: takes tensors or None, got {shown(tensor)}: keep it as ctx.name = …"
                )
        self._saved = tensors
        self._versions = tuple([_version(tensor) for tensor in tensors])

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """The tensors that :meth:`save_for_backward` was given."""
        for tensor, version in zip(self._saved, self._versions, strict=True):
            if id(tensor) not in self._replacements and _version(tensor) != version:
                raise GradientError(
                    f"saved_tensors: a tensor of type {tensor.type if tensor is not None else None} has been changed "
                    f"in place since it was saved; save a clone()"
                )
        return tuple([self._replacements.get(id(tensor), tensor) for tensor in self._saved])

    def mark_non_differentiable(self, *results: Tensor) -> None:
        """Have these results require no gradient; their cotangents are zeros."""
        for result in results:
            if not isinstance(result, Tensor):
                raise OptionError(f"mark_non_differentiable: takes results of forward, got {shown(result)}")
        self._constant = results

    def set_materialize_grads(self, value: bool) -> None:
        """Set whether ``backward`` is given zeros (the default) or None for results without a gradient.

        While a model is traced it is not known which results have one, and ``backward`` is always given zeros.
        """
        self._materialize = flag("set_materialize_grads", "value", value)

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(advice("ctx", name, FUNCTION, lambda: [n for n in dir(FunctionCtx) if n[0] != "_"]))


def _version(tensor: Tensor | None) -> int:
    return 0 if tensor is None or isinstance(tensor, TracedTensor) else tensor.version


class Function:
    """A function whose gradient is written by hand, as ``torch.autograd.Function``.

    A subclass defines two static methods. ``forward(ctx, *args)`` returns a tensor or a tuple of tensors; it takes no
    ``ctx`` if the subclass also defines ``setup_context(ctx, inputs, output)``. ``backward(ctx, *gradients)`` takes the
    gradient of each result and returns that of each argument of ``forward``, or None. The function is called by its
    ``apply``, never by its ``forward``::

        class Clipped(lucid.autograd.Function):
            @staticmethod
            def forward(ctx, x, low):
                ctx.save_for_backward(x)
                ctx.low = low
                return x.clamp(min=low)

            @staticmethod
            def backward(ctx, dy):
                (x,) = ctx.saved_tensors
                return dy * (x > ctx.low), None

        y = Clipped.apply(x, 0.5)

    In eager code both may compute with anything, such as NumPy; in compiled models and steps, where they are traced,
    with tensors only. None as the gradient of a tensor that requires one counts as zeros in eager code.
    """

    _setup: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        cls._setup = cls.setup_context is not Function.setup_context

    def __new__(cls, *args: object, **kwargs: object) -> Any:
        raise OptionError(f"{cls.__name__}: a Function has no instances; call {cls.__name__}.apply(…)")

    @staticmethod
    def forward(*args: Any) -> Any:
        """The results; a subclass defines it."""
        raise LucidError("this Function does not define forward()")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Save what ``backward`` needs, for a ``forward`` without ``ctx``; a subclass may define it."""

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> object:
        """The gradient of each argument; a subclass defines it."""
        raise GradientError("this Function does not define backward()")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """The results of ``forward``, whose gradients ``backward`` computes.

        Parameters
        ----------
        args
            The arguments of ``forward`` after ``ctx``. Tensors within lists or dicts are not differentiated.

        Returns
        -------
        The results of ``forward``. Its floating-point tensors require a gradient if an argument does; one that is an
        argument, or shares memory with one, is copied.
        """
        return _Application(cls, args).results()


class _Application:
    """One call of a function.

    Attributes
    ----------
    function, name
        The class, and its name for messages.
    ctx
        The context of the call.
    count
        The number of arguments.
    inputs
        The arguments that are tensors, by position.
    returned
        What ``forward`` returned, as a tuple; ``is_single`` if it was not one.
    outputs
        Those of ``returned`` that have a gradient, by position.
    """

    def __init__(self, function: type[Function], args: tuple[Any, ...]) -> None:
        self.function, self.name = function, function.__name__
        self.count = len(args)
        self.inputs = {position: x for position, x in enumerate(args) if isinstance(x, Tensor)}
        self.ctx = FunctionCtx(tuple([isinstance(x, Tensor) and _needs_gradient(x) for x in args]))
        with no_grad():
            if function._setup:
                output: Any = function.forward(*args)
                function.setup_context(self.ctx, args, output)
            else:
                output = function.forward(self.ctx, *args)
        self.is_single = not isinstance(output, tuple)
        self.returned: tuple[Any, ...] = (output,) if self.is_single else output
        constant = {id(tensor) for tensor in self.ctx._constant}
        self.outputs = {
            position: y
            for position, y in enumerate(self.returned)
            if isinstance(y, Tensor) and is_float(y.type.dtype) and id(y) not in constant
        }
        self.ctx._constant = ()

    def results(self) -> Any:
        """The results for the caller, with their history if gradients are recorded."""
        results: list[Any] = list(self.returned)
        if self.outputs and any(self.ctx.needs_input_grad) and is_grad_enabled():
            recorded = _recorded(self) if active_trace.get() is None else _traced(self)
            for position, y in zip(self.outputs, recorded, strict=True):
                results[position] = y
        else:
            with no_grad():
                results = [y.clone() if any(y is x for x in self.inputs.values()) else y for y in results]
        return results[0] if self.is_single else tuple(results)

    def gradients(
        self, cotangents: Sequence[Tensor | None], replacements: dict[int, Tensor], sources: tuple[Tensor, ...]
    ) -> dict[int, Tensor]:
        """Run ``backward``: the gradients of arguments, by position.

        Parameters
        ----------
        cotangents
            One for each of :attr:`outputs`, or None.
        replacements, sources
            As for :class:`FunctionCtx`.
        """
        ctx = copy.copy(self.ctx)
        ctx._replacements, ctx._sources = replacements, sources
        by_position = dict(zip(self.outputs, cotangents, strict=True))
        dys: list[Tensor | None] = []
        for position, y in enumerate(self.returned):
            dy = by_position.get(position)
            if dy is None and isinstance(y, Tensor) and ctx._materialize:
                dy = y.new_zeros(y.shape)
            dys.append(dy)
        gradients = self.function.backward(ctx, *dys)
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        if len(gradients) < self.count or any(dx is not None for dx in gradients[self.count :]):
            raise GradientError(
                f"{self.name}.backward returned {len(gradients)} gradients; it returns one for each of the "
                f"{self.count} arguments of forward, None where there is none"
            )
        return {position: self._checked(position, dx) for position, dx in enumerate(gradients) if dx is not None}

    def _checked(self, position: int, gradient: object) -> Tensor:
        """A gradient in the shape and dtype of its argument."""
        x = self.inputs.get(position)
        if x is None or not isinstance(gradient, Tensor):
            wanted = "None, as that is no tensor" if x is None else "a tensor or None"
            raise GradientError(
                f"{self.name}.backward returned {shown(gradient)} for argument {position} of forward; it returns "
                f"{wanted}"
            )
        try:
            return gradient.sum_to(x.type.shape).to(x.dtype)
        except LucidError as error:
            raise GradientError(
                f"{self.name}.backward returned a gradient {gradient.type} for argument {position} of forward, which "
                f"is {x.type}"
            ) from error


def _needs_gradient(x: Tensor) -> bool:
    return is_float(x.type.dtype) if isinstance(x, TracedTensor) else x.requires_grad


# ---------------------------------------------------------------- in eager code


def _recorded(call: _Application) -> Sequence[Tensor]:
    """The results that have a gradient, with a record of the call."""
    with no_grad():
        results = [y.apart(tuple(call.inputs.values())) for y in call.outputs.values()]
    attrs = CallAttrs(_Forward(call))
    return remember(CALL, attrs, tuple(call.inputs.values()), tuple([y._array for y in results]), _types(results))


def _types(tensors: Sequence[Tensor]) -> tuple[TensorType, ...]:
    return tuple([x.type for x in tensors])


class _Forward:
    """The callee in the record of a call. It is never called itself, since the results are known."""

    def __init__(self, call: _Application) -> None:
        self.call, self.name, self.results = call, call.name, len(call.outputs)

    def output_types(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        return _types(tuple(self.call.outputs.values()))

    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        raise GradientError(f"{self.name}: its results are known where they are differentiated")

    def backward(self, used: tuple[bool, ...]) -> BackwardCallee:
        return _Backward(self.call, used)


class _Backward(TensorCallee):
    """The gradient of a call: runs ``backward``, given cotangents of the used results and saved inputs and outputs."""

    def __init__(self, call: _Application, used: tuple[bool, ...]) -> None:
        super().__init__(Tensor.made)
        self.call, self.used, self.name = call, used, call.name
        self.reached = tuple([call.ctx.needs_input_grad[position] for position in call.inputs])
        self.results = sum(self.reached)
        saved = {id(tensor) for tensor in call.ctx._saved}
        self._values = (*call.inputs.values(), *call.outputs.values())
        self.reads = tuple([id(value) in saved for value in self._values])

    def output_types(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        reached = zip(self.call.inputs.values(), self.reached, strict=True)
        return tuple([x.type.with_order(None) for x, reach in reached if reach])

    def call_on_tensors(self, tensors: Sequence[Any]) -> tuple[Any, ...]:
        remaining, inputs = iter(tensors), self.call.inputs
        cotangents = [next(remaining) if use else None for use in self.used]
        replacements = {
            id(value): next(remaining) for value, read in zip(self._values, self.reads, strict=True) if read
        }
        gradients = self.call.gradients(cotangents, replacements, tuple(inputs.values()))
        reached = [position for position, reach in zip(inputs, self.reached, strict=True) if reach]
        return tuple([gradients[p] if p in gradients else inputs[p].new_zeros(inputs[p].shape) for p in reached])


# ---------------------------------------------------------------- in a trace


def _traced(call: _Application) -> Sequence[Tensor]:
    """The results that have a gradient, as outputs of a ``CustomGradient`` node."""
    recorder, values = active_trace.get(), tuple(call.outputs.values())
    types = tuple([recorder.lift(y).type for y in values])
    positions: list[int] = []

    def backward(*cotangents_and_values: Tensor) -> list[Tensor]:
        cotangents, outputs = cotangents_and_values[: len(values)], cotangents_and_values[len(values) :]
        replacements = dict(zip(map(id, values), outputs, strict=True))
        replacements |= {id(x): x for x in call.inputs.values()}
        with enable_grad():
            gradients = call.gradients(cotangents, replacements, tuple(call.inputs.values()))
        positions[:] = [position for position in gradients if is_float(call.inputs[position].type.dtype)]
        return [gradients[position] for position in positions]

    (region,), captures = recorder.record((*types, *types), backward)
    sources = [call.inputs[position] for position in positions]
    attrs = CustomGradientAttrs(len(values), region)
    results: tuple[Tensor, ...] = recorder.apply(CUSTOM_GRADIENT, attrs, (*values, *sources, *captures))
    for result, y in zip(results, values, strict=True):
        cast("TracedTensor", result).layout = getattr(y, "layout", None)
    return results


# ---------------------------------------------------------------- first gradients only


def once_differentiable(backward: B) -> B:
    """Decorate a ``backward`` whose gradients cannot be differentiated again; it may compute with NumPy, for instance.

    It stands between ``@staticmethod`` and ``def backward``. Differentiating the gradients raises a ``GradientError``.
    """

    @functools.wraps(backward)
    def once(ctx: FunctionCtx, *gradients: Any) -> Any:
        with no_grad():
            returned = backward(ctx, *gradients)
        sources = [x for x in (*gradients, *ctx._sources) if isinstance(x, Tensor)]
        results = [
            dx.apply(ONCE, NoAttrs(), (dx, *sources))[0] if isinstance(dx, Tensor) else dx
            for dx in (returned if isinstance(returned, tuple) else (returned,))
        ]
        return tuple(results)

    return cast("B", once)
