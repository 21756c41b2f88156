"""Groups of processes, and their collective operations."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..base import checks
from ..base.checks import shown
from ..errors import OptionError
from ..nn.module import Module
from ..tensor.tensor import Tensor
from . import mpi

BUCKET_BYTES = 4 << 20
"""Default number of bytes of gradients that are summed at a time."""

TIMEOUT = 600.0
"""Default number of seconds for which a rank waits for the others."""


class Group:
    """All processes that ``mpiexec`` has started, including this one; created by :func:`group`.

    All ranks must call its methods in the same order. Pass it to :func:`lucid.compile_step` or :func:`lucid.fit`.

    Attributes
    ----------
    rank
        The number of this process, from 0.
    size
        The number of processes.
    bucket_bytes, timeout
        As given to :func:`group`.
    """

    def __init__(self, bucket_bytes: int, timeout: float) -> None:
        self.bucket_bytes, self.timeout = bucket_bytes, timeout
        self.library = mpi.library()
        self.communicator = self.library.COMM_WORLD
        self.rank, self.size = self.communicator.rank, self.communicator.size

    def barrier(self) -> None:
        """Wait until all ranks have reached this point."""
        mpi.wait(self.communicator.Ibarrier(), self.timeout, "barrier")

    def broadcast(self, value: Tensor | Module, src: int = 0) -> None:
        """Set a tensor, or all parameters and buffers of a module, to the values in rank ``src``."""
        root = checks.integer("broadcast", "src", src, 0, self.size - 1)
        if isinstance(value, Module):
            tensors = list(value.state_dict().values())
        elif isinstance(value, Tensor):
            tensors = [value]
        else:
            raise OptionError(f"broadcast: takes a tensor or a module, got {shown(value)}")
        for tensor in tensors:
            self.copy_from(tensor, root)

    def copy_from(self, tensor: Tensor, root: int) -> None:
        """Set one tensor to its values in rank ``root``."""
        array = np.array(tensor.numpy(), order="C")
        seen = array.view(np.uint8) if array.dtype == np.bool_ else array
        mpi.wait(self.communicator.Ibcast(seen, root), self.timeout, "broadcast")
        if self.rank != root:
            tensor.data.copy_(array)

    def all_reduce(self, tensor: Tensor, op: str = "sum") -> None:
        """Replace a tensor, in place, by the "sum", "mean" or "max" of its values in all ranks."""
        checks.choice("all_reduce", "op", op, ("sum", "mean", "max"))
        if not isinstance(tensor, Tensor) or tensor.dtype.kind not in "fiu":
            raise OptionError(f"all_reduce: takes a tensor of numbers, got {shown(tensor)}")
        if op == "mean" and tensor.dtype.kind != "f":
            raise OptionError(f"all_reduce: the mean is of floats, got {tensor.type}")
        array = np.array(tensor.numpy(), order="C")
        how = self.library.MAX if op == "max" else self.library.SUM
        mpi.wait(mpi.summed(self.library, self.communicator, array, how), self.timeout, "all_reduce")
        tensor.data.copy_(array / self.size if op == "mean" else array)

    def means(self, numbers: Sequence[float]) -> list[float]:
        """The mean of each number over all ranks."""
        array = np.array(numbers, np.float64)
        mpi.wait(mpi.summed(self.library, self.communicator, array, self.library.SUM), self.timeout, "means")
        found: list[float] = (array / self.size).tolist()
        return found

    def __repr__(self) -> str:
        return f"<rank {self.rank} of {self.size}>"


_ending: list[bool] = []


def group(*, bucket_bytes: int = BUCKET_BYTES, timeout: float = TIMEOUT) -> Group:
    """All processes that ``mpiexec`` has started; a process started by itself is a group of one.

    From then on an uncaught error in one of them ends them all.

    Parameters
    ----------
    bucket_bytes
        How many bytes of gradients are reduced at a time; a gradient of at least a sixteenth of this is reduced by
        itself. The first buckets are reduced while later ones are computed, so smaller buckets start earlier, and
        larger ones need fewer messages.
    timeout
        Seconds to wait for other ranks to reach the same point before it is an error.

    Raises
    ------
    OptionError
        If mpi4py or an MPI is not installed.
    """
    checks.integer("group", "bucket_bytes", bucket_bytes)
    checks.number("group", "timeout", timeout, 0.0, below=math.inf)
    made = Group(bucket_bytes, timeout)
    if made.size > 1 and not _ending:
        _ending.append(True)
        mpi.end_together(made.communicator)
    return made


def checked_group(owner: str, value: object) -> Group | None:
    """A group, or None."""
    if value is not None and not isinstance(value, Group):
        raise OptionError(f"{owner}: group is lucid.distributed.group(), got {shown(value)}")
    return value


def is_available() -> bool:
    """Whether mpi4py is installed, which provides MPI."""
    return mpi.available()


def get_rank() -> int:
    """The number of this process among those that ``mpiexec`` has started."""
    return mpi.library().COMM_WORLD.rank


def get_world_size() -> int:
    """The number of processes that ``mpiexec`` has started."""
    return mpi.library().COMM_WORLD.size
