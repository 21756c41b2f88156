"""Recurrent layers and cells, as in PyTorch. Each layer, with its one or two directions, is one op."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import ClassVar, TypeAlias, TypeVar

from ..base.checks import shown, user_stacklevel
from ..errors import DTypeError, OptionError, ShapeError
from ..graph.opdef import AbstractTensor
from ..graph.ops import elementwise as ew
from ..graph.ops import recurrent as ops
from ..graph.ops.composite import eq
from ..graph.ops.linalg import matmul
from ..graph.ops.recurrent_types import TANH, Activation, GRUAttrs, LSTMAttrs, RNNAttrs
from ..graph.ops.shape import concat, reshape, squeeze, stack, transpose, unsqueeze
from ..graph.ops.slices import piece
from ..graph.ops.source import full
from ..graph.types import Shape, format_shape
from ..tensor.creation import arange
from ..tensor.tensor import Tensor
from . import functional as F
from . import init
from .checks import choice, flag, layers, parameter_type, real, size, tensor
from .module import Module, Parameter
from .packed import PackedSequence

S = TypeVar("S", Tensor, PackedSequence)
"""The type of a layer's input and result."""

States: TypeAlias = "Tensor | tuple[Tensor, Tensor] | None"
"""h, or for an LSTM (h, c); None for zeros."""

RELU = Activation("Relu")


def _gates(weights: Sequence[AbstractTensor], order: Sequence[int]) -> AbstractTensor:
    """Stack a weight of each direction, (D, gates * H, ...), with its gates in the order of the op."""
    rows, parts = weights[0].type.shape[0], len(order)
    pieces = [piece(w, 0, gate * (rows // parts), rows // parts) for w in weights for gate in order]
    whole = concat(pieces, 0) if len(pieces) > 1 else pieces[0]
    return reshape(whole, (len(weights), *weights[0].type.shape))


class _Base(Module):
    """Base class of layers and cells.

    ``order`` gives for each gate of the op its position in PyTorch's weights; ``states`` is the number of states.
    """

    order: ClassVar[tuple[int, ...]] = (0,)
    states: ClassVar[int] = 1
    nonlinearity = "tanh"
    bias: bool
    hidden_size: int
    proj_size = 0

    @property
    def _width(self) -> int:
        """The number of features of the result."""
        return self.proj_size or self.hidden_size

    def _run(
        self, bidirectional: bool, operands: Sequence[AbstractTensor], lengths: AbstractTensor | None = None
    ) -> Sequence[AbstractTensor]:
        """Apply the op: returns the states at all time steps, and the last ones of each sequence."""
        there = lengths is not None
        operands = operands if lengths is None else (*operands, lengths)
        way, count = "bidirectional" if bidirectional else "forward", 1 + bidirectional
        if self.states == 2:
            return ops.lstm(LSTMAttrs(LSTMAttrs.activations * count, way, lengths=there), *operands)
        if len(self.order) == 3:
            gru = GRUAttrs(GRUAttrs.activations * count, way, lengths=there, linear_before_reset=True)
            return ops.gru(gru, *operands)
        activation = TANH if self.nonlinearity == "tanh" else RELU
        return ops.rnn(RNNAttrs((activation,) * count, way, lengths=there), *operands)

    def _layer(
        self, x: AbstractTensor, suffixes: Sequence[str], states: Sequence[AbstractTensor], begun: bool,
        lengths: AbstractTensor | None,
    ) -> Sequence[AbstractTensor]:  # fmt: skip
        """One layer over (T, N, I), with a suffix of its weights' names for each direction; ``begun``: given states."""
        inner, outer = self._own("weight_ih", suffixes), self._own("weight_hh", suffixes)
        return self._plain(x, suffixes, inner, outer, states, lengths)

    def _own(self, name: str, suffixes: Sequence[str]) -> list[AbstractTensor]:
        return [getattr(self, f"{name}{suffix}") for suffix in suffixes]

    def _plain(
        self, x: AbstractTensor, suffixes: Sequence[str], inner: Sequence[AbstractTensor],
        outer: Sequence[AbstractTensor], states: Sequence[AbstractTensor], lengths: AbstractTensor | None,
    ) -> Sequence[AbstractTensor]:  # fmt: skip
        """:meth:`_layer` with given weights of the input and of the state, for each direction."""
        rows = len(self.order) * self.hidden_size
        biases = [_gates(self._own(name, suffixes), self.order) for name in ("bias_ih", "bias_hh") if self.bias]
        bias = concat(biases, 1) if biases else full(x, 0, (len(suffixes), 2 * rows))
        weights = _gates(inner, self.order), _gates(outer, self.order)
        return self._run(len(suffixes) == 2, (x, *weights, bias, *states), lengths)

    def _add_parameters(self, suffix: str, inputs: int, device: object, dtype: object) -> None:
        rows, kind = len(self.order) * self.hidden_size, parameter_type(self, device, dtype)
        self.register_parameter(f"weight_ih{suffix}", Parameter.blank((rows, inputs), kind))
        self.register_parameter(f"weight_hh{suffix}", Parameter.blank((rows, self._width), kind))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(f"{name}{suffix}", Parameter.blank((rows,), kind) if self.bias else None)
        if self.proj_size:
            shape = self.proj_size, self.hidden_size
            self.register_parameter(f"weight_hr{suffix}", Parameter.blank(shape, kind))

    def reset_parameters(self) -> None:
        """Reinitialise the parameters uniformly within ±1/sqrt(hidden_size)."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def _check(self, x: AbstractTensor, features: int, least: int, layout: str) -> None:
        """Raise if an input does not fit; it may lack the batch axis."""
        if x.type.rank not in (least, least + 1):
            raise ShapeError(f"{type(self).__name__}: needs an input {layout}, got {x.type}")
        if x.type.shape[-1] != features:
            raise ShapeError(
                f"{type(self).__name__}: has input_size={features}, the input {x.type} {x.type.shape[-1]} features"
            )

    def _begin(self, given: object, like: AbstractTensor, lead: Shape) -> list[AbstractTensor]:
        """The states that the caller has given, or zeros; ``lead`` is their shape before the features."""
        shapes = [(*lead, width) for width in (self._width, self.hidden_size)[: self.states]]
        if given is None:
            return [full(like, 0, shape) for shape in shapes]
        name, wanted = type(self).__name__, "h and c" if self.states == 2 else "h"
        found = list(given) if self.states == 2 and isinstance(given, tuple | list) else [given]
        if len(found) != self.states or isinstance(given, AbstractTensor) != (self.states == 1):
            raise OptionError(f"{name}: the state is {wanted}, got {shown(given)}")
        states: list[AbstractTensor] = [tensor(self, one) for one in found]
        for state, shape in zip(states, shapes, strict=True):
            if state.type.shape != shape:
                raise ShapeError(f"{name}: a state must have shape {format_shape(shape)}, got {state.type}")
            if state.type.dtype != like.type.dtype:
                raise DTypeError(f"{name}: needs states of the input's type {like.type.dtype.name}, got {state.type}")
        return states


class _Recurrent(_Base):
    """A stack of recurrent layers."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: object = None,
        dtype: object = None,
        proj_size: int = 0,
    ) -> None:
        super().__init__()
        self.input_size = size(self, "input_size", input_size)
        self.hidden_size = size(self, "hidden_size", hidden_size)
        self.proj_size = size(self, "proj_size", proj_size, 0)
        if self.proj_size >= self.hidden_size:
            raise OptionError(f"LSTM: proj_size {proj_size} must be less than hidden_size {hidden_size}")
        self.num_layers = layers(self, num_layers)
        self.bias = flag(self, "bias", bias)
        self.batch_first = flag(self, "batch_first", batch_first)
        self.dropout = real(self, "dropout", dropout, 0.0, 1.0)
        self.bidirectional = flag(self, "bidirectional", bidirectional)
        if self.dropout and self.num_layers == 1:
            warnings.warn(
                f"{type(self).__name__}: dropout={self.dropout} stands between layers, and there is one",
                stacklevel=user_stacklevel(),
            )
        ways = ("", "_reverse") if self.bidirectional else ("",)
        self._suffixes = tuple(tuple(f"_l{layer}{way}" for way in ways) for layer in range(self.num_layers))
        for layer, suffixes in enumerate(self._suffixes):
            for suffix in suffixes:
                inputs = self.input_size if layer == 0 else len(ways) * self._width
                self._add_parameters(suffix, inputs, device, dtype)
        self.reset_parameters()

    def flatten_parameters(self) -> None:
        """Does nothing: programs keep their own packed weights."""

    def _forward(
        self, x: object, given: object
    ) -> tuple[AbstractTensor | PackedSequence, list[AbstractTensor]]:  # fmt: skip
        """The result at all time steps, and the last states of all layers."""
        if isinstance(x, PackedSequence):
            if x.padded.ndim != 3:
                raise ShapeError(f"{type(self).__name__}: needs packed sequences (T, N, I), got {x.padded.type}")
            y, last = self._over(x.padded, given, False, x.lengths)
            return x.along(y), last  # type: ignore[arg-type]  # of the world of x
        return self._over(tensor(self, x), given, self.batch_first, None)

    def _over(
        self, x: AbstractTensor, given: object, batch_first: bool, lengths: AbstractTensor | None
    ) -> tuple[AbstractTensor, list[AbstractTensor]]:
        """:meth:`_forward` for padded sequences; without lengths all have full length."""
        self._check(x, self.input_size, 2, "(N, T, I)" if batch_first else "(T, N, I)")
        single, directions = x.type.rank == 2, 1 + self.bidirectional
        if not single and batch_first:
            x = transpose(x, 0, 1)
        begin = self._begin(given, x, (self.num_layers * directions, *(() if single else x.type.shape[1:2])))
        if single:
            x, begin = unsqueeze(x, 1), [unsqueeze(state, 1) for state in begin]
        ends: list[Sequence[AbstractTensor]] = []
        for number, suffixes in enumerate(self._suffixes):
            if number and self.dropout and self.training:
                x = F.dropout(x, self.dropout, True)
            states = [piece(state, 0, number * directions, directions) for state in begin]
            y, *last = self._layer(x, suffixes, states, given is not None, lengths)
            times, _, batch, _ = y.type.shape
            x = reshape(transpose(y, 1, 2), (times, batch, directions * self._width))
            ends.append(last)
        found = [concat(parts, 0) if len(parts) > 1 else parts[0] for parts in zip(*ends, strict=True)]
        if single:
            return squeeze(x, 1), [squeeze(state, 1) for state in found]
        return transpose(x, 0, 1) if batch_first else x, found

    def extra_repr(self) -> str:
        usual = {
            "proj_size": 0,
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
            "bidirectional": False,
        }
        other = [f"{name}={getattr(self, name)}" for name, value in usual.items() if getattr(self, name) != value]
        return ", ".join([f"{self.input_size}, {self.hidden_size}", *other])


_PARAMETERS = """
    Parameters
    ----------
    input_size, hidden_size
        Features of the input at each time, and of the state.
    num_layers
        How many layers there are, each after the first on what comes out of the one before.
    bias
        Whether to add biases.
    batch_first
        Whether inputs and outputs are (N, T, features), not (T, N, features). States are not changed by it.
    dropout
        While training, the probability with which features are zeroed between layers.
    bidirectional
        Whether each layer also goes backwards; its features are then twice as many.
    device, dtype
        The device can only be "cpu"; the element type of the parameters is float32 by default.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0
        Of the first layer, gate by gate as in PyTorch; those of the others end in their numbers, those of the way
        back in ``_reverse``.
    """


class RNN(_Recurrent):
    __doc__ = f"""``h' = tanh(W x + b + U h + c)`` over time (Elman, 1990); ``nonlinearity`` may be "relu".

    Called with x and, if wanted, the states (num_layers * directions, N, H) to begin with; gives the states of the last
    layer at all times, and the last states of all layers.
{_PARAMETERS}"""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: object = None,
        dtype: object = None,
    ) -> None:
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype
        )  # fmt: skip
        self.nonlinearity = choice(self, "nonlinearity", nonlinearity, "tanh", "relu")

    def forward(self, x: S, hx: Tensor | None = None) -> tuple[S, Tensor]:
        y, (h,) = self._forward(x, hx)
        return y, h  # type: ignore[return-value]  # of the world of x


class GRU(_Recurrent):
    __doc__ = f"""Gated recurrent units (Cho et al., 2014) over time.

    Called with x and, if wanted, the states (num_layers * directions, N, H) to begin with; gives the states of the last
    layer at all times, and the last states of all layers.
{_PARAMETERS}"""

    order = (1, 0, 2)

    def forward(self, x: S, hx: Tensor | None = None) -> tuple[S, Tensor]:
        y, (h,) = self._forward(x, hx)
        return y, h  # type: ignore[return-value]  # of the world of x


class LSTM(_Recurrent):
    __doc__ = f"""Long short-term memory (Hochreiter and Schmidhuber, 1997) over time.

    Called with x and, if wanted, the pair of h and c to begin with, each (num_layers * directions, N, H); gives the
    states of the last layer at all times, and the pair of the last h and c of all layers. With ``proj_size``, h is
    that of the cell times ``weight_hr_l0`` (P, H), and so has P features (Sak et al., 2014).
{_PARAMETERS}"""

    order, states = (0, 3, 1, 2), 2

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: object = None,
        dtype: object = None,
    ) -> None:
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype, proj_size
        )  # fmt: skip

    def _layer(
        self, x: AbstractTensor, suffixes: Sequence[str], states: Sequence[AbstractTensor], begun: bool,
        lengths: AbstractTensor | None,
    ) -> Sequence[AbstractTensor]:  # fmt: skip
        """With a projection, cells use their own h: the weight of the state is multiplied by the projection's."""
        if not self.proj_size:
            return super()._layer(x, suffixes, states, begun, lengths)
        inner, outer, down = (self._own(name, suffixes) for name in ("weight_ih", "weight_hh", "weight_hr"))
        h, c = states
        if begun:
            x, inner = _begun(x, inner, outer, h, lengths)
        cells = [matmul(w, p) for w, p in zip(outer, down, strict=True)]
        y, last, kept = self._plain(x, suffixes, inner, cells, [full(c, 0), c], lengths)
        transposed = transpose(stack(down), 1, 2)
        return matmul(y, transposed), matmul(last, transposed), kept

    def forward(
        self, x: S, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[S, tuple[Tensor, Tensor]]:  # fmt: skip
        y, (h, c) = self._forward(x, hx)
        return y, (h, c)  # type: ignore[return-value]  # of the world of x


def _begun(
    x: AbstractTensor, inner: Sequence[AbstractTensor], outer: Sequence[AbstractTensor], h: AbstractTensor,
    lengths: AbstractTensor | None,
) -> tuple[AbstractTensor, list[AbstractTensor]]:  # fmt: skip
    """Express the initial states h (D, N, P) as more features of the first input of each direction, with weights."""
    times, batch, _ = x.type.shape
    width = h.type.shape[2]
    rest = full(x, 0, (times - 1, batch, width))
    starts = [concat([piece(h, 0, 0, 1), rest], 0)]
    if len(inner) == 2:
        back = piece(h, 0, 1, 1)
        if lengths is None:
            starts.append(concat([rest, back], 0))
        else:
            last = eq(reshape(arange(times), (times, 1, 1)), reshape(ew.sub(lengths, 1), (1, batch, 1)))
            starts.append(ew.where(last, back, 0.0))
    weights = [
        concat([w, *(u if way == own else full(u, 0) for way, u in enumerate(outer))], 1) for own, w in enumerate(inner)
    ]
    return concat([x, *starts], 2), weights


class _Cell(_Base):
    """A single time step of a layer."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: object = None, dtype: object = None
    ) -> None:
        super().__init__()
        self.input_size = size(self, "input_size", input_size)
        self.hidden_size = size(self, "hidden_size", hidden_size)
        self.bias = flag(self, "bias", bias)
        self._add_parameters("", self.input_size, device, dtype)
        self.reset_parameters()

    def _forward(self, x: object, given: object) -> list[AbstractTensor]:
        """The next states."""
        x = tensor(self, x)
        assert isinstance(x, AbstractTensor)
        self._check(x, self.input_size, 1, "(N, I)")
        single = x.type.rank == 1
        begin = self._begin(given, x, x.type.shape[:-1])
        seen, states = unsqueeze(x, 0), [unsqueeze(state, 0) for state in begin]
        if single:
            seen, states = unsqueeze(seen, 0), [unsqueeze(state, 0) for state in states]
        _, *last = self._layer(seen, ("",), states, given is not None, None)
        found = [squeeze(state, 0) for state in last]
        return [squeeze(state, 0) for state in found] if single else found

    def extra_repr(self) -> str:
        other = ["" if self.bias else ", bias=False", f", nonlinearity={self.nonlinearity}"]
        return f"{self.input_size}, {self.hidden_size}{other[0]}{other[1] if self.nonlinearity != 'tanh' else ''}"


_CELL = """
    Parameters
    ----------
    input_size, hidden_size
        Features of the input, and of the state.
    bias
        Whether to add biases.
    device, dtype
        The device can only be "cpu"; the element type of the parameters is float32 by default.

    Attributes
    ----------
    weight_ih, weight_hh, bias_ih, bias_hh
        Gate by gate, as in PyTorch.
    """


class RNNCell(_Cell):
    __doc__ = f"""One time of an :class:`RNN`: of x (N, I) and h (N, H), zeros if left out, the next h.
{_CELL}"""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: object = None,
        dtype: object = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self.nonlinearity = choice(self, "nonlinearity", nonlinearity, "tanh", "relu")

    def forward(self, x: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._forward(x, hx)[0]  # type: ignore[return-value]  # of the world of x


class GRUCell(_Cell):
    __doc__ = f"""One time of a :class:`GRU`: of x (N, I) and h (N, H), zeros if left out, the next h.
{_CELL}"""

    order = (1, 0, 2)

    def forward(self, x: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._forward(x, hx)[0]  # type: ignore[return-value]  # of the world of x


class LSTMCell(_Cell):
    __doc__ = f"""One time of an :class:`LSTM`: of x (N, I) and the pair of h and c (N, H), zeros if left out, the next.
{_CELL}"""

    order, states = (0, 3, 1, 2), 2

    def forward(self, x: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        h, c = self._forward(x, hx)
        return h, c  # type: ignore[return-value]  # of the world of x
