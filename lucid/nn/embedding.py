"""Look-up tables."""

from __future__ import annotations

import numpy as np

from ..errors import OptionError
from ..tensor.tensor import Tensor
from . import functional as F
from . import init
from .checks import parameter_type, size
from .module import Module, Parameter


class Embedding(Module):
    """Rows of a learnt table.

    Parameters
    ----------
    num_embeddings, embedding_dim
        Rows and columns of the table.
    padding_idx
        A row that starts as zeros and takes no gradient.
    device, dtype
        "cpu", if given; element type of the parameters, float32 when omitted.

    Attributes
    ----------
    weight
        Shape (num_embeddings, embedding_dim), which starts standard normal.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        device: object = None,
        dtype: object = None,
    ) -> None:
        super().__init__()
        self.num_embeddings = size(self, "num_embeddings", num_embeddings)
        self.embedding_dim = size(self, "embedding_dim", embedding_dim)
        if padding_idx is not None:
            row = size(self, "padding_idx", padding_idx, -num_embeddings)
            if row >= num_embeddings:
                raise OptionError(f"Embedding: padding_idx {row} is out of range for {num_embeddings} rows")
            padding_idx = row % num_embeddings
        self.padding_idx = padding_idx
        self.weight = Parameter.blank((num_embeddings, embedding_dim), parameter_type(self, device, dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the table anew."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            table = np.array(self.weight.numpy())
            table[self.padding_idx] = 0
            self.weight.copy_(table)

    def forward(self, indices: Tensor) -> Tensor:
        return F.embedding(indices, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        tail = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{tail}"
