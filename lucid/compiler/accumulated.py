"""The gradients that a training step has accumulated since its last update."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..base import checks
from ..base.checks import shown
from ..distributed.group import Group
from ..errors import OptionError
from ..optim.optimizer import Optimizer
from ..tensor.tensor import Tensor


class Accumulated:
    """Sums of gradients by parameter, and the number of calls that they cover; a separate part of checkpoints.

    Parameters
    ----------
    optimizer
        The optimizer of the parameters.
    share
        The number of calls per update.

    Attributes
    ----------
    optimizer, share
        As given.
    now
        The number of completed calls, and the parameters (by ``id``) that have gradients since the last update. One
        tuple, so that an exception raised by a signal handler cannot separate the two.
    sums
        The tensors in which gradients are summed; stale for parameters that are not in ``now``.
    """

    def __init__(self, optimizer: Optimizer, share: int) -> None:
        self.optimizer = optimizer
        self.share = share
        self.now: tuple[int, frozenset[int]] = 0, frozenset()
        self.sums: dict[Tensor, Tensor] = {}

    @property
    def position(self) -> int:
        """The number of calls since the last update."""
        return self.now[0] % checks.integer("compile_step", "accumulate", self.share)

    def hold(self, p: Tensor) -> Tensor:
        """The tensor in which the gradients of a parameter are summed."""
        held = self.sums.get(p)
        if held is None or held.type != p.type:
            held = self.sums[p] = Tensor(np.zeros(p.shape, p.dtype))
        return held

    @property
    def _params(self) -> list[Tensor]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def give(self) -> None:
        """Set the parameters' ``grad`` to the sums so far, or None, before a call that runs op by op."""
        gathered = self.now[1] if self.position else frozenset()
        for p in self._params:
            p.grad = Tensor(np.array(self.sums[p].numpy())) if id(p) in gathered else None

    def take(self) -> bool:
        """Count such a call and keep the parameters' gradients; returns whether an update is due instead."""
        calls = self.now[0] + 1
        if calls % self.share == 0:
            self.now = calls, frozenset()
            return True
        given = {p: p.grad for p in self._params if p.grad is not None}
        for p, gradient in given.items():
            self.hold(p).copy_(gradient)
        self.now = calls, frozenset(map(id, given))
        return False

    def even_out(self, group: Group) -> None:
        """Replace the sums in all ranks of a group by their means, which leaves the next update the same."""
        if not self.position:
            return
        gathered, params = self.now[1], self._params
        used = group.means([id(p) in gathered for p in params])
        held = [p for p, share in zip(params, used, strict=True) if share]
        for p in held:
            if id(p) not in gathered:
                self.hold(p).zero_()
            group.all_reduce(self.hold(p), "mean")
        self.now = self.now[0], frozenset(map(id, held))

    def state_dict(self) -> dict[str, object]:
        """Copies of the sums, with parameters numbered as in the optimizer's state, and the number of calls."""
        position = self.position
        gathered = self.now[1] if position else frozenset()
        numbered = enumerate(self._params)
        sums = {number: np.array(self.sums[p].numpy()) for number, p in numbered if id(p) in gathered}
        return {"calls": position, "accumulate": self.share, "gradients": sums}

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        """Restore what :meth:`state_dict` returned; everything is checked before anything is changed."""
        owner = "the sums of a step"
        if not isinstance(state_dict, Mapping) or set(state_dict) != {"calls", "accumulate", "gradients"}:
            raise OptionError(f"{owner}: expected a state from state_dict(), got {shown(state_dict)}")
        if state_dict["accumulate"] != self.share:
            raise OptionError(
                f"{owner}: they are for accumulate={shown(state_dict['accumulate'])}, here it is {self.share}"
            )
        calls = checks.integer(owner, "calls", state_dict["calls"], 0, self.share - 1)
        sums = checks.mapping(owner, "gradients", state_dict["gradients"])
        params = dict(enumerate(self._params))
        if any(number not in params for number in sums) or (sums and not calls):
            raise OptionError(f"{owner}: the state has accumulated gradients for parameters that take none here")
        for number, array in sums.items():
            p = params[number]
            if not isinstance(array, np.ndarray) or (array.shape, array.dtype) != (p.shape, p.dtype):
                kind = f"{array.dtype}{list(array.shape)}" if isinstance(array, np.ndarray) else shown(array)
                raise OptionError(f"{owner}: parameter {number} is {p.type}, its sum {kind}")
        for number, array in sums.items():
            self.hold(params[number]).copy_(Tensor(array))
        self.now = calls, frozenset(id(params[number]) for number in sums)
