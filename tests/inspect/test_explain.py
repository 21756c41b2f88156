"""``net.explain()``: where nodes come from, how they run, and what rules say that declined."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn, passes
from lucid.errors import GraphError
from lucid.graph.ops.elementwise import RELU
from lucid.nn import functional as F
from lucid.runtime.planning.machine import Machine

SPEC = lucid.spec("N", 4, 8, 8)


def conv(**options: Any) -> nn.Conv2d:
    lucid.manual_seed(0)
    return nn.Conv2d(4, 4, 3, **options)


class Model(nn.Module):
    """A convolution, a normalisation, and a function of both."""

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.conv, self.norm, self.linear, self.function = conv(), nn.BatchNorm2d(4), nn.Linear(6, 3), function

    def forward(self, x: Any) -> Any:
        return self.function(self, x)


def pooled(m: Any, x: Any) -> Any:
    return F.max_pool2d(m.conv(x), 2, stride=2, padding=1, pad_value=-1.0).sigmoid()


@pytest.mark.parametrize(
    ("function", "label", "reason"),
    [
        (lambda m, x: (y := m.conv(x)).relu() + y.exp(), "fuse_conv_pool", "is read 2 times"),
        (lambda m, x: (y := m.linear(m.conv(x))).relu() + y.exp(), "fuse_linear", "is read 2 times"),
        (lambda m, x: m.norm(F.conv2d(x, x.mean() * m.conv.weight)), "fold_batch_norm", "depends on the input"),
        (lambda m, x: m.norm(x), "fold_batch_norm", "no convolution's result"),
        (pooled, "fuse_conv_pool", "holds -1, which Sigmoid changes"),
        (lambda m, x: F.silu(F.max_pool2d(m.conv(x), 2, stride=2)), "fuse_conv_pool", "falls somewhere"),
        (lambda m, x: (y := m.conv(x)) + x[:, :, 1:-1, 1:-1] + y.exp(), "fuse_residual", "is read 2 times"),
    ],
    ids=["conv", "linear", "moving", "no-conv", "padding", "falls", "residual"],
)
def test_the_rule_that_declined_says_why(function: Any, label: str, reason: str) -> None:
    net = lucid.compile(Model(function).eval(), SPEC)
    said = [line for line in net.explain().splitlines() if f"not by {label}" in line]
    assert any(reason in line for line in said), net.explain()


def test_what_another_pass_took_in_later_is_not_told() -> None:
    net = lucid.compile(Model(lambda m, x: (m.conv(x) + x[:, :, 1:-1, 1:-1]).relu()).eval(), SPEC)
    assert "not by fuse_" not in net.explain()


def test_a_rule_of_ones_own_declines() -> None:
    def mine(graph: Any) -> Any:
        return passes.rebuild(graph, lambda s: passes.Declined("I do not like it") if s.op is RELU else None, "mine")

    net = lucid.compile(lambda x: x.relu(), SPEC, passes=passes.default().insert_after("lower", mine))
    assert "    not by mine: I do not like it" in net.explain().splitlines()


def test_one_node_says_how_it_runs_and_what_else_could(usual_machine: Machine) -> None:
    net = lucid.compile(Model(lambda m, x: m.norm(m.conv(x)).relu()).eval(), SPEC)
    net(np.ones((2, 4, 8, 8), np.float32))
    lines = net.explain("conv.conv2d").splitlines()
    assert lines[0].startswith("conv.conv2d: ConvPool2d -> float32[N, 4, 6, 6]")
    assert any(line.startswith("    by fold_batch_norm: ") for line in lines)
    step = next(step for step in net.plan.steps if step.name == "conv.conv2d")
    (runs,) = (i for i, line in enumerate(lines) if line.startswith(f"    runs by {step.choice}: "))
    others = [float(line.rsplit(" ", 2)[1]) for line in lines[runs + 1 :]]
    assert others
    assert others == sorted(others)
    assert others[0] >= round(step.choice.way.seconds * 1e6, 1)
    gone = net.explain("norm.batch_norm").splitlines()
    assert gone[0].startswith("norm.batch_norm went into ")
    assert gone[0].endswith(", conv.conv2d")
    assert gone[-len(lines) :] == lines
    with pytest.raises(GraphError, match="no node is called 'nothing'"):
        net.explain("nothing")


class Branches(nn.Module):
    """Two branches, and one in one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.large, self.small = nn.Sequential(nn.Linear(4, 4), nn.Tanh()), nn.Linear(4, 4)

    def inner(self, x: Any) -> Any:
        return lucid.cond(x.mean() > 0, self.small, lambda x: x.exp(), (x,))

    def forward(self, x: Any) -> Any:
        return lucid.cond(x.sum() > 1, self.large, self.inner, (x,)).sigmoid()


def test_a_node_that_another_runs_is_found_there() -> None:
    net = lucid.compile(Branches().eval(), lucid.spec("N", 4))
    whole = [line.strip() for line in net.explain().splitlines()]
    for name, depth in (("large.0.linear", 1), ("small.linear", 2)):
        lines = net.explain(name).splitlines()
        ends = [i for i, line in enumerate(lines) if line.strip().startswith(f"{name}: ")]
        assert ends == [depth]
        assert [line.split()[0] for line in lines[:depth]] == ["in"] * depth
        assert all(line.startswith("    " * depth) for line in lines[depth:])
        assert all(line.strip() in whole for line in lines[depth:])
    taken = net.explain("large.1.tanh").splitlines()
    assert taken[:2] == ["in then of if:", "    large.1.tanh went into large.0.linear"]
    assert not net.explain("sigmoid").startswith("in ")
    with pytest.raises(GraphError, match=r"no node is called 'large\.0'"):
        net.explain("large.0")
