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
        self.signal = nn.Conv1d(4, 4, 3)
        self.square, self.plane = (nn.Parameter(lucid.randn(8, 8)) for _ in range(2))

    def forward(self, x: Any) -> Any:
        return self.function(self, x)


def pooled(m: Any, x: Any) -> Any:
    return F.max_pool2d(m.conv(x), 2, stride=2, padding=1, pad_value=-1.0).sigmoid()


def attended(softmax: Any = None, mask: Any = None, scale: float = 0.5, value: Any = None) -> Any:
    def function(m: Any, x: Any) -> Any:
        scores = x @ x.transpose(-1, -2) * scale
        shares = (softmax or (lambda s: s.softmax(-1)))(scores if mask is None else mask(scores))
        return shares @ (x if value is None else value(x))

    return function


def twice(function: Any, *after: Any) -> Any:
    """Something that is read by two."""
    return lambda m, x: sum((one(function(m, x)) for one in after), start=0.0)


def dilated(m: Any, x: Any) -> Any:
    return F.conv2d(x[:, :, :4, :4], m.conv.weight, padding=2, dilation=3)


def gate(x: Any, low: float = 0.0, high: float = 6.0) -> Any:
    return (x + 3.0).clamp(low, high)


CASES: dict[str, list[tuple[str, Any]]] = {
    "fold_batch_norm": [
        ("depends on the input", lambda m, x: m.norm(F.conv2d(x, x.mean() * m.conv.weight))),
        ("no convolution's result", lambda m, x: m.norm(x)),
        ("is read 2 times", lambda m, x: m.norm(y := m.conv(x)) + y.exp()),
        ("asked for as a result", lambda m, x: (y := m.conv(x), m.norm(y))),
        ("in training mode", lambda m, x: F.batch_norm(m.conv(x), None, None, training=True)),
        ("lie on two axes", lambda m, x: m.norm(F.conv_transpose2d(x, m.conv.weight[:, :1], groups=4))),
    ],
    "fold_scales": [
        ("is read 2 times", lambda m, x: (y := m.conv(x)) * m.norm.weight[:, None, None] + y.exp()),
        ("weights of conv2d depend on the input", lambda m, x: F.conv2d(x, x.mean() * m.conv.weight) * 2.0),
        ("lie on two axes", lambda m, x: F.conv_transpose2d(x, m.conv.weight[:, :1], groups=4) * 2.0),
        ("holds zeros, to which add adds nothing", lambda m, x: F.conv2d(x + 2.0, m.conv.weight, padding=1)),
        ("is read 2 times", lambda m, x: m.conv(y := x * 2.0).sum() + y.sum()),
    ],
    "fuse_hardswish": [
        ("is read 2 times", lambda m, x: x * (y := gate(x)) / 6.0 + y.exp()),
        ("is not what clip is made of", lambda m, x: x.exp() * gate(x) / 6.0),
        ("where HardSwish has 0.166667", lambda m, x: x * gate(x) / 5.0),
    ],
    "lift_signals": [("does something else with one axis more", lambda m, x: m.signal(x[:, :, 0]).softmax(-1))],
    "trim_kernels": [
        ("depends on the input", lambda m, x: F.conv2d(x[:, :, :1, :1], x.mean() * m.conv.weight, padding=1)),
        ("between two taps", dilated),
    ],
    "sink_monotone": [
        ("where the maxima of", lambda m, x: F.max_pool2d(x.exp(), 2, stride=2, return_indices=True)),
        ("makes no image smaller", lambda m, x: F.max_pool2d(x.exp(), 3, padding=1, stride=1)),
        ("is read 2 times", lambda m, x: F.max_pool2d(y := x.exp(), 2, stride=2).sum() + y.sin().sum()),
        ("holds -1, which no padding", lambda m, x: F.max_pool2d(x.exp(), 2, stride=2, padding=1, pad_value=-1.0)),
    ],
    "fuse_conv_pool": [
        ("is read 2 times", lambda m, x: (y := m.conv(x)).relu() + y.exp()),
        ("holds -1, which Sigmoid changes", pooled),
        ("falls somewhere", lambda m, x: F.silu(F.max_pool2d(m.conv(x), 2, stride=2))),
        ("were is read too", lambda m, x: F.max_pool2d(m.conv(x), 2, stride=2, return_indices=True)),
        ("not one number for each channel", lambda m, x: m.conv(x) + x[0, 0, 0, :6]),
        ("added to something larger", lambda m, x: m.conv(x) + x[:, :, :1, :1][:, None]),
    ],
    "fuse_residual": [
        ("is read 2 times", lambda m, x: (y := m.conv(x)) + x[:, :, 1:-1, 1:-1] + y.exp()),
        ("has one channel", lambda m, x: F.conv2d(x, m.conv.weight[:, :1], groups=4) + x[:, :, 1:-1, 1:-1]),
        ("has another shape", lambda m, x: m.conv(x) + x[:, :, :1, 1:-1]),
    ],
    "fuse_linear_products": [
        ("depends on the input", lambda m, x: x @ x.mean((0, 1))),
        ("is read 2 times", lambda m, x: ((y := x @ m.square) + m.square[0]).sum() + y.exp().sum()),
        ("has a bias already", lambda m, x: F.linear(x, m.square, m.square[0]) + m.square[1]),
    ],
    "fold_means": [
        ("is read 3 times", lambda m, x: (y := F.linear(x, m.square)) - y.mean(-1, keepdim=True) + y.exp()),
        ("is read 2 times", lambda m, x: ((y := F.linear(x, m.square)) - (mean := y.mean(-1, keepdim=True))) / mean),
        ("depends on the input", lambda m, x: (y := F.linear(x, x.mean() * m.square)) - y.mean(-1, keepdim=True)),
    ],
    "fuse_linear": [("is read 2 times", lambda m, x: (y := m.linear(m.conv(x))).relu() + y.exp())],
    "fuse_attention": [
        ("is read 2 times", lambda m, x: (y := (x @ x.transpose(-1, -2)).softmax(-1)) @ x + y),
        ("which is not the last", attended(lambda scores: scores.softmax(-2))),
        ("neither a number times the scores nor a mask", attended(mask=lambda scores: scores.exp())),
        ("not alike but for their last two axes", attended(value=lambda x: x[0, 0])),
    ],
    "defer_bias": [
        ("asked for as a result", lambda m, x: m.conv(x).relu()),
        ("is no layer", lambda m, x: m.conv(x).relu().exp()),
        ("which reads it, holds zeros", lambda m, x: F.conv2d(m.conv(x).relu(), m.conv.weight, padding=1)),
        ("takes over the bias of", lambda m, x: m.conv(m.conv(m.conv(x).relu()).relu()).exp()),
        ("depend on the input", lambda m, x: F.conv2d(m.conv(x).relu(), x.mean() * m.conv.weight)),
        ("its pooling would hold",
         lambda m, x: F.max_pool2d(m.conv(x).relu(), 3, stride=3, padding=1, pad_value=1.0).exp()),
    ],
    "fuse_elementwise": [
        ("asked for as a result", lambda m, x: (y := x.exp(), y.sin())),
        ("read by several that do not go together", lambda m, x: (y := x.exp()).sin().sum() + y.cos().sum()),
        ("has the shape (4, 1, 1), and what reads it", lambda m, x: x.exp() + x.mean((0, 2, 3), keepdim=True)[0].sin()),
        ("depends on parameters only", lambda m, x: x.sin() * m.plane.exp()),
        ("holds at most 32 ops", lambda m, x: [x := x.sin() for _ in range(40)][-1]),
    ],
}  # fmt: skip
"""For each pass what it says, and a model of which it says so."""


@pytest.mark.parametrize(("label", "reason", "function"), [(k, *row) for k, rows in CASES.items() for row in rows])
def test_the_rule_that_declined_says_why(label: str, reason: str, function: Any) -> None:
    net = lucid.compile(Model(function).eval(), lucid.spec(2, 4, 8, 8))
    said = [line for line in net.explain().splitlines() if f"not by {label}" in line]
    assert any(reason in line for line in said), net.explain()


def test_every_pass_that_fuses_or_folds_can_say_why_it_did_not() -> None:
    homes = {
        one.name: getattr(one.run, "func", one.run).__module__.split(".")
        for one in lucid.compile(lambda x: x).options.inference_passes
    }
    joining = {name for name, home in homes.items() if {"fuse", "fold"} & set(home)}
    assert joining <= set(CASES), "it has a row above"
    assert set(CASES) <= set(homes)


def test_what_is_exact_says_so() -> None:
    net = lucid.compile(Model(lambda m, x: m.conv(x + 2.0)).eval(), SPEC, exact=True)
    assert "may be much larger than the sum" in net.explain()


def test_what_depends_on_sizes_that_are_not_known_says_so() -> None:
    net = lucid.compile(lambda x: F.max_pool2d(x.exp(), 2, stride=2), lucid.spec(1, 4, "H", 8))
    assert "not by sink_monotone: whether it makes images smaller is not known" in net.explain()


def test_what_is_said_in_a_region_is_told_there() -> None:
    def function(m: Any, x: Any) -> Any:
        return lucid.cond(x.sum() > 0, lambda: (y := m.conv(x)).relu() + y.exp(), lambda: m.conv(x).exp()) * 2

    net = lucid.compile(Model(function).eval(), SPEC)
    told = net.explain().splitlines()
    (place,) = (i for i, line in enumerate(told) if "not by fuse_conv_pool at" in line)
    assert told[place].startswith("            not by fuse_conv_pool at ") and "is read 2 times" in told[place]
    assert [line.strip() for line in net.explain("conv.conv2d").splitlines()].count(told[place].strip()) == 1


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
