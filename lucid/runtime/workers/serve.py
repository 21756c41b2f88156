"""A worker: a process that does its part of the regions of every program.

It is a fresh interpreter with NumPy and this module. Besides the memory shared with its host it holds one socket, and
it ends as soon as the other end is closed, or its host ends.
"""

from __future__ import annotations

import array
import builtins
import contextlib
import ctypes
import gc
import importlib
import io
import marshal
import mmap
import os
import pickle  # data comes from the host only, through a socket that nobody else has
import select
import signal
import socket
import struct
import sys
from _thread import start_new_thread
from collections.abc import Callable
from time import perf_counter_ns, thread_time_ns
from types import CellType, FunctionType
from typing import Any, NoReturn

import numpy as np

from .board import (
    ALIVE,
    ASLEEP,
    BELL,
    BYTES,
    DONE,
    DUTY,
    FAILED,
    FUTEX,
    JOB,
    KNOWN,
    LEFT,
    LOST,
    MESSAGE,
    REGION,
    REGIONS,
    START,
    STOLEN,
    TURN,
    by,
    fence,
    to,
)
from .heap import map_file, memory_at
from .parcel import PLAIN

ALERT = 9_000
"""Polls of the board (some 60 ns each) after a run before a worker sleeps."""
PATIENCE = 2_000
"""Polls after which it yields its core between polls."""
LONG = 500_000
"""Polls after which it sleeps although more regions were announced: the caller may have been interrupted."""
OFTEN = 200_000
"""Nanoseconds between two reports of lost time."""
TICK = 5
"""The most seconds that it sleeps at a time."""
PAGE = mmap.PAGESIZE
POPULATE_READ = 22
"""MADV_POPULATE_READ, of Linux 5.14."""

Job = dict[int, tuple[Callable[[int], object], int]]


class Unpacker(pickle.Unpickler):
    """Rebuilds regions written by :mod:`.parcel`; it finds no functions but NumPy's and our own."""

    def __init__(self, data: bytes, base: int, reached: list[tuple[int, int]]) -> None:
        super().__init__(io.BytesIO(data))
        self._base, self._reached = base, reached  # collects the address ranges of arrays

    def find_class(self, module: str, name: str) -> object:
        if module.partition(".")[0] not in ("numpy", "lucid") and (module, name) not in PLAIN:
            raise pickle.UnpicklingError(f"{module}.{name} is no business of a worker's")
        return super().find_class(module, name)

    def persistent_load(self, given: Any) -> object:
        if isinstance(given, str):
            return importlib.import_module(given)
        offset, shape, strides, dtype = given
        span = 1 + sum((n - 1) * abs(s) for n, s in zip(shape, strides, strict=True)) if all(shape) else 0
        low = sum(min(0, (n - 1) * s) for n, s in zip(shape, strides, strict=True)) if span else 0
        span += np.dtype(dtype).itemsize
        start = self._base + offset + low
        self._reached.append((start, start + span))
        buffer = (ctypes.c_char * span).from_address(start)
        return np.ndarray(shape, dtype, buffer, -low, strides)


def populate(reached: list[tuple[int, int]]) -> None:
    """Map this memory now; mapping it page by page in the first run would keep the host waiting."""
    advise = ctypes.CDLL(None).madvise
    merged: list[list[int]] = []
    for low, high in sorted(reached):
        low -= low % PAGE
        if merged and low <= merged[-1][1]:
            merged[-1][1] = max(high, merged[-1][1])
        else:
            merged.append([low, high])
    for low, high in merged:
        advise(ctypes.c_void_p(low), ctypes.c_size_t(high - low), POPULATE_READ)  # older kernels ignore it


def unpack(data: bytes, base: int) -> Job:
    """Rebuild the regions of a job."""
    found: Job = {}
    reached: list[tuple[int, int]] = []
    for index, described in pickle.loads(data).items():  # noqa: S301
        code, cells, names, count = Unpacker(described, base, reached).load()
        scope = {"__builtins__": builtins, **names}
        compiled = marshal.loads(code)  # noqa: S302 - from the host, as all of it
        found[index] = FunctionType(compiled, scope, None, None, tuple(map(CellType, cells))), count
    populate(reached)
    return found


class Worker:
    """Polls the board, and does what is posted there."""

    def __init__(self, base: int, number: int, place: int) -> None:
        self._board = memory_at(base, BYTES)
        self._his, self._mine = to(place), by(place)
        self._number = number
        self.jobs: dict[int, Job] = {}
        self._bell = ctypes.c_void_p(base + 8 * (self._his + BELL))
        self._call = ctypes.CDLL(None).syscall
        self._wall = self._cpu = self._told = 0
        self._restart_clock()

    def work(self) -> NoReturn:
        """Work until the process ends."""
        board, his, mine = self._board, self._his, self._mine
        turn = board[TURN]
        board[mine + ALIVE] = os.getpid()
        while True:
            looks = 0
            while board[TURN] == turn:
                looks += 1
                if looks >= ALERT or not looks % 64:
                    looks = self._rest(turn, looks)
            turn = board[TURN]
            board[mine + START] = turn
            fence()
            done = 2 * turn + 1
            if board[his + STOLEN] < turn and not board[his + LEFT]:
                job = self.jobs.get(board[JOB], {})
                number, region = divmod(board[REGION], REGIONS)
                function, count = job.get(region, (None, 0)) if number == turn else (None, 0)
                if function is not None and self._number < count:
                    try:
                        function(self._number)
                        done -= 1
                    except BaseException:  # noqa: BLE001 - the caller does all again, and raises what it raises
                        job.pop(region)  # it would fail each time
                        board[mine + FAILED] = turn
            board[mine + DONE] = done
            self._report()

    def _rest(self, turn: int, looks: int) -> int:
        """Between polls: yield the core, report, or sleep. Returns the number of polls so far."""
        board = self._board
        if looks >= ALERT and not board[DUTY]:
            self._sleep(turn, 0)
            return 0
        if looks > LONG:
            self._sleep(turn, 1)
            return 0
        if looks > PATIENCE and not looks % 64:
            os.sched_yield()
        return looks

    def _sleep(self, turn: int, duty: int) -> None:
        board, ring = self._board, self._board[self._his + BELL]
        board[self._mine + ASLEEP] = 1
        fence()  # either the caller sees that this worker sleeps, or this worker sees what the caller has posted
        if board[TURN] == turn and board[DUTY] <= duty:
            self._call(FUTEX, self._bell, 0, ctypes.c_int(ring & 0x7FFFFFFF), struct.pack("qq", TICK, 0), None, 0)
        board[self._mine + ASLEEP] = 0
        self._restart_clock()

    def _restart_clock(self) -> None:
        self._wall, self._cpu = perf_counter_ns(), thread_time_ns()

    def _report(self) -> None:
        """Report how long it had no core although it was ready to run."""
        wall = perf_counter_ns()
        if wall - self._told > OFTEN:
            self._told = wall
            cpu = thread_time_ns()
            self._board[self._mine + LOST] += max(0, wall - self._wall - (cpu - self._cpu))
            self._wall, self._cpu = wall, cpu


def listen(host: socket.socket, watch: int, worker: Worker, base: int, place: int) -> NoReturn:
    """Receive jobs, and end the process when the host has ended or hung up."""
    board = memory_at(base, BYTES)
    poll = select.poll()
    poll.register(host, select.POLLIN)
    if watch >= 0:
        poll.register(watch, select.POLLIN)
    while True:
        poll.poll()
        try:
            message = host.recv(MESSAGE.size, socket.MSG_DONTWAIT)
        except BlockingIOError:
            message = b""  # the event was the end of the host
        if len(message) != MESSAGE.size:
            os._exit(0)
        number, offset, nbytes = MESSAGE.unpack(message)
        if nbytes:
            try:
                worker.jobs[number] = unpack(ctypes.string_at(base + offset, nbytes), base)
            except Exception:  # noqa: BLE001 - the caller does all of it
                worker.jobs[number] = {}
            board[place + KNOWN] = number
        else:
            worker.jobs.pop(number, None)


def detach(file: int) -> None:
    """Detach from the host: keep nothing of it but one socket."""
    if os.fork():
        os._exit(0)
    os.setsid()
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    os.closerange(3, file)
    os.closerange(file + 1, os.sysconf("SC_OPEN_MAX") if sys.platform != "linux" else 1 << 20)


def main(file: int) -> None:
    """Run a worker until it ends."""
    host = socket.socket(fileno=file)
    hello, passed, _, _ = host.recvmsg(4096, socket.CMSG_LEN(2 * array.array("i").itemsize), socket.MSG_CMSG_CLOEXEC)
    files = array.array("i")
    for _, _, data in passed:
        files.frombytes(data[: len(data) - len(data) % files.itemsize])
    number, place, size, version, numpy_version = pickle.loads(hello)  # noqa: S301
    if (version, numpy_version) != (sys.hexversion, np.__version__):
        os._exit(1)
    heap, watch = files[0], files[1] if len(files) > 1 else -1
    base = map_file(heap, size)
    os.close(heap)
    gc.disable()
    np.seterr(all="ignore")
    sys.setswitchinterval(1e-4)
    worker = Worker(base, number, place)
    start_new_thread(listen, (host, watch, worker, base, by(place)))
    worker.work()
