"""What a trace must not keep: numbers drawn by others, clocks, files; and traced tensors that outlive it."""

from __future__ import annotations

import copy
import datetime
import logging
import operator
import os
import pickle
import random
import secrets
import threading
import time
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import LucidError, TraceError

X = lucid.tensor([1.0])
RNG, LEGACY, OWN = np.random.default_rng(0), np.random.RandomState(0), random.Random(0)


def noise() -> float:
    return float(np.random.standard_normal())  # noqa: NPY002


def swallows(t: Any) -> Any:
    try:
        return t * time.time()
    except Exception:  # noqa: BLE001 - as users do
        return t


class Holds(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rng = np.random.default_rng(1)

    def forward(self, t: Any) -> Any:
        return t * self.rng.random()


REFUSED: dict[str, tuple[Callable[..., Any], str]] = {
    "np.random": (lambda t: t * np.random.rand(), "np.random.rand"),  # noqa: NPY002
    "np.random, in a helper": (lambda t: t * noise(), "np.random.standard_normal"),
    "a fresh generator": (lambda t: t * np.random.default_rng().random(), "urandom"),
    "a generator": (lambda t: t * RNG.random(), "RNG.random"),
    "a RandomState": (lambda t: t * LEGACY.rand(), "LEGACY.rand"),
    "random": (lambda t: t * random.random(), "random.random"),
    "random, a choice": (lambda t: t * random.choice([2.0, 3.0]), "random.choice"),
    "random.Random": (lambda t: t * OWN.random(), "OWN.random"),
    "random.SystemRandom": (lambda t: t * random.SystemRandom().random(), "urandom"),
    "os.urandom": (lambda t: t * os.urandom(1)[0], "urandom"),
    "secrets": (lambda t: t * secrets.randbelow(9), "urandom"),
    "uuid1": (lambda t: t * (uuid.uuid1().int % 7), "clock"),
    "uuid4": (lambda t: t * (uuid.uuid4().int % 7), "urandom"),
    "time": (lambda t: t * time.time(), "time"),
    "monotonic": (lambda t: t * time.monotonic_ns(), "monotonic_ns"),
    "perf_counter": (lambda t: t * time.perf_counter(), "perf_counter"),
    "datetime": (lambda t: t * datetime.datetime.now().second, "now"),
    "date": (lambda t: t * datetime.date.today().day, "today"),
    "strftime": (lambda t: t * float(time.strftime("%S")), "strftime"),
    "an open file": (lambda t: t * len(open(__file__).read()), "open"),  # noqa: SIM115
    "a file by pathlib": (lambda t: t * len(Path(__file__).read_text("utf-8")), "open"),
    "a file by NumPy": (lambda t: t * np.loadtxt(os.devnull).size, "(open|stat)"),
    "whether a file is there": (lambda t: t * float(Path(__file__).exists()), "file system"),
    "a clock whose error is swallowed": (swallows, "time"),
    "manual_seed": (lambda t: (lucid.manual_seed(0), t * lucid.rand(1))[1], "manual_seed"),
    "randperm": (lambda t: t * lucid.randperm(3)[0], "randperm"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("given", [False, True], ids=["", "spec"])
def test_what_differs_from_call_to_call_is_refused_with_the_line(name: str, given: bool) -> None:
    f, named = REFUSED[name]
    for model in (f, nn.Sequential(Wrap(f))):
        with pytest.raises(TraceError, match=named) as caught:
            lucid.compile(model, lucid.spec("N"))(X) if given else lucid.compile(model)(X)
        assert "test_outside.py:" in str(caught.value)


class Wrap(nn.Module):
    def __init__(self, f: Callable[..., Any]) -> None:
        super().__init__()
        self.f = f

    def forward(self, t: Any) -> Any:
        return self.f(t)


def test_a_generator_that_a_module_holds() -> None:
    with pytest.raises(TraceError, match=r"Holds.rng.*random numbers.*test_outside.py:"):
        lucid.compile(Holds())(X)


def test_an_iterator_is_refused() -> None:
    it, gen = iter([1.0, 2.0]), (k for k in (1.0, 2.0))
    for f in (lambda t: t * next(it), lambda t: t * next(gen), lambda t: t * sum(map(float, it))):
        with pytest.raises(TraceError, match=r"(it|gen) \(.*test_outside.py:.*gives something else"):
            lucid.compile(f)(X)


def test_numbers_that_a_seed_decides_are_the_same_at_every_call() -> None:
    def f(t: Any) -> Any:
        return t * np.random.default_rng(0).random() * random.Random(3).random()

    net = lucid.compile(f)
    assert [net(X).item() for _ in range(3)] == [f(X).item()] * 3


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_only_tells_is_let_be(capsys: pytest.CaptureFixture[str]) -> None:
    lock = threading.Lock()

    def f(t: Any) -> Any:
        logging.getLogger("test_outside").warning("a log line knows the time")
        warnings.warn("so may a warning", stacklevel=1)
        print("traced")  # noqa: T201
        with lock:
            return t * 2

    assert lucid.compile(f)(X).item() == 2.0
    assert "traced" in capsys.readouterr().out


def test_what_cannot_be_looked_into_is_refused() -> None:
    opaque = operator.itemgetter(0).__reduce__()[1]  # a plain tuple: fine
    assert lucid.compile(lambda t: t * (opaque[0] + 1))(X).item() == 1.0
    view = memoryview(b"abc")
    assert lucid.compile(lambda t: t * view[0])(X).item() == 97.0
    handle = os.scandir(".")
    with pytest.raises(TraceError, match=r"handle \(.*test_outside.py:"):
        lucid.compile(lambda t: t * (1.0 if handle else 2.0))(X)
    handle.close()


def test_more_than_can_be_compared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lucid.compiler.guards.reach.ITEMS", 1000)
    many = [[k] for k in range(2000)]
    assert lucid.compile(lambda t: t * many[3][0])(X).item() == 3.0  # one item is all that it reads
    with pytest.raises(TraceError, match=r"many \(.*test_outside.py:.*1,000 values"):
        lucid.compile(lambda t: t * sum(map(len, many)))(X)
    monkeypatch.setattr("lucid.compiler.guards.reach.ARRAY_BYTES", 100)
    large = np.ones(1000, np.float32)
    with pytest.raises(TraceError, match=r"large \(.*4,000 bytes.*buffer"):
        lucid.compile(lambda t: t * large)(X)


# ---------------------------------------------------------------- a traced tensor outlives its trace


def leaked() -> Any:
    kept: list[Any] = []

    def f(t: Any) -> Any:
        kept.append(t * 1)
        return t * 2

    lucid.compile(f)(X)
    return kept[0]


def buffer() -> Any:
    m = nn.Identity()
    m.register_buffer("b", lucid.tensor([0.0]))
    return m


USES: dict[str, Callable[[Any], Any]] = {
    "sum with a number": lambda k: k + 1,
    "number first": lambda k: 1 + k,
    "sum with a tensor": lambda k: X + k,
    "product of arrays": lambda k: np.ones(1) + k,
    "in place": lambda k: operator.iadd(k, 1),
    "item": lambda k: k.item(),
    "sum and item": lambda k: k.sum().item(),
    "len": len,
    "list": list,
    "unpacking": lambda k: [*k],
    "numpy": lambda k: k.numpy(),
    "asarray": np.asarray,
    "tolist": lambda k: k.tolist(),
    "float": float,
    "int": int,
    "bool": bool,
    "index": lambda k: [1, 2][k],
    "getitem": lambda k: k[0],
    "setitem": lambda k: operator.setitem(k, 0, 1.0),
    "add_": lambda k: k.add_(1),
    "fill_": lambda k: k.fill_(1.0),
    "a format": lambda k: f"{k:.3f}",
    "np.exp": np.exp,
    "equality": lambda k: k == k,
    "max": lambda k: max(k, k),
    "detach": lambda k: k.detach(),
    "data": lambda k: k.data,
    "clone": lambda k: k.clone(),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": pickle.dumps,
    "cast": lambda k: k.to("float64"),
    "backward": lambda k: k.backward(),
    "copy_": lambda k: k.copy_(X),
    "copy_ from": lambda k: lucid.tensor([0.0]).copy_(k),
    "Tensor": lucid.Tensor,
    "tensor": lucid.tensor,
    "Parameter": nn.Parameter,
    "register_buffer": lambda k: buffer().register_buffer("c", k),
    "a buffer": lambda k: setattr(buffer(), "b", k),
    "an attribute": lambda k: setattr(buffer(), "other", k),
    "a module's argument": lambda k: nn.Linear(1, 1)(k),
    "load_state_dict": lambda k: buffer().load_state_dict({"b": k}),
    "concat": lambda k: lucid.concat([X, k]),
    "where": lambda k: lucid.where(X > 0, k, X),
    "a loss": lambda k: nn.functional.mse_loss(k, X),
    "another trace's argument": lambda k: lucid.compile(lambda t: t * 2)(k),
    "another trace's closure": lambda k: lucid.compile(lambda t: t * k)(X),
    "a nested trace's closure": lambda k: lucid.compile(lambda t: lucid.compile(lambda u: u + k)(t))(X),
    "an argument by a spec": lambda k: lucid.compile(lambda t: t + 1, lucid.spec("N"))(k),
    "a gradient's closure": lambda k: lucid.grad(lambda t: (t * k).sum())(X),
}


@pytest.mark.parametrize("use", USES)
def test_a_traced_tensor_that_left_its_trace_says_so(use: str) -> None:
    k = leaked()
    with pytest.raises(LucidError, match=r"recorded while a model was traced.*test_outside.py:\d+"):
        USES[use](k)


def test_what_a_leaked_tensor_can_still_tell() -> None:
    k = leaked()
    assert "traced" in repr(k) and str(k) and k.shape == (1,) and k.dtype == np.float32 and isinstance(hash(k), int)


def test_tensors_kept_from_call_to_call_are_named_in_the_next() -> None:
    class Cache(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[Any] = []

        def forward(self, t: Any) -> Any:
            self.seen.append(t * 1)
            return t + self.seen[0]

    net = lucid.compile(Cache())
    net(X)
    with pytest.raises(TraceError, match=r"kept it from the model's run"):
        net(X)


@pytest.mark.parametrize(
    "use", [lambda t: t.requires_grad, lambda t: t.requires_grad_(), lambda t: (t * 2).requires_grad]
)
def test_whether_an_argument_requires_a_gradient_is_not_known(use: Any) -> None:
    """One trace serves both kinds of calls."""
    with pytest.raises(TraceError, match=r"gradient.*while the model is traced \(\S*test_outside.py:\d+\)"):
        lucid.compile(lambda t: t * (2.0 if use(t) else 3.0))(X)


def test_a_parameter_that_requires_a_gradient_or_not_is_traced_for_each() -> None:
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(np.ones(1, np.float32))

        def forward(self, t: Any) -> Any:
            return t * (2.0 if self.w.requires_grad else 3.0)

    net = lucid.compile(model := Frozen())
    assert net(X).item() == model(X).item()
    model.w.requires_grad = False
    assert net(X).item() == model(X).item()
