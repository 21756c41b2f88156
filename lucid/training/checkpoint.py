"""Checkpoints: model, optimiser, schedule, loader and random state in one file, which is written atomically."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..base import changes, checks
from ..base.checks import named, shown
from ..base.structs import struct
from ..errors import FileError, LucidError, OptionError
from ..formats import serialize
from ..formats.states import pack, unpack
from ..graph.rng import current_keys
from ..nn.module import Module
from .state_check import Stateful, as_state, checked, state_of

VERSION = 1
"""The version of the saved state; the file is a ``.lucid`` file without graphs."""

PARTS = ("model", "optimizer", "scheduler", "loader", "accumulated", "average")


@struct(frozen=True)
class Checkpoint:
    """The contents of a checkpoint other than the restored states.

    Attributes
    ----------
    step
        The saved step number.
    extra
        The saved extra data.
    """

    step: int
    extra: object


def save_checkpoint(
    path: str | os.PathLike[str],
    *,
    model: Stateful | None = None,
    optimizer: Stateful | None = None,
    scheduler: Stateful | None = None,
    loader: Stateful | None = None,
    accumulated: Stateful | None = None,
    average: Stateful | None = None,
    step: int = 0,
    extra: object = None,
) -> None:
    """Save the state of training, so that :func:`load_checkpoint` continues as if it had never stopped.

    The file is written atomically, even if the process is killed: until it is complete, an older file remains. It is in
    safetensors format, and contains no code.

    Parameters
    ----------
    path
        The file to write.
    model, optimizer, scheduler, loader
        The objects whose states are saved; anything with ``state_dict()`` and ``load_state_dict()`` works.
    accumulated
        ``step.accumulated`` of a compiled step with ``accumulate=``: the gradients accumulated since the last update.
    average
        The :class:`~lucid.optim.swa_utils.AveragedModel` of the model.
    step
        A number, such as the number of steps so far.
    extra
        Further data to restore: nested dicts, lists and tuples of numbers, strings, arrays and tensors.
    """
    parts = _given("save_checkpoint", (model, optimizer, scheduler, loader, accumulated, average))
    checks.integer("save_checkpoint", "step", step, 0)
    with changes.writing:  # a step in another thread waits before it writes
        state = {
            "checkpoint": VERSION,
            "step": step,
            "random": current_keys().state,
            "extra": extra,
            **{name: state_of(part) for name, part in parts.items()},
        }
        try:
            packed, arrays = pack(state)
            serialize.save(path, {}, arrays, {"checkpoint": packed})
        except FileError as error:
            raise FileError(f"save_checkpoint: {error}") from error


def load_checkpoint(
    path: str | os.PathLike[str],
    *,
    model: Stateful | None = None,
    optimizer: Stateful | None = None,
    scheduler: Stateful | None = None,
    loader: Stateful | None = None,
    accumulated: Stateful | None = None,
    average: Stateful | None = None,
    random: bool = True,
) -> Checkpoint:
    """Restore what :func:`save_checkpoint` saved: everything requested or, if anything is wrong, nothing.

    Parameters
    ----------
    path
        The file; nothing in it is executed.
    model, optimizer, scheduler, loader, accumulated, average
        The objects whose states are restored. Omitted ones stay as they are.
    random
        Whether to restore the random state of the process.

    Raises
    ------
    FileError
        If the file cannot be read, is not a checkpoint, or does not fit the objects.
    """
    parts = _given("load_checkpoint", (model, optimizer, scheduler, loader, accumulated, average))
    checks.flag("load_checkpoint", "random", random)
    saved = read(path)
    try:
        for name in parts:
            if name not in saved.parts:
                there = ", ".join(saved.parts)
                raise FileError(f"it holds no {name}, but {there or 'none of these'}")
        put_back({name: (part, saved.parts[name]) for name, part in parts.items()})
    except LucidError as error:
        raise FileError(f"{named(os.fsdecode(path))}: cannot be loaded: {error}") from error
    if random:
        current_keys().state = saved.random
    return Checkpoint(saved.step, saved.extra)


def _given(owner: str, parts: tuple[Stateful | None, ...]) -> dict[str, Stateful]:
    found = {name: part for name, part in zip(PARTS, parts, strict=True) if part is not None}
    for name, part in found.items():
        methods = [callable(getattr(part, method, None)) for method in ("state_dict", "load_state_dict")]
        if isinstance(part, type) or not all(methods):
            raise OptionError(f"{owner}: {name} has state_dict() and load_state_dict(), got {shown(part)}")
    return found


@struct(frozen=True)
class Saved:
    """The content of a file; its numbers are checked, but not what only the objects can check."""

    step: int
    random: int
    extra: object
    parts: dict[str, object]


def read(path: str | os.PathLike[str]) -> Saved:
    """The content of a checkpoint."""
    archive = serialize.load(path)
    extra = archive.extra
    try:
        if archive.graphs or not isinstance(extra, dict) or set(extra) != {"checkpoint"}:
            raise FileError("it is a compiled model, which lucid.load(path) opens, or something else")
        state = unpack(extra["checkpoint"], archive.arrays)
        if not isinstance(state, dict) or not {"checkpoint", "step", "random", "extra"} <= set(state):
            raise FileError("its state lacks something")
        if repr(state.pop("checkpoint")) != repr(VERSION) or set(state) - {"step", "random", "extra", *PARTS}:
            raise FileError(f"its state is not of version {VERSION}: use a newer Lucid")
        step = checks.integer("its state", "step", state.pop("step"), 0)
        random = checks.integer("its state", "random", state.pop("random"), 0, (1 << 64) - 1)
        return Saved(step, random, state.pop("extra"), state)
    except (LucidError, RecursionError) as error:
        raise FileError(f"{named(os.fsdecode(path))}: is no checkpoint: {error}") from error


def put_back(parts: Mapping[str, tuple[Stateful, object]]) -> None:
    """Restore the states of all objects, or of none: if one fails, the others get their old states back."""
    states = {name: (part, checked(name, part, state)) for name, (part, state) in parts.items()}
    before: list[tuple[Stateful, dict[str, object]]] = []
    try:
        for part, state in sorted(states.values(), key=lambda pair: isinstance(pair[0], Module)):  # modules last
            if not isinstance(part, Module):
                before.append((part, as_state("its own state", part.state_dict())))
            part.load_state_dict(state)
    except BaseException:
        for part, state in before:
            part.load_state_dict(state)
        raise
