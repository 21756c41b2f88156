"""Multi-layer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ..base.checks import integer, several, shown
from ..errors import OptionError
from ..nn import Dropout, Flatten, Linear, Module, ReLU, Sequential


def mlp(sizes: Sequence[int], *, dropout: float = 0.0) -> Sequential:
    """Linear layers with ReLU between them; each sample is flattened first.

    Parameters
    ----------
    sizes
        Features of the input, of each hidden layer and of the output.
    dropout
        Probability of dropping an element after each hidden layer; 0 for no dropout layers.
    """
    counts = [integer("mlp", "a size", size) for size in several("mlp", "sizes", sizes)]
    if len(counts) < 2:
        raise OptionError(f"mlp: sizes are those of the input and of the output at least, got {shown(sizes)}")
    layers: list[Module] = [Flatten()]
    for i, (before, after) in enumerate(pairwise(counts)):
        if i:
            layers.append(ReLU())
            if dropout:
                layers.append(Dropout(dropout))
        layers.append(Linear(before, after))
    return Sequential(*layers)
