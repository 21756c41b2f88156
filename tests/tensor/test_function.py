"""``lucid.autograd.Function``: with NumPy, in graphs and files, and what is refused."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.autograd import Function
from lucid.autograd.function import once_differentiable
from lucid.errors import GradientError, LucidError, OptionError, TraceError

X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)


class Cube(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        (x,) = ctx.saved_tensors
        return 30 * dy * x * x  # ten times what it is, to tell them apart


class Numbers(Function):
    """Leaves tensors both ways."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return lucid.tensor(np.exp(x.numpy()))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Any) -> Any:
        (x,) = ctx.saved_tensors
        return lucid.tensor(np.exp(x.numpy()) * dy.numpy())


class OnceCube(Cube):
    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Any) -> Any:
        return Cube.backward(ctx, dy)


def leaf() -> lucid.Tensor:
    return lucid.tensor(X, requires_grad=True)


def gradient(x: lucid.Tensor) -> Any:
    assert x.grad is not None
    return x.grad.numpy()


def test_numpy_in_eager_code() -> None:
    x = leaf()
    Numbers.apply(x * 2).sum().backward()
    np.testing.assert_allclose(gradient(x), 2 * np.exp(2 * X), rtol=1e-6)
    with pytest.raises(TraceError, match="while the model is traced"):
        lucid.compile(lambda x: Numbers.apply(x).sum())(X)


def test_it_is_in_the_graph_and_in_files(tmp_path: Path) -> None:
    net = lucid.compile(lambda x: Cube.apply(x).sum(), lucid.spec("N", 3))
    assert "CustomGradient" in str(net.traced) and "CustomGradient" not in str(net.graph)
    net.save(tmp_path / "net.lucid")
    for one in (net, lucid.load(tmp_path / "net.lucid")):
        x = leaf()
        one(x).backward()
        np.testing.assert_allclose(gradient(x), 30 * X * X, rtol=1e-6)
    grad = lucid.grad(lambda x: Cube.apply(x).sum())(lucid.tensor(X))
    np.testing.assert_allclose(grad.numpy(), 30 * X * X, rtol=1e-6)


def test_parameters_and_random_numbers_within() -> None:
    layer = nn.Linear(3, 2)

    class Layer(Function):
        @staticmethod
        def forward(ctx: Any, x: Any, weight: Any) -> Any:
            ctx.save_for_backward(x)
            return layer(x)

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            (x,) = ctx.saved_tensors
            return dy @ layer.weight, dy.T @ x

    found = []
    for call in (lambda x: Layer.apply(x, layer.weight), lucid.compile(lambda x: Layer.apply(x, layer.weight))):
        x = leaf()
        layer.zero_grad()
        y = call(x)
        (y * y).sum().backward()
        assert layer.weight.grad is not None and layer.bias.grad is None
        found.append([gradient(x), layer.weight.grad.numpy()])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_without_grad_nothing_is_recorded() -> None:
    x = leaf()
    with lucid.no_grad():
        assert not Cube.apply(x).requires_grad
    assert not Cube.apply(lucid.tensor(X)).requires_grad
    y = Cube.apply(x)
    assert y.requires_grad and not y.is_leaf


def test_no_cycle_keeps_results_alive() -> None:
    gc.disable()
    try:
        x = leaf()
        y = Cube.apply(x)
        watched = weakref.ref(y._record.attrs.callee)
        del y
        assert watched() is None
    finally:
        gc.enable()


def test_changes_in_place_are_noticed() -> None:
    x = leaf()
    h = x * 1
    y = Cube.apply(h)
    with lucid.no_grad():
        h.mul_(2)
    with pytest.raises(GradientError, match=r"the gradient of Cube needs a tensor .* changed in place"):
        y.sum().backward()

    class Between(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x * 2)
            ctx.kept = ctx._saved[0]
            return x * 1

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            ctx.kept.mul_(2)
            return dy * ctx.saved_tensors[0]

    with pytest.raises(GradientError, match="changed in place since it was saved"):
        Between.apply(leaf()).sum().backward()


def test_once_is_once() -> None:
    def once(x: Any) -> Any:
        return lucid.autograd.grad(OnceCube.apply(x).sum(), x)[0]

    for call in (once, lucid.compile(once)):
        np.testing.assert_allclose(call(leaf()).numpy(), 30 * X * X, rtol=1e-6)

    def twice(x: Any) -> Any:
        (g,) = lucid.autograd.grad(OnceCube.apply(x).sum(), x, create_graph=True)
        return lucid.autograd.grad((g * g).sum(), x)[0]

    for call in (twice, lucid.compile(twice)):
        with pytest.raises(GradientError, match="once_differentiable"):
            call(leaf())


WRONG: dict[str, tuple[Any, str]] = {
    "too few": (lambda ctx, dy: (), "returned 0 gradients; it returns one for each of the 1 arguments"),
    "too many": (lambda ctx, dy: (dy, dy), "returned 2 gradients"),
    "no tensor": (lambda ctx, dy: 1.0, "returned 1.0 for argument 0 of forward; it returns a tensor or None"),
    "another shape": (lambda ctx, dy: dy[:, :2], r"gradient .*\[2, 2\] for argument 0 of forward, which is .*\[2, 3\]"),
}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("case", WRONG)
def test_gradients_that_do_not_fit(case: str, compiled: bool) -> None:
    backward, message = WRONG[case]
    wrong = type("Wrong", (Cube,), {"backward": staticmethod(backward)})

    def run(x: Any) -> Any:
        return wrong.apply(x).sum()  # type: ignore[attr-defined]

    with pytest.raises(GradientError, match=message):
        (lucid.compile(run) if compiled else run)(leaf()).backward()


def test_what_is_refused() -> None:
    with pytest.raises(OptionError, match=r"call Cube.apply"):
        Cube()
    with pytest.raises(LucidError, match=r"does not define forward"):
        Function.apply(leaf())
    with pytest.raises(AttributeError, match="mark_dirty"):
        type("Dirty", (Cube,), {"forward": staticmethod(lambda ctx, x: ctx.mark_dirty(x))}).apply(leaf())  # type: ignore[attr-defined]
    with pytest.raises(OptionError, match="save_for_backward"):
        type("Saves", (Cube,), {"forward": staticmethod(lambda ctx, x: ctx.save_for_backward(3))}).apply(leaf())  # type: ignore[attr-defined]
