"""The hooks of modules: before and after ``forward``, and on the gradients of its inputs and outputs.

A module with backward hooks passes its inputs and outputs through identity functions whose gradients call the hooks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

from ..autograd.function import Function
from ..base.checks import shown
from ..base.hooks import Handle, register_hook
from ..errors import GradientError, OptionError, TraceError
from ..graph.trace import active_trace, user_location
from ..graph.types import is_float
from ..tensor.grad_mode import is_grad_enabled
from ..tensor.tensor import Tensor

Gradients: TypeAlias = "tuple[Tensor | None, ...]"
Several: TypeAlias = "tuple[Any, ...]"
PreHook: TypeAlias = "Callable[[Any, Several], object]"


class HookedModule:
    """The methods of a module that register hooks."""

    _pre_hooks: dict[int, Callable[..., object]]
    _hooks: dict[int, Callable[..., object]]
    _backward_pre_hooks: dict[int, Callable[..., object]]
    _backward_hooks: dict[int, Callable[..., object]]

    def register_forward_pre_hook(self, hook: PreHook) -> Handle:
        """Call ``hook(module, args)`` before ``forward``; what it returns (unless None) replaces the arguments."""
        return register_hook(self._pre_hooks, hook)

    def register_forward_hook(self, hook: Callable[[Any, Several, Any], object]) -> Handle:
        """Call ``hook(module, args, output)`` after ``forward``; what it returns (unless None) replaces the output."""
        return register_hook(self._hooks, hook)

    def register_full_backward_pre_hook(self, hook: PreHook) -> Handle:
        """Have ``backward`` call ``hook(module, grad_output)`` before it goes through the module.

        ``grad_output`` has the gradient of each output, None where there is none; what the hook returns, unless None,
        takes its place. As for :meth:`register_full_backward_hook`, that is in eager code.
        """
        return register_hook(self._backward_pre_hooks, hook, "register_full_backward_pre_hook")

    def register_full_backward_hook(self, hook: Callable[[Any, Several, Several], object]) -> Handle:
        """Have ``backward`` call ``hook(module, grad_input, grad_output)`` after it went through the module.

        ``grad_input`` has the gradient of each positional argument, None where there is none; what the hook returns,
        unless None, takes its place. The module must return a tensor or a tuple, and change no argument in place.
        Hooks are called in eager code; to trace the module is an error while it has some.
        """
        return register_hook(self._backward_hooks, hook, "register_full_backward_hook")


class Boundary:
    """One call of a module with backward hooks: it calls them with the gradients of the call's outputs and inputs.

    Parameters
    ----------
    module
        The module; hooks that it gets later are not called.
    """

    def __init__(self, module: HookedModule) -> None:
        self.module, self.name = module, type(module).__name__
        if active_trace.get() is not None:
            raise TraceError(
                f"{self.name} has hooks of its gradients, and is called while a model is traced ({user_location()}), "
                f"whose gradients a program computes: remove them by their handles, or call the model itself"
            )
        self.before = tuple(module._backward_pre_hooks.values())
        self.after = tuple(module._backward_hooks.values())
        self.count, self.positions, self.results = 0, list[int](), 0
        self.grad_output: Gradients = ()
        self.versions: list[tuple[Tensor, int]] = []

    def enter(self, args: tuple[object, ...]) -> tuple[object, ...]:
        """The arguments, through an identity function whose gradient calls the hooks."""
        positions, inputs = _tensors(args)
        self.count = len(args)
        if not (self.after and is_grad_enabled() and any(x.requires_grad for x in inputs)):
            return args
        self.positions = positions
        through = [x.requires_grad for x in inputs]
        passed = _Identity.apply(self.leave_backward, through, True, *inputs)
        self.versions = [(x, x.version) for x in passed]
        return _replaced(args, positions, passed)

    def leave(self, output: object) -> object:
        """The outputs, through an identity function whose gradient calls the hooks first."""
        if any(x.version != version for x, version in self.versions):
            raise GradientError(
                f"{self.name} has hooks of its gradients, and changes an argument in place, which its caller would not "
                f"see: let it compute a new tensor"
            )
        self.versions = []
        given = output if isinstance(output, tuple) else (output,)
        positions, results = _tensors(given)
        if not positions and is_grad_enabled():
            raise OptionError(
                f"{self.name} has hooks of its gradients, which are called for a tensor or a tuple of tensors that a "
                f"module returns, and it returned {shown(output)}"
            )
        if not (is_grad_enabled() and any(x.requires_grad for x in results)):
            return output
        self.results = len(given)
        through = [x.requires_grad for x in results]
        passed = _Identity.apply(partial(self.enter_backward, positions), through, False, *results)
        made = _replaced(given, positions, passed)
        return made if isinstance(output, tuple) else made[0]

    def enter_backward(self, positions: Sequence[int], gradients: Gradients) -> Gradients:
        """The gradients of the outputs, as the hooks leave them."""
        found = _at_positions(self.results, positions, gradients)
        for hook in self.before:
            found = self._answer("register_full_backward_pre_hook", found, hook(self.module, found))
        self.grad_output = found
        if not self.positions:
            for hook in self.after:
                nothing: Gradients = (None,) * self.count
                self._answer("register_full_backward_hook", nothing, hook(self.module, nothing, found))
        return tuple([found[position] for position in positions])

    def leave_backward(self, gradients: Gradients) -> Gradients:
        """The gradients of the arguments, as the hooks leave them."""
        found = _at_positions(self.count, self.positions, gradients)
        for hook in self.after:
            answer = hook(self.module, found, self.grad_output)
            found = self._answer("register_full_backward_hook", found, answer)
        return tuple([found[position] for position in self.positions])

    def _answer(self, name: str, before: Gradients, answer: object) -> Gradients:
        """The gradients after a hook that returned ``answer``."""
        if answer is None:
            return before
        found = answer if isinstance(answer, tuple) else (answer,)
        if len(found) != len(before) or not all(map(_fits, found, before)):
            raise GradientError(
                f"{name}: the hook of {self.name} returned {shown(answer)}; it returns None, or a tuple of "
                f"{len(before)} gradients of their types"
            )
        return found


class _Identity(Function):
    """The identity of tensors, which replaces their gradients by what ``call`` returns for them.

    ``through`` says which of the tensors require a gradient; ``zeros``, whether missing gradients are zeros or None.
    """

    @staticmethod
    def forward(
        ctx: Any, call: Callable[[Gradients], Gradients], through: list[bool], zeros: bool, *given: Tensor
    ) -> Any:
        ctx.call = call
        ctx.set_materialize_grads(zeros)
        passed = tuple([x.view_as(x) for x in given])
        ctx.mark_non_differentiable(*[y for y, goes in zip(passed, through, strict=True) if not goes])
        return passed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        return None, None, None, *ctx.call(gradients)


def _fits(answer: object, gradient: Tensor | None) -> bool:
    """Whether a hook may return ``answer`` in place of a gradient."""
    if not isinstance(answer, Tensor):
        return answer is None
    return gradient is None or answer.type.same_value(gradient.type)


def _tensors(values: tuple[object, ...]) -> tuple[list[int], list[Tensor]]:
    """The positions of the floating-point tensors among values, and these tensors."""
    found = {i: x for i, x in enumerate(values) if isinstance(x, Tensor) and is_float(x.type.dtype)}
    return list(found), list(found.values())


def _replaced(values: tuple[object, ...], positions: Sequence[int], passed: Sequence[object]) -> tuple[object, ...]:
    """The values with those at ``positions`` replaced."""
    made = list(values)
    for position, one in zip(positions, passed, strict=True):
        made[position] = one
    return tuple(made)


def _at_positions(count: int, positions: Sequence[int], gradients: Gradients) -> Gradients:
    """A tuple of ``count`` entries with the gradients at ``positions``, and None elsewhere."""
    found: list[Tensor | None] = [None] * count
    for position, gradient in zip(positions, gradients, strict=True):
        found[position] = gradient
    return tuple(found)
