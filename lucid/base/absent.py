"""Names of PyTorch and NumPy that Lucid does not have, and what to write instead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any, Final, NoReturn

import numpy as np

from .lazy import difflib

_PROCESSOR = 'everything runs on the processor, so there is nothing to move or to synchronise: device = "cpu"'
_ONNX = "lucid.onnx.load(path) reads ONNX models, lucid.onnx.export(model, path, *specs) writes them"
_NUMPY = "there is no op of that name; outside a model {0}"
_CHECKPOINT = "backward computes nothing again: f(x), in smaller batches, whose gradients backward adds up in .grad"
_SAVE = "np.savez(path, **{0}.state_dict()), then {0}.load_state_dict(np.load(path)); a compiled net.save(path)"
_FORWARD = "derivatives are taken backwards: lucid.func.vjp, and lucid.func.jvp along one direction"
_DRAW = "nn.init.{0} fills a tensor"

TOP: Final[Mapping[str, str]] = {
    "cuda": _PROCESSOR,
    "mps": _PROCESSOR,
    "backends": _PROCESSOR,
    "jit": "lucid.compile(model) traces and compiles",
    "fx": "lucid.compile(model).traced is the graph, and graph.dag a networkx graph",
    **dict.fromkeys(("export_onnx", "to_onnx", "from_onnx", "load_onnx", "import_onnx"), _ONNX),
    **dict.fromkeys(("InferenceSession", "ModelProto"), _ONNX),
    **dict.fromkeys(("jnp", "lax"), "lucid has the functions itself"),
    **dict.fromkeys(("vjp", "jvp", "jacfwd", "jacrev", "hessian", "functional_call"), "lucid.func.{0}"),
    **dict.fromkeys(("vmap", "grad_and_value"), "lucid.func.{0}"),
    "jacobian": "lucid.func.jacrev",
    **dict.fromkeys(("pmap", "tree_map", "tree_util"), "lucid.grad(f) and lucid.value_and_grad(f)"),
    **dict.fromkeys(("device_put", "device_get", "devices"), _PROCESSOR),
    **dict.fromkeys(("function", "Session", "placeholder"), "lucid.compile(function), and lucid.spec for arguments"),
    **dict.fromkeys(("Variable", "constant"), "lucid.tensor(data, requires_grad=True), or lucid.Parameter"),
    **dict.fromkeys(("layers", "keras"), "lucid.nn"),
    "save": _SAVE.format("model"),
    "array": "lucid.tensor(data)",
    "asarray": "lucid.tensor(data), or lucid.from_numpy(array) to share memory",
    "FloatTensor": "lucid.tensor(data)",
    "LongTensor": "lucid.tensor(data)",
    "float16": "float32 and float64 are the floating-point types",
    "bfloat16": "float32 and float64 are the floating-point types",
    "half": "float32 and float64 are the floating-point types",
    "complex64": "there are no complex numbers",
    "complex128": "there are no complex numbers",
    "checkpoint": _CHECKPOINT,
    "utils": f"lucid.nn.utils, lucid.data; for checkpoint, {_CHECKPOINT}",
    "seed": "lucid.manual_seed(n)",
    "random": "lucid.rand, lucid.randn, lucid.randint; lucid.manual_seed(n)",
    "Size": "a shape is a tuple",
    "autocast": "float32 and float64 are the floating-point types",
    "GradScaler": "float32 and float64 are the floating-point types",
    "amp": "float32 and float64 are the floating-point types",
    **dict.fromkeys(("get_default_device", "set_default_device", "get_device", "Stream", "Event"), _PROCESSOR),
    "default_generator": "lucid.manual_seed(n) seeds all draws",
    "randint_like": "lucid.randint(low, high, t.shape)",
    "rsub": "b - a",
    "range": "lucid.arange",
    "short": "lucid.int16",
    "is_nonzero": "bool(t)",
    **dict.fromkeys(("sparse_coo_tensor", "sparse_csr_tensor"), "all tensors are dense"),
    **dict.fromkeys(("is_complex", "view_as_complex", "view_as_real", "stft", "istft"), "there are no complex numbers"),
    **dict.fromkeys(("quantize_per_tensor", "qint8", "quint8", "quantization"), "there are no quantised tensors"),
    "fft": "there are no complex numbers; outside a model np.fft of t.numpy()",
    "testing": "np.testing.assert_allclose takes tensors",
    "grid_sampler": "lucid.nn.functional.grid_sample",
    "initial_seed": "lucid.manual_seed(n) seeds all draws",
    **dict.fromkeys(
        ("get_default_dtype", "set_default_dtype"), "Python's floats become float32; dtype= says otherwise"
    ),
    "set_printoptions": "print(t.numpy()), which np.set_printoptions formats",
    "use_deterministic_algorithms": "runs are the same each time; lucid.compile(model, exact=True) rounds as eagerly",
    "set_float32_matmul_precision": "products are in the element type of their operands",
    "set_num_interop_threads": "lucid.set_num_threads(n)",
    "scalar_tensor": "lucid.tensor(value)",
    "as_strided": "t.unfold(dim, size, step) takes windows, and t[index] what else there is",
    "igamma": "there is no such op; outside a model scipy.special.gammainc takes t.numpy()",
    "igammac": "there is no such op; outside a model scipy.special.gammaincc takes t.numpy()",
    **dict.fromkeys(("lu", "lu_solve"), "lucid.linalg.solve(a, b)"),
    "complex": "there are no complex numbers",
    "polar": "there are no complex numbers",
    "softplus": "lucid.nn.functional.softplus",
    "dropout": "lucid.nn.functional.dropout",
    "export": "net.save(path) of a compiled model",
    "numpy": "t.numpy(), or import numpy",
    **dict.fromkeys(("DoubleTensor", "IntTensor", "BoolTensor", "HalfTensor"), "lucid.tensor(data, dtype=...)"),
}
"""Names of the top level (``lucid.name``)."""

TENSOR: Final[Mapping[str, str]] = {
    "fill_diagonal": "t.clone().fill_diagonal_(value)",
    "copy": "t.clone()",
    "half": "t.float(); float32 and float64 are the floating-point types",
    "bfloat16": "float32 and float64 are the floating-point types",
    "to_numpy": "t.numpy()",
    "is_cuda": 'everything is on "cpu"',
    "grad_fn": "t.is_leaf tells whether an op made t; lucid.compile(f, lucid.spec(2, 3)).traced is the graph of f",
    "strides": "t.numpy().strides",
    "data_ptr": "t.numpy().ctypes.data",
    "ptp": "t.amax() - t.amin()",
    "fill": "t.fill_(value)",
    "stack": "lucid.stack([t, other])",
    "cat": "lucid.cat([t, other])",
    "new": "lucid.tensor(data, dtype=t.dtype)",
    "storage_offset": "t.numpy() has the memory",
    "storage": "t.numpy() has the memory",
    "is_sparse": "all tensors are dense",
    "layout": "all tensors are dense",
    "names": "axes have no names",
    "resize": "t.reshape(shape), or lucid.nn.functional.pad",
    "set": "t.copy_(values)",
    "share_memory": "workers share what they need by themselves",
    "pin_memory": _PROCESSOR,
    "mps": _PROCESSOR,
    "values": "t.tolist(), or t.numpy()",
    "items": "t.tolist(), or t.numpy()",
    "append": "lucid.cat([t, other])",
    "at": "t[index] = values, or a new tensor of lucid.where",
    "block_until_ready": "t is there when the call returns",
    "map": "an op on the whole tensor; outside a model np.vectorize",
    "apply": "an op on the whole tensor; outside a model np.vectorize",
    **dict.fromkeys(("xavier_uniform_", "trunc_normal_", "kaiming_normal_"), _DRAW),
}
"""Names of tensors (``t.name``)."""

NN: Final[Mapping[str, str]] = {
    "DataParallel": "lucid.compile_step(model, loss, optimizer, group=lucid.distributed.group()), started by mpiexec",
    "upsample": "nn.functional.interpolate",
    "multi_head_attention_forward": "nn.MultiheadAttention, or nn.functional.scaled_dot_product_attention",
    "SyncBatchNorm": "nn.BatchNorm2d, whose statistics are of the batch of each process",
}
"""Names of ``lucid.nn`` and ``lucid.nn.functional``."""


MODULE: Final[Mapping[str, str]] = {
    **dict.fromkeys(("to_onnx", "onnx"), _ONNX),
    "export_python": "print(net.source) is the NumPy program of a compiled model",
    "report": "net.explain(), net.plan and net.profile(x) of a compiled model",
    "run": "module(x)",
    "half": "module.float(); float32 and float64 are the floating-point types",
    "predict": "module(x); within lucid.no_grad() nothing is remembered for backward",
    "fit": "lucid.fit(module, data, loss=..., optimizer=...)",
    "save": _SAVE.format("module"),
    "summary": "print(module)",
    "compile": "lucid.compile(module)",
    "device": 'everything is on "cpu"',
    "register_backward_hook": "register_full_backward_hook",
    "weights": "module.weight, or module.state_dict()",
    "get_weights": "module.state_dict()",
    "set_weights": "module.load_state_dict(state)",
    "load": "module.load_state_dict(state); lucid.load(path) opens what a compiled model saved",
    "type": "module.to(dtype)",
    "bfloat16": "float32 and float64 are the floating-point types",
    "jit": "lucid.compile(module)",
    "init": "modules are initialised when made; nn.init fills their parameters",
    "get_extra_state": "register_buffer keeps state of a module",
}
"""Names of modules (``module.name``)."""


ONNX: Final[Mapping[str, str]] = dict.fromkeys(
    ("dynamo_export", "save", "save_model", "load_model", "InferenceSession", "ONNXProgram"), _ONNX
)

LINALG: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("eig", "eigvals"),
        "there is no such op; outside a model np.linalg.{0} takes t.numpy()",
    ),
    **dict.fromkeys(("lu", "lu_factor", "lu_factor_ex", "lu_solve"), "lucid.linalg.solve(a, b)"),
    **dict.fromkeys(("inv_ex", "solve_ex", "cholesky_ex"), "without _ex it is there, with an error of the run"),
}
"""Names of ``lucid.linalg``."""

SPECIAL: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("gammainc", "gammaincc", "zeta", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1"),
        "there is no such op; outside a model scipy.special takes t.numpy()",
    ),
    **dict.fromkeys(("modified_bessel_i0", "modified_bessel_i1"), "i0 and i1"),
    "lgamma": "gammaln",
    "sigmoid": "expit",
}
"""Names of ``lucid.special``."""

AUTOGRAD: Final[Mapping[str, str]] = {
    "backward": "t.backward(gradient), or (a + b).backward() for several scalars",
    "functional": "lucid.func.jacrev, lucid.func.hessian and lucid.func.vjp, which nest",
    "once_differentiable": "lucid.autograd.function.once_differentiable",
    "Variable": "lucid.tensor(data, requires_grad=True)",
    **dict.fromkeys(("no_grad", "enable_grad", "set_grad_enabled", "inference_mode"), "lucid.{0}"),
    **dict.fromkeys(("detect_anomaly", "set_detect_anomaly"), "lucid.isfinite(t.grad).all() after backward"),
}
"""Names of ``lucid.autograd``."""

FUNCTION: Final[Mapping[str, str]] = {
    "mark_dirty": "return new tensors from forward, and leave its arguments as they are",
    "save_for_forward": _FORWARD,
    "saved_variables": "ctx.saved_tensors",
}
"""Names of the ``ctx`` of a ``lucid.autograd.Function``."""

FUNC: Final[Mapping[str, str]] = {
    "linearize": _FORWARD,
    "functionalize": "lucid.compile(f), whose graph changes nothing in place",
    "value_and_grad": "lucid.value_and_grad",
}
"""Names of ``lucid.func``."""

UTILS: Final[Mapping[str, str]] = {
    "checkpoint": _CHECKPOINT,
    "prune": "weight.data.copy_(weight.numpy() * mask)",
    "clip_grad_norm": "clip_grad_norm_",
    "data": "lucid.data",
}
"""Names of ``lucid.nn.utils``."""

PARAMETRIZE: Final[Mapping[str, str]] = {
    "transfer_parametrizations_and_params": "register_parametrization of the other module, then load_state_dict",
}
"""Names of ``lucid.nn.utils.parametrize``."""

PACKED: Final[Mapping[str, str]] = {
    "invert_permutation": "lucid.argsort",
}
"""Names of ``lucid.nn.utils.rnn``."""

PARAMETRIZATIONS: Final[Mapping[str, str]] = {}
"""Names of ``lucid.nn.utils.parametrizations``."""

INIT: Final[Mapping[str, str]] = {
    "sparse_": "tensor.copy_(values)",
    **dict.fromkeys(("xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal", "uniform"), "{0}_"),
    **dict.fromkeys(("normal", "constant", "orthogonal", "zeros", "ones", "eye", "trunc_normal", "dirac"), "{0}_"),
    **dict.fromkeys(("glorot_uniform", "glorot_normal"), "xavier_uniform_ and xavier_normal_"),
    **dict.fromkeys(("he_uniform", "he_normal"), "kaiming_uniform_ and kaiming_normal_"),
}
"""Names of ``lucid.nn.init``."""

OPTIM: Final[Mapping[str, str]] = {
    "lr_schedulers": "lucid.optim.lr_scheduler",
    "SparseAdam": "there are no sparse tensors; optim.Adam(params)",
}
"""Names of ``lucid.optim``."""

SCHEDULER: Final[Mapping[str, str]] = {
    "_LRScheduler": "LRScheduler",
}
"""Names of ``lucid.optim.lr_scheduler``."""


DATA: Final[Mapping[str, str]] = {
    "default_generator": "lucid.manual_seed(n), or a lucid.Generator",
    "distributed": "lucid.data.DistributedSampler",
    **dict.fromkeys(("dataloader", "dataset", "sampler"), "lucid.data has it itself: lucid.data.DataLoader"),
}
"""Names of ``lucid.data``."""


DISTRIBUTED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("init_process_group", "new_group"), "lucid.distributed.group(), in a program that mpiexec starts"),
    **dict.fromkeys(("barrier", "broadcast", "all_reduce"), "lucid.distributed.group().{0}"),
    "DistributedDataParallel": "lucid.compile_step(model, loss, optimizer, group=lucid.distributed.group())",
    "DistributedSampler": "lucid.data.DistributedSampler",
    "destroy_process_group": "MPI ends with the process",
}
"""Names of ``lucid.distributed``."""


TRAINING: Final[Mapping[str, str]] = {
    "Trainer": "lucid.fit(model, data, loss=, optimizer=)",
    "train": "lucid.fit(model, data, loss=, optimizer=)",
    "TerminateOnNaN": "a Callback whose on_batch_end calls run.stop() where run.loss is not finite",
    "Precision": "a Metric: update() adds to its sums, compute() divides them",
    "Recall": "a Metric: update() adds to its sums, compute() divides them",
    "F1Score": "a Metric: update() adds to its sums, compute() divides them",
}
"""Names of ``lucid.training``."""


SWA: Final[Mapping[str, str]] = {}
"""Names of ``lucid.optim.swa_utils``."""


def _numpys(name: str) -> str | None:
    """What NumPy has of that name."""
    for path, space in (("np", np), ("np.linalg", np.linalg)):
        found = getattr(space, name, None)
        if callable(found) and not isinstance(found, type):
            return f"{path}.{name} takes t.numpy()"
    return f"t.numpy().{name} is there" if hasattr(np.ndarray, name) else None


def advice(
    where: str, name: str, table: Mapping[str, str], known: Callable[[], Iterable[str]] = tuple, numpy: bool = False
) -> str:  # fmt: skip
    """The text of an AttributeError.

    It says what to type instead, as the table has it (for ``name_``, in place, as for ``name``); with ``numpy`` that
    NumPy has a function of that name; else what of the ``known`` names is spelled alike. These are listed last: NumPy
    asks each tensor that it makes an array of for names with an underscore, and to list takes longer than all else.
    """
    text = f"{where} has no attribute {name!r}"
    plain = next((one for one in (name, name.rstrip("_")) if one in table), None)
    if plain is not None:
        return f"{text}: {table[plain].format(plain)}"
    if name.startswith("_"):
        return text
    public = {one for one in known() if not one.startswith("_")}
    if name.endswith("_") and name.rstrip("_") in public:
        return f"{text}: {name.rstrip('_')}, which does not change its argument"
    theirs = _numpys(name.rstrip("_")) if numpy else None
    if theirs is not None:
        return f"{text}: {_NUMPY.format(theirs)}"
    close = difflib.get_close_matches(name, list(public), 1, 0.75)
    return f"{text}; did you mean {close[0]!r}?" if close else f"{text}; dir() of it lists what there is"


def face(space: dict[str, Any], table: Mapping[str, str], extra: Iterable[str] = ()) -> tuple[Any, Any]:
    """A module's ``__getattr__``, which says what to type instead, and ``__dir__``, which lists what is public.

    Public is what the module, or one below it, defines under a name without an underscore, and ``extra``.
    """
    module: str = space["__name__"]
    own = {name for name, value in space.items() if name[0] != "_" and _defined_below(module, value)}
    public = sorted(own.union(extra))

    def missing(name: str) -> NoReturn:
        raise AttributeError(advice(module, name, table, lambda: public))

    return missing, lambda: public


def _defined_below(module: str, value: object) -> bool:
    return not isinstance(value, ModuleType) and str(getattr(value, "__module__", "")).startswith(module)
