"""Gradient hooks of tensors: functions that ``backward`` calls with the gradient of a tensor.

The reverse walk passes the gradient of a tensor with hooks through a ``Call`` node, so their results propagate like any
gradient, also when gradients are differentiated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias
from weakref import ref

from ..base.arrays import Array
from ..base.checks import shown
from ..base.hooks import Handle, register_hook
from ..errors import GradientError, TraceError
from ..graph.ops.call import BackwardCallee
from ..graph.trace import active_trace, user_location
from ..graph.types import TensorType
from .grad_mode import no_grad

Hook: TypeAlias = "Callable[..., object]"


class TensorCallee:
    """A callee of a ``Call`` node that computes with tensors rather than arrays, such as a hook of the user.

    Parameters
    ----------
    made
        Makes a tensor around an array.
    """

    def __init__(self, made: Callable[[Array, TensorType], Any]) -> None:
        self._made = made

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        with no_grad():
            found = self.call_on_tensors([self._made(array, TensorType(array.shape, array.dtype)) for array in arrays])
            return tuple([one._array for one in found])

    def call_on_tensors(self, tensors: Sequence[Any]) -> tuple[Any, ...]:
        """The results for tensors, which may have a history; the results then have one too."""
        raise NotImplementedError

    def backward(self, used: tuple[bool, ...]) -> BackwardCallee:
        """Raises: second gradients go through the ops that :meth:`call_on_tensors` has recorded, not through this."""
        raise GradientError("what was computed with tensors is differentiated as it was computed")


class GradientHooks(TensorCallee):
    """The gradient hooks of one tensor, as the callee of the ``Call`` node that its gradient passes through.

    Parameters
    ----------
    made
        Makes a tensor around an array.

    Attributes
    ----------
    called
        Hooks that are called with the gradient.
    after
        Hooks that are called with a leaf after its ``.grad`` has been added to.
    keeps
        The tensor that retains its gradient in ``.grad`` although it is no leaf.
    """

    name, results = "hooks of a gradient", 1

    def __init__(self, made: Callable[[Array, TensorType], Any]) -> None:
        super().__init__(made)
        self.called: dict[int, Hook] = {}
        self.after: dict[int, Hook] = {}
        self.keeps: ref[Any] | None = None

    @property
    def idle(self) -> bool:
        """Whether they leave every gradient as it is and store none."""
        return not self.called and self.keeps is None

    def output_types(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        return tuple(inputs)

    def call_on_tensors(self, tensors: Sequence[Any]) -> tuple[Any, ...]:
        """The gradient after all hooks, one after the other."""
        (gradient,) = tensors
        for hook in tuple(self.called.values()):
            found = hook(gradient)
            if found is None:
                continue
            if not isinstance(found, type(gradient)) or not found.type.same_value(gradient.type):
                raise GradientError(
                    f"register_hook: the hook returned {shown(found)} for a gradient {gradient.type}; it returns a "
                    f"tensor of that type, or None"
                )
            gradient = found
        kept = None if self.keeps is None else self.keeps()
        if kept is not None:
            kept.grad = gradient.clone() if kept.grad is None else kept.grad + gradient
        return (gradient,)


class _Made(Protocol):
    """The attributes of a record that this module uses."""

    hooks: dict[int, GradientHooks] | None


class Hooked:
    """The methods of a tensor that register hooks."""

    __slots__ = ("_hooks",)

    _hooks: GradientHooks | None

    if TYPE_CHECKING:
        _record: Any
        _output: int

        @property
        def requires_grad(self) -> bool: ...
        @property
        def is_leaf(self) -> bool: ...
        @classmethod
        def made(cls, array: Array, type_: TensorType) -> object: ...

    def _hooks_for(self, name: str) -> GradientHooks:
        """The hooks to register with: stored in a leaf itself, and for a result in the record of its op."""
        if active_trace.get() is not None:
            raise TraceError(
                f"{name} is called while the model is traced ({user_location()}), whose gradients a program computes: "
                f"lucid.autograd.grad(loss, t) within the model is the gradient as a value of it"
            )
        if not self.requires_grad:
            raise GradientError(f"{name}: this tensor requires no gradient; t.requires_grad_() before the computation")
        record: _Made | None = self._record
        if record is None:
            hooks = self._hooks
            if hooks is None:
                hooks = self._hooks = GradientHooks(type(self).made)
            return hooks
        if record.hooks is None:
            record.hooks = {}
        return record.hooks.setdefault(self._output, GradientHooks(type(self).made))

    def register_hook(self, hook: Hook) -> Handle:
        """Have ``backward`` call ``hook(gradient)`` with this tensor's gradient; what it returns takes its place.

        The hook may return None. It is called when the gradient is complete, in eager code: also where it comes out of
        a compiled model, but not in a compiled step.
        """
        return register_hook(self._hooks_for("register_hook").called, hook, "register_hook")

    def register_post_accumulate_grad_hook(self, hook: Hook) -> Handle:
        """Have ``backward`` call ``hook(leaf)`` after it has added to the ``.grad`` of this leaf."""
        name = "register_post_accumulate_grad_hook"
        if not self.is_leaf:
            raise GradientError(f"{name}: takes a leaf; of other tensors register_hook is called with the gradient")
        return register_hook(self._hooks_for(name).after, hook, name)

    def retain_grad(self) -> None:
        """Have ``backward`` leave this tensor's gradient in ``.grad``, as it does for leaves."""
        hooks = self._hooks_for("retain_grad")
        if not self.is_leaf:
            hooks.keeps = ref(self)

    @property
    def has_hooks(self) -> bool:
        """Whether this is a leaf with gradient hooks."""
        hooks = self._hooks
        return hooks is not None and not (hooks.idle and not hooks.after)

    @property
    def retains_grad(self) -> bool:
        """Whether :meth:`retain_grad` was called on this tensor and it is no leaf."""
        hooks = None if self._record is None or self._record.hooks is None else self._record.hooks.get(self._output)
        return hooks is not None and hooks.keeps is not None and hooks.keeps() is self


def accumulated(leaf: Hooked) -> None:
    """Call the hooks of a leaf whose ``.grad`` has been added to."""
    if leaf._hooks is not None:
        for hook in tuple(leaf._hooks.after.values()):
            found = hook(leaf)
            if found is not None:
                raise GradientError(
                    f"register_post_accumulate_grad_hook: the hook returned {shown(found)}; it returns None, and "
                    f"changes leaf.grad itself"
                )
