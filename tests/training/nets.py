"""Small things to train on."""

from __future__ import annotations

from typing import Any

import numpy as np

import lucid
from lucid import nn, optim
from lucid.data import DataLoader, TensorDataset


def points(count: int = 60, seed: int = 0) -> TensorDataset:
    """Points, and in which of three parts of the plane they lie."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, 4)).astype(np.float32)
    return TensorDataset(x, (x[:, 0] > 0).astype(np.int64) + (x[:, 1] > 0.5))


def perceptron(seed: int = 0) -> nn.Sequential:
    """With random numbers and running statistics of its own."""
    lucid.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))


def fitted(model: Any = None, **options: Any) -> Any:
    """A perceptron that was fitted, eagerly, which takes less time here, and its history."""
    model = perceptron() if model is None else model
    usual = {
        "data": DataLoader(points(), 16, shuffle=True), "loss": nn.CrossEntropyLoss(), "epochs": 2, "progress": False,
        "optimizer": optim.Adam(model.parameters(), 0.01), "compiled": False,
    }  # fmt: skip
    return model, lucid.fit(model, **{**usual, **options})


def state(model: Any) -> dict[str, Any]:
    return {name: value.tolist() for name, value in model.state_dict().items()}
