"""``python -m tests.soak.killed FILE``: train a net, going on from FILE; tells that it has begun, and the end."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence

import numpy as np

import lucid
from lucid import nn, optim
from lucid.data import DataLoader, TensorDataset
from lucid.training import Accuracy, Callback, EarlyStopping, ModelCheckpoint, Run

EPOCHS = 6


class Shifted(TensorDataset):
    """Images with noise, another in each epoch."""

    def __getbatch__(self, indices: Sequence[int]) -> list[lucid.Tensor]:
        images, labels = super().__getbatch__(indices)
        return [images + 0.1 * lucid.randn(images.shape), labels]


class Tells(Callback):
    """Says that it has begun."""

    def on_batch_end(self, run: Run) -> None:
        if not self.told:
            sys.stdout.write("begun\n")
            sys.stdout.flush()
        self.told = True

    told = False


def data(count: int, seed: int) -> Shifted:
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((count, 1, 8, 8)).astype(np.float32)
    return Shifted(images, (images[:, 0, :4].mean((1, 2)) > 0).astype(np.int64))


def main(path: str) -> None:
    """Random in all ways: order, noise, dropout; with running statistics, a schedule, momentum, sums and a patience."""
    lucid.set_num_threads(1)
    lucid.manual_seed(1)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2)
    )
    optimizer = optim.AdamW(model.parameters(), 0.01)
    stopping = EarlyStopping(patience=2)
    history = lucid.fit(
        model, DataLoader(data(72, 0), 16, shuffle=True, num_workers=2, drop_last=True), loss=nn.CrossEntropyLoss(),
        optimizer=optimizer, epochs=EPOCHS, validation=DataLoader(data(20, 1), 20), metrics=[Accuracy()],
        scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS),
        callbacks=[ModelCheckpoint(path, every=1), stopping, Tells()], resume=path, progress=False, accumulate=3,
    )  # fmt: skip
    digest = hashlib.sha256(repr([*history.items(), stopping.best_epoch]).encode())
    for value in model.state_dict().values():
        digest.update(np.ascontiguousarray(value.numpy()).tobytes())
    digest.update(np.ascontiguousarray(lucid.rand(8).numpy()).tobytes())
    sys.stdout.write(f"{digest.hexdigest()} {history.epochs}\n")


if __name__ == "__main__":
    main(sys.argv[1])
