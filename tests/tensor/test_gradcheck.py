"""``gradcheck`` accepts right gradients, and names the element where one is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor
from lucid.autograd import Function, gradcheck, gradgradcheck
from lucid.errors import GradientError, OptionError
from lucid.nn import functional as F

RNG = np.random.default_rng(0)


def drawn(*shape: int) -> Tensor:
    return Tensor(RNG.standard_normal(shape), requires_grad=True)


def cubed(slope: float) -> Callable[[Any], Any]:
    """``x ** 3``, whose gradient says ``slope * x ** 2``."""

    class Cube(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x * x

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            (x,) = ctx.saved_tensors
            return gradient * slope * x * x

    return Cube.apply


RIGHT: dict[str, tuple[Callable[..., Any], list[Any]]] = {
    "conv2d": (F.conv2d, [drawn(1, 2, 4, 4), drawn(3, 2, 2, 2), drawn(3)]),
    "several results": (lambda a, b: (a @ b, (a * a).sum(), a > 0), [drawn(2, 3), drawn(3, 2)]),
    "a scalar": (lambda x: x.sin(), [drawn()]),
    "other arguments": (lambda x, n, y: x**n * y, [drawn(3), 3, Tensor(np.ones(3))]),
    "nothing": (lambda x, y: x.sum() + y, [drawn(0, 2), drawn(2)]),
    "a function of one's own": (cubed(3.0), [drawn(2, 2)]),
    "an unused input": (lambda a, b: a.exp(), [drawn(2), drawn(3)]),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right(name: str) -> None:
    function, inputs = RIGHT[name]
    assert gradcheck(function, inputs) is True
    assert gradgradcheck(function, inputs) is True
    assert gradcheck(function, tuple(inputs), 1e-5, 1e-8, 1e-7) is True


def test_what_is_wrong() -> None:
    x = Tensor([[0.5, -2.0]], requires_grad=True, dtype="float64")
    message = (
        r"gradcheck: the gradient of element \(0, 0\) of result 0 by element \(0, 0\) of input 0 is 0.625, and "
        r"differences say 0.75; 2 of 4 such gradients are off"
    )
    with pytest.raises(GradientError, match=message):
        gradcheck(cubed(2.5), x)
    assert gradcheck(cubed(2.5), x, raise_exception=False) is False
    assert gradcheck(cubed(2.9), x, rtol=0.05) is True

    def cut(y: Tensor) -> Tensor:
        return (y * y).detach() + y * 0.0

    assert gradcheck(cut, [x], raise_exception=False) is False


def test_a_second_gradient_that_is_wrong() -> None:
    class Square(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            (x,) = ctx.saved_tensors
            return gradient * 2.0 * x.detach()  # right, but cut off from x

    x = drawn(3)
    assert gradcheck(Square.apply, x)
    assert not gradgradcheck(Square.apply, x, raise_exception=False)
    assert not gradgradcheck(Square.apply, x, Tensor(np.ones(3)), raise_exception=False)


def test_what_is_refused() -> None:
    with pytest.raises(GradientError, match="no input requires a gradient"):
        gradcheck(lambda x: x, Tensor(np.ones(2)))
    with pytest.raises(GradientError, match=r"input 1 is float32\[2\]; give x.double\(\)"):
        gradcheck(lambda n, x: x, [1, lucid.ones(2, requires_grad=True)])
    with pytest.raises(OptionError, match="func must return a tensor or several, got None"):
        gradcheck(lambda x: None, drawn(2))  # type: ignore[arg-type,return-value]
    with pytest.raises(OptionError, match="eps"):
        gradcheck(lambda x: x, drawn(2), eps=0.0)
    with pytest.raises(OptionError, match="1 outputs with gradients, but 2 grad_outputs"):
        gradgradcheck(lambda x: x * x, drawn(2), [drawn(2), drawn(2)])
