"""What traced code reads besides its arguments is guarded as it is read: a change is answered.

The combinations of where a value lives, how the code reaches it and how it changes are swept in
``tests/soak/stale.py``; here stand the single kinds, and what must *not* lead to another trace.
"""

from __future__ import annotations

import cProfile
import dataclasses
import functools
import gc
import importlib
import os
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import LucidError, TraceError

X = lucid.tensor([1.0])


def follows(model: Callable[..., Any], *changes: Callable[[], Any]) -> Any:
    """The compiled model gives what the eager one gives, before and after each change; returns it."""
    net = lucid.compile(model)
    for change in (lambda: None, *changes):
        change()
        for _ in range(3):
            assert net(X).item() == model(X).item()
    return net


# ---------------------------------------------------------------- hooks


def times(k: float) -> Callable[..., Any]:
    return lambda module, args, out: out * k


def test_a_hook_that_takes_the_place_of_another_in_memory() -> None:
    for _ in range(6):  # each of them was answered by the removed one
        m = nn.Identity()
        handle = m.register_forward_hook(times(2.0))
        net = follows(m)
        handle.remove()
        del handle
        gc.collect()
        m.register_forward_hook(times(5.0))
        assert net(X).item() == 5.0


def test_what_hooks_close_over() -> None:
    k, pre = [2.0], [3.0]
    m = nn.Identity()
    m.register_forward_hook(lambda module, args, out: out * k[0])
    m.register_forward_pre_hook(lambda module, args: args[0] + pre[0])
    follows(m, lambda: k.__setitem__(0, 5.0), lambda: pre.append(1.0), lambda: pre.__setitem__(0, 7.0))


def test_a_hook_that_is_an_object() -> None:
    class Hook:
        def __init__(self) -> None:
            self.k = 2.0

        def __call__(self, module: Any, args: Any, out: Any) -> Any:
            return out * self.k

    hook = Hook()
    m = nn.Sequential(nn.Identity())
    m[0].register_forward_hook(hook)
    follows(m, lambda: setattr(hook, "k", 5.0))


# ---------------------------------------------------------------- classes, modules, imports


class Scaled(nn.Module):
    k = 2.0

    def forward(self, t: Any) -> Any:
        return self.scale(t) * self.k

    def scale(self, t: Any) -> Any:
        return t


class Scaled2(Scaled):
    pass


def test_attributes_and_methods_of_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    follows(
        Scaled2(),
        lambda: monkeypatch.setattr(Scaled, "k", 5.0),
        lambda: monkeypatch.setattr(Scaled2, "k", 7.0, raising=False),
        lambda: monkeypatch.setattr(Scaled, "scale", lambda self, t: t + 1),
        lambda: monkeypatch.setattr(Scaled2, "scale", lambda self, t: t + 2, raising=False),
        lambda: monkeypatch.setattr(Scaled, "forward", lambda self, t: t * 9),
    )


def test_a_method_set_on_the_instance() -> None:
    m = Scaled()
    follows(m, lambda: setattr(m, "scale", lambda t: t * 3), lambda: setattr(m, "forward", lambda t: t * 4))


def test_a_layer_or_a_function_of_the_library_that_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(t: Any) -> Any:
        return nn.functional.relu(t - 2) + 1

    follows(forward, lambda: monkeypatch.setattr(nn.functional, "relu", lambda t, inplace=False: t))
    follows(nn.Sequential(nn.ReLU()), lambda: monkeypatch.setattr(nn.ReLU, "forward", lambda self, t: t * 3))


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    (tmp_path / "lucid_settings.py").write_text("K = 2.0\nclass C:\n    k = 2.0\ndef get(): return K\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("lucid_settings")
    sys.modules.pop("lucid_settings", None)


def test_a_module_of_settings(settings: types.ModuleType) -> None:
    def inside(t: Any) -> Any:
        import lucid_settings as s  # type: ignore[import-not-found]

        return t * s.K

    def named(t: Any) -> Any:
        from lucid_settings import K

        return t * K

    for f in (inside, named, lambda t: t * settings.K, lambda t: t * settings.get()):
        follows(f, lambda: setattr(settings, "K", settings.K + 1))
    follows(lambda t: t * settings.C.k, lambda: setattr(settings.C, "k", 5.0))


def test_a_module_that_the_trace_itself_imports(settings: types.ModuleType) -> None:
    sys.modules.pop("lucid_settings")

    def inside(t: Any) -> Any:
        import lucid_settings as s

        return t * s.K

    follows(inside, lambda: setattr(sys.modules["lucid_settings"], "K", 5.0))


# ---------------------------------------------------------------- functions and objects


def test_functions_of_functions() -> None:
    def base(t: Any, k: float = 2.0, *, j: float = 1.0) -> Any:
        return t * k * j

    partial = functools.partial(base, j=3.0)
    follows(
        partial,
        lambda: setattr(base, "__defaults__", (5.0,)),
        lambda: partial.keywords.update(j=4.0),
        lambda: partial.__setstate__((base, (), {"j": 7.0}, None)),
        lambda: setattr(base, "__code__", (lambda t, k=2.0, *, j=1.0: t + k + j).__code__),
    )


def test_a_library_decorator_around_the_users_function() -> None:
    box = [2.0]

    @functools.cache
    def factor(n: int) -> float:
        return box[0] * n

    def f(t: Any) -> Any:
        return t * factor(1)

    net = follows(f, lambda: box.__setitem__(0, 5.0))  # what was remembered stays, eagerly too
    factor.cache_clear()
    assert net(X).item() == f(X).item() == 5.0


def test_frozen_data_classes_and_slots_as_attributes() -> None:
    @dataclasses.dataclass(frozen=True)
    class Config:
        k: float

    class Slots:
        __slots__ = ("k",)

        def __init__(self, k: float) -> None:
            self.k = k

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = Config(2.0), Slots(3.0)

        def forward(self, t: Any) -> Any:
            return t * self.a.k + self.b.k

    net = Net()
    changes = [lambda: object.__setattr__(net.a, "k", net.a.k + 1), lambda: setattr(net.b, "k", net.b.k * 2)]
    follows(net, *changes, *[lambda: setattr(net, "a", Config(net.a.k + 1))] * 10)


def test_values_that_are_equal_and_yet_tell() -> None:
    box: list[Any] = [0.0]
    changes = [lambda v=v: box.__setitem__(0, v) for v in (-0.0, 0, False, 1, True, 1.0, np.float32(1), float("nan"))]
    net = lucid.compile(lambda t: t * box[0])
    for change in changes:
        change()
        for x in (lucid.tensor([2]), lucid.tensor([-1.0])):
            have, want = net(x), x * box[0]
            assert have.dtype == want.dtype and have.numpy().tobytes() == want.numpy().tobytes(), box


def test_a_dict_in_place_of_globals_and_cycles() -> None:
    space = {"lucid": lucid, "K": [2.0]}
    space["K"].append(space["K"])  # type: ignore[attr-defined]
    exec("def f(t): return t * K[0]", space)
    follows(space["f"], lambda: space["K"].__setitem__(0, 5.0))  # type: ignore[arg-type,attr-defined]


def test_the_environment_and_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUCID_K", "2.0")
    for f in (
        lambda t: t * float(os.environ["LUCID_K"]),
        lambda t: t * float(os.getenv("LUCID_K", "1")),
        lambda t: t * (3.0 if "LUCID_J" in os.environ else 4.0),
    ):
        follows(f, lambda: monkeypatch.setenv("LUCID_K", "5.0"), lambda: monkeypatch.setenv("LUCID_J", "1"))
        monkeypatch.delenv("LUCID_J")

    def f(t: Any) -> Any:
        return t * float(len(threading.current_thread().name))

    net, found = follows(f), []
    thread = threading.Thread(target=lambda: found.append((net(X).item(), f(X).item())), name="a name of its own")
    thread.start()
    thread.join()
    assert found[0][0] == found[0][1]


# ---------------------------------------------------------------- past the usual ways


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.k, self.raw = 2.0, [3.0]

    def forward(self, t: Any) -> Any:
        return t * self.k + self.twice

    @functools.cached_property
    def twice(self) -> float:
        return self.raw[0] * 2


def test_attributes_of_a_module_written_past_it() -> None:
    m = Own()
    follows(
        m,
        lambda: object.__setattr__(m, "k", 5.0),
        lambda: m.__dict__.update(k=6.0),
        lambda: (m.__dict__.pop("twice"), m.raw.__setitem__(0, 7.0)),
    )


def test_tables_of_a_module_written_past_it() -> None:
    m = nn.Sequential(nn.Linear(1, 1), nn.Identity())
    weights = [nn.Parameter(np.full((1, 1), k, np.float32)) for k in (3.0, 4.0)]
    layer = nn.Linear(1, 1)
    follows(
        m,
        lambda: m[0]._parameters.__setitem__("weight", weights[0]),
        lambda: m[0]._parameters.update(weight=weights[1]),
        lambda: m._modules.__setitem__("1", layer),
        lambda: m._modules.pop("1"),
        lambda: m[0]._hooks.__setitem__(10**9, lambda module, args, out: out * 3),
        lambda: m[0]._hooks.clear(),
    )


def test_what_was_looked_for_in_vain() -> None:
    class Plain:
        def __call__(self, t: Any) -> Any:
            try:
                return t * self.k  # type: ignore[attr-defined]
            except AttributeError:
                return t * 2.0

    class Net(Plain, nn.Module):
        def forward(self, t: Any) -> Any:
            return t * getattr(self, "j", 3.0) if hasattr(self, "j") else Plain.__call__(self, t)

        __call__ = nn.Module.__call__

    def check(kind: Any) -> None:
        p = kind()
        follows(p, lambda: setattr(p, "k", 5.0), lambda: delattr(p, "k"), lambda: setattr(kind, "k", 7.0))
        follows(p, lambda: setattr(p, "j", 4.0), lambda: delattr(p, "j"), lambda: setattr(kind, "j", 8.0))

    check(Net)
    check(Plain)


def test_a_global_that_comes_and_goes() -> None:
    space: dict[str, Any] = {}
    text = "def f(t):\n    try: return t * K\n    except NameError: return t * float(len('ab'))"
    exec(text, space)
    changes = [("K", 5.0), ("K", None), ("len", lambda text: 9), ("len", None)]
    follows(space["f"], *[lambda n=n, v=v: space.__setitem__(n, v) if v else space.pop(n) for n, v in changes])


SETTING = 2.0


def test_roundabout_ways_to_a_global(monkeypatch: pytest.MonkeyPatch) -> None:
    def helper() -> float:
        return SETTING

    for read in (
        lambda: globals()["SETTING"],
        lambda: eval("SETTING"),
        lambda: sys._getframe().f_globals["SETTING"],
        lambda: helper.__globals__["SETTING"],
        lambda: sys.modules["tests.compiler.test_guards"].SETTING,
        lambda: importlib.import_module("tests.compiler.test_guards").SETTING,
        lambda: __import__("tests.compiler.test_guards", fromlist=["x"]).SETTING,
        lambda: sys.modules["tests.compiler.test_guards"].__dict__["SETTING"],
    ):
        monkeypatch.setattr(sys.modules[__name__], "SETTING", 2.0)
        follows(lambda t, read=read: t * read(), lambda: monkeypatch.setattr(sys.modules[__name__], "SETTING", 5.0))


def test_what_is_inside_a_function() -> None:
    box = [2.0]

    def f(k: float = 3.0, *, j: float = 4.0) -> float:
        return box[0]

    cell = f.__closure__[0]  # type: ignore[index]
    follows(lambda t: t * f.__closure__[0].cell_contents[0], lambda: setattr(cell, "cell_contents", [5.0]))  # type: ignore[index]
    follows(lambda t: t * f.__defaults__[0], lambda: setattr(f, "__defaults__", (5.0,)))  # type: ignore[index]
    follows(lambda t: t * f.__kwdefaults__["j"], lambda: f.__kwdefaults__.update(j=5.0))


def test_made_when_first_needed() -> None:
    class Lazy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table: list[float] | None = None

        def forward(self, t: Any) -> Any:
            if self.table is None:
                self.table = [2.0]
            return t * self.table[0]

    m = Lazy()
    follows(m, lambda: m.table.__setitem__(0, 5.0), lambda: setattr(m, "table", None))  # type: ignore[union-attr]


# ---------------------------------------------------------------- tensors


def stateful(read: Callable[[Any], Any]) -> Any:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("b", lucid.tensor([2.0]))
            self.p = nn.Parameter(np.array([3.0], np.float32))
            self.frozen = nn.Parameter(np.array([4.0], np.float32), requires_grad=False)

        def forward(self, t: Any) -> Any:
            return t * read(self.b) + read(self.p) * read(self.frozen)

    return Net()


COPIES = {
    "clone": lambda x: x.clone(),
    "detach": lambda x: x.detach(),
    "data": lambda x: x.data,
    "detached clone": lambda x: x.detach().clone(),
    "cast": lambda x: x.to("float32"),
    "view": lambda x: x.view(1),
    "index": lambda x: x[:],
    "deepcopy": lambda x: __import__("copy").deepcopy(x),
    "copy": lambda x: __import__("copy").copy(x),
    "plus": lambda x: +x,
}


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_of_state_is_never_frozen(how: str) -> None:
    m = stateful(COPIES[how])
    net = follows(m, *[lambda t=t: t.copy_(t.numpy() + 1) for t in (m.b, m.p, m.frozen)])
    assert set(net.traced.parameters) == {"b", "p", "frozen"}
    assert (net(X).requires_grad) == m(X).requires_grad


READS = {
    "numpy": lambda x: x.numpy(),
    "asarray": np.asarray,
    "item": lambda x: x.item(),
    "tolist": lambda x: x.tolist()[0],
    "float": float,
    "Tensor": lucid.Tensor,
    "pickle": lambda x: __import__("pickle").loads(__import__("pickle").dumps(x)),
}


@pytest.mark.parametrize("how", READS)
def test_a_value_of_state_cannot_leave_it_for_python(how: str) -> None:
    with pytest.raises(LucidError, match="traced"):
        lucid.compile(stateful(READS[how]))(X)


def test_a_detached_tensor_shares_memory_while_traced_too() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("b", lucid.tensor([2.0]))

        def forward(self, t: Any) -> Any:
            shared, kept = self.b.detach(), self.b.clone()
            shared.copy_(shared + t)
            return shared * 100 + kept * 10 + self.b

    eager, traced = Net(), Net()
    net = lucid.compile(traced)
    for _ in range(3):
        assert net(X).item() == eager(X).item()
        assert traced.b.item() == eager.b.item()


def test_a_gradient_read_as_a_tensor() -> None:
    w = nn.Parameter(np.array([2.0], np.float32))

    def f(t: Any) -> Any:
        return t * w.grad

    w.grad = lucid.tensor([3.0])
    follows(f, lambda: setattr(w, "grad", lucid.tensor([5.0])))


def test_whether_there_is_a_gradient() -> None:
    w = nn.Parameter(np.array([2.0], np.float32))
    follows(lambda t: t * 2 if w.grad is None else t * w, lambda: setattr(w, "grad", lucid.tensor([3.0])))


def test_a_state_dict_is_not_read_while_traced() -> None:
    class Net(nn.Linear):
        def forward(self, t: Any) -> Any:
            return t * float(self.state_dict()["weight"][0, 0])

    with pytest.raises(TraceError, match="value of a tensor is not known while the model is traced"):
        lucid.compile(Net(1, 1))(X)


# ---------------------------------------------------------------- whether gradients are recorded


def test_a_trace_without_gradients_serves_with_them() -> None:
    m = nn.Linear(1, 1)
    net = lucid.compile(m)
    with lucid.no_grad():
        assert not net(X).requires_grad
    net(X).sum().backward()
    assert m.weight.grad is not None and m.weight.grad.item() == 1.0
    assert len(net._traces) == 1


def test_a_model_that_asks_whether_gradients_are_recorded() -> None:
    def f(t: Any) -> Any:
        return t * 2 if lucid.is_grad_enabled() else t * 3

    net = lucid.compile(f)
    for enabled in (False, True, False, True):
        with lucid.set_grad_enabled(enabled):
            assert net(X).item() == f(X).item()


# ---------------------------------------------------------------- what is no reason to trace again


def test_what_is_not_read_may_change() -> None:
    class Trainer:
        def __init__(self) -> None:
            self.k, self.steps, self.log = 2.0, 0, [0.0]

        def forward(self, t: Any) -> Any:
            return t * self.k

        def count(self) -> None:
            self.steps += 1
            self.log.append(1.0)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.k, self.log, self.last = 2.0, [0.0], None

        def forward(self, t: Any) -> Any:
            self.last = (t.shape, [])
            return t * self.k

    trainer, m = Trainer(), Net()
    net = follows(trainer.forward, *[trainer.count] * 5)
    assert len(net._traces) == 1
    net = follows(m, lambda: m.log.append(2.0), lambda: setattr(m, "seen", 3))
    assert len(net._traces) == 1


def test_an_attribute_asked_for_by_a_constant_name_is_one_attribute() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.log = [0.0]

        def forward(self, t: Any) -> Any:
            k = getattr(self, "k", 2.0)
            return t * (k if hasattr(self, "k") else getattr(self, "other" if k else "none", 3.0))

    m = Net()
    net = follows(m, lambda: setattr(m, "k", 5.0), lambda: setattr(m, "other", 7.0), lambda: delattr(m, "k"))

    def plain(t: Any) -> Any:
        return t * getattr(m, "j", 2.0)

    net = follows(plain, *[lambda: m.log.append(1.0)] * 3)
    assert len(net._traces) == 1
    follows(plain, lambda: setattr(m, "j", 9.0))


def test_an_equal_value_set_anew_needs_no_trace() -> None:
    m = stateful(lambda x: x)
    m.scale = 2.5
    box = [float("2.5")]
    net = follows(m, lambda: setattr(m, "scale", float("2.5")), lambda: m.train(), lambda: m.train())
    assert len(net._traces) == 1
    net = follows(lambda t: t * box[0], lambda: box.__setitem__(0, float("2.5")))
    assert len(net._traces) == 1


def test_modes_that_alternate_keep_their_traces() -> None:
    m = nn.Sequential(nn.Linear(1, 1), nn.Dropout(0.0))
    net = lucid.compile(m)
    for _ in range(5):
        m.train()
        net(X)
        m.eval()
        net(X)
    assert len(net._traces) == 2


# ---------------------------------------------------------------- observing disturbs nobody


def test_a_profiler_goes_on() -> None:
    events: list[str] = []

    def profiler(frame: types.FrameType, event: str, arg: object) -> None:
        events.append(event)

    before = sys.getprofile()
    sys.setprofile(profiler)
    try:
        lucid.compile(lambda t: t * 2)(X)
        assert sys.getprofile() is profiler
    finally:
        sys.setprofile(before)
    assert "call" in events and "c_call" in events


def test_cprofile_goes_on() -> None:
    profile = cProfile.Profile()
    profile.enable()
    try:
        lucid.compile(lambda t: t * 2)(X)
        os.path.join("a", "b")
    finally:
        profile.disable()
    assert any("join" in str(entry.code) for entry in profile.getstats())


def test_an_exception_leaves_nothing_behind() -> None:
    def fails(t: Any) -> Any:
        raise KeyError("mine")

    before = sys.getprofile()
    for model in (fails, lambda t: fails(t)):
        net = lucid.compile(model)
        for _ in range(2):
            with pytest.raises(KeyError, match="mine"):
                net(X)
            assert sys.getprofile() is before
    lucid.compile(lambda t: t * 2)(X)


def test_a_recursive_function_and_a_compiled_one_compiled() -> None:
    box = [2.0]

    def f(t: Any, n: int = 3) -> Any:
        return t if n == 0 else f(t * box[0], n - 1)

    follows(lucid.compile(lucid.compile(f)), lambda: box.__setitem__(0, 5.0))


def test_a_compiled_model_as_a_part_of_another() -> None:
    box = [2.0]
    inner = lucid.compile(lambda t: t * box[0])
    layer = nn.Linear(1, 1)
    whole = nn.Sequential(inner, lucid.compile(layer))
    inner(X)
    net = follows(
        whole,
        lambda: box.__setitem__(0, 5.0),
        lambda: setattr(layer, "weight", nn.Parameter(np.array([[3.0]], np.float32))),
        lambda: layer.register_forward_hook(lambda module, args, out: out * 2),
    )
    traces = len(net._traces)
    inner(X)
    inner(lucid.tensor([1.0, 2.0]))
    assert net(X).item() == whole(X).item() and len(net._traces) == traces


def test_gradients_of_functions_with_closures() -> None:
    box = [2.0]

    def f(t: Any) -> Any:
        return (t * t * box[0]).sum()

    g = lucid.grad(f)
    assert g(X).item() == 4.0
    box[0] = 5.0
    assert g(X).item() == 10.0


def test_code_that_would_run_later_is_refused() -> None:
    async def later(t: Any) -> Any:
        return t

    def piecemeal(t: Any) -> Iterator[Any]:
        yield t

    for f in (later, piecemeal):
        with pytest.raises(TraceError, match="plain function"):
            lucid.compile(f)(X)


def test_many_threads_while_values_change() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.k = 0.0

        def forward(self, t: Any) -> Any:
            return t * self.k

    m = Net()
    net = lucid.compile(m)

    def call(found: list[float]) -> None:
        found.append(net(X).item())

    for k in range(20):
        m.k = float(k)
        found: list[float] = []
        threads = [threading.Thread(target=call, args=(found,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [float(k)] * 4
