"""Recurrent layers: one product over all times, then time by time what depends on the state."""

from __future__ import annotations

import math

import numpy as np

from ....graph.ops.recurrent import GRU, GRU_GATES, LSTM, LSTM_GATES, RNN, RNN_GATES
from ....graph.ops.recurrent_types import SIGMOID, TANH, GRUAttrs, LSTMAttrs, RNNAttrs
from ...planning.machine import this_machine
from ...planning.phase import Phase
from ...planning.registry import kernel
from ...program.emitter import Emitter, Operand
from ...program.views import as_view
from ..elementwise import FEW, filled, scalar
from ..shared.loop import bind
from ..shared.panels import cut_for, is_streamed, multiply_lines
from ..shared.panels_views import turn_panels
from .functions import FUNCTIONS, rounded
from .layer import LayerWriter, R, StepNames, step_panels, ways
from .steps_views import gru_steps, input_products, lstm_steps, rnn_steps

MANY = 1 << 18
"""Numbers of a weight from which on a product of one row is quicker with it as it is."""
FEW_ROWS = 8
"""Rows up to which a product with weights from beyond the cache is quicker with them as they are."""
OFTEN = 8
"""Products with a weight from which on it is worth to turn it for a single run."""


class ForwardWriter(LayerWriter[R]):
    """A layer, while its kernel writes it.

    Attributes
    ----------
    kept
        What goes into the gates, where the gradient reads it.
    constant
        Whether weights stay as they are from run to run.
    halved
        Whether weights are halved beforehand where their product goes into a sigmoid, which then is a tanh.
    """

    def __init__(self, k: Emitter[R], gates: int, sigmoids: int, kept: int) -> None:
        super().__init__(k, gates)
        self.kept = self.out(kept, "gates")
        self.constant = all(x.phase is Phase.STATE for x in (self.weight, self.recurrent, self.bias))
        firsts = {self.attrs.activation(d, 0) for d in range(self.directions)}
        peepholes = getattr(self.attrs, "peepholes", False)
        self.halved = (
            self.constant and self.kept is None and not peepholes and self.attrs.clip is None and firsts == {SIGMOID}
        )
        self.sigmoids = sigmoids * self.hidden if self.halved else 0

    def _panels(self, x: Operand, width: int, label: str) -> Operand:
        """Weights (D, gates * H, inputs) as panels (D, panels, inputs, width)."""
        directions, outputs, depth = x.shape
        count = outputs // width
        with self.k.once(x):
            panels = self.k.scratch((directions, count, depth, width), x.dtype, label)
            for d in range(directions):
                self.k.line(f"{self.k.use(turn_panels)}({x}[{d}], {panels}[{d}])")
            if self.halved:
                halves = np.ones(outputs, x.dtype)
                halves[: self.sigmoids] = 0.5
                self.k.line(f"{panels}[...] *= {self.k.use(as_view(halves, count, 1, width), 'halves')}")
        return panels

    def _packed(self, x: Operand, order: tuple[int, int, int], turn: bool, label: str) -> Operand:
        """Weights (D, gates * H, inputs), halved where their product goes into a sigmoid.

        Where they ``turn`` their axes lie in this order; else they stay as they are.
        """
        if not turn and not self.halved:
            return x
        k = self.k
        with k.once(x):
            copy = k.scratch([x.shape[axis] for axis in order] if turn else x.shape, x.dtype, label)
            k.line(f"{copy}[...] = {x}.transpose{order}" if turn else f"{copy}[...] = {x}")
            if self.halved:
                part = [f":{self.sigmoids}" if axis == 1 else ":" for axis in (order if turn else range(3))]
                k.line(f"{copy}[{', '.join(part)}] *= 0.5")
        return copy

    def _turns(self, rows: int, x: Operand, often: bool = False) -> bool:
        """Whether weights are turned beforehand for products of so many rows.

        With such, BLAS need not pack them each time, which for few rows takes longer than to multiply. One row by many
        numbers is quicker with the weights as they are.
        """
        return (self.constant or often) and (rows > 1 or math.prod(x.shape[1:]) < MANY)

    def weights(self, *, whole: bool = True) -> Operand:
        """What the state is multiplied with: (D, H, gates * H); panels of each gate where the product is ``whole``."""
        cut = whole and self.constant and not self.k.exact
        width = step_panels(self.batch, self.hidden, self.gates, self.dtype.itemsize) if cut else None
        if width is not None:
            self.planes = True
            return self._gate_panels(width)
        turn = self._turns(self.batch, self.recurrent, self.times >= OFTEN)
        packed = self._packed(self.recurrent, (0, 2, 1), turn, "recurrent")
        return packed if turn else self.k.permuted(packed, (0, 2, 1))

    def _gate_panels(self, width: int) -> Operand:
        """The state's weights as (D, gates, panels, H, width).

        Those that come from beyond the cache are rows as they lie, of which BLAS reads several at a time; it goes over
        the others' rows once for all of the batch.
        """
        k, size = self.k, self.hidden
        shape = (self.directions, self.gates, size // width)
        if self.batch > FEW_ROWS or not is_streamed(this_machine(), size, self.width, self.dtype.itemsize):
            return k.target(self._panels(self.recurrent, width, "recurrent"), (*shape, size, width), "panels")
        packed = self._packed(self.recurrent, (0, 1, 2), False, "recurrent")
        return k.permuted(k.target(packed, (*shape, width, size), "panels"), (0, 1, 2, 4, 3))

    def _input_weight(self) -> Operand:
        """What the input is multiplied with for all directions, (inputs, D * gates * H)."""
        k, columns = self.k, self.directions * self.width
        turn = self._turns(self.times * self.batch, self.weight)
        packed = self._packed(self.weight, (2, 0, 1), turn, "weight")
        if turn:
            return k.target(packed, (self.features, columns), "matrix")
        return k.permuted(k.target(packed, (columns, self.features), "matrix"), (1, 0))

    def shift(self, outside: int) -> Operand:
        """Both biases in one row, the second only up to the last ``outside`` gates."""
        k, width, inside = self.k, self.width, self.width - outside * self.hidden
        with k.once(self.bias):
            row = k.scratch((self.directions, width), self.dtype, "shift")
            k.line(f"{row}[...] = {self.bias}[:, :{width}]")
            k.line(f"{row}[:, :{inside}] += {self.bias}[:, {width}:{width + inside}]")
            if self.halved:
                k.line(f"{row}[:, :{self.sigmoids}] *= 0.5")
            return k.target(row, (self.directions * width,), "row")

    def products(self, outside: int = 0) -> Operand:
        """All that does not depend on the state, (T, N, D, gates * H): products of all times, and the biases."""
        k, columns = self.k, self.directions * self.width
        seen = self.kept or k.scratch((self.times, self.batch, self.directions, self.width), self.dtype, "seen")
        cut = cut_for(k, self.times * self.batch, self.features, self.width)
        whole = not self.constant or cut.width == self.width
        weights = self._input_weight() if whole else self._panels(self.weight, cut.width, "weight")
        shift = self.shift(outside)
        flat, x = self.flat(seen, columns), self.flat(self.x, self.features)
        if whole:
            k.line(f"{x}.dot({weights}, out={flat})")
        else:
            every = k.target(weights, (math.prod(weights.shape[:2]), *weights.shape[2:]), "panels")
            k.line(multiply_lines(k, str(bind(k, "products", input_products, x, every, flat, cut.rows))))
        k.line(f"np.add({flat}, {shift}, out={flat})")
        return seen

    def masked(self) -> Operand | None:
        """Which times each of the batch has; None where it has them all."""
        return self.valid(self.k.ins[-1]) if self.attrs.lengths else None

    # ------------------------------------------------------------ lines

    def multiplied(self, v: StepNames, state: str, target: str) -> str:
        """The line that multiplies a state with its weights into the view of this name."""
        if self.planes:
            return f"np.matmul({state}, {v.weight}, out={getattr(v, f'{target}_panels')})"
        return f"{state}.dot({v.weight}, out={getattr(v, target)})"

    def half(self, columns: int) -> str:
        """0.5 for so many columns: an array where that is small, which NumPy need not broadcast."""
        if 0 < self.batch * columns <= FEW:
            planes = (columns // self.hidden, self.batch, self.hidden)
            shape = planes if self.planes and columns > self.hidden else (self.batch, columns)
            return self.k.use(filled(0.5, self.dtype, shape), "half")
        return scalar(self.k, 0.5, self.dtype)

    def activate(self, number: int, source: str, target: str, columns: int = 0) -> list[str]:
        """Lines of an activation of the directions that are being written."""
        a = self.attrs.activation(self.direction, number)
        if a == SIGMOID:
            half = self.half(columns)
            first = [] if self.halved and number == 0 else [f"np.multiply({source}, {half}, out={target})"]
            tanh = f"np.tanh({target if first else source}, out={target})"
            return [
                *first,
                tanh,
                f"np.multiply({target}, {half}, out={target})",
                f"np.add({target}, {half}, out={target})",
            ]
        if a == TANH:
            return [f"np.tanh({source}, out={target})"]
        numbers = f"{self.k.number(a.alpha)}, {self.k.number(a.beta)}"
        return [f"{self.k.use(FUNCTIONS[a.name])}({source}, {target}, {numbers})"]

    def gate(self, number: int, source: str, target: str, columns: int = 0) -> list[str]:
        """Lines of an activation behind a clip."""
        clip = self.attrs.clip
        if clip is None:
            return self.activate(number, source, target, columns)
        high, low = self.k.number(clip), self.k.number(-clip)
        held = [f"np.maximum({source}, {low}, out={target})", f"np.minimum({target}, {high}, out={target})"]
        return [*held, *self.activate(number, target, target, columns)]

    def all_gates(self, v: StepNames) -> list[str]:
        """Lines of all gates of an LSTM, of which none sees another."""
        if self.halved and self.attrs.activation(self.direction, 1) == TANH:  # one for all
            half = self.half(3 * self.hidden)
            moved = [f"np.{how}({v.a_iof}, {half}, out={v.a_iof})" for how in ("multiply", "add")]
            return [f"np.tanh({v.a}, out={v.a})", *moved]
        iof, g = (v.x_iof, v.x_g) if self.kept else (v.a_iof, v.a_g)
        return [*self.gate(0, iof, v.a_iof, 3 * self.hidden), *self.gate(1, g, v.a_g)]


def _states(layer: ForwardWriter[R], count: int) -> tuple[Operand, ...]:
    """The last states; where sequences have lengths they hold what the states are, from the first on."""
    k = layer.k
    begin, last = k.ins[4 : 4 + count], tuple(layer.state(1 + i, "hc"[i]) for i in range(count))
    if layer.attrs.lengths or not layer.times:
        for before, state in zip(begin, last, strict=True):
            k.line(f"{state}[...] = {before}")
    return last


def _copy_last(layer: ForwardWriter[R], states: tuple[Operand, ...], every: tuple[Operand | None, ...]) -> None:
    """Where the states of all times lie apart from the last one, that is copied at the end."""
    if layer.attrs.lengths or not layer.times:
        return
    for number, (state, times) in enumerate(zip(states, every, strict=True)):
        if times is not None and layer.k.outs[1 + number] is not None:
            for run in (run for mine in layer.runs for run in mine):
                d = run.direction
                layer.k.line(f"{state}[{d}] = {times}[{run.times[-1]}, {d}]")


def _kept(layer: ForwardWriter[R], v: StepNames, *states: tuple[str, str]) -> list[str]:
    """What was made becomes the state where a sequence has this time; elsewhere that stays, and the result is 0."""
    if not layer.attrs.lengths:
        return []
    return [f"np.copyto({state}, {made}, where={v.valid})" for state, made in states]


def _results(layer: ForwardWriter[R], v: StepNames, y: Operand | None) -> list[str]:
    if not layer.attrs.lengths or y is None:
        return []
    return [f"{v.y}.fill(0)", f"np.copyto({v.y}, {v.made_h}, where={v.valid})"]


@kernel(LSTM, ways=ways(LSTM_GATES), staged=True)
def lstm(k: Emitter[LSTMAttrs]) -> None:
    layer = ForwardWriter(k, LSTM_GATES, 3, 3)
    y, kept, cells = layer.out(0, "y"), layer.kept, layer.out(4, "cells")
    states = _states(layer, 2)
    seen, valid, hidden = layer.products(), layer.masked(), layer.hidden
    peepholes = k.laid_out(k.ins[6]) if k.attrs.peepholes else None

    def lines(v: StepNames) -> list[str]:
        h, c = (v.made_h, v.made_c) if valid else (v.y, v.cell)
        shown, product, seen = (v.t if k.attrs.rounded else v.h), (v.product if kept else v.a), (v.x if kept else v.a)
        found = [layer.multiplied(v, shown, "product" if kept else "a"), f"np.add({product}, {v.x}, out={seen})"]
        if k.attrs.rounded:
            found.insert(0, f"{k.use(rounded)}({v.h}, {shown})")
        if peepholes:
            for seen_by, weight in ((v.x_i if kept else v.a_i, v.peep_i), (v.x_f if kept else v.a_f, v.peep_f)):
                found += [f"np.multiply({v.c}, {weight}, out={v.t})", f"np.add({seen_by}, {v.t}, out={seen_by})"]
            found += layer.gate(0, v.x_i if kept else v.a_i, v.a_i) + layer.gate(0, v.x_f if kept else v.a_f, v.a_f)
            found += layer.gate(1, v.x_g if kept else v.a_g, v.a_g)
        else:
            found += layer.all_gates(v)
        found += [
            f"np.multiply({v.a_f}, {v.c}, out={c})", f"np.multiply({v.a_i}, {v.a_g}, out={v.t})",
            f"np.add({c}, {v.t}, out={c})",
        ]  # fmt: skip
        if peepholes:
            o = v.x_o if kept else v.a_o
            found += [f"np.multiply({c}, {v.peep_o}, out={v.t})", f"np.add({o}, {v.t}, out={o})"]
            found += layer.gate(0, o, v.a_o)
        found += [*layer.activate(2, c, v.t), f"np.multiply({v.a_o}, {v.t}, out={h})"]
        found += _kept(layer, v, (v.h, h), (v.c, c)) + _results(layer, v, y)
        return found if not (valid and cells) else [*found, f"np.copyto({v.cell}, {v.c})"]

    arrays = seen, y, cells, k.ins[4:6], states, valid
    memory = layer.memory(layer.width, layer.width, hidden, hidden, hidden)
    layer.over_time(lines, lstm_steps, arrays, layer.weights(), peepholes, memory)
    _copy_last(layer, states, (y, cells))
    layer.end()


@kernel(GRU, ways=ways(GRU_GATES), staged=True)
def gru(k: Emitter[GRUAttrs]) -> None:
    layer, last = ForwardWriter(k, GRU_GATES, 2, 2), k.attrs.linear_before_reset
    y, kept = layer.out(0, "y"), layer.kept
    states = _states(layer, 1)
    seen, valid, hidden = layer.products(outside=1 if last else 0), layer.masked(), layer.hidden

    def lines(v: StepNames) -> list[str]:
        h = v.made_h if valid else v.y
        zr, n = (v.x_zr, v.x_n) if kept else (v.a_zr, v.a_n)
        if last:
            found = [
                layer.multiplied(v, v.h, "product"), f"np.add({v.product_n}, {v.bias_n}, out={v.product_n})",
                f"np.add({v.product_zr}, {v.x_zr}, out={zr})", *layer.gate(0, zr, v.a_zr, 2 * hidden),
                f"np.multiply({v.a_r}, {v.product_n}, out={v.t})", f"np.add({v.t}, {v.x_n}, out={n})",
            ]  # fmt: skip
        else:
            found = [
                f"{v.h}.dot({v.weight_zr}, out={v.first})", f"np.add({v.first}, {v.x_zr}, out={zr})",
                *layer.gate(0, zr, v.a_zr, 2 * hidden), f"np.multiply({v.a_r}, {v.h}, out={v.t})",
                f"{v.t}.dot({v.weight_n}, out={v.second})", f"np.add({v.second}, {v.x_n}, out={n})",
            ]  # fmt: skip
        found += [
            *layer.gate(1, n, v.a_n), f"np.subtract({v.h}, {v.a_n}, out={v.t})",
            f"np.multiply({v.a_z}, {v.t}, out={v.t})", f"np.add({v.a_n}, {v.t}, out={h})",
        ]  # fmt: skip
        return found + _kept(layer, v, (v.h, h)) + _results(layer, v, y)

    arrays = seen, y, None, k.ins[4:5], states, valid
    widths = (layer.width, 1, 1) if last else (0, 2 * hidden, hidden)
    memory = layer.memory(*widths, layer.width, hidden, hidden)
    layer.over_time(lines, gru_steps, arrays, layer.weights(whole=last), layer.bias, memory)
    _copy_last(layer, states, (y,))
    layer.end()


@kernel(RNN, ways=ways(RNN_GATES), staged=True)
def rnn(k: Emitter[RNNAttrs]) -> None:
    layer = ForwardWriter(k, RNN_GATES, 1, 2)
    y, kept = layer.out(0, "y"), layer.kept
    states = _states(layer, 1)
    seen, valid, hidden = layer.products(), layer.masked(), layer.hidden

    def lines(v: StepNames) -> list[str]:
        h, z = v.made_h if valid else v.y, v.x if kept else v.product
        found = [layer.multiplied(v, v.h, "product"), f"np.add({v.product}, {v.x}, out={z})"]
        return [*found, *layer.gate(0, z, h), *_kept(layer, v, (v.h, h)), *_results(layer, v, y)]

    arrays = seen, y, None, k.ins[4:5], states, valid
    layer.over_time(lines, rnn_steps, arrays, layer.weights(), layer.memory(hidden, hidden))
    _copy_last(layer, states, (y,))
    layer.end()
