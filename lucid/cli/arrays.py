"""Arrays in files: .npy, .npz, and pictures."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO

import numpy as np

from ..base.arrays import Array
from ..base.checks import named
from ..errors import FileError, LucidError, OptionError
from ..formats.files import open_regular, write_atomically
from ..graph.types import TensorType
from .pictures import PICTURES, picture_bytes, read_picture


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def contents(path: str) -> list[str]:
    """The names of the arrays in a file; a single empty name if it holds one unnamed array."""
    if _suffix(path) != ".npz":
        return [""]
    with _numpy_file(path) as file, np.load(file, allow_pickle=False) as archive:
        return list(archive.files)


def read_array(path: str, key: str, wanted: TensorType | None = None) -> Array:
    """An array from a file; a picture is converted to the wanted type."""
    suffix = _suffix(path)
    if suffix in PICTURES:
        return read_picture(path, wanted)
    if suffix not in (".npy", ".npz"):
        raise OptionError(f"{named(path)}: an input is a .npy or .npz file, or a picture ({', '.join(PICTURES)})")
    with _numpy_file(path) as file:
        loaded = np.load(file, allow_pickle=False)
        array = loaded[key] if suffix == ".npz" else loaded
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
        raise FileError(f"{named(path)} holds no array of numbers")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


@contextmanager
def _numpy_file(path: str) -> Iterator[IO[bytes]]:
    """An open file; errors that NumPy raises become one that names the file."""
    with open_regular(path) as (file, _):
        try:
            yield file  # type: ignore[misc]
        except LucidError:
            raise
        except Exception as error:  # NumPy and zipfile raise errors of many kinds for damaged files
            raise FileError(f"{named(path)} holds no arrays that can be read: {error}") from error


def write_arrays(path: str, arrays: Mapping[str, Array]) -> None:
    """Write arrays by name: one as .npy or as a picture, any number as .npz."""
    suffix, data = _suffix(path), io.BytesIO()
    if suffix == ".npz":
        np.savez(data, **arrays)  # type: ignore[arg-type]
    elif suffix not in (".npy", ".png"):
        raise OptionError(f"{named(path)}: results are written as .npy, .npz or .png")
    elif len(arrays) != 1:
        raise OptionError(f"{named(path)} holds one array, the model gives {len(arrays)}: write a .npz file")
    else:
        (array,) = arrays.values()
        if suffix == ".npy":
            np.save(data, array)
        else:
            data.write(picture_bytes(array))
    write_atomically(path, [data.getvalue()])
