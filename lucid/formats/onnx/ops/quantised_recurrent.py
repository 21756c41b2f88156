"""A recurrent layer with integer weights, ``com.microsoft.DynamicQuantizeLSTM``."""

from __future__ import annotations

import numpy as np

from ....errors import GraphError
from ....graph.opdef import AbstractTensor
from ....graph.ops.bounds import clip
from ....graph.ops.elementwise import round_
from ....graph.ops.promotion import cast
from ....graph.ops.shape import permute, reshape
from ....graph.types import float32
from ..model import MICROSOFT
from ..registry import Call, Value, concrete, converter
from .quantised import dynamic_scale
from .recurrent import lstm

NAMES = ("", "", "", "bias", "", "initial_h", "initial_c", "peepholes")


@converter("DynamicQuantizeLSTM", domain=MICROSOFT, names=NAMES, host=(1, 2, 4, 8, 9, 10, 11), state=(5, 6))
def dynamic_quantize_lstm(
    call: Call, x: Value, weight: Value, recurrent: Value, bias: Value = None, lengths: Value = None, h: Value = None,
    c: Value = None, peepholes: Value = None, w_scale: Value = None, w_zero: Value = None, r_scale: Value = None,
    r_zero: Value = None,
) -> list[AbstractTensor]:  # fmt: skip
    """An LSTM whose input, and whose state at each time, are quantised to 8 bits according to their ranges."""
    return lstm(
        call, rounded(call.tensor(x)), _weights(call, weight, w_scale, w_zero),
        _weights(call, recurrent, r_scale, r_zero), bias, lengths, h, c, peepholes, rounded=True,
    )  # fmt: skip


def rounded(x: AbstractTensor) -> AbstractTensor:
    """``x`` after quantisation to uint8 and back."""
    scale, zero = dynamic_scale(x)
    return (clip(round_(x / scale) + zero, 0.0, 255.0) - zero) * scale


def _weights(call: Call, whole: Value, scale: Value, zero: Value) -> AbstractTensor:
    """Integers (direction, input, gate), with scales per direction or per direction and gate, as weights of a layer."""
    if scale is None:
        raise GraphError("its weights have no scale")
    if isinstance(whole, np.ndarray) and isinstance(scale, np.ndarray):
        point = np.zeros(1, np.int8) if zero is None else concrete(zero)
        step, origin = (one.reshape(-1, 1, one.size // (len(whole) if one.size > 1 else 1)) for one in (scale, point))
        made = (whole.astype(np.float32) - origin.astype(np.float32)) * step
        return call.world.constant(np.ascontiguousarray(made.transpose(0, 2, 1)))
    rows = (call.tensor(whole).type.shape[0], 1, -1)
    numbers = cast(call.tensor(whole), float32)
    if zero is not None:
        numbers = numbers - cast(reshape(call.tensor(zero), rows), float32)
    return permute(numbers * reshape(call.tensor(scale), rows), (0, 2, 1))
