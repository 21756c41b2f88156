"""Where gradients are recorded, and into what they are added: eagerly and compiled, as in PyTorch."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import pickle
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor, nn
from lucid.errors import GradientError, OptionError, TraceError

both = pytest.mark.parametrize("wrap", [lambda f: f, lucid.compile], ids=["eager", "compiled"])


def leaf() -> Tensor:
    return lucid.tensor([1.0, 2.0], requires_grad=True)


def switched(x: Any) -> Any:
    with lucid.no_grad():
        with lucid.enable_grad():
            a = x * 2
        b = x * 3
    return a, b, x * 4


def by_statement(x: Any) -> Any:
    with lucid.set_grad_enabled(True):
        a = x * 2
    return a, x * 4


@both
@pytest.mark.parametrize("first", [True, False])
def test_what_is_switched_on_within_requires_a_gradient_wherever_the_call_stands(wrap: Any, first: bool) -> None:
    f, g, x = wrap(switched), wrap(by_statement), leaf()
    for mode in (first, not first, first, first):
        with lucid.set_grad_enabled(mode):
            assert [y.requires_grad for y in f(x)] == [True, False, mode]
            ys = g(x)
        assert [y.requires_grad for y in ys] == [True, mode]
        x.grad = None
        sum(y.sum() for y in ys if y.requires_grad).backward()
        assert x.grad is not None and x.grad.tolist() == [2.0 + 4.0 * mode] * 2


@both
def test_a_gradient_grows_in_place(wrap: Any) -> None:
    model = nn.Linear(2, 1)
    net, x = wrap(model), leaf()
    net(x).backward()
    kept, before = model.weight.grad, model.weight.grad.version  # type: ignore[union-attr]
    net(x).backward()
    assert model.weight.grad is kept and kept.tolist() == [[2.0, 4.0]]
    assert kept.version > before
    assert x.grad is not None and x.grad.tolist() == (2 * model.weight.detach().numpy()[0]).tolist()
    model.zero_grad()
    net(x).backward()
    assert model.weight.grad is not kept and kept.tolist() == [[2.0, 4.0]]


@pytest.mark.parametrize("clear", [lambda m: m, lambda m: lucid.optim.SGD(m.parameters(), lr=1.0)])
def test_a_gradient_is_set_to_zero_in_place(clear: Any) -> None:
    model = nn.Linear(2, 1)
    model(leaf()).backward()
    kept = model.weight.grad
    assert kept is not None
    clear(model).zero_grad(set_to_none=False)
    assert model.weight.grad is kept and kept.tolist() == [[0.0, 0.0]]
    clear(model).zero_grad()
    assert model.weight.grad is None


def test_a_gradient_of_ones_own_is_added_to() -> None:
    x = leaf()
    flat = lucid.zeros(4)
    x.grad = flat[1:3]
    (x * 3).sum().backward()
    assert flat.tolist() == [0.0, 3.0, 3.0, 0.0]


def test_what_a_gradient_was_is_not_what_a_history_has_read() -> None:
    x, w = leaf(), leaf()
    (x * 3).sum().backward()
    assert x.grad is not None
    y = (w * x.grad).sum()
    (x * 3).sum().backward()  # into x.grad, whose old value the gradient of y needs
    with pytest.raises(GradientError, match="changed in place"):
        y.backward()


@both
def test_backward_for_some_leaves_alone(wrap: Any) -> None:
    model = nn.Linear(2, 1)
    net, x = wrap(model), leaf()
    net(x).backward(inputs=[model.weight])
    assert x.grad is None and model.bias.grad is None  # type: ignore[union-attr]
    assert model.weight.grad is not None and model.weight.grad.tolist() == [[1.0, 2.0]]
    net(x).backward(inputs=x)
    assert model.weight.grad.tolist() == [[1.0, 2.0]] and x.grad is not None


def test_leaves_that_are_none_are_refused() -> None:
    x = leaf()
    y = x * 2
    for wrong in (3, [], [x, 3], "x", {x}):
        with pytest.raises(OptionError, match="inputs must be a tensor or a list of tensors"):
            y.sum().backward(inputs=wrong)  # type: ignore[arg-type]
    for value in (y, lucid.ones(2)):
        with pytest.raises(GradientError, match="leaves that require a gradient"):
            y.sum().backward(inputs=[value])


def test_a_keyword_may_be_called_self() -> None:
    net = lucid.compile(lambda **given: given["self"] * 2)
    np.testing.assert_array_equal(net(self=lucid.ones(2)).numpy(), [2.0, 2.0])


class OutOfTimeError(Exception):
    """What a signal's handler raises."""


def raised_at(moment: int, run: Callable[[], None]) -> bool:
    """Run with an exception where, for the so-manieth time, Python would run a signal's handler.

    It does as a function of Python begins and as one of C has returned. Whether there were so many.
    """
    count = 0

    def event(frame: FrameType, what: str, arg: object) -> None:
        nonlocal count
        if what in ("call", "c_return"):
            count += 1
            if count == moment:
                sys.setprofile(None)
                raise OutOfTimeError

    before = sys.getprofile()
    sys.setprofile(event)
    try:
        run()
    except OutOfTimeError:
        return True
    finally:
        sys.setprofile(before)
    return False


def in_blocks() -> None:
    with lucid.no_grad():
        lucid.is_grad_enabled()
        with lucid.enable_grad():
            lucid.is_grad_enabled()
        kept = lucid.no_grad()
        with kept:
            pass
        with kept:
            lucid.set_grad_enabled(True)


def decorated() -> None:
    lucid.no_grad()(lucid.is_grad_enabled)()


def once_more() -> None:
    with OFF:
        pass


OFF = lucid.no_grad()


@pytest.mark.parametrize("run", [once_more, in_blocks, decorated])
@pytest.mark.parametrize("outside", [True, False])
def test_an_exception_at_any_moment_leaves_the_mode_as_it_was(run: Callable[[], None], outside: bool) -> None:
    moment = 1
    with lucid.set_grad_enabled(outside):
        while raised_at(moment, run):
            assert lucid.is_grad_enabled() is outside, moment
            moment += 1
        assert lucid.is_grad_enabled() is outside
    assert moment > 5 and lucid.is_grad_enabled()


def test_one_object_for_several_blocks() -> None:
    off = lucid.no_grad()
    for _ in range(2):
        with off:
            assert not lucid.is_grad_enabled()
            with off:
                assert not lucid.is_grad_enabled()
            assert not lucid.is_grad_enabled()
            with lucid.enable_grad():
                with pytest.raises(OptionError, match=r"no_grad: this very object is entered already"), off:
                    pass
                assert lucid.is_grad_enabled()
            assert not lucid.is_grad_enabled()
        assert lucid.is_grad_enabled()
    with contextlib.ExitStack() as stack:
        stack.enter_context(off)
        assert not lucid.is_grad_enabled()
    assert lucid.is_grad_enabled()
    for again in (copy.deepcopy(off), pickle.loads(pickle.dumps(off))):
        with again:
            assert not lucid.is_grad_enabled()
    assert lucid.is_grad_enabled()


def test_a_statement_within_a_block_ends_with_it() -> None:
    with lucid.no_grad():
        lucid.set_grad_enabled(True)
        assert lucid.is_grad_enabled()
        with lucid.no_grad():
            pass
        assert lucid.is_grad_enabled()
        lucid.set_grad_enabled(False)
    assert lucid.is_grad_enabled()


def test_tasks_and_threads_have_modes_of_their_own() -> None:
    turns = asyncio.Event

    async def quiet(there: asyncio.Event, go_on: asyncio.Event) -> list[bool]:
        with lucid.no_grad():
            there.set()
            await go_on.wait()
            return [lucid.is_grad_enabled(), await asyncio.to_thread(lucid.is_grad_enabled)]

    async def both_tasks() -> None:
        there, go_on = turns(), turns()
        task = asyncio.create_task(quiet(there, go_on))
        await there.wait()
        assert lucid.is_grad_enabled()
        go_on.set()
        assert await task == [False, False]

    asyncio.run(both_tasks())
    off, found = lucid.no_grad(), list[Any]()

    def elsewhere() -> None:
        found.append(lucid.is_grad_enabled())
        try:
            with off:
                pass
        except OptionError as error:
            found.append(str(error))

    with off:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert found[0] is True and "entered already" in found[1]


def test_a_tensor_leaves_its_history() -> None:
    x = lucid.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    z = y * y
    assert y.detach_() is y and y.is_leaf and not y.requires_grad
    (z.sum() + (y * x).sum()).backward()
    assert x.grad is not None and x.grad.tolist() == [2 * 9 + 3.0, 4 * 9 + 6.0]
    with pytest.raises(GradientError, match="view"):
        (x * 1)[0].detach_()

    def run(x: Any) -> Any:
        y = x * 3
        z = y * y
        y.detach_()
        return z.sum() + (y * x).sum()

    x.grad = None
    lucid.compile(run)(x).backward()
    assert x.grad.tolist() == [21.0, 42.0]
    for wrong in (lambda x: x.detach_(), lambda x: (x * 1)[0].detach_()):
        with pytest.raises(TraceError, match="detach_"):
            lucid.compile(wrong)(x)
