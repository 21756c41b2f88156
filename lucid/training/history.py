"""The history of training, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..base import checks
from ..base.tables import as_html
from ..errors import OptionError


def shown_number(value: float) -> str:
    """A loss or a metric as a short text."""
    return f"{value:.4g}" if value == 0 or not 1e-3 <= abs(value) < 1e5 else f"{value:.4f}"[:7].rstrip(".")


class History(Mapping[str, list[float]]):
    """Losses and metrics by name, one number per epoch: ``history["val_loss"][-1]``.

    Attributes
    ----------
    epochs
        The number of epochs.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, list[float]] = {}
        self.epochs = 0

    def add(self, logs: Mapping[str, float]) -> None:
        """Add the numbers of an epoch; all epochs have the same names."""
        if self.epochs and set(logs) != set(self._numbers):
            raise OptionError(f"history: has {', '.join(self._numbers)}, and an epoch of {', '.join(logs)}")
        for name, value in logs.items():
            self._numbers.setdefault(name, []).append(value)
        self.epochs += 1

    @property
    def last(self) -> dict[str, float]:
        """The numbers of the last epoch."""
        return {name: values[-1] for name, values in self._numbers.items()}

    def __getitem__(self, name: str) -> list[float]:
        return self._numbers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def state_dict(self) -> dict[str, object]:
        """The numbers."""
        return {name: list(values) for name, values in self._numbers.items()}

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        """Restore what :meth:`state_dict` returned."""
        found: dict[str, list[float]] = {}
        for name, values in checks.mapping("history", "a state", state_dict).items():
            if not isinstance(values, list) or not all(type(one) is float for one in values):
                raise OptionError(f"history: {checks.shown(name)} is a list of numbers, got {checks.shown(values)}")
            found[name] = list(values)
        counts = {len(values) for values in found.values()}
        if len(counts) > 1:
            raise OptionError(f"history: has {sorted(counts)} epochs")
        self._numbers, self.epochs = found, max(counts, default=0)

    def _rows(self) -> list[list[str]]:
        numbers = [[str(i + 1), *(shown_number(v[i]) for v in self._numbers.values())] for i in range(self.epochs)]
        return [["epoch", *self._numbers], *numbers]

    def __str__(self) -> str:
        rows = self._rows()
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<History of {self.epochs} epochs: {', '.join(self._numbers)}>"

    def _repr_html_(self) -> str:
        return as_html(self._rows())
