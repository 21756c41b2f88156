"""The state of a training run, which callbacks read and control, and checkpoints store."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import field

from ..base import checks
from ..base.checks import named, shown
from ..base.structs import struct
from ..compiler.accumulated import Accumulated
from ..errors import FileError, LucidError, OptionError
from ..graph.rng import current_keys
from ..nn.module import Module
from ..optim.optimizer import Optimizer
from .checkpoint import put_back, read, save_checkpoint
from .history import History
from .metrics import Average, Metric
from .state_check import Stateful

_FIELDS = {"epoch", "batch", "stopped", "history", "metrics", "callbacks"}
_OPTIONAL = {"accumulated": "accumulate", "average": "average"}
"""Parts that a run has only with an option of :func:`lucid.fit`."""


@struct
class Run:
    """The state of a call of :func:`lucid.fit`.

    Attributes
    ----------
    model, optimizer
        The model being trained, and its optimizer.
    data
        The batches.
    epochs
        The total number of epochs.
    epoch
        The number of completed epochs: the number, from 0, of the current one.
    batch
        The number of completed batches of the current epoch.
    step
        The total number of completed steps.
    loss
        The loss of the last batch.
    logs
        At the end of an epoch, its losses and metrics by name.
    history
        The same for all epochs.
    stopped
        Why training ends early; None as long as it does not.
    accumulated
        The gradients accumulated for the next update, if updates are for several batches.
    average
        The average of the model's weights, if any.
    saves
        Whether this process writes checkpoints: in a group only the first does.
    """

    model: Module
    optimizer: Optimizer
    data: object
    epochs: int
    losses: Average
    metrics: list[Metric]
    callbacks: Sequence[Stateful]
    validated: bool
    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss: float = float("nan")
    logs: dict[str, float] = field(default_factory=dict)
    history: History = field(default_factory=History)
    stopped: str | None = None
    accumulated: Accumulated | None = None
    average: Stateful | None = None
    saves: bool = True
    _due: list[str] = field(default_factory=list)

    def stop(self, why: str = "a callback stopped it") -> None:
        """Stop training at the end of the epoch."""
        self.stopped = checks.text("stop", "why", why)

    def numbers(self) -> dict[str, float]:
        """The losses and metrics of the epoch so far."""
        return {one.name: one.compute() for one in (self.losses, *self.metrics)}

    def names(self) -> set[str]:
        """The names of an epoch's numbers."""
        plain = {one.name for one in (self.losses, *self.metrics)}
        return plain | {f"val_{name}" for name in plain if self.validated}

    def watched(self, owner: str, monitor: str | None, mode: str | None) -> tuple[str, str]:
        """The metric that a callback compares, and whether its "min" or its "max" is best."""
        name = monitor or ("val_loss" if self.validated else "loss")
        if name not in self.names():
            there = ", ".join(sorted(self.names()))
            raise OptionError(f"{owner}: there is no {shown(name)} to monitor; there are {there}")
        known = {prefix + one.name: one for one in (self.losses, *self.metrics) for prefix in ("val_", "")}
        found = mode or ("min" if known[name] is self.losses else known[name].better)
        if found is None:
            raise OptionError(f'{owner}: say whether the "min" or the "max" of {name} is best: mode="max"')
        return name, found

    # ------------------------------------------------------------ saving

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save a checkpoint of this state, once all callbacks have been called."""
        self._due.append(os.fsdecode(path))

    @property
    def is_due(self) -> bool:
        """Whether a checkpoint is to be saved."""
        return bool(self._due)

    def save_what_is_due(self) -> None:
        """Save the requested checkpoints."""
        due, self._due = self._due, []
        for path in dict.fromkeys(due if self.saves else ()):
            save_checkpoint(
                path, model=self.model, optimizer=self.optimizer, loader=self._loader(), accumulated=self.accumulated,
                average=self.average, step=self.step, extra={"fit": self._state()},
            )  # fmt: skip

    def _loader(self) -> Stateful | None:
        """The data, if they have a state."""
        stateful = hasattr(self.data, "state_dict") and hasattr(self.data, "load_state_dict")
        return self.data if stateful else None  # type: ignore[return-value]

    def _summed(self) -> list[Metric]:
        return [self.losses, *self.metrics]

    def _state(self) -> dict[str, object]:
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "stopped": self.stopped,
            "history": self.history.state_dict(),
            "metrics": [[one.name, one.state_dict()] for one in self._summed()],
            "callbacks": [[type(one).__name__, one.state_dict()] for one in self.callbacks],
        }

    def resume(self, path: str | os.PathLike[str]) -> int:
        """Continue from a checkpoint; returns how many batches to skip if the data have no state."""
        saved = read(path)
        try:
            state = saved.extra.get("fit") if isinstance(saved.extra, dict) else None
            if not isinstance(state, dict) or set(state) != _FIELDS:
                raise FileError("it was not saved by lucid.fit")
            loader = self._loader()
            if (loader is None) != ("loader" not in saved.parts):
                raise FileError(f"it was saved {'with' if loader is None else 'without'} a loader that has a state")
            for name, option in _OPTIONAL.items():
                absent = getattr(self, name) is None
                if absent != (name not in saved.parts):
                    raise FileError(f"it was saved {'with' if absent else 'without'} {option}=")
            self._take(state, saved.parts)
        except LucidError as error:
            raise FileError(f"{named(os.fsdecode(path))}: cannot be resumed: {error}") from error
        self.step, current_keys().state = saved.step, saved.random
        return self.batch if loader is None else 0

    def _take(self, state: Mapping[str, object], saved: Mapping[str, object]) -> None:
        """Restore all states, or none."""
        epoch, batch = (checks.integer("fit", name, state[name], 0) for name in ("epoch", "batch"))
        stopped = None if state["stopped"] is None else checks.text("fit", "stopped", state["stopped"])
        history = History()
        history.load_state_dict(checks.mapping("fit", "history", state["history"]))
        parts: dict[str, tuple[Stateful, object]] = {
            "model": (self.model, saved.get("model")),
            "optimizer": (self.optimizer, saved.get("optimizer")),
        }
        loader = self._loader()
        if loader is not None:
            parts["loader"] = loader, saved["loader"]
        for name in _OPTIONAL:
            part: Stateful | None = getattr(self, name)
            if part is not None:
                parts[name] = part, saved[name]
        for what, owned in (("metrics", self._summed()), ("callbacks", self.callbacks)):
            names = [one.name if isinstance(one, Metric) else type(one).__name__ for one in owned]
            pairs = _pairs(state[what])
            if [name for name, _ in pairs] != names:
                there = ", ".join(str(name)[:40] for name, _ in pairs[:20])
                raise FileError(f"it has the {what} {there or 'of none'}, here are {', '.join(names) or 'none'}")
            for one, name, (_, its) in zip(owned, names, pairs, strict=True):
                parts[f"{what}: {name} ({len(parts)})"] = one, its
        if history.epochs != epoch or (epoch and set(history) != self.names()):
            raise FileError(f"it has {epoch} epochs, and a history of {history.epochs} of {', '.join(history)}")
        put_back(parts)
        self.epoch, self.batch = epoch, batch
        self.history, self.stopped = history, stopped
        self.logs = history.last


def _pairs(found: object) -> list[tuple[object, object]]:
    """The (name, value) pairs of a list of such pairs; none for any other object."""
    listed = found if isinstance(found, list) else []
    return [(one[0], one[1]) if isinstance(one, list) and len(one) == 2 else (None, None) for one in listed]
