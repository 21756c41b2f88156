"""How much memory this process may use, checked against a program's predicted size before anything is allocated.

Operating systems overcommit: they grant more memory than exists, and kill a process once the pages are touched. A
program that cannot fit is therefore refused up front.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from ...errors import ExecutionError

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

SMALL = 1 << 26
"""Sizes (bytes) up to which the limits are not looked up."""


def check_room(nbytes: int, what: str) -> None:
    """Raise ExecutionError if ``what`` needs more bytes than this process can ever have."""
    if nbytes <= SMALL:
        return
    limit = min(_limits(), default=None)
    if limit is not None and nbytes > limit:
        raise ExecutionError(
            f"{what} needs {nbytes:,} bytes, and this process can have {limit:,}: call it with smaller sizes"
        )


def _limits() -> Iterator[int]:
    """Known limits in bytes: memory plus swap space, the control group's, and the process's address space."""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") + _swap()
    text = _text("/sys/fs/cgroup/memory.max").strip()
    if text.isdecimal():
        yield int(text)
    if resource is not None:
        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        if soft != resource.RLIM_INFINITY:
            yield soft


def _swap() -> int:
    for line in _text("/proc/meminfo").splitlines():
        if line.startswith("SwapTotal:"):
            return int(line.split()[1]) << 10
    return 0


def _text(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""
