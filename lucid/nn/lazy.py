"""Layers that infer their number of input features or channels from the first input.

After that they are ordinary layers: an ``nn.LazyLinear`` becomes an ``nn.Linear``. Parameters remain the same objects,
so an optimiser can be created before. A state can be loaded before too, and then determines the size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, TypeAlias

from ..errors import ShapeError, TraceError
from ..graph.trace import active_trace
from ..graph.types import DType, float32, is_float
from ..tensor.tensor import Tensor
from .checks import images, tensor
from .conv import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from .linear import Linear
from .module import Module
from .normalization import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
)
from .parameter import UninitializedBuffer, UninitializedParameter, Unsettled

Sizes: TypeAlias = "int | tuple[int, ...]"


class _Lazy(Module):
    """Base class of layers whose size is not known yet.

    Such a layer is derived from this class and from the layer that it ``becomes``; ``counted`` is the attribute with
    the size.
    """

    becomes: ClassVar[Callable[..., Module]]
    counted: ClassVar[str]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        _, *beside = cls.__bases__
        if beside and not hasattr(cls, "becomes"):
            (cls.becomes,) = beside

    def _start(self, made: Module) -> None:
        """Take on the attributes of a layer of some size, with uninitialised parameters and buffers."""
        self.__dict__.update(made.__dict__)
        setattr(self, self.counted, 0)
        for name, parameter in self._parameters.items():
            if parameter is not None:
                setattr(self, name, UninitializedParameter(parameter.dtype))
        for name, buffer in self._buffers.items():
            if buffer is not None and is_float(buffer.dtype):
                setattr(self, name, UninitializedBuffer(buffer.dtype))

    def _size(self, x: Tensor) -> int:
        """The size according to an input."""
        raise NotImplementedError

    def _made(self, count: int, dtype: DType) -> Module:
        """The layer of size ``count``."""
        raise NotImplementedError

    def _settle(self, made: Module) -> None:
        """Become that layer, but keep what has been loaded already."""
        name = type(self).__name__
        for table in ("_parameters", "_buffers"):
            for key, own in getattr(self, table).items():
                wanted = getattr(made, table)[key]
                if isinstance(own, Unsettled):
                    own.settle(wanted)
                elif own is not None and own.shape != wanted.shape:
                    raise ShapeError(f"{name}: {key} has shape {own.shape}, the input asks for {wanted.shape}")
        setattr(self, self.counted, getattr(made, self.counted))
        self.__class__ = type(made)  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        if active_trace.get() is not None:
            raise TraceError(
                f"{type(self).__name__}: how many {self.counted} there are is not known while the model is traced; "
                f"call the model once on an example before it is compiled"
            )
        x = tensor(self, x)
        types = [t.dtype for t in (*self.parameters(), *self.buffers()) if is_float(t.dtype)]
        made = self._made(self._size(x), types[0] if types else float32)
        self._settle(made)
        result: Tensor = type(made).forward(self, x)
        return result


class LazyLinear(_Lazy, Linear):
    """:class:`Linear` that takes ``in_features`` from its first input."""

    counted = "in_features"

    def __init__(self, out_features: int, bias: bool = True, device: object = None, dtype: object = None) -> None:
        self._start(Linear(1, out_features, bias, device, dtype))

    def _size(self, x: Tensor) -> int:
        if not x.ndim:
            raise ShapeError(f"LazyLinear: needs an axis of features, got {x.type}")
        return int(x.shape[-1])

    def _made(self, count: int, dtype: DType) -> Module:
        return Linear(count, self.out_features, self.bias is not None, None, dtype)


class _LazyConv(_Lazy):
    counted = "in_channels"
    axes: ClassVar[int]

    def _size(self, x: Tensor) -> int:
        return int(images(self, x, self.axes).shape[-self.axes - 1])

    def _made(self, count: int, dtype: DType) -> Module:
        names = ("kernel_size", "stride", "padding", "output_padding", "dilation", "groups", "padding_mode")
        given = {name: getattr(self, name) for name in names if name in self.__dict__}
        return type(self).becomes(count, self.out_channels, bias=self.bias is not None, dtype=dtype, **given)


class _LazyStraight(_LazyConv):
    def __init__(
        self,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: object = None,
        dtype: object = None,
    ) -> None:
        given = (kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype)
        self._start(type(self).becomes(groups, out_channels, *given))


class LazyConv1d(_LazyStraight, Conv1d):
    """:class:`Conv1d` that takes ``in_channels`` from its first input."""


class LazyConv2d(_LazyStraight, Conv2d):
    """:class:`Conv2d` that takes ``in_channels`` from its first input."""


class LazyConv3d(_LazyStraight, Conv3d):
    """:class:`Conv3d` that takes ``in_channels`` from its first input."""


class _LazyTransposed(_LazyConv):
    def __init__(
        self,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        padding_mode: str = "zeros",
        device: object = None,
        dtype: object = None,
    ) -> None:
        given = (kernel_size, stride, padding, output_padding, groups, bias, dilation, padding_mode, device, dtype)
        self._start(type(self).becomes(groups, out_channels, *given))


class LazyConvTranspose1d(_LazyTransposed, ConvTranspose1d):
    """:class:`ConvTranspose1d` that takes ``in_channels`` from its first input."""


class LazyConvTranspose2d(_LazyTransposed, ConvTranspose2d):
    """:class:`ConvTranspose2d` that takes ``in_channels`` from its first input."""


class LazyConvTranspose3d(_LazyTransposed, ConvTranspose3d):
    """:class:`ConvTranspose3d` that takes ``in_channels`` from its first input."""


class _LazyNorm(_Lazy):
    counted = "num_features"

    def _size(self, x: Tensor) -> int:
        if x.ndim < 2:
            raise ShapeError(f"{type(self).__name__}: needs a batch and a channel axis, got {x.type}")
        return int(x.shape[1])

    def _made(self, count: int, dtype: DType) -> Module:
        return type(self).becomes(count, self.eps, self.momentum, self.affine, self.track_running_stats, None, dtype)


class _LazyBatchNorm(_LazyNorm):
    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: object = None,
        dtype: object = None,
    ) -> None:
        self._start(type(self).becomes(1, eps, momentum, affine, track_running_stats, device, dtype))


class LazyBatchNorm1d(_LazyBatchNorm, BatchNorm1d):
    """:class:`BatchNorm1d` that takes ``num_features`` from its first input."""


class LazyBatchNorm2d(_LazyBatchNorm, BatchNorm2d):
    """:class:`BatchNorm2d` that takes ``num_features`` from its first input."""


class LazyBatchNorm3d(_LazyBatchNorm, BatchNorm3d):
    """:class:`BatchNorm3d` that takes ``num_features`` from its first input."""


class _LazyInstanceNorm(_LazyNorm):
    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: object = None,
        dtype: object = None,
    ) -> None:
        self._start(type(self).becomes(1, eps, momentum, affine, track_running_stats, device, dtype))


class LazyInstanceNorm1d(_LazyInstanceNorm, InstanceNorm1d):
    """:class:`InstanceNorm1d` that takes ``num_features`` from its first input."""


class LazyInstanceNorm2d(_LazyInstanceNorm, InstanceNorm2d):
    """:class:`InstanceNorm2d` that takes ``num_features`` from its first input."""


class LazyInstanceNorm3d(_LazyInstanceNorm, InstanceNorm3d):
    """:class:`InstanceNorm3d` that takes ``num_features`` from its first input."""
