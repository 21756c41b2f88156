"""What people of PyTorch and NumPy do without thinking works, or is refused with the way out."""

from __future__ import annotations

import collections
import dataclasses
import warnings
from typing import Any, NamedTuple

import numpy as np
import pytest

import lucid
from lucid import Tensor, nn, optim
from lucid.errors import DTypeError, OptionError, TraceError

X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)

# ---------------------------------------------------------------- arrays where tensors are meant


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Linear(3, 3), (2, 3)),
        (nn.Conv2d(1, 2, 1), (1, 1, 2, 2)),
        (nn.ReLU(), (2, 3)),
        (nn.BatchNorm1d(3), (2, 3)),
        (nn.LayerNorm(3), (2, 3)),
        (nn.MaxPool2d(2, 2), (1, 2, 4, 4)),
        (nn.Flatten(), (2, 3, 1)),
        (nn.Identity(), (2, 3)),
        (nn.Sequential(nn.Dropout(0.0), nn.Softmax(1)), (2, 3)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_eager_module_takes_arrays(module: Any, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    y = module(x)
    assert type(y) is Tensor
    np.testing.assert_array_equal(y.numpy(), module(Tensor(x)).numpy())
    x[...] = 0  # the module took a copy, so what it remembers for backward stays
    assert module(nn.Parameter(x)).shape == y.shape


def test_arrays_in_containers_and_keywords_are_taken() -> None:
    class Net(nn.Module):
        def forward(self, pair: Any, named: Any, *, mask: Any) -> Any:
            assert all(isinstance(t, Tensor) for t in (*pair, named["a"], mask))
            return pair[0] + pair[1] * named["a"] + mask

    given: Any = ((X, X), {"a": X})
    eager = Net()(*given, mask=X)
    np.testing.assert_array_equal(eager.numpy(), lucid.compile(Net())(*given, mask=X).numpy())


def test_float64_arrays_are_told_what_to_do() -> None:
    model, double = nn.Linear(3, 2), np.ones((2, 3))
    for call in (model, lucid.compile(model), lucid.compile(model, lucid.spec("N", 3))):
        with pytest.raises(DTypeError, match=r'x\.astype\("float32"\).*model\.double\(\)'):
            call(double)
        call(double.astype("float32"))
    assert nn.Linear(3, 2).double()(double).dtype == np.float64
    with pytest.raises(DTypeError, match=r"model\.double"):
        nn.Conv2d(1, 1, 1)(np.ones((1, 1, 2, 2)))


def test_errors_name_inputs_as_the_user_does() -> None:
    def f(image: Any, scale: Any) -> Any:
        return image * scale

    net = lucid.compile(f, lucid.spec("N", 3), lucid.spec("N", 1))
    with pytest.raises(DTypeError, match="input 'image' is compiled for"):
        net(X.astype(np.int64), X[:, :1])
    with pytest.raises(lucid.errors.ShapeError, match="input 'scale' is compiled for"):
        net(X, X)


# ---------------------------------------------------------------- names


@pytest.mark.parametrize("name", ["", "a.b", ".", 3, None, b"a"])
def test_names_that_could_be_another_path_are_refused(name: Any) -> None:
    m = nn.Module()
    for register, value in (
        (m.register_parameter, nn.Parameter(X)),
        (m.register_buffer, Tensor(X)),
        (m.add_module, nn.ReLU()),
    ):
        with pytest.raises(OptionError, match="not empty and has no dot"):
            register(name, value)
    if isinstance(name, str):
        for value in (nn.Parameter(X), nn.ReLU()):
            with pytest.raises(OptionError, match="no dot"):
                setattr(m, name, value)
    assert not m.state_dict()


def test_names_that_are_taken_are_refused() -> None:
    m = nn.Sequential(nn.ReLU())
    m.scale = 2.0
    m.register_buffer("mean", Tensor(X))
    m.register_parameter("weight", None)
    m.register_parameter("weight", nn.Parameter(X))  # a name that was reserved, or used for the same kind before
    m.register_buffer("mean", Tensor(X + 1))
    for name in ("scale", "forward", "training", "mean", "0"):
        with pytest.raises(OptionError, match=f"an attribute {name!r} already"):
            m.register_parameter(name, nn.Parameter(X))
    with pytest.raises(OptionError, match="'weight' already"):
        m.register_buffer("weight", Tensor(X))
    with pytest.raises(OptionError, match="'weight' already"):
        m.add_module("weight", nn.ReLU())
    assert sorted(m.state_dict()) == ["mean", "weight"]
    assert list(nn.ModuleDict({"keys": nn.ReLU(), "type": nn.ReLU()}).keys()) == ["keys", "type"]


@pytest.mark.parametrize(
    ("register", "value"),
    [("register_parameter", Tensor(X)), ("register_buffer", X), ("add_module", len), ("register_parameter", 3.0)],
)
def test_what_is_registered_is_of_its_kind(register: str, value: Any) -> None:
    with pytest.raises(OptionError, match="must be a"):
        getattr(nn.Module(), register)("name", value)
    with pytest.raises(lucid.LucidError, match="super"):
        getattr(nn.Module.__new__(nn.Module), register)("name", None)


# ---------------------------------------------------------------- results keep their type


class Output(dict):  # type: ignore[type-arg]
    @property
    def logits(self) -> Any:
        return self["logits"]


class Rows(list):  # type: ignore[type-arg]
    pass


class Triple(tuple):  # type: ignore[type-arg]
    __slots__ = ()


class Named(NamedTuple):
    a: Any
    b: Any


@dataclasses.dataclass
class Plain:
    a: Any
    b: Any = None
    note: str = "note"


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    a: Any
    deep: Any


class ModelOutput(collections.OrderedDict):  # type: ignore[type-arg]
    """As libraries of models have it: items that are attributes too."""

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        self.__dict__[key] = value


def outputs(t: Any) -> list[Any]:
    rows = Rows([t, t + 1])
    rows.label = "label"  # type: ignore[attr-defined]
    model_output = ModelOutput()
    model_output["hidden"] = t
    return [
        Output(logits=t * 2),
        collections.OrderedDict(b=t, a=t + 1),
        collections.defaultdict(list, {"a": t}),
        rows,
        Triple((t, t * 3)),
        Named(t, [t]),
        Plain(t, {"x": t}),
        Frozen(t, Plain(t)),
        model_output,
        {"a": (t, Named(t, t)), "b": [Plain(t)]},
    ]


@pytest.mark.parametrize("number", range(len(outputs(Tensor(X)))))
def test_results_keep_their_type(number: int) -> None:
    def make(t: Any) -> Any:
        return outputs(t)[number]

    def same(a: Any, b: Any) -> None:
        assert type(a) is type(b)
        if isinstance(a, Tensor):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
            return
        if isinstance(a, dict):
            assert list(a) == list(b)
            for key in a:
                same(a[key], b[key])
        elif isinstance(a, list | tuple):
            assert len(a) == len(b)
            for one, other in zip(a, b, strict=True):
                same(one, other)
        elif isinstance(a, str | None):
            assert a == b
        names = (
            [f.name for f in dataclasses.fields(a)]
            if dataclasses.is_dataclass(a)
            else vars(a)
            if hasattr(a, "__dict__")
            else ()
        )
        for name in names:
            same(getattr(a, name), getattr(b, name))
        if isinstance(a, collections.defaultdict):
            assert a.default_factory is b.default_factory

    net = lucid.compile(make)
    for _ in range(2):
        same(make(Tensor(X)), net(Tensor(X)))


def test_dataclasses_and_subclasses_go_in_too() -> None:
    def f(batch: Any) -> Any:
        return batch.a * 2 if batch.note == "note" else batch.a

    net = lucid.compile(f)
    np.testing.assert_array_equal(net(Plain(X)).numpy(), X * 2)
    np.testing.assert_array_equal(net(Plain(X, note="other")).numpy(), X)
    assert lucid.compile(lambda o: o.logits)(Output(logits=X)).shape == (2, 3)


def test_results_that_hold_themselves_are_refused() -> None:
    def f(t: Any) -> Any:
        found: list[Any] = [t]
        found.append(found)
        return found

    with pytest.raises(TraceError, match="contain themselves"):
        lucid.compile(f)(X)


# ---------------------------------------------------------------- the gradient switches


def test_the_switch_is_a_statement() -> None:
    p = nn.Parameter(X)
    lucid.set_grad_enabled(False)
    try:
        assert not lucid.is_grad_enabled()
        assert not (p * 2).requires_grad
        with lucid.enable_grad():
            assert (p * 2).requires_grad
        assert not lucid.is_grad_enabled()
    finally:
        lucid.set_grad_enabled(True)
    assert (p * 2).requires_grad


def test_the_switches_are_blocks_and_decorators() -> None:
    p = nn.Parameter(X)
    with lucid.set_grad_enabled(False):
        assert not lucid.is_grad_enabled()
        with lucid.no_grad(), lucid.enable_grad():
            assert lucid.is_grad_enabled()
        assert not lucid.is_grad_enabled()
    assert lucid.is_grad_enabled()
    for make in (lucid.no_grad, lambda: lucid.set_grad_enabled(False)):
        double = make()(lambda t: t * 2)
        assert lucid.is_grad_enabled()
        assert not double(p).requires_grad
        assert lucid.is_grad_enabled()
    mode = lucid.no_grad()
    with mode, mode:
        assert not lucid.is_grad_enabled()
    assert lucid.is_grad_enabled()
    with pytest.raises(ZeroDivisionError), lucid.set_grad_enabled(False):
        raise ZeroDivisionError
    assert lucid.is_grad_enabled()
    for wrong in (None, 1, "no"):
        with pytest.raises(OptionError, match="True or False"):
            lucid.set_grad_enabled(wrong)  # type: ignore[arg-type]


def test_a_switch_that_outlives_a_trace_is_refused() -> None:
    def f(x: Any) -> Any:
        lucid.set_grad_enabled(False)
        return x * 2

    with pytest.raises(TraceError, match=r"with lucid\.set_grad_enabled"):
        lucid.compile(f)(X)
    assert lucid.is_grad_enabled()


# ---------------------------------------------------------------- training loops


def schedules() -> dict[str, Any]:
    s = optim.lr_scheduler
    return {
        "lambda": lambda o: s.LambdaLR(o, lambda e: 0.9**e),
        "step": lambda o: s.StepLR(o, 1),
        "multi": lambda o: s.MultiStepLR(o, [1, 3]),
        "exponential": lambda o: s.ExponentialLR(o, 0.5),
        "constant": lambda o: s.ConstantLR(o, 0.5, 3),
        "linear": lambda o: s.LinearLR(o, 0.5, 1.0, 4),
        "polynomial": lambda o: s.PolynomialLR(o, 5),
        "cosine": lambda o: s.CosineAnnealingLR(o, 9),
        "restarts": lambda o: s.CosineAnnealingWarmRestarts(o, 3),
        "cycle": lambda o: s.OneCycleLR(o, 0.1, total_steps=9),
        "sequential": lambda o: s.SequentialLR(o, [s.ConstantLR(o, 0.1, 2), s.ExponentialLR(o, 0.9)], [2]),
        "plateau": lambda o: s.ReduceLROnPlateau(o, patience=0),
    }


@pytest.mark.parametrize("name", schedules())
def test_a_group_added_after_a_schedule_takes_part(name: str) -> None:
    o = optim.SGD([nn.Parameter(X)], lr=0.1, momentum=0.9)
    s = schedules()[name](o)
    step = (lambda: s.step(1.0)) if name == "plateau" else s.step
    step()
    before, seen = [o.param_groups[0]["lr"]], {1.0}
    o.add_param_group({"params": [nn.Parameter(X)], "lr": 1.0})
    for _ in range(5):
        step()
        before.append(o.param_groups[0]["lr"])
        assert len(s.get_last_lr()) == 2
        assert 0 <= s.get_last_lr()[1] <= 2
        seen.add(s.get_last_lr()[1])
    alone = optim.SGD([nn.Parameter(X)], lr=0.1, momentum=0.9)
    t = schedules()[name](alone)
    rates = []
    for _ in range(6):
        t.step(1.0) if name == "plateau" else t.step()
        rates.append(alone.param_groups[0]["lr"])
    assert before == rates  # the first group goes its way as if nothing had been added
    assert len(seen) > 1


def test_groups_with_functions_of_their_own_keep_added_ones_as_they_are() -> None:
    o = optim.SGD([{"params": [nn.Parameter(X)]}, {"params": [nn.Parameter(X)]}], lr=1.0)
    s = optim.lr_scheduler.LambdaLR(o, [lambda e: 0.5**e, lambda e: 0.1**e])
    o.add_param_group({"params": [nn.Parameter(X)], "lr": 3.0})
    s.step()
    assert s.get_last_lr() == [0.5, 0.1, 3.0]


@pytest.mark.parametrize("gradient", [[np.inf, 1.0], [1e30, 1e30], [np.nan, -np.inf], [3e38, 3e38], [0.0, 0.0]])
def test_training_on_exploded_gradients_prints_nothing(gradient: list[float]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for make in (optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop, optim.Adagrad):
            p = nn.Parameter(np.zeros(2, np.float32))
            p.grad = Tensor(np.array(gradient, np.float32))
            norm = nn.utils.clip_grad_norm_([p], 1.0)
            finite = np.isfinite(gradient).all()
            assert np.isfinite(norm.item()) == finite or max(gradient) > 1e38
            if finite and max(gradient) < 1e38:
                assert np.linalg.norm(p.grad.numpy()) <= 1 + 1e-6
            nn.utils.clip_grad_value_([p], 0.5)
            p.grad = Tensor(np.array(gradient, np.float32))
            make([p], lr=1e30).step()
