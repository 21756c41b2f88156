"""Starting a worker: a fresh interpreter that is nobody's child."""

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
"""Starts the worker and ends, in a millisecond. Where there is none the worker's interpreter does that itself."""

KEPT = ("LD_", "OPENBLAS_", "MKL_", "BLIS_", "NPY_", "GLIBC_", "MALLOC_", "LC_", "LANG", "PATH")
"""Beginnings of the environment variables that a worker has from its host: what decides how libraries are found, and
how they compute."""

HOME = Path(__file__).parents[2]


def launch(number: int, place: int, size: int, heap: int, modest: bool) -> int:
    """Start a worker. Returns the file descriptor of this end of its socket.

    Parameters
    ----------
    number, place
        Which part of a region is its, and where on the board it speaks.
    size, heap
        The shared memory, and its file.
    modest
        Whether it is to begin in time that nobody else wants, however long that takes.

    Raises
    ------
    OSError
        Where the system does not let it.
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
    """The process that is started starts another and ends at once, so the host has no child to wait for."""
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
    """Whether the message could be sent; False where it has to be tried again.

    Raises
    ------
    OSError
        Where the worker is gone.
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
    """Let the worker end: it reads the end of what it is told, whoever else has this end of the socket."""
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
