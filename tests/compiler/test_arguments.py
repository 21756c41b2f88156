# ruff: noqa: E501 - a table of expressions
"""Arguments that mean nothing are refused where they come in, with the argument's name; what is accepted means something."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor, nn, optim
from lucid.nn import functional as F

#: An expression with ``b`` for the argument, the values that are refused, and what the message names.
REFUSED: list[tuple[str, list[Any], str]] = [
    *((f"nn.init.{call}", ["x", 1j, [1, 2], np.array([1, 2]), None, math.nan, -math.inf], name) for call, name in (
        ("uniform_(w, b)", "uniform_: a "), ("uniform_(w, 0, b)", "uniform_: b "), ("normal_(w, b)", "mean"), ("normal_(w, 0, b)", "std"),
        ("trunc_normal_(w, b)", "mean"), ("trunc_normal_(w, std=b)", "std"), ("xavier_uniform_(w, b)", "gain"), ("xavier_normal_(w, b)", "gain"),
        ("orthogonal_(w, b)", "gain"), ("kaiming_uniform_(w, b)", "kaiming_uniform_: a "), ("kaiming_normal_(w, b)", "kaiming_normal_: a "),
    )),
    ("nn.init.constant_(w, b)", ["x", 1j, [1, 2], np.array([1, 2]), None, object()], "val"),
    ("nn.init.calculate_gain('leaky_relu', b)", ["x", math.nan, [1]], "param"),
    ("nn.init.calculate_gain(b)", [["relu"], None, 3], "nonlinearity"),
    ("nn.init.kaiming_uniform_(w, mode=b)", [["fan_in"], None, np.array([1, 2])], "mode"),
    ("nn.init.dirac_(lucid.ones(2, 2, 1), b)", [0, True, 1.5, "x"], "groups"),
    ("m.get_submodule(b)", [None, 3, ["0"], np.array([1, 2])], "path"), ("m.get_parameter(b)", [None, 3, ["0"], np.array([1, 2])], "parameter"),
    ("list(m.named_modules(b))", [None, 3, np.array([1, 2])], "prefix"), ("list(m.named_parameters(b))", [None, 3], "prefix"),
    ("list(m.parameters(b))", ["x", None, 1], "recurse"), ("m.zero_grad(b)", ["x", None], "set_to_none"),
    ("m.load_state_dict(b)", ["x", [], None], "state"), ("m.load_state_dict({}, b)", [None, 0, np.array([1, 2])], "strict"),
    ("m.register_forward_hook(b)", ["x", None, 3], "hook"), ("m.register_forward_pre_hook(b)", ["x", None, 3], "hook"), ("m.apply(b)", [None, "x"], "function"),
    ("nn.ModuleList(b)", ["", b"", 3, None], "modules"), ("nn.ModuleList([m]).extend(b)", ["", 3], "modules"), ("nn.ParameterList(b)", ["", 3], "parameters"),
    ("nn.ModuleDict(b)", ["", 3], "modules"), ("nn.ModuleList([m]).insert(b, m)", [True, "x", 2**63, -3], "index"),
    ("sgd.zero_grad(b)", ["x", None, np.array([1, 2])], "set_to_none"), ("sgd.load_state_dict({'state': b, 'param_groups': []})", ["x", [], 3], "state"),
    ("sgd.load_state_dict({'state': {}, 'param_groups': b})", ["x", 3, [3], [{}], np.array([1, 2])], "group"),
    ("optim.SGD(b, lr=0.1)", ["x", 3, None, m if (m := nn.Linear(2, 2)) else None], "params"),
    ("optim.lr_scheduler.LambdaLR(sgd, lambda epoch: b)", ["x", None, True, math.nan, math.inf, np.array([1, 2])], r"lr_lambda\(0\)"),
    ("optim.lr_scheduler.LambdaLR(sgd, [b])", [None, 3], "lr_lambda"), ("optim.lr_scheduler.StepLR(sgd, 1).load_state_dict(b)", ["", [], 3], "state"),
    ("optim.lr_scheduler.SequentialLR(sgd, b, [1])", ["xy", 3, [1, 2], np.array([1, 2])], "schedulers"),
    ("optim.lr_scheduler.SequentialLR(sgd, [optim.lr_scheduler.StepLR(sgd, 1)], b)", ["x", 3, [1.5], np.array(["a"])], "milestone"),
    ("lucid.passes.default().insert_after(b, abs)", [np.array([1, 2]), 3, None], "pass"), ("lucid.passes.default().without(b)", [np.array([1, 2]), 3], "pass"),
    ("lucid.compile(m, lucid.spec('N', 2)).graph.bind({'N': b})", [True, 1.5, -1, "x", 1j, np.array([1, 2])], "'N'"),
    ("lucid.compile(m, lucid.spec('N', 2)).graph.bind(b)", ["x", 3, None], "sizes"),
    ("F.one_hot(lucid.tensor([1]), b)", [np.array([1, 2]), 1.5, "x", True], "num_classes"), ("t[b]", [[[1], [1, 2]]], "index"),
    ("t.__setitem__(b, 0.0)", [2**63, [[1], [1, 2]]], "x\\["), ("divmod(t, b)", [[[1], [1, 2]], "x"], "b|length"),
    ("lucid.linspace(b, 1, 3)", [-math.inf, math.nan], "finite"), ("lucid.arange(b)", [2**63, -(2**63) - 1], "end|at most|at least"),
    ("lucid.zeros(2, dtype=b)", ["\0", np.float32(1), lucid.ones(2), np.ones(2), 3], "element type"), ("t.astype(b)", ["\0", lucid.ones(2), 3], "element type"),
    ("lucid.compile(m, lucid.spec(1, 2)).draw('x.dot', highlight=b)", ["relu", 3, ["nothing"], [["x"]], {"linear": 3}, {"linear": 'red"]; x'}], "highlight"),
    ("lucid.compile(m, lucid.spec(1, 2)).draw('x.svg', max_nodes=b)", ["x", -1, None, 1.5], "max_nodes"), ("lucid.compile(m, lucid.spec(1, 2)).draw('x.dot', title=b)", [3, b"x"], "title"),
    ("lucid.models.mlp(b)", ["x", "", [], [3], [2, "x"], [2, 0], 3], "size"),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "values", "words"), REFUSED, ids=[expression for expression, _, _ in REFUSED])
def test_what_means_nothing_is_refused_by_name(expression: str, values: list[Any], words: str) -> None:
    for b in values:
        model = nn.Linear(2, 2)
        names = {
            "lucid": lucid,
            "nn": nn,
            "F": F,
            "optim": optim,
            "t": lucid.ones(3),
            "w": lucid.ones(3, 3),
            "m": model,
        }
        names["sgd"] = optim.SGD(model.parameters(), lr=0.1)
        with pytest.raises(lucid.LucidError, match=words):
            eval(expression, {**names, "b": b})


def test_a_truncated_normal_far_out_and_without_an_end() -> None:
    w = nn.init.trunc_normal_(lucid.empty(1000), a=3.0, b=math.inf)
    assert float(w.min()) >= 3 and float(w.max()) < 15
    mean = 3.0 + 0.28309865493043643  # of a normal that is above 3: density over tail
    assert abs(float(w.mean()) - mean) < 0.1
    assert float(nn.init.trunc_normal_(lucid.empty(10), mean=1e6, a=-math.inf, b=2.0).max()) <= 2


def test_numbers_may_be_of_any_kind() -> None:
    w = lucid.empty(2, 2)
    for one in (1, 1.0, np.float64(1), np.int64(1), np.array(1.0), Tensor(1.0)):
        assert nn.init.constant_(w, one).tolist() == [[1, 1], [1, 1]]  # type: ignore[arg-type]
        nn.init.uniform_(w, 0, one)  # type: ignore[arg-type]
    assert math.isnan(nn.init.constant_(w, math.nan)[0, 0].item())
