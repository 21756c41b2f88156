"""Pictures as arrays, and arrays as pictures, by Pillow."""

from __future__ import annotations

import io

import numpy as np

from ..base.arrays import Array
from ..base.checks import named
from ..base.lazy import LazyModule
from ..errors import FileError, LucidError, OptionError
from ..formats.files import open_regular
from ..graph.types import TensorType

image = LazyModule("PIL.Image")

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's names of kinds of pictures, by their number of channels."""


def _require_pillow() -> None:
    try:
        assert image.open
    except ModuleNotFoundError as error:
        raise LucidError("pictures need the package pillow: pip install 'lucid[cli]'") from error


def read_picture(path: str, wanted: TensorType | None) -> Array:
    """A picture as a batch of one: numbers from 0 to 1, or from 0 to 255 for an input of integers.

    It has as many channels as the input, first or last as there; by default three, first.
    """
    _require_pillow()
    channels, first = _layout(path, wanted)
    with open_regular(path) as (file, _):
        try:
            pixels = np.asarray(image.open(io.BytesIO(file.read())).convert(MODES[channels]))
        except Exception as error:  # Pillow raises errors of many kinds for damaged files
            raise FileError(f"{named(path)} is not a readable image: {error}") from error
    array = pixels.reshape(*pixels.shape[:2], channels)
    array = array.transpose(2, 0, 1) if first else array
    rank = 4 if wanted is None else len(wanted.shape)
    array = array[None] if rank == 4 else array if rank == 3 else pixels
    numbers: Array = np.ascontiguousarray(array, np.float32 if wanted is None else wanted.dtype)
    if numbers.dtype.kind == "f":
        numbers /= 255
    return numbers


def _layout(path: str, wanted: TensorType | None) -> tuple[int, bool]:
    """The number of channels of an input, and whether they precede rows and columns."""
    if wanted is None:
        return 3, True
    shape = wanted.shape
    if len(shape) == 2:
        return 1, True
    for axis, first in ((-3, True), (-1, False)):
        if len(shape) in (3, 4) and shape[axis] in MODES:
            return int(str(shape[axis])), first
    raise OptionError(f"{named(path)}: the input is {wanted}, which is not an image with 1, 3 or 4 channels")


def picture_bytes(array: Array) -> bytes:
    """An array as a PNG file: (H, W), or with 1, 3 or 4 channels first or last, in a batch of one or without one.

    Integers range from 0 to 255, other numbers from 0 to 1; arrays outside this range are rescaled.
    """
    _require_pillow()
    planes = array[0] if array.ndim == 4 and len(array) == 1 else array
    planes = planes[None] if planes.ndim == 2 else planes
    if planes.ndim != 3 or 0 in planes.shape or not {planes.shape[0], planes.shape[2]} & MODES.keys():
        raise OptionError(f"the result is {array.dtype}{list(array.shape)}, which is not an image: write it as .npy")
    pixels = planes.transpose(1, 2, 0) if planes.shape[0] in MODES else planes
    if pixels.dtype != np.uint8:
        pixels = _to_bytes(pixels)
    out = io.BytesIO()
    image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)).save(out, "PNG")
    return out.getvalue()


def _to_bytes(pixels: Array) -> Array:
    numbers = np.nan_to_num(pixels.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = numbers.min(), numbers.max()
    scale = 255.0 if pixels.dtype.kind in "fb" else 1.0
    if low < 0 or high * scale > 255:
        numbers, scale = (numbers - low) / max(high - low, 1e-300), 255.0
    rounded: Array = np.rint(numbers * scale).astype(np.uint8)
    return rounded
