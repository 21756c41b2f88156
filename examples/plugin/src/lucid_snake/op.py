"""The op Snake, ``x + sin(alpha * x)**2 / alpha`` (Ziyin et al., 2020): an activation for what repeats, as sound."""

from __future__ import annotations

import lucid
from lucid import Tensor, TensorType, nn
from lucid.extend import Attrs, GradContext, Gradients, OpDef, apply, attributes, register_op


@attributes
class SnakeAttrs(Attrs):
    """What a node of the op holds besides its input: frozen and hashable."""

    alpha: float = 1.0


def infer(attrs: SnakeAttrs, x: TensorType) -> TensorType:
    """The type rule: the type of the result, from that of the input."""
    if x.dtype.kind != "f":
        raise lucid.errors.DTypeError(f"Snake: needs floating-point numbers, got {x}")
    return TensorType(x.shape, x.dtype)


def gradient(c: GradContext[SnakeAttrs]) -> Gradients:
    """The gradient rule: for each input the gradient, written as a model is."""
    (x,) = c.inputs
    return [c.dy * (1 + lucid.sin(2 * c.attrs.alpha * x))]


SNAKE = register_op(OpDef("Snake", infer, gradient, attrs=SnakeAttrs, elementwise=True, activation=True, monotone=True))


def snake(x: Tensor, alpha: float = 1.0) -> Tensor:
    """``x + sin(alpha * x)**2 / alpha``, of a tensor or while a model is traced."""
    if not alpha > 0:
        raise lucid.errors.OptionError(f"snake: alpha is a number above 0, got {alpha}")
    return apply(SNAKE, SnakeAttrs(float(alpha)), x)


class Snake(nn.Module):
    """The op as a module."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        return snake(x, self.alpha)
