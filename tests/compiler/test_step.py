"""A compiled training step does what the eager loop does, whole or not at all."""

from __future__ import annotations

import copy
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor, nn, optim
from lucid.errors import ExecutionError, GradientError, OptionError, TraceError
from lucid.nn import functional as F
from lucid.nn.utils import clip_grad_norm_, clip_grad_value_
from lucid.runtime.program import parameter_copies, printer

RULES: dict[str, Callable[[Any], optim.Optimizer]] = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, dampening=0.1, weight_decay=1e-2),
    "nesterov": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, maximize=True),
    "adam": lambda p: optim.Adam(p, lr=1e-2, weight_decay=1e-2),
    "amsgrad": lambda p: optim.Adam(p, lr=1e-2, amsgrad=True),
    "adamw": lambda p: optim.AdamW(p, lr=1e-2),
    "nadam": lambda p: optim.NAdam(p, lr=1e-2),
    "rmsprop": lambda p: optim.RMSprop(p, lr=1e-3, momentum=0.5, centered=True),
    "adagrad": lambda p: optim.Adagrad(p, lr=1e-2, lr_decay=0.1),
    "radam": lambda p: optim.RAdam(p, lr=1e-2, betas=(0.5, 0.8)),
    "adamax": lambda p: optim.Adamax(p, lr=1e-2, weight_decay=1e-2),
    "adadelta": lambda p: optim.Adadelta(p, weight_decay=1e-2),
    "rprop": lambda p: optim.Rprop(p, lr=1e-2),
    "asgd": lambda p: optim.ASGD(p, lr=1e-2, t0=2),
    "adafactor": lambda p: optim.Adafactor(p, lr=1e-2, weight_decay=1e-2),
}
LOSS = nn.CrossEntropyLoss()


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 5))


def lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2, 2), nn.Conv2d(4, 6, 3),
        nn.ReLU(), nn.MaxPool2d(2, 2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(6, 5),
    )  # fmt: skip


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.one = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.second, self.two = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.out = nn.Linear(4, 5)

    def forward(self, x: Any) -> Any:
        x = F.relu(self.one(self.first(x)))
        x = F.relu(self.two(self.second(x)) + x)
        return self.out(x.mean((2, 3)))


class Sequences(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 8)
        # without biases: that of the keys has no gradient but what rounding leaves, which nadam takes for one
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True, bias=False)
        self.out = nn.Linear(8, 5)

    def forward(self, x: Any) -> Any:
        return self.out(self.layer(self.words(x)).mean(1))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.out = nn.LSTM(4, 6, batch_first=True), nn.Linear(6, 5)

    def forward(self, x: Any) -> Any:
        return self.out(self.lstm(x)[0][:, -1])


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (mlp, (6, 8)),
    "lenet": (lenet, (6, 1, 8, 8)),
    "residual": (Residual, (6, 3, 6, 6)),
    "transformer": (Sequences, (6, 4)),
    "lstm": (Recurrent, (6, 5, 4)),
}


def batches(count: int, shape: tuple[int, ...] = (6, 8), seed: int = 0) -> list[tuple[Any, Any]]:
    rng = np.random.default_rng(seed)
    words = len(shape) == 2 and shape[1] == 4
    made = (rng.integers(0, 11, shape) if words else rng.standard_normal(shape).astype("f") for _ in range(count))
    return [(x, rng.integers(0, 5, shape[0])) for x in made]


def twins(build: Callable[[], nn.Module], rule: Callable[[Any], optim.Optimizer]) -> list[Any]:
    """A model with its optimizer, and the same again."""
    found: list[Any] = []
    for _ in range(2):
        lucid.manual_seed(3)
        model = build()
        found += [model, rule(model.parameters())]
    return found


def eager(model: nn.Module, optimizer: optim.Optimizer, x: Any, y: Any, then: Callable[[Any], Any] = id) -> float:
    optimizer.zero_grad()
    loss = LOSS(model(Tensor(x)), Tensor(y))
    loss.backward()
    then(model.parameters())
    optimizer.step()
    return float(loss)


def alike(a: nn.Module, b: nn.Module, within: float = 2e-6) -> None:
    mine, other = a.state_dict(), b.state_dict()
    for name, value in mine.items():
        np.testing.assert_allclose(value.numpy(), other[name].numpy(), rtol=0, atol=within, err_msg=name)


def snapshot(model: nn.Module, optimizer: optim.Optimizer) -> list[Any]:
    slots = optimizer.state_dict()["state"]
    found = [value.numpy().copy() for value in model.state_dict().values()]
    return found + [x.copy() for number in sorted(slots) for x in slots[number].values()]


ROWS = [("mlp", rule) for rule in RULES] + [(net, rule) for net in list(NETS)[1:] for rule in ("momentum", "nadam")]


@pytest.mark.parametrize(("net", "rule"), ROWS)
def test_steps_are_those_of_the_eager_loop(net: str, rule: str) -> None:
    """Losses, weights, statistics and the optimizer's state; what is dropped out too."""
    build, shape = NETS[net]
    model, optimizer, other, same = twins(build, RULES[rule])
    step = lucid.compile_step(other, LOSS, same)
    lucid.manual_seed(7)
    wanted = [eager(model, optimizer, x, y) for x, y in batches(4, shape)]
    lucid.manual_seed(7)
    np.testing.assert_allclose([float(step(x, y)) for x, y in batches(4, shape)], wanted, rtol=1e-5)
    alike(model, other)
    mine, others = optimizer.state_dict()["state"], same.state_dict()["state"]
    assert mine.keys() == others.keys()
    for number, slots in mine.items():
        assert slots["step"] == others[number]["step"] == 4
        for slot, value in slots.items():
            np.testing.assert_allclose(value, others[number][slot], rtol=1e-4, atol=1e-6)


def test_it_mixes_with_all_else_that_uses_model_and_optimizer() -> None:
    model, optimizer, other, same = twins(mlp, RULES["adam"])
    step, net = lucid.compile_step(other, LOSS, same), lucid.compile(other)
    saved: Any = None
    for number, (x, y) in enumerate(batches(9)):
        for group in (*optimizer.param_groups, *same.param_groups):
            group["lr"] = 0.01 / (1 + number)  # a schedule
        wanted = eager(model, optimizer, x, y)
        got = eager(other, same, x, y) if number in (3, 4) else float(step(x, y))
        assert got == pytest.approx(wanted, abs=1e-6)
        np.testing.assert_allclose(net(x).numpy(), model(Tensor(x)).numpy(), atol=1e-5)
        if number == 1:
            saved = same.state_dict(), other.state_dict()
            saved = saved[0], {name: np.array(value.numpy()) for name, value in saved[1].items()}
        if number == 6:  # back to what was after the second batch
            for one, of in ((model, optimizer), (other, same)):
                of.load_state_dict(saved[0])
                one.load_state_dict(saved[1])
    alike(model, other)
    assert len(step._traces) == 1


def test_gradients_are_clipped_and_added_up() -> None:
    model, optimizer, other, same = twins(mlp, RULES["momentum"])
    step = lucid.compile_step(other, LOSS, same, clip_grad=0.05, clip_norm=0.1, accumulate=3)

    def clip(parameters: Any) -> None:
        clip_grad_value_(parameters, 0.05)
        clip_grad_norm_(parameters, 0.1)

    given = batches(6)
    before = other.state_dict()["0.weight"].numpy().copy()
    for at in (0, 3):
        optimizer.zero_grad()
        for x, y in given[at : at + 3]:
            (LOSS(model(Tensor(x)), Tensor(y)) * (1 / 3)).backward()
            assert np.array_equal(other.state_dict()["0.weight"].numpy(), before)
            step(x, y)
        clip(list(model.parameters()))
        optimizer.step()
        before = other.state_dict()["0.weight"].numpy().copy()
    alike(model, other)
    count = len(step._traces)
    step.clip_norm = 0.01
    step(*given[0])
    assert len(step._traces) == count


def test_gradients_are_added_up_of_calls_that_differ_in_what_their_loss_depends_on() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.first = nn.Linear(8, 5), nn.Linear(8, 5), True

        def forward(self, x: Any) -> Any:
            return (self.a if self.first else self.b)(x)

    model, optimizer, other, same = twins(Branches, RULES["momentum"])
    step = lucid.compile_step(other, LOSS, same, accumulate=2, clip_norm=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, (x, y) in enumerate(batches(12)):
            model.first = other.first = number % 6 in (0, 2, 3)  # both, a alone, b alone
            model.a.weight.requires_grad = other.a.weight.requires_grad = number not in (7, 8)
            if number % 2 == 0:
                optimizer.zero_grad()
            loss = LOSS(model(Tensor(x)), Tensor(y))
            (loss * 0.5).backward()
            if number % 2:
                clip_grad_norm_(model.parameters(), 0.5)
                optimizer.step()
            assert float(step(x, y)) == pytest.approx(float(loss), abs=1e-6)
    alike(model, other)
    with pytest.raises(OptionError, match="several graphs"):
        step.save("step.lucid")
    step.accumulate = 0
    with pytest.raises(OptionError, match="accumulate must be positive"):
        step(x, y)


def test_it_goes_by_what_the_optimizer_holds_now() -> None:
    """Other parameters in its groups, groups in another order, other tensors in its state."""

    def rule(parameters: Any) -> optim.Optimizer:
        first, *rest = parameters
        return optim.SGD([{"params": [first]}, {"params": rest[:-1], "lr": 0.2}], lr=0.1, momentum=0.5)

    model, optimizer, other, same = twins(mlp, rule)
    step = lucid.compile_step(other, LOSS, same)
    for number, (x, y) in enumerate(batches(10)):
        for one, of in ((model, optimizer), (other, same)):
            if number == 2:
                of.state[one[0].weight]["momentum_buffer"] = Tensor(np.ones((16, 8), "f"))
            if number == 4:
                of.param_groups[0]["params"][0] = one[2].bias
            if number == 5:
                of.param_groups.reverse()
            if number == 7:
                of.param_groups.pop()
                assert len(of.state_dict()["state"]) < len(of.state)  # without what is in no group any more
        if number == 8:  # another optimizer, of other groups
            step.optimizer = same = optim.SGD(other.parameters(), lr=0.1, momentum=0.5)
            optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
        assert float(step(x, y)) == pytest.approx(eager(model, optimizer, x, y), abs=1e-6)
    alike(model, other)
    assert repr(step) == "<compiled step of Sequential: 5 traces>"
    same.state[other[0].bias]["momentum_buffer"] = Tensor(np.zeros(3))
    with pytest.raises(OptionError, match=r"'momentum_buffer' in the optimizer's state is float32\[16\], got float64"):
        step(x, y)


def test_groups_frozen_and_shared_parameters() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.out = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 5)
            self.b.weight = self.a.weight
            self.out.bias.requires_grad = False

        def forward(self, x: Any) -> Any:
            return self.out(F.relu(self.b(F.relu(self.a(x)))))

    def rule(parameters: Any) -> optim.Optimizer:
        first, *rest = parameters
        return optim.SGD([{"params": [first], "lr": 0.2}, {"params": rest, "momentum": 0.5}], lr=0.1)

    model, optimizer, other, same = twins(Tied, rule)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a frozen parameter is nothing to warn of
        step = lucid.compile_step(other, LOSS, same)
        for number, (x, y) in enumerate(batches(6)):
            if number == 3:
                for one in (model, other):
                    one.out.bias.requires_grad = True
                    one.a.bias.requires_grad = False
            assert float(step(x, y)) == pytest.approx(eager(model, optimizer, x, y), abs=1e-6)
    alike(model, other)
    assert {int(slots["step"]) for slots in same.state_dict()["state"].values()} == {3, 6}


def test_sizes_may_be_symbols_and_results_what_is_asked_for() -> None:
    model = mlp()
    step = lucid.compile_step(
        model, LOSS, RULES["sgd"](model.parameters()), lucid.spec("N", 8), lucid.spec("N", dtype="int64"), outputs=True,
        metrics={"right": lambda outputs, y: (outputs.argmax(1) == y).sum()},
    )  # fmt: skip
    x, y = batches(1)[0]
    for size in (6, 3, 1):
        wanted = model(Tensor(x[:size]))
        loss, outputs, metrics = step(x[:size], y[:size])
        assert float(loss) == pytest.approx(float(LOSS(wanted, Tensor(y[:size]))), abs=1e-6)
        np.testing.assert_allclose(outputs.numpy(), wanted.numpy(), atol=1e-6)
        assert int(metrics["right"]) == (wanted.numpy().argmax(1) == y[:size]).sum()
        assert not loss.requires_grad
    assert len(step._traces) == 1

    whole = lucid.compile_step(lambda x, y: LOSS(model(x), y), None, RULES["sgd"](model.parameters()))
    assert float(whole(x, y)) > 0


def test_parameters_that_lie_in_any_order() -> None:
    model, optimizer, other, same = twins(mlp, RULES["momentum"])
    weight = other[0].weight
    weight.data = Tensor.wrap(np.asfortranarray(weight.numpy()))
    step = lucid.compile_step(other, LOSS, same)
    for x, y in batches(3):
        eager(model, optimizer, x, y)
        step(x, y)
    alike(model, other)


def test_a_program_of_very_many_steps_updates_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps what it binds in globals of its own."""
    monkeypatch.setattr(printer, "CLOSURE_LIMIT", 3)
    model, optimizer, other, same = twins(mlp, RULES["momentum"])
    step = lucid.compile_step(other, LOSS, same, accumulate=2)
    for x, y in batches(2):
        optimizer.zero_grad()
        LOSS(model(Tensor(x)), Tensor(y)).backward()
        step(x, y)
        step(x, y)
        optimizer.step()
    assert "@apart" in step.source
    alike(model, other)


def test_workers_see_what_was_updated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parameter_copies, "THREADS_COPY", 1)

    def wide() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Flatten(),
            nn.Linear(32 * 256, 5),
        )  # fmt: skip

    model, optimizer, other, same = twins(wide, lambda p: optim.SGD(p, lr=1e-3, momentum=0.9))
    step = lucid.compile_step(other, LOSS, same, threads=2)
    for x, y in batches(4, (16, 3, 16, 16)):
        assert float(step(x, y)) == pytest.approx(eager(model, optimizer, x, y), rel=1e-4)
    alike(model, other, 1e-4)


def test_a_long_program_does_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Very long ones keep what they bind in globals."""
    x, y = np.ones((4, 8), np.float32), np.zeros(4, np.int64)
    found = []
    for limit in (printer.CLOSURE_LIMIT, 1):
        monkeypatch.setattr(printer, "CLOSURE_LIMIT", limit)
        lucid.manual_seed(0)
        model = mlp()
        step = lucid.compile_step(model, LOSS, RULES["adam"](model.parameters()))
        found.append([float(step(x, y)) for _ in range(3)])
    assert found[0] == found[1]


def test_threads_may_step_at_the_same_time() -> None:
    model = mlp()
    optimizer = RULES["adam"](model.parameters())
    step = lucid.compile_step(model, LOSS, optimizer)
    x, y = batches(1)[0]
    threads = [threading.Thread(target=lambda: [step(x, y) for _ in range(10)]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {int(slots["step"]) for slots in optimizer.state_dict()["state"].values()} == {30}


# ---------------------------------------------------------------- files


def test_a_step_is_saved_drawn_and_goes_on_without_its_class(tmp_path: Path) -> None:
    build, shape = NETS["residual"]
    lucid.manual_seed(0)
    model = build()
    step = lucid.compile_step(model, LOSS, RULES["adam"](model.parameters()))
    given = batches(4, shape)
    step(*given[0])
    step.save(tmp_path / "step.lucid")
    step.draw(tmp_path / "step.dot")
    assert "optimizer" in (tmp_path / "step.dot").read_text()
    assert len(step.graph.updates) == len(list(model.parameters())) * 4 + 3 * 2
    np.savez(tmp_path / "given.npz", *(array for pair in given[1:] for array in pair))
    code = (
        "import numpy as np, lucid, sys\n"
        "net, given = lucid.load(sys.argv[1]), list(np.load(sys.argv[2]).values())\n"
        "print(*(float(net(x, y)) for x, y in zip(given[::2], given[1::2])))\n"
        "net.save(sys.argv[1])\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "step.lucid"), str(tmp_path / "given.npz")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert list(map(float, ran.stdout.split())) == [float(step(x, y)) for x, y in given[1:]]
    whole = lucid.load(tmp_path / "step.lucid")
    with pytest.raises(OptionError, match=r"loaded from a file .* make the step of the module itself"):
        lucid.compile_step(whole, LOSS, RULES["sgd"](model.parameters()))
    loaded = whole.state_dict()
    for name, value in model.state_dict().items():
        assert np.array_equal(loaded[name].numpy(), value.numpy())


# ---------------------------------------------------------------- what does not fit


def test_a_loss_is_one_number() -> None:
    model = mlp()
    optimizer = RULES["sgd"](model.parameters())
    x, y = batches(1)[0]
    with pytest.raises(GradientError, match=r"one floating-point number, got float32\[6\]"):
        lucid.compile_step(model, nn.CrossEntropyLoss(reduction="none"), optimizer)(x, y)
    with pytest.raises(GradientError, match="got a int"):
        lucid.compile_step(model, lambda outputs, y: 3, optimizer)(x, y)
    with pytest.raises(GradientError, match="does not depend on any parameter"):
        lucid.compile_step(model, lambda outputs, y: (y * 1.0).mean(), optimizer)(x, y)
    with pytest.raises(OptionError, match="loss is a function"):
        lucid.compile_step(model, nn.CrossEntropyLoss, optimizer)
    with pytest.raises(OptionError, match="optimizer is one of"):
        lucid.compile_step(model, LOSS, 0.1)  # type: ignore[arg-type]


def test_labels_out_of_range_change_nothing() -> None:
    model = mlp()
    optimizer = RULES["adam"](model.parameters())
    step = lucid.compile_step(model, LOSS, optimizer)
    x, y = batches(1)[0]
    step(x, y)
    before = snapshot(model, optimizer)
    with pytest.raises(ExecutionError, match="gather_elements"):
        step(x, y + 5)
    assert all(np.array_equal(a, b) for a, b in zip(before, snapshot(model, optimizer), strict=True))
    step(x, y)


def test_an_anomaly_is_named_and_changes_nothing() -> None:
    model = nn.Sequential(nn.Linear(8, 5), nn.Dropout(0.5))
    optimizer = RULES["adam"](model.parameters())
    step = lucid.compile_step(
        model, lambda outputs, y: (outputs - outputs).abs().sqrt().mean() + LOSS(outputs, y), optimizer,
        detect_anomaly=True,
    )  # fmt: skip
    x, y = batches(1)[0]
    with pytest.raises(ExecutionError, match=r"nothing was updated: .* is the first to give NaN"):
        step(x, y)
    assert all(not slots["step"] for slots in optimizer.state_dict()["state"].values())
    x[0] = np.inf
    with pytest.raises(ExecutionError, match=r"the input 'x' holds an infinity"):
        step(x, y)
    quiet = lucid.compile_step(model, LOSS, optimizer)
    assert np.isnan(float(quiet(x, y)))


def test_parameters_without_gradient_are_named_once() -> None:
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare = nn.Linear(8, 5), nn.Linear(8, 5)

        def forward(self, x: Any) -> Any:
            return self.used(x)

    model = Unused()
    optimizer = RULES["adam"](model.parameters())
    step = lucid.compile_step(model, LOSS, optimizer)
    x, y = batches(1)[0]
    with pytest.warns(UserWarning, match=r"does not depend on spare\.weight, spare\.bias: no gradient"):
        step(x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(x[:3], y[:3])
    assert sorted(optimizer.state_dict()["state"]) == [0, 1]


def test_an_optimizer_of_another_model_is_refused_and_one_with_a_step_of_its_own() -> None:
    class Own(optim.SGD):
        def step(self, closure: Any = None) -> None:
            """Something else."""

    with pytest.raises(OptionError, match=r"Own has a step\(\) of its own.*say what is new in its update\(\)"):
        lucid.compile_step(mlp(), LOSS, Own(mlp().parameters()))
    x, y = batches(1)[0]
    step = lucid.compile_step(mlp(), LOSS, RULES["sgd"](mlp().parameters()))
    with pytest.raises(OptionError, match=r"4 of the optimizer's parameters are not the model's"):
        step(x, y)


def test_a_step_is_no_part_of_a_trace_and_not_copied() -> None:
    model = mlp()
    step = lucid.compile_step(model, LOSS, RULES["sgd"](model.parameters()))
    x, y = batches(1)[0]
    with pytest.raises(TraceError, match="cannot be part"):
        lucid.compile(lambda x, y: step(x, y))(x, y)
    with pytest.raises(OptionError, match="neither copied"):
        copy.deepcopy(step)
    with pytest.raises(OptionError, match=r"compile_step: 'clipnorm' is no option \(clip_grad, clip_norm, "):
        lucid.compile_step(model, LOSS, step.optimizer, clipnorm=1.0)
    for wrong in ({"accumulate": 0}, {"clip_norm": -1.0}, {"clip_grad": "a"}, {"metrics": [1]}, {"outputs": 1}):
        with pytest.raises(OptionError):
            lucid.compile_step(model, LOSS, step.optimizer, **wrong)


def test_to_look_at_a_step_is_not_to_train() -> None:
    model = mlp()
    optimizer = RULES["adam"](model.parameters())
    step = lucid.compile_step(model, LOSS, optimizer, verify=True)
    x, y = batches(1)[0]
    step(x, y)
    before = snapshot(model, optimizer)
    step.profile(x, y, repeat=2)
    step.values(x, y)
    assert "MatMul" in step.explain()
    assert "with whole:" in step.source
    assert all(np.array_equal(a, b) for a, b in zip(before, snapshot(model, optimizer), strict=True))
