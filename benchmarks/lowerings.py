"""Every lowering of a single layer as a contestant of its own, beside the one that the cost model chooses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from unittest import mock

import numpy as np

import lucid
from lucid.runtime import plan as planning
from lucid.runtime.plan import Plan, Step
from lucid.runtime.registry import lowerings
from peers import Contestant, Ready

CONVOLUTIONS = ("Conv2d", "ConvPool2d")


def _convolution(plan: Plan) -> Step:
    return next(step for step in plan.steps if step.node.op.name in CONVOLUTIONS)


def _candidates(step: Step) -> list[str]:
    types = tuple(x.type for x in step.ins)
    return [low.name for low in lowerings(step.node.op) if low.accepts(step.node, types)]


def _forced(name: str, ready: Ready) -> Callable[[], Any]:
    """The layer, compiled with this lowering for its convolution."""
    usual = planning.choose

    def choose(node: Any, inputs: Any, **options: Any) -> Any:
        if node.op.name in CONVOLUTIONS:
            return next(low for low in lowerings(node.op) if low.name == name)
        return usual(node, inputs, **options)

    net = lucid.compile(ready.module)
    with mock.patch.object(planning, "choose", choose):
        net(ready.x)  # planned here, once and for all
    assert _convolution(net.plan).lowering == name
    return lambda: (net(ready.x),)


def chosen(ready: Ready) -> str:
    """The lowering that the cost model takes."""
    return _convolution(lucid.compile(ready.module, lucid.spec(*ready.case.shape)).plan).lowering


def forced(ready: Ready) -> list[Contestant]:
    """A contestant for each lowering that accepts the layer, called ``lowering: name``."""
    plan = lucid.compile(ready.module, lucid.spec(*ready.case.shape)).plan
    return [
        Contestant(f"lowering: {name}", partial(_forced, name), lambda ys: [np.array(y.numpy()) for y in ys], ours=True)
        for name in _candidates(_convolution(plan))
    ]
