"""The gradient of a recurrent layer in simpler ops: forward step by step, then backward through the steps.

This is the definition of ``LSTMGrad``, ``GRUGrad`` and ``RNNGrad``; through it they are differentiable themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from ...errors import GradientError
from ..opdef import AbstractTensor
from . import bounds
from . import elementwise as ew
from .linalg import matmul
from .recurrent_types import Activation, GRUAttrs, LSTMAttrs, RecurrentAttrs, RNNAttrs
from .shape import concat, reshape, stack, transpose
from .slices import piece
from .source import full

States: TypeAlias = "tuple[AbstractTensor, ...]"
"""The state of a layer at one time step: h, and for an LSTM c; each (N, H)."""


# ---------------------------------------------------------------- activations


def _activate(a: Activation, x: AbstractTensor) -> AbstractTensor:
    functions: dict[str, Callable[[], AbstractTensor]] = {
        "Sigmoid": lambda: ew.sigmoid(x),
        "Tanh": lambda: ew.tanh(x),
        "Relu": lambda: ew.relu(x),
        "Affine": lambda: x * a.alpha + a.beta,
        "LeakyRelu": lambda: ew.leaky_relu(x, a.alpha),
        "ThresholdedRelu": lambda: ew.where(x > a.alpha, x, 0.0),
        "ScaledTanh": lambda: ew.tanh(x * a.beta) * a.alpha,
        "HardSigmoid": lambda: bounds.clip(x * a.alpha + a.beta, 0.0, 1.0),
        "Elu": lambda: ew.elu(x, a.alpha),
        "Softsign": lambda: x / (1.0 + ew.abs_(x)),
        "Softplus": lambda: ew.softplus(x, threshold=1e9),
    }
    return functions[a.name]()


def _slope(a: Activation, x: AbstractTensor) -> AbstractTensor:
    y = _activate(a, x)
    functions: dict[str, Callable[[], AbstractTensor]] = {
        "Sigmoid": lambda: y * (1.0 - y),
        "Tanh": lambda: 1.0 - y * y,
        "Relu": lambda: ew.where(x > 0.0, full(x, 1), 0.0),
        "Affine": lambda: full(x, a.alpha),
        "LeakyRelu": lambda: ew.where(x > 0.0, full(x, 1), a.alpha),
        "ThresholdedRelu": lambda: ew.where(x > a.alpha, full(x, 1), 0.0),
        "ScaledTanh": lambda: (1.0 - ew.tanh(x * a.beta) ** 2) * (a.alpha * a.beta),
        "HardSigmoid": lambda: ew.where((y > 0.0) & (y < 1.0), full(x, a.alpha), 0.0),
        "Elu": lambda: ew.where(x > 0.0, full(x, 1), y + a.alpha),
        "Softsign": lambda: 1.0 / (1.0 + ew.abs_(x)) ** 2,
        "Softplus": lambda: ew.sigmoid(x),
    }
    return functions[a.name]()


class _Gate(NamedTuple):
    """The value of an activation and its slope, which is 0 where the input is clipped."""

    value: AbstractTensor
    slope: AbstractTensor


def _gate(attrs: RecurrentAttrs, direction: int, number: int, x: AbstractTensor) -> _Gate:
    a, clip = attrs.activation(direction, number), attrs.clip
    if clip is None:
        return _Gate(_activate(a, x), _slope(a, x))
    held = bounds.clip(x, -clip, clip)
    return _Gate(_activate(a, held), ew.where(ew.abs_(x) < clip, _slope(a, held), 0.0))


# ---------------------------------------------------------------- cells


A = TypeVar("A", bound=RecurrentAttrs)


def _columns(x: AbstractTensor, count: int) -> list[AbstractTensor]:
    """Equal parts of the last axis."""
    axis, size = x.type.rank - 1, x.type.shape[-1] // count
    return [piece(x, axis, i * size, size) for i in range(count)]


def _rows(x: AbstractTensor, count: int) -> list[AbstractTensor]:
    size = x.type.shape[0] // count
    return [piece(x, 0, i * size, size) for i in range(count)]


def _times(x: AbstractTensor, weight: AbstractTensor) -> AbstractTensor:
    return matmul(x, transpose(weight, 0, 1))


class _Back(NamedTuple):
    """Gradients of one time step: of its products with x and with h, the state before it, and further weights."""

    seen: AbstractTensor
    recurrent: AbstractTensor
    states: States
    weights: tuple[AbstractTensor, ...] = ()


class _Cell(Generic[A]):
    """The cell of one direction of a layer.

    ``bias`` is added to the product with h; ``weights`` are those besides the weights of x and h and the biases.
    """

    def __init__(
        self,
        attrs: A,
        direction: int,
        recurrent: AbstractTensor,
        bias: AbstractTensor,
        weights: Sequence[AbstractTensor],
    ) -> None:
        self.attrs, self.direction, self.recurrent, self.bias = attrs, direction, recurrent, bias
        self.weights = tuple(weights)

    def gate(self, number: int, x: AbstractTensor) -> _Gate:
        return _gate(self.attrs, self.direction, number, x)

    def step(self, seen: AbstractTensor, states: States) -> tuple[States, Callable[[States], _Back]]:
        """The states after one time step, and the function that propagates their gradients back."""
        raise NotImplementedError


class _Plain(_Cell[RNNAttrs]):
    def step(self, seen: AbstractTensor, states: States) -> tuple[States, Callable[[States], _Back]]:
        made = self.gate(0, seen + _times(states[0], self.recurrent) + self.bias)

        def back(d: States) -> _Back:
            dz = d[0] * made.slope
            return _Back(dz, dz, (matmul(dz, self.recurrent),))

        return (made.value,), back


class _Long(_Cell[LSTMAttrs]):
    def step(self, seen: AbstractTensor, states: States) -> tuple[States, Callable[[States], _Back]]:
        h, c = states
        zi, zo, zf, zc = _columns(seen + _times(h, self.recurrent) + self.bias, 4)
        peep = _columns(self.weights[0], 3) if self.weights else None
        if peep:
            zi, zf = zi + peep[0] * c, zf + peep[2] * c
        i, f, g = self.gate(0, zi), self.gate(0, zf), self.gate(1, zc)
        cell = f.value * c + i.value * g.value
        o = self.gate(0, zo + peep[1] * cell if peep else zo)
        shown = _Gate(
            _activate(self.attrs.activation(self.direction, 2), cell),
            _slope(self.attrs.activation(self.direction, 2), cell),
        )

        def back(d: States) -> _Back:
            dzo = d[0] * shown.value * o.slope
            dc = d[1] + d[0] * o.value * shown.slope
            dc = dc + dzo * peep[1] if peep else dc
            dzi, dzf, dzc = dc * g.value * i.slope, dc * c * f.slope, dc * i.value * g.slope
            before, dz = dc * f.value, concat([dzi, dzo, dzf, dzc], 1)
            if not peep:
                return _Back(dz, dz, (matmul(dz, self.recurrent), before))
            before = before + dzi * peep[0] + dzf * peep[2]
            own = concat([(dzi * c).sum(0), (dzo * cell).sum(0), (dzf * c).sum(0)], 0)
            return _Back(dz, dz, (matmul(dz, self.recurrent), before), (own,))

        return (o.value * shown.value, cell), back


class _Gated(_Cell[GRUAttrs]):
    def step(self, seen: AbstractTensor, states: States) -> tuple[States, Callable[[States], _Back]]:
        (h,), last = states, self.attrs.linear_before_reset
        xz, xr, xh = _columns(seen, 3)
        (wz, wr, wh), (bz, br, bh) = _rows(self.recurrent, 3), _rows(self.bias, 3)
        z, r = self.gate(0, xz + _times(h, wz) + bz), self.gate(0, xr + _times(h, wr) + br)
        inner = _times(h, wh) + bh if last else r.value * h
        n = self.gate(1, xh + (r.value * inner if last else _times(inner, wh) + bh))

        def back(d: States) -> _Back:
            dn, dz = d[0] * (1.0 - z.value) * n.slope, d[0] * (h - n.value) * z.slope
            if last:
                dr = dn * inner * r.slope
                recurrent = concat([dz, dr, dn * r.value], 1)
                return _Back(concat([dz, dr, dn], 1), recurrent, (d[0] * z.value + matmul(recurrent, self.recurrent),))
            through = matmul(dn, wh)
            dr = through * h * r.slope
            before = d[0] * z.value + through * r.value + matmul(dz, wz) + matmul(dr, wr)
            dzr = matmul(transpose(concat([dz, dr], 1), 0, 1), h)
            weight = concat([dzr, matmul(transpose(dn, 0, 1), inner)], 0)
            seen = concat([dz, dr, dn], 1)
            return _Back(seen, seen, (before,), (weight,))

        return ((1.0 - z.value) * n.value + z.value * h,), back


# ---------------------------------------------------------------- over time


def _of(x: AbstractTensor, *places: int) -> AbstractTensor:
    """The part at these indices of the first axes."""
    for place in places:
        x = reshape(piece(x, 0, place, 1), x.type.shape[1:])
    return x


def _total(parts: Sequence[AbstractTensor], like: AbstractTensor) -> AbstractTensor:
    total = parts[0] if parts else full(like, 0)
    for part in parts[1:]:
        total = total + part
    return total


class _Direction:
    """The gradients of one direction of a layer."""

    def __init__(
        self, cell: type[_Cell[A]], attrs: A, number: int, operands: Sequence[AbstractTensor], states: int,
        cotangents: Sequence[AbstractTensor],
    ) -> None:  # fmt: skip
        x, *own = operands[: len(operands) - attrs.lengths]
        self.x = x
        self.weight, recurrent, bias, *rest = (_of(one, number) for one in own)
        self.lengths = operands[-1] if attrs.lengths else None
        self.states, self.more = tuple(rest[:states]), tuple(rest[states:])
        self.seen_bias, recurrent_bias = _rows(bias, 2)
        self.cell = cell(attrs, number, recurrent, recurrent_bias, self.more)
        dy, *ends = cotangents
        self.every, self.number = dy, number
        self.ends = tuple(_of(end, number) for end in ends)
        if not isinstance(x.type.shape[0], int):
            raise GradientError(
                f"the gradient of the gradient of a recurrent layer needs a known number of times, got {x.type}"
            )
        order = range(x.type.shape[0])
        self.order = list(reversed(order)) if attrs.backwards[number] else list(order)

    def valid(self, time: int) -> AbstractTensor | None:
        return None if self.lengths is None else reshape(self.lengths, (self.lengths.type.shape[0], 1)) > time

    def run(self) -> tuple[dict[int, AbstractTensor], list[AbstractTensor]]:
        """The gradients of x by time step, and those of all other operands."""
        states = self.states
        backs: list[tuple[int, States, Callable[[States], _Back]]] = []
        for time in self.order:
            made, back = self.cell.step(_times(_of(self.x, time), self.weight) + self.seen_bias, states)
            backs.append((time, states, back))
            states = _where(self.valid(time), made, states)
        dx: dict[int, AbstractTensor] = {}
        parts: list[tuple[AbstractTensor, ...]] = []
        d = self.ends
        for time, before, back in reversed(backs):
            valid = self.valid(time)
            kept = tuple(full(one, 0) for one in d)
            sent = back(_where(valid, (d[0] + _of(self.every, time, self.number), *d[1:]), kept))
            d = tuple(a if valid is None else a + b for a, b in zip(sent.states, _where(valid, kept, d), strict=True))
            dx[time] = matmul(sent.seen, self.weight)
            own, seen = sent.weights, matmul(transpose(sent.seen, 0, 1), _of(self.x, time))
            if isinstance(self.cell, _Gated) and own:  # from the cell, as the weight also multiplies r * h
                recurrent, own = own[0], own[1:]
            else:
                recurrent = matmul(transpose(sent.recurrent, 0, 1), before[0])
            parts.append((seen, recurrent, concat([sent.seen.sum(0), sent.recurrent.sum(0)], 0), *own))
        likes = (self.weight, self.cell.recurrent, concat([self.seen_bias, self.cell.bias], 0), *self.more)
        sums = [_total([part[i] for part in parts], like) for i, like in enumerate(likes)]
        return dx, [*sums[:3], *d, *sums[3:]]


def _where(valid: AbstractTensor | None, new: States, old: States) -> States:
    return new if valid is None else tuple(ew.where(valid, a, b) for a, b in zip(new, old, strict=True))


def _gradients(cell: type[_Cell[A]], states: int) -> Callable[..., tuple[AbstractTensor, ...]]:
    def gradients(attrs: A, *given: AbstractTensor) -> tuple[AbstractTensor, ...]:
        operands, cotangents = given[: -2 * states - 2], given[-1 - states :]
        found = [
            _Direction(cell, attrs, number, operands, states, cotangents).run()
            for number in range(len(attrs.backwards))
        ]
        x = operands[0]
        times = [_total([dx[time] for dx, _ in found], x) for time in range(len(found[0][0]))]
        dx = stack(times, 0) if times else full(x, 0)
        return dx, *(stack(parts, 0) for parts in zip(*(rest for _, rest in found), strict=True))

    return gradients


lstm_gradients, gru_gradients, rnn_gradients = _gradients(_Long, 2), _gradients(_Gated, 1), _gradients(_Plain, 1)
