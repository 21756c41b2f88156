"""Rows of the recurrent layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lucid.graph.ops import recurrent as ops
from lucid.graph.ops.recurrent_types import ACTIVATIONS, Activation, GRUAttrs, LSTMAttrs, RecurrentAttrs, RNNAttrs
from lucid.graph.ops.source import constant

from .case import Case

TIMES, BATCH, FEATURES, HIDDEN = 4, 3, 2, 5
_LAYERS: dict[type[RecurrentAttrs], tuple[Callable[..., Any], int, int]] = {
    LSTMAttrs: (ops.lstm, 4, 2), GRUAttrs: (ops.gru, 3, 1), RNNAttrs: (ops.rnn, 1, 1),
}  # fmt: skip


def _row(
    label: str, attrs: RecurrentAttrs, lengths: Sequence[int] | None = None, times: int = TIMES, batch: int = BATCH,
    read: Sequence[int] = (0, 1, 2), gradient: bool = True,
) -> Case:  # fmt: skip
    function, gates, states = _LAYERS[type(attrs)]
    directions = len(attrs.backwards)

    def ours(*operands: Any) -> Any:
        if lengths is not None:
            operands = (*operands, constant(operands[0], np.array(lengths)))
        found = function(replace(attrs, lengths=lengths is not None), *operands)
        return tuple(found[i] for i in read if i < len(found))

    shapes = [
        (times, batch, FEATURES), (directions, gates * HIDDEN, FEATURES), (directions, gates * HIDDEN, HIDDEN),
        (directions, 2 * gates * HIDDEN), *[(directions, batch, HIDDEN)] * states,
    ]  # fmt: skip
    if isinstance(attrs, LSTMAttrs) and attrs.peepholes:
        shapes.append((directions, 3 * HIDDEN))

    def make(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray[Any, Any], ...]:
        return tuple(np.asarray(0.6 * rng.standard_normal(shape), dtype) for shape in shapes)

    name = type(attrs).__name__.removesuffix("Attrs").lower()
    return Case(f"{name}-{label}", ours, make, gradient=gradient, tags=frozenset({"static"} if lengths else ()))


def _of(name: str) -> Activation:
    """An activation with numbers that are not what is taken where none are given."""
    alpha, beta = ACTIVATIONS[name]
    return Activation(name, alpha and alpha * 0.7, beta and beta * 0.8)


_TWO_WAYS = (*map(_of, ("Sigmoid", "Tanh", "Softsign")), *map(_of, ("HardSigmoid", "ScaledTanh", "Affine")))

_SIGMOIDS = (_of("Sigmoid"),)

CASES = [
    *(
        _row(direction, attrs(direction=direction, activations=attrs().activations * (1 + (direction[0] == "b"))))
        for attrs in (LSTMAttrs, GRUAttrs, RNNAttrs)
        for direction in ("forward", "reverse", "bidirectional")
    ),
    *(
        _row(f"lengths-{label}", attrs(attrs().activations * 2, "bidirectional"), (3, 0, 4), read=read)
        for attrs in (LSTMAttrs, GRUAttrs, RNNAttrs)
        for label, read in (("all", (0, 1, 2)), ("last", (1, 2)))
    ),
    *(_row("last-alone", attrs(), read=(1, 2)) for attrs in (LSTMAttrs, GRUAttrs, RNNAttrs)),
    *(_row("clip", attrs(clip=0.5)) for attrs in (LSTMAttrs, GRUAttrs, RNNAttrs)),
    *(_row("one-time", attrs(), times=1) for attrs in (LSTMAttrs, GRUAttrs, RNNAttrs)),
    *(_row("one-of-one", attrs(), times=1, batch=1) for attrs in (LSTMAttrs, GRUAttrs, RNNAttrs)),
    *(_row("no-time", attrs(), times=0) for attrs in (LSTMAttrs, GRUAttrs, RNNAttrs)),
    *(_row("no-batch", attrs(), batch=0) for attrs in (LSTMAttrs, GRUAttrs, RNNAttrs)),
    _row("rounded", LSTMAttrs(rounded=True), gradient=False),
    _row("rounded-both", LSTMAttrs(LSTMAttrs().activations * 2, "bidirectional", rounded=True), (3, 0, 4),
         gradient=False),
    _row("rounded-no-batch", LSTMAttrs(rounded=True), batch=0, gradient=False),
    _row("peepholes", LSTMAttrs(peepholes=True)),
    _row("peepholes-clip", LSTMAttrs(peepholes=True, clip=0.4, direction="reverse")),
    _row("peepholes-lengths", LSTMAttrs(peepholes=True), (2, 4, 1)),
    _row("two-activations", LSTMAttrs(_TWO_WAYS, direction="bidirectional")),
    _row("sigmoids", LSTMAttrs(_SIGMOIDS * 3)),
    _row("cells-alone", LSTMAttrs(), read=(2,)),
    _row("linear-before-reset", GRUAttrs(linear_before_reset=True)),
    _row("linear-before-reset-clip", GRUAttrs(linear_before_reset=True, clip=0.5), (1, 2, 4)),
    _row("linear-before-reset-both",
         GRUAttrs(GRUAttrs().activations * 2, direction="bidirectional", linear_before_reset=True)),
    *(_row(f"activation-{name}", RNNAttrs((_of(name),))) for name in ACTIVATIONS),
]  # fmt: skip
