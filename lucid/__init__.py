"""Lucid: a static computation-graph compiler in Python whose run time is NumPy."""

from typing import TYPE_CHECKING, Any

from numpy import dtype as _dtype
from numpy import e, finfo, iinfo, inf, nan, newaxis, pi

from . import errors, nn
from . import formats as formats  # which announce themselves to graphs
from .base.absent import NN, TOP, advice
from .base.checks import device
from .base.lazy import from_home
from .errors import LucidError
from .graph.texts import Text
from .graph.types import DTYPES, TensorType, spec
from .nn.parameter import Parameter
from .runtime.program.store import get_cache_limit, set_cache_limit
from .runtime.workers.settings import get_num_threads, set_num_threads
from .tensor.creation import (
    arange,
    as_tensor,
    empty,
    empty_like,
    eye,
    from_numpy,
    full,
    full_like,
    linspace,
    manual_seed,
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
from .tensor.functions import (
    abs,
    absolute,
    acos,
    acosh,
    add,
    addcdiv,
    addcmul,
    addmm,
    all,
    allclose,
    amax,
    amin,
    any,
    argmax,
    argmin,
    argsort,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    baddbmm,
    bernoulli,
    bincount,
    bitwise_and,
    bitwise_or,
    bitwise_xor,
    bmm,
    broadcast_to,
    cat,
    cdist,
    ceil,
    chunk,
    clamp,
    clip,
    clone,
    concat,
    concatenate,
    cos,
    cosh,
    count_nonzero,
    cumprod,
    cumsum,
    detach,
    diag,
    div,
    divide,
    dot,
    einsum,
    eq,
    equal,
    erf,
    exp,
    expm1,
    flatten,
    flip,
    floor,
    floor_divide,
    gather,
    ge,
    gelu,
    gt,
    hstack,
    index_add,
    index_copy,
    index_fill,
    index_select,
    is_floating_point,
    is_tensor,
    isclose,
    isfinite,
    isinf,
    isnan,
    le,
    lerp,
    log,
    log1p,
    log2,
    log10,
    log_softmax,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    logsumexp,
    lt,
    masked_fill,
    masked_select,
    matmul,
    max,
    maximum,
    mean,
    median,
    meshgrid,
    min,
    minimum,
    mm,
    moveaxis,
    movedim,
    mul,
    multiply,
    mv,
    narrow,
    ne,
    neg,
    negative,
    nonzero,
    norm,
    numel,
    outer,
    permute,
    pow,
    prod,
    rand_like,
    randn_like,
    ravel,
    reciprocal,
    relu,
    remainder,
    repeat_interleave,
    reshape,
    roll,
    round,
    rsqrt,
    scatter,
    scatter_add,
    scatter_reduce,
    sigmoid,
    sign,
    silu,
    sin,
    sinh,
    softmax,
    sort,
    split,
    sqrt,
    square,
    squeeze,
    stack,
    std,
    sub,
    subtract,
    sum,
    swapaxes,
    swapdims,
    t,
    take_along_dim,
    tan,
    tanh,
    tile,
    topk,
    transpose,
    tril,
    triu,
    true_divide,
    trunc,
    unbind,
    unflatten,
    unique,
    unsqueeze,
    var,
    vstack,
    where,
)
from .tensor.generator import Generator, get_rng_state, set_rng_state
from .tensor.grad_mode import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from .tensor.tensor import Tensor

if TYPE_CHECKING:
    from . import autograd, data, extend, models, onnx, optim, passes, training
    from .compiler.compiled import CompiledModel
    from .compiler.control import cond, scan, while_loop
    from .compiler.entry import compile, load
    from .compiler.step_entry import compile_step
    from .compiler.transforms import grad, value_and_grad
    from .training.checkpoint import load_checkpoint, save_checkpoint
    from .training.loop import fit

__version__ = "0.1.0"

dtype = _dtype
float32, float64, bool = DTYPES["float32"], DTYPES["float64"], DTYPES["bool"]
int8, int16, int32, int64 = DTYPES["int8"], DTYPES["int16"], DTYPES["int32"], DTYPES["int64"]
uint8, uint16, uint32, uint64 = DTYPES["uint8"], DTYPES["uint16"], DTYPES["uint32"], DTYPES["uint64"]
float, double, int, long = float32, float64, int32, int64  # PyTorch's names; not in __all__, as they are Python's too

__all__ = [
    "CompiledModel", "Generator", "LucidError", "Parameter", "Tensor", "TensorType", "Text", "__version__", "abs",
    "absolute", "acos", "acosh", "add", "addcdiv", "addcmul", "addmm", "all", "allclose", "amax", "amin", "any",
    "arange", "argmax", "argmin", "argsort", "as_tensor", "asin", "asinh", "atan", "atan2", "atanh", "autograd",
    "baddbmm", "bernoulli", "bincount", "bitwise_and", "bitwise_or", "bitwise_xor", "bmm", "broadcast_to", "cat",
    "cdist", "ceil", "chunk", "clamp", "clip", "clone", "compare", "compile",
    "compile_step", "concat", "concatenate", "cond", "cos",
    "cosh", "count_nonzero", "cumprod", "cumsum", "data", "detach", "device", "diag", "div", "divide", "dot", "dtype",
    "e", "einsum", "empty", "empty_like", "enable_grad", "eq", "equal", "erf", "errors", "exp", "expm1", "extend",
    "eye", "finfo", "fit", "flatten", "flip", "float32", "float64", "floor", "floor_divide", "from_numpy", "full",
    "full_like", "gather", "ge", "gelu", "get_cache_limit", "get_num_threads", "get_rng_state", "grad", "gt", "hstack",
    "iinfo", "index_add", "index_copy", "index_fill", "index_select", "inf", "inference_mode", "int8", "int16", "int32",
    "int64", "is_floating_point", "is_grad_enabled", "is_tensor", "isclose", "isfinite", "isinf", "isnan", "le", "lerp",
    "linspace", "load", "load_checkpoint", "log", "log1p", "log2", "log10", "log_softmax", "logical_and", "logical_not",
    "logical_or", "logical_xor", "logsumexp", "lt", "manual_seed", "masked_fill", "masked_select", "matmul", "max",
    "maximum", "mean", "median", "meshgrid", "min", "minimum", "mm", "models", "moveaxis", "movedim", "mul", "multiply",
    "mv", "nan", "narrow", "ne", "neg", "negative", "newaxis", "nn", "no_grad", "nonzero", "norm", "numel", "ones",
    "ones_like", "onnx", "optim", "outer", "passes", "permute", "pi", "pow", "prod", "proof", "rand", "rand_like",
    "randint", "randn", "randn_like", "randperm", "ravel", "reciprocal", "relu", "remainder", "repeat_interleave",
    "reshape", "roll", "round", "rsqrt", "save_checkpoint", "scan", "scatter", "scatter_add", "scatter_reduce",
    "set_cache_limit", "set_grad_enabled", "set_num_threads", "set_rng_state", "sigmoid", "sign", "silu", "sin", "sinh",
    "softmax", "sort", "spec", "split", "sqrt", "square", "squeeze", "stack", "std", "sub", "subtract", "sum",
    "swapaxes", "swapdims", "t", "take_along_dim", "tan", "tanh", "tensor", "tile", "topk", "training", "transpose",
    "tril", "triu", "true_divide", "trunc", "uint8", "uint16", "uint32", "uint64", "unbind", "unflatten", "unique",
    "unsqueeze", "value_and_grad", "var", "vstack", "where", "while_loop", "zeros", "zeros_like",
]  # fmt: skip

# what need not be there to compute with tensors loads when first used
_LAZY = {
    "autograd": "autograd",
    "extend": "extend",
    "data": "data",
    "distributed": "distributed",
    "models": "models",
    "fit": "training.loop",
    "load_checkpoint": "training.checkpoint",
    "save_checkpoint": "training.checkpoint",
    "training": "training",
    "onnx": "onnx",
    "optim": "optim",
    "passes": "passes",
    "proof": "proof",
    "compare": "comparison.compare",
    "CompiledModel": "compiler.compiled",
    "compile": "compiler.entry",
    "compile_step": "compiler.step_entry",
    "cond": "compiler.control",
    "scan": "compiler.control",
    "while_loop": "compiler.control",
    "load": "compiler.entry",
    "grad": "compiler.transforms",
    "value_and_grad": "compiler.transforms",
}

_ABSENT = {
    **NN,
    **{name: f"lucid.nn.functional.{name}" for name in dir(nn.functional)},
    **{name: f"lucid.nn.{name}" for name in dir(nn)},
    **TOP,
}


if not TYPE_CHECKING:  # to the type checker a name that is not here is an error

    def __getattr__(name: str) -> Any:
        if name not in _LAZY:
            raise AttributeError(advice("lucid", name, _ABSENT, __all__, numpy=True))
        return from_home(__name__, _LAZY, name)


def __dir__() -> list[str]:
    return sorted([*__all__, "bool", "double", "float", "int", "long"])
