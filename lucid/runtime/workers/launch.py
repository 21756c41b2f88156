"""Starting a worker: a fresh interpreter, detached from this process."""

from __future__ import annotations

import array
import contextlib
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

BOOT = """
import os, sys, types
file, modest, home, *paths = sys.argv[1:]
if int(modest):
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except OSError:
        pass
sys.path += paths
lucid = types.ModuleType("lucid")
lucid.__path__ = [home]
sys.modules["lucid"] = lucid
from lucid.runtime.workers import serve
serve.detach(int(file))
serve.main(int(file))
"""
"""The package's own ``__init__`` would import all of it. A modest worker begins in time that nobody else wants; for the
system to weigh it so, it stays in its host's session until then."""

SHELL = "/bin/sh"
"""Starts the worker and exits within a millisecond. Without a shell, the worker's interpreter does that itself."""

KEPT = ("LD_", "OPENBLAS_", "MKL_", "BLIS_", "NPY_", "GLIBC_", "MALLOC_", "LC_", "LANG", "PATH")
"""Prefixes of the environment variables that a worker inherits: those that decide how libraries are found, and how
they compute."""

HOME = Path(__file__).parents[2]


def launch(number: int, place: int, size: int, heap: int, modest: bool) -> int:
    """Start a worker; return the file descriptor of this end of its socket.

    Parameters
    ----------
    number, place
        Its part of each region, and its place on the board.
    size, heap
        The size of the shared memory, and its file descriptor.
    modest
        Whether it starts at idle priority, however long that takes.

    Raises
    ------
    OSError
        If the system refuses.
    """
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with here, there, contextlib.ExitStack() as stack:
        files = [heap]
        with contextlib.suppress(OSError, AttributeError):
            watch = os.pidfd_open(os.getpid())
            stack.callback(os.close, watch)
            files.append(watch)
        hello = pickle.dumps((number, place, size, sys.hexversion, np.__version__))
        here.sendmsg([hello], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))])
        _start(there.fileno(), modest)
        here.setblocking(False)
        return here.detach()


def _start(file: int, modest: bool) -> None:
    """Start a process that starts the worker and exits at once, so that the host has no child to wait for."""
    paths = [str(Path(np.__file__).parents[1])]
    command = [sys.executable, "-I", "-S", "-B", "-c", BOOT, str(file), str(int(modest)), str(HOME), *paths]
    if os.access(SHELL, os.X_OK):
        command = [SHELL, "-c", '"$@" &', "lucid", *command]
    environment = {name: value for name, value in os.environ.items() if name.startswith(KEPT)}
    environment |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    process = subprocess.Popen(  # noqa: S603 - this interpreter, with our own text
        command, env=environment, cwd="/", pass_fds=[file], process_group=0,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    process.wait()


def send(file: int, message: bytes, files: Sequence[int] = ()) -> bool:
    """Send a message; return False if it must be tried again.

    Raises
    ------
    OSError
        If the worker has gone.
    """
    connection = socket.socket(fileno=file)
    try:
        connection.send(message, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    except BlockingIOError:
        return False
    finally:
        connection.detach()
    return True


def hang_up(file: int) -> None:
    """Let the worker end: it reads the end of the stream, even if other processes have this end of the socket open."""
    connection = socket.socket(fileno=file)
    try:
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # it has ended
    finally:
        connection.detach()


def ended(file: int) -> bool:
    """Whether the other end of the socket is closed."""
    connection = socket.socket(fileno=file)
    try:
        return connection.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.detach()
