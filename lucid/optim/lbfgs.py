"""L-BFGS, which evaluates the loss several times in a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

import numpy as np

from ..base import checks
from ..base.arrays import Array
from ..base.checks import integer, shown
from ..base.structs import struct
from ..errors import OptionError, ShapeError
from ..graph.opdef import AbstractTensor
from ..graph.public import as_array
from ..tensor.grad_mode import enable_grad, no_grad
from ..tensor.tensor import Tensor
from .line_search import Search, Trial
from .optimizer import Group, Hyper, Optimizer, Params, Update, Values


@struct
class _Memory:
    """The state that one step hands on to the next.

    Attributes
    ----------
    evaluations, turns
        Numbers of evaluations of the loss, and of directions, so far.
    direction, t
        The last direction, and the step length along it.
    changes, moves, shares
        For each of the last directions the change of the gradient, that of the parameters, and the reciprocal of their
        inner product.
    scale
        The first estimate of the inverse Hessian is this times the identity.
    gradient, loss
        Those at the point where the last direction was computed.
    """

    evaluations: int = 0
    turns: int = 0
    direction: Array | None = None
    t: float = 0.0
    changes: list[Array] = field(default_factory=list)
    moves: list[Array] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    scale: float = 1.0
    gradient: Array | None = None
    loss: float = 0.0

    def turn(self, gradient: Array, most: int) -> None:
        """Compute the next direction, after updating the estimate of the Hessian with the last step."""
        self.turns += 1
        if self.turns == 1 or self.direction is None or self.gradient is None:
            self.direction = -gradient
            self.changes, self.moves, self.shares, self.scale = [], [], [], 1.0
            return
        change, move = gradient - self.gradient, self.direction * self.t
        product = float(change @ move)
        if product > 1e-10:
            keep = slice(1 if len(self.changes) >= most else 0, None)
            self.changes = [*self.changes[keep], change]
            self.moves = [*self.moves[keep], move]
            self.shares = [*self.shares[keep], 1.0 / product]
            self.scale = product / max(float(change @ change), 1e-300)
        self.direction = self._times_inverse(-gradient)

    def _times_inverse(self, x: Array) -> Array:
        """A vector times the estimate of the inverse Hessian (the two-loop recursion)."""
        known = list(zip(self.changes, self.moves, self.shares, strict=True))
        taken: list[float] = []
        for change, move, share in reversed(known):
            taken.append(float(move @ x) * share)
            x = x - taken[-1] * change
        x = x * self.scale
        for (change, move, share), first in zip(known, reversed(taken), strict=True):
            x = x + (first - float(change @ x) * share) * move
        return x

    def state_dict(self) -> dict[str, object]:
        """Copies of the attributes, by PyTorch's names."""
        found: dict[str, object] = {"func_evals": self.evaluations, "n_iter": self.turns}
        if self.direction is None or self.gradient is None:
            return found
        return {
            **found,
            "d": self.direction.copy(),
            "t": float(self.t),
            "old_dirs": [one.copy() for one in self.changes],
            "old_stps": [one.copy() for one in self.moves],
            "ro": [float(one) for one in self.shares],
            "H_diag": float(self.scale),
            "prev_flat_grad": self.gradient.copy(),
            "prev_loss": float(self.loss),
        }

    @classmethod
    def of(cls, state: Mapping[object, object], size: int, dtype: object) -> _Memory:
        """Restore from a state of ours or PyTorch's, for parameters of ``size`` elements; everything is checked."""

        def vector(name: str, value: object) -> Array:
            array = as_array(f"LBFGS: {name} of the state", value, dtype)
            if array.shape != (size,):
                raise ShapeError(f"LBFGS: {name} of the state has shape {(size,)}, given {array.shape}")
            return array

        def single(name: str, value: object) -> float:
            return checks.number("LBFGS", f"{name} of the state", value, nan=True)

        def several(name: str) -> list[object]:
            return checks.several("LBFGS", f"{name} of the state", state.get(name))

        evaluations, turns = (
            integer("LBFGS", f"{name} of the state", state.get(name), 0) for name in ("func_evals", "n_iter")
        )
        if "d" not in state:
            return cls(evaluations, turns)
        changes = [vector("old_dirs", one) for one in several("old_dirs")]
        moves = [vector("old_stps", one) for one in several("old_stps")]
        shares = [single("ro", one) for one in several("ro")]
        if not len(changes) == len(moves) == len(shares):
            raise OptionError("LBFGS: old_dirs, old_stps and ro of the state are as many")
        direction, gradient = (vector(name, state.get(name)) for name in ("d", "prev_flat_grad"))
        t, scale, loss = (single(name, state.get(name)) for name in ("t", "H_diag", "prev_loss"))
        return cls(evaluations, turns, direction, t, changes, moves, shares, scale, gradient, loss)


class LBFGS(Optimizer):
    """Newton's method with a Hessian estimated from the last steps (Nocedal, 1980), as in ``torch.optim``.

    ``step(closure)`` evaluates the loss several times, so it works neither in ``compile_step`` nor in ``lucid.fit``;
    the model that the closure calls may be compiled::

        def closure():
            optimizer.zero_grad()
            loss = objective(net(x), target)
            loss.backward()
            return loss

        optimizer.step(closure)

    Parameters
    ----------
    params
        Parameters, in a single group.
    lr
        The step length along each direction; with a line search, its first trial.
    max_iter, max_eval
        The most directions, and the most evaluations of the loss, in a step; ``max_eval`` is ``max_iter * 5 // 4`` by
        default.
    tolerance_grad, tolerance_change
        A step ends when no element of the gradient exceeds the first, or neither the parameters nor the loss change by
        more than the second.
    history_size
        From how many of the last changes the Hessian is estimated.
    line_search_fn
        ``"strong_wolfe"``, or None for steps of ``lr``.
    """

    evaluates = True
    numbers = ("lr", "tolerance_grad", "tolerance_change")

    def __init__(
        self,
        params: Params,
        lr: float = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        if max_eval is None:
            max_eval = integer("LBFGS", "max_iter", max_iter) * 5 // 4
        self._memory = _Memory()
        super().__init__(
            params,
            {
                "lr": lr,
                "max_iter": max_iter,
                "max_eval": max_eval,
                "tolerance_grad": tolerance_grad,
                "tolerance_change": tolerance_change,
                "history_size": history_size,
                "line_search_fn": line_search_fn,
            },
        )

    def check(self, group: Group) -> None:
        super().check(group)
        for name in ("max_iter", "max_eval", "history_size"):
            integer("LBFGS", name, group[name])
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise OptionError(f"LBFGS: line_search_fn is 'strong_wolfe' or None, got {shown(group['line_search_fn'])}")

    def add_param_group(self, group: Mapping[str, object]) -> None:
        if self.param_groups:
            raise OptionError("LBFGS: all parameters are in one group, with the same options")
        super().add_param_group(group)

    def flags(self, group: Group) -> dict[str, bool]:
        return {}

    def slots_of(self, flags: Mapping[str, int]) -> tuple[str, ...]:
        return ()

    def update(self, p: AbstractTensor, g: AbstractTensor, state: Values, hyper: Hyper) -> Update:
        raise OptionError("LBFGS: a step evaluates the loss, so it is no rule of one gradient: call step(closure)")

    # ------------------------------------------------------------ a step

    def step(self, closure: Callable[[], object] | None = None) -> Any:
        """Follow up to ``max_iter`` directions.

        Parameters
        ----------
        closure
            Clears the gradients, computes the loss with its gradients, and returns it.

        Returns
        -------
        The first result of the closure.
        """
        if closure is None:
            raise OptionError("LBFGS: step takes a closure, which computes the loss and its gradients anew")
        (group,) = self.param_groups
        self.check(group)
        with no_grad(), np.errstate(all="ignore"):  # a loss that is not finite ends as in PyTorch
            return self._step(checks.function("LBFGS", "closure", closure), group)

    def _step(self, closure: Callable[[], object], group: Group) -> object:
        memory, tolerance = self._memory, float(group["tolerance_change"])
        first, loss, gradient = self._evaluated(closure)
        used = 1
        if _largest(gradient) <= group["tolerance_grad"]:
            return first
        for turn in range(1, group["max_iter"] + 1):
            memory.turn(gradient, group["history_size"])
            direction = memory.direction
            assert direction is not None
            memory.gradient, memory.loss = gradient, loss
            memory.t = float(group["lr"])
            if memory.turns == 1:
                memory.t = min(1.0, 1.0 / float(np.abs(gradient).sum())) * memory.t
            slope = float(gradient @ direction)
            if slope > -tolerance:
                break
            before = memory.evaluations
            if group["line_search_fn"] is not None:
                start = Trial(0, loss, gradient, slope)
                loss, gradient = self._searched(closure, start, direction, tolerance, group["max_eval"] - used)
            else:
                self._go(direction, memory.t)
                if turn < group["max_iter"]:  # the last one would be unused
                    _, loss, gradient = self._evaluated(closure)
            used += memory.evaluations - before
            small = _largest(gradient) <= group["tolerance_grad"] or _largest(direction * memory.t) <= tolerance
            if used >= group["max_eval"] or small or abs(loss - memory.loss) < tolerance:
                break
        return first

    def _searched(
        self, closure: Callable[[], object], start: Trial, direction: Array, tolerance: float, most: int
    ) -> tuple[float, Array]:
        """Move along a direction by a line search; returns the loss and gradient there."""
        held = [p.numpy().copy() for p in self._params]

        def evaluate(t: float) -> Trial:
            try:
                self._go(direction, t)
                _, loss, gradient = self._evaluated(closure)
            finally:
                for p, value in zip(self._params, held, strict=True):
                    p.copy_(value)
            return Trial(t, loss, gradient, float(gradient @ direction))

        found = Search(evaluate, start, _largest(direction), tolerance, most).best(self._memory.t)
        self._memory.t = found.t
        self._go(direction, found.t)
        return found.loss, found.gradient

    def _evaluated(self, closure: Callable[[], object]) -> tuple[object, float, Array]:
        """The closure's result, the same as a number, and all gradients concatenated."""
        with enable_grad():
            given = closure()
        self._memory.evaluations += 1
        loss = checks.number("LBFGS", "the loss that the closure returns", given, nan=True)
        parts = []
        for p in self._params:
            if p.grad is not None:
                self.check_gradient(p)
            parts.append(np.zeros(p.shape, p.dtype).ravel() if p.grad is None else p.grad.numpy().ravel())
        return given, loss, np.concatenate(parts)

    def _go(self, direction: Array, t: float) -> None:
        """Add a multiple of a direction to the parameters."""
        start = 0
        for p in self._params:
            part = direction[start : start + p.numel()].reshape(p.shape)
            p.copy_((p.numpy() + t * part).astype(p.dtype))
            start += p.numel()

    @property
    def _params(self) -> list[Tensor]:
        params: list[Tensor] = self.param_groups[0]["params"]
        return params

    # ------------------------------------------------------------ saving

    def state_dict(self) -> dict[str, object]:
        """Copies of the options and of the memory, which is stored as the state of the first parameter."""
        return {**super().state_dict(), "state": {0: self._memory.state_dict()} if self._memory.evaluations else {}}

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        """Restore what :meth:`state_dict` returned; everything is checked before anything is changed."""
        memory, found = _Memory(), state_dict.get("state") if isinstance(state_dict, Mapping) else None
        if found:
            states = checks.mapping("LBFGS", "'state' of a state", found)
            if len(states) != 1:
                raise OptionError(f"LBFGS: a state is that of one parameter, the first, got {len(states)}")
            (state,) = states.values()
            size, dtype = sum(p.numel() for p in self._params), np.result_type(*(p.dtype for p in self._params))
            memory = _Memory.of(checks.mapping("LBFGS", "what is remembered", state), size, dtype)
            state_dict = {**state_dict, "state": {}}
        super().load_state_dict(state_dict)
        self._memory = memory


def _largest(x: Array) -> float:
    """The largest magnitude of an element."""
    return float(np.abs(x).max(initial=0))
