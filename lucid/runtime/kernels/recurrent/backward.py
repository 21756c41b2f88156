"""Gradients of recurrent layers: the gates and their slopes over all times, then back time by time, then one product
over all times for each weight, and one for the input."""

from __future__ import annotations

from collections.abc import Sequence

from ....graph.ops.recurrent import GRU_GATES, GRU_GRAD, LSTM_GATES, LSTM_GRAD, RNN_GATES, RNN_GRAD
from ....graph.ops.recurrent_types import GRUAttrs, LSTMAttrs, RNNAttrs
from ...planning.registry import kernel
from ...program.emitter import Emitter, Operand
from .grad_views import Squash, before, gru_back, lstm_back, rnn_back, squash
from .layer import LayerWriter, R, StepNames, ways


class BackwardWriter(LayerWriter[R]):
    """A layer's gradient, while its kernel writes it.

    Attributes
    ----------
    y, seen, cells
        What the layer gave, and what it kept: ``cells`` of an LSTM.
    dy
        The gradient of the states at all times, 0 where a sequence has not this time.
    beyond
        Which times each of the batch has not, (T, N, 1); None where it has them all.
    value, slope
        The gates, and how steep they are, (T, N, D, gates * H). What ``slope`` is multiplied with until it is the
        gradient of what goes into the gates.
    """

    def __init__(self, k: Emitter[R], gates: int, states: int) -> None:
        super().__init__(k, gates)
        self.states, extra = states, 2 * states + 2
        results = [k.laid_out(x) for x in k.ins[-extra:]]
        self.y, self.seen, self.cells = results[0], results[1], results[2] if states == 2 else None
        self.dy, *self.ends = results[-1 - states :]
        lengths = k.ins[-extra - 1] if self.attrs.lengths else None
        self.valid_times = None if lengths is None else self.valid(lengths)
        self.beyond = None
        if self.valid_times is not None:
            self.beyond = k.scratch(self.valid_times.shape, self.valid_times.dtype, "beyond")
            k.line(f"np.logical_not({self.valid_times}, out={self.beyond})")
            copy = k.scratch(self.dy.shape, self.dtype, "dy")
            k.line(f"{copy}[...] = {self.dy}")
            self.dy = copy
            self.clear(copy)
        self.dr = self.out(2, "dr")
        shape = (self.times, self.batch, self.directions, self.width)
        self.value, self.slope = (k.scratch(shape, self.dtype, label) for label in ("value", "slope"))

    def order(self, direction: int) -> tuple[int, ...]:
        return super().order(direction)[::-1]

    # ------------------------------------------------------------ before the loop

    def scratch(self, label: str, *, by_direction: bool = False) -> Operand:
        """Working memory for states at all times: (T, D, N, H), or (D, T, N, H)."""
        outer = (self.directions, self.times) if by_direction else (self.times, self.directions)
        return self.k.scratch((*outer, self.batch, self.hidden), self.dtype, label)

    def turned(self, x: Operand, *, by_direction: bool = False) -> str:
        """Such memory as (T, N, D, H), to compute with gates."""
        return f"{x}.transpose({'1, 2, 0, 3' if by_direction else '0, 2, 1, 3'})"

    def part(self, x: Operand, gate: int, count: int = 1) -> str:
        """Some gates of all times."""
        return f"{x}[..., {gate * self.hidden}:{(gate + count) * self.hidden}]"

    def clear(self, states: Operand) -> None:
        """States (T, D, N, H) of times that a sequence has not become 0."""
        if self.beyond is not None:
            self.k.line(f"np.copyto({states}, 0, where={self.beyond}[:, None])")

    def clear_gates(self, gates: str, value: int) -> None:
        """Gates of times that a sequence has not become a number."""
        if self.beyond is not None:
            self.k.line(f"np.copyto({gates}, {value}, where={self.beyond}[:, :, None])")

    def squash(self, *groups: tuple[int, int, int]) -> None:
        """The gates and their slopes: of each activation, by number, from which gate to which."""
        size, found = self.hidden, []
        for d in range(self.directions):
            for number, first, last in groups:
                a = self.attrs.activation(d, number)
                found.append(Squash(a.name, a.alpha, a.beta, self.attrs.clip, d, slice(first * size, last * size)))
        k = self.k
        arrays = f"{self.seen}, {self.value}, {self.slope}"
        k.line(f"{k.use(squash)}({k.use(found, k.name + '_activations')}, {arrays})")

    def show(self, out: Operand, slope: Operand) -> None:
        """What an LSTM shows of its cells, and how steep that is."""
        k, found = self.k, []
        for d in range(self.directions):
            a = self.attrs.activation(d, 2)
            found.append(Squash(a.name, a.alpha, a.beta, None, d, slice(None)))
        arrays = ", ".join(self.turned(x) for x in (self.cells, out, slope) if x)
        k.line(f"{k.use(squash)}({k.use(found, k.name + '_shown')}, {arrays})")

    def earlier(self, states: Operand, number: int) -> Operand:
        """The states before each time, (D, T, N, H)."""
        k, made = self.k, self.scratch("before", by_direction=True)
        arrays = f"{states}, {k.ins[4 + number]}, {made}, {self.valid_times}"
        k.line(f"{k.use(before)}({k.use(self.runs, k.name + '_runs')}, {arrays})")
        return made

    def begin(self) -> tuple[Operand, ...]:
        """The gradients of the states, which are those of the last ones before the loop, and of the first after it."""
        made = tuple(self.state(4 + i, f"d{'hc'[i]}") for i in range(self.states))
        for state, end in zip(made, self.ends, strict=True):
            self.k.line(f"{state}[...] = {end}")
        return made

    # ------------------------------------------------------------ after it

    def finish_weights(self, recurrent: Operand) -> None:
        """The gradients of the input, its weight and the biases; ``recurrent`` is that of the products with h."""
        k, columns = self.k, self.directions * self.width
        dx, dw, db = self.out(0, "dx"), self.out(1, "dw"), self.out(3, "db")
        d, weight = self.flat(self.slope, columns), k.target(self.weight, (columns, self.features), "matrix")
        if dx is not None:
            k.line(f"{d}.dot({weight}, out={self.flat(dx, self.features)})")
        if dw is not None:
            made = k.target(dw, (columns, self.features))
            k.line(f"{k.permuted(d, (1, 0))}.dot({self.flat(self.x, self.features)}, out={made})")
        if db is not None:
            for half, x in enumerate((self.slope, recurrent)):
                sums = k.scratch((self.directions, self.width), self.dtype, "sums")
                k.line(f"np.add.reduce({self.flat(x, columns)}, axis=0, out={k.target(sums, (columns,))})")
                k.line(f"{db}[:, {half * self.width}:{(half + 1) * self.width}] = {sums}")

    def recurrent_weight(self, d: Operand, h: Operand, first: int, last: int) -> None:
        """The gradient of some gates' weights with what they were multiplied with, (D, T, N, H)."""
        k, rows = self.k, self.times * self.batch
        dr = self.dr
        if dr is None:
            return
        matrix = self.flat(d, self.directions * self.width)
        for number in range(self.directions):
            a, b = (number * self.width + gate * self.hidden for gate in (first, last))
            seen = k.seen(f"{h}[{number}]", (rows, self.hidden))
            made = f"{dr}[{number}, {first * self.hidden}:{last * self.hidden}]"
            k.line(f"{matrix}[:, {a}:{b}].T.dot({seen}, out={made})")

    def memory_of_states(self, count: int) -> tuple[tuple[Operand, ...], ...]:
        return self.memory(*[self.hidden] * count)


def _passed(layer: BackwardWriter[R], v: StepNames, lines: Sequence[str]) -> list[str]:
    """The gradient of a state that was kept goes on as it is, beside what the lines make."""
    if layer.beyond is None:
        return list(lines)
    return [f"np.multiply({v.dh}, {v.beyond}, out={v.t})", *lines, f"np.add({v.dh}, {v.t}, out={v.dh})"]


@kernel(LSTM_GRAD, ways=ways(LSTM_GATES), staged=True)
def lstm_grad(k: Emitter[LSTMAttrs]) -> None:
    layer = BackwardWriter(k, LSTM_GATES, 2)
    value, slope, part = layer.value, layer.slope, layer.part
    assert layer.cells is not None
    peepholes = k.laid_out(k.ins[6]) if k.attrs.peepholes else None
    h, c = layer.earlier(layer.y, 0), layer.earlier(layer.cells, 1)
    shown, steep = layer.scratch("shown"), layer.scratch("steep")
    layer.squash((0, 0, 3), (1, 3, 4))
    layer.show(shown, steep)
    for gate, by in ((0, part(value, 3)), (1, layer.turned(shown)), (2, layer.turned(c, by_direction=True)),
                     (3, part(value, 0))):  # fmt: skip
        k.line(f"np.multiply({part(slope, gate)}, {by}, out={part(slope, gate)})")
    k.line(f"np.multiply({layer.turned(steep)}, {part(value, 1)}, out={layer.turned(steep)})")
    layer.clear(steep)
    layer.clear_gates(str(slope), 0)
    layer.clear_gates(part(value, 2), 1)

    def lines(v: StepNames) -> list[str]:
        found = [
            f"np.add({v.dh}, {v.dy}, out={v.dh})", f"np.multiply({v.d_o}, {v.dh}, out={v.d_o})",
            f"np.multiply({v.dh}, {v.shown}, out={v.t})", f"np.add({v.dc}, {v.t}, out={v.dc})",
        ]  # fmt: skip

        def peep(gate: str, weight: str) -> list[str]:
            return [f"np.multiply({gate}, {weight}, out={v.t})", f"np.add({v.dc}, {v.t}, out={v.dc})"]

        found += peep(v.d_o, v.peep_o) if peepholes else []
        found += [f"np.multiply({d}, {v.dc}, out={d})" for d in (v.d_i, v.d_f, v.d_g)]
        found += [f"np.multiply({v.dc}, {v.a_f}, out={v.dc})"]
        found += peep(v.d_i, v.peep_i) + peep(v.d_f, v.peep_f) if peepholes else []
        return [*found, *_passed(layer, v, [f"{v.d}.dot({v.weight}, out={v.dh})"])]

    states = layer.begin()
    layer.over_time(
        lines, lstm_back, value, slope, steep, layer.dy, states, layer.recurrent, peepholes, layer.beyond,
        layer.memory_of_states(1),
    )  # fmt: skip
    layer.finish_weights(slope)
    layer.recurrent_weight(slope, h, 0, 4)
    dp = layer.out(6, "dp") if peepholes else None
    if dp is not None:
        for gate, at in enumerate((c, layer.cells, c)):
            seen = layer.turned(at, by_direction=at is c)
            k.line(f"np.multiply({part(slope, gate)}, {seen}, out={part(value, gate)})")
        k.line(f"np.add.reduce({part(value, 0, 3)}, axis=(0, 1), out={dp})")
    layer.end()


@kernel(GRU_GRAD, ways=ways(GRU_GATES), staged=True)
def gru_grad(k: Emitter[GRUAttrs]) -> None:
    layer, last = BackwardWriter(k, GRU_GATES, 1), k.attrs.linear_before_reset
    value, slope, part = layer.value, layer.slope, layer.part
    h = layer.earlier(layer.y, 0)
    turned = layer.turned(h, by_direction=True)
    layer.squash((0, 0, 2), (1, 2, 3))
    inner = layer.scratch("inner", by_direction=True)  # what the reset gate acts on, or has made
    if last:
        _linear(layer, h, inner)
    apart = layer.turned(layer.scratch("apart", by_direction=True), by_direction=True)
    by = layer.turned(inner, by_direction=True) if last else turned
    k.line(f"np.subtract({turned}, {part(value, 2)}, out={apart})")
    k.line(f"np.multiply({part(slope, 0)}, {apart}, out={part(slope, 0)})")
    k.line(f"np.subtract(1, {part(value, 0)}, out={apart})")
    k.line(f"np.multiply({part(slope, 2)}, {apart}, out={part(slope, 2)})")
    k.line(f"np.multiply({part(slope, 1)}, {by}, out={part(slope, 1)})")
    if not last:
        k.line(f"np.multiply({part(value, 1)}, {turned}, out={layer.turned(inner, by_direction=True)})")
    layer.clear_gates(str(slope), 0)
    layer.clear_gates(part(value, 0), 1)

    def lines(v: StepNames) -> list[str]:
        found = [
            f"np.add({v.dh}, {v.dy}, out={v.dh})", f"np.multiply({v.d_z}, {v.dh}, out={v.d_z})",
            f"np.multiply({v.d_n}, {v.dh}, out={v.d_n})", f"np.multiply({v.dh}, {v.a_z}, out={v.t})",
        ]  # fmt: skip
        if last:  # the gates give way to the gradients of what was multiplied with the state
            return [
                *found, f"np.multiply({v.d_r}, {v.d_n}, out={v.d_r})", f"np.multiply({v.d_n}, {v.a_r}, out={v.a_n})",
                f"{v.a_zr}[...] = {v.d_zr}", f"{v.a}.dot({v.weight}, out={v.dh})",
                f"np.add({v.dh}, {v.t}, out={v.dh})",
            ]  # fmt: skip
        return [
            *found, f"{v.d_n}.dot({v.weight_n}, out={v.s})", f"np.multiply({v.d_r}, {v.s}, out={v.d_r})",
            f"np.multiply({v.s}, {v.a_r}, out={v.s})", f"np.add({v.t}, {v.s}, out={v.t})",
            f"{v.d_zr}.dot({v.weight_zr}, out={v.dh})", f"np.add({v.dh}, {v.t}, out={v.dh})",
        ]  # fmt: skip

    states = layer.begin()
    layer.over_time(lines, gru_back, value, slope, layer.dy, states, layer.recurrent, layer.memory_of_states(2))
    layer.finish_weights(value if last else slope)
    if last:
        layer.recurrent_weight(value, h, 0, 3)
    else:
        layer.recurrent_weight(slope, h, 0, 2)
        layer.recurrent_weight(slope, inner, 2, 3)
    layer.end()


def _linear(layer: BackwardWriter[R], h: Operand, out: Operand) -> None:
    """The state's product with the last gate's weight, and its bias."""
    k, cut, shape = layer.k, 2 * layer.hidden, (layer.times * layer.batch, layer.hidden)
    for d in range(layer.directions):
        made = k.target(k.view(out, f"{out}[{d}]", out.shape[1:], contiguous=True), shape)
        k.line(f"{k.seen(f'{h}[{d}]', shape)}.dot({layer.recurrent}[{d}, {cut}:].T, out={made})")
        k.line(f"np.add({made}, {layer.bias}[{d}, {layer.width + cut}:], out={made})")


@kernel(RNN_GRAD, ways=ways(RNN_GATES), staged=True)
def rnn_grad(k: Emitter[RNNAttrs]) -> None:
    layer = BackwardWriter(k, RNN_GATES, 1)
    h = layer.earlier(layer.y, 0)
    layer.squash((0, 0, 1))
    layer.clear_gates(str(layer.slope), 0)

    def lines(v: StepNames) -> list[str]:
        found = [f"np.add({v.dh}, {v.dy}, out={v.dh})", f"np.multiply({v.d}, {v.dh}, out={v.d})"]
        return [*found, *_passed(layer, v, [f"{v.d}.dot({v.weight}, out={v.dh})"])]

    states = layer.begin()
    layer.over_time(
        lines, rnn_back, layer.slope, layer.dy, states, layer.recurrent, layer.beyond, layer.memory_of_states(1)
    )
    layer.finish_weights(layer.slope)
    layer.recurrent_weight(layer.slope, h, 0, 1)
    layer.end()
