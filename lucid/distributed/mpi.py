"""The part of MPI in use. ``mpi4py`` is loaded when a group is requested; the protocols describe its objects."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from time import monotonic, sleep
from types import TracebackType
from typing import Protocol, cast

from ..base.arrays import Array
from ..errors import ExecutionError, OptionError

SPINS = 0.002
"""Seconds of busy waiting before pauses begin."""

PAUSE = 0.0001
"""Seconds between two polls after that."""

HEARD = 1.0
"""The most seconds to wait for ``mpiexec`` to read the last output of a process."""


class Request(Protocol):
    """An operation in progress."""

    def Test(self) -> bool:  # noqa: N802 - mpi4py's name
        """Whether it is done; calling this advances it."""


class Communicator(Protocol):
    """A communicator of mpi4py."""

    rank: int
    size: int

    def Dup(self) -> Communicator: ...  # noqa: N802
    def Abort(self, errorcode: int) -> None: ...  # noqa: N802
    def Ibarrier(self) -> Request: ...  # noqa: N802
    def Ibcast(self, buf: object, root: int) -> Request: ...  # noqa: N802
    def Iallreduce(self, sendbuf: object, recvbuf: object, op: object) -> Request: ...  # noqa: N802


class Library(Protocol):
    """The module ``mpi4py.MPI``."""

    COMM_WORLD: Communicator
    IN_PLACE: object
    SUM: object
    MAX: object


def available() -> bool:
    """Whether mpi4py is installed."""
    return find_spec("mpi4py") is not None


def library() -> Library:
    """MPI; loading it makes this process a part of what ``mpiexec`` has started."""
    if not available():
        raise OptionError(
            "lucid.distributed: MPI is reached through mpi4py, which is not installed: pip install 'lucid[mpi]', "
            "then start the program by mpiexec -n 2 python program.py"
        )
    try:
        return cast("Library", import_module("mpi4py.MPI"))
    except (ImportError, RuntimeError) as error:
        raise OptionError(f"lucid.distributed: mpi4py finds no MPI: {error}; pip install mpich brings one") from error


def wait(request: Request, timeout: float, what: str) -> None:
    """Wait until a request is done; raises after ``timeout`` seconds."""
    began = monotonic()
    while not request.Test():
        waited = monotonic() - began
        if waited > timeout:
            raise ExecutionError(
                f"{what}: the other ranks have not come within {timeout:g} s: one has ended, hangs, or makes fewer "
                f"calls; group(timeout=...) sets how long to wait"
            )
        if waited > SPINS:
            sleep(PAUSE)
        else:
            os.sched_yield()


def summed(library: Library, communicator: Communicator, array: Array, op: object) -> Request:
    """Begin to sum (or reduce by another operation) an array over all processes, in place."""
    return communicator.Iallreduce(library.IN_PLACE, array, op)


_Hook = Callable[[type[BaseException], BaseException, TracebackType | None], object]


def end_together(communicator: Communicator) -> None:
    """Let an uncaught error in this process end the others too, which would otherwise wait for it forever."""
    before: _Hook = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        before(kind, error, traceback)
        print(f"lucid: rank {communicator.rank} has failed, which ends all {communicator.size}", file=sys.stderr)  # noqa: T201
        sys.stderr.flush()
        wait_for_reader(2, HEARD)  # mpiexec ends at once, and drops what is in the pipe still
        communicator.Abort(1)

    sys.excepthook = hook


def wait_for_reader(descriptor: int, timeout: float) -> None:
    """Wait until a pipe has no unread data, at most ``timeout`` seconds; returns at once for other files."""
    began = monotonic()
    while _unread(descriptor) and monotonic() - began < timeout:
        sleep(PAUSE)


def _unread(descriptor: int) -> int:
    """Unread bytes in a pipe; 0 if that is unknown."""
    if sys.platform != "linux":
        return 0
    from fcntl import ioctl
    from termios import FIONREAD

    try:
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            return 0
        return int.from_bytes(ioctl(descriptor, FIONREAD, bytes(4)), sys.byteorder)
    except OSError:  # closed
        return 0
