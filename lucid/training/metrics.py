"""Metrics over a whole pass through the data, exact for any batch sizes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, TypeAlias

import numpy as np

from ..base import checks
from ..base.arrays import Array
from ..base.checks import shown
from ..errors import OptionError, ShapeError
from ..tensor.tensor import Tensor

Function: TypeAlias = "Callable[[Tensor, Tensor], object]"


class Metric(ABC):
    """Base class of metrics: sums over batches, and a result computed from them.

    A subclass defines :meth:`update`, which adds a batch to ``self.sums``, and :meth:`compute`, which returns the
    result.

    Parameters
    ----------
    name
        Its name in the history; by default that of the class.

    Attributes
    ----------
    sums
        The accumulated sums, by name.
    """

    label = "metric"
    better: ClassVar[str | None] = None
    """Whether the "max" or the "min" is best; None if unknown."""

    def __init__(self, name: str | None = None) -> None:
        self.name = self.label if name is None else checks.text(type(self).__name__, "name", name)
        self.sums: dict[str, float] = {}

    @abstractmethod
    def update(self, output: Tensor, target: Tensor) -> None:
        """Add a batch: the model's output, and the target."""

    @abstractmethod
    def compute(self) -> float:
        """The metric of all batches since the last reset; NaN if there were none."""

    def reset(self) -> None:
        """Start again."""
        self.sums = {}

    def add(self, **numbers: float) -> None:
        """Add to the sums of these names."""
        for name, number in numbers.items():
            self.sums[name] = self.sums.get(name, 0) + number

    def ratio(self, above: str, below: str) -> float:
        """The quotient of two sums; NaN if the denominator is 0."""
        whole = self.sums.get(below, 0)
        return self.sums.get(above, 0) / whole if whole else math.nan

    def state_dict(self) -> dict[str, object]:
        """The sums."""
        return {"sums": dict(self.sums)}

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        """Restore what :meth:`state_dict` returned."""
        owner = type(self).__name__
        sums = checks.mapping(owner, "a state", state_dict).get("sums")
        found = checks.mapping(owner, "sums of a state", sums)
        if not all(isinstance(key, str) and type(value) in (int, float) for key, value in found.items()):
            raise OptionError(f"{owner}: sums are numbers by name, got {shown(sums)}")
        self.sums = dict(found)


def size_of(target: object, given: object = None) -> int:
    """The number of samples of a batch: its first size, or one if it has none."""
    for value in (target, given):
        if isinstance(value, Tensor) and value.ndim:
            return len(value)
    return 1


class Average(Metric):
    """The mean of a function over batches, weighted by their numbers of samples.

    If the function is a mean over samples, this equals the function of all samples at once.

    Parameters
    ----------
    function
        A function of output and target.
    name
        By default that of the function.
    """

    def __init__(self, function: Function, name: str | None = None) -> None:
        self.function = checks.function("Average", "function", function)
        super().__init__(name or str(getattr(function, "__name__", type(function).__name__)))

    def update(self, output: Tensor, target: Tensor) -> None:
        self.include(
            checks.number(self.name, "what it gives", self.function(output, target), nan=True), size_of(target)
        )

    def include(self, value: float, count: int) -> None:
        """Count a value ``count`` times."""
        if count:  # a mean of no samples is NaN, which counts for nothing
            self.add(total=value * count, count=count)

    def compute(self) -> float:
        return self.ratio("total", "count")


class _Share(Metric):
    """The fraction of correct samples."""

    better = "max"

    def count(self, right: Array) -> None:
        """Whether each sample is correct."""
        self.add(right=int(np.count_nonzero(right)), count=right.size)

    def compute(self) -> float:
        return self.ratio("right", "count")


def _scores(owner: str, output: object, target: object) -> tuple[Array, Array]:
    """Scores with the classes last, and the correct class of each row."""
    if not isinstance(output, Tensor) or not isinstance(target, Tensor):
        raise OptionError(f"{owner}: output and target are tensors, got {shown(output)} and {shown(target)}")
    scores, labels = output.numpy(), target.numpy()
    if scores.ndim < 2 or labels.shape != scores.shape[:1] + scores.shape[2:] or labels.dtype.kind not in "iu":
        raise ShapeError(
            f"{owner}: needs scores (N, classes, ...) and the numbers of classes (N, ...), got {output.type} and "
            f"{target.type}"
        )
    return np.moveaxis(scores, 1, -1), labels


class Accuracy(_Share):
    """The fraction of targets, class numbers (N, ...), with the highest of the scores (N, classes, ...).

    Of equal scores the first counts; a row that contains NaN is wrong.
    """

    label = "accuracy"

    def update(self, output: Tensor, target: Tensor) -> None:
        scores, labels = _scores("Accuracy", output, target)
        if not scores.shape[-1]:
            raise ShapeError("Accuracy: there are no classes")
        right = scores.argmax(-1) == labels
        self.count(right & ~np.isnan(scores).any(-1))


class TopKAccuracy(_Share):
    """The fraction of targets with fewer than ``k`` classes of higher score.

    Parameters
    ----------
    k
        The number of highest scores among which the target must be.
    name
        By default "top5" for 5.
    """

    def __init__(self, k: int = 5, name: str | None = None) -> None:
        self.k = checks.integer("TopKAccuracy", "k", k)
        super().__init__(name or f"top{k}")

    def update(self, output: Tensor, target: Tensor) -> None:
        scores, labels = _scores("TopKAccuracy", output, target)
        if labels.size and not 0 <= labels.min() <= labels.max() < scores.shape[-1]:
            raise OptionError(f"TopKAccuracy: a class is at least 0 and below {scores.shape[-1]}")
        own = np.take_along_axis(scores, labels[..., None].astype(np.int64), -1)
        above = np.count_nonzero(scores > own, axis=-1)
        before = np.arange(scores.shape[-1]) < labels[..., None]  # of equal scores the first counts
        ties = np.count_nonzero((scores == own) & before, axis=-1)
        self.count((above + ties < self.k) & ~np.isnan(scores).any(-1))


def _pair(owner: str, output: object, target: object) -> tuple[Array, Array]:
    if not isinstance(output, Tensor) or not isinstance(target, Tensor) or output.shape != target.shape:
        kinds = [value.type if isinstance(value, Tensor) else shown(value) for value in (output, target)]
        raise ShapeError(f"{owner}: output and target have one shape, got {kinds[0]} and {kinds[1]}")
    return output.numpy(), target.numpy()


class BinaryAccuracy(_Share):
    """The fraction of elements for which output and target, of equal shape, are on the same side of a threshold.

    Parameters
    ----------
    threshold
        0.5 for probabilities, 0 for logits, as ``BCEWithLogitsLoss`` takes them.
    name
        By default "accuracy".
    """

    label = "accuracy"

    def __init__(self, threshold: float = 0.5, name: str | None = None) -> None:
        self.threshold = checks.number("BinaryAccuracy", "threshold", threshold)
        super().__init__(name)

    def update(self, output: Tensor, target: Tensor) -> None:
        given, wanted = _pair("BinaryAccuracy", output, target)
        self.count(((given > self.threshold) == (wanted > 0.5)) & ~np.isnan(given))


class MeanSquaredError(Metric):
    """The mean squared difference between output and target, over all elements."""

    label, better = "mse", "min"

    def update(self, output: Tensor, target: Tensor) -> None:
        given, wanted = _pair(type(self).__name__, output, target)
        difference = given.astype(np.float64) - wanted
        self.add(total=float(np.vdot(difference, difference)), count=difference.size)

    def compute(self) -> float:
        return self.ratio("total", "count")


class RootMeanSquaredError(MeanSquaredError):
    """The square root of :class:`MeanSquaredError`."""

    label = "rmse"

    def compute(self) -> float:
        return math.sqrt(super().compute())


class MeanAbsoluteError(Metric):
    """The mean absolute difference between output and target, over all elements."""

    label, better = "mae", "min"

    def update(self, output: Tensor, target: Tensor) -> None:
        given, wanted = _pair("MeanAbsoluteError", output, target)
        self.add(total=float(np.abs(given.astype(np.float64) - wanted).sum()), count=given.size)

    def compute(self) -> float:
        return self.ratio("total", "count")


def as_metrics(owner: str, given: object) -> list[Metric]:
    """Metrics, with functions as averages, renamed if given as a dict."""
    named = isinstance(given, Mapping)
    pairs = list(given.items()) if isinstance(given, Mapping) else [(None, one) for one in _each(owner, given)]
    found = [_as_metric(owner, None if name is None else str(name), one) for name, one in pairs]
    if named:
        for metric, (name, _) in zip(found, pairs, strict=True):
            metric.name = str(name)
    names = ["loss", *(metric.name for metric in found)]
    if len(set(names)) < len(names):
        raise OptionError(f"{owner}: metrics have names of their own, got {', '.join(names)}; give a dict of them")
    return found


def _each(owner: str, given: object) -> list[object]:
    return [given] if isinstance(given, Metric) else checks.several(owner, "metrics", given)


def _as_metric(owner: str, name: str | None, one: object) -> Metric:
    if isinstance(one, Metric):
        return one
    if isinstance(one, type) or not callable(one):
        raise OptionError(
            f"{owner}: a metric is one of lucid.training, such as Accuracy(), or a function of output and target, "
            f"got {shown(one)}"
        )
    return Average(one, name)
