"""Parameter: a tensor that a module learns."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from ..base import checks
from ..base.arrays import Array
from ..errors import DTypeError, ShapeError
from ..graph.types import as_dtype, is_float
from ..tensor.tensor import Tensor


class Parameter(Tensor):
    """A tensor that a module learns; it requires a gradient by default."""

    __slots__ = ()

    def __init__(self, data: npt.ArrayLike | Tensor, requires_grad: bool = True, dtype: object = None) -> None:
        super().__init__(data, requires_grad=requires_grad, dtype=dtype)

    @classmethod
    def blank(cls, shape: tuple[int, ...], dtype: object) -> Parameter:
        """Zeros that an initialiser will fill."""
        wanted = as_dtype(dtype)
        if not is_float(wanted):
            raise DTypeError(f"parameters are floating-point, not {wanted.name}")
        try:
            return cls.wrap(np.zeros(shape, wanted), requires_grad=True)
        except (MemoryError, ValueError) as error:
            raise ShapeError(f"a parameter of shape {shape} cannot be made: {error}") from error


class Buffer(Tensor):
    """A tensor that is a buffer of the module to whose attribute it is assigned, as by ``register_buffer``.

    A buffer that is not ``persistent`` stays out of the state dict.
    """

    __slots__ = ()

    persistent: ClassVar[bool] = True

    def __new__(cls, data: npt.ArrayLike | Tensor | None = None, *, persistent: bool = True) -> Buffer:
        kind: type[Buffer] = cls if checks.flag("Buffer", "persistent", persistent) else _Transient
        return super().__new__(kind)

    def __init__(self, data: npt.ArrayLike | Tensor | None = None, *, persistent: bool = True) -> None:
        super().__init__(np.zeros(0, np.float32) if data is None else data)


class _Transient(Buffer):
    __slots__ = ()
    persistent = False


class Unsettled(Tensor):
    """A tensor whose shape is not known yet; it has no elements."""

    __slots__ = ()

    def settle(self, value: Tensor | Array) -> None:
        """Become an ordinary parameter or buffer with the shape and content of ``value``."""
        self.data = Tensor(np.array(value, self.dtype))
        self.__class__ = Parameter if isinstance(self, Parameter) else Tensor  # type: ignore[assignment]

    def copy_(self, value: object) -> Self:
        self.settle(np.asarray(value))
        return self


class UninitializedParameter(Unsettled, Parameter):
    """A parameter whose shape follows from the first input, or from a state that is loaded."""

    __slots__ = ()

    def __init__(self, dtype: object = None) -> None:
        super().__init__(np.zeros(0, np.float32 if dtype is None else as_dtype(dtype)), True)


class UninitializedBuffer(Unsettled):
    """A buffer whose shape follows from the first input, or from a state that is loaded."""

    __slots__ = ()

    def __init__(self, dtype: object = None) -> None:
        super().__init__(np.zeros(0, np.float32 if dtype is None else as_dtype(dtype)))
