"""Epochs in a group of processes: all start with the same state, and have equally many batches and equal results."""

from __future__ import annotations

from collections.abc import Mapping, Sized

import numpy as np

from ..base import checks
from ..data.sampler import DistributedSampler
from ..distributed.group import Group, checked_group
from ..errors import OptionError
from ..graph.rng import current_keys
from ..tensor.tensor import Tensor
from .progress import display
from .run import Run


class InGroup:
    """The steps of an epoch that involve other ranks; they do nothing without a group."""

    def __init__(self, group: Group | None, run: Run, progress: bool) -> None:
        self.group = checked_group("fit", group)
        run.saves = group is None or group.rank == 0
        self.shown = display(checks.flag("fit", "progress", progress) and run.saves)

    def begin(self) -> None:
        """Set the random state to that of rank 0; random numbers within steps still differ between ranks."""
        if self.group is not None:
            keys = current_keys()
            low, high = keys.state & 0xFFFFFFFF, keys.state >> 32
            state = Tensor(np.array([low, high], np.int64))
            self.group.broadcast(state)
            low, high = state.tolist()
            keys.state = low | high << 32

    def begin_epoch(self, run: Run) -> None:
        """Set the epoch of the sampler, and check that all ranks have equally many batches."""
        batches = getattr(run.data, "batch_sampler", None)
        for sampler in (getattr(run.data, "sampler", None), getattr(batches, "sampler", None)):
            if isinstance(sampler, DistributedSampler):
                sampler.set_epoch(run.epoch)
        if self.group is not None:
            count = len(run.data) if isinstance(run.data, Sized) else -1
            (mean,) = self.group.means([count])
            (apart,) = self.group.means([abs(count - mean)])
            if apart:
                raise OptionError(
                    f"fit: rank {self.group.rank} has {count} batches, the mean of all ranks is {mean:g}: give all as "
                    f"many, as lucid.data.DistributedSampler does"
                )

    def means(self, logs: Mapping[str, float]) -> dict[str, float]:
        """The means of an epoch's numbers over all ranks."""
        if self.group is None:
            return dict(logs)
        return dict(zip(logs, self.group.means(list(logs.values())), strict=True))

    def holds_all(self, run: Run) -> bool:
        """Whether a checkpoint of this process is complete: no rank has accumulated gradients of its own."""
        return self.group is None or run.accumulated is None or run.accumulated.position == 0

    def end_epoch(self, run: Run) -> None:
        """If one rank is to stop, all stop; if one is to save, all get the means of the accumulated gradients."""
        if self.group is not None:
            stopped, due = self.group.means([run.stopped is not None, run.is_due])
            if due and run.accumulated is not None:
                run.accumulated.even_out(self.group)
            if stopped and run.stopped is None:
                run.stop("another rank has stopped it")
