"""Threads that prepare batches ahead of training: in order, with errors raised in the caller."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from ..base.structs import struct
from ..errors import LucidError

Task: TypeAlias = "tuple[int, list[object] | object]"
"""The number of a batch, and the indices of its samples."""

_PATIENCE = 1.0
"""Seconds to wait, at the end of a loop, for a worker that is still busy with a sample."""

END = object()
"""What a worker returns in place of a batch when its part of the data ends."""


@struct(frozen=True)
class WorkerInfo:
    """What a worker of a loader knows about itself.

    Attributes
    ----------
    id
        Its number, from 0.
    num_workers
        The number of workers.
    seed
        A number of its own, different in each epoch.
    dataset
        The dataset; all workers have the same object.
    """

    id: int
    num_workers: int
    seed: int
    dataset: object


_local = threading.local()


def get_worker_info() -> WorkerInfo | None:
    """In a worker of a loader, its information; None elsewhere."""
    found: WorkerInfo | None = getattr(_local, "info", None)
    return found


@struct(frozen=True)
class Crew:
    """The workers of a pass.

    Attributes
    ----------
    infos
        One for each worker.
    begin
        Called by a worker when it starts; returns a function from a task to a batch or :data:`END`.
    ahead
        How many batches each worker prepares ahead.
    timeout
        Seconds after which a missing batch is an error; 0 waits forever.
    """

    infos: list[WorkerInfo]
    begin: Callable[[WorkerInfo], Callable[[Task], object]]
    ahead: int
    timeout: float


class _Worker:
    """A thread, with queues of tasks and batches."""

    def __init__(self, info: WorkerInfo, crew: Crew) -> None:
        self.tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self.made: queue.SimpleQueue[tuple[object, BaseException | None]] = queue.SimpleQueue()
        self.stopped = False
        self.thread = threading.Thread(target=self._run, args=(info, crew), name=f"lucid-data-{info.id}", daemon=True)
        self.thread.start()

    def _run(self, info: WorkerInfo, crew: Crew) -> None:
        make: Callable[[Task], object] | None = None
        _local.info = info
        while (task := self.tasks.get()) is not None and not self.stopped:
            batch, wrong = None, None
            try:
                make = make or crew.begin(info)
                batch = make(task)
            except BaseException as error:  # noqa: BLE001 - whatever it is, the caller gets it
                error.add_note(f"(in worker {info.id} of a DataLoader, batch {task[0]})")
                wrong = error
            self.made.put((batch, wrong))
            del batch, wrong, task  # nothing is kept while it waits


def batches(crew: Crew, tasks: Iterable[Task]) -> Iterator[object]:
    """The batches that the workers make of the tasks, in order.

    Each worker gets every n-th task. When the data of one end, it gets no more, and the others continue.
    """
    coming = iter(tasks)
    workers = [_Worker(info, crew) for info in crew.infos]
    try:
        waiting: deque[_Worker] = deque()  # in the order in which their batches are due
        for _ in range(crew.ahead):
            for worker in workers:
                _give(worker, coming, waiting)
        while waiting:
            worker = waiting.popleft()
            batch = _taken(worker, crew.timeout)
            if batch is END:
                worker.stopped = True
                continue
            _give(worker, coming, waiting)
            yield batch
            del batch
    finally:
        _end(workers)


def _give(worker: _Worker, coming: Iterator[Task], waiting: deque[_Worker]) -> None:
    if worker.stopped or (task := next(coming, None)) is None:
        return
    worker.tasks.put(task)
    waiting.append(worker)


def _taken(worker: _Worker, timeout: float) -> object:
    if worker.stopped:
        return END
    try:
        batch, wrong = worker.made.get(timeout=timeout or None)
    except queue.Empty:
        raise LucidError(f"DataLoader: no batch came for {timeout:g} seconds") from None
    if wrong is not None:
        try:
            raise wrong
        finally:
            del wrong  # the error's traceback has this frame, and would be kept by it
    return batch


def _end(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.stopped = True
        worker.tasks.put(None)
    for worker in workers:
        worker.thread.join(_PATIENCE)
