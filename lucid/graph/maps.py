"""Scores by label, as scikit-learn's classifiers return them, and their form in a graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import SupportsIndex, TypeAlias, overload

import numpy as np

from ..base.arrays import Array
from ..errors import TraceError
from .opdef import AbstractTensor
from .ops.indexing import content

Label: TypeAlias = "str | int"
Row: TypeAlias = "dict[Label, float]"


class Maps(list[Row]):
    """For each row of scores a dict of scores by label; a list, as ONNX Runtime returns.

    In a graph it is represented by the scores.

    Attributes
    ----------
    scores
        The tensor of scores, with a column for each label; gradients flow through it.
    labels
        The labels of the columns.
    """

    def __init__(self, scores: AbstractTensor, labels: tuple[Label, ...]) -> None:
        self.scores, self.labels = scores, labels
        try:
            table = self._known()
        except TraceError:
            return
        rows = table.tolist() if table.ndim > 1 else [np.atleast_1d(table).tolist()]
        super().__init__([dict(zip(labels, row, strict=True)) for row in rows])

    def _known(self) -> Array:
        words = "scores by their labels are a tensor, .scores, while a model is traced: return them"
        return content(self.scores, words)

    def __len__(self) -> int:
        self._known()
        return super().__len__()

    def __iter__(self) -> Iterator[Row]:
        self._known()
        return super().__iter__()

    @overload
    def __getitem__(self, place: SupportsIndex) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> list[Row]: ...
    def __getitem__(self, place: SupportsIndex | slice) -> Row | list[Row]:
        self._known()
        return super().__getitem__(place)
