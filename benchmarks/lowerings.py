"""Every lowering of a single layer as a contestant of its own, beside the one that the cost model chooses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import lucid
from lucid import nn
from lucid.runtime.planning.registry import Choice, choices
from lucid.runtime.program.executable import Executable
from lucid.runtime.program.plan import Plan
from lucid.runtime.program.step import Step
from peers import Contestant, Ready

CONVOLUTIONS = ("Conv2d", "ConvPool2d")


def convolution(plan: Plan) -> Step:
    """The step that convolves."""
    return next(step for step in plan.steps if step.node.op.name in CONVOLUTIONS)


def ways(plan: Plan) -> dict[str, Choice]:
    """For each lowering that accepts the layer the way that is predicted to be quickest."""
    step = convolution(plan)
    every = choices(step.node, tuple(x.type for x in step.ins), threads=plan.threads)
    return {choice.lowering.name: choice for choice in reversed(every)}


def run_by(module: nn.Module, shape: tuple[int, ...], choice: Choice) -> Callable[[np.ndarray[Any, Any]], Any]:
    """The layer as a program in which the convolution is run so."""
    plan = lucid.compile(module, lucid.spec(*shape)).plan
    executable = Executable(plan.graph, threads=plan.threads, chosen={convolution(plan).name: choice})
    state = module.state_dict()
    executable.load([np.asarray(state[name]) for name in executable.parameters], 0)
    return lambda x: executable(x)[0]


def _forced(name: str, ready: Ready) -> Callable[[], Any]:
    plan = lucid.compile(ready.module, lucid.spec(*ready.case.shape)).plan
    run, x = run_by(ready.module, ready.case.shape, ways(plan)[name]), ready.x
    return lambda: (run(x),)


def chosen(ready: Ready) -> str:
    """The lowering that the cost model takes."""
    return convolution(lucid.compile(ready.module, lucid.spec(*ready.case.shape)).plan).lowering


def forced(ready: Ready) -> list[Contestant]:
    """A contestant for each lowering that accepts the layer, called ``lowering: name``."""
    plan = lucid.compile(ready.module, lucid.spec(*ready.case.shape)).plan
    return [
        Contestant(f"lowering: {name}", partial(_forced, name), lambda ys: [np.array(y) for y in ys], ours=True)
        for name in sorted(ways(plan))
    ]
