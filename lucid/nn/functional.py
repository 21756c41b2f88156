"""The functions of ``torch.nn.functional``, under the same names and with the same order of arguments.

They take tensors, arrays and nested lists. With ``inplace=True``, where PyTorch accepts it, the first argument is a
tensor, and becomes the result (decision 0062).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..base.absent import NN, face
from ..base.checks import flag, integer, shown
from ..errors import OptionError, ShapeError
from ..graph.opdef import AbstractTensor
from ..graph.ops import activation as act
from ..graph.ops import affine_grid as grids
from ..graph.ops import (
    attention,
    avgpool,
    conv,
    conv_axes,
    ctc,
    distance,
    fractional_pool,
    indexing,
    linalg,
    loss,
    margins,
    pool,
    pool_axes,
    power_pool,
    random,
    rms_norms,
    sampling,
    unpool,
)  # fmt: skip
from ..graph.ops import elementwise as ew
from ..graph.ops import embedding_bag as bags
from ..graph.ops import fold as columns
from ..graph.ops import grid_sample as grid_samples
from ..graph.ops import norm as normal
from ..graph.ops import pad as padding
from ..graph.ops import resize as resizing
from ..graph.ops import shape as sh
from ..graph.ops.bounds import flat_clip
from ..graph.public import apart, number, operand, public, share
from ..graph.public import flag as is_flag
from ..graph.public import index as index_of
from ..graph.public import tensor as tensor_of
from ..tensor.functions_in_place import Changes, changing
from ..tensor.tensor import Tensor


def _face(function: Callable[..., object]) -> Callable[..., Tensor]:
    return public(function)


def _apart(function: Callable[..., object]) -> Callable[..., Tensor]:
    return apart(public(function))


def _overwriting(function: Callable[..., object], known: Callable[..., object] | None = None) -> Callable[..., Tensor]:
    """Add a last parameter ``inplace``; ``known``, if given, is called in place of ``public(function)``."""
    face, count, name = known or public(function), function.__code__.co_argcount, function.__name__
    changed = changing(name, face)

    @functools.wraps(function)
    def call(*args: object, inplace: bool = False, **kwargs: object) -> Any:
        if len(args) == count + 1:
            *args, inplace = args  # type: ignore[assignment]
        if not flag(name, "inplace", inplace):
            return face(*args, **kwargs)
        x, *others = args or [kwargs.pop(key) for key in ("x", "input") if key in kwargs] or [None]
        if not isinstance(x, Changes):
            raise OptionError(f"{name}: with inplace=True, x must be a tensor, got {shown(x)}")
        return changed(x, *others, **kwargs)

    return call


adaptive_avg_pool1d = _face(pool_axes.adaptive_avg_pool1d)
adaptive_avg_pool2d = _face(avgpool.adaptive_avg_pool2d)
adaptive_avg_pool3d = _face(pool_axes.adaptive_avg_pool3d)
avg_pool1d = _face(pool_axes.avg_pool1d)
avg_pool2d = _face(avgpool.avg_pool2d)
avg_pool3d = _face(pool_axes.avg_pool3d)
conv1d = _face(conv_axes.conv1d)
conv2d = _face(conv.conv2d)
conv3d = _face(conv_axes.conv3d)
conv_transpose1d = _face(conv_axes.conv_transpose1d)
conv_transpose2d = _face(conv.conv_transpose2d)
conv_transpose3d = _face(conv_axes.conv_transpose3d)
binary_cross_entropy = _face(loss.binary_cross_entropy)
binary_cross_entropy_with_logits = _face(loss.binary_cross_entropy_with_logits)
cross_entropy = _face(loss.cross_entropy)
huber_loss = _face(loss.huber_loss)
kl_div = _face(loss.kl_div)
l1_loss = _face(loss.l1_loss)
mse_loss = _face(loss.mse_loss)
nll_loss = _face(loss.nll_loss)
smooth_l1_loss = _face(loss.smooth_l1_loss)
soft_margin_loss = _face(margins.soft_margin_loss)
multilabel_margin_loss = _face(margins.multilabel_margin_loss)
multilabel_soft_margin_loss = _face(margins.multilabel_soft_margin_loss)
hinge_embedding_loss: Callable[..., Tensor] = public(margins.hinge_embedding_loss, margin=number)
multi_margin_loss: Callable[..., Tensor] = public(margins.multi_margin_loss, p=number, margin=number)
poisson_nll_loss: Callable[..., Tensor] = public(margins.poisson_nll_loss, log_input=is_flag, full=is_flag)
gaussian_nll_loss: Callable[..., Tensor] = public(margins.gaussian_nll_loss, var=operand, full=is_flag)
cosine_embedding_loss: Callable[..., Tensor] = public(
    margins.cosine_embedding_loss, input1=tensor_of, input2=tensor_of, margin=number
)
margin_ranking_loss: Callable[..., Tensor] = public(
    margins.margin_ranking_loss, input1=tensor_of, input2=tensor_of, margin=number
)
triplet_margin_loss: Callable[..., Tensor] = public(
    margins.triplet_margin_loss, anchor=tensor_of, positive=tensor_of, negative=tensor_of, margin=number, eps=number,
    swap=is_flag,
)  # fmt: skip
triplet_margin_with_distance_loss: Callable[..., Tensor] = public(
    margins.triplet_margin_with_distance_loss, anchor=tensor_of, positive=tensor_of, negative=tensor_of,
    distance_function=None, margin=number, swap=is_flag,
)  # fmt: skip
ctc_loss: Callable[..., Tensor] = public(
    ctc.ctc_loss, log_probs=tensor_of, targets=index_of, input_lengths=index_of, target_lengths=index_of, blank=None,
    zero_infinity=is_flag,
)  # fmt: skip
batch_norm: Callable[..., Tensor] = public(normal.batch_norm, momentum=operand)
group_norm = _face(normal.group_norm)
instance_norm: Callable[..., Tensor] = public(normal.instance_norm, momentum=operand)
layer_norm = _face(normal.layer_norm)
log_softmax = _face(normal.log_softmax)
softmax = _face(normal.softmax)
rms_norm = _face(rms_norms.rms_norm)
local_response_norm: Callable[..., Tensor] = public(rms_norms.local_response_norm, size=None, k=number)
embedding = _face(indexing.embedding)
one_hot = _face(indexing.one_hot)
embedding_bag: Callable[..., Tensor] = public(
    bags.embedding_bag, offsets=index_of, max_norm=number, norm_type=number, scale_grad_by_freq=is_flag, sparse=is_flag,
    per_sample_weights=tensor_of, include_last_offset=is_flag,
)  # fmt: skip
linear = _face(linalg.linear)
bilinear: Callable[..., Tensor] = public(linalg.bilinear, x1=tensor_of, x2=tensor_of)
normalize = _face(distance.normalize)
cosine_similarity: Callable[..., Tensor] = public(distance.cosine_similarity, x1=tensor_of, x2=tensor_of)
pairwise_distance: Callable[..., Tensor] = public(distance.pairwise_distance, x1=tensor_of, x2=tensor_of, eps=number)
gelu = _face(ew.gelu)
sigmoid = _face(ew.sigmoid)
softplus = _face(ew.softplus)
tanh = _face(ew.tanh)
flatten = _face(sh.flatten)
unflatten = _face(sh.unflatten)
pad = _apart(padding.pad)
fold = _face(columns.fold)
unfold = _apart(columns.unfold)
affine_grid: Callable[..., Tensor] = public(grids.affine_grid, theta=tensor_of, size=None, align_corners=is_flag)
grid_sample: Callable[..., Tensor] = public(grid_samples.grid_sample, grid=tensor_of, align_corners=is_flag)
interpolate: Callable[..., Tensor] = apart(public(
    resizing.interpolate, size=None, scale_factor=None, align_corners=is_flag, recompute_scale_factor=is_flag,
    antialias=is_flag,
))  # fmt: skip
rotary_embedding: Callable[..., Tensor] = public(
    attention.rotary_embedding, cos=tensor_of, sin=tensor_of, interleaved=is_flag
)
scaled_dot_product_attention: Callable[..., Tensor] = public(
    attention.scaled_dot_product_attention, query=tensor_of, key=tensor_of, value=tensor_of, attn_mask=tensor_of,
    dropout_p=share, is_causal=is_flag, scale=number, enable_gqa=is_flag,
)  # fmt: skip
adaptive_max_pool1d = public(pool_axes.adaptive_max_pool1d)
adaptive_max_pool2d = public(avgpool.adaptive_max_pool2d)
adaptive_max_pool3d = public(pool_axes.adaptive_max_pool3d)
lp_pool1d: Callable[..., Tensor] = public(power_pool.lp_pool1d, norm_type=number)
lp_pool2d: Callable[..., Tensor] = public(power_pool.lp_pool2d, norm_type=number)
lp_pool3d: Callable[..., Tensor] = public(power_pool.lp_pool3d, norm_type=number)
fractional_max_pool2d = public(fractional_pool.fractional_max_pool2d, output_ratio=None, _random_samples=tensor_of)
fractional_max_pool3d = public(fractional_pool.fractional_max_pool3d, output_ratio=None, _random_samples=tensor_of)
max_pool1d = public(pool_axes.max_pool1d)
max_pool2d = public(pool.max_pool2d)
max_pool3d = public(pool_axes.max_pool3d)
max_unpool1d: Callable[..., Tensor] = public(unpool.max_unpool1d, indices=index_of, output_size=None)
max_unpool2d: Callable[..., Tensor] = public(unpool.max_unpool2d, indices=index_of, output_size=None)
max_unpool3d: Callable[..., Tensor] = public(unpool.max_unpool3d, indices=index_of, output_size=None)
relu = _overwriting(ew.relu)
leaky_relu = _overwriting(ew.leaky_relu)
elu = _overwriting(ew.elu)
silu = _overwriting(ew.silu)
celu = _overwriting(act.celu)
mish = _overwriting(act.mish)
hardswish = _overwriting(act.hardswish)
threshold = _overwriting(act.threshold)
rrelu = _overwriting(random.rrelu, public(random.rrelu, lower=number, upper=number))
glu = _face(act.glu)
logsigmoid = _face(act.logsigmoid)
softmin = _face(act.softmin)
softsign = _face(act.softsign)
tanhshrink = _face(act.tanhshrink)
hardshrink: Callable[..., Tensor] = public(act.hardshrink, lambd=number)
prelu = _face(act.prelu)
pdist = _face(distance.pdist)
softshrink: Callable[..., Tensor] = public(act.softshrink, lambd=number)
dropout = _overwriting(random.dropout)
dropout1d = _overwriting(random.dropout1d)
dropout2d = _overwriting(random.dropout2d)
dropout3d = _overwriting(random.dropout3d)
gumbel_softmax: Callable[..., Tensor] = public(sampling.gumbel_softmax, tau=number, hard=is_flag)
alpha_dropout = _overwriting(random.alpha_dropout)
feature_alpha_dropout = _overwriting(random.feature_alpha_dropout)


@_overwriting
def selu(x: AbstractTensor) -> AbstractTensor:
    """``elu`` times a constant, with an ``alpha`` that keeps mean and variance (Klambauer et al., 2017)."""
    return act.selu(x)


@_overwriting
def hardsigmoid(x: AbstractTensor) -> AbstractTensor:
    """``x / 6 + 1 / 2`` clamped to between 0 and 1; the slope at both bounds is 0."""
    return act.hardsigmoid(x)


@_overwriting
def hardtanh(x: AbstractTensor, min_val: float = -1.0, max_val: float = 1.0) -> AbstractTensor:
    """``x`` clamped to between ``min_val`` and ``max_val``; the slope at both bounds is 0."""
    if not min_val < max_val:
        raise OptionError(f"hardtanh: min_val {min_val} must be below max_val {max_val}")
    return flat_clip(x, min_val, max_val)


@_overwriting
def relu6(x: AbstractTensor) -> AbstractTensor:
    """``x`` clamped to between 0 and 6; the slope at both bounds is 0."""
    return flat_clip(x, 0.0, 6.0)


@_apart
def pixel_shuffle(x: AbstractTensor, upscale_factor: int) -> AbstractTensor:
    """Channels (…, C r², H, W) as pixels (…, C, H r, W r), where ``r`` is ``upscale_factor``."""
    _images("pixel_shuffle", x)
    return sh.depth_to_space(x, integer("pixel_shuffle", "upscale_factor", upscale_factor))


@_apart
def pixel_unshuffle(x: AbstractTensor, downscale_factor: int) -> AbstractTensor:
    """Pixels (…, C, H r, W r) as channels (…, C r², H, W), where ``r`` is ``downscale_factor``."""
    _images("pixel_unshuffle", x)
    return sh.space_to_depth(x, integer("pixel_unshuffle", "downscale_factor", downscale_factor))


@_apart
def channel_shuffle(x: AbstractTensor, groups: int) -> AbstractTensor:
    """The channels (axis 1), taken from ``groups`` groups in turn."""
    return sh.shuffle_channels(x, integer("channel_shuffle", "groups", groups))


def _images(owner: str, x: AbstractTensor) -> None:
    if x.type.rank < 3:
        raise ShapeError(f"{owner}: needs images (…, C, H, W), got {x.type}")


def _changed(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function in place."""
    return changing(function.__name__, function)


relu_, elu_, celu_, selu_ = map(_changed, (relu, elu, celu, selu))
leaky_relu_, rrelu_, threshold_, hardtanh_ = map(_changed, (leaky_relu, rrelu, threshold, hardtanh))

_FACES = [name for name, value in globals().items() if getattr(value, "__wrapped__", None) is not None]
if not TYPE_CHECKING:  # to the type checker a name that is not here is an error
    __getattr__, __dir__ = face(globals(), NN, _FACES)
