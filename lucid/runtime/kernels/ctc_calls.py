"""Functions for connectionist temporal classification: all sequences of a batch together, step by step."""

from __future__ import annotations

import numpy as np

from ...base.arrays import Array
from ...errors import ExecutionError


def check_sequences(log_probs: Array, targets: Array, steps: Array, lengths: Array) -> None:
    """Raise if a length exceeds its array, or a class is out of range."""
    for name, counts, most in (("input", steps, len(log_probs)), ("target", lengths, targets.shape[1])):
        if counts.size and not 0 <= counts.min() <= counts.max() <= most:
            raise ExecutionError(
                f"ctc_loss: {name}_lengths are from 0 to {most}, got {counts.min()} to {counts.max()}"
            )  # fmt: skip
    counted = targets[np.arange(targets.shape[1]) < lengths[:, None]]
    if counted.size and not 0 <= counted.min() <= counted.max() < log_probs.shape[2]:
        raise ExecutionError(
            f"ctc_loss: targets are classes from 0 to {log_probs.shape[2] - 1}, got {counted.min()} to {counted.max()}"
        )


def ctc_loss(
    log_probs: Array, targets: Array, steps: Array, lengths: Array, blank: int, forgiving: bool, losses: Array,
    shares: Array | None,
) -> None:  # fmt: skip
    """The losses and, if wanted, the shares; see :data:`lucid.graph.ops.ctc.CTC_LOSS`.

    A target is extended by blanks before, between and after its classes. At each step a path stays at a place, goes to
    the next one, or skips a blank between two different classes.
    """
    total, batch, _ = log_probs.shape
    places = 2 * targets.shape[1] + 1
    spread = np.full((batch, places), blank, np.int64)
    inside = np.arange(targets.shape[1]) < lengths[:, None]
    spread[:, 1::2] = np.where(inside, targets, blank)
    skips = np.zeros((batch, places), bool)
    skips[:, 2:] = (spread[:, 2:] != blank) & (spread[:, 2:] != spread[:, :-2])
    seen = np.take_along_axis(log_probs, np.broadcast_to(spread, (total, batch, places)), 2)
    there = np.arange(places) < 2 * lengths[:, None] + 1
    forward = _forward(seen, skips, there)
    last = forward[steps, np.arange(batch)]
    ends = np.take_along_axis(last, np.stack([2 * lengths, np.maximum(2 * lengths - 1, 0)], 1), 1)
    ends[lengths == 0, 1] = -np.inf
    found = np.logaddexp(ends[:, 0], ends[:, 1])
    losses[...] = -found
    impossible = np.isinf(found)
    if shares is not None:
        _shares(forward, _backward(seen, skips, there, steps, lengths), np.where(impossible, 0, found), spread, shares)
        shares[:, impossible] = 0  # no path says anything, or what is not known
        if not forgiving:
            shares[(np.arange(total)[:, None] < steps) & impossible] = np.nan
    if forgiving:
        losses[impossible] = 0


def _forward(seen: Array, skips: Array, there: Array) -> Array:
    """For each number of steps, the log-probability of all paths that end at a place."""
    total, batch, places = seen.shape
    forward = np.full((total + 1, batch, places), -np.inf, seen.dtype)
    forward[0, :, 0] = 0  # before the first step, a path is at the first blank
    for t in range(total):
        before, after = forward[t], forward[t + 1]
        after[...] = before
        if t == 0:
            after[:, 1:2] = before[:, :1]
        else:
            after[:, 1:] = np.logaddexp(after[:, 1:], before[:, :-1])
            reached = np.where(skips[:, 2:], before[:, :-2], -np.inf)
            after[:, 2:] = np.logaddexp(after[:, 2:], reached)
        after += seen[t]
        after[~there] = -np.inf
    return forward


def _backward(seen: Array, skips: Array, there: Array, steps: Array, lengths: Array) -> Array:
    """For each step, the log-probability of all paths from a place to the end, without that step's own."""
    total, batch, places = seen.shape
    backward = np.full((total, batch, places), -np.inf, seen.dtype)
    ends = (np.arange(places) >= 2 * lengths[:, None] - 1) & there
    for t in range(total - 1, -1, -1):
        here = backward[t]
        if t + 1 < total:
            after = backward[t + 1] + seen[t + 1]
            here[...] = after
            here[:, :-1] = np.logaddexp(here[:, :-1], after[:, 1:])
            here[:, :-2] = np.logaddexp(here[:, :-2], np.where(skips[:, 2:], after[:, 2:], -np.inf))
        last = steps == t + 1
        here[last] = np.where(ends[last], 0, -np.inf)
        here[steps <= t] = -np.inf
    return backward


def _shares(forward: Array, backward: Array, found: Array, spread: Array, shares: Array) -> None:
    total, batch, _ = shares.shape
    likely = np.exp(forward[1:] + backward - found[:, None])
    shares.fill(0)
    rows = np.arange(batch)[:, None]
    for t in range(total):
        np.add.at(shares[t], (rows, spread), likely[t])
