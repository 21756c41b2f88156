"""The op: right eagerly and compiled, in both float types, of any size, in files, pictures and on the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid_snake import Snake, snake

FLOATS = pytest.mark.parametrize("dtype", [lucid.float32, lucid.float64], ids=["float32", "float64"])


def model() -> nn.Sequential:
    lucid.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 3, padding=1), Snake(0.5), nn.MaxPool2d(2, 2), nn.Flatten(), nn.Linear(128, 5), Snake(2))
    return nn.Sequential(*layers).eval()


@FLOATS
def test_it_is_the_formula(dtype: lucid.dtype) -> None:
    x = np.array([[0.0, -0.0, 1.5, -2.5], [1e4, 1e-30, np.nan, np.pi]], dtype)
    for alpha in (0.5, 1.0, 3.0):
        with np.errstate(invalid="ignore"):
            wanted = x + np.sin(alpha * x) ** 2 / alpha
        for given in (x, x[:, ::-1], x[:0], x.T):
            wanting = {(2, 4): wanted, (0, 4): wanted[:0], (4, 2): wanted.T}[given.shape]
            wanting = wanted[:, ::-1] if given.base is x and given.strides[1] < 0 else wanting
            found = snake(lucid.as_tensor(given), alpha).numpy()
            assert found.dtype == dtype
            np.testing.assert_allclose(found, wanting, rtol=1e-5, atol=1e-5)


@FLOATS
def test_compiled_for_any_batch_it_is_as_eagerly(dtype: lucid.dtype) -> None:
    layers = model().to(dtype)
    net = lucid.compile(layers, lucid.spec("N", 3, 8, 8, dtype=dtype), verify=True)
    assert 'activation="Snake"' in net.graph.text()  # the convolution and the linear layer do it themselves
    for n in (3, 0, 1):
        x = lucid.randn(n, 3, 8, 8, dtype=dtype)
        y = net(x)
        np.testing.assert_allclose(y.numpy(), layers(x).numpy(), rtol=1e-4, atol=1e-5)
        if n:
            y.sum().backward()
            compiled = [p.grad.numpy() for p in layers.parameters() if p.grad is not None]
            layers.zero_grad()
            layers(x).sum().backward()
            eager = [p.grad.numpy() for p in layers.parameters() if p.grad is not None]
            layers.zero_grad()
            for a, b in zip(compiled, eager, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_the_gradient_rule_is_the_slope_and_has_one_itself() -> None:
    lucid.proof.check_gradients(lucid.compile(lambda x: snake(x, 0.7), lucid.spec(3, 4)).traced, {})
    slope = lucid.grad(lucid.grad(lambda x: snake(x, 0.7).sum()))
    assert callable(slope)
    curve = lucid.compile(lambda x: lucid.grad(lambda t: snake(t, 0.7).sum())(x), lucid.spec("N", dtype="float64"))
    x = np.linspace(-2, 2, 9)
    np.testing.assert_allclose(curve(x).numpy(), 1 + np.sin(1.4 * x), rtol=1e-12)


@pytest.mark.parametrize(("size", "lowering"), [(1_000, "whole"), (1_000_000, "parts")])
def test_the_quicker_of_two_ways_runs(size: int, lowering: str) -> None:
    net = lucid.compile(lambda x: snake(x, 0.3), lucid.spec(2, size))
    x = np.random.default_rng(0).standard_normal((2, size), np.float32)
    y = net(x)
    assert f" {lowering} " in str(net.plan)
    np.testing.assert_allclose(y.numpy(), x + np.sin(0.3 * x) ** 2 / 0.3, rtol=1e-5, atol=1e-5)
    assert lowering in net.explain("snake")
    assert any(step[:2] == ("snake", "Snake") for step in net.profile(x, repeat=1).steps)


def test_pictures_show_it(tmp_path: Path) -> None:
    lucid.compile(lambda x: snake(x) * 2, lucid.spec(3)).draw(tmp_path / "net.svg")
    assert "Snake" in (tmp_path / "net.svg").read_text("utf-8")


FRESH = """
import sys, numpy, lucid
from lucid.cli.commands import run
assert "lucid_snake" not in sys.modules
y = lucid.load("net.lucid")(numpy.ones((2, 3, 8, 8), "f4"))
assert "lucid_snake" in sys.modules
numpy.save("y.npy", y.numpy())
commands = "info", "verify", "draw net.dot", "profile", "passes --also merge_branches"
print([run([name, "net.lucid", *rest]) for name, *rest in map(str.split, commands)], run(["plugins", "--check"]))
"""


def test_a_process_that_has_not_imported_it_finds_it_in_a_file(tmp_path: Path) -> None:
    net, x = lucid.compile(model(), lucid.spec("N", 3, 8, 8)), np.ones((2, 3, 8, 8), np.float32)
    net.save(tmp_path / "net.lucid")
    done = subprocess.run([sys.executable, "-c", FRESH], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[0, 0, 0, 0, 0] 0", done.stdout + done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), net(x).numpy(), rtol=1e-6)
    assert "Snake" in (tmp_path / "net.dot").read_text("utf-8")


def test_a_file_says_who_brings_it(tmp_path: Path) -> None:
    """What a reader is told who has not installed it."""
    lucid.compile(model(), lucid.spec("N", 3, 8, 8)).save(tmp_path / "net.lucid")
    assert b'"plugins":"{\\"Snake\\":\\"lucid-snake\\"}"' in (tmp_path / "net.lucid").read_bytes()


def test_what_cannot_be() -> None:
    with pytest.raises(lucid.LucidError, match="alpha is a number above 0"):
        snake(lucid.ones(2), 0.0)
    with pytest.raises(lucid.LucidError, match="Snake: needs floating-point numbers"):
        snake(lucid.ones(2, dtype=lucid.int64))


def test_it_is_announced() -> None:
    found = [one for one in lucid.extend.installed() if one.distribution == "lucid-snake"]
    assert [(one.kind, one.name) for one in found] == [
        ("op", "Snake"), ("pass", "merge_branches"), ("backend", "tally")
    ]  # fmt: skip
    assert set(found) <= set(lucid.extend.load())
