"""Writing files so that a save either fully happens or leaves the old file as it was."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from ..errors import FileError


def write_atomically(path: str | os.PathLike[str], chunks: Iterable[bytes | memoryview]) -> None:
    """Write ``chunks`` to a file beside ``path``, flush it to the disk, and give it the name ``path``.

    Raises
    ------
    FileError
        If the path cannot be written; the file that was there before is untouched.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(8)}.tmp")
    try:
        try:
            with open(temporary, "xb") as file:
                file.writelines(chunks)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_directory(target.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise FileError(f"{os.fspath(path)}: cannot be written: {reason}; choose another path") from error


def _sync_directory(directory: Path) -> None:
    """Make the new name durable, where directories can be opened (not on Windows)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
