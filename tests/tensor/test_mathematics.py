# ruff: noqa: E501 - a table of expressions
"""Special functions, statistics, products, diagonals and parts: NumPy's numbers, for sizes that are not known too.

``t`` is a float tensor (3, 4), ``f`` numbers far from the usual ones, ``i`` integers (3, 4); ``x``, ``far`` and ``n`` are the arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import LucidError, Tensor

X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
FAR = np.array([np.inf, -np.inf, np.nan, -0.0, 0.0, 1.5, -2.0, 1e30], np.float32)
N = np.array([[3, 0, 1, 2], [2, 2, 0, 1], [0, 3, 3, 1]])

#: Expressions whose value is that of the NumPy expression beside them, by subject.
TABLE: dict[str, list[tuple[str, str]]] = {
    "special": [
        ("lucid.hypot(t, 0.5)", "np.hypot(x, .5)"), ("f.hypot(f[:, None])", "np.hypot(far, far[:, None])"), ("lucid.hypot(3e38 * t, 0.0)", "3e38 * abs(x)"),
        ("lucid.logaddexp(f, 1.0)", "np.logaddexp(far, 1)"), ("t.logaddexp(-t)", "np.logaddexp(x, -x)"), ("lucid.logaddexp2(t, f[5])", "np.logaddexp2(x, 1.5)"),
        ("lucid.xlogy(i, t.abs())", "n * np.log(abs(x))"), ("lucid.xlogy(0.0, f)", "np.where(np.isnan(far), np.nan, 0)"),
        ("lucid.sinc(t)", "np.sinc(x)"), ("lucid.sinc(i)", "np.sinc(n)"), ("lucid.exp2(f)", "np.exp2(far)"), ("(t * 3).frac()", "np.fmod(x * 3, 1)"),
        ("lucid.fmod(t, 0.3)", "np.fmod(x, np.float32(.3))"), ("lucid.fmod(i - 2, -3)", "np.fmod(n - 2, -3)"), ("lucid.fmod(-1e-20 * t.abs(), 3.0)", "-1e-20 * abs(x)"),
        ("lucid.heaviside(t, 0.5)", "np.heaviside(x, .5)"), ("lucid.nan_to_num(f)", "np.nan_to_num(far)"), ("f.nan_to_num(7, neginf=2.0)", "np.nan_to_num(far, nan=7, neginf=2)"),
        ("lucid.logit(t.sigmoid())", "x"), ("lucid.logit(i, eps=0.25)", "np.log(n.clip(.25, .75) / (1 - n.clip(.25, .75)))"), ("f.signbit()", "np.signbit(far)"),
        ("lucid.signbit(i - 1)", "n < 1"), ("lucid.copysign(t, -0.0)", "-abs(x)"), ("f.copysign(-f)", "-far"), ("lucid.float_power(i + 1, -0.5)", "np.float_power(n + 1, -.5)"),
        ("lucid.deg2rad(i)", "np.deg2rad(n)"), ("t.rad2deg()", "np.rad2deg(x)"), ("lucid.sgn(t)", "np.sign(x)"), ("lucid.arctan2(t, t[0])", "np.arctan2(x, x[0])"), ("lucid.arcsinh(t)", "np.arcsinh(x)"),
    ],
    "statistics": [
        ("lucid.var_mean(t, 1)[0]", "x.var(1, ddof=1)"), ("lucid.std_mean(t, dim=0, correction=0)[0]", "x.std(0)"), ("lucid.std_mean(t)[1]", "x.mean()"),
        ("lucid.aminmax(t, dim=1).min", "x.min(1)"), ("i.aminmax()[1]", "n.max()"), ("f.nansum()", "np.nansum(far)"), ("lucid.nanmean(lucid.where(t > 0, t, np.nan), 1, keepdim=True)", "np.nanmean(np.where(x > 0, x, np.nan), 1, keepdims=True)"),
        ("t.quantile(0.3)", "np.quantile(x, .3)"), ("lucid.quantile(t, [0.0, 0.45, 1.0], dim=1)", "np.quantile(x, [0, .45, 1], 1)"), ("t.quantile(0.6, 0, True, interpolation='midpoint')", "np.quantile(x, .6, 0, keepdims=True, method='midpoint')"),
        ("t.quantile(0.4, -1, interpolation='lower')", "np.quantile(x, .4, -1, method='lower')"), ("t.quantile(0.4, -1, interpolation='higher')", "np.quantile(x, .4, -1, method='higher')"), ("f.quantile(0.5)", "np.nan"),
        ("lucid.nanquantile(f[2:], 0.3)", "np.nanquantile(far[2:], .3)"), ("f[:1].quantile(0.5)", "np.inf"), ("lucid.tensor([-np.inf, 1, 2, 3]).quantile([0.3, 0.4])", "[-np.inf, 1.2]"), ("lucid.quantile(lucid.cat([f[:1], f[:1], t[0]]), 0.9)", "np.inf"), ("lucid.nanquantile(f[2:3], 0.5)", "np.nan"),
        ("t.cov()", "np.cov(x)"), ("lucid.cov(t[0], correction=0)", "np.cov(x[0], ddof=0)"), ("lucid.cov(i, fweights=[1, 2, 0, 3], aweights=t[0].abs())", "np.cov(n, fweights=[1, 2, 0, 3], aweights=abs(x[0]))"), ("t.corrcoef()", "np.corrcoef(x)"),
        ("lucid.cummax(t, 1).values", "np.maximum.accumulate(x, 1)"), ("i.cummin(0)[0]", "np.minimum.accumulate(n)"), ("f.cummax(0).values", "np.maximum.accumulate(far)"), ("lucid.cummax(i, 1).indices", "np.array([[0, 0, 0, 0], [0, 1, 1, 1], [0, 1, 2, 2]])"),
        ("f.cummin(0).indices", "np.array([0, 1, 2, 2, 2, 2, 2, 2])"), ("lucid.logcumsumexp(t, 0)", "np.logaddexp.accumulate(x)"), ("f[1:].logcumsumexp(0)", "np.logaddexp.accumulate(far[1:])"), ("f[:0].cummax(0).values", "far[:0]"),
        ("lucid.cumprod(t, 1)", "np.cumprod(x, 1)"), ("lucid.tensor(2.0).cummin(0).indices", "0"), ("(i > 1).cummax(1).values", "np.maximum.accumulate(n > 1, 1)"),
    ],
    "parts": [
        ("t.unfold(1, 3, 1)", "np.lib.stride_tricks.sliding_window_view(x, 3, 1)"), ("t.unfold(0, 1, 2)", "x[::2, :, None]"), ("t.select(1, -1)", "x[:, -1]"), ("lucid.take(t, [[-1, 2]])", "np.take(x, [[-1, 2]])"),
        ("lucid.diff(t)", "np.diff(x)"), ("t.diff(2, 0)", "np.diff(x, 2, 0)"), ("lucid.diff(t, prepend=t[:, :1])", "np.diff(x, prepend=x[:, :1])"), ("lucid.diff(i > 1)", "np.diff(n > 1)"), ("lucid.diff(i, n=9)", "np.diff(n, 9)"),
        ("lucid.rot90(t)", "np.rot90(x)"), ("t.rot90(-1, (1, 0))", "np.rot90(x, -1, (1, 0))"), ("t.rot90(2)", "np.rot90(x, 2)"), ("lucid.tensor_split(t, 3, 1)[0]", "x[:, :2]"), ("t.tensor_split((1, -1), dim=1)[1]", "x[:, 1:3]"),
        ("lucid.tensor_split(t, 9, 0)[7]", "x[:0]"), ("lucid.hsplit(t, [3])[1]", "x[:, 3:]"), ("t.vsplit(3)[2]", "x[2:]"), ("lucid.broadcast_tensors(t, t[0])[1]", "np.broadcast_to(x[0], (3, 4))"),
        ("lucid.cartesian_prod(t[0], i[0])[5]", "np.array([x[0, 1], n[0, 1]])"), ("lucid.isin(i, [2, 0])", "np.isin(n, [2, 0])"), ("lucid.isin(f, f, invert=True)", "np.isnan(far)"), ("lucid.isin(i, i[:0])", "n < 0"),
        ("lucid.searchsorted(lucid.sort(t[0])[0], t)", "np.searchsorted(np.sort(x[0]), x)"), ("lucid.searchsorted([0, 1, 1, 3], i, right=True)", "np.searchsorted([0, 1, 1, 3], n, 'right')"), ("lucid.searchsorted([0.0, 1.0], f, out_int32=True)", "np.searchsorted([0, 1.], far).astype('int32')"),
        ("lucid.searchsorted(t[0], t, sorter=lucid.argsort(t[0]), side='right')", "np.searchsorted(x[0], x, 'right', np.argsort(x[0]))"), ("lucid.bucketize(t, [-0.5, 0.0, 0.5])", "np.digitize(x, [-.5, 0, .5])"), ("lucid.bucketize(i, i[:0, 0])", "n * 0"), ("lucid.searchsorted([1, 2, 3], 2.5)", "np.searchsorted([1, 2, 3], 2.5)"), ("lucid.bucketize(2, [1, 2, 3])", "np.searchsorted([1, 2, 3], 2)"), ("lucid.isin(2, i)", "np.isin(2, n)"), ("lucid.isin(i, 2)", "np.isin(n, 2)"),
    ],
    "everyday": [
        ("lucid.dstack([t, t])", "np.dstack([x, x])"), ("lucid.dstack([t[0], i[0]])", "np.dstack([x[0], n[0]])"), ("lucid.column_stack((t[0], i[1]))", "np.column_stack((x[0], n[1]))"),
        ("lucid.atleast_1d(t[0, 0])", "x[0, :1]"), ("lucid.atleast_2d(t[0])", "x[:1]"), ("lucid.atleast_3d(t[0])", "np.atleast_3d(x[0])"), ("lucid.fliplr(t)", "x[:, ::-1]"), ("t.flipud()", "x[::-1]"), ("lucid.clamp_min(t, 0.5)", "x.clip(.5)"), ("t.clamp_max(t[0])", "np.minimum(x, x[0])"),
        ("lucid.greater(t, 0)", "x > 0"), ("t.not_equal(t[0])", "x != x[0]"), ("lucid.bitwise_not(i)", "~n"), ("t.sum(dtype='float64')", "x.sum(dtype=float)"), ("lucid.mean(i, 1, dtype=lucid.float64)", "n.mean(1)"), ("i.cumsum(0, dtype='float32')", "n.cumsum(0, 'f4')"), ("lucid.sum(t > 0, 0, dtype='int32')", "(x > 0).sum(0, dtype='int32')"),
        ("lucid.logspace(0, 2, 3)", "np.logspace(0, 2, 3)"), ("lucid.logspace(-1, 1, 5, base=2.0)", "np.logspace(-1, 1, 5, base=2)"), ("t[:, :3][tuple(lucid.tril_indices(3, 3))]", "x[:, :3][np.tril_indices(3)]"), ("lucid.triu_indices(2, 4, -1)", "np.stack(np.triu_indices(2, -1, 4))"),
    ],
    "products": [
        ("lucid.tensordot(t, t, ([0, 1], [0, 1]))", "np.tensordot(x, x)"), ("lucid.tensordot(t, i, ([1], [1]))", "x @ n.T"), ("lucid.tensordot(t, t[0], 0)", "np.multiply.outer(x, x[0])"), ("lucid.kron(t, t[0])", "np.kron(x, x[0])"),
        ("lucid.inner(t, t)", "np.inner(x, x)"), ("lucid.inner(t, t[0, 0])", "x * x[0, 0]"), ("lucid.vdot(t[0], t[1])", "x[0] @ x[1]"), ("lucid.dist(t, t + 1.0)", "np.sqrt(12)"), ("lucid.cross(t, -t[:, [1, 2, 0, 3]])", "np.cross(x, -x[:, [1, 2, 0, 3]], axis=0)"),
        ("lucid.chain_matmul(t, t.T, t, t.T)", "x @ x.T @ x @ x.T"), ("lucid.trapezoid(t)", "np.trapezoid(x)"), ("lucid.trapezoid(t, dx=2.0, dim=0)", "np.trapezoid(x, dx=2, axis=0)"), ("lucid.trapz(t, [0, 2, 1, 5])", "np.trapezoid(x, [0, 2, 1, 5])"),
        ("lucid.diagonal(t, 1)", "np.diagonal(x, 1)"), ("t.diagonal(-1, 1, 0)", "np.diagonal(x, -1, 1, 0)"), ("t.diagonal(9)", "x[0, :0]"), ("lucid.diag_embed(t)", "np.stack([np.diag(v) for v in x])"), ("lucid.diag(t[0], -2)", "np.diag(x[0], -2)"),
        ("lucid.trace(t)", "np.trace(x)"), ("i.trace()", "np.trace(n)"), ("lucid.block_diag(t, i[0, 0])", "np.block([[x, np.zeros((3, 1))], [np.zeros((1, 4)), n[:1, :1]]])"),
    ],
    "linalg": [
        ("lucid.linalg.norm(t)", "np.linalg.norm(x)"), ("lucid.linalg.norm(t, 1)", "np.linalg.norm(x, 1)"), ("lucid.linalg.norm(t, -np.inf, keepdim=True)", "np.linalg.norm(x, -np.inf, keepdims=True)"), ("lucid.linalg.norm(t, 3, dim=0)", "np.linalg.norm(x, 3, 0)"),
        ("lucid.linalg.norm(t, -2, 1)", "np.linalg.norm(x, -2, 1)"), ("lucid.linalg.vector_norm(t, 0)", "12"), ("lucid.linalg.vector_norm(i, dtype='float64')", "np.linalg.norm(n)"), ("lucid.linalg.vector_norm(t, -np.inf, (0, 1))", "abs(x).min()"),
        ("lucid.linalg.matrix_norm(t[None], dim=(1, 2))", "np.linalg.norm(x[None], 'fro', (1, 2))"), ("lucid.linalg.matrix_norm(t, -1, (1, 0))", "np.linalg.norm(x, -1, (1, 0))"), ("lucid.linalg.matrix_norm(t, np.inf)", "np.linalg.norm(x, np.inf)"),
        ("lucid.linalg.inv(t[:, :3])", "np.linalg.inv(x[:, :3])"), ("t[:, 1:].inverse()", "np.linalg.inv(x[:, 1:])"), ("lucid.linalg.solve(t[:, :3], t[:, 3])", "np.linalg.solve(x[:, :3], x[:, 3])"), ("lucid.linalg.solve(A=t[:, :3], B=t, left=True)", "np.linalg.solve(x[:, :3], x)"),
        ("lucid.linalg.det(t[:, :3])", "np.linalg.det(x[:, :3])"), ("lucid.linalg.slogdet(t[:, :3]).sign", "np.linalg.slogdet(x[:, :3])[0]"), ("t[:, :3].slogdet()[1]", "np.linalg.slogdet(x[:, :3])[1]"), ("(t @ t.T).logdet()", "np.log(np.linalg.det(x @ x.T))"),
        ("lucid.linalg.cholesky(t @ t.T)", "np.linalg.cholesky(x @ x.T)"), ("(t @ t.T).cholesky(upper=True)", "np.linalg.cholesky(x @ x.T).T"), ("lucid.matrix_power(t[:, :3], 5)", "np.linalg.matrix_power(x[:, :3], 5)"), ("i[:, :3].matrix_power(2)", "np.linalg.matrix_power(n[:, :3], 2)"),
        ("t[:, :3].matrix_power(-2)", "np.linalg.matrix_power(x[:, :3], -2)"), ("t[:, :3].matrix_power(0)", "np.eye(3)"), ("lucid.linalg.multi_dot([t[0], t.T, t, t[0]])", "np.linalg.multi_dot([x[0], x.T, x, x[0]])"), ("lucid.linalg.vecdot(t, t[0])", "x @ x[0]"),
        ("lucid.linalg.cross(t[:, 1:], t[:1, :3])", "np.cross(x[:, 1:], x[:1, :3])"), ("lucid.linalg.diagonal(t[None], offset=1)", "np.diagonal(x, 1)[None]"), ("lucid.linalg.matmul(t, t.mT)", "x @ x.T"),
    ],
}  # fmt: skip


def _values(expressions: list[str], *arguments: Any) -> list[Any]:
    known = {"lucid": lucid, "np": np, **dict(zip("tfi", arguments, strict=True)), "x": X, "far": FAR, "n": N}
    with np.errstate(all="ignore"):
        return [eval(one, known) for one in expressions]


@pytest.mark.parametrize("subject", TABLE)
def test_values_are_those_of_numpy(subject: str) -> None:
    ours, theirs = map(list, zip(*TABLE[subject], strict=True))
    wanted, eager = _values(theirs, None, None, None), _values(ours, Tensor(X), Tensor(FAR), Tensor(N))
    compiled = lucid.compile(lambda *arguments: _values(ours, *arguments))(X, FAR, N)
    for one, y, c, e in zip(ours, eager, compiled, wanted, strict=True):
        assert type(y) is Tensor and (y.dtype, y.shape) == (c.dtype, c.shape), one
        np.testing.assert_allclose(y.numpy(), e, rtol=5e-6, atol=1e-6, err_msg=one)
        np.testing.assert_allclose(c.numpy(), e, rtol=5e-6, atol=1e-6, err_msg=f"compiled {one}")
        assert y.shape == np.shape(e), one


#: Of matrices (N, N) of symbolic size.
SYMBOLIC = [
    ("t.diagonal(1)", "np.diagonal(x, 1)"), ("t.trace()", "np.trace(x)"), ("lucid.diag(t)", "np.diag(x)"), ("t.diag_embed(-1)[0]", "np.diag(x[0], -1)"), ("t.quantile(0.3, 0)", "np.quantile(x, .3, 0)"),
    ("t.nanquantile(0.7)", "np.nanquantile(x, .7)"), ("t.unfold(0, 2, 2)[0]", "x[:2].T"), ("t.diff(dim=0)", "np.diff(x, axis=0)"), ("lucid.kron(t, t)", "np.kron(x, x)"), ("lucid.cov(t)", "np.cov(x)"), ("t.rot90()", "np.rot90(x)"),
    ("lucid.searchsorted(t[0].sort().values, t)", "np.searchsorted(np.sort(x[0]), x)"), ("lucid.isin(t, t[0])", "np.isin(x, x[0])"), ("lucid.tensordot(t, t, 1)", "x @ x"), ("lucid.trapezoid(t)", "np.trapezoid(x)"),
    ("lucid.block_diag(t, t)[0]", "np.concatenate([x[0], 0 * x[0]])"), ("t.corrcoef()", "np.corrcoef(x)"), ("t.tensor_split(2, 1)[0]", "np.array_split(x, 2, 1)[0]"), ("t.take(lucid.tensor([-1]))", "x[-1, -1:]"), ("lucid.inner(t, t)", "x @ x.T"), ("(t @ t.T + lucid.linalg.matrix_power(t, 0)).cholesky()", "np.linalg.cholesky(x @ x.T + np.eye(len(x)))"), ("lucid.linalg.solve(t @ t.T + lucid.linalg.matrix_power(t, 0), t)", "np.linalg.solve(x @ x.T + np.eye(len(x)), x)"), ("t.var().hypot(t.mean())", "np.hypot(x.var(ddof=1), x.mean())"),
]  # fmt: skip


def test_sizes_that_are_not_known_until_the_call() -> None:
    ours, theirs = map(list, zip(*SYMBOLIC, strict=True))

    def evaluated(expressions: list[str], t: Any, x: Any) -> list[Any]:
        return [eval(one, {"lucid": lucid, "np": np, "t": t, "x": x}) for one in expressions]

    net = lucid.compile(lambda t: evaluated(ours, t, None), lucid.spec("N", "N"))
    for count in (5, 3, 2):
        x = np.random.default_rng(count).standard_normal((count, count)).astype(np.float32)
        for one, y, e in zip(ours, net(x), evaluated(theirs, None, x), strict=True):
            np.testing.assert_allclose(y.numpy(), e, rtol=1e-5, atol=2e-6, err_msg=f"{one} of {count}")


def test_parts_that_a_size_does_not_divide_into_are_refused_when_it_is_known() -> None:
    net = lucid.compile(lambda x: lucid.hsplit(x, 2), lucid.spec("N", "M"))
    assert [part.shape for part in net(lucid.zeros(3, 4))] == [(3, 2), (3, 2)]
    with pytest.raises(LucidError, match="does not divide into 2 parts"):
        net(lucid.zeros(3, 5))


def test_factors_of_matrices_that_are_tall_or_wide() -> None:
    net = lucid.compile(lambda x: (*lucid.linalg.svd(x), *lucid.linalg.qr(x)), lucid.spec("N", "M", dtype="float64"))
    slopes = lucid.grad(lucid.compile(lambda x: lucid.linalg.svdvals(x).sum() + lucid.linalg.qr(x).R.sum()))
    for shape in ((5, 3), (2, 4), (3, 3), (1, 6), (6, 5)):
        x = np.random.default_rng(sum(shape)).standard_normal(shape)
        u, s, vh, q, r = (y.numpy() for y in net(x))
        assert (u.shape, vh.shape, q.shape, r.shape[1]) == (
            2 * shape[:1],
            2 * shape[1:],
            (shape[0], min(shape)),
            shape[1],
        )
        np.testing.assert_allclose(u[:, : len(s)] * s @ vh[: len(s)], x, atol=1e-6)
        np.testing.assert_allclose(q @ r, x, atol=1e-6)
        step = np.random.default_rng(0).standard_normal(shape) * 1e-6
        ends = [np.linalg.svd(x + d)[1].sum() + np.linalg.qr(x + d)[1].sum() for d in (step, -step)]
        np.testing.assert_allclose((slopes(x).numpy() * step).sum(), (ends[0] - ends[1]) / 2, rtol=1e-4)


SLOPES: list[tuple[str, list[float], list[float]]] = [
    ("t.hypot(3 * t)", [0, 1, -2, 1e30], [0, 10**0.5, -(10**0.5), 10**0.5]), ("t.sinc()", [0, 1], [0, -1]), ("t.frac()", [-1.5, 0, 2.25], [1, 1, 1]),
    ("t.fmod(3.0)", [-4, 0, 4], [1, 1, 1]), ("lucid.fmod(7.0, t)", [2, -2, 5], [-3, 3, -1]), ("t.nan_to_num()", [1, np.nan, np.inf, -np.inf], [1, 0, 0, 0]),
    ("t.logit()", [0, 0.5, 1], [np.inf, 4, np.inf]), ("t.logit(0.25)", [0.1, 0.5, 0.9], [0, 4, 0]), ("t.copysign(-1)", [2, 0, -3], [-1, 0, 1]), ("lucid.xlogy(t, 0.0)", [0, 0], [0, 0]),
    ("t.logaddexp(t[0])", [2, 2], [1.5, 0.5]), ("t.cummax(0).values", [1, 3, 3, 2], [1, 1, 2, 0]), ("t.quantile(0.5)", [4, 1, 3, 2], [0, 0, 0.5, 0.5]), ("lucid.nansum(t)", [1, np.nan], [1, 0]), ("lucid.dist(t, t)", [1, 2], [0, 0]),
]  # fmt: skip


def test_slopes_at_kinks_and_bounds() -> None:
    for function, points, slopes in SLOPES:
        t = Tensor(points, requires_grad=True, dtype="float32")
        eval(function, {"lucid": lucid, "t": t}).sum().backward()
        assert t.grad is not None
        np.testing.assert_allclose(t.grad.numpy(), np.array(slopes, np.float32), rtol=1e-6, err_msg=function)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda t: t.quantile(1.5), "q must lie between 0 and 1"), (lambda t: t.quantile([0.5, np.nan]), "q must lie between"),
        (lambda t: t.quantile(0.5, interpolation="cubic"), "interpolation is one of linear"), (lambda t: t.long().quantile(0.5), "floating-point"),
        (lambda t: t[:0].quantile(0.5), "there is no element"), (lambda t: t.unfold(0, 4, 1), "no window of 4 elements"), (lambda t: t.unfold(0, 1, 0), "step must be positive"),
        (lambda t: t.select(0, 3), "out of range"), (lambda t: t.diagonal(0, 1, 1), "the same axis"), (lambda t: t[0].trace(), "trace: x must have rank 2"), (lambda t: t[None].diag(), "diag: is for vectors and matrices"),
        (lambda t: lucid.block_diag(t[None]), "block_diag: needs matrices"), (lambda t: lucid.tensordot(t, t, 1), "do not have the same sizes"), (lambda t: lucid.tensordot(t, t, 3), "do not have 3 axes"),
        (lambda t: t.cross(t, 1), "vectors of three numbers"), (lambda t: lucid.chain_matmul(t, t[None]), r"tensors\[1\] must have rank 2"), (lambda t: lucid.trapezoid(t, t[0, :2]), "are not the points"),
        (lambda t: lucid.hsplit(t, 3), "does not divide into 3"), (lambda t: lucid.vsplit(t[0], 1), "rank 2 or more"), (lambda t: t.rot90(1, (0, 0)), "axes"), (lambda t: t.take([12]), "out of range"),
        (lambda t: lucid.searchsorted(t, t[0]), "does not have a row"), (lambda t: lucid.searchsorted(t[0], t, side="middle"), "side is"), (lambda t: lucid.searchsorted(t[0], t, right=True, side="left"), "contradict"),
        (lambda t: lucid.bucketize(t, t), "boundaries are a vector"), (lambda t: t.cov(fweights=[1.0] * 4), "fweights are integers"), (lambda t: t.cov(aweights=[1.0]), "weights are a vector"), (lambda t: t[None].cov(), "cov: needs a matrix"),
        (lambda t: lucid.compile(lambda x: x.cummax(0), lucid.spec("N", 4))(X), "cummax: axis 0 .* no known size"), (lambda t: t.cummin(2), "out of range"), (lambda t: t.fmod("1"), "fmod"), (lambda t: t.nan_to_num("0"), "nan is a number"),
        (lambda t: lucid.fmod([3], 0), "divided by 0"), (lambda t: lucid.broadcast_tensors(t, t.T), "broadcast"), (lambda t: lucid.diff(t[0, 0]), "no neighbours"), (lambda t: t.nanmean(2), "out of range"),
        (lambda t: lucid.linalg.inv(t), r"inv: needs square matrices, got float32\[3, 4\]"), (lambda t: lucid.linalg.cholesky(t, upper=True), "cholesky: needs square matrices"), (lambda t: lucid.linalg.cholesky(t[0]), "cholesky: needs square matrices"), (lambda t: lucid.linalg.eigh(t), "^eigh: needs square"), (lambda t: lucid.linalg.eigvalsh(t.mT @ t, "l "), "UPLO is 'L' or 'U'"), (lambda t: lucid.linalg.svd(t[0]), "^svd: needs matrices"), (lambda t: lucid.linalg.svd(t * np.nan), "svd: it does not converge"), (lambda t: lucid.linalg.qr(t, "full"), "mode is 'reduced'"), (lambda t: lucid.linalg.qr(t.mT.requires_grad_(), "complete").Q.sum().backward(), "mode='complete' has no gradient"), (lambda t: lucid.linalg.det(t), "^det: needs square matrices"), (lambda t: lucid.logdet(t), "^logdet: needs square matrices"), (lambda t: lucid.linalg.slogdet(t), "^slogdet: needs square"), (lambda t: t.long().det(), "^det: needs floating-point matrices"), (lambda t: (t[:, :3] * 0).inverse(), "inv: a matrix is singular"), (lambda t: lucid.compile(lucid.linalg.inv)(X[:, :3] * 0), "inv: a matrix is singular"),
        (lambda t: lucid.linalg.solve(t[:, :3] * 0, t), "solve: a matrix is singular"), (lambda t: lucid.linalg.solve(t[:, :3], t.T), "do not fit the matrices"), (lambda t: lucid.linalg.cholesky(-t @ t.T), "not positive definite"),
        (lambda t: lucid.linalg.matrix_norm(t, 3), 'ord is "fro", "nuc"'), (lambda t: lucid.linalg.norm(t[None], 1), "for vectors and matrices"), (lambda t: lucid.linalg.norm(t[0], "fro"), "for matrices"), (lambda t: lucid.linalg.norm(t, "x"), "ord is"),
        (lambda t: lucid.linalg.matrix_norm(t[0]), "needs matrices"), (lambda t: lucid.matrix_power(t, 2), "needs square matrices"), (lambda t: lucid.linalg.multi_dot([t]), "at least two"), (lambda t: lucid.chain_matmul(), "at least two"), (lambda t: lucid.matrix_power(t, 2.5), "n must be an int, got 2.5"), (lambda t: lucid.linalg.solve(t[:, :3], t[0, :3], left=False), "vectors stand on the right"),
    ],
)  # fmt: skip
def test_what_is_refused_says_why(make: Callable[[Tensor], object], words: str) -> None:
    with pytest.raises(LucidError, match=words):
        make(Tensor(X))


def test_what_takes_some_matrices_only_is_verified_tuned_and_saved(tmp_path: Path) -> None:
    definite = X @ X.T + np.eye(3, dtype=np.float32)

    def f(x: Any) -> Any:
        return lucid.linalg.cholesky(x).sum() + lucid.linalg.inv(x).sum() + x.slogdet().logabsdet + x.quantile(0.3)

    wanted = f(Tensor(definite)).item()
    for options in ({"verify": True}, {"tune": True}):
        net = lucid.compile(f, **options)  # type: ignore[arg-type]  # each is a bool
        np.testing.assert_allclose(net(definite).item(), wanted, rtol=1e-5)
    lucid.compile(f, lucid.spec(3, 3)).save(tmp_path / "f.lucid")
    np.testing.assert_allclose(lucid.load(tmp_path / "f.lucid")(definite).item(), wanted, rtol=1e-5)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_eigenvalues_of_what_is_not_finite_are_nan(wrong: float) -> None:
    x = np.stack([np.eye(2), np.array([[wrong, 1], [1, 2]])])
    for function in (lucid.linalg.eigh, lucid.compile(lucid.linalg.eigh)):
        values, vectors = function(Tensor(x))
        assert np.isnan(values.numpy()[1]).all() and np.isnan(vectors.numpy()[1]).all()
        np.testing.assert_array_equal(values.numpy()[0], [1, 1])
    assert np.isnan(lucid.linalg.eigvalsh(Tensor(x)).numpy()[1]).all()


def test_a_share_that_is_a_number_is_checked_while_tracing() -> None:
    net = lucid.compile(lambda x: x.quantile(0.25, dim=1), lucid.spec("N", 4))
    assert not any(node.op.name == "Expect" for _, node in net.graph.nodes())
    np.testing.assert_array_equal(net(X).numpy(), Tensor(X).quantile(0.25, dim=1).numpy())
    with pytest.raises(LucidError, match=r"q must lie between 0 and 1, got -0\.5"):
        lucid.compile(lambda x: x.quantile(-0.5), lucid.spec("N", 4))
