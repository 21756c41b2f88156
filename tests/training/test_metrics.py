"""Metrics of a whole pass are those of all samples at once, however the batches are cut."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.data import DataLoader, TensorDataset
from lucid.errors import LucidError, OptionError, ShapeError
from lucid.nn import functional as F
from lucid.training import (
    Accuracy,
    Average,
    BinaryAccuracy,
    MeanAbsoluteError,
    MeanSquaredError,
    RootMeanSquaredError,
    TopKAccuracy,
    evaluate,
)

RNG = np.random.default_rng(0)
SCORES, LABELS = RNG.standard_normal((23, 6)).astype(np.float32), RNG.integers(0, 6, 23)
GIVEN, WANTED = RNG.standard_normal((2, 23, 5)).astype(np.float32)


def of(metric: Any, output: Any, target: Any, size: int) -> float:
    for batch in DataLoader(TensorDataset(output, target), size):
        metric.update(*batch)
    return float(metric.compute())


ORDER = np.argsort(-SCORES, axis=1)


@pytest.mark.parametrize("size", [1, 7, 23])
def test_they_are_those_of_all_samples(size: int) -> None:
    for metric, output, target, wanted in (
        (Accuracy(), SCORES, LABELS, (SCORES.argmax(1) == LABELS).mean()),
        (TopKAccuracy(3), SCORES, LABELS, (ORDER[:, :3] == LABELS[:, None]).any(1).mean()),
        (TopKAccuracy(9), SCORES, LABELS, 1.0),
        (BinaryAccuracy(), GIVEN, WANTED > 0, ((GIVEN > 0.5) == (WANTED > 0)).mean()),
        (MeanSquaredError(), GIVEN, WANTED, ((GIVEN.astype("f8") - WANTED) ** 2).mean()),
        (RootMeanSquaredError(), GIVEN, WANTED, math.sqrt(((GIVEN.astype("f8") - WANTED) ** 2).mean())),
        (MeanAbsoluteError(), GIVEN, WANTED, np.abs(GIVEN.astype("f8") - WANTED).mean()),
        (Average(F.mse_loss), GIVEN, WANTED, ((GIVEN.astype("f8") - WANTED) ** 2).mean()),
    ):
        rounded = 1e-6 if isinstance(metric, Average) else 1e-14
        assert of(metric, output, target, size) == pytest.approx(float(wanted), rel=rounded)
        metric.reset()
        assert math.isnan(metric.compute())


def test_ties_nan_and_images() -> None:
    same = lucid.zeros(3, 4)
    for k, share in ((1, 1 / 3), (2, 2 / 3)):
        for metric in (TopKAccuracy(k), *([Accuracy()] if k == 1 else [])):
            metric.update(same, lucid.tensor([0, 1, 3]))
            assert metric.compute() == pytest.approx(share)  # of equal scores the first counts
    for metric in (Accuracy(), TopKAccuracy(1)):
        metric.update(lucid.tensor([[np.nan, 0.0], [0.0, 1.0]]), lucid.tensor([0, 1]))
        assert metric.compute() == 0.5
    pixels = Accuracy()
    pixels.update(lucid.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]]), lucid.tensor([[[0, 0]]]))
    assert pixels.compute() == 0.5 and pixels.name == "accuracy" and TopKAccuracy().name == "top5"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Accuracy().update(lucid.ones(3), lucid.ones(3)), "scores"),
        (lambda: Accuracy().update(lucid.ones(3, 2), lucid.ones(3)), "numbers of classes"),
        (lambda: Accuracy().update(lucid.ones(3, 0), lucid.zeros(3, dtype=lucid.int64)), "no classes"),
        (lambda: Accuracy().update(lucid.ones(3, 2), "x"), "tensors"),  # type: ignore[arg-type]
        (lambda: TopKAccuracy(0), "k must be"),
        (lambda: MeanSquaredError().update(lucid.ones(3), lucid.ones(2)), "one shape"),
        (lambda: TopKAccuracy(1).update(lucid.ones(1, 2), lucid.tensor([2])), "below 2"),
        (lambda: Average(3), "function"),
        (lambda: Average(lambda a, b: "x").update(lucid.ones(1), lucid.ones(1)), "number"),
        (lambda: Accuracy().load_state_dict({"sums": {"right": "1"}}), "sums"),
        (lambda: evaluate(nn.ReLU(), [], metrics=["accuracy"]), r"Accuracy\(\)"),
        (lambda: evaluate(nn.ReLU(), [], metrics=[Accuracy]), r"Accuracy\(\)"),
        (lambda: evaluate(nn.ReLU(), [], metrics=[Accuracy(), Accuracy()]), "names of their own"),
    ],
)  # fmt: skip
def test_what_they_refuse(make: Any, words: str) -> None:
    with pytest.raises(LucidError, match=words):
        make()


def test_a_model_is_evaluated_as_it_is() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 6))
    before, data = model.training, DataLoader(TensorDataset(SCORES, LABELS), 5)
    found = evaluate(
        model, data, loss=nn.CrossEntropyLoss(), metrics={"right": Accuracy(), "mean": lambda o, t: o.mean()}
    )
    scores = model.eval()(SCORES)
    assert list(found) == ["loss", "right", "mean"] and before
    assert found["loss"] == pytest.approx(F.cross_entropy(scores, LABELS).item(), rel=1e-5)
    assert found["right"] == (scores.numpy().argmax(1) == LABELS).mean()
    assert model.train() and evaluate(model, data, compiled=False) == {} and model.training
    with pytest.raises(OptionError, match="tuple or list"):
        evaluate(model, [lucid.ones(1, 6)])
    with pytest.raises(ShapeError):
        evaluate(model, [(lucid.ones(1, 6), lucid.ones(1))], metrics=[Accuracy()])
