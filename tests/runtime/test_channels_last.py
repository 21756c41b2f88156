"""Images that lie channels last in the caller's memory: same values, and results that lie as they do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.graph.types import CHANNELS_LAST, order_of
from lucid.tensor.tensor import Tensor

Array = np.ndarray[Any, Any]

# Tolerances: the two memory orders, and eager and compiled runs, sum in different orders. Of results of about 1 an
# error of 5e-7 was seen; of gradients up to 49, which are sums of some hundred of these, 1.1e-5.


def images(*shape: int, seed: int = 0) -> tuple[Array, Array]:
    """The same images row-major and channels last."""
    x = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return x, np.ascontiguousarray(x.transpose(CHANNELS_LAST)).transpose(0, 3, 1, 2)


class Net(nn.Module):
    """A branch that ends in a pooling, one that ends in a matrix, and a scale for each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(5, 7, 3, padding=1), nn.BatchNorm2d(7)
        self.pool, self.fc = nn.MaxPool2d(2, 2), nn.Linear(7 * 4 * 5, 3)

    def forward(self, x: Any) -> Any:
        y = self.pool(self.bn(self.conv(x)).relu() * 0.5)
        return y, self.fc(y.flatten(1)), x + 1


def net(seed: int = 1) -> Net:
    lucid.manual_seed(seed)
    return Net().eval()


@pytest.mark.parametrize(
    "module", [nn.MaxPool2d(2, 2), nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2, 2), nn.Conv2d(5, 4, 3), nn.ReLU()],
    ids=lambda m: type(m).__name__,
)  # fmt: skip
def test_a_result_lies_as_the_image_does(module: nn.Module) -> None:
    module.requires_grad_(False)
    compiled = lucid.compile(module)
    x, last = images(2, 5, 8, 9)
    for given, order in ((x, None), (last, CHANNELS_LAST), (x, None), (Tensor(last), CHANNELS_LAST)):
        y = compiled(given).numpy()
        np.testing.assert_allclose(y, module(Tensor(x)).numpy(), rtol=1e-5, atol=1e-6)
        assert order_of(y) == order


def test_a_model_of_many_outputs_gives_the_same_values() -> None:
    compiled = lucid.compile(net())
    x, last = images(2, 5, 8, 10)
    with lucid.no_grad():
        for a, b in zip(compiled(x), compiled(last), strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-5)
        backwards = last[:, ::-1]
        expected = [y.numpy() for y in compiled(np.ascontiguousarray(backwards))]
        for a, b in zip(compiled(backwards), expected, strict=True):
            np.testing.assert_array_equal(a.numpy(), b)


class Shuffled(nn.Module):
    """Groups whose channels change places, with few and with many of them in turns."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.conv, self.deep = nn.Conv2d(5, 40, 1), nn.Conv2d(40, 40, 3, padding=1, groups=40)
        self.shuffle, self.last = nn.ChannelShuffle(groups), nn.Conv2d(40, 4, 1, groups=4)

    def forward(self, x: Any) -> Any:
        return self.last(self.deep(self.shuffle(self.conv(x).relu())))


@pytest.mark.parametrize("groups", [2, 4, 20, 40])
def test_channels_change_places_where_they_lie(groups: int) -> None:
    model = Shuffled(groups).eval()
    compiled = lucid.compile(model, lucid.spec("N", 5, "H", "W"))
    for shape in ((2, 5, 8, 10), (1, 5, 1, 3), (0, 5, 4, 4)):
        x, last = images(*shape)
        leaf = Tensor(x, requires_grad=True)
        wanted = model(leaf)
        (wanted * wanted).sum().backward()
        for given in (x, last):
            with lucid.no_grad():
                np.testing.assert_allclose(compiled(given).numpy(), wanted.numpy(), rtol=1e-5, atol=1e-6)
        own = Tensor(x, requires_grad=True)
        y = compiled(own)
        (y * y).sum().backward()
        assert own.grad is not None and leaf.grad is not None
        np.testing.assert_allclose(own.grad.numpy(), leaf.grad.numpy(), rtol=1e-5, atol=1e-6)
    with lucid.no_grad():
        compiled(images(2, 5, 8, 10)[0])
    reshapes = [node for _, node in compiled.graph.nodes() if node.op.name == "Reshape" and node.outputs[0].rank >= 4]
    assert any(node.outputs[0].order == CHANNELS_LAST for node in reshapes)


@pytest.mark.parametrize("training", [False, True])
def test_gradients_are_the_same_and_that_of_the_image_lies_as_it_does(training: bool) -> None:
    x, last = images(3, 5, 8, 10)
    found = []
    for given in (x, last):
        model = net().train(training)
        compiled, leaf = lucid.compile(model), Tensor(given, requires_grad=True)
        y, z, _ = compiled(leaf)
        ((y * y).sum() + (z * z).sum()).backward()
        assert leaf.grad is not None
        assert order_of(leaf.grad.numpy()) == order_of(given)
        found.append([leaf.grad.numpy(), *(p.grad.numpy() for p in model.parameters())])
    # before a normalisation the gradient of a bias is 0: what is left of a sum of 240 numbers of about 1, up to 1.4e-5
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=3e-5)


def test_from_a_file_for_any_batch_and_tuned(tmp_path: Path) -> None:
    model = net()
    lucid.compile(model, lucid.spec("N", 5, 8, 10)).save(tmp_path / "net.lucid")
    loaded, tuned = lucid.load(tmp_path / "net.lucid"), lucid.compile(model, tune=True)
    for batch in (1, 4):
        x, last = images(batch, 5, 8, 10)
        with lucid.no_grad():
            expected = [y.numpy() for y in model(Tensor(x))]
        for compiled in (loaded, tuned):
            with lucid.no_grad():
                for a, b in zip(compiled(last), expected, strict=True):
                    np.testing.assert_allclose(a.numpy(), b, rtol=1e-4, atol=1e-5)


def test_a_gradient_that_is_anything_elses_is_copied() -> None:
    """The upstream gradient reaches two leaves as it is; to write to one changes nothing else."""
    a, b = (Tensor(np.zeros(3, np.float32), requires_grad=True) for _ in "ab")
    dy = np.ones(3, np.float32)
    (a + b).backward(dy)
    assert a.grad is not None and b.grad is not None
    dy[:] = 7
    a.grad.copy_(np.full(3, 5, np.float32))
    np.testing.assert_array_equal(b.grad.numpy(), [1, 1, 1])
    np.testing.assert_array_equal(a.grad.numpy(), [5, 5, 5])
    (a * 1.0).sum().backward()
    np.testing.assert_array_equal(a.grad.numpy(), [6, 6, 6])


@pytest.mark.parametrize("training", [False, True])
def test_parameters_and_captured_tensors_that_lie_so_are_followed(training: bool) -> None:
    """A view of one is made once, and must see what is written to it later."""
    _, last = images(4, 3, 2, 2)
    captured = Tensor(last)

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.p = lucid.Parameter(last)

        def forward(self, x: Any) -> Any:
            return x @ self.p.reshape(4, -1) + captured.reshape(4, -1).sum(0)

    model = Scaled().train(training)
    compiled, x = lucid.compile(model), np.ones((1, 4), np.float32)
    for step in range(3):
        np.testing.assert_allclose(compiled(x).numpy(), model(Tensor(x)).numpy(), rtol=1e-5)
        with lucid.no_grad():
            model.p.copy_(np.full(last.shape, step, np.float32))
            captured.copy_(np.full(last.shape, -step, np.float32))


def test_batch_statistics_are_those_of_many_pixels() -> None:
    """A sum row after row of so many alike numbers would be off by some thousandth."""
    x = np.full((8, 64, 64, 3), 0.1, np.float32).transpose(0, 3, 1, 2)
    norm = nn.BatchNorm2d(3, momentum=1.0)
    lucid.compile(norm)(x)
    np.testing.assert_allclose(norm.running_mean.numpy(), [np.float32(0.1)] * 3, rtol=2e-5)  # type: ignore[union-attr]
