"""What a person of PyTorch types that is not quite here: it works, or the error says what to type."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import LucidError, TraceError
from lucid.passes.rewrite import rebuild


def matrix() -> lucid.Tensor:
    return lucid.tensor([[1.26, -2.5], [3.5, 4.0]])


def delete(x: Any) -> None:
    del x[0]


def reshape(x: Any) -> None:
    x.shape = (4,)


def gradient(value: Any) -> Callable[[Any], None]:
    def change(x: Any) -> None:
        x.grad = value

    return change


@pytest.mark.parametrize(
    ("habit", "words"),
    [
        (lambda x: x << 1, r"x \* 2 \*\* n"),
        (lambda x: x >> 1, r"x // 2 \*\* n"),
        (lambda x: 1 << x, r"x \* 2 \*\* n"),
        (delete, r"x = x\[1:\]"),
        (reshape, r"x = x\.reshape\(\.\.\.\)"),
        (lucid.bernoulli, "p holds probabilities, from 0 to 1, got -2.5 to 4"),
        (gradient("x"), "grad: is a tensor or None"),
        (gradient(np.ones((2, 2))), r"write lucid\.tensor"),
        (lambda x: rebuild(3, lambda site: None, "mine"), "the first argument is the graph"),  # type: ignore[arg-type]
        (lambda x: lucid.compile(lambda y: y * 2)[0], "holds no numbered modules"),
        (lambda x: len(lucid.compile(nn.Linear(2, 2))), "holds no numbered modules"),
    ],
)
def test_an_error_says_what_to_type(habit: Callable[[Any], Any], words: str) -> None:
    with pytest.raises(LucidError, match=words):
        habit(matrix())


def test_a_traced_tensor_keeps_its_shape_too() -> None:
    with pytest.raises(LucidError, match=r"x = x\.reshape"):
        lucid.compile(reshape)(matrix())


def test_round() -> None:
    np.testing.assert_array_equal(round(matrix()).numpy(), [[1, -2], [4, 4]])
    np.testing.assert_allclose(round(matrix(), 1).numpy(), [[1.3, -2.5], [3.5, 4.0]], rtol=1e-6)


def test_a_gradient_of_ones_own() -> None:
    x = lucid.ones(2, requires_grad=True)
    x.grad = lucid.tensor([1.0, 2.0])
    x.sum().backward()
    assert x.grad.tolist() == [2.0, 3.0]
    x.grad = None
    assert x.grad is None


def test_a_compiled_container_is_one() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    net = lucid.compile(model)
    assert net[0] is model[0] and len(net) == 2 and net[-1] is model[1]
    assert [*net] == [*model]
    np.testing.assert_array_equal(net.forward(matrix()).numpy(), net(matrix()).numpy())
    assert lucid.compile(nn.Linear(2, 2)) and lucid.compile(nn.Sequential())


def by_tempfile(x: Any) -> Any:
    with tempfile.NamedTemporaryFile() as file:
        return x * float(len(file.name) > 0)


def by_directory(x: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return x * float(Path(folder).is_dir())


@pytest.mark.parametrize("function", [by_tempfile, by_directory])
def test_a_temporary_file_is_a_file(function: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "_name_sequence", None)  # as in a process that has made none yet
    with pytest.raises(TraceError, match=r"tempfile\.\w+\(\) asks for a file while"):
        lucid.compile(function)(matrix())
