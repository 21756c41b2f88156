"""Recurrent layers, whose operands have the same layout in Lucid and ONNX."""

from __future__ import annotations

from .....graph.opdef import OpDef
from .....graph.ops.recurrent import GRU, LSTM, RNN
from .....graph.ops.recurrent_types import GRUAttrs, LSTMAttrs, RecurrentAttrs
from .....graph.types import DTYPES
from ...one_to_one import ACTIVATION_NUMBERS
from ..draft import Setting, UnwritableError
from ..registry import Use, Written, writer

STATES: dict[OpDef, int] = {LSTM: 2, GRU: 1, RNN: 1}


@writer(LSTM, GRU, RNN)
def recurrent(use: Use[RecurrentAttrs]) -> Written:
    """The states at all times and the last ones; values kept for the gradient are not available."""
    a, dtype = use.attrs, use.type.dtype
    x, weight, again, bias, *states = use.inputs
    lengths = use.cast(states.pop(), DTYPES["int32"]) if a.lengths else None
    hidden = use.types[2].shape[2]
    assert isinstance(hidden, int)  # so the op's type rule has it
    settings: dict[str, Setting | None] = {
        "hidden_size": hidden, "direction": a.direction, "clip": a.clip,
        "activations": [one.name for one in a.activations],
    }  # fmt: skip
    numbers: dict[str, list[float]] = {
        key: [getattr(one, key) for one in a.activations if key in ACTIVATION_NUMBERS.get(one.name, ())]
        for key in ("alpha", "beta")
    }
    said = [*numbers["alpha"], *numbers["beta"], *([] if a.clip is None else [a.clip])]
    if not all(map(use.is_said, said)):
        raise UnwritableError(
            "its activations, or its clip, have numbers that are none of float32: take such, or float32"
        )
    settings |= {f"activation_{key}": listed for key, listed in numbers.items() if listed}
    if isinstance(a, LSTMAttrs) and a.rounded:
        raise UnwritableError("its states are rounded as those of a quantised layer are")
    if isinstance(a, GRUAttrs):
        settings["linear_before_reset"] = int(a.linear_before_reset)
    dtypes = [dtype] * (1 + STATES[use.node.op])
    return use.emit_all(use.node.op.name, x, weight, again, bias, lengths, *states, dtypes=dtypes, settings=settings)
