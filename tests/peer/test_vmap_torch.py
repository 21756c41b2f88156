"""``lucid.func.vmap`` beside ``torch.func.vmap``: ops, axes, nestings and compositions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import lucid

from .test_func_torch import same, tensors

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*torch.jit.script.*deprecated"
)  # by the first use of torch.func.jacfwd

RNG = np.random.default_rng(0)
X, Y, W = RNG.standard_normal((5, 3)), RNG.standard_normal((5, 3)), RNG.standard_normal((4, 3))
CUBE, IMAGES = RNG.standard_normal((5, 2, 3)), RNG.standard_normal((3, 2, 6, 6))
KERNELS, SQUARES = RNG.standard_normal((3, 4, 2, 3, 3)), RNG.standard_normal((5, 3, 3)) + 4 * np.eye(3)


def integers(m: Any, *values: Any) -> Any:
    return m.tensor(values, dtype=m.int64)


def smooth(m: Any, x: Any) -> Any:
    return (x.sin() * x.exp()).sum() + (x * x.tanh()).prod()


def bent(m: Any, x: Any, w: Any) -> Any:
    """A sum whose gradients are made up."""

    class Bent(m.autograd.Function):  # type: ignore[misc]
        generate_vmap_rule = True

        @staticmethod
        def forward(x: Any, w: Any) -> Any:
            return (x * w).exp()

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_backward(*inputs, output)

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            x, w, y = ctx.saved_tensors
            return dy * w * 3, dy * x.sin() * y

    return Bent.apply(x, w).sum()


#: Each is called with the module and tensors.
CALLS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "rows": (lambda m, x, y: m.func.vmap(lambda a, b: (a * b).sum())(x, y), (X, Y)),
    "shared": (lambda m, x, w: m.func.vmap(lambda a: (w @ a).tanh())(x), (X, W)),
    "axes": (lambda m, x, w: m.func.vmap(lambda a, b: b @ a, in_dims=(-1, None), out_dims=1)(x, w.mT), (W, W)),
    "last": (lambda m, x: m.func.vmap(lambda a: a.flatten(), in_dims=1, out_dims=-1)(x), (CUBE,)),
    "nested in": (
        lambda m, x, y, w: m.func.vmap(
            lambda d, s: d["a"] @ d["b"][0] + s[0] * s[1], in_dims=({"a": None, "b": [0]}, (0, None))
        )({"a": w, "b": [x]}, (y[:, 0], w[0, 0])),
        (X, Y, W),
    ),
    "nested out": (
        lambda m, x: m.func.vmap(lambda a: {"s": a.sum(), "p": (a, a * 2)}, out_dims={"s": 0, "p": (1, 0)})(x),
        (X,),
    ),
    "keywords are the same for all": (lambda m, x, y: m.func.vmap(lambda a, *, b: a + b.sum(0))(x, b=y), (X, Y)),
    "same result": (lambda m, x, w: m.func.vmap(lambda a: (w.sum(), a))(x), (X, W)),
    "same result kept": (lambda m, x, w: m.func.vmap(lambda a: (w.sum(), a), out_dims=(None, 0))(x), (X, W)),
    "twice": (
        lambda m, x, y: m.func.vmap(m.func.vmap(lambda a, b: a * b, in_dims=(None, 0)), in_dims=(0, None))(x, y),
        (X, Y),
    ),
    "pairs": (lambda m, x: m.func.vmap(lambda a: m.func.vmap(lambda b: ((a - b) ** 2).sum())(x))(x), (X,)),
    "in parts": (lambda m, x, w: m.func.vmap(lambda a: w @ a, chunk_size=2)(x), (X, W)),
    "no rows": (lambda m, x, w: m.func.vmap(lambda a: w @ a)(x[:0]), (X, W)),
    "grad": (lambda m, x: m.func.vmap(m.func.grad(lambda a: smooth(m, a)))(x), (X,)),
    "grad of all": (
        lambda m, x, w: m.func.grad(lambda w: m.func.vmap(lambda a: (w @ a).sin().sum())(x).sum())(w),
        (X, W),
    ),
    "grad of a Function": (
        lambda m, x, w: m.func.vmap(m.func.grad(lambda a, b: bent(m, a, b), (0, 1)), in_dims=(0, None))(x, w[0]),
        (X, W),
    ),
    "grad of all of a Function": (
        lambda m, x, w: m.func.grad(lambda w: m.func.vmap(lambda a: bent(m, a, w))(x).sin().sum())(w[0]),
        (X, W),
    ),
    "hessian of a Function": (
        lambda m, x, w: m.func.vmap(m.func.jacrev(m.func.jacrev(lambda a: bent(m, a, w[0]))))(x),
        (X, W),
    ),
    "value": (lambda m, x: m.func.vmap(m.func.grad_and_value(lambda a: smooth(m, a)))(x), (X,)),
    "jacrev": (lambda m, x, w: m.func.vmap(m.func.jacrev(lambda a: (w @ a).sin()))(x), (X, W)),
    "jacfwd": (lambda m, x, w: m.func.vmap(m.func.jacfwd(lambda a: (w @ a).sin()))(x), (X, W)),
    "jacrev of": (lambda m, x, w: m.func.jacrev(lambda x: m.func.vmap(lambda a: (w @ a).sin())(x))(x), (X, W)),
    "jacrev in parts": (lambda m, x, w: m.func.jacrev(lambda a: (w @ a).sin(), chunk_size=3)(x[0]), (X, W)),
    "hessian": (lambda m, x: m.func.vmap(m.func.hessian(lambda a: smooth(m, a)))(x), (X,)),
    "hessian of": (lambda m, x: m.func.hessian(lambda x: m.func.vmap(lambda a: smooth(m, a))(x).sum())(x), (X,)),
    "vjp": (
        lambda m, x, y, w: m.func.vmap(lambda a, b: m.func.vjp(lambda c: (w @ c).sin(), a)[1](w @ b)[0])(x, y),
        (X, Y, W),
    ),
    "rows of a vjp": (
        lambda m, x, w: m.func.vmap(lambda v: m.func.vjp(lambda c: (w @ c).sin(), x[0])[1](v))(
            m.eye(4, dtype=m.float64)
        ),
        (X, W),
    ),
    "jvp": (lambda m, x, y: m.func.jvp(lambda a, b: {"s": a.sin() * b, "p": (a @ b.mT,)}, (x, y), (y, x)), (X, Y)),
    "jvp of rows": (
        lambda m, x, y: m.func.vmap(lambda a, b: m.func.jvp(lambda c: smooth(m, c), (a,), (b,))[1])(x, y),
        (X, Y),
    ),
    "jvp with more": (lambda m, x, y: m.func.jvp(lambda a: (a.sin(), a * 2), (x,), (y,), has_aux=True), (X, Y)),
    "index": (lambda m, x: m.func.vmap(lambda a: a[:, integers(m, 2, 0)])(x), (CUBE,)),
    "indices": (lambda m, x: m.func.vmap(lambda a, i: a[:, i])(x, integers(m, 2, 0, 1, 1, 0)), (CUBE,)),
    "two indices": (
        lambda m, x: m.func.vmap(lambda a, i: a[i, integers(m, 0, 1)])(
            x, integers(m, [0, 1], [1, 1], [0, 0], [1, 0], [0, 1])
        ),
        (CUBE,),
    ),
    "look up": (lambda m, w: m.func.vmap(lambda i: w[i])(integers(m, [0, 1], [3, 2], [1, 1])), (W,)),
    "gather": (
        lambda m, x: m.func.vmap(lambda a, i: a.gather(0, i))(x, integers(m, [0, 2], [1, 1], [2, 0], [0, 0], [2, 2])),
        (X,),
    ),
    "order": (
        lambda m, x: m.func.vmap(lambda a: (a.sort().values, a.argsort(), a.topk(2).values, a.cumsum(0)))(x),
        (X,),
    ),
    "extrema": (
        lambda m, x: m.func.vmap(lambda a: (a.max(0).values, a.argmin(1), a.amax(), a.logsumexp(1), a.var()))(x),
        (CUBE,),
    ),
    "shapes": (
        lambda m, x: m.func.vmap(
            lambda a: (
                a.T.reshape(-1),
                a.flip(0),
                a[None].expand(4, 2, 3),
                m.cat([a, a], 1),
                a.roll(1, 1),
                m.stack([a, a]),
                a.tril(),
            )
        )(x),
        (CUBE,),
    ),
    "where": (lambda m, x, y: m.func.vmap(lambda a, b: m.where(a > b, a, b * 2).clip(-1, 1))(x, y), (X, Y)),
    "einsum": (lambda m, x, w: m.func.vmap(lambda a: m.einsum("ij,kj->ik", a, w))(x), (CUBE, W)),
    "solve": (lambda m, x, a: m.func.vmap(lambda a, b: m.linalg.solve(a, b))(a, x), (X, SQUARES)),
    "linear algebra": (
        lambda m, a: m.func.vmap(
            lambda a: (
                m.linalg.inv(a),
                m.linalg.det(a),
                m.linalg.slogdet(a)[1],
                m.linalg.svdvals(a),
                m.linalg.matrix_exp(a),
            )
        )(a),
        (SQUARES,),
    ),
    "convolution": (
        lambda m, x, k: m.func.vmap(lambda x: m.nn.functional.conv2d(x, k[0], padding=1))(x),
        (IMAGES, KERNELS),
    ),
    "kernels": (
        lambda m, x, k: m.func.vmap(lambda x, k: m.nn.functional.conv2d(x[None], k, stride=2))(x, k),
        (IMAGES, KERNELS),
    ),
    "gradients of kernels": (
        lambda m, x, k: m.func.vmap(
            m.func.grad(lambda k, x: m.nn.functional.conv2d(x[None], k, padding=1).sin().sum()), in_dims=(None, 0)
        )(k[0], x),
        (IMAGES, KERNELS),
    ),
    "pools": (
        lambda m, x: m.func.vmap(
            m.func.grad(lambda x: (m.nn.functional.max_pool2d(x, 2, 2) * m.nn.functional.avg_pool2d(x, 2, 2)).sum())
        )(x),
        (IMAGES,),
    ),
    "norms": (
        lambda m, x, w: m.func.vmap(
            lambda x, w: m.nn.functional.layer_norm(x, (3,), w) + m.nn.functional.softmax(x, 0)
        )(x, w[:, None].expand(5, 2, 3)[:, 0]),
        (CUBE, X),
    ),
    "attention": (
        lambda m, x: m.func.vmap(
            m.func.grad(lambda q, k: (m.nn.functional.scaled_dot_product_attention(q, k, q) ** 2).sum()),
            in_dims=(0, None),
        )(x, x[0]),
        (IMAGES,),
    ),
    "losses": (
        lambda m, x: m.func.vmap(m.func.grad(lambda a, t: m.nn.functional.cross_entropy(a[None], t[None])))(
            x, integers(m, 0, 2, 1, 1, 0)
        ),
        (X,),
    ),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_as_theirs(name: str, compiled: bool) -> None:
    call, given = CALLS[name]
    ours = lucid.compile(lambda *xs: call(lucid, *xs)) if compiled else lambda *xs: call(lucid, *xs)
    same(ours(*tensors(lucid, given)), call(torch, *tensors(torch, given)))


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
def test_element_types(dtype: str) -> None:
    values = np.arange(12).reshape(4, 3) % 5 - 2

    def call(m: Any) -> Any:
        x = m.tensor(values).to(getattr(m, dtype))
        return m.func.vmap(lambda a: (a == a[0], a.sum(), m.cat([a, a])))(x)

    for one, other in zip(call(lucid), call(torch), strict=True):
        assert str(one.dtype).split(".")[-1] == str(other.dtype).split(".")[-1]
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_what_both_refuse() -> None:
    for call in (
        lambda m: m.func.vmap(lambda a: a, in_dims=2)(m.ones(2, 3)),
        lambda m: m.func.vmap(lambda a: a, in_dims=(0, 0))(m.ones(2, 3)),
        lambda m: m.func.vmap(lambda a, b: a)(m.ones(2, 3), m.ones(3)),
        lambda m: m.func.vmap(lambda a, b: a)(m.ones(2, 3), 1.0),
        lambda m: m.func.vmap(lambda a: 1.0)(m.ones(2, 3)),
        lambda m: m.func.vmap(lambda a: a, out_dims=None)(m.ones(2, 3)),
        lambda m: m.func.vmap(lambda a: a, in_dims=None)(m.ones(2, 3)),
        lambda m: m.func.vmap(lambda a: a, randomness="any")(m.ones(2, 3)),
        lambda m: m.func.vmap(lambda a: a, chunk_size=0)(m.ones(2, 3)),
        lambda m: m.func.vmap(lambda a: a * m.rand(3))(m.ones(2, 3)),
        lambda m: m.func.vmap(lambda a: a.nonzero())(m.ones(2, 3)),
        lambda m: m.func.vmap(lambda a: a)(m.tensor(1.0)),
    ):
        for m in (lucid, torch):
            with pytest.raises((ValueError, RuntimeError, lucid.LucidError)):
                call(m)
