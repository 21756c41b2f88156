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
    """Texts, as they go into a model and come out of one: an array of them that NumPy reads.

    In a graph they are numbers. ``Text(lucid.spec("N", 3, "letters", dtype="int32"))`` describes an input.

    Attributes
    ----------
    codes
        int32: the letters of each text (their Unicode numbers) along the last axis, with zeros behind.
    """

    codes: AbstractTensor | TensorType | Array

    def __post_init__(self) -> None:
        held = self.codes.type if isinstance(self.codes, AbstractTensor) else self.codes
        if not isinstance(held, TensorType | np.ndarray) or held.dtype != np.int32 or not held.shape:
            raise DTypeError(f"the letters of texts are int32, of one axis or more, got {shown(self.codes)}")

    @property
    def shape(self) -> Shape:
        """That of the array of texts."""
        codes = self.codes.type if isinstance(self.codes, AbstractTensor) else self.codes
        return tuple(codes.shape[:-1])

    def numpy(self) -> Array:
        """An array of the texts."""
        assert not isinstance(self.codes, TensorType)
        return decoded(content(self.codes, "texts are numbers while a model is traced: return them"))

    def tolist(self) -> object:
        """The texts in nested lists."""
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
        """The codes, which must be a tensor's."""
        assert isinstance(self.codes, AbstractTensor)
        return self.codes


def constant(world: AbstractTensor, array: object) -> Text:
    """Known texts."""
    return Text(world.constant(encoded(array, roomy=True)))


def width(text: Text) -> Dim:
    """For how many letters there is room."""
    return text.tensor.type.shape[-1]


def widened(text: Text, to: Dim) -> AbstractTensor:
    """The codes with zeros behind."""
    return text.tensor if width(text) == to else pad(text.tensor, [0, to - width(text)])


def aligned(texts: Sequence[Text]) -> list[AbstractTensor]:
    """The codes of several, with room for as many letters in each."""
    widths = list(dict.fromkeys(map(width, texts)))
    whole: Dim = max((one for one in widths if isinstance(one, int)), default=0)
    for one in widths:
        whole = whole if isinstance(one, int) else whole + one  # which of two that are not known is more is not known
    return [widened(text, whole) for text in texts]


def lengths(text: Text) -> AbstractTensor:
    """How many letters each has, with an axis of 1 for the letters."""
    codes = text.tensor
    return amax(where(gt(codes, 0), counted(codes, width(text)) + 1, 0), -1, keepdim=True)


def equal(a: Text, b: Text) -> AbstractTensor:
    """Where two are the same."""
    return all_(eq(*aligned([a, b])), -1)


def joined(a: Text, b: Text) -> Text:
    """Each of the one with the other's behind it."""
    shape = broadcast_shapes("joined", a.shape, b.shape)
    whole = width(a) + width(b)
    first, second = (expand(widened(one, whole), (*shape, whole)) for one in (a, b))
    place = counted(first, whole) - lengths(Text(first))
    behind = gather(second, -1, where(lt(place, 0), 0, place))
    return Text(where(lt(place, 0), first, behind))


def rows(text: Text) -> AbstractTensor:
    """The codes of all, one after another."""
    return reshape(text.tensor, (product(text.shape), width(text)))


def table(texts: Sequence[Text]) -> AbstractTensor:
    """All of several, one after another."""
    found = [rows(Text(codes)) for codes in aligned(texts)]
    return found[0] if len(found) == 1 else concat(found, 0)
