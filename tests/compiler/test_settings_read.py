"""Settings of the whole program that a traced model reads are asked again at each call, or refused with the line."""

from __future__ import annotations

import decimal
import functools
import io
import locale
import os
import random
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid.errors import TraceError

X = lucid.Tensor([1.0, 2.0, 3.0])

DONE = threading.Event()
"""Ends the threads that a test has begun."""


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    with np.printoptions(), np.errstate():
        names, context, digits = threading.current_thread().name, decimal.getcontext().copy(), _digits()
        place = locale.setlocale(locale.LC_ALL)
        DONE.clear()
        yield
        DONE.set()
        threading.current_thread().name = names
        decimal.setcontext(context)
        locale.setlocale(locale.LC_ALL, place)
        if digits:
            sys.set_int_max_str_digits(digits)


def _digits() -> int:
    return sys.get_int_max_str_digits() if hasattr(sys, "get_int_max_str_digits") else 0


def _error_mode() -> tuple[Any, Any]:
    return lambda x: x * (2 if np.geterr()["divide"] == "raise" else 3), lambda: np.seterr(divide="raise")


def _print_options() -> tuple[Any, Any]:
    return lambda x: x * np.get_printoptions()["precision"], lambda: np.set_printoptions(precision=3)


def _printed_array() -> tuple[Any, Any]:
    return lambda x: x * len(str(np.array([1 / 3]))), lambda: np.set_printoptions(precision=2)


def _thread_name() -> tuple[Any, Any]:
    def change() -> None:
        threading.current_thread().name = "another"

    return lambda x: x * len(threading.current_thread().name), change


def _threads() -> tuple[Any, Any]:
    thread = threading.Thread(target=DONE.wait, daemon=True)
    return lambda x: x * threading.active_count(), thread.start


def _decimals() -> tuple[Any, Any]:
    return lambda x: x * decimal.getcontext().prec, lambda: setattr(decimal.getcontext(), "prec", 5)


def _locale() -> tuple[Any, Any]:
    locale.setlocale(locale.LC_ALL, "C")

    def other() -> None:
        locale.setlocale(locale.LC_CTYPE, "C.UTF-8" if sys.platform == "linux" else "")

    return lambda x: x * len(locale.setlocale(locale.LC_ALL)), other


def _digits_of_ints() -> tuple[Any, Any]:
    return lambda x: x * sys.get_int_max_str_digits(), lambda: sys.set_int_max_str_digits(5000)


def _subclasses() -> tuple[Any, Any]:
    class Base:
        kept: list[Any] = []  # noqa: RUF012

    return lambda x: x * (1 + len(Base.__subclasses__())), lambda: Base.kept.append(type("Derived", (Base,), {}))


@pytest.mark.parametrize("bound", [128, None])
def test_what_a_cache_remembers_is_compared(bound: int | None) -> None:
    table = {"k": 2}

    @functools.lru_cache(bound)
    def remembered() -> int:
        return table["k"]

    remembered()
    net = lucid.compile(lambda x: x * remembered())
    assert net(X).tolist() == [2.0, 4.0, 6.0]
    table["k"] = 5
    assert net(X).tolist() == [2.0, 4.0, 6.0]  # so long it is remembered
    remembered.cache_clear()
    remembered()
    assert net(X).tolist() == [5.0, 10.0, 15.0]


@pytest.mark.parametrize(
    "case",
    [
        _error_mode, _print_options, _printed_array, _thread_name, _threads, _decimals, _locale, _subclasses,
        pytest.param(_digits_of_ints, marks=pytest.mark.skipif(not _digits(), reason="Python before 3.11")),
    ],
)  # fmt: skip
def test_a_setting_is_asked_at_each_call(case: Callable[[], tuple[Any, Any]]) -> None:
    function, change = case()
    net = lucid.compile(function)
    before = net(X).tolist()
    assert before == net(X).tolist() == function(X).tolist()
    assert "1 traces" in repr(net)
    change()
    assert function(X).tolist() != before
    assert net(X).tolist() == function(X).tolist()


def _file(folder: Path) -> Any:
    path = folder / "numbers"
    np.array([2.0], np.float32).tofile(path)
    return lambda x: x * float(np.fromfile(path, np.float32)[0])


REFUSED: dict[str, Callable[[Path], Any]] = {
    "a generator made inside": lambda folder: lambda x: x * random.Random().random(),
    "numpy.fromfile": _file,
    "standard input": lambda folder: lambda x: x * float(sys.stdin.readline()),
    "load of the machine": lambda folder: lambda x: x * os.getloadavg()[0],
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_differs_from_call_to_call_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("2\n3\n"))
    with pytest.raises(TraceError, match=r"asks for .* while the model is traced \(.*test_settings_read\.py:\d+\)"):
        lucid.compile(REFUSED[name](tmp_path))(X)


def test_a_generator_that_is_seeded_inside_passes() -> None:
    net = lucid.compile(lambda x: x * random.Random(3).random())
    assert net(X).tolist() == net(X).tolist() == (X * random.Random(3).random()).tolist()


def test_a_module_that_is_replaced_is_imported_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    def scaled(x: Any) -> Any:
        import lucids_neighbour  # type: ignore[import-not-found]

        return x * lucids_neighbour.K

    net = lucid.compile(scaled)
    for k in (2.0, 8.0):
        module = types.ModuleType("lucids_neighbour")
        vars(module)["K"] = k
        monkeypatch.setitem(sys.modules, "lucids_neighbour", module)
        assert net(X).tolist() == [k, 2 * k, 3 * k]
