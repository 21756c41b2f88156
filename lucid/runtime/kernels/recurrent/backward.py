"""Gradients of recurrent layers.

For each chunk of times the derivatives of the gates, then backwards time by time; at the end, products over all times
for the weights and the input.
"""

from __future__ import annotations

from collections.abc import Sequence

from ....graph.ops.recurrent import GRU_GATES, GRU_GRAD, LSTM_GATES, LSTM_GRAD, RNN_GATES, RNN_GRAD
from ....graph.ops.recurrent_types import GRUAttrs, LSTMAttrs, RNNAttrs
from ...planning.registry import kernel
from ...program.emitter import Emitter, Operand
from ..shared.loop import BlockLoop
from .backward_views import Squash, backward_chunks, squash, steepen, weight_products
from .layer import LayerWriter, Lines, R, StepNames, step_panels, ways


class BackwardWriter(LayerWriter[R]):
    """A layer's gradient, as its kernel writes it.

    Attributes
    ----------
    y, seen, cells
        The layer's states, the gates that it kept and, for an LSTM, the ``cells``.
    dy
        The gradient of the states at all times.
    gone
        Which times are beyond each sequence's length, (T, N, 1); None if all sequences have full length.
    written
        Whether lines overwrite the gates.
    """

    def __init__(self, k: Emitter[R], gates: int, states: int, written: bool = False) -> None:
        super().__init__(k, gates)
        self.states, extra = states, 2 * states + 2
        results = k.ins[-extra:]
        self.y, self.seen, self.cells = results[0], results[1], results[2] if states == 2 else None
        self.dy, *self.ends = results[-1 - states :]
        self.gone = self.beyond(self.valid(k.ins[-extra - 1])) if self.attrs.lengths else None
        self.written = written or self.gone is not None

    def order(self, direction: int) -> tuple[int, ...]:
        return super().order(direction)[::-1]

    # ------------------------------------------------------------ operands

    def everywhere(self, label: str) -> Operand:
        """Scratch for states at all times: (D, T, N, H)."""
        return self.k.scratch((self.directions, self.times, self.batch, self.hidden), self.dtype, label)

    def gradients(self, label: str) -> Operand:
        """Scratch for gradients of all gates at all times: (T, N, D, gates * H)."""
        return self.k.scratch((self.times, self.batch, self.directions, self.width), self.dtype, label)

    def weights(self, first: int, last: int) -> Operand:
        """The state's weights of some gates, for products with gradients, as panels: (D, panels, gates * H, width)."""
        k, size, depth, d = self.k, self.hidden, (last - first) * self.hidden, self.directions
        part = f"{self.recurrent}[:, {first * size}:{last * size}]"
        width = None
        if self.times > 1 and not k.exact:
            width = step_panels(self.rows, depth, size, True, self.dtype.itemsize)
        if width is None or width == size:
            return k.view(self.recurrent, f"{part}[:, None]", (d, 1, depth, size))
        with k.once(self.recurrent):
            panels = k.scratch((d, size // width, depth, width), self.dtype, "panels")
            turned = k.seen(part, (d, depth, size // width, width))
            k.line(f"{panels}[...] = {turned}.transpose(0, 2, 1, 3)")
        return panels

    def begin(self) -> tuple[Operand, ...]:
        """The gradients of the states: before the loop those of the last states, after it those of the first ones."""
        made = tuple(self.state(4 + i, f"d{'hc'[i]}") for i in range(self.states))
        for state, end in zip(made, self.ends, strict=True):
            self.k.line(f"{state}[...] = {end}")
        return made

    # ------------------------------------------------------------ lines

    def clear(self, v: StepNames, states: str, value: int = 0) -> list[str]:
        """Lines that set states beyond a sequence's length to ``value``."""
        return [] if self.gone is None else [f"np.copyto({states}, {value}, where={v.beyond})"]

    def clear_gates(self, v: StepNames, gates: str) -> list[str]:
        """Lines that set gates beyond a sequence's length to 0."""
        return [] if self.gone is None else [f"np.copyto({gates}, 0, where={v.beyond}[:, None])"]

    def squash(self, v: StepNames, *groups: tuple[int, int, int]) -> list[str]:
        """Lines for the gates and their derivatives; ``groups`` are (activation number, first gate, last gate)."""
        k = self.k
        found = [self.squashed(number, slice(first, last)) for number, first, last in groups]
        activations = k.use(found, f"{k.name}_activations")
        if self.attrs.raw:
            return [f"{k.use(squash)}({activations}, {v.seen}, {v.value}, {v.slope})"]
        copied = [f"{v.value}[...] = {v.seen}"] if self.written else []
        return [*copied, f"{k.use(steepen)}({activations}, {v.value}, {v.slope})"]

    def squashed(self, number: int, gates: slice) -> Squash:
        """An activation of the directions that lines are being written for."""
        a = self.attrs.activation(self.direction, number)
        return Squash(a.name, a.alpha, a.beta, self.attrs.clip, gates)

    def multiplied(self, v: StepNames, gradient: str, weight: Operand | None, which: str = "") -> str:
        """The line that multiplies gradients of gates by their weight."""
        factor, target = getattr(v, f"weight{which}"), getattr(v, f"target{which}")
        if weight is None or weight.shape[1] == 1:
            return f"{gradient}.dot({factor}, out={target})"
        return f"np.matmul({gradient}, {factor}, out={target})"

    def passed(self, v: StepNames, lines: Sequence[str]) -> list[str]:
        """The lines, extended such that beyond a sequence's length the state's gradient is passed on unchanged."""
        if self.gone is None:
            return list(lines)
        return [f"np.multiply({v.dh}, {v.beyond}, out={v.t})", *lines, f"np.add({v.dh}, {v.t}, out={v.dh})"]

    # ------------------------------------------------------------ the whole

    def run(
        self, before: Lines, lines: Lines, weights: Sequence[Operand | None], inner: Operand | None = None,
        c: Operand | None = None, reset: Operand | None = None,
    ) -> Operand:  # fmt: skip
        """Write the loop of these lines, and the products over all times; returns the gradients of the gates."""
        k, rows = self.k, self.gradients("rows")
        kept = self.begin(), rows, inner, self.everywhere("h"), c, reset
        gone = self.y, self.seen, self.cells, k.ins[4 : 4 + self.states], self.dy, self.gone
        planes, states = self.chunked(self.planes), self.chunked(self.matrix)
        rooms = zip(
            self.memory("value", planes, self.written or self.attrs.raw), self.memory("slope", planes),
            self.memory("c", states, self.cells is not None and c is None),
            self.memory("dy", states, self.gone is not None),
            self.memory("first", states, self.gates > 1), self.memory("second", states, self.gates > 1),
            self.memory("t", self.matrix), self.memory("s", self.matrix), strict=True,
        )  # fmt: skip

        def prepared(v: StepNames) -> list[str]:
            to, of, where = map(k.names.fresh, ("to", "of", "where"))
            cleared = self.clear(v, v.dy) if self.gone is not None else []
            copied = f"for {to}, {of}, {where} in {v.copies}:\n    np.copyto({to}, {of}, where={where})"
            return [copied, *cleared, *before(v)]

        given = *weights, self.recurrent, self.bias
        self.over_time(prepared, lines, backward_chunks, gone, given, kept, tuple(rooms))
        self._finish_weights(kept)
        return rows

    def _finish_weights(self, kept: tuple[object, ...]) -> None:
        """Write the products over all times, whose rows workers share."""
        k, results = self.k, [self.out(i, label) for i, label in enumerate(("dx", "dw", "dr", "db"))]
        loop: BlockLoop[int] = BlockLoop(k, [list(range(len(results) * 2))] * len(self.runs))
        ones = k.filled((self.times * self.batch,), self.dtype, "1", "ones")
        bound = loop.bind("products", weight_products, len(self.runs), self.x, self.weight, kept, ones, *results)
        left, right, made = loop.over(bound, "left", "right", "made")
        loop.line(f"np.matmul({left}, {right}, out={made})")  # dot would first copy a part of a matrix
        loop.emit()


@kernel(LSTM_GRAD, ways=ways(LSTM_GATES, back=True), staged=True, spares=True)
def lstm_grad(k: Emitter[LSTMAttrs]) -> None:
    layer = BackwardWriter(k, LSTM_GATES, 2)
    peepholes = k.laid_out(k.ins[6]) if k.attrs.peepholes else None
    c, weight = layer.everywhere("c") if peepholes else None, layer.weights(0, 4)

    def before(v: StepNames) -> list[str]:
        shown, steep = v.first, v.second
        each = zip(
            (v.slope_i, v.slope_o, v.slope_f, v.slope_g), (v.value_g, shown, v.c, v.value_i), strict=True
        )  # fmt: skip
        act = k.use([layer.squashed(2, slice(None))._replace(clip=None)], f"{k.name}_shown")
        return [
            *layer.squash(v, (0, 0, 3), (1, 3, 4)),
            f"{k.use(squash)}({act}, {v.cells}[:, None], {shown}[:, None], {steep}[:, None])",
            *(f"np.multiply({slope}, {by}, out={slope})" for slope, by in each),
            f"np.multiply({steep}, {v.value_o}, out={steep})", *layer.clear(v, steep),
            *layer.clear_gates(v, v.slope), *layer.clear(v, v.value_f, 1),
        ]  # fmt: skip

    def lines(v: StepNames) -> list[str]:
        found = [
            f"np.add({v.dh}, {v.dy}, out={v.dh})", f"np.multiply({v.d_o}, {v.dh}, out={v.d_o})",
            f"np.multiply({v.dh}, {v.second}, out={v.t})", f"np.add({v.dc}, {v.t}, out={v.dc})",
        ]  # fmt: skip

        def peep(gate: str, weight: str) -> list[str]:
            return [f"np.multiply({gate}, {weight}, out={v.t})", f"np.add({v.dc}, {v.t}, out={v.dc})"]

        found += peep(v.d_o, v.peep_o) if peepholes else []
        found += [f"np.multiply({d}, {v.dc}, out={d})" for d in (v.d_i, v.d_f, v.d_g)]
        found += [f"np.multiply({v.dc}, {v.a_f}, out={v.dc})"]
        found += peep(v.d_i, v.peep_i) + peep(v.d_f, v.peep_f) if peepholes else []
        return [*found, f"{v.written}[...] = {v.d}", *layer.passed(v, [layer.multiplied(v, v.rows, weight)])]

    rows = layer.run(before, lines, (weight, None, None, peepholes), c=c)
    dp = layer.out(6, "dp") if peepholes else None
    if dp is not None:
        size, seen = layer.hidden, layer.everywhere("seen")
        for gate, at in enumerate((f"{c}.transpose(1, 2, 0, 3)", f"{layer.cells}.transpose(0, 2, 1, 3)",
                                   f"{c}.transpose(1, 2, 0, 3)")):  # fmt: skip
            part, turned = slice(gate * size, (gate + 1) * size), f"{seen}.transpose(1, 2, 0, 3)"
            k.line(f"np.multiply({rows}[..., {part.start}:{part.stop}], {at}, out={turned})")
            k.line(f"np.add.reduce({turned}, axis=(0, 1), out={dp}[:, {part.start}:{part.stop}])")
    layer.end()


@kernel(GRU_GRAD, ways=ways(GRU_GATES, back=True), staged=True, spares=True)
def gru_grad(k: Emitter[GRUAttrs]) -> None:
    last = k.attrs.linear_before_reset
    layer = BackwardWriter(k, GRU_GATES, 1, written=last)
    every, pair, single = (layer.weights(*at) if (at == (0, 3)) == last else None for at in ((0, 3), (0, 2), (2, 3)))
    reset = None if last else layer.everywhere("reset")  # the operand of the last gate's weight

    def before(v: StepNames) -> list[str]:
        inner, apart = (v.first if last else v.reset), v.second
        product = [f"np.matmul({v.h}, {v.linear}.T, out={inner})", f"np.add({inner}, {v.bias}, out={inner})"]
        return [
            *layer.squash(v, (0, 0, 2), (1, 2, 3)), *(product if last else []),
            f"np.subtract({v.h}, {v.value_n}, out={apart})", f"np.multiply({v.slope_z}, {apart}, out={v.slope_z})",
            f"np.subtract(1, {v.value_z}, out={apart})", f"np.multiply({v.slope_n}, {apart}, out={v.slope_n})",
            f"np.multiply({v.slope_r}, {inner if last else v.h}, out={v.slope_r})",
            *([] if last else [f"np.multiply({v.value_r}, {v.h}, out={inner})"]),
            *layer.clear_gates(v, v.slope), *layer.clear(v, v.value_z, 1),
        ]  # fmt: skip

    def lines(v: StepNames) -> list[str]:
        found = [
            f"np.add({v.dh}, {v.dy}, out={v.dh})", f"np.multiply({v.d_z}, {v.dh}, out={v.d_z})",
            f"np.multiply({v.d_n}, {v.dh}, out={v.d_n})", f"np.multiply({v.dh}, {v.a_z}, out={v.t})",
        ]  # fmt: skip
        if last:  # the gates are overwritten by the gradients of the products with the state
            found += [
                f"np.multiply({v.d_r}, {v.d_n}, out={v.d_r})", f"np.multiply({v.d_n}, {v.a_r}, out={v.a_n})",
                f"{v.a_zr}[...] = {v.d_zr}", f"{v.written}[...] = {v.d}", f"{v.written_inner}[...] = {v.a}",
                layer.multiplied(v, v.rows, every),
            ]  # fmt: skip
        else:
            found += [
                layer.multiplied(v, v.d_n, single, "_last"), f"np.multiply({v.d_r}, {v.s}, out={v.d_r})",
                f"np.multiply({v.s}, {v.a_r}, out={v.s})", f"np.add({v.t}, {v.s}, out={v.t})",
                f"{v.written}[...] = {v.d}", layer.multiplied(v, v.rows_first, pair, "_first"),
            ]  # fmt: skip
        return [*found, f"np.add({v.dh}, {v.t}, out={v.dh})"]

    inner = layer.gradients("inner") if last else None
    layer.run(before, lines, (every, pair, single, None), inner=inner, reset=reset)
    layer.end()


@kernel(RNN_GRAD, ways=ways(RNN_GATES, back=True), staged=True, spares=True)
def rnn_grad(k: Emitter[RNNAttrs]) -> None:
    layer = BackwardWriter(k, RNN_GATES, 1)
    weight = layer.weights(0, 1)

    def before(v: StepNames) -> list[str]:
        return [*layer.squash(v, (0, 0, 1)), *layer.clear_gates(v, v.slope)]

    def lines(v: StepNames) -> list[str]:
        found = [f"np.add({v.dh}, {v.dy}, out={v.dh})", f"np.multiply({v.d_z}, {v.dh}, out={v.written_z})"]
        return [*found, *layer.passed(v, [layer.multiplied(v, v.rows, weight)])]

    layer.run(before, lines, (weight, None, None, None))
    layer.end()
