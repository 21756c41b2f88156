"""What has a name in PyTorch and is composed of ops here: values, element types and gradients, eagerly and compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import lucid
from lucid import Tensor
from lucid.errors import OptionError

from ..op_checks import assert_close
from .rare_rows import RARE

#: ``m`` is the module; ``a`` is (3, 4, 5), ``b`` (4, 5), ``i`` integers of that shape, ``z`` the numbers of ``FAR``.
ROWS = {
    "hypot": "m.hypot(a, b)",
    "hypot far": "m.hypot(z[:, None], z)",
    "hypot integers": "m.hypot(i.float(), b)",
    "erfc": "m.erfc(a), m.erfc(a * 3 + 1), m.erfc(z), m.erfc(i)",
    "erfinv": "m.erfinv(m.tanh(a)), m.erfinv(z), m.erfinv(1 - m.exp(-5 * b.abs())), a.sigmoid().erfinv()",
    "lgamma": "m.lgamma(a), m.lgamma(a.abs()), m.lgamma(z), m.lgamma(i), m.lgamma(100 * b), (1 + b / 1000).lgamma()",
    "digamma": (
        "m.digamma(a.abs().detach() + 0.1), m.digamma(z.detach()), m.digamma(i), m.digamma(-0.6 - a.detach().sigmoid() "
        "/ 3)"
    ),
    "polygamma": "m.polygamma(2, a.abs() + 0.1), (a.abs() + 1).polygamma(3), m.polygamma(0, i.float().detach())",
    "logaddexp": "m.logaddexp(a, b), m.logaddexp(z[:, None], z), m.logaddexp(b, b)",
    "logaddexp2": "m.logaddexp2(a, b), m.logaddexp2(z[:, None], z)",
    "xlogy": "m.xlogy(a, b.abs()), m.xlogy(i, b.abs()), m.xlogy(i, 2.0), m.xlogy(2, b.abs())",
    "xlogy far": "m.xlogy(z[:, None].detach(), z.detach())",
    "sinc": "m.sinc(a), m.sinc(i), m.sinc(b * 0)",
    "exp2": "m.exp2(a), m.exp2(i), m.exp2(z)",
    "frac": "m.frac(a * 3), m.frac(z)",
    "fmod": "m.fmod(a * 5, b), m.fmod(a, 0.3), m.fmod(i - 2, 3), m.fmod(i - 2, -3), a.fmod(-0.7)",
    "fmod far": "m.fmod(z[:, None].detach(), z.detach())",
    "heaviside": "m.heaviside(z.detach(), m.ones_like(z.detach()) * 0.5)",
    "nan_to_num": "m.nan_to_num(z), z.nan_to_num(1.0, 2.0, -3.0), m.nan_to_num(i), z.nan_to_num(posinf=7)",
    "logit": "m.logit(a.sigmoid()), m.logit(z, 0.1), m.logit(z, eps=1e-06), m.logit(m.clip(b, 0, 1))",
    "signbit": "m.signbit(a), m.signbit(z), m.signbit(i - 2), m.signbit(i > 1)",
    "copysign": "m.copysign(a, b), m.copysign(a, -0.0), m.copysign(i - 2, -1)",
    "copysign far": "m.copysign(z[:, None], z)",
    "sgn": "m.sgn(z.detach()), m.sign(i > 1), m.sgn(i > 9)",
    "square": "m.square(i > 1), i.square(), m.square(a)",
    "float_power": "m.float_power(a.abs(), 2), m.float_power(i, -1.5), a.abs().float_power(b)",
    "degrees": "m.deg2rad(a), m.rad2deg(a), m.rad2deg(i), b.deg2rad()",
    "arc": "m.arcsin(m.tanh(a)), m.arctan(a), m.arctan2(a, b), m.arcsinh(a), m.fix(a * 3)",
    "hyperbolic": "m.sinh(a), m.cosh(a), m.arccosh(a.abs() + 1.1), m.arctanh(m.tanh(a))",
    "var_mean": "*m.var_mean(a, 1), *m.var_mean(a), *m.var_mean(a, dim=(0, 2), correction=0, keepdim=True)",
    "std_mean": "*m.std_mean(a, dim=1), *m.std_mean(a, dim=-1, unbiased=False), a.std(False), *m.var_mean(b, True)",
    "aminmax": "*m.aminmax(a), m.aminmax(a, dim=1).min, a.aminmax(dim=-1, keepdim=True).max, *m.aminmax(i)",
    "nansum": "m.nansum(z), z.nansum(0), m.nansum(a, (0, 1), keepdim=True), m.nansum(i, 1)",
    "nanmean": "m.nanmean(m.where(a > 1, m.nan, a), 1), m.nanmean(a), a.nanmean((0, 2), True)",
    "quantile": "m.quantile(a, 0.3), m.quantile(a, 0.5, dim=1), m.quantile(a, 1.0, dim=-1, keepdim=True)",
    "quantiles": (
        "m.quantile(a, m.linspace(0, 1, 4, dtype=a.dtype), dim=1), m.quantile(a, m.tensor([0.25, 0.8], "
        "dtype=a.dtype)), a.quantile(m.tensor([0.1, 0.9], dtype=a.dtype), 0, True), m.quantile(z, 0.5), "
        "m.nanquantile(z[2:], 0.4), *(m.quantile(a, 0.4, 1, interpolation=how) for how in ('lower', 'higher', "
        "'nearest', 'midpoint')), m.nanquantile(m.where(a > 1, m.nan, a), 0.6, dim=0), m.nanquantile(m.where(a < 9, "
        "m.nan, a), 0.6, dim=0)"
    ),
    "cov": "m.cov(b), m.cov(b[:1]), m.corrcoef(b[:1]), m.cov(b[0]), m.cov(b, correction=0), m.cov(i), b.cov()",
    "cov weights": (
        "m.cov(b, fweights=i[0]), m.cov(b, aweights=b[1].abs()), m.cov(b, correction=2, fweights=i[0] + 1, "
        "aweights=b[0].abs())"
    ),
    "corrcoef": "m.corrcoef(b), b[0].corrcoef(), m.corrcoef(i + 0.0)",
    "cummax": "*m.cummax(a, 1), *m.cummax(i, 0), *a.cummax(dim=-1), *m.cummax(z, 0), *m.cummax(i > 1, 1)",
    "cummin": "*m.cummin(a, 1), *m.cummin(i, 0), m.cummin(a, -1).values, *m.cummin(z, 0), *m.cummin(a[0, 0, 0], 0)",
    "logcumsumexp": "m.logcumsumexp(a, 1), a.logcumsumexp(-1), m.logcumsumexp(z.detach(), 0)",
    "cumprod": "m.cumprod(a, 1), m.cumprod(i, 0)",
    "unfold": "a.unfold(2, 3, 2), a.unfold(0, 2, 1), a.unfold(-2, 4, 1), b[0, 0].unfold(0, 1, 1), i.unfold(1, 2, 3)",
    "select": "m.select(a, 1, -1), a.select(2, 0), i.select(0, 1)",
    "diagonal": "m.diagonal(a), a.diagonal(1, 1, 2), m.diagonal(a, -2, 2, 0), b.diagonal(offset=9), m.diagonal(i)",
    "diag_embed": "m.diag_embed(b), m.diag_embed(b, 1), b.diag_embed(-2, 0, 2), m.diag_embed(i[0])",
    "diag": "m.diag(b), m.diag(b, -1), m.diag(b[0], 2), b.diag(4)",
    "trace": "m.trace(b), i.trace()",
    "block_diag": (
        "m.block_diag(b, a[0], b[0]), m.block_diag(i, i[:1]), m.block_diag(b[0, 0], b), "
        "m.block_diag(i.int(), i[0, 0])"
    ),
    "cartesian_prod": "m.cartesian_prod(b[0], b[1]), m.cartesian_prod(i[0], i[1], i[2]), m.cartesian_prod(b[2])",
    "diff": (
        "m.diff(a), m.diff(a, 2, 1), a.diff(dim=0, prepend=a[:1], append=a), m.diff(i > 1), m.diff(i, n=9), m.diff(b, "
        "0)"
    ),
    "trapezoid": (
        "m.trapezoid(a), m.trapezoid(a, dx=0.5, dim=1), m.trapezoid(a, b), m.trapezoid(a, x=b[0]), m.trapezoid(a, "
        "b[:, 0], dim=1), m.trapz(i)"
    ),
    "tensor_split": (
        "*m.tensor_split(a, 3, 2), *a.tensor_split((1, 3), dim=1), *m.tensor_split(b, 7, -1), *b.tensor_split([3, 1, "
        "9, -1])"
    ),
    "hsplit": (
        "*m.hsplit(a, 2), *b.hsplit([1, 3]), *m.hsplit(b[0], 5), *m.vsplit(a, 3), *b.vsplit((2,)), *m.dsplit(a, [1])"
    ),
    "rot90": "m.rot90(a), m.rot90(a, 1, (1, 2)), a.rot90(-1, [0, 2]), m.rot90(b, 2), b.rot90(4), m.rot90(i, 3)",
    "broadcast_tensors": "*m.broadcast_tensors(a, b, b[0])",
    "isin": (
        "m.isin(i, m.tensor([1, 2])), m.isin(z, z.detach()), m.isin(i, m.tensor([3]), invert=True), m.isin(i, i[:0])"
    ),
    "take": "m.take(b, i), b.take(m.tensor([[-1, 0]])), m.take(a, i * 3)",
    "searchsorted": (
        "m.searchsorted(m.sort(b[0])[0], b), m.searchsorted(m.sort(b)[0], b.detach()), m.searchsorted(m.arange(4), i, "
        "right=True), m.searchsorted(m.arange(4), i, side='left', out_int32=True), m.searchsorted(b[1], z, "
        "sorter=m.argsort(b[1])), m.searchsorted(m.zeros(0), b.float())"
    ),
    "bucketize": (
        "m.bucketize(a, m.tensor([-1.0, 0.0, 1.0], dtype=a.dtype)), m.bucketize(i, m.tensor([0, 2]), right=True)"
    ),
    "inner": "m.inner(a, b), m.inner(b[0], b[1]), m.inner(a, b[0, 0]), i.inner(i)",
    "vdot": "m.vdot(b[0], b[1]), i[0].vdot(i[1])",
    "tensordot": (
        "m.tensordot(a, b, dims=([1, 2], [0, 1])), m.tensordot(a, b), m.tensordot(b, a, ([0], [1])), m.tensordot(b, "
        "b, 0), m.tensordot(i, i, ([1], [1]))"
    ),
    "kron": "m.kron(b, b), m.kron(a, b[0]), m.kron(i, i), b[0].kron(a)",
    "dist": "m.dist(a, b), m.dist(a, b, 1), m.dist(b, b), a.dist(b, p=3), m.dist(a, b, float('inf'))",
    "cross": "m.cross(b[:, :3], b[:, 1:4], dim=1), m.cross(a, a * 2 + 1, dim=0), b[:, :3].cross(b[:1, :3], -1)",
    "norms": (
        "m.linalg.norm(a), m.linalg.norm(b, 1), m.linalg.norm(b, 'fro'), m.linalg.norm(a, dim=(1, 2)), "
        "m.linalg.norm(a, float('-inf'), (0, 2)), m.linalg.norm(a, 3, 1), "
        "m.linalg.norm(b, float('inf'), keepdim=True), "
        "m.linalg.vector_norm(a, -1.5, dim=1), m.linalg.vector_norm(a.detach(), 0, (0, 2)), "
        "m.linalg.vector_norm(b * 0, 2), "
        "m.linalg.vector_norm(b, float('-inf')), m.linalg.matrix_norm(a, 1), "
        "m.linalg.matrix_norm(a, -1, (2, 0), True), m.linalg.matrix_norm(a), m.linalg.norm(b, 2), "
        "m.linalg.matrix_norm(a, -2, (2, 0), True), m.linalg.matrix_norm(a, 'nuc')"
    ),
    "solving": (
        "m.linalg.inv(b[:, :4]), b[:, :4].inverse(), m.linalg.solve(b[:, :4], b), m.linalg.solve(b[:, :4], b[:, 4]), "
        "m.linalg.solve(b[:, :4], a[..., :4], left=False), m.linalg.cholesky(b @ b.T), "
        "m.linalg.cholesky(b @ b.T, upper=True), m.linalg.det(b[:, :4]), *m.linalg.slogdet(a[:, :3, :3]), "
        "*b[:, :4].slogdet(), (b @ b.T).logdet(), m.logdet(b[:, :4])"
    ),
    "linalg": (
        "m.linalg.matrix_power(b[:, :4], 3), m.matrix_power(a[:, :3, :3], -2), m.matrix_power(b.detach()[:, :4], 0), "
        "m.linalg.multi_dot([b[0], b.T, b, b[1]]), m.linalg.cross(a[..., :3], b[None, :, 1:4]), m.linalg.vecdot(a, b), "
        "m.linalg.vecdot(a, a * 2, dim=0), m.linalg.diagonal(a, offset=1), m.linalg.matmul(a, b.T)"
    ),
    "one place": (
        "m.index_select(a, 1, m.tensor(2)), b.index_select(0, m.tensor(1)), "
        "m.index_fill(b, 1, m.tensor(0), b[0, 0] * 2), "
        "b[0].index_copy(0, m.tensor(3), b[1, 1]), b.index_fill(0, m.tensor([0, 2]), m.tensor(7))"
    ),
    "nothing before": "m.cat([m.zeros(0), a, b[0, :0]], 1), m.cat([b[0, :0], b[1]]), m.hstack([m.zeros(0), b])",
    "bools as numbers": "m.clamp(b, False, True), i.clamp_max(True), m.clamp(b, min=True)",
    "scalar weight": "m.prelu(a, b[0, 0]), m.prelu(b[0, 0], b[1, 1]), b[0, 0].adjoint()",
    "special of the normal distribution": (
        "m.special.erfcx(a), m.special.ndtr(a * 9), m.special.ndtri(b.sigmoid()), m.special.log_ndtr(a * 9), "
        "m.special.erfcx(z), m.special.ndtri(z.detach()), m.special.log_ndtr(z), m.special.ndtr(z), m.special.ndtr(i)"
    ),
    "special entropies": (
        "m.special.entr(a.abs()), m.special.entr(z.detach()), m.special.entr(b * 0), m.special.entr(i), "
        "m.special.xlog1py(a, b.abs()), "
        "m.special.xlog1py(i, b.abs()), m.special.xlog1py(i, 2.0), m.special.xlog1py(2, b.abs()), "
        "m.special.xlog1py(z[:, None].detach(), z.detach())"
    ),
    "special Bessel": (
        "m.special.i0(a), m.special.i0e(a * 9), m.special.i1(a), m.special.i1e(a * 9), m.special.i0(i), "
        "m.special.i0e(z[3:].detach()), m.special.i1e(z[3:].detach()), m.special.i1(b * 0), m.special.i0(b * 0), "
        "m.i0(a), b.i0()"
    ),
    "special by other names": (
        "m.special.expit(a), m.special.logit(a.sigmoid()), m.special.gammaln(a.abs()), "
        "m.special.psi(a.abs().detach()), "
        "m.special.multigammaln(a.abs() + 3, 2), m.special.polygamma(2, a.abs().detach() + 1), m.special.sinc(a), "
        "m.special.round(a, decimals=1), m.special.softmax(a, 1), m.special.log_softmax(a, dim=0), "
        "m.special.logsumexp(a, 1), m.special.xlogy(i, b.abs()), m.special.expm1(i), m.special.exp2(a), "
        "m.special.erfinv(a.tanh()), m.special.erf(a), m.special.erfc(a), m.special.log1p(a.abs())"
    ),
    "chain_matmul": "m.chain_matmul(b, b.T, a[0], b.T), m.chain_matmul(b)",
    **RARE,
}  # fmt: skip

_INF, _NAN = float("inf"), float("nan")
FAR = np.array([_INF, -_INF, _NAN, -0.0, 0.0, 1.0, -1.0, 0.5, 1e30, -1e-30, 2.5])


def _inputs(dtype: str) -> tuple[np.ndarray[Any, Any], ...]:
    rng = np.random.default_rng(0)
    a, b, i = rng.normal(size=(3, 4, 5)), rng.normal(size=(4, 5)), rng.integers(0, 4, (4, 5))
    return a.astype(dtype), b.astype(dtype), i, FAR.astype(dtype)


def _values(name: str, module: Any, arguments: Any) -> list[Any]:
    return [*eval(f"({ROWS[name]},)", {"m": module, **dict(zip("abiz", arguments, strict=True))})]


@pytest.mark.filterwarnings("ignore::UserWarning")  # PyTorch's, of weights that are too few, and of names
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ROWS)
def test_values_and_gradients_are_those_of_pytorch(name: str, dtype: str) -> None:
    arrays = _inputs(dtype)
    ours = [Tensor(x, requires_grad=x.dtype.kind == "f") for x in arrays]
    theirs = [torch.from_numpy(x.copy()).requires_grad_(x.dtype.kind == "f") for x in arrays]
    found, wanted = _values(name, lucid, ours), _values(name, torch, theirs)
    compiled = lucid.compile(lambda *x: _values(name, lucid, x))(*arrays) if dtype == "float64" else found
    tolerance = {"float32": 1e-5, "float64": 1e-12}
    assert len(found) == len(wanted) == len(compiled)
    for k, (y, c, e) in enumerate(zip(found, compiled, wanted, strict=True)):
        assert_close(y.detach().numpy(), e.detach().numpy(), f"result {k}", tolerance)
        assert_close(c.detach().numpy(), e.detach().numpy(), f"compiled result {k}", tolerance)
    seeded = [(y, e) for y, e in zip(found, wanted, strict=True) if e.requires_grad]
    for k, (y, e) in enumerate(seeded):
        assert y.requires_grad, f"result {k}"
        seed = np.asarray(np.random.default_rng(k).normal(size=y.shape), e.detach().numpy().dtype)
        for x, t in zip(ours, theirs, strict=True):
            x.grad = t.grad = None
        y.backward(seed)
        e.backward(torch.from_numpy(seed), retain_graph=True)
        for x, t in zip(ours, theirs, strict=True):
            if t.grad is None:
                continue
            gradient = np.zeros(x.shape, dtype) if x.grad is None else x.grad.numpy()
            known = ~np.isnan(t.grad.numpy())
            assert_close(
                gradient[known], t.grad.numpy()[known], f"gradient of result {k}", {"float32": 1e-4, "float64": 1e-11}
            )


def test_what_no_formula_gives_is_right_to_the_last_digits() -> None:
    far = 10 ** np.linspace(-300, 300, 61)
    points = {
        "erfc": np.r_[np.linspace(-6, 26, 500), far],
        "erfinv": np.r_[np.linspace(-0.99, 0.99, 301), 10 ** np.linspace(-300, -2, 61)],
        "lgamma": np.r_[np.linspace(-3.99, 30, 701), far, 1 + far[:30], 2 - far[:30]],
        "digamma": np.r_[np.linspace(0.01, 30, 701), far[15:]],
    }
    for name, x in points.items():
        for dtype, rtol in (("float64", 1e-13), ("float32", 1e-6)):
            with np.errstate(over="ignore", under="ignore"):
                given = x.astype(dtype)
            ours = getattr(lucid, name)(given).numpy()
            theirs = getattr(torch.special, name.replace("lgamma", "gammaln"))(torch.tensor(given)).numpy()
            np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol if "gamma" in name else 0, err_msg=name)
    x = np.linspace(0.01, 30, 701)
    slopes = lucid.polygamma(1, x).numpy()
    np.testing.assert_allclose(slopes, torch.special.zeta(2, torch.tensor(x)).numpy(), rtol=1e-13)


def test_derivatives_of_digamma_end_with_the_hundredth() -> None:
    assert lucid.polygamma(100, np.array([50.0])).item() == pytest.approx(
        torch.polygamma(100, torch.tensor([50.0], dtype=torch.float64)).item(), rel=1e-12
    )
    for n in (-1, 101, 1.5, True):
        with pytest.raises(OptionError, match="polygamma: n"):
            lucid.polygamma(n, [1.0])
