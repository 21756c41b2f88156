"""Attributes and types of recurrent layers, shared by the ops, their definition and their kernels.

A layer goes over time in one direction or in both, D of them. Its operands are

==========================  =====================================================================================
``x``                       (T, N, I): the input at each time step, for each sequence of a batch
``weight``, ``recurrent``   (D, gates * H, I) and (D, gates * H, H), gate by gate
``bias``                    (D, 2 * gates * H): added to the product with ``weight``, then to that with ``recurrent``
``h``, and ``c`` of LSTM    (D, N, H): the states at the beginning
``peepholes`` of LSTM       (D, 3 * H): weights of ``c`` in the gates i, o and f; if the attributes say so
``lengths``                 (N,): the number of time steps of each sequence; if the attributes say so
==========================  =====================================================================================

The gates lie in the order of the activations that they go through: i, o, f and then c (LSTM), z, r and then h (GRU).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...errors import DTypeError, OptionError, ShapeError
from ..dims import Dim
from ..opdef import Attrs, attributes
from ..types import TensorType, format_shape, is_float

ACTIVATIONS: Mapping[str, tuple[float, float]] = {
    "Sigmoid": (0.0, 0.0), "Tanh": (0.0, 0.0), "Relu": (0.0, 0.0), "Affine": (1.0, 0.0), "LeakyRelu": (0.01, 0.0),
    "ThresholdedRelu": (1.0, 0.0), "ScaledTanh": (1.0, 1.0), "HardSigmoid": (0.2, 0.5), "Elu": (1.0, 0.0),
    "Softsign": (0.0, 0.0), "Softplus": (0.0, 0.0),
}  # fmt: skip
"""The activations that a layer may have, and their numbers alpha and beta where none are given."""

DIRECTIONS: Mapping[str, tuple[bool, ...]] = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
"""For each direction of a layer, whether it goes backwards."""


@attributes
class Activation(Attrs):
    """One of :data:`ACTIVATIONS` with its numbers; 0 where it has none."""

    name: str
    alpha: float = 0.0
    beta: float = 0.0


SIGMOID, TANH = Activation("Sigmoid"), Activation("Tanh")


@attributes
class RecurrentAttrs(Attrs):
    """How a layer goes over time.

    ``activations`` are those of the first direction, then of the second. Inputs of activations are clamped to a
    magnitude of ``clip``. ``lengths`` says whether there is an operand of that name: beyond its own length a sequence
    keeps its state and returns zeros; the backward direction begins at its last time step.
    """

    activations: tuple[Activation, ...]
    direction: str = "forward"
    clip: float | None = None
    lengths: bool = False

    @property
    def backwards(self) -> tuple[bool, ...]:
        """For each direction, whether it goes backwards."""
        return DIRECTIONS[self.direction]

    @property
    def raw(self) -> bool:
        """Whether the inputs of the gates are kept for the gradient, rather than their values."""
        return self.clip is not None or not {SIGMOID, TANH}.issuperset(self.activations)

    def activation(self, direction: int, number: int) -> Activation:
        """One activation of a direction."""
        return self.activations[direction * (len(self.activations) // len(self.backwards)) + number]


@attributes
class LSTMAttrs(RecurrentAttrs):
    """``peepholes`` says whether there is an operand of that name.

    If ``rounded``, ``h`` is quantised before the product: to 255 steps of the range of the batch's values and 0. The
    gradient ignores this.
    """

    activations: tuple[Activation, ...] = (SIGMOID, TANH, TANH)
    peepholes: bool = False
    rounded: bool = False


@attributes
class GRUAttrs(RecurrentAttrs):
    """``linear_before_reset``: the reset gate acts on the product with the state, not on the state."""

    activations: tuple[Activation, ...] = (SIGMOID, TANH)
    linear_before_reset: bool = False


@attributes
class RNNAttrs(RecurrentAttrs):
    """A layer without gates; its only activation gives the state, so the input of that is kept."""

    activations: tuple[Activation, ...] = (TANH,)

    @property
    def raw(self) -> bool:
        """The input of the activation is kept, whichever that is."""
        return True


def check_attrs(op: str, attrs: RecurrentAttrs, functions: int) -> None:
    """Raise unless the attributes suit a layer with ``functions`` activations in each direction."""
    if attrs.direction not in DIRECTIONS:
        raise OptionError(f"{op}: a direction is one of {', '.join(DIRECTIONS)}, got {attrs.direction!r}")
    wanted = functions * len(attrs.backwards)
    if len(attrs.activations) != wanted:
        raise OptionError(f"{op}: needs {wanted} activations, got {len(attrs.activations)}")
    for one in attrs.activations:
        if one.name not in ACTIVATIONS:
            raise OptionError(f"{op}: an activation is one of {', '.join(ACTIVATIONS)}, got {one.name!r}")
    if attrs.clip is not None and not attrs.clip > 0:
        raise OptionError(f"{op}: clip must be positive, got {attrs.clip}")


def check_operands(op: str, attrs: RecurrentAttrs, gates: int, operands: Sequence[TensorType]) -> int:
    """Check the operands of a layer; returns the size of its state."""
    x, weight, recurrent, bias, *rest = operands
    if any(one.rank != 3 for one in (x, weight, recurrent)):
        raise ShapeError(f"{op}: needs an input (T, N, I) and two weights of rank 3, got {x}, {weight}, {recurrent}")
    (_, batch, features), hidden, directions = x.shape, recurrent.shape[2], len(attrs.backwards)
    if not isinstance(hidden, int) or hidden < 1:
        raise ShapeError(f"{op}: its state must have a positive size that is known, got {hidden}")
    state = (directions, batch, hidden)
    states = 2 if isinstance(attrs, LSTMAttrs) else 1
    expected: list[tuple[str, tuple[Dim, ...]]] = [
        ("weight", (directions, gates * hidden, features)), ("recurrent weight", (directions, gates * hidden, hidden)),
        ("bias", (directions, 2 * gates * hidden)), *[("initial state", state)] * states,
    ]  # fmt: skip
    if isinstance(attrs, LSTMAttrs) and attrs.peepholes:
        expected.append(("weight of peepholes", (directions, 3 * hidden)))
    given = [weight, recurrent, bias, *rest]
    if len(given) != len(expected) + attrs.lengths:
        raise ShapeError(f"{op}: needs {len(expected) + attrs.lengths + 1} operands, got {len(operands)}")
    for (what, shape), one in zip(expected, given, strict=False):
        if one.shape != shape:
            raise ShapeError(
                f"{op}: the {what} has shape {format_shape(shape)} for an input {x}, got {format_shape(one.shape)}",
                unequal=(shape, one.shape),
            )
    floats = [x, *given[: len(expected)]]
    if not is_float(x.dtype) or any(one.dtype != x.dtype for one in floats):
        raise DTypeError(f"{op}: needs floating-point tensors of one type, got {', '.join(map(str, floats))}")
    if attrs.lengths and (given[-1].shape != (batch,) or given[-1].dtype.kind != "i"):
        raise ShapeError(f"{op}: lengths are {batch} integers, got {given[-1]}", unequal=([batch], given[-1].shape))
    return hidden
