"""A compiled step and the eager loop, while model, optimizer and mode are changed between calls in random ways."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import lucid
from lucid import Tensor, nn, optim

from .sweep import Case

SMALL = 1
CALLS = 20
LOSS = nn.CrossEntropyLoss()

RULES: list[Callable[[Any], optim.Optimizer]] = [
    lambda p: optim.SGD(p, lr=0.05, momentum=0.9), lambda p: optim.Adam(p, lr=0.01, amsgrad=True),
    lambda p: optim.NAdam(p, lr=0.005), lambda p: optim.Adagrad(p, lr=0.02),
    lambda p: optim.RMSprop(p, lr=0.002, centered=True, momentum=0.5, eps=1e-3),
    lambda p: optim.ASGD(p, lr=0.05, t0=3), lambda p: optim.Adafactor(p, lr=0.02),
]  # fmt: skip


class _Twin:
    """A model and its optimizer, with what was saved of both."""

    def __init__(self, rule: Callable[[Any], optim.Optimizer], seed: int) -> None:
        lucid.manual_seed(seed)
        self.model: Any = nn.Sequential(
            nn.Linear(8, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.2), nn.Linear(6, 5)
        ).double()
        self.optimizer = rule(self.model.parameters())
        self.saved: Any = None

    def eager(self, x: Any, y: Any) -> float:
        self.optimizer.zero_grad()
        loss = LOSS(self.model(Tensor(x)), Tensor(y))
        loss.backward()
        self.optimizer.step()
        return float(loss)


def _new_layer(twin: _Twin) -> None:
    model, groups = twin.model, twin.optimizer.param_groups
    model[0] = nn.Linear(8, 6).double()
    there = {id(p) for p in model.parameters()}
    for group in groups:
        group["params"] = [p for p in group["params"] if id(p) in there]
    groups[0]["params"].extend(model[0].parameters())


def _moved(twin: _Twin, p: Any) -> None:
    """A parameter goes to a group of its own."""
    groups = twin.optimizer.param_groups
    if len(groups) == 1:
        groups[0]["params"] = [q for q in groups[0]["params"] if q is not p]
        twin.optimizer.add_param_group({"params": [p], "lr": 0.02})


def _saved(twin: _Twin) -> None:
    weights = {name: np.array(value.numpy()) for name, value in twin.model.state_dict().items()}
    twin.saved = weights, twin.optimizer.state_dict(), _shapes(twin)


def _shapes(twin: _Twin) -> list[list[tuple[int, ...]]]:
    return [[p.shape for p in group["params"]] for group in twin.optimizer.param_groups]


def _loaded(twin: _Twin) -> None:
    if twin.saved is not None:
        twin.model.load_state_dict(twin.saved[0])
        if _shapes(twin) == twin.saved[2]:
            twin.optimizer.load_state_dict(twin.saved[1])


def _slot(twin: _Twin, p: Any, share: float) -> None:
    """Another tensor in the state."""
    slots = [name for name in twin.optimizer.state.get(p, ()) if name not in ("step", "mu_product")]
    if slots:
        twin.optimizer.state[p][slots[-1]] = Tensor(np.full(p.shape, share))


def _option(twin: _Twin, name: str, value: object) -> None:
    twin.optimizer.param_groups[0][name] = value


CHANGES: list[Callable[[_Twin, Any, float], object]] = [
    lambda twin, p, share: setattr(p, "requires_grad", share < 0.6),
    lambda twin, p, share: _option(twin, "lr", 0.01 + 0.05 * share),
    lambda twin, p, share: _option(twin, "weight_decay", 0.1 * share if share > 0.3 else 0),
    lambda twin, p, share: _option(twin, "maximize", share > 0.5),
    lambda twin, p, share: _saved(twin),
    lambda twin, p, share: _loaded(twin),
    lambda twin, p, share: twin.model.train(share > 0.4),
    lambda twin, p, share: _moved(twin, p),
    lambda twin, p, share: _new_layer(twin),
    lambda twin, p, share: twin.optimizer.state.pop(p, None),
    lambda twin, p, share: setattr(p, "data", p.data * 0.5),
    lambda twin, p, share: twin.optimizer.param_groups.reverse(),
    lambda twin, p, share: _slot(twin, p, share),
    lambda twin, p, share: setattr(twin.model[3], "p", 0.5 * share),
    lambda twin, p, share: None,
]


def cases(rng: np.random.Generator) -> Iterator[Case]:
    while True:
        yield _case(int(rng.integers(1 << 30)))


def _case(seed: int) -> Case:
    return Case(f"{CALLS} calls of seed {seed}", lambda: _alike(seed))


def _alike(seed: int) -> int:
    rule = RULES[seed % len(RULES)]
    found = [_trained(rule, seed, compiled) for compiled in (False, True)]
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(found[1], found[0], rtol=1e-6, atol=1e-8, err_msg=f"seed {seed}")
    return CALLS


def _trained(rule: Callable[[Any], optim.Optimizer], seed: int, compiled: bool) -> list[float]:
    """The losses, and last the sums of the weights' absolute values."""
    rng, twin = np.random.default_rng(seed), _Twin(rule, seed)
    step: Any = lucid.compile_step(twin.model, LOSS, twin.optimizer) if compiled else twin.eager
    lucid.manual_seed(seed + 1)
    losses = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(CALLS):
            parameters = [p for group in twin.optimizer.param_groups for p in group["params"]]
            if sum(p.requires_grad for p in parameters) < 3:
                twin.model.requires_grad_(True)
            p = parameters[rng.integers(len(parameters))]
            CHANGES[rng.integers(len(CHANGES))](twin, p, float(rng.random()))
            x, y = rng.standard_normal((int(rng.choice([6, 6, 3])), 8)), rng.integers(0, 5, 6)
            losses.append(float((step if rng.random() < 0.8 else twin.eager)(x, y[: len(x)])))
    return losses + [float(np.abs(p.numpy()).sum()) for p in twin.model.parameters()]
