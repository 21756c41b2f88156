# ruff: noqa: E501 - a table of expressions
"""The first ten minutes of a person of PyTorch or NumPy: each expression works, eagerly and compiled, or says what to type.

``t`` is a float tensor (2, 3), ``x`` the same as an array, ``i`` an integer tensor.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor, nn
from lucid.nn import functional as F

X = np.linspace(0.1, 0.9, 6, dtype=np.float32).reshape(2, 3)
IMAGE = np.linspace(-1, 1, 32, dtype=np.float32).reshape(1, 2, 4, 4)

#: Expressions whose value is that of the NumPy expression beside them (None: only that it works).
BOTH: list[tuple[str, str | None]] = [
    ("t + x", "x + x"), ("x + t", "x + x"), ("t - 1", "x - 1"), ("1 - t", "1 - x"), ("2 * t", "2 * x"),
    ("t / 2", "x / 2"), ("1 / t", "1 / x"), ("t // 0.3", "x // np.float32(0.3)"), ("t % 0.3", "x % np.float32(0.3)"),
    ("divmod(t, 0.3)[0]", "x // np.float32(0.3)"), ("t ** 2", "x ** 2"), ("2 ** t", "2 ** x"), ("-t", "-x"),
    ("+t", "x"), ("abs(-t)", "x"), ("t @ t.T", "x @ x.T"), ("t @ x.T", "x @ x.T"), ("x @ t.T", "x @ x.T"),
    ("t == t", "x == x"), ("t != 0.5", "x != 0.5"), ("t > 0.5", "x > 0.5"), ("(t > 0.2) & (t < 0.7)", "(x > .2) & (x < .7)"),
    ("(t > 0.2) ^ (t < 0.7)", "(x > .2) ^ (x < .7)"), ("~(t > 0.5)", "~(x > 0.5)"),
    ("t.eq(t)", "x == x"), ("t.ne(t)", "x != x"), ("t.lt(0.5)", "x < .5"), ("t.le(0.5)", "x <= .5"),
    ("t.gt(0.5)", "x > .5"), ("t.ge(0.5)", "x >= .5"), ("lucid.eq(t, x)", "x == x"),
    ("t.sum()", "x.sum()"), ("t.sum(0)", "x.sum(0)"), ("t.sum(dim=1)", "x.sum(1)"), ("t.sum(axis=1)", "x.sum(1)"),
    ("t.sum(axis=1, keepdims=True)", "x.sum(1, keepdims=True)"), ("t.mean(axis=0)", "x.mean(0)"),
    ("t.max()", "x.max()"), ("t.max(dim=1).values", "x.max(1)"), ("t.max(1)[1]", "x.argmax(1)"),
    ("t.argmax(axis=1)", "x.argmax(1)"), ("t.std(axis=0, ddof=0)", "x.std(0)"), ("t.var(0, correction=0)", "x.var(0)"),
    ("t.any()", "x.any()"), ("t.norm('fro')", "np.linalg.norm(x)"), ("lucid.norm(t, p='fro', dim=1)", "np.linalg.norm(x, axis=1)"), ("(t > 0.5).all(axis=0)", "(x > .5).all(0)"), ("t.norm()", "np.linalg.norm(x)"),
    ("t.cumsum(axis=1)", "x.cumsum(1)"), ("t.reshape(3, 2)", "x.reshape(3, 2)"), ("t.reshape((3, 2))", "x.reshape(3, 2)"),
    ("t.view(-1)", "x.reshape(-1)"), ("t.ravel()", "x.ravel()"), ("t.flatten()", "x.ravel()"), ("t.T", "x.T"),
    ("t.mT", "x.T"), ("t.t()", "x.T"), ("t.transpose(0, 1)", "x.T"), ("t.permute(1, 0)", "x.T"),
    ("t.swapaxes(0, 1)", "x.T"), ("t.unsqueeze(0)", "x[None]"), ("t.squeeze()", "x"), ("t[0]", "x[0]"),
    ("t[:, 1]", "x[:, 1]"), ("t[..., None]", "x[..., None]"), ("t[[0, 1], [1, 2]]", "x[[0, 1], [1, 2]]"),
    ("t.clamp(0.2, 0.5)", "x.clip(.2, .5)"), ("t.clip(min=0.2)", "x.clip(.2)"), ("t.clamp(max=0.5)", "x.clip(None, .5)"),
    ("t.exp()", "np.exp(x)"), ("t.log().sqrt().isnan()", "np.ones_like(x, bool)"), ("t.square()", "x * x"),
    ("t.rsqrt()", "1 / np.sqrt(x)"), ("t.reciprocal()", "1 / x"), ("t.log10()", "np.log10(x)"), ("t.round()", "x.round()"),
    ("t.round(decimals=1)", "x.round(1)"), ("t.float()", "x"), ("t.double()", "x.astype(float)"), ("t.long()", "x.astype(int)"),
    ("t.int()", "x.astype('int32')"), ("t.bool()", "x.astype(bool)"), ("t.to('float64')", "x.astype(float)"),
    ("t.to(lucid.float64)", "x.astype(float)"), ("t.to('cpu')", "x"), ("t.to('cpu', lucid.float32)", "x"),
    ("t.to(device='cpu')", "x"), ("t.astype('float64')", "x.astype(float)"), ("t.cpu()", "x"), ("t.type_as(t)", "x"),
    ("t.contiguous()", "x"), ("t.clone()", "x"), ("t.detach()", "x"), ("t.expand(2, 2, 3)", "np.stack([x, x])"),
    ("t.repeat(2, 1)", "np.tile(x, (2, 1))"), ("t.softmax(-1).sum(-1)", "np.ones(2, 'f4')"), ("t.softmax(axis=1)", None),
    ("lucid.exp(x)", "np.exp(x)"), ("lucid.relu([-1.0, 2.0])", "np.array([0, 2.0])"), ("lucid.cat([t, t])", "np.concatenate([x, x])"),
    ("lucid.cat((t, x), axis=1)", "np.concatenate([x, x], 1)"), ("lucid.stack([t, x])", "np.stack([x, x])"),
    ("lucid.where(t > 0.5, t, 0.0)", "np.where(x > .5, x, 0)"), ("lucid.where(x > 0.5, t, x)", "x"),
    ("lucid.max(t, x)", "x"), ("lucid.mm(t, t.T)", "x @ x.T"), ("lucid.einsum('ij,kj->ik', t, x)", "x @ x.T"),
    ("lucid.zeros(2, 3)", "np.zeros((2, 3))"), ("lucid.zeros((2, 3), device='cpu')", "np.zeros((2, 3))"),
    ("lucid.ones(2, dtype=lucid.int64)", "np.ones(2, int)"), ("lucid.full((2,), 7.0)", "np.full(2, 7.0)"),
    ("lucid.arange(3)", "np.arange(3)"), ("lucid.linspace(0, 1, 3)", "np.linspace(0, 1, 3)"), ("lucid.eye(2)", "np.eye(2)"),
    ("lucid.zeros_like(t)", "x * 0"), ("lucid.ones_like(t, dtype='int64')", "np.ones((2, 3), int)"),
    ("np.exp(t)", "np.exp(x)"), ("np.mean(t)", "x.mean()"), ("np.sum(t, axis=0)", "x.sum(0)"), ("np.std(t)", "x.std()"),
    ("np.mean(t > 0.5)", "(x > .5).mean()"), ("np.mean(t.long(), axis=0)", "x.astype(int).mean(0)"), ("np.std(t > 0.5)", "(x > .5).std()"), ("np.outer(t, t)", "np.outer(x, x)"),
    ("np.maximum(t, 0.5)", "np.maximum(x, .5)"), ("np.add(x, t)", "x + x"), ("np.concatenate([t, t])", "np.concatenate([x, x])"),
    ("np.where(x > 0.5, t, 0)", "np.where(x > .5, x, 0)"), ("np.clip(t, 0.2, 0.5)", "x.clip(.2, .5)"),
    ("np.reshape(t, (3, 2))", "x.reshape(3, 2)"), ("np.transpose(t)", "x.T"), ("np.matmul(t, x.T)", "x @ x.T"),
    ("np.dot(t, x.T)", "x @ x.T"), ("np.sqrt(t)", "np.sqrt(x)"), ("np.tanh(t)", "np.tanh(x)"), ("np.linalg.norm(t)", "np.linalg.norm(x)"),
    ("np.expand_dims(t, 0)", "x[None]"), ("np.stack([t, t], axis=1)", "np.stack([x, x], 1)"), ("np.argmax(t, axis=1)", "x.argmax(1)"),
    ("np.pad(t, 1)", "np.pad(x, 1)"), ("np.add.reduce(t)", "x.sum(0)"), ("np.zeros_like(t)", "x * 0"), ("np.float32(2) * t", "2 * x"),
    ("F.relu(x)", "x"), ("F.relu(t, inplace=True)", "x"), ("F.dropout(t, 0.5, False, True)", "x"), ("F.softmax(x, dim=1)", None),
    ("F.linear(x, np.ones((2, 3), 'f4'))", "x @ np.ones((3, 2))"), ("F.cross_entropy(t, [0, 2])", None),
    ("F.cross_entropy(t, np.array([0, 2]))", None), ("F.mse_loss(t, x)", "np.float32(0)"), ("F.mse_loss(t, x.tolist())", "np.float32(0)"),
    ("nn.CrossEntropyLoss()(t, [0, 2])", None), ("nn.ReLU(inplace=True)(t)", "x"), ("nn.Identity(3, a=2)(t)", "x"),
    ("nn.Dropout(0.5, inplace=True).eval()(t)", "x"), ("nn.LeakyReLU(0.1, True)(t)", "x"),
    ("t.unbind()[1]", "x[1]"), ("lucid.unbind(t, dim=1)[2]", "x[:, 2]"), ("t.tril()", "np.tril(x)"), ("t.triu(1)", "np.triu(x, 1)"),
    ("lucid.tril(t, diagonal=-1)", "np.tril(x, -1)"), ("lucid.triu(x)", "np.triu(x)"), ("(t > 0.5).tril()", "np.tril(x > .5)"),
    ("lucid.vstack([t, t[0]])", "np.vstack([x, x[0]])"), ("lucid.hstack((t, x))", "np.hstack([x, x])"), ("lucid.hstack([t[0], t[1]])", "np.hstack(x)"),
    ("t.isclose(x * 1.000001)", "np.isclose(x, x * np.float32(1.000001))"), ("lucid.isclose([1.0, np.nan, np.inf], [1.1, np.nan, np.inf], equal_nan=True)", "np.array([False, True, True])"),
    ("t.count_nonzero(0)", "np.count_nonzero(x, 0)"), ("lucid.count_nonzero(t > 0.5)", "np.count_nonzero(x > .5)"), ("lucid.clone(t)", "x"), ("lucid.detach(t)", "x"),
    ("t.std(unbiased=False)", "x.std()"), ("t.var(0, unbiased=True)", "x.var(0, ddof=1)"), ("t.var(0, False)", "x.var(0)"),
    ("t.add(t, alpha=2)", "x + 2 * x"), ("lucid.sub(t, 1, alpha=0.5)", "x - .5"), ("t.clone().add_(t, alpha=-0.1)", "x - np.float32(.1) * x"),
    ("t.div(0.3, rounding_mode='floor')", "x // np.float32(.3)"), ("lucid.div(t, -0.3, rounding_mode='trunc')", "np.trunc(x / np.float32(-.3))"),
    ("lucid.div([1.0, -1.0, 0.0, np.inf], [0.0, 0.0, 0.0, 2.0], rounding_mode='trunc')", "np.array([np.inf, -np.inf, np.nan, np.inf])"),
    ("lucid.div([7, -7], 2, rounding_mode='trunc')", "np.array([3, -3])"), ("lucid.flip(t, dims=[0])", "x[::-1]"), ("t.flip(dims=(0, 1))", "x[::-1, ::-1]"),
    ("t.flip(axis=1)", "x[:, ::-1]"), ("t.permute(dims=(1, 0))", "x.T"), ("lucid.permute(t, dims=(1, 0))", "x.T"), ("t.reshape(shape=(3, 2))", "x.reshape(3, 2)"),
    ("t.expand(size=(2, 2, 3))", "np.stack([x, x])"), ("t.repeat(repeats=(2, 1))", "np.tile(x, (2, 1))"), ("lucid.tile(t, dims=(2, 1))", "np.tile(x, (2, 1))"),
    ("lucid.empty_like(t) * 0", "x * 0"), ("t.topk(2).values", "np.sort(x)[:, :0:-1]"), ("lucid.topk(t, 1, dim=0, largest=False)[1]", "x[:1] * 0"),
    ("t.sort(descending=True).values", "np.sort(x)[:, ::-1]"), ("lucid.sort(t, dim=0)[0]", "np.sort(x, 0)"), ("t.argsort(axis=1)", "np.argsort(x)"),
    ("t.median()", "np.sort(x, None)[2]"), ("t.median(dim=1, keepdim=True).values", "np.median(x, 1, keepdims=True)"),
    ("t.cumprod(1)", "np.cumprod(x, 1)"), ("lucid.diag(t[0])", "np.diag(x[0])"), ("lucid.diag(t, diagonal=1)", "np.diag(x, 1)"),
    ("lucid.meshgrid(t[0], t[:, 0], indexing='xy')[1]", "np.meshgrid(x[0], x[:, 0])[1]"), ("lucid.addmm(t, t, np.ones((3, 3), 'f4'), alpha=2)", "x + 2 * x @ np.ones((3, 3), 'f4')"),
    ("lucid.lerp(t, 2 * t, 0.25)", "x * 1.25"), ("lucid.atan2(t, -t)", "np.arctan2(x, -x)"), ("t.trunc()", "np.trunc(x)"), ("t.atan()", "np.arctan(x)"),
    ("lucid.cdist(t, t)", "np.linalg.norm(x[:, None] - x[None], axis=-1)"), ("t.scatter(1, [[0], [2]], 7.0)", "np.where([[1, 0, 0], [0, 0, 1]], 7, x)"),
    ("t.index_add(1, [0, 0], np.ones((2, 2), 'f4'))", "x + np.array([2, 0, 0], 'f4')"), ("lucid.as_tensor(t)", "x"), ("lucid.as_tensor(x) + t", "x + x"),
    ("t.clone().scatter_add_(0, [[1, 0, 1]], np.ones((1, 3), 'f4'))", "x + np.array([[0, 1, 0], [1, 0, 1]], 'f4')"),
]  # fmt: skip

#: What makes sense eagerly only.
EAGER = [
    "f'{t.mean():.3f}'", "f'{t}'", "len(t)", "list(t)", "[row for row in t]", "0.1 in t", "float(t.sum())", "int(t.sum())",
    "bool(t.sum() > 0)", "t.tolist()", "t.sum().item()", "t.numpy()", "np.asarray(t)", "np.array(t)", "t.shape", "t.size()",
    "t.size(0)", "t.ndim", "t.dim()", "t.numel()", "t.dtype == lucid.float32", "t.is_floating_point()", "repr(t)",
    "lucid.tensor([1, 2])", "lucid.tensor(x, device='cpu')", "lucid.from_numpy(x.copy())", "lucid.is_tensor(t)",
    "lucid.equal(t, x)", "lucid.allclose(t, x)", "np.allclose(t, x)", "np.arctan(t)", "np.median(t)", "np.unique(t)", "np.where(t > 0.5)[0]",
    "nn.Linear(3, 2, device='cpu', dtype=lucid.float32)", "nn.Linear(3, 2).to('cpu')", "nn.Linear(3, 2).cpu()",
    "nn.Conv2d(2, 2, 3, padding=1, padding_mode='reflect')", "lucid.device('cpu')", "t.requires_grad_()", "t.data", "t.grad",
    "lucid.is_floating_point(t)", "lucid.finfo(lucid.float32).eps", "lucid.iinfo(t.long().dtype).max", "lucid.inf + lucid.pi", "t[lucid.newaxis]",
    "nn.Linear(3, 2).zero_grad(set_to_none=True)", "list(nn.Linear(3, 2).parameters(recurse=False))", "nn.Linear(3, 2).get_parameter('weight')",
    "nn.BatchNorm1d(3).get_buffer('running_mean')", "nn.Linear(3, 2).load_state_dict({}, strict=False).missing_keys",
    "nn.Sequential(nn.ReLU()) + nn.Sequential(nn.ReLU())", "lucid.optim.SGD(nn.Linear(3, 2).named_parameters(), lr=0.1)",
    "t.requires_grad_().sum().backward(retain_graph=True)", "lucid.no_grad(lambda x: x * 2)(t)",
    "lucid.set_grad_enabled(True)", "lucid.autograd.grad((t.requires_grad_() * x).sum(), t)[0]", "t.device", "t.nonzero()", "lucid.unique(t)", "t.masked_select(t > 0.5)", "lucid.bincount([1, 1, 3])",
    "lucid.inference_mode()", "lucid.inference_mode(lambda x: x * 2)(t)", "lucid.enable_grad()", "lucid.no_grad()", "lucid.manual_seed(0)", "t == None", "t is None",
]  # fmt: skip

#: What is not here, and a word of what to type instead.
ABSENT = [
    ("lucid.cuda.is_available()", "processor"), ("lucid.jit", r"lucid\.compile"), ("lucid.array", r"lucid\.tensor"),
    ("lucid.float16", "float32"), ("lucid.save", "save"),
    ("lucid.relus", "'relu'"), ("t.cuda()", "processor"), ("t.to('cuda')", "processor"), ("t.half()", "float32"),
    ("t.copy()", r"t\.clone"),
    ("t.strides", r"t\.numpy"), ("nn.LSTM(3, 4, proj_size=4)", "less than"), ("nn.Linea", "'Linear'"),
    ("nn.Linear(3, 2).cuda()", "processor"), ("nn.Linear(3, 2, device='cuda')", "processor"), ("nn.Linear(3, 2).half()", "float32"),
    ("lucid.zeros(2, device='cuda:0')", "processor"), ("F.upsample", "interpolate"),
    ("t.type(lucid.float64)", r"t\.to\(dtype\)"),
    ("lucid.spacing(t)", r"np\.spacing"), ("t.tobytes()", r"t\.numpy\(\)\.tobytes"), ("t.fill(1)", r"t\.fill_"),
    ("np.fill_diagonal(t, 0)", r"np\.array\(t\)"), ("np.arctan(x, out=t)", r"np\.array\(t\)"), ("np.full_like(t, 1j)", "fill_value"), ("t.isclose(t).mean()", r"t\.float\(\)\.mean"), ("lucid.linalg.eig(t)", r"np\.linalg\.eig"), ("t.trunc_normal_()", r"nn\.init\.trunc_normal_"),
    ("lucid.relu_(t)", "relu"), ("t.maen()", "'mean'"), ("lucid.special.gammainc(t, t)", r"scipy\.special"), ("lucid.conv2d", r"functional\.conv2d"), ("lucid.Size", "tuple"),
    ("lucid.optim.SparseAdam", "Adam"), ("nn.utils.prune", "mask"),
    ("nn.init.xavier_normal", "xavier_normal_"), ("lucid.models.resnet19", "'resnet18'"), ("lucid.passes.defaults", "'default'"),
    ("lucid.optim.SGD(nn.Linear(3, 2), lr=0.1)", r"\.parameters\(\)"), ("lucid.optim.SGD(3, lr=0.1)", "iterable"), ("lucid.no_grad(3)", "function"),
    ("nn.Linear(3, 2).get_parameter('weights')", "parameter"), ("t.div(2, rounding_mode='up')", "'trunc'"),
    ("lucid.tril(t[0])", "matrices"),
    ("lucid.compile(nn.Linear(3, 2), t)", "at the first call"), ("lucid.compile(nn.Linear(3, 2), x)", "at the first call"), ("lucid.compile(nn.Linear(3, 2), mode='max')", "'mode' is no option .*exact"),
    ("lucid.compile(nn.Linear(3, 2), lucid.spec(2, 3))(t, t)", "1 positional input, the call has 2"), ("F.cross_entropy(t, [0, 3])", "classes that are not among the 3"),
    ("t.masked_fill(t, 0.0)", "masked_fill: the mask must be bool.*mask != 0"), ("t.norm('nuc')", "norm: p is a number"),
    ("lucid.grad(lambda v: v * v)(3.0)", r"lucid\.tensor"), ("lucid.grad(lambda v: v * v)(np.float32(3))", r"lucid\.tensor"),
    ("lucid.compile(nn.Linear(3, 2), lucid.spec(2, 3)).graph.inputs_of('no')", "'no'"),
    ("np.spacing(t.requires_grad_())", "detach"), ("nn.Linear(3, 2).predict", "module"),
]  # fmt: skip


def _value(expression: str, t: Any, x: np.ndarray[Any, Any]) -> Any:
    return eval(expression, {"lucid": lucid, "nn": nn, "F": F, "np": np, "t": t, "x": x})


@pytest.mark.parametrize(("ours", "theirs"), BOTH, ids=[ours for ours, _ in BOTH])
def test_it_works_eagerly_and_compiled(ours: str, theirs: str | None) -> None:
    eager = _value(ours, Tensor(X), X)
    assert type(eager) is Tensor
    if theirs is not None:
        np.testing.assert_allclose(eager.numpy(), _value(theirs, None, X), rtol=2e-6, atol=1e-7)
    compiled = lucid.compile(lambda t: _value(ours, t, X))(X)
    assert compiled.dtype == eager.dtype
    np.testing.assert_allclose(compiled.numpy(), eager.numpy(), rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("expression", EAGER)
def test_it_works_eagerly(expression: str) -> None:
    _value(expression, Tensor(X), X)


@pytest.mark.parametrize(("expression", "words"), ABSENT)
def test_it_says_what_to_type_instead(expression: str, words: str) -> None:
    with pytest.raises((AttributeError, lucid.LucidError), match=words):
        _value(expression, Tensor(X), X)


PYTORCHS = {
    "nn": "SyncBatchNorm",
    "F": "upsample",
    "lucid": "cuda backends jit FloatTensor Size set_default_dtype set_printoptions "
    "conj autocast dropout softplus save fft "
    "from_onnx InferenceSession jnp vjp hessian tree_map Module Linear Sequential conv2d Variable layers",
    "t": "is_cuda grad_fn trunc_normal_ data_ptr storage "
    "half resize_",
    "lucid.optim": "SparseAdam",
    "lucid.compile(nn.Linear(3, 2))": "to_onnx export_python run predict summary fit",
    "lucid.autograd": "once_differentiable Variable functional backward detect_anomaly no_grad",
    "nn.utils": "prune data", "nn.Linear(3, 2)": "half compile fit register_backward_hook device",
}  # fmt: skip


@pytest.mark.parametrize("owner", PYTORCHS)
def test_pytorchs_names_that_are_not_here_say_what_to_type(owner: str) -> None:
    for name in PYTORCHS[owner].split():
        with pytest.raises(AttributeError, match=f"'{name}': ."):
            _value(f"{owner}.{name}", Tensor(X), X)


def test_a_parameter_is_updated_by_the_operators_too() -> None:
    w = Tensor([1.0, 2.0], requires_grad=True)
    same = w
    for _ in range(2):
        (w * w).sum().backward()
        with lucid.no_grad():
            w -= 0.1 * w.grad  # type: ignore[operator]
            w *= 2
        w.grad.zero_()  # type: ignore[union-attr]
    assert w is same and w.requires_grad
    np.testing.assert_allclose(w.numpy(), np.array([1.0, 2.0]) * 1.6**2, rtol=1e-6)
    with pytest.raises(lucid.LucidError, match="no_grad"):
        w += 1


class Forgetful(nn.Module):
    def __init__(self) -> None:
        pass

    def forward(self, x: Any) -> Any:
        return x


@pytest.mark.parametrize(
    "use",
    [repr, lambda m: m(Tensor(X)), lambda m: list(m.parameters()), lambda m: m.state_dict(), lambda m: m.train(),
     lambda m: lucid.compile(m)(X), lambda m: m.register_forward_hook(print), lambda m: nn.Sequential(m)(Tensor(X))],
)  # fmt: skip
def test_a_module_that_was_not_initialised_says_so(use: Any) -> None:
    with pytest.raises(lucid.LucidError, match=r"Forgetful: .*super\(\).__init__\(\)"):
        use(Forgetful())


def test_a_plain_sgd_step_over_the_parameters() -> None:
    model = nn.Linear(3, 2)
    before = model.weight.numpy().copy()
    model(X).sum().backward()
    with lucid.no_grad():
        for p in model.parameters():
            p -= 0.1 * p.grad  # type: ignore[operator]
    np.testing.assert_allclose(model.weight.numpy(), before - 0.1 * X.sum(0), rtol=1e-5)


def _undocumented(owner: str, thing: Any) -> list[str]:
    """Public names, also those of a class, that have no docstring of their own."""
    names = []
    for name in filter(lambda name: not name.startswith("_"), dir(thing)):
        value = getattr(thing, name)
        if inspect.ismodule(value) or not callable(value):
            continue
        inside = vars(value) if inspect.isclass(value) and value.__module__.startswith("lucid") else {}
        members = {member: getattr(value, member) for member, found in inside.items() if _shown(member, found)}
        names += [f"{owner}.{name}.{member}" for member, found in members.items() if not inspect.getdoc(found)]
        names += [] if inspect.getdoc(value) else [f"{owner}.{name}"]
    return names


def _shown(name: str, value: object) -> bool:
    return not name.startswith("_") and (callable(value) or isinstance(value, property | classmethod | staticmethod))


def test_every_public_name_is_documented() -> None:
    optim, graph = lucid.optim, lucid.compile(nn.Linear(2, 2), lucid.spec(1, 2)).graph
    modules = (
        lucid,
        nn,
        F,
        nn.init,
        nn.utils,
        optim,
        optim.lr_scheduler,
        optim.swa_utils,
        lucid.autograd,
        lucid.linalg,
        lucid.special,
        lucid.passes,
        lucid.models,
    )
    assert [name for module in modules for name in _undocumented(module.__name__, module)] == []
    assert _undocumented("Tensor", Tensor(X)) + _undocumented("Graph", graph) == []
    assert [name for cls in (type(graph), lucid.CompiledModel) for name, value in vars(cls).items()
            if _shown(name, value) and not inspect.getdoc(value)] == []  # fmt: skip
    assert [name for name in dir(Tensor) if name[0] != "_" and not inspect.getdoc(getattr(Tensor, name))] == []


def test_gradients_flow_through_numpys_functions() -> None:
    t = Tensor(X, requires_grad=True)
    np.mean(np.exp(t) * X).backward()
    assert t.grad is not None
    np.testing.assert_allclose(t.grad.numpy(), np.exp(X) * X / 6, rtol=1e-5)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", [1, (2, 0), "same", "valid"])
def test_padding_modes(mode: str, padding: Any) -> None:
    lucid.manual_seed(0)
    conv = nn.Conv2d(2, 3, 3, padding=padding, padding_mode=mode)
    amount = {"same": (1, 1), "valid": (0, 0), 1: (1, 1)}.get(padding, padding)
    how = {"zeros": "constant", "replicate": "edge", "circular": "wrap"}.get(mode, mode)
    padded = np.pad(IMAGE, [(0, 0), (0, 0), *((a, a) for a in amount)], how)  # type: ignore[call-overload]
    wanted = F.conv2d(padded, conv.weight, conv.bias).detach().numpy()
    for call in (conv, lucid.compile(conv)):
        with lucid.no_grad():
            np.testing.assert_allclose(call(IMAGE).numpy(), wanted, rtol=1e-4, atol=1e-5)


def test_completion_shows_public_names_only() -> None:
    optim = lucid.optim
    modules = (
        lucid,
        nn,
        F,
        nn.init,
        nn.utils,
        optim,
        optim.lr_scheduler,
        optim.swa_utils,
        lucid.autograd,
        lucid.linalg,
        lucid.special,
        lucid.passes,
        lucid.models,
    )
    for thing in (*modules, Tensor(X), nn.Linear(3, 2)):
        names = [name for name in dir(thing) if not name.startswith("__")]
        assert names
        assert not [name for name in names if name.startswith("_")]
        assert not {"Any", "annotations", "np", "TYPE_CHECKING", "import_module"} & set(names)
        for name in names:
            getattr(thing, name)
