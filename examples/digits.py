"""Train a small CNN on scikit-learn's 1,797 handwritten digits, compile it, and look at everything that comes of it.

    make demo        # or: python examples/digits.py [--out DIR] [--epochs N] [--seed N]

Writes into demo-out/: the traced, the optimised and the backward graph as pictures, the NumPy program that runs,
and the compiled model, which is then loaded in a fresh process.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import lucid
from lucid import nn, optim
from lucid.data import DataLoader, TensorDataset
from lucid.training import Accuracy

BATCH = 64
WANTED = 0.98

#: What the fresh process runs. It knows nothing of the model's class.
PREDICT = """
import sys
import numpy as np
import lucid
model, images, scores = sys.argv[1:]
np.save(scores, lucid.load(model)(np.load(images)).numpy())
"""


class DigitNet(nn.Module):
    """Two stages of convolution, ReLU and max pooling, then one linear layer: 8x8 images to 10 scores."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2, stride=2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2, stride=2),
        )
        self.dropout = nn.Dropout(0.4)
        self.classifier = nn.Linear(64 * 2 * 2, 10)

    def forward(self, x: lucid.Tensor) -> lucid.Tensor:
        x = self.features(x)
        return self.classifier(self.dropout(x.view(x.size(0), -1)))


def load_data(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images (N, 1, 8, 8) in [0, 1] and labels, to train on and held out."""
    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)[:, None]
    return tuple(train_test_split(images, digits.target, test_size=0.2, random_state=seed, stratify=digits.target))


class Shifted(TensorDataset):
    """Images and labels; in each batch half of the images are moved by up to one pixel."""

    def __getbatch__(self, indices: Sequence[int]) -> list[lucid.Tensor]:
        images, labels = super().__getbatch__(indices)
        count = len(indices)
        moved = (lucid.rand(2, count).numpy() < 0.5) * lucid.randint(-1, 2, (2, count)).numpy()
        down, right = moved[:, :, None, None] + 1
        padded = np.pad(images.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)))
        rows, columns = down + np.arange(8)[:, None], right + np.arange(8)
        return [lucid.from_numpy(padded[np.arange(count)[:, None, None], 0, rows, columns][:, None]), labels]


def train(model: DigitNet, images: np.ndarray, labels: np.ndarray, epochs: int) -> None:
    """Train in place, with a progress bar on a terminal, else a line for each epoch."""
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    lucid.fit(
        model,
        DataLoader(Shifted(images, labels), BATCH, shuffle=True, drop_last=True),
        loss=nn.CrossEntropyLoss(),
        optimizer=optimizer,
        epochs=epochs,
        metrics=[Accuracy()],
        scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs),
    )
    model.eval()


def accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    return float((scores.argmax(axis=1) == labels).mean())


def write_all(net: lucid.CompiledModel, out: Path) -> list[tuple[Path, str]]:
    """Write what a compiled model can show of itself; returns the files and what each is."""
    out.mkdir(parents=True, exist_ok=True)
    net.traced.draw(out / "forward.svg")
    net.graph.draw(out / "optimised.svg")
    net.backward_graph.draw(out / "backward.svg")
    (out / "program.py").write_text(net.source, "utf-8")
    net.save(out / "digits.lucid")
    return [
        (out / "forward.svg", f"the graph as traced, {len(net.traced)} nodes"),
        (out / "optimised.svg", f"after the passes, {len(net.graph)} nodes"),
        (out / "backward.svg", f"the gradient, {len(net.backward_graph)} nodes"),
        (out / "program.py", "the NumPy program that runs"),
        (out / "digits.lucid", "the compiled model"),
    ]


def predict_elsewhere(model: Path, images: np.ndarray) -> np.ndarray:
    """The scores that a fresh process computes from the file."""
    with tempfile.TemporaryDirectory() as folder:
        given, scores = Path(folder, "images.npy"), Path(folder, "scores.npy")
        np.save(given, images)
        subprocess.run([sys.executable, "-c", PREDICT, str(model), str(given), str(scores)], check=True)
        return np.load(scores)


def main() -> int:
    parser = argparse.ArgumentParser(description="Train, compile, draw, save and reload a CNN on handwritten digits.")
    parser.add_argument("--out", type=Path, default=Path("demo-out"), help="folder to write to")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    started = time.perf_counter()

    lucid.manual_seed(args.seed)
    images, held_out, labels, held_out_labels = load_data(seed=0)
    print(f"{len(images)} digits to train on, {len(held_out)} held out")
    model = DigitNet()
    train(model, images, labels, args.epochs)
    with lucid.no_grad():
        eager = model(lucid.Tensor(held_out)).numpy()
    reached = accuracy(eager, held_out_labels)
    print(f"accuracy on the {len(held_out)} held-out digits: {reached:.2%}")

    net = lucid.compile(model, lucid.spec("N", 1, 8, 8))
    scores = net(held_out).numpy()
    difference = np.abs(scores - eager).max() / np.abs(eager).max()
    print(f"compiled for any batch size; largest relative difference to the eager model: {difference:.1e}")
    files = write_all(net, args.out)
    print(f"\n{net.plan}\n")
    for path, what in files:
        print(f"{path!s:<24} {path.stat().st_size:>9,} bytes  {what}")
    identical = np.array_equal(predict_elsewhere(args.out / "digits.lucid", held_out), scores)
    print(f"\nloaded in a fresh process: predictions {'bit-identical' if identical else 'DIFFER'}")
    print(f"done in {time.perf_counter() - started:.1f} s")

    if reached < WANTED:
        print(f"accuracy {reached:.2%} is below {WANTED:.0%}", file=sys.stderr)
    return 0 if identical and reached >= WANTED and difference < 1e-4 else 1


if __name__ == "__main__":
    sys.exit(main())
