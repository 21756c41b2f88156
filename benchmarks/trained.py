"""The networks whose training steps are timed, with their batches, and the steps of Lucid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import lucid
from lucid import models, nn, optim

LR, MOMENTUM, CLASSES = 1e-3, 0.9, 10
STEPS = 3
"""How many first steps are compared."""


@dataclass(frozen=True)
class Case:
    """A network to train.

    So many of the first losses are ``compared``. Where batch normalisation goes over few pixels, later ones part in
    single precision: PyTorch's own by 2e-3 at the second step from those in double precision, in which all agree.

    Attributes
    ----------
    build
        Makes it of the modules of a library, Lucid's or PyTorch's, where it is made ``of`` them, or else Lucid's.
    """

    title: str
    build: Callable[..., Any]
    shape: tuple[int, ...]
    compared: int = STEPS
    of: bool = False


def _attention(lib: Any) -> Any:
    """A classifier of sequences."""
    return lib.Sequential(
        lib.TransformerEncoderLayer(128, 4, 512, dropout=0.0, batch_first=True),
        lib.TransformerEncoderLayer(128, 4, 512, dropout=0.0, batch_first=True),
        lib.Flatten(), lib.Linear(32 * 128, CLASSES),
    )  # fmt: skip


def _recurrent(lib: Any) -> Any:
    """A classifier of sequences by their last output."""

    class Recurrent(lib.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.out = lib.LSTM(64, 128, batch_first=True), lib.Linear(128, CLASSES)

        def forward(self, x: Any) -> Any:
            return self.out(self.layer(x)[0][:, -1])

    return Recurrent()


CASES = {
    "mlp": Case("MLP 784-512-512-10, batch 256", lambda: models.mlp((784, 512, 512, CLASSES)), (256, 784)),
    "lenet": Case("LeNet-5, batch 64", models.lenet5, (64, 1, 28, 28)),
    "vgg11": Case("VGG-11 on 32×32, batch 32", lambda: models.vgg11(CLASSES, small=True), (32, 3, 32, 32)),
    "resnet18": Case("ResNet-18 on 112×112, batch 8", lambda: models.resnet18(CLASSES), (8, 3, 112, 112)),
    "mobilenet": Case(
        "MobileNet-v1 on 64×64, batch 16", lambda: models.mobilenet_v1(CLASSES), (16, 3, 64, 64), compared=1
    ),
    "transformer": Case(
        "transformer, 2 layers of 128, 32 tokens, batch 16", _attention, (16, 32, 128), of=True
    ),
    "lstm": Case("LSTM 64-128, 32 steps, batch 32", _recurrent, (32, 32, 64), of=True),
}  # fmt: skip


def model(case: Case) -> Any:
    """The network with its first weights, the same each time."""
    lucid.manual_seed(0)
    made = case.build(nn) if case.of else case.build()
    for module in made.modules():  # masks would differ
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return made.train()


def batch(case: Case, share: int = 1, part: int = 0) -> tuple[Any, Any]:
    """One of as many equal parts of the batch."""
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal(case.shape).astype(np.float32), rng.integers(0, CLASSES, case.shape[0])
    return np.array_split(x, share)[part], np.array_split(target, share)[part]


def compiled(of: Any, **options: Any) -> lucid.compiler.step.CompiledStep:
    """The step of a network of this module."""
    rule = optim.SGD(of.parameters(), lr=LR, momentum=MOMENTUM)
    return lucid.compile_step(of, nn.CrossEntropyLoss(), rule, **options)
