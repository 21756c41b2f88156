"""Views of eager tensors, and how in-place changes of a tensor and its views enter each other's history.

NumPy makes views share memory, so values need no care; this module keeps the history consistent. When a view is changed
in place, the tensor that it views (its whole) becomes a new value with that part replaced. When a view is read after
its whole has changed, it is taken again from the current value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from types import EllipsisType
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np

from ..base import changes
from ..base.arrays import Array
from ..errors import GradientError
from ..graph.opdef import AbstractTensor, Attrs, NoGradient, OpDef, apply
from ..graph.ops.put import counted, put
from ..graph.ops.shape import flatten, reshape
from ..graph.types import TensorType, product
from .grad_mode import enable_grad, is_grad_enabled
from .history import Record
from .inplace import check_result, check_writable, refuse_leaf

Take: TypeAlias = "Callable[..., AbstractTensor]"


class Held(Protocol):
    """The attributes of a tensor that this module uses."""

    _array: Array
    _record: Record | None
    _output: int
    _requires_grad: bool
    _view: View | None

    @property
    def type(self) -> TensorType: ...
    @property
    def version(self) -> int: ...
    @property
    def is_leaf(self) -> bool: ...
    def touch(self) -> None: ...
    def clone(self) -> Any: ...
    @classmethod
    def made(cls, array: Array, type_: TensorType) -> Any: ...


T = TypeVar("T")
H = TypeVar("H", bound=Held)


class Step:
    """One step from a tensor to a view of it: an op that returns a view of its first input."""

    __slots__ = ("attrs", "op", "others")

    def __init__(self, op: OpDef, attrs: Attrs, others: Sequence[object]) -> None:
        self.op, self.attrs, self.others = op, attrs, others

    def take(self, whole: object) -> AbstractTensor:
        """The view of a tensor, or of a symbol."""
        return apply(self.op, self.attrs, whole, *self.others)  # type: ignore[no-any-return, call-overload]

    @property
    def put_back(self) -> Take | None:
        """A function of (whole, new content of the view) that returns the whole with it; None if the op has none."""
        return None if self.op.put_back is None else partial(self.op.put_back, self.attrs)

    @property
    def key(self) -> object:
        """Steps with equal keys see the same part of a whole."""
        return self if self.others else (self.op, self.attrs)


class Taken(Step):
    """A step that is a function composed of several ops."""

    __slots__ = ("function",)

    def __init__(self, function: Take) -> None:
        self.function = function

    def take(self, whole: object) -> AbstractTensor:
        return self.function(whole)

    put_back, key = property(lambda self: None), property(lambda self: self)


Steps: TypeAlias = tuple[Step, ...]


class View:
    """How a tensor is a view of another one.

    Attributes
    ----------
    whole
        The other tensor, which is not a view itself.
    steps
        The steps from it to the view.
    since
        The time of the last change of the memory that the view's history includes.
    loose
        Whether the view was made within ``no_grad``.
    """

    __slots__ = ("loose", "since", "steps", "whole")

    def __init__(self, whole: Held, steps: Steps, loose: bool) -> None:
        self.whole, self.steps, self.loose = whole, steps, loose
        self.since = changes.of_contents.now

    @classmethod
    def of(cls, output: Array, op: OpDef, attrs: Attrs, inputs: Sequence[Held]) -> View | None:
        """The output of an op as a view of its first input; None if it is a copy."""
        array, base = inputs[0]._array, output.base
        if isinstance(op.gradient, NoGradient) or base is None:
            return None
        if not (base is array or base is array.base or np.may_share_memory(output, array)):
            return None
        return cls.by(Step(op, attrs, inputs[1:]), inputs[0])

    @classmethod
    def by(cls, step: Step, x: Held) -> View:
        """The view of a tensor by a step; the tensor may be a view itself."""
        above, loose = x._view, not is_grad_enabled()
        if above is None:
            return cls(x, (step,), loose)
        return cls(above.whole, (*above.steps, step), loose or above.loose)


def seen(whole: T, steps: Sequence[Step]) -> T:
    """The view of a whole by some steps."""
    for step in steps:
        whole = step.take(whole)  # type: ignore[assignment]  # of a kind of tensors, one of that
    return whole


def with_part(whole: T, steps: Sequence[Step], part: T) -> T:
    """``whole`` with ``part`` as its view by ``steps``."""
    backs = [step.put_back for step in steps]
    if None in backs:
        return _at_numbers(whole, steps, part)  # type: ignore[arg-type, return-value]  # as above
    wholes = [whole]
    for step in steps[:-1]:
        wholes.append(step.take(wholes[-1]))  # type: ignore[arg-type]  # as above
    for back, before in zip(reversed(backs), reversed(wholes), strict=bool(steps)):
        assert back is not None
        part = back(before, part)  # type: ignore[assignment]  # as above
    return part


def _at_numbers(whole: AbstractTensor, steps: Sequence[Step], part: AbstractTensor) -> AbstractTensor:
    """:func:`with_part` for steps without ``put_back``: a view of the elements' indices tells where the part goes."""
    shape = whole.type.shape
    numbers = seen(reshape(counted(whole, product(shape)), shape), steps)
    return reshape(put(flatten(whole), (0,), [flatten(numbers)], flatten(part)), shape)


def is_at(x: Held, key: object, value: Held) -> bool:
    """Whether ``value`` is the view ``x[key]`` itself."""
    items = key if isinstance(key, tuple) else (key,)
    view = value._view
    if view is None or view.whole is not (x if x._view is None else x._view.whole):
        return False
    if not all(isinstance(item, int | slice | EllipsisType | None) and not isinstance(item, bool) for item in items):
        return False
    seen_here: Array = x._array[items]
    return _place(seen_here) == _place(value._array)


def _place(array: Array) -> tuple[object, ...]:
    return array.__array_interface__["data"], array.shape, array.strides


def catch_up(x: Held) -> None:
    """Update the history of a view whose whole has got a new one by an in-place change since."""
    view, begun = x._view, changes.writes.begins(x._array)
    if view is None or begun <= view.since or (x._record is None and x._requires_grad):
        return
    if not view.loose:
        view.since = begun
        with enable_grad():
            again = seen(view.whole, view.steps)
        x._record, x._output, x._requires_grad = again._record, again._output, again._requires_grad
    elif is_grad_enabled() and view.whole._requires_grad:
        raise GradientError(
            f"a view of type {x.type} was made within no_grad, and what it is a view of has taken on a history since, "
            f"by a change in place{changes.writes.where(x._array)}; make the view after the change, or outside "
            f"no_grad, or read it under 'with lucid.no_grad():'"
        )


def check_change(x: Held, tracked: bool, name: str) -> None:
    """Raise if an in-place change is refused; ``tracked`` says whether it enters the history."""
    check_writable(name, x._array)
    view = x._view
    if not tracked:
        return
    whole = x if view is None else view.whole
    if whole._requires_grad and whole.is_leaf:
        raise refuse_leaf(name)
    if view is not None and view.loose:
        raise GradientError(
            f"{name}: a view that was made within no_grad is changed by what has a history, which would be lost to "
            f"what it is a view of; make the view outside no_grad, or change a clone()"
        )


def before_change(x: H, tracked: bool, name: str) -> H:
    """The value before a change, copied if the history still needs it."""
    check_change(x, tracked, name)
    return copied(x) if tracked else x


def copied(x: H) -> H:
    """A copy of a tensor that has the same history."""
    before: H = x.made(x._array.copy(), x.type)
    if x._record is not None and x.version > x._record.made:
        before.touch()  # as its content is not what its record computed, gradients that need that must fail
    before._record, before._output, before._requires_grad = x._record, x._output, x._requires_grad
    return before


def become(x: H, name: str, result: H) -> H:
    """Write the result of an in-place change into a tensor's memory, and update its history and that of its whole."""
    view = x._view
    result = check_result(name, x, result)
    if not result._requires_grad:
        np.copyto(x._array, result._array)
        x.touch()
        return x
    whole = x if view is None else view.whole
    made: Held = result if view is None else with_part(copied(whole), view.steps, result)  # type: ignore[assignment]
    if made._record is None:
        made = made.clone()
    assert made._record is not None
    np.copyto(x._array, result._array)
    if made._record is not whole._record:  # else nothing was computed, as of a power of 1
        x.touch()
        changes.writes.begin(x._array)
        made._record.made = changes.of_contents.now
        whole._record, whole._output, whole._requires_grad = made._record, made._output, True
    return x
