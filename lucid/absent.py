"""What people of PyTorch and NumPy look for that is not here, and what to type instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Final

_PROCESSOR = "everything runs on the processor, so there is nothing to move or to synchronise"
_SORTED = "there is no op that sorts; outside a model np.{0}(t.numpy()) does it"
_LARGEST = "there is no op that sorts; outside a model np.sort(t.numpy())[..., :-k - 1:-1] does it"
_DATA = "the shape of the result would depend on the data; outside a model np.{0}(t.numpy()) does it"

TOP: Final[Mapping[str, str]] = {
    "cuda": _PROCESSOR,
    "mps": _PROCESSOR,
    "backends": _PROCESSOR,
    "jit": "lucid.compile(model) traces and compiles",
    "fx": "lucid.compile(model).traced is the graph, and graph.dag a networkx graph",
    "onnx": "ONNX import and export are not there yet",
    "save": "net.save(path) of a compiled model; np.savez(path, **model.state_dict()) for weights",
    "array": "lucid.tensor(data)",
    "asarray": "lucid.tensor(data), or lucid.from_numpy(array) to share memory",
    "as_tensor": "lucid.tensor(data), or lucid.from_numpy(array) to share memory",
    "FloatTensor": "lucid.tensor(data)",
    "LongTensor": "lucid.tensor(data)",
    "autograd": "t.backward(), lucid.grad(f) or lucid.value_and_grad(f)",
    "inference_mode": "with lucid.no_grad():",
    "float16": "float32 and float64 are the floating-point types",
    "bfloat16": "float32 and float64 are the floating-point types",
    "half": "float32 and float64 are the floating-point types",
    "complex64": "there are no complex numbers",
    "complex128": "there are no complex numbers",
    "vmap": "the ops take batches; lucid.compile of the function with the batch axis written out",
    "func": "lucid.grad(f) and lucid.value_and_grad(f)",
    "utils": "lucid.nn.utils; batches of data are NumPy arrays",
    "distributed": "one process runs a model, with as many threads as lucid.set_num_threads says",
    "seed": "lucid.manual_seed(n)",
    "random": "lucid.rand, lucid.randn, lucid.randint; lucid.manual_seed(n)",
    "linalg": "lucid.norm, lucid.matmul; outside a model np.linalg of t.numpy()",
    "special": "lucid.erf, lucid.logsumexp; outside a model scipy.special of t.numpy()",
    "vstack": "lucid.cat(tensors, 0)",
    "hstack": "lucid.cat(tensors, 1)",
    "addmm": "a @ b + c",
    "prod": "lucid.exp(lucid.log(t).sum()) for positive elements; outside a model np.prod(t.numpy())",
    **dict.fromkeys(("sort", "argsort", "median", "quantile", "searchsorted"), _SORTED),
    "topk": _LARGEST,
    **dict.fromkeys(("nonzero", "unique", "masked_select", "bincount"), _DATA),
}
"""Names of the top level (``lucid.name``)."""

TENSOR: Final[Mapping[str, str]] = {
    "copy": "t.clone()",
    "half": "float32 and float64 are the floating-point types",
    "bfloat16": "float32 and float64 are the floating-point types",
    "to_numpy": "t.numpy()",
    "device": 'everything is on "cpu"',
    "is_cuda": 'everything is on "cpu"',
    "grad_fn": "what made a tensor is not shown; t.is_leaf and t.requires_grad are",
    "register_hook": "module.register_forward_hook, or compute the gradient with lucid.grad",
    "retain_grad": "t.detach().requires_grad_() begins anew; lucid.grad gives gradients of any argument",
    "scatter": "t[index] = values outside a model; lucid.where or one-hot products within",
    "index_fill": "lucid.where, or t.masked_fill(mask, value)",
    "nbytes": "t.numpy().nbytes",
    "itemsize": "t.dtype.itemsize",
    "element_size": "t.dtype.itemsize",
    "strides": "t.numpy().strides",
    "stride": "t.numpy().strides",
    "data_ptr": "t.numpy().ctypes.data",
    "prod": "t.log().sum().exp() for positive elements; outside a model t.numpy().prod()",
    "addmm": "a @ b + c",
    "ptp": "t.amax() - t.amin()",
    **dict.fromkeys(("sort", "argsort", "median", "quantile"), _SORTED),
    "topk": _LARGEST,
    **dict.fromkeys(("nonzero", "unique", "masked_select", "bincount"), _DATA),
}
"""Names of tensors (``t.name``)."""

_TWO = "only images are convolved and pooled; a signal (N, C, L) is an image (N, C, 1, L): nn.{0}2d"

NN: Final[Mapping[str, str]] = {
    **{f"{kind}1d": _TWO.format(kind) for kind in ("Conv", "ConvTranspose", "MaxPool", "AvgPool", "AdaptiveAvgPool")},
    **{f"{kind}3d": "volumes are not there yet" for kind in ("Conv", "ConvTranspose", "MaxPool", "AvgPool")},
    "BatchNorm3d": "volumes are not there yet",
    **dict.fromkeys(("LSTM", "GRU", "RNN", "LSTMCell", "GRUCell"), "recurrent layers are not there yet"),
    **dict.fromkeys(("MultiheadAttention", "Transformer", "TransformerEncoderLayer"), "attention is not there yet"),
    "DataParallel": "one process runs a model, with as many threads as lucid.set_num_threads says",
    "Upsample": "t.repeat_interleave(2, 2).repeat_interleave(2, 3), or nn.ConvTranspose2d",
    "ZeroPad2d": "nn.functional.pad(x, (left, right, top, bottom))",
    "Hardswish": "x * nn.functional.relu6(x + 3) / 6",
    "Mish": "x * nn.functional.softplus(x).tanh()",
    "Softmax2d": "nn.Softmax(1)",
    "interpolate": "t.repeat_interleave(2, 2).repeat_interleave(2, 3), or nn.ConvTranspose2d",
    "relu_": "nn.functional.relu(x)",
    "scaled_dot_product_attention": "((q @ k.mT) / q.shape[-1] ** 0.5).softmax(-1) @ v",
}
"""Names of ``lucid.nn`` and ``lucid.nn.functional``."""


MODULE: Final[Mapping[str, str]] = {
    "half": "float32 and float64 are the floating-point types",
    "predict": "module(x); within lucid.no_grad() nothing is remembered for backward",
    "fit": "a loop: loss = ...; loss.backward(); optimizer.step()",
    "save": "lucid.compile(module).save(path), or np.savez(path, **module.state_dict())",
    "summary": "print(module)",
    "compile": "lucid.compile(module)",
    "device": 'everything is on "cpu"',
    "register_full_backward_hook": "lucid.grad gives gradients of any argument",
}
"""Names of modules (``module.name``)."""


def advice(where: str, name: str, table: Mapping[str, str], known: Iterable[str] = ()) -> str:
    """The text of an AttributeError: what to type instead, where that is known or something is alike."""
    text = f"{where} has no attribute {name!r}"
    if name in table:
        return f"{text}: {table[name].format(name)}"
    close = get_close_matches(name, list(known), 1, 0.75) if not name.startswith("_") else []
    return f"{text}; did you mean {close[0]!r}?" if close else text
