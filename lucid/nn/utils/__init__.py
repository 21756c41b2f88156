"""Helpers for training loops, and weights that are computed from others."""

from typing import TYPE_CHECKING

from ...base.absent import UTILS, face
from ...base.lazy import from_home
from .parameters import clip_grad_norm_ as clip_grad_norm_
from .parameters import clip_grad_value_ as clip_grad_value_
from .parameters import clip_grads_with_norm_ as clip_grads_with_norm_
from .parameters import get_total_norm as get_total_norm
from .parameters import parameters_to_vector as parameters_to_vector
from .parameters import vector_to_parameters as vector_to_parameters

if TYPE_CHECKING:
    from . import parametrizations as parametrizations
    from . import parametrize as parametrize
    from . import rnn as rnn
    from . import stateless as stateless
    from .fusion import fuse_conv_bn_eval as fuse_conv_bn_eval
    from .fusion import fuse_linear_bn_eval as fuse_linear_bn_eval
    from .norms import remove_spectral_norm as remove_spectral_norm
    from .norms import remove_weight_norm as remove_weight_norm
    from .norms import spectral_norm as spectral_norm
    from .norms import weight_norm as weight_norm

_LAZY = {
    "fuse_conv_bn_eval": "fusion",
    "fuse_linear_bn_eval": "fusion",
    "parametrizations": "parametrizations",
    "parametrize": "parametrize",
    "remove_spectral_norm": "norms",
    "remove_weight_norm": "norms",
    "rnn": "rnn",
    "spectral_norm": "norms",
    "stateless": "stateless",
    "weight_norm": "norms",
}

_missing, __dir__ = face(globals(), UTILS, _LAZY)


if not TYPE_CHECKING:  # to the type checker a name that is not here is an error

    def __getattr__(name: str) -> object:
        return from_home(__name__, _LAZY, name) if name in _LAZY else _missing(name)
