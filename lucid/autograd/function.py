"""Functions whose gradient is written by hand: ``lucid.autograd.Function``.

Eagerly, the record of what such a function gave is a ``Call``, whose gradient is another that runs ``backward`` on
tensors. While a model is traced, ``forward`` and ``backward`` both run on traced tensors: the first adds its nodes to
the graph, the second becomes a region of the node ``CustomGradient`` behind them, which autodiff makes nodes of.
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
from ..tensor.hooks import InPython
from ..tensor.tensor import Tensor, remember
from ..tensor.traced import TracedTensor

B = TypeVar("B", bound="Callable[..., Any]")


class FunctionCtx:
    """What ``forward`` leaves to ``backward``: saved tensors, and attributes of any name.

    Attributes
    ----------
    needs_input_grad
        For each argument of ``forward``, whether it is a tensor that requires a gradient. While a model is traced that
        differs from call to call, so it is True of all floating-point tensors that the model computes or is given; what
        is not needed then is not computed.
    """

    def __init__(self, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad
        self._saved: tuple[Tensor | None, ...] = ()
        self._versions: tuple[int, ...] = ()
        self._constant: tuple[Tensor, ...] = ()
        self._materialize = True
        self._now: dict[int, Tensor] = {}
        """The inputs and outputs that were saved, as ``backward`` is given them, by the ids of those in ``forward``."""
        self._behind: tuple[Tensor, ...] = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors, or None, for :attr:`saved_tensors`.

        Of arguments and results of the function, changes in place are noticed, and second gradients go through them.
        """
        for one in tensors:
            if one is not None and not isinstance(one, Tensor):
                raise OptionError(
                    f"save_for_backward: takes tensors or None, got {shown(one)}: keep it as ctx.name = …"
                )
        self._saved = tensors
        self._versions = tuple([_version(one) for one in tensors])

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """What :meth:`save_for_backward` was given."""
        for one, version in zip(self._saved, self._versions, strict=True):
            if id(one) not in self._now and _version(one) != version:
                raise GradientError(
                    f"saved_tensors: a tensor of type {one.type if one is not None else None} has been changed in "
                    f"place since it was saved; save a clone()"
                )
        return tuple([self._now.get(id(one), one) for one in self._saved])

    def mark_non_differentiable(self, *results: Tensor) -> None:
        """Have these results require no gradient; their cotangents are zeros."""
        for one in results:
            if not isinstance(one, Tensor):
                raise OptionError(f"mark_non_differentiable: takes results of forward, got {shown(one)}")
        self._constant = results

    def set_materialize_grads(self, value: bool) -> None:
        """Whether ``backward`` is given zeros for results without gradient (by default), or None.

        While a model is traced, which results have one is not known, and ``backward`` is given zeros in any case.
        """
        self._materialize = flag("set_materialize_grads", "value", value)

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(advice("ctx", name, FUNCTION, lambda: [n for n in dir(FunctionCtx) if n[0] != "_"]))


def _version(tensor: Tensor | None) -> int:
    return 0 if tensor is None or isinstance(tensor, TracedTensor) else tensor.version


class Function:
    """A function whose gradient is written by hand, as ``torch.autograd.Function``.

    A subclass has two static methods. ``forward(ctx, *args)`` returns a tensor or a tuple of them; it may be written
    without ``ctx`` if there is ``setup_context(ctx, inputs, output)`` too. ``backward(ctx, *gradients)`` takes the
    gradient of each result, and returns one for each argument of ``forward``, or None. The function is called by
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

    Both may compute with anything, such as NumPy, in eager code; in compiled models and steps with tensors only, as
    they are traced there. None as the gradient of a tensor that requires one counts as zeros in eager code.
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
        """Saves what ``backward`` needs, for a ``forward`` that has no ``ctx``."""

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
            Those of ``forward`` after ``ctx``. Tensors within lists or dicts are not differentiated.

        Returns
        -------
        What ``forward`` returns, with tensors that may require a gradient. One that is an argument, or shares memory
        with one, is copied.
        """
        return _Application(cls, args).results()


class _Application:
    """One call of a function: its context, its tensors, and its results."""

    def __init__(self, function: type[Function], args: tuple[Any, ...]) -> None:
        self.function, self.name = function, function.__name__
        self.count = len(args)
        self.inputs = {place: x for place, x in enumerate(args) if isinstance(x, Tensor)}
        self.ctx = FunctionCtx(tuple([isinstance(x, Tensor) and _needs(x) for x in args]))
        with no_grad():
            if function._setup:
                output: Any = function.forward(*args)
                function.setup_context(self.ctx, args, output)
            else:
                output = function.forward(self.ctx, *args)
        self.alone = not isinstance(output, tuple)
        self.given: tuple[Any, ...] = (output,) if self.alone else output
        constant = {id(one) for one in self.ctx._constant}
        self.outputs = {
            place: y
            for place, y in enumerate(self.given)
            if isinstance(y, Tensor) and is_float(y.type.dtype) and id(y) not in constant
        }
        """The results that have a gradient, by their place."""
        self.ctx._constant = ()

    def results(self) -> Any:
        """What the caller is given."""
        found: list[Any] = list(self.given)
        if self.outputs and any(self.ctx.needs_input_grad) and is_grad_enabled():
            made = _eager(self) if active_trace.get() is None else _traced(self)
            for place, y in zip(self.outputs, made, strict=True):
                found[place] = y
        else:
            with no_grad():
                found = [y.clone() if any(y is x for x in self.inputs.values()) else y for y in found]
        return found[0] if self.alone else tuple(found)

    def gradients(
        self, cotangents: Sequence[Tensor | None], now: dict[int, Tensor], behind: tuple[Tensor, ...]
    ) -> dict[int, Tensor]:
        """The gradients of arguments, by their place, from those of the results that have one."""
        ctx = copy.copy(self.ctx)
        ctx._now, ctx._behind = now, behind
        given = dict(zip(self.outputs, cotangents, strict=True))
        handed: list[Tensor | None] = []
        for place, y in enumerate(self.given):
            dy = given.get(place)
            if dy is None and isinstance(y, Tensor) and ctx._materialize:
                dy = y.new_zeros(y.shape)
            handed.append(dy)
        found = self.function.backward(ctx, *handed)
        found = found if isinstance(found, tuple) else (found,)
        if len(found) < self.count or any(one is not None for one in found[self.count :]):
            raise GradientError(
                f"{self.name}.backward returned {len(found)} gradients; it returns one for each of the {self.count} "
                f"arguments of forward, None where there is none"
            )
        return {place: self._checked(place, one) for place, one in enumerate(found) if one is not None}

    def _checked(self, place: int, gradient: object) -> Tensor:
        """A gradient in the type of its argument."""
        x = self.inputs.get(place)
        if x is None or not isinstance(gradient, Tensor):
            wanted = "None, as that is no tensor" if x is None else "a tensor or None"
            raise GradientError(
                f"{self.name}.backward returned {shown(gradient)} for argument {place} of forward; it returns {wanted}"
            )
        try:
            return gradient.sum_to(x.type.shape).to(x.dtype)
        except LucidError as error:
            raise GradientError(
                f"{self.name}.backward returned a gradient {gradient.type} for argument {place} of forward, which is "
                f"{x.type}"
            ) from error


def _needs(x: Tensor) -> bool:
    return is_float(x.type.dtype) if isinstance(x, TracedTensor) else x.requires_grad


# ---------------------------------------------------------------- eagerly


def _eager(call: _Application) -> Sequence[Tensor]:
    """The results that have a gradient, with a record."""
    with no_grad():
        ready = [y.apart(tuple(call.inputs.values())) for y in call.outputs.values()]
    attrs = CallAttrs(_Recorded(call))
    return remember(CALL, attrs, tuple(call.inputs.values()), tuple([y._array for y in ready]), _types(ready))


def _types(tensors: Sequence[Tensor]) -> tuple[TensorType, ...]:
    return tuple([x.type for x in tensors])


class _Recorded:
    """What the record of a function's results holds."""

    def __init__(self, call: _Application) -> None:
        self.call, self.name, self.results = call, call.name, len(call.outputs)

    def output_types(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        return _types(tuple(self.call.outputs.values()))

    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        raise GradientError(f"{self.name}: its results are known where they are differentiated")

    def backward(self, used: tuple[bool, ...]) -> BackwardCallee:
        return _Backward(self.call, used)


class _Backward(InPython):
    """Runs ``backward`` on the cotangents of the used results, and on the inputs and outputs that were saved."""

    def __init__(self, call: _Application, used: tuple[bool, ...]) -> None:
        super().__init__(Tensor.made)
        self.call, self.used, self.name = call, used, call.name
        self.reached = tuple([call.ctx.needs_input_grad[place] for place in call.inputs])
        self.results = sum(self.reached)
        saved = {id(one) for one in call.ctx._saved}
        self._values = (*call.inputs.values(), *call.outputs.values())
        self.reads = tuple([id(one) in saved for one in self._values])

    def output_types(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        reached = zip(self.call.inputs.values(), self.reached, strict=True)
        return tuple([x.type.with_order(None) for x, reach in reached if reach])

    def replayed(self, tensors: Sequence[Any]) -> tuple[Any, ...]:
        given = iter(tensors)
        cotangents = [next(given) if use else None for use in self.used]
        now = {id(one): next(given) for one, read in zip(self._values, self.reads, strict=True) if read}
        found = self.call.gradients(cotangents, now, tuple(self.call.inputs.values()))
        reached = [place for place, reach in zip(self.call.inputs, self.reached, strict=True) if reach]
        return tuple([found[p] if p in found else _zeros(self.call.inputs[p]) for p in reached])


def _zeros(x: Tensor) -> Tensor:
    return x.new_zeros(x.shape)


# ---------------------------------------------------------------- in a trace


def _traced(call: _Application) -> Sequence[Tensor]:
    """The results that have a gradient, behind a node that knows it."""
    recorder, values = active_trace.get(), tuple(call.outputs.values())
    types = tuple([recorder.lift(y).type for y in values])
    places: list[int] = []

    def backward(*given: Tensor) -> list[Tensor]:
        now = dict(zip(map(id, values), given[len(values) :], strict=True))
        now |= {id(x): x for x in call.inputs.values()}
        with enable_grad():
            found = call.gradients(given[: len(values)], now, tuple(call.inputs.values()))
        places[:] = [place for place in found if is_float(call.inputs[place].type.dtype)]
        return [found[place] for place in places]

    (region,), captures = recorder.record((*types, *types), backward)
    sources = [call.inputs[place] for place in places]
    attrs = CustomGradientAttrs(len(values), region)
    made: tuple[Tensor, ...] = recorder.apply(CUSTOM_GRADIENT, attrs, (*values, *sources, *captures))
    for new, y in zip(made, values, strict=True):
        cast("TracedTensor", new).layout = getattr(y, "layout", None)
    return made


# ---------------------------------------------------------------- a mark


def once_differentiable(backward: B) -> B:
    """Mark a ``backward`` whose gradients cannot be differentiated: it may leave tensors; differentiating them raises.

    Written between ``@staticmethod`` and ``def backward``.
    """

    @functools.wraps(backward)
    def once(ctx: FunctionCtx, *gradients: Any) -> Any:
        with no_grad():
            found = backward(ctx, *gradients)
        behind = [one for one in (*gradients, *ctx._behind) if isinstance(one, Tensor)]
        made = [
            one.apply(ONCE, NoAttrs(), (one, *behind))[0] if isinstance(one, Tensor) else one
            for one in (found if isinstance(found, tuple) else (found,))
        ]
        return tuple(made)

    return cast("B", once)
