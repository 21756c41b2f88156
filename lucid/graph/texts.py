"""Tensors of strings, and their form in a graph, which holds numbers only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..base.arrays import Array
from ..base.checks import shown
from ..base.structs import struct
from ..base.texts import decoded, encoded
from ..errors import DTypeError
from .dims import Dim
from .opdef import AbstractTensor
from .ops.composite import all_, eq, gt, lt
from .ops.elementwise import where
from .ops.indexing import content, gather
from .ops.pad import pad
from .ops.put import counted
from .ops.reduce import amax
from .ops.shape import concat, expand, reshape
from .types import Shape, TensorType, broadcast_shapes, product


@struct(frozen=True, eq=False, repr=False)
class Text:
    """Strings as inputs and results of models: an array of strings that NumPy can read.

    In a graph they are numbers. ``Text(lucid.spec("N", 3, "letters", dtype="int32"))`` describes an input.

    Attributes
    ----------
    codes
        int32: the code points of each string along the last axis, padded with zeros.
    """

    codes: AbstractTensor | TensorType | Array

    def __post_init__(self) -> None:
        held = self.codes.type if isinstance(self.codes, AbstractTensor) else self.codes
        if not isinstance(held, TensorType | np.ndarray) or held.dtype != np.int32 or not held.shape:
            raise DTypeError(f"the letters of texts are int32, of one axis or more, got {shown(self.codes)}")

    @property
    def shape(self) -> Shape:
        """The shape of the array of strings."""
        codes = self.codes.type if isinstance(self.codes, AbstractTensor) else self.codes
        return tuple(codes.shape[:-1])

    def numpy(self) -> Array:
        """The strings as an array."""
        assert not isinstance(self.codes, TensorType)
        return decoded(content(self.codes, "texts are numbers while a model is traced: return them"))

    def tolist(self) -> object:
        """The strings as nested lists."""
        return self.numpy().tolist()

    def __array__(self, dtype: np.dtype[np.generic] | None = None, copy: bool | None = None) -> Array:
        return np.array(self.numpy(), dtype, copy=copy)

    def __len__(self) -> int:
        return len(self.numpy())

    def __repr__(self) -> str:
        held = self.codes if isinstance(self.codes, TensorType) else None
        if held is None and (not isinstance(self.codes, AbstractTensor) or hasattr(self.codes, "__array__")):
            return f"Text({self.numpy()})"
        return f"Text({held if held is not None else self.codes!r})"

    @property
    def tensor(self) -> AbstractTensor:
        """The codes, which must be a tensor."""
        assert isinstance(self.codes, AbstractTensor)
        return self.codes


def constant(world: AbstractTensor, array: object) -> Text:
    """Known strings."""
    return Text(world.constant(encoded(array, roomy=True)))


def width(text: Text) -> Dim:
    """The size of the axis of characters."""
    return text.tensor.type.shape[-1]


def widened(text: Text, to: Dim) -> AbstractTensor:
    """The codes padded with zeros to a width."""
    return text.tensor if width(text) == to else pad(text.tensor, [0, to - width(text)])


def aligned(texts: Sequence[Text]) -> list[AbstractTensor]:
    """The codes of several texts, padded to the same width."""
    widths = list(dict.fromkeys(map(width, texts)))
    whole: Dim = max((one for one in widths if isinstance(one, int)), default=0)
    for one in widths:
        whole = whole if isinstance(one, int) else whole + one  # which of two that are not known is more is not known
    return [widened(text, whole) for text in texts]


def lengths(text: Text) -> AbstractTensor:
    """The number of characters of each string, with an axis of size 1 for the characters."""
    codes = text.tensor
    return amax(where(gt(codes, 0), counted(codes, width(text)) + 1, 0), -1, keepdim=True)


def equal(a: Text, b: Text) -> AbstractTensor:
    """Where the strings of both are equal."""
    return all_(eq(*aligned([a, b])), -1)


def joined(a: Text, b: Text) -> Text:
    """The strings of both, concatenated."""
    shape = broadcast_shapes("joined", a.shape, b.shape)
    whole = width(a) + width(b)
    first, second = (expand(widened(one, whole), (*shape, whole)) for one in (a, b))
    place = counted(first, whole) - lengths(Text(first))
    behind = gather(second, -1, where(lt(place, 0), 0, place))
    return Text(where(lt(place, 0), first, behind))


def rows(text: Text) -> AbstractTensor:
    """The codes of all strings, one after another."""
    return reshape(text.tensor, (product(text.shape), width(text)))


def table(texts: Sequence[Text]) -> AbstractTensor:
    """All strings of several texts, one after another."""
    found = [rows(Text(codes)) for codes in aligned(texts)]
    return found[0] if len(found) == 1 else concat(found, 0)
