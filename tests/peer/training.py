"""Ten steps of Adam, in Lucid and in PyTorch, from the same weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn as tn

import lucid
from lucid import nn
from lucid.nn import functional as F


def trains_alike(build: Callable[[Any], Any], features: int) -> None:
    """Assert that a classifier of sequences, built of the modules of either, has the same losses on the way."""
    ours, theirs = build(nn), build(tn)
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal((6, 7, features)).astype(np.float32), rng.integers(0, 3, 6)
    step, other = lucid.optim.Adam(ours.parameters(), 0.01), torch.optim.Adam(theirs.parameters(), 0.01)
    net = lucid.compile(ours)
    for _ in range(10):
        step.zero_grad()
        other.zero_grad()
        loss = F.cross_entropy(net(x), target)
        wanted = tn.functional.cross_entropy(theirs(torch.from_numpy(x)), torch.from_numpy(target))
        loss.backward()
        wanted.backward()
        step.step()
        other.step()
        assert loss.item() == pytest.approx(wanted.item(), abs=1e-4)
