"""A training step on one rank of a group: the ranks make sure that they do the same, and report failures."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from ..base.lazy import hashlib
from ..base.structs import struct
from ..distributed.exchange import Bucket, StepExchange
from ..distributed.group import Group
from ..errors import ExecutionError, OptionError
from ..graph import rng
from ..nn.parameter import Unsettled
from ..optim.optimizer import Optimizer
from ..optim.swa_utils import AveragedModel
from ..runtime.program.atomic import AtomicWrite
from ..runtime.workers.exchange import exchanging
from ..tensor.tensor import Tensor
from .objective import Objective
from .step_form import Form
from .step_graph import Holders
from .step_sums import Place

_WORDS = {
    "parameters": "the parameters of model and optimizer, by name, shape and type",
    "buffers": "the buffers of the model",
    "step": "the optimizer and the options of the step",
    "sums": "what there is to add up",
    "numbers": "learning rates and other numbers of the optimizer or the step",
}
"""What must be equal in all ranks, in words."""

_CALLS = ("step", "sums", "numbers", "held")
"""What is compared at each call. Differences in "held" are no error."""


@struct(frozen=True)
class Summary:
    """What a rank tells the others about a step of one form.

    Attributes
    ----------
    buckets
        The sums over ranks.
    used
        For each parameter of the optimizer, whether this rank has a gradient of it to be summed.
    digests
        Digests of what is compared between ranks.
    """

    buckets: tuple[Bucket, ...]
    used: tuple[bool, ...]
    digests: Mapping[str, int]

    @classmethod
    def of(cls, form: Form, holders: Holders) -> Summary:
        """The summary of a step of this form."""
        used = tuple(id(p) in holders.added for p in holders.params)
        values = {"step": (form.described, form.place and form.place[1:]), "sums": holders.plain, "held": used}
        return cls(tuple(holders.buckets), used, {name: digest(value) for name, value in values.items()})


class Ranks:
    """The communication of a step with the other ranks of its group.

    Parameters
    ----------
    group
        The group.
    objective, optimizer
        What is trained, and how.
    average
        The averaged model, if there is one.
    """

    def __init__(self, group: Group, objective: Objective, optimizer: Optimizer, average: AveragedModel | None) -> None:
        self.place = Place(group.rank, group.size, group.bucket_bytes)
        self._group, self._exchange = group, StepExchange(group)
        self._objective, self._optimizer, self._average = objective, optimizer, average
        self._begun = self.due = False

    # ------------------------------------------------------------ calls

    def __enter__(self) -> None:
        """Begin a call: from here on the ranks wait for each other."""
        if not self._begun:
            self._begin()
        self._exchange.open(len(_CALLS))
        self.due = True

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self.due = False
        self._exchange.finish()
        if self._exchange.failure is not None and isinstance(error, ExecutionError):
            raise self._exchange.failure from None

    @contextmanager
    def running(self, whole: AtomicWrite) -> Iterator[None]:
        """While inside, the program sums over all ranks, and draws the random numbers of this rank.

        Once the last sum has begun, interrupts wait until the parameters are written. The random state of the process
        advances as in rank 0, so that ranks that otherwise draw the same numbers continue to do so.
        """
        keys = rng.current_keys()
        before, own = keys.state, rng.Keys(0)
        own.state = begun = rng.derived_key(before, self.place.rank) if self.place.rank else before
        self._exchange.promising(whole.hold)
        try:
            with exchanging(self._exchange), rng.keys_from(own):
                yield
        finally:
            keys.state = before + own.state - begun
            whole.release()

    # ------------------------------------------------------------ agreement

    def agree(self, summary: Summary, numbers: object) -> Sequence[bool]:
        """Wait for the others, and raise if they do something different.

        Returns, for each parameter of the optimizer, whether any rank has a gradient of it.
        """
        found = {**summary.digests, "numbers": zlib.crc32(repr(numbers).encode())}
        self.due = False
        differ, used = self._exchange.agree({name: found[name] for name in _CALLS}, summary.used, summary.buckets)
        self._refuse([name for name in differ if name != "held"])
        return used

    def expect(self, summary: Summary) -> None:
        """Expect the sums of another graph than the one agreed on: the one with the gradients of all ranks."""
        self._exchange.expect(summary.buckets)

    def _refuse(self, differ: Sequence[str]) -> None:
        if differ:
            listed = "; ".join(_WORDS[name] for name in differ)
            raise OptionError(f"compile_step: the ranks of the group do not train alike, they differ in: {listed}")

    def _begin(self) -> None:
        """Set model and optimizer to their values in rank 0."""
        params, buffers = dict(self._objective.named_parameters()), dict(self._objective.named_buffers())
        if self._average is not None:
            averages = *self._average.named_parameters(), *self._average.named_buffers()
            buffers |= {f"average.{name}": tensor for name, tensor in averages}
        tensors = params | buffers
        unsettled = [name for name, tensor in tensors.items() if isinstance(tensor, Unsettled)]
        known = {id(p): name for name, p in params.items()}
        groups = self._optimizer.param_groups
        described = {
            "parameters": (_types(params), [[known.get(id(p)) for p in group["params"]] for group in groups]),
            "buffers": _types(buffers),
        }
        self._exchange.open(len(described))
        self._refuse(self._exchange.agree({name: digest(what) for name, what in described.items()})[0])
        if unsettled:
            raise OptionError(f"compile_step: {unsettled[0]} has no size yet: call the model before its first step")
        for tensor in (*tensors.values(), *self._slots()):
            self._group.copy_from(tensor, 0)
        self._begun = True

    def _slots(self) -> Iterator[Tensor]:
        for group in self._optimizer.param_groups:
            for p in group["params"]:
                if p.requires_grad:
                    state = self._optimizer.state_of(p, group)
                    yield from (state[slot] for slot in sorted(state))


def _types(tensors: Mapping[str, Tensor]) -> list[tuple[str, str, bool]]:
    return [
        (name, "" if isinstance(tensor, Unsettled) else str(tensor.type), tensor.requires_grad)
        for name, tensor in tensors.items()
    ]


def digest(what: object) -> int:
    """A number derived from the ``repr`` of an object."""
    return int.from_bytes(hashlib.sha256(repr(what).encode()).digest()[:7], "little")
