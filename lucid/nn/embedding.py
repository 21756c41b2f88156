"""Look-up tables."""

from __future__ import annotations

import numpy as np

from ..errors import OptionError
from ..graph.ops.embedding_bag import check_options
from ..tensor.tensor import Tensor
from . import functional as F
from . import init
from .checks import flag, parameter_type, real, size
from .module import Module, Parameter


class _Table(Module):
    """A learnt table, of which one row may count for nothing."""

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
                name = type(self).__name__
                raise OptionError(f"{name}: padding_idx {row} is out of range for {num_embeddings} rows")
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

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}{self._more()}{self._padding()}"

    def _more(self) -> str:
        return ""

    def _padding(self) -> str:
        return "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"


class Embedding(_Table):
    """Rows of a learnt table.

    Parameters
    ----------
    num_embeddings, embedding_dim
        Rows and columns of the table.
    padding_idx
        A row that starts as zeros and takes no gradient.
    device, dtype
        The device can only be "cpu"; the element type of the parameters is float32 by default.

    Attributes
    ----------
    weight
        Shape (num_embeddings, embedding_dim), which starts standard normal.
    """

    def forward(self, indices: Tensor) -> Tensor:
        return F.embedding(indices, self.weight, self.padding_idx)


class EmbeddingBag(_Table):
    """The sum, mean or maximum of a learnt table's rows in each bag; of an empty one zeros.

    Called with ``input`` and ``offsets=None``, and for "sum" ``per_sample_weights=None``: a matrix of row numbers, each
    row a bag, or a vector of them and where in it each bag begins.

    Parameters
    ----------
    num_embeddings, embedding_dim
        Rows and columns of the table.
    max_norm, norm_type, scale_grad_by_freq, sparse
        PyTorch's arguments, which are not supported: leave them at their defaults.
    mode
        "sum", "mean" or "max".
    include_last_offset
        Whether ``offsets`` has one more entry, at which the last bag ends.
    padding_idx
        A row that starts as zeros, counts for nothing and takes no gradient.
    device, dtype
        The device can only be "cpu"; the element type of the parameters is float32 by default.

    Attributes
    ----------
    weight
        Shape (num_embeddings, embedding_dim), which starts standard normal.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: object = None,
        dtype: object = None,
    ) -> None:
        real(self, "norm_type", norm_type)
        check_options("EmbeddingBag", mode, max_norm, scale_grad_by_freq, sparse)
        super().__init__(num_embeddings, embedding_dim, padding_idx, device, dtype)
        self.mode = mode
        self.include_last_offset = flag(self, "include_last_offset", include_last_offset)

    def forward(self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None) -> Tensor:
        return F.embedding_bag(
            input,
            self.weight,
            offsets,
            mode=self.mode,
            per_sample_weights=per_sample_weights,
            include_last_offset=self.include_last_offset,
            padding_idx=self.padding_idx,
        )

    def _more(self) -> str:
        return f", mode={self.mode!r}"
