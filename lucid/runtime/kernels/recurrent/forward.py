"""Recurrent layers: one product with the input for a chunk of times; then, time by time, what depends on the state."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ....graph.ops.recurrent import GRU, GRU_GATES, LSTM, LSTM_GATES, RNN, RNN_GATES
from ....graph.ops.recurrent_types import SIGMOID, TANH, GRUAttrs, LSTMAttrs, RNNAttrs
from ...planning.machine import this_machine
from ...planning.phase import Phase
from ...planning.registry import kernel
from ...program.emitter import Emitter, Operand
from ...program.views import as_view
from ..elementwise import SMALL, filled, scalar
from ..shared.panels import LEAST_BLOCK_ROWS, Blocking, cut_for, few_rows, is_streamed, multiply_lines
from ..shared.panels_views import turn_panels
from .forward_views import forward_chunks
from .functions import FUNCTIONS, rounded
from .layer import LayerWriter, Lines, R, StepNames, step_panels, ways
from .together_views import together_chunks

MANY = 1 << 18
"""Elements of a weight from which a product of one row is faster with the weight untransposed."""
ODD = 3
"""A number of rows for which BLAS reads the weights twice (for two rows, then one); for four it reads them once."""
OFTEN = 8
"""The number of products with a weight from which transposing it pays even for a single run."""


class ForwardWriter(LayerWriter[R]):
    """A layer, as its kernel writes it.

    Attributes
    ----------
    kept
        The gates or their inputs, if the gradient reads them.
    raw
        Whether those are the inputs, so that the gates have memory of their own.
    constant
        Whether weights stay the same from run to run.
    halved
        Whether weights whose product goes into a sigmoid are halved in advance, so that it can be computed by tanh.
    panels
        The number of panels of a gate's weight.
    spare
        Whether three rows are multiplied as four.
    straight
        The width of panels of the input's weights by which the product of each time, biases included, is written where
        its gates are kept; None if the products of a chunk are computed as one, and then turned.
    """

    def __init__(self, k: Emitter[R], gates: int, sigmoids: int, kept: int) -> None:
        super().__init__(k, gates)
        assert not self.together or all(y is None for y in k.outs[kept:])
        self.kept = self.out(kept, "gates")
        self.raw = self.kept is not None and self.attrs.raw
        self.constant = all(x.phase is Phase.STATE for x in (self.weight, self.recurrent, self.bias))
        self.turned = self.constant or (self.batch > 1 and self.times >= OFTEN)
        firsts = {self.attrs.activation(d, 0) for d in range(self.directions)}
        plain = self.attrs.clip is None and not getattr(self.attrs, "peepholes", False)
        self.halved = self.turned and not self.raw and plain and firsts == {SIGMOID}
        self.sigmoids = sigmoids * self.hidden if self.halved else 0
        self.panels = 1
        streamed = is_streamed(this_machine(), self.hidden, self.width, self.dtype.itemsize)
        whole = not self.together and getattr(self.attrs, "linear_before_reset", True)
        self.spare = self.rows == ODD and whole and streamed and self._in_panels() is not None
        self.straight: int | None = None
        if self.turned and not self.together and not k.exact and self.rows >= LEAST_BLOCK_ROWS:
            self.straight = few_rows(this_machine(), self.rows, self.features + 1, self.hidden, self.dtype.itemsize)

    def _in_panels(self) -> int | None:
        """The width of a panel of the state's weight; None without panels."""
        if self.k.exact or self.batch == 1:
            return None
        return step_panels(self.rows, self.hidden, self.hidden, self.gates == 1, self.dtype.itemsize)

    def _panels(self, x: Operand, width: int, label: str, below: Operand | None = None) -> Operand:
        """Weights (D, gates * H, inputs) as panels (D, panels, inputs, width).

        With a row (D, gates * H) ``below``, that is one more input's weight.
        """
        directions, outputs, depth = x.shape
        count, k = outputs // width, self.k
        with k.once(x, *filter(None, [below])):
            panels = k.scratch((directions, count, depth + (below is not None), width), x.dtype, label)
            for d in range(directions):
                k.line(f"{k.use(turn_panels)}({x}[{d}], {panels}[{d}, :, :{depth}])")
            if self.halved:
                halves = np.ones(outputs, x.dtype)
                halves[: self.sigmoids] = 0.5
                k.line(f"{panels}[:, :, :{depth}] *= {k.use(as_view(halves, count, 1, width), 'halves')}")
            if below is not None:
                k.line(f"{panels}[:, :, {depth}] = {k.seen(below, (directions, count, width))}")
        return panels

    def _rows(self, x: Operand) -> Operand:
        """Weights (D, gates * H, inputs) untransposed, halved if their product goes into a sigmoid."""
        if not self.halved:
            return x
        k = self.k
        with k.once(x):
            copy = k.scratch(x.shape, x.dtype, "halved")
            k.line(f"{copy}[...] = {x}")
            k.line(f"{copy}[:, :{self.sigmoids}] *= 0.5")
        return copy

    def weights(self) -> Operand:
        """The weights that the state is multiplied by: panels of each gate (D, gates, panels, H, width).

        They are left untransposed if transposing does not pay. For a single sequence they are (D, H, gates * H).
        """
        k, size, shape = self.k, self.hidden, (self.directions, self.gates)
        if self.batch == 1:
            if (self.constant or self.times >= OFTEN) and size * self.width < MANY:
                return k.target(self._panels(self.recurrent, self.width, "recurrent"), (*shape[:1], size, self.width))
            return k.permuted(self._rows(self.recurrent), (0, 2, 1))
        width = self._in_panels() or size
        self.panels = size // width
        if self.turned:
            made = self._panels(self.recurrent, width, "recurrent")
            return k.target(made, (*shape, size // width, size, width), "panels")
        lying = k.target(self._rows(self.recurrent), (*shape, size // width, width, size), "panels")
        return k.permuted(lying, (0, 1, 2, 4, 3))

    def _input_weight(self, rows: int, shift: Operand) -> tuple[int, Operand]:
        """The rows of a block of products, and the input's weights (D, panels, inputs, width), for ``rows`` rows.

        The ``shift`` is the last input's weight where that is always 1.
        """
        k = self.k
        if self.straight is not None:
            return self.rows, self._panels(self.weight, self.straight, "weight", shift)
        cut = cut_for(k, rows, self.features, self.width)
        if not self.turned:
            cut = Blocking(max(1, rows), self.width)
        if self.turned and (rows > 1 or self.features * self.width < MANY):
            return cut.rows, self._panels(self.weight, cut.width, "weight")
        whole = k.target(self._rows(self.weight), (self.directions, 1, self.width, self.features), "panels")
        return cut.rows, k.permuted(whole, (0, 1, 3, 2))

    def _shift(self, outside: int) -> Operand:
        """The sum of both biases, without the second one for the last ``outside`` gates: (D, gates, 1, H)."""
        k, width, inside = self.k, self.width, self.width - outside * self.hidden
        with k.once(self.bias):
            row = k.scratch((self.directions, width), self.dtype, "shift")
            k.line(f"{row}[...] = {self.bias}[:, :{width}]")
            k.line(f"{row}[:, :{inside}] += {self.bias}[:, {width}:{width + inside}]")
            if self.halved:
                k.line(f"{row}[:, :{self.sigmoids}] *= 0.5")
            return k.target(row, (self.directions, self.gates, 1, self.hidden), "row")

    def run(
        self, lines: Lines, y: Operand | None, states: tuple[Operand, ...], cells: Operand | None = None, *,
        outside: int = 0, peepholes: Operand | None = None,
    ) -> None:  # fmt: skip
        """Write the loop of these lines; the input product lacks the second bias of the last ``outside`` gates."""
        k, hidden = self.k, self.hidden
        shift = self._shift(outside)
        rows, weight = self._input_weight(self.chunk * self.rows, shift)
        bias = k.view(self.bias, f"{self.bias}[:, -{hidden}:]", (self.directions, hidden)) if outside else None
        given, weights = (self.x, weight, rows, shift), (self.weights(), bias, peepholes)
        valid = self.valid(k.ins[-1]) if self.attrs.lengths else None
        begin, every = tuple(k.ins[4 : 4 + len(states)]), y
        if self.together:
            begin = tuple(k.laid_out(x) for x in begin)
            every = y and k.scratch((self.times, self.lanes, hidden), self.dtype, "states")
        sequences = self.kept, every, cells, begin, states, valid

        def of_chunk(width: int) -> Callable[[int], tuple[int, ...]]:
            return lambda rows: (self.chunk * rows, width)

        straight = self.straight is not None
        made = not straight and (self.batch > 1 or self.together or self.kept is not None)
        gathered = straight or self.rows < self.batch
        rooms = zip(
            self.memory("gathered", self.chunked(self.inputs), gathered, value=1 if straight else None),
            self.memory("made", of_chunk(self.width), made),
            self.memory("seen", self.chunked(self.planes), self.kept is None or self.rows < self.batch),
            self.memory("active", self.planes, self.raw),
            self.memory("product", lambda rows: self.planes(self.even(rows))),
            self.memory("left", lambda rows: self.matrix(self.even(rows)), self.spare, value=0),
            *(self.memory(label, self.matrix) for label in ("t", "h", "c")), strict=True,
        )  # fmt: skip

        def before(v: StepNames) -> list[str]:
            copied, source, made_at, shift, sums = map(k.names.fresh, ("to", "of", "made", "shift", "sums"))
            found = [f"for {copied}, {source} in {v.gathered}:\n    {copied}[...] = {source}"] if gathered else []
            found.append(multiply_lines(k, v.products))
            if not straight:
                found.append(
                    f"for {made_at}, {shift}, {sums} in {v.shifted}:\n    np.add({made_at}, {shift}, out={sums})"
                )
            return found

        def after(v: StepNames) -> list[str]:
            # in the meantime they are contiguous: NumPy takes twice as long for gates of a part of the batch
            return [f"{v.kept}[...] = {v.seen}"] if self.kept is not None and self.rows < self.batch else []

        chunks = together_chunks if self.together else forward_chunks
        self.over_time(before, lines, chunks, given, weights, sequences, tuple(rooms), after=after)
        if self.together and y is not None:
            for d in range(self.directions):
                order = "::-1" if self.attrs.backwards[d] else ":"
                k.line(f"{y}[:, {d}] = {every}[{order}, {d * self.batch}:{(d + 1) * self.batch}]")
        _copy_last(self, states, (y, cells)[: len(states)])
        self.end()

    # ------------------------------------------------------------ lines

    def inputs(self, rows: int) -> tuple[int, ...]:
        """The shape of the input of a time."""
        return rows, self.features + (self.straight is not None)

    def even(self, rows: int) -> int:
        """The number of rows, with a spare one if that is faster."""
        return rows + (self.spare and rows == ODD)

    def of_state(self, v: StepNames) -> list[str]:
        """Lines that multiply the state (rounded if the layer asks for that) by the weights of all gates."""
        rounds = getattr(self.attrs, "rounded", False)
        if self.spare:
            shown = f"{self.k.use(rounded)}({v.h}, {v.shown})" if rounds else f"{v.shown}[...] = {v.h}"
            return [shown, self.multiplied(v, v.left)]
        if not rounds:
            return [self.multiplied(v, v.left_h)]
        parts = [f"_{d}" for d in range(self.directions)] if self.together else [""]  # one for each direction
        each = [f"{self.k.use(rounded)}({getattr(v, f'h{part}')}, {getattr(v, f't{part}')})" for part in parts]
        return [*each, self.multiplied(v, v.left_t)]

    def multiplied(self, v: StepNames, state: str, which: str = "", gates: int | None = None) -> str:
        """The line that multiplies a state by the weights of these gates, or of all."""
        weight, target = getattr(v, f"weight{which}"), getattr(v, f"target{which}")
        if not self.together and (self.batch == 1 or (gates or self.gates) * self.panels == 1):
            return f"{state}.dot({weight}, out={target})"
        return f"np.matmul({state}, {weight}, out={target})"

    def half(self, gates: int) -> str:
        """0.5 for this many gates: an array if that is small, to save NumPy the broadcasting."""
        even = self.batch % len({run.first for mine in self.runs for run in mine}) == 0
        if even and 0 < self.lanes * gates * self.hidden <= SMALL:
            shape = (gates, self.lanes, self.hidden)
            return self.k.use(filled(0.5, self.dtype, shape[gates == 1 :]), "half")
        return scalar(self.k, 0.5, self.dtype)

    def activate(self, number: int, source: str, target: str, gates: int = 1) -> list[str]:
        """Lines of an activation of the directions that lines are being written for."""
        a = self.attrs.activation(self.direction, number)
        if a == SIGMOID:
            half = self.half(gates)
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

    def gate(self, number: int, source: str, target: str, gates: int = 1) -> list[str]:
        """Lines of an activation after the clip."""
        clip = self.attrs.clip
        if clip is None:
            return self.activate(number, source, target, gates)
        high, low = self.k.number(clip), self.k.number(-clip)
        held = [f"np.maximum({source}, {low}, out={target})", f"np.minimum({target}, {high}, out={target})"]
        return [*held, *self.activate(number, target, target, gates)]

    def all_gates(self, v: StepNames) -> list[str]:
        """Lines of all gates of an LSTM, none of which depends on another."""
        if self.halved and self.attrs.activation(self.direction, 1) == TANH:  # a single call for all
            half = self.half(3)
            moved = [f"np.{how}({v.a_iof}, {half}, out={v.a_iof})" for how in ("multiply", "add")]
            return [f"np.tanh({v.x}, out={v.a})", *moved]
        return [*self.gate(0, v.x_iof, v.a_iof, 3), *self.gate(1, v.x_g, v.a_g)]


def _states(layer: ForwardWriter[R], count: int) -> tuple[Operand, ...]:
    """The last states; if sequences have lengths, they hold the current states throughout."""
    k = layer.k
    begin, last = k.ins[4 : 4 + count], tuple(layer.state(1 + i, "hc"[i]) for i in range(count))
    if layer.attrs.lengths or not layer.times:
        for before, state in zip(begin, last, strict=True):
            k.line(f"{state}[...] = {before}")
    return last


def _copy_last(layer: ForwardWriter[R], states: tuple[Operand, ...], every: tuple[Operand | None, ...]) -> None:
    """Write copies of the last states at the end, if states of all times are stored separately."""
    if layer.attrs.lengths or not layer.times:
        return
    for number, (state, times) in enumerate(zip(states, every, strict=True)):
        if times is not None and layer.k.outs[1 + number] is not None:
            for run in (run for mine in layer.runs for run in mine):
                d = run.direction
                layer.k.line(f"{state}[{d}] = {times}[{run.times[-1]}, {d}]")


def _kept(layer: ForwardWriter[R], v: StepNames, *states: tuple[str, str]) -> list[str]:
    """Lines that update states within a sequence's length; beyond it they stay, and the result is 0."""
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
    y, cells = layer.out(0, "y"), layer.out(4, "cells")
    states, lengths = _states(layer, 2), k.attrs.lengths
    peepholes = k.laid_out(k.ins[6]) if k.attrs.peepholes else None

    def lines(v: StepNames) -> list[str]:
        h, c = (v.made_h, v.made_c) if lengths else (v.y, v.cell)
        found = [*layer.of_state(v), f"np.add({v.product}, {v.x}, out={v.x})"]
        if peepholes:
            for seen_by, weight in ((v.x_i, v.peep_i), (v.x_f, v.peep_f)):
                found += [f"np.multiply({v.c}, {weight}, out={v.t})", f"np.add({seen_by}, {v.t}, out={seen_by})"]
            found += layer.gate(0, v.x_i, v.a_i) + layer.gate(0, v.x_f, v.a_f) + layer.gate(1, v.x_g, v.a_g)
        else:
            found += layer.all_gates(v)
        found += [
            f"np.multiply({v.a_f}, {v.c}, out={c})", f"np.multiply({v.a_i}, {v.a_g}, out={v.t})",
            f"np.add({c}, {v.t}, out={c})",
        ]  # fmt: skip
        if peepholes:
            found += [f"np.multiply({c}, {v.peep_o}, out={v.t})", f"np.add({v.x_o}, {v.t}, out={v.x_o})"]
            found += layer.gate(0, v.x_o, v.a_o)
        found += [*layer.activate(2, c, v.t), f"np.multiply({v.a_o}, {v.t}, out={h})"]
        found += _kept(layer, v, (v.h, h), (v.c, c)) + _results(layer, v, y)
        return found if not (lengths and cells) else [*found, f"np.copyto({v.cell}, {v.c})"]

    layer.run(lines, y, states, cells, peepholes=peepholes)


@kernel(GRU, ways=ways(GRU_GATES), staged=True)
def gru(k: Emitter[GRUAttrs]) -> None:
    layer, last = ForwardWriter(k, GRU_GATES, 2, 2), k.attrs.linear_before_reset
    y, states = layer.out(0, "y"), _states(layer, 1)

    def lines(v: StepNames) -> list[str]:
        h = v.made_h if k.attrs.lengths else v.y
        if last:
            found = [
                *layer.of_state(v), f"np.add({v.biased}, {v.bias_n}, out={v.biased})",
                f"np.add({v.product_zr}, {v.x_zr}, out={v.x_zr})", *layer.gate(0, v.x_zr, v.a_zr, 2),
                f"np.multiply({v.a_r}, {v.product_n}, out={v.t})", f"np.add({v.t}, {v.x_n}, out={v.x_n})",
            ]  # fmt: skip
        else:
            found = [
                layer.multiplied(v, v.left_h, "_zr", 2), f"np.add({v.product_zr}, {v.x_zr}, out={v.x_zr})",
                *layer.gate(0, v.x_zr, v.a_zr, 2), f"np.multiply({v.a_r}, {v.h}, out={v.t})",
                layer.multiplied(v, v.left_t, "_n", 1), f"np.add({v.product_n}, {v.x_n}, out={v.x_n})",
            ]  # fmt: skip
        found += [
            *layer.gate(1, v.x_n, v.a_n), f"np.subtract({v.h}, {v.a_n}, out={v.t})",
            f"np.multiply({v.a_z}, {v.t}, out={v.t})", f"np.add({v.a_n}, {v.t}, out={h})",
        ]  # fmt: skip
        return found + _kept(layer, v, (v.h, h)) + _results(layer, v, y)

    layer.run(lines, y, states, outside=1 if last else 0)


@kernel(RNN, ways=ways(RNN_GATES), staged=True)
def rnn(k: Emitter[RNNAttrs]) -> None:
    layer = ForwardWriter(k, RNN_GATES, 1, 2)
    y, states = layer.out(0, "y"), _states(layer, 1)

    def lines(v: StepNames) -> list[str]:
        h = v.made_h if k.attrs.lengths else v.y
        found = [*layer.of_state(v), f"np.add({v.product}, {v.x}, out={v.x})"]
        return [*found, *layer.gate(0, v.x_z, h), *_kept(layer, v, (v.h, h)), *_results(layer, v, y)]

    layer.run(lines, y, states)
