"""Normalisation layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ..errors import ShapeError
from ..graph.ops.windows import AXES
from ..graph.types import DType
from ..tensor.tensor import Tensor
from . import functional as F
from . import init
from .checks import divides, flag, last_axes, parameter_type, real, tensor
from .checks import size as count
from .module import Module, Parameter


class _Affine(Module):
    """Base class of normalisations with an optional learnt scale (weight) and shift (bias)."""

    weight: Parameter | None
    bias: Parameter | None

    def _add_affine(self, shape: tuple[int, ...], kind: DType, scaled: bool, shifted: bool) -> None:
        self.weight = Parameter.blank(shape, kind) if scaled else None
        self.bias = Parameter.blank(shape, kind) if shifted else None

    def reset_parameters(self) -> None:
        """Set the scale to 1 and the shift to 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class _ChannelNorm(_Affine):
    """Normalisation per channel (axis 1) with running statistics.

    It takes images with ``axes`` axes, and if ``flat`` also (N, C).
    """

    axes: ClassVar[int]
    flat: ClassVar[bool] = False

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        device: object,
        dtype: object,
    ) -> None:
        super().__init__()
        self.num_features = count(self, "num_features", num_features)
        self.eps = real(self, "eps", eps, 0.0)
        self.momentum = None if momentum is None else real(self, "momentum", momentum, 0.0, 1.0)
        self.affine = flag(self, "affine", affine)
        self.track_running_stats = flag(self, "track_running_stats", track_running_stats)
        shape, kind = (self.num_features,), parameter_type(self, device, dtype)
        self._add_affine(shape, kind, self.affine, self.affine)
        tracked = self.track_running_stats
        self.register_buffer("running_mean", Tensor(np.zeros(shape, kind)) if tracked else None)
        self.register_buffer("running_var", Tensor(np.zeros(shape, kind)) if tracked else None)
        self.register_buffer("num_batches_tracked", Tensor(np.zeros((), np.int64)) if tracked else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Set the running mean to 0, the variance to 1 and the count of batches to 0."""
        if self.track_running_stats:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
            self.num_batches_tracked.copy_(0)

    def reset_parameters(self) -> None:
        """Reset scale, shift and running statistics."""
        self.reset_running_stats()
        super().reset_parameters()

    def _check_input(self, x: Tensor) -> None:
        name = type(self).__name__
        x = tensor(self, x)
        if x.type.rank != self.axes + 2 and not (self.flat and x.type.rank == 2):
            layout = f"(N, C) or {AXES[self.axes]}" if self.flat else AXES[self.axes]
            raise ShapeError(f"{name}: needs an input {layout}, got {x.type}")
        channels = x.type.shape[1]
        if isinstance(channels, int) and channels != self.num_features:
            raise ShapeError(f"{name}: has num_features={self.num_features}, the input {x.type} {channels} channels")

    def _share(self) -> Tensor | float:
        """The share of this batch in the running statistics: the momentum, or without one 1 / number of batches."""
        if self.num_batches_tracked is None:
            return 0.0 if self.momentum is None else self.momentum
        count = self.num_batches_tracked + 1
        self.num_batches_tracked.copy_(count)
        return 1.0 / count.to(self.running_mean.dtype) if self.momentum is None else self.momentum

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_ChannelNorm):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: object = None,
        dtype: object = None,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        self._check_input(x)
        if not self.training and self.running_mean is not None:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        mean, var = (self.running_mean, self.running_var) if self.training else (None, None)
        share = self._share() if self.training else 0.0
        return F.batch_norm(x, mean, var, self.weight, self.bias, True, share, self.eps)


class BatchNorm1d(_BatchNorm):
    """Batch normalisation (Ioffe and Szegedy, 2015) of (N, C) or (N, C, L).

    While training it uses the mean and variance of the batch, and updates the running statistics; in evaluation it
    uses these.

    Parameters
    ----------
    num_features
        Number of channels C.
    eps
        Added to the variance.
    momentum
        The share of each batch in the running statistics; with None they are averages over all batches.
    affine
        Whether to learn a scale and a shift.
    track_running_stats
        Whether to keep running statistics; without them, those of the batch are always used.
    device, dtype
        The device can only be "cpu"; the element type of the parameters is float32 by default.
    """

    axes, flat = 1, True


class BatchNorm2d(_BatchNorm):
    __doc__ = (BatchNorm1d.__doc__ or "").replace("(N, C) or (N, C, L)", "images (N, C, H, W)")

    axes = 2


class BatchNorm3d(_BatchNorm):
    __doc__ = (BatchNorm1d.__doc__ or "").replace("(N, C) or (N, C, L)", "volumes (N, C, D, H, W)")

    axes = 3


BATCH_NORMS = BatchNorm1d, BatchNorm2d, BatchNorm3d


class _InstanceNorm(_ChannelNorm):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: object = None,
        dtype: object = None,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)
        self.momentum: float = real(self, "momentum", momentum, 0.0, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        self._check_input(x)
        own = self.training or not self.track_running_stats
        return F.instance_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, own, self.momentum, self.eps
        )


class InstanceNorm1d(_InstanceNorm):
    """Instance normalisation (Ulyanov et al., 2016): each channel of each signal (N, C, L) separately.

    Parameters are those of :class:`BatchNorm1d`; scale, shift and running statistics are off by default.
    """

    axes = 1


class InstanceNorm2d(_InstanceNorm):
    __doc__ = (InstanceNorm1d.__doc__ or "").replace("signal (N, C, L)", "image (N, C, H, W)")

    axes = 2


class InstanceNorm3d(_InstanceNorm):
    __doc__ = (InstanceNorm1d.__doc__ or "").replace("signal (N, C, L)", "volume (N, C, D, H, W)")

    axes = 3


class LayerNorm(_Affine):
    """Layer normalisation (Ba, Kiros and Hinton, 2016) over the last axes.

    Parameters
    ----------
    normalized_shape
        Their sizes.
    eps
        Added to the variance.
    elementwise_affine, bias
        Whether to learn a scale of that shape, and with it a shift.
    device, dtype
        The device can only be "cpu"; the element type of the parameters is float32 by default.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: object = None,
        dtype: object = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = last_axes(self, "normalized_shape", normalized_shape)
        self.eps = real(self, "eps", eps, 0.0)
        self.elementwise_affine = flag(self, "elementwise_affine", elementwise_affine)
        shifted = flag(self, "bias", bias) and elementwise_affine
        kind = parameter_type(self, device, dtype)
        self._add_affine(self.normalized_shape, kind, self.elementwise_affine, shifted)
        self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        learnt = f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        return f"{self.normalized_shape}, eps={self.eps}, {learnt}"


class GroupNorm(_Affine):
    """Group normalisation (Wu and He, 2018): channels (axis 1) in groups, each normalised separately.

    Parameters
    ----------
    num_groups, num_channels
        The number of groups, which must divide the number of channels.
    eps
        Added to the variance.
    affine
        Whether to learn a scale and a shift per channel.
    device, dtype
        The device can only be "cpu"; the element type of the parameters is float32 by default.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: object = None,
        dtype: object = None,
    ) -> None:
        super().__init__()
        self.num_groups = count(self, "num_groups", num_groups)
        self.num_channels = count(self, "num_channels", num_channels)
        divides(self, "num_groups", self.num_groups, num_channels=self.num_channels)
        self.eps = real(self, "eps", eps, 0.0)
        self.affine = flag(self, "affine", affine)
        kind = parameter_type(self, device, dtype)
        self._add_affine((self.num_channels,), kind, self.affine, self.affine)
        self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        x = tensor(self, x)
        if x.type.rank < 2 or x.type.shape[1] != self.num_channels:
            raise ShapeError(f"GroupNorm: has num_channels={self.num_channels}, which {x.type} does not")
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"


class RMSNorm(Module):
    """Division by the root of the mean of squares over the last axes (Zhang and Sennrich, 2019).

    Parameters
    ----------
    normalized_shape
        Their sizes.
    eps
        Added to the mean; by default the machine epsilon of the element type.
    elementwise_affine
        Whether to learn a scale of that shape.
    device, dtype
        The device can only be "cpu"; the element type of the parameters is float32 by default.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: object = None,
        dtype: object = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = last_axes(self, "normalized_shape", normalized_shape)
        self.eps = None if eps is None else real(self, "eps", eps, 0.0)
        self.elementwise_affine = flag(self, "elementwise_affine", elementwise_affine)
        kind = parameter_type(self, device, dtype)
        self.weight = Parameter.blank(self.normalized_shape, kind) if elementwise_affine else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the scale to 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class LocalResponseNorm(Module):
    """Division by ``(k + alpha * m) ** beta``, where ``m`` is the mean of the squares of ``size`` channels around each.

    It takes (N, C, …); channels beyond the first and last count as zeros (Krizhevsky, Sutskever and Hinton, 2012).
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = count(self, "size", size)
        self.alpha, self.beta, self.k = (
            real(self, name, value) for name, value in (("alpha", alpha), ("beta", beta), ("k", k))
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
