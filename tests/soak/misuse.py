"""Wrong calls: every public callable with arguments that mean nothing, of every kind.

What may come of a call is a result that makes sense, a ``LucidError`` or a ``TypeError``; nothing else, no NumPy
warning, and no acceptance of nonsense: a value in :data:`NEVER` is refused wherever it stands.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import lucid
from lucid import nn, optim
from lucid.errors import LucidError
from lucid.nn import functional as F

from .sweep import Case

SMALL = 800

X = np.linspace(0.1, 0.9, 6, dtype=np.float32).reshape(2, 3)
IMAGE = np.linspace(-1, 1, 32, dtype=np.float32).reshape(1, 2, 4, 4)


class Odd:
    """An object of somebody's, whose ``repr`` fails."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def _generator() -> Any:
    return (i for i in range(3))


NEVER: dict[str, Callable[[], Any]] = {
    "string": lambda: "x",
    "bytes": lambda: b"x",
    "object": Odd,
    "complex": lambda: 1 + 2j,
    "function": lambda: len,
    "dict": lambda: {"a": 1},
    "set": lambda: {1, 2},
    "strings": lambda: ["a", "b"],
    "objects": lambda: np.array([None, Odd], object),
    "ragged": lambda: [[1.0], [1.0, 2.0]],
    "complex array": lambda: np.ones(3, np.complex64),
    "dates": lambda: np.zeros(3, "datetime64[s]"),
}
"""Means nothing anywhere but where :data:`FREE` says so."""

STRANGE: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "nan": lambda: math.nan,
    "inf": lambda: math.inf,
    "huge": lambda: 10**30,
    "-huge": lambda: -(10**30),
    "endless": lambda: 10**400,
    "large": lambda: 1 << 40,
    "negative": lambda: -7,
    "zero": lambda: 0,
    "float": lambda: 1.5,
    "true": lambda: True,
    "empty list": list,
    "empty tuple": lambda: (),
    "nested": lambda: ((1, 2), (3, 4)),
    "five": lambda: (1, 2, 3, 4, 5),
    "negatives": lambda: (-1, -2),
    "generator": _generator,
    "half": lambda: np.ones((2, 3), np.float16),
    "double": lambda: np.ones((2, 3)),
    "ints": lambda: np.ones((2, 3), np.int64),
    "bools": lambda: np.ones((2, 3), bool),
    "shape": lambda: np.ones((5, 7), np.float32),
    "empty": lambda: np.zeros((0, 3), np.float32),
    "rank 6": lambda: np.ones((1, 1, 1, 1, 1, 2), np.float32),
    "scalar": lambda: np.float32(2.5),
    "tensor": lambda: lucid.ones(2, 2),
    "swapped bytes": lambda: np.ones((2, 3), ">f4"),
}
"""May mean something, but must not end in anything else than a result or an error of ours."""

FREE = frozenset(
    {
        ("from_numpy", 0), ("Identity", 0), ("is_tensor", 0), ("einsum", 0), ("device", 0), ("Sequential", 0),
        ("is_grad_enabled", 0), ("get_num_threads", 0), ("ModuleDict", 0), ("ModuleList", 0), ("Handle", 0),
        ("equal", 0), ("TensorType", 0), ("spec", 0), ("cat", 0), ("concat", 0), ("concatenate", 0), ("grad", 0),
        ("value_and_grad", 0), ("no_grad", 0), ("enable_grad", 0), ("inference_mode", 0), ("hstack", 0),
    }
)  # fmt: skip
"""(callable, 0): takes anything."""

CALLED = {
    "Transformer": "activation", "TransformerEncoderLayer": "activation", "TransformerDecoderLayer": "activation",
    "TripletMarginWithDistanceLoss": "distance_function", "inference_mode": "mode",
}  # fmt: skip
"""Callables, and the arguments of theirs that are functions (of what is a decorator too the first)."""

#: Right arguments for each callable, so that one at a time can be made wrong; found by trying, in order.
ATTEMPTS: tuple[tuple[Any, ...], ...] = (
    (X,), (X, X), (X, 0), (X, 1, 0, 1), ([X, X],), (IMAGE,), (IMAGE, 2, 2), (IMAGE, np.ones((2, 2, 1, 1), np.float32)),
    (X, 0, np.zeros((2, 3), int)), (X, (2, 3)), (X, X > 0.5, 1.0), (X > 0.5, X, X), (X, np.array([0, 1])),
    (np.array([0, 1]), X), (X, np.ones(3, np.float32)), (IMAGE, np.zeros(2, np.float32), np.ones(2, np.float32)),
    ("ij->ji", X), (2, 3), (3,), ((2, 3), 1.0), (2, 2, 1), (0, 5, (2,)), (X, 2), (X, 1, 2), (X, 0, 1), (X, 1, (3, 1)),
    (np.ones((2, 2, 3), np.float32), np.ones((2, 3, 2), np.float32)), (X[0], X[0]), (X, X[0]), (X, X.T), (), (3, 2),
    (0.5,), (X, [1, 1, 0, 0]), (IMAGE, 2), (X, (3,)), (IMAGE, 1), (0, (1, 2)), (2, 4),
)  # fmt: skip


APART = (
    "compile", "load", "manual_seed", "CompiledModel", "set_num_threads", "set_grad_enabled", "passes", "models",
)  # fmt: skip
"""What is tried in another way, or changes the whole process."""


def _public() -> Iterator[tuple[str, Callable[..., Any]]]:
    for space, prefix in ((lucid, ""), (F, "F."), (nn, "nn."), (nn.init, "init."), (nn.utils, "utils.")):
        for name in dir(space):
            found = getattr(space, name)
            usable = callable(found) and not (isinstance(found, type) and issubclass(found, BaseException))
            ours = getattr(found, "__module__", "").startswith("lucid")
            if usable and ours and not name.startswith("_") and name not in APART:
                yield prefix + name, found
    for name in dir(lucid.Tensor(X)):
        if callable(getattr(lucid.Tensor, name)):
            yield f"t.{name}", _method(name)


def _method(name: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(lucid.Tensor(X), name)(*args, **kwargs)

    return call


def _outcome(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """ "result", "refused", or raises what must not be raised."""
    enabled = lucid.is_grad_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*stride is left out.*")
        try:
            function(*args, **kwargs)
        except (LucidError, TypeError):
            return "refused"
        finally:
            lucid.set_grad_enabled(enabled)
    return "result"


def _right(function: Callable[..., Any]) -> tuple[Any, ...] | None:
    for args in ATTEMPTS:
        try:
            if _outcome(function, args, {}) == "result":
                return args
        except Exception:  # noqa: BLE001 - found again, and reported, as a case
            continue
    return None


def _keywords(function: Any) -> tuple[str, ...]:
    target = function.__init__ if isinstance(function, type) else getattr(function, "__wrapped__", function)
    code = getattr(target, "__code__", None)
    return () if code is None else code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def _calls(name: str, function: Callable[..., Any]) -> Iterator[tuple[str, tuple[Any, ...], dict[str, Any], bool]]:
    """Wrong calls: what it is, the arguments, and whether it must be refused."""
    bare = name.rsplit(".", 1)[-1]
    right = _right(function)
    kinds = [(k, v, True) for k, v in NEVER.items()] + [(k, v, False) for k, v in STRANGE.items()]
    for label, make, never in kinds:
        never = never and (bare, 0) not in FREE
        yield f"{name}({label})", (make(),), {}, never and bare not in ("tensor", "Tensor", "Parameter", "as_tensor")
        for i in range(len(right or ())):
            args = (*right[:i], make(), *right[i + 1 :])  # type: ignore[index]
            yield f"{name}(..., {i}: {label})", args, {}, never
        called = CALLED.get(bare) if label == "function" else None
        yield f"{name}(..., {label} more)", (*(right or ()), make()), {}, never and called is None
        for key in _keywords(function)[len(right or ()) :]:
            if key != "self":
                yield f"{name}(..., {key}={label})", right or (), {key: make()}, never and key != called
    yield f"{name}(too many)", (X,) * 24, {}, False
    yield f"{name}(no such keyword)", right or (), {"no_such_keyword": 1}, False


def _others() -> Iterator[tuple[str, Callable[..., Any], bool]]:
    p = nn.Parameter(X)
    makers: dict[str, Callable[[Any], Any]] = {
        "compile": lambda v: lucid.compile(v),
        "compile spec": lambda v: lucid.compile(nn.ReLU(), v),
        "compile keyword spec": lambda v: lucid.compile(nn.ReLU(), x=v),
        "compile passes": lambda v: lucid.compile(nn.ReLU(), passes=v),
        "compile threads": lambda v: lucid.compile(nn.ReLU(), threads=v),
        "compile exact": lambda v: lucid.compile(nn.ReLU(), exact=v),
        "compile verify": lambda v: lucid.compile(nn.ReLU(), verify=v),
        "compile tune": lambda v: lucid.compile(nn.ReLU(), tune=v),
        "grad": lambda v: lucid.grad(v)(X),
        "grad argnums": lambda v: lucid.grad(lambda x: x.sum(), v),
        "backward": lambda v: (lucid.Tensor(X, requires_grad=True) * 2).backward(v),
        "getitem": lambda v: lucid.Tensor(X)[v],
        "setitem": lambda v: lucid.Tensor(X).__setitem__(v, 1.0),
        "set to": lambda v: lucid.Tensor(X).__setitem__(0, v),
        "set_num_threads": lambda v: lucid.set_num_threads(v),
        "set_grad_enabled": lambda v: lucid.set_grad_enabled(v),
        "manual_seed": lambda v: lucid.manual_seed(v),
        "load_state_dict": lambda v: nn.Linear(3, 2).load_state_dict(v),
        "state": lambda v: nn.Linear(3, 2).load_state_dict({"weight": v, "bias": v}),
        "register_buffer": lambda v: nn.Module().register_buffer("name", v),
        "register_parameter": lambda v: nn.Module().register_parameter("name", v),
        "add_module": lambda v: nn.Module().add_module("name", v),
        "buffer name": lambda v: nn.Module().register_buffer(v, None),
        "hook": lambda v: nn.ReLU().register_forward_hook(v),
        "train": lambda v: nn.ReLU().train(v),
        "module to": lambda v: nn.Linear(3, 2).to(v),
        "module": lambda v: nn.Linear(3, 2)(v),
        "compiled": lambda v: lucid.compile(nn.Linear(3, 2), lucid.spec("N", 3))(v),
        "requires_grad": lambda v: setattr(lucid.Tensor(X), "requires_grad", v),
        "insert_after": lambda v: lucid.passes.default().insert_after("lower", v),
        "add_param_group": lambda v: optim.SGD([p]).add_param_group(v),
        "load optimiser": lambda v: optim.SGD([p]).load_state_dict(v),
    }
    for maker in (optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop, optim.Adagrad):
        makers[f"{maker.__name__} params"] = maker
        for key in _keywords(maker)[2:]:
            makers[f"{maker.__name__} {key}"] = lambda v, maker=maker, key=key: maker([p], **{key: v})
    s = optim.lr_scheduler
    for schedule, args in (
        (s.StepLR, (1,)), (s.ExponentialLR, (0.9,)), (s.MultiStepLR, ([1],)), (s.LambdaLR, (lambda e: 0.5,)),
        (s.CosineAnnealingLR, (5,)), (s.ReduceLROnPlateau, ()), (s.ConstantLR, ()), (s.LinearLR, ()),
    ):  # fmt: skip
        makers[f"{schedule.__name__} optimizer"] = lambda v, schedule=schedule, args=args: schedule(v, *args)
        for key in _keywords(schedule)[2:]:
            given = dict(zip(_keywords(schedule)[2:], args, strict=False))
            makers[f"{schedule.__name__} {key}"] = lambda v, schedule=schedule, key=key, given=given: schedule(
                optim.SGD([p]), **{**given, key: v}
            )
    free = ("hook", "compile", "grad", "LambdaLR lr_lambda", "insert_after")
    fitting = {
        ("load_state_dict", "dict"), ("MultiStepLR milestones", "set"), ("buffer name", "string"),
        ("compile verify", "string"),  # the path of a folder
    }  # fmt: skip
    for name, maker in makers.items():
        for label, make in {**NEVER, **STRANGE}.items():
            fits = name in free or (name, label) in fitting
            yield f"{name}: {label}", (lambda maker=maker, make=make: maker(make())), label in NEVER and not fits


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """All there are, in an order of the generator's."""
    found: list[Case] = []
    for name, function in _public():
        for label, args, kwargs, never in _calls(name, function):
            found.append(Case(label, lambda f=function, a=args, k=kwargs, n=never: _check(f, a, k, n)))  # type: ignore[misc]
    for label, call, never in _others():
        found.append(Case(label, lambda f=call, n=never: _check(f, (), {}, n)))  # type: ignore[misc]
    yield from (found[i] for i in rng.permutation(len(found)))


def _check(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], never: bool) -> None:
    outcome = _outcome(function, args, kwargs)
    assert outcome == "refused" or not never, "nonsense was taken"
