"""The memory that this process can have: a program's needs are checked against it before anything is allocated.

Operating systems overcommit: they grant more memory than there is, and kill some process once the pages are touched.
So a program that cannot fit is refused by its predicted size.
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
"""Bytes that are asked for without a look."""


def check_room(nbytes: int, what: str) -> None:
    """Raise ExecutionError where so many bytes are more than this process can ever have."""
    if nbytes <= SMALL:
        return
    limit = min(_limits(), default=None)
    if limit is not None and nbytes > limit:
        raise ExecutionError(
            f"{what} needs {nbytes:,} bytes, and this process can have {limit:,}: call it with smaller sizes"
        )


def _limits() -> Iterator[int]:
    """Bytes of memory and swap space, of the control group, and of what the process may map."""
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
