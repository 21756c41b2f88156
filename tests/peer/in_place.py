"""Random small programs of views, changes in place and reads, as steps that PyTorch and Lucid both can follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lucid.errors import LucidError

Step = tuple[Any, ...]
Rng = np.random.Generator


# ---------------------------------------------------------------- what a step does

VIEWS: dict[str, Callable[..., Any]] = {
    "select": lambda t, axis, i: t.select(axis, i),
    "item": lambda t, i: t[i],
    "last": lambda t, i: t[..., i],
    "slice": lambda t, axis, start, stop, step: t[(*[slice(None)] * axis, slice(start, stop, step))],
    "narrow": lambda t, axis, start, size: t.narrow(axis, start, size),
    "transpose": lambda t, a, b: t.transpose(a, b),
    "permute": lambda t, axes: t.permute(*axes),
    "rows": lambda t: t.reshape(-1),
    "flatten": lambda t, a, b: t.flatten(a, b),
    "keep": lambda t: t.reshape(t.shape[0], -1),
    "fold": lambda t: t.reshape(-1, t.shape[-1]),
    "halves": lambda t, axis: t.unflatten(axis, (2, -1)),
    "unsqueeze": lambda t, axis: t.unsqueeze(axis),
    "squeeze": lambda t: t.squeeze(),
    "expand": lambda t: t.expand(2, *t.shape),
    "diagonal": lambda t, offset, a, b: t.diagonal(offset, a, b),
    "chunk": lambda t, count, axis, i: t.chunk(count, axis)[i],
    "split": lambda t, axis, i: t.split([1, t.shape[axis] - 1], axis)[i],
    "unbind": lambda t, i: t.unbind(0)[i],
    "unfold": lambda t, axis, size, step: t.unfold(axis, size, step),
    "movedim": lambda t, a, b: t.movedim(a, b),
    "none": lambda t: t[None],
    "same": lambda t: t.reshape(t.shape),
    "detach": lambda t: t.detach(),
    "contiguous": lambda t: t.contiguous(),
}

READS: dict[str, Callable[..., Any]] = {
    "add": lambda t, u: t + u,
    "mul": lambda t, u: t * u,
    "twice": lambda t: t * 2,
    "exp": lambda t: (t * 0.1).exp(),
    "sum": lambda t: t.sum(),
    "sums": lambda t: t.sum(0),
    "clone": lambda t: t.clone(),
    "square": lambda t: t * t,
    "gathered": lambda t: t[[0, 0]],
    "where": lambda t: t.where(t > 0, t * 0.5),
}


def _iadd(t: Any, v: Any) -> None:
    t += v


def _isub(t: Any, v: Any) -> None:
    t -= v


def _imul(t: Any, v: Any) -> None:
    t *= v


def _idiv(t: Any, v: Any) -> None:
    t /= v


def _set_item(t: Any, key: Any, v: Any) -> None:
    t[key] = v


def _grow_item(t: Any, key: Any, v: Any) -> None:
    t[key] += v


CHANGES: dict[str, Callable[..., Any]] = {
    "iadd": _iadd,
    "isub": _isub,
    "imul": _imul,
    "idiv": _idiv,
    "set": _set_item,
    "grow": _grow_item,
    "add_": lambda t, v: t.add_(v),
    "mul_": lambda t, v: t.mul_(v),
    "copy_": lambda t, v: t.copy_(v),
    "zero_": lambda t: t.zero_(),
    "fill_": lambda t, v: t.fill_(v),
    "neg_": lambda t: t.neg_(),
    "clamp_": lambda t: t.clamp_(-1.5, 1.5),
    "sigmoid_": lambda t: t.sigmoid_(),
    "square_": lambda t: t.square_(),
}


def follow(lib: Any, pool: list[Any], step: Step) -> None:
    """Do one step on the tensors that there are by now."""
    kind, name, at, *args = step
    args = [pool[a[1]] if isinstance(a, tuple) and a and a[0] == "of" else a for a in args]
    if kind == "view":
        pool.append(VIEWS[name](pool[at], *args))
    elif kind == "read":
        pool.append(READS[name](pool[at], *args))
    elif kind == "change":
        CHANGES[name](pool[at], *args)
    else:  # within no_grad
        with lib.no_grad():
            CHANGES[name](pool[at], *args)


# ---------------------------------------------------------------- drawing them


def _view(rng: Rng, pool: Sequence[Any], at: int) -> Step:
    shape = tuple(pool[at].shape)
    rank = len(shape)
    name = list(VIEWS)[int(rng.integers(len(VIEWS)))]
    axis = int(rng.integers(max(rank, 1)))
    size = shape[axis] if rank else 1
    i = int(rng.integers(size)) if size else 0
    other = int(rng.integers(max(rank, 1)))
    args: dict[str, tuple[Any, ...]] = {
        "select": (axis, i), "item": (i if axis == 0 else 0,), "last": (-1,),
        "slice": (axis, i, None, int(rng.integers(1, 3))), "narrow": (axis, min(i, 1), max(size - 1, 0)),
        "transpose": (axis, other), "permute": (tuple(int(a) for a in rng.permutation(rank)),),
        "flatten": (min(axis, other), max(axis, other)), "halves": (axis,), "unsqueeze": (int(rng.integers(rank + 1)),),
        "diagonal": (int(rng.integers(-1, 2)), axis, other), "chunk": (2, axis, 0),
        "split": (axis, int(rng.integers(2))), "unbind": (0,), "unfold": (axis, 2, int(rng.integers(1, 3))),
        "movedim": (axis, other),
    }  # fmt: skip
    return ("view", name, at, *args.get(name, ()))


def _value(rng: Rng, pool: Sequence[Any]) -> Any:
    if rng.random() < 0.5:
        return float(rng.integers(-3, 4)) + 0.5
    return ("of", int(rng.integers(len(pool))))


def partly(t: Any, v: Any) -> bool:
    """Whether a tensor of PyTorch lies partly in the memory of another: nobody says what a change by it gives."""
    t, v = t.detach(), v.detach()
    storages = t.untyped_storage().data_ptr(), v.untyped_storage().data_ptr()
    same = t.data_ptr() == v.data_ptr() and t.shape == v.shape and t.stride() == v.stride()
    return storages[0] == storages[1] and not same


def _key(rng: Rng, shape: tuple[int, ...]) -> Any:
    keys: list[Any] = [0, slice(0, 1), slice(None, None, 2), (Ellipsis, 0), slice(1, None), -1, Ellipsis, [0]]
    return keys[int(rng.integers(len(keys)))]


def draw(rng: Rng, pool: Sequence[Any]) -> Step:
    """A step on what there is; it may be one that is refused."""
    at = int(rng.integers(len(pool)))
    kind = rng.random()
    if kind < 0.4:
        return _view(rng, pool, at)
    if kind < 0.55:
        name = list(READS)[int(rng.integers(len(READS)))]
        return ("read", name, at, *([("of", int(rng.integers(len(pool))))] if name in ("add", "mul") else []))
    name = list(CHANGES)[int(rng.integers(len(CHANGES)))]
    args: list[Any] = []
    if name in ("set", "grow"):
        args = [_key(rng, tuple(pool[at].shape)), _value(rng, pool)]
    elif name == "fill_":
        args = [1.25]
    elif name not in ("zero_", "neg_", "clamp_", "sigmoid_", "square_"):
        args = [_value(rng, pool)]
    return ("change" if kind < 0.93 else "past", name, at, *args)


def weights(shape: Sequence[int]) -> np.ndarray[Any, Any]:
    """By what a result counts in what is differentiated."""
    return np.cos(np.arange(int(np.prod(shape)))).reshape(tuple(shape))


# ---------------------------------------------------------------- whole programs

SHAPES = [(2, 3), (4, 2), (2, 2, 3), (3,), (1, 4), (2, 1, 3), (4, 4)]


@dataclass(frozen=True)
class Program:
    """What is handed over (of which ``leaves`` require a gradient), and what is done.

    With ``made`` the steps begin with what is computed of the arguments, besides these themselves.
    """

    arrays: tuple[np.ndarray[Any, Any], ...]
    leaves: int
    made: bool
    steps: tuple[Step, ...]

    def start(self, lib: Any) -> list[Any]:
        """The arguments."""
        return [lib.tensor(a.copy(), requires_grad=i < self.leaves) for i, a in enumerate(self.arrays)]

    def run(self, lib: Any, given: Sequence[Any]) -> list[Any]:
        """Every tensor that there is at the end."""
        pool = list(given)
        if self.made:
            pool += [x * 1.5 for x in given]
        for step in self.steps:
            follow(lib, pool, step)
        return pool


def draw_program(lib: Any, seed: int) -> Program | None:
    """A program that PyTorch, which is ``lib``, runs; None where there comes none of this seed."""
    rng = np.random.default_rng(seed)
    shape = SHAPES[int(rng.integers(len(SHAPES)))]
    other = shape if rng.random() < 0.7 else SHAPES[int(rng.integers(len(SHAPES)))]
    arrays = tuple(rng.standard_normal(one) for one in (shape, other, shape))
    found = Program(arrays, 2 * (seed % 3 > 0), bool(seed % 3 or seed % 2), ())
    length = int(rng.integers(3, 11))
    pool = found.run(lib, found.start(lib))
    for _ in range(60):
        if len(found.steps) == length:
            break
        step = draw(rng, pool)
        if step[0] in ("change", "past") and any(partly(pool[step[2]], pool[a[1]]) for a in _named(step)):
            continue
        try:  # from the beginning: what fails half-way leaves traces
            longer = replace(found, steps=(*found.steps, step))
            after = longer.run(lib, longer.start(lib))
            fits = all(0 < x.numel() <= 200 and bool((x.detach().abs() < 1e6).all()) for x in after)
            bool([x.requires_grad for x in after])
        except (RuntimeError, IndexError, ValueError, TypeError):
            continue
        if fits:
            found, pool = longer, after
    return found if found.steps else None


def _named(step: Step) -> list[Any]:
    return [a for a in step[3:] if isinstance(a, tuple) and a and a[0] == "of"]


Outcome = tuple[list[np.ndarray[Any, Any]], list[Any] | Exception | None]


def outcome(lib: Any, program: Program, run: Callable[[Sequence[Any]], Sequence[Any]]) -> Outcome:
    """What all tensors hold, the arguments first, and the gradients of a weighted sum; or why there are none."""
    given = program.start(lib)
    pool = run(given)
    values = [np.asarray(x.detach()).copy() for x in (*given, *pool)]
    parts = [(x * lib.tensor(weights(tuple(x.shape)))).sum() for x in pool if x.requires_grad]
    if not parts:
        return values, None
    try:
        sum(parts[1:], start=parts[0]).backward()
    except (RuntimeError, LucidError) as error:  # what a gradient needs was changed
        return values, error
    return values, [x.grad if x.grad is None else np.asarray(x.grad) for x in given[: program.leaves]]


def check_same(ours: Outcome, theirs: Outcome, what: str) -> None:
    """Raise where the two are not the same. What PyTorch has no gradient of may have one here."""
    for number, (a, b) in enumerate(zip(ours[0], theirs[0], strict=True)):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9, err_msg=f"{what}: tensor {number}")
    if isinstance(theirs[1], Exception):
        return
    assert type(ours[1]) is type(theirs[1]), f"{what}: {ours[1]}"
    for a, b in zip(ours[1] or (), theirs[1] or (), strict=True):
        zero = np.zeros(1)  # none is as good as zeros
        np.testing.assert_allclose(
            *np.broadcast_arrays(zero if a is None else a, zero if b is None else b), rtol=1e-8, atol=1e-8,
            err_msg=f"{what}: a gradient",
        )  # fmt: skip
