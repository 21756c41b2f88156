"""Lucid: a static computation-graph compiler in Python whose run time is NumPy."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import errors, nn
from .creation import (
    arange,
    empty,
    eye,
    from_numpy,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    rand,
    randint,
    randn,
    randperm,
    tensor,
    zeros,
    zeros_like,
)
from .errors import LucidError
from .grad_mode import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from .graph.ops.einsum import einsum
from .graph.ops.elementwise import (
    abs_ as abs,
)
from .graph.ops.elementwise import (
    add,
    ceil,
    clip,
    cos,
    div,
    erf,
    exp,
    floor,
    gelu,
    isnan,
    log,
    maximum,
    minimum,
    mul,
    neg,
    relu,
    sigmoid,
    sign,
    silu,
    sin,
    sqrt,
    sub,
    tanh,
    where,
)
from .graph.ops.elementwise import (
    clip as clamp,
)
from .graph.ops.elementwise import (
    pow_ as pow,
)
from .graph.ops.elementwise import (
    round_ as round,
)
from .graph.ops.indexing import chunk, flip, gather, index_select, masked_fill, narrow, roll, split, take_along_dim
from .graph.ops.linalg import bmm, dot, matmul, outer
from .graph.ops.norm import log_softmax, softmax
from .graph.ops.reduce import amax, amin, argmax, argmin, cumsum, logsumexp, max, mean, min, std, sum, var
from .graph.ops.shape import (
    broadcast_to,
    concat,
    flatten,
    permute,
    repeat_interleave,
    reshape,
    squeeze,
    stack,
    tile,
    transpose,
    unflatten,
    unsqueeze,
)
from .graph.ops.shape import (
    concat as cat,
)
from .graph.types import TensorType, spec
from .nn.module import Parameter
from .runtime.rng import manual_seed
from .runtime.workers.settings import get_num_threads, set_num_threads
from .tensor import Tensor

if TYPE_CHECKING:
    from . import models, optim
    from .compiler import CompiledModel, compile, load
    from .transforms import grad, value_and_grad

__version__ = "0.1.0"

__all__ = [
    "CompiledModel",
    "LucidError",
    "Parameter",
    "Tensor",
    "TensorType",
    "__version__",
    "abs",
    "add",
    "amax",
    "amin",
    "arange",
    "argmax",
    "argmin",
    "bmm",
    "broadcast_to",
    "cat",
    "ceil",
    "chunk",
    "clamp",
    "clip",
    "compile",
    "concat",
    "cos",
    "cumsum",
    "div",
    "dot",
    "einsum",
    "empty",
    "enable_grad",
    "erf",
    "errors",
    "exp",
    "eye",
    "flatten",
    "flip",
    "floor",
    "from_numpy",
    "full",
    "full_like",
    "gather",
    "gelu",
    "get_num_threads",
    "grad",
    "index_select",
    "is_grad_enabled",
    "isnan",
    "linspace",
    "load",
    "log",
    "log_softmax",
    "logsumexp",
    "manual_seed",
    "masked_fill",
    "matmul",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "models",
    "mul",
    "narrow",
    "neg",
    "nn",
    "no_grad",
    "ones",
    "ones_like",
    "optim",
    "outer",
    "permute",
    "pow",
    "rand",
    "randint",
    "randn",
    "randperm",
    "relu",
    "repeat_interleave",
    "reshape",
    "roll",
    "round",
    "set_grad_enabled",
    "set_num_threads",
    "sigmoid",
    "sign",
    "silu",
    "sin",
    "softmax",
    "spec",
    "split",
    "sqrt",
    "squeeze",
    "stack",
    "std",
    "sub",
    "sum",
    "take_along_dim",
    "tanh",
    "tensor",
    "tile",
    "transpose",
    "unflatten",
    "unsqueeze",
    "value_and_grad",
    "var",
    "where",
    "zeros",
    "zeros_like",
]

# what need not be there to compute with tensors loads when first used
_LAZY = {
    "models": "models",
    "optim": "optim",
    "CompiledModel": "compiler",
    "compile": "compiler",
    "load": "compiler",
    "grad": "transforms",
    "value_and_grad": "transforms",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f".{_LAZY[name]}", __name__)
    found = module if _LAZY[name] == name else getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
