"""What is wrong in a branch or a loop is blamed on what is wrong, whether or not the whole comes to run it."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import LoweringError, PassError
from lucid.graph.ir import Graph
from lucid.graph.ops.elementwise import ADD
from lucid.passes.rewrite import Site, rebuild

from .planted import planted

X = np.ones((2, 4), np.float32)


def opposite(graph: Graph) -> Graph:
    """It means to say that a sum may be taken the other way round."""

    def rule(site: Site) -> Any:
        return site.inputs[1] - site.inputs[0] if site.op is ADD else None

    return rebuild(graph, rule, "opposite")


class Weighed(nn.Module):
    """A branch in a branch, which reads parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def inner(self, x: Any) -> Any:
        return lucid.cond(x.mean() > 0, lambda: self.linear(x).tanh() + x.exp(), lambda: x)

    def forward(self, x: Any) -> Any:
        return lucid.cond(x.sum() > 1e9, lambda: self.inner(x), lambda: x * 2)


def never(x: Any) -> Any:
    return lucid.cond(x.sum() > 1e9, lambda: x.exp() + x.tanh(), lambda: x * 2)


def scanned(x: Any) -> Any:
    return lucid.scan(lambda h, x: (h.exp() + x.tanh(), [h]), x[0], x)


def looped(x: Any) -> Any:
    return lucid.while_loop(lambda x: x.sum() > 1e9, lambda x: (x.exp() + x.tanh(),), (x,))[0]


@pytest.mark.parametrize(
    ("model", "place"),
    [(never, "if > then"), (scanned, "scan > body"), (looped, "loop > body"), (Weighed(), "if > then > if > then")],
    ids=["branch", "scan", "loop", "nested"],
)
def test_the_pass_that_is_wrong_there_is_named(model: Callable[..., Any], place: str, tmp_path: Path) -> None:
    passes = lucid.passes.default().insert_before("clean_up", opposite)
    with pytest.raises(PassError, match=f"^pass opposite, in {place}, changed result [01]: node") as caught:
        lucid.compile(model, lucid.spec(2, 4), passes=passes, verify=tmp_path)
    assert isinstance(caught.value.graph, Graph)
    assert [node.op for _, node in caught.value.graph.nodes() if not node.op.source] == [ADD]
    with pytest.raises(PassError, match="pass opposite changed result 0"):
        runpy.run_path(str(caught.value.script))


def test_a_lowering_in_a_branch_that_is_not_taken() -> None:
    def unlikely(x: Any) -> Any:
        return lucid.cond(x.sum() > 1e9, lambda: x.log_softmax(-1), lambda: x * 2)

    bug = "runtime.kernels.norm", 'k.line(f"np.log({m}, out={m})")', 'k.line(f"np.sqrt({m}, out={m})")'
    with planted(*bug), pytest.raises(LoweringError, match=r"^in if > then: log_softmax: LogSoftmax by"):
        lucid.compile(unlikely, verify=True)(X)


def test_what_is_right_passes() -> None:
    def picked(x: Any) -> Any:
        place = x[:, 0].argmin()  # of what is tried, 1 too: then the branch, which nobody takes, looks beyond the end
        return lucid.cond(x.sum() > 1e9, lambda: x[place * 5], lambda: x[0])

    for model in (never, scanned, looped, Weighed(), picked):
        net = lucid.compile(model, lucid.spec("N", 4), verify=True)
        net(X)
