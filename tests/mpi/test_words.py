"""What a process says last is read before it ends all others."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from time import monotonic

import pytest

from lucid.distributed import mpi
from lucid.distributed.mpi import wait_for_reader


def test_what_is_in_a_pipe_is_waited_for() -> None:
    source, target = os.pipe()
    os.write(target, b"x" * 100)
    waiting = threading.Thread(target=wait_for_reader, args=(target, 60.0))
    waiting.start()
    os.read(source, 60)
    waiting.join(0.05)
    assert waiting.is_alive()
    os.read(source, 60)
    waiting.join(30.0)
    assert not waiting.is_alive()


def test_for_a_while_only() -> None:
    _, target = os.pipe()
    os.write(target, b"x")
    began = monotonic()
    wait_for_reader(target, 0.05)
    assert monotonic() - began >= 0.05


@pytest.mark.parametrize("kind", ["file", "closed"])
def test_what_nobody_reads_is_not(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(mpi, "sleep", waits.append)
    file = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.write(file, b"x")
    os.lseek(file, 0, os.SEEK_SET)  # what is behind would count as unread
    if kind == "closed":
        os.close(file)
    wait_for_reader(file, 0.1)
    assert not waits
