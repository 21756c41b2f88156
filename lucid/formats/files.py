"""Files: atomic writes, and refusal to open what is not a regular file."""

from __future__ import annotations

import contextlib
import io
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..base.checks import named, shown
from ..errors import FileError

_PREFIX, _SUFFIX = ".lucid-", ".tmp"
_TEMPORARY = re.compile(r"\.lucid-[0-9a-f]{12}\.tmp")

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def checked_path(path: object, verb: str) -> str:
    """A path as a string that can be the name of a file.

    Raises
    ------
    FileError
        If it is not a path, is empty, contains a NUL or ends like the name of a folder.
    """
    text, wrong = "", None
    if not isinstance(path, str | bytes | os.PathLike):
        wrong = "a path is a string or a pathlib.Path"
    else:
        text = os.fsdecode(path)
        if not text:
            wrong = "the path is empty; give the name of a file"
        elif "\0" in text:
            wrong = "a path holds no NUL character"
        elif text.endswith((os.sep, os.altsep or os.sep)):
            wrong = "it ends as the name of a folder does; give the name of a file in it"
    if wrong is not None:
        raise FileError(f"{shown(path)}: cannot be {verb}: {wrong}")
    return text


def write_atomically(path: str | os.PathLike[str], chunks: Iterable[bytes | memoryview]) -> None:
    """Write ``chunks`` to a temporary file next to ``path``, flush it to disk, and rename it to ``path``.

    If ``path`` is a link, its target is written. The mode of an existing file is kept, and its owner as far as
    permitted. The temporary file is locked while it is written, and removed after any exception; one that was left by a
    killed process is removed by the next write to the folder.

    Raises
    ------
    FileError
        If the path cannot be written, or is a device, a pipe, a folder or a circular link; an existing file is then
        unchanged.
    """
    path = checked_path(path, "written")
    try:
        target = Path(os.path.realpath(path))
        if not target.parent.exists():
            raise OSError(f"there is no folder {str(target.parent)!r}")
        old = _replaceable(target)
        _remove_stale(target.parent)
        with _beside(target, private=old is not None) as (temporary, file):
            file.writelines(chunks)
            file.flush()
            if old is not None:
                _take_after(file.fileno(), temporary, old)
            os.fsync(file.fileno())
            if fcntl is None:
                file.close()  # Windows renames no open file
            os.replace(temporary, target)
    except (OSError, ValueError) as error:
        raise FileError(f"{named(path)}: cannot be written: {_reason(error)}; choose another path") from error
    with contextlib.suppress(OSError):  # the file is written; only its name might not survive a power failure
        _sync_directory(target.parent)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _replaceable(target: Path) -> os.stat_result | None:
    """The status of the file that will be replaced, if there is one; a link that is still one here is circular."""
    try:
        found = os.lstat(target)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f"it is {kind_of(found.st_mode)}, not a file")
    return found


def kind_of(mode: int) -> str:
    """The kind of a path that is not a regular file, in words."""
    kinds = {
        stat.S_IFDIR: "a folder", stat.S_IFLNK: "a link that leads in a circle", stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
    }  # fmt: skip
    return kinds.get(stat.S_IFMT(mode), "something else")


@contextmanager
def _beside(target: Path, *, private: bool) -> Iterator[tuple[Path, BinaryIO]]:
    """A new, locked file in the same folder, which is removed unless it is renamed."""
    temporary, handle = _create_locked(target.parent, 0o600 if private else 0o666)
    with os.fdopen(handle, "wb") as file:
        try:
            yield temporary, file
        except BaseException:
            with contextlib.suppress(OSError):  # flushing the rest may fail too
                file.close()
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def _create_locked(folder: Path, mode: int) -> tuple[Path, int]:
    while True:
        path = folder / f"{_PREFIX}{secrets.token_hex(6)}{_SUFFIX}"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
        if _lock(handle) and os.fstat(handle).st_nlink:
            return path, handle
        os.close(handle)  # before it was locked, another process took it for a leftover


def _lock(handle: int) -> bool:
    """Lock an open file until it is closed; False if another process has locked it. Some file systems have no locks."""
    if fcntl is not None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True
    return True


def _remove_stale(folder: Path) -> None:
    """Remove temporary files of killed processes, whose locks are gone."""
    if fcntl is None:
        return
    with contextlib.suppress(OSError):
        left = [name for name in os.listdir(folder) if _TEMPORARY.fullmatch(name)]
        for name in left:
            handle = os.open(folder / name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(folder / name)
            except OSError:
                continue
            finally:
                os.close(handle)


def _take_after(handle: int, temporary: Path, old: os.stat_result) -> None:
    """Give the new file the owner and mode of the old one; without its group, group permissions are dropped."""
    mode = stat.S_IMODE(old.st_mode)
    if hasattr(os, "fchown"):
        made = os.fstat(handle)
        if (made.st_uid, made.st_gid) != (old.st_uid, old.st_gid):
            try:
                os.fchown(handle, old.st_uid, old.st_gid)
            except OSError:
                with contextlib.suppress(OSError):
                    os.fchown(handle, -1, old.st_gid)
        if os.fstat(handle).st_gid != old.st_gid:
            mode &= ~0o070
        os.fchmod(handle, mode)
    else:
        os.chmod(temporary, mode)


def _sync_directory(directory: Path) -> None:
    """Make the new name durable, if directories can be opened (not on Windows)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def open_regular(path: str | os.PathLike[str]) -> Iterator[tuple[io.BufferedIOBase, int]]:
    """A regular file open for reading, and its size; a pipe or a device is refused without waiting for it.

    Raises
    ------
    FileError
        If it cannot be read, or is not a regular file.
    """
    path = checked_path(path, "read")
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(path, flags)
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(f"it is {kind_of(status.st_mode)}, not a file")
            file = os.fdopen(handle, "rb")
        except BaseException:
            os.close(handle)
            raise
    except (OSError, ValueError) as error:
        raise FileError(f"{named(path)}: cannot be read: {_reason(error)}") from error
    with file:
        yield file, status.st_size
