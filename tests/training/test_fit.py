"""``lucid.fit``: the same steps as a loop of one's own, what it refuses, and how it ends."""

from __future__ import annotations

import io
import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn, optim
from lucid.compiler.step import CompiledStep
from lucid.data import DataLoader
from lucid.errors import ExecutionError, FileError, LucidError, OptionError
from lucid.nn import functional as F
from lucid.optim import lr_scheduler as schedules
from lucid.optim.swa_utils import AveragedModel
from lucid.training import (
    Accuracy,
    Callback,
    EarlyStopping,
    History,
    LRScheduler,
    ModelCheckpoint,
    Run,
    evaluate,
)
from lucid.training.progress import Bars, Lines, display

from .nets import fitted, perceptron, points, state


def test_it_is_the_loop_that_one_would_write() -> None:
    def made() -> tuple[Any, Any]:
        model = perceptron()
        return model, optim.SGD(model.parameters(), 0.1, momentum=0.9)

    model, optimizer = made()
    step = lucid.compile_step(model, nn.CrossEntropyLoss(), optimizer, clip_norm=0.5)
    loader = DataLoader(points(), 20, shuffle=True)
    losses = [sum(float(step(x, y)) * len(y) for x, y in loader) / 60 for _ in range(2)]
    for wrap, compiled in ((lambda m: m, True), (lucid.compile, True), (lambda m: m, False)):
        other, optimizer = made()
        _, history = fitted(
            wrap(other), optimizer=optimizer, compiled=compiled, metrics=[Accuracy()] * (not compiled), clip_norm=0.5,
            data=DataLoader(points(), 20, shuffle=True),
        )  # fmt: skip
        np.testing.assert_allclose(history["loss"], losses, rtol=0 if compiled else 1e-5)
        for name, value in other.state_dict().items():
            np.testing.assert_allclose(value.numpy(), model.state_dict()[name].numpy(), rtol=0 if compiled else 1e-4)


def test_an_update_may_be_of_several_batches() -> None:
    data = list(DataLoader(points(), 20))

    def made() -> tuple[Any, Any]:
        model = perceptron().eval()
        return model, optim.SGD(model.parameters(), 0.1, momentum=0.9)

    model, optimizer = made()
    model.train()
    step = lucid.compile_step(model, nn.CrossEntropyLoss(), optimizer, clip_norm=0.5, accumulate=2)
    losses = [sum(float(step(x, y)) for x, y in data) / 3 for _ in range(2)]
    for compiled in (True, False):
        other, optimizer = made()
        _, history = fitted(other, data=data, optimizer=optimizer, compiled=compiled, clip_norm=0.5, accumulate=2)
        np.testing.assert_allclose(history["loss"], losses, rtol=1e-5)
        for name, value in other.state_dict().items():
            np.testing.assert_allclose(value.numpy(), model.state_dict()[name].numpy(), rtol=1e-4, atol=1e-6)


def test_an_average_follows_the_weights_and_is_resumed(tmp_path: Path) -> None:
    data, loss = list(DataLoader(points(), 20)), nn.CrossEntropyLoss()

    def made() -> tuple[Any, Any, AveragedModel]:
        model = perceptron()
        return model, optim.SGD(model.parameters(), 0.1), AveragedModel(model)

    model, optimizer, average = made()
    step = lucid.compile_step(model, loss, optimizer, average=average, accumulate=2)
    for x, y in data * 2:
        step(x, y)
    assert int(average.n_averaged) == 3
    for compiled in (True, False):
        for epochs, resume in ((1, None), (2, tmp_path / "last.lucid")):
            other, optimizer, same = made()
            fitted(
                other, data=data, optimizer=optimizer, average=same, accumulate=2, compiled=compiled, epochs=epochs,
                callbacks=[ModelCheckpoint(tmp_path / "last.lucid")], resume=resume,
            )  # fmt: skip
        for name, value in same.state_dict().items():
            np.testing.assert_allclose(value.numpy(), average.state_dict()[name].numpy(), rtol=1e-4, atol=1e-6)
    with pytest.raises(FileError, match="saved with average="):
        fitted(other, data=data, optimizer=optimizer, accumulate=2, resume=tmp_path / "last.lucid")


def test_a_smaller_batch_at_the_end_of_an_epoch_is_compiled_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    make = CompiledStep._made
    monkeypatch.setattr(CompiledStep, "_made", lambda *args: made.append(args) or make(*args))
    found = []
    for compiled in (True, False):
        lucid.manual_seed(0)
        _, history = fitted(nn.Linear(4, 3), compiled=compiled, epochs=4, data=DataLoader(points(), 16))
        found.append(history["loss"])
    assert len(made) == 2
    np.testing.assert_allclose(*found, rtol=1e-5)


@pytest.mark.parametrize("compiled", [True, False])
def test_what_is_not_finite_ends_it(compiled: bool) -> None:
    model = nn.Linear(4, 1)
    before = state(model)
    with pytest.raises(ExecutionError, match="not finite, and nothing was updated"):
        fitted(model, loss=lambda o, t: (o - o).sqrt().sum(), detect_anomaly=True, compiled=compiled)
    assert state(model) == before
    _, history = fitted(model, loss=lambda o, t: (o / 0).sum(), epochs=1, optimizer=optim.SGD(model.parameters(), 0.0))
    assert not math.isfinite(history["loss"][0])


def test_what_the_history_has() -> None:
    validation = DataLoader(points(31, 1), 7)
    model, history = fitted(metrics=[Accuracy(), lambda o, t: o.mean()], validation=validation, epochs=3)
    names = ["loss", "accuracy", "<lambda>"]
    assert list(history) == [*names, *(f"val_{name}" for name in names)] and history.epochs == 3
    after = evaluate(model, validation, loss=nn.CrossEntropyLoss(), metrics=[Accuracy()])
    assert after["accuracy"] == history["val_accuracy"][-1] == history.last["val_accuracy"]
    assert after["loss"] == pytest.approx(history["val_loss"][-1], rel=1e-6)
    assert str(history).splitlines()[0].split() == ["epoch", *history] and len(str(history).splitlines()) == 4
    assert "3 epochs" in repr(history) and "<th" in history._repr_html_() and model.training


def test_modes_are_as_they_were() -> None:
    model = perceptron()
    model[1].eval()  # type: ignore[union-attr]  # its statistics are to stay
    before = model[1].running_mean.tolist()  # type: ignore[union-attr]
    seen: list[bool] = []
    model.register_forward_hook(lambda module, args, output: seen.append(module.training))
    fitted(model, validation=[next(iter(DataLoader(points(), 60)))], epochs=1)
    assert model.training and not model[1].training and seen == [True] * 4 + [False]  # type: ignore[union-attr]
    assert model[1].running_mean.tolist() == before  # type: ignore[union-attr]
    model.eval()
    fitted(model, epochs=1)
    assert not model.training and model[1].running_mean.tolist() != before  # type: ignore[union-attr]


def test_a_batch_of_no_samples_counts_for_nothing() -> None:
    x, y = points().tensors
    model = nn.Linear(4, 3)
    still = optim.SGD(model.parameters(), 0.0)
    _, history = fitted(model, data=[(x, y), (x[:0], y[:0])], optimizer=still, epochs=1)
    assert history["loss"][0] == pytest.approx(float(F.cross_entropy(model(x), y)), rel=1e-5)


def test_several_inputs_lists_and_arrays() -> None:
    model = nn.Bilinear(2, 3, 1)
    batch = (np.ones((4, 2), np.float32), np.ones((4, 3), np.float32), np.zeros((4, 1), np.float32))
    _, history = fitted(
        model, data=[batch, batch], loss=F.mse_loss, optimizer=optim.SGD(model.parameters(), 0.05), epochs=5
    )
    assert history["loss"][-1] < history["loss"][0]


class Notes(Callback):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_fit_begin(self, run: Run) -> None:
        self.seen.append("begin")

    def on_epoch_begin(self, run: Run) -> None:
        self.seen.append(("epoch", run.epoch, run.batch))

    def on_batch_end(self, run: Run) -> None:
        self.seen.append((run.step, math.isfinite(run.loss)))

    def on_epoch_end(self, run: Run) -> None:
        self.seen.append(("ended", run.epoch, run.history.epochs, sorted(run.logs)))
        if run.epoch == 2:
            run.stop("enough")

    def on_fit_end(self, run: Run) -> None:
        self.seen.append("end")


def test_callbacks_are_asked_in_order() -> None:
    notes = Notes()
    _, history = fitted(callbacks=[notes], data=DataLoader(points(), 30), epochs=9)
    assert notes.seen == [
        "begin", ("epoch", 0, 0), (1, True), (2, True), ("ended", 1, 1, ["loss"]),
        ("epoch", 1, 0), (3, True), (4, True), ("ended", 2, 2, ["loss"]), "end",
    ]  # fmt: skip
    assert history.epochs == 2 and fitted(epochs=0)[1].epochs == 0


# ---------------------------------------------------------------- callbacks


class Losses(Callback):
    """Puts numbers in place of those of validation."""

    def __init__(self, *numbers: float) -> None:
        self.numbers = list(numbers)
        self.states: list[Any] = []

    def on_epoch_end(self, run: Run) -> None:
        run.logs["val_loss"] = self.numbers[run.epoch - 1]
        self.states.append(state(run.model))


@pytest.mark.parametrize("restore", [True, False])
def test_it_stops_early_with_the_best_weights(restore: bool) -> None:
    losses, stopping = Losses(3.0, 1.0, math.nan, 1.5, 1.0, 0.0), EarlyStopping(patience=3, restore_best=restore)
    model, history = fitted(validation=DataLoader(points(), 60), callbacks=[losses, stopping], epochs=6)
    assert history.epochs == 5 and stopping.best == 1.0 and stopping.best_epoch == 2
    assert state(model) == losses.states[1 if restore else 4]


def test_what_is_best() -> None:
    for monitor, mode, delta, epochs in ((None, None, 0.0, 4), ("val_loss", "max", 0.0, 3), (None, None, 2.5, 3)):
        losses = Losses(3.0, 2.0, 2.5, 2.75)
        stopping = EarlyStopping(monitor, 2, mode, delta)
        _, history = fitted(validation=DataLoader(points(), 60), callbacks=[losses, stopping], epochs=4)
        assert history.epochs == epochs, (monitor, mode, delta)
    stopping = EarlyStopping("accuracy", patience=50)
    _, history = fitted(metrics=[Accuracy()], callbacks=[stopping], epochs=3)
    assert stopping.best == max(history["accuracy"])


def test_schedules_are_stepped() -> None:
    def rates(scheduler: Callable[[Any], Any], **options: Any) -> list[float]:
        class Rates(Callback):
            def on_batch_end(self, run: Run) -> None:
                seen.append(run.optimizer.param_groups[0]["lr"])

        seen: list[float] = []
        model = perceptron()
        optimizer = optim.SGD(model.parameters(), 1.0)
        every = options.pop("every", None)
        found = scheduler(optimizer)
        how = {"scheduler": found} if every is None else {"callbacks": [LRScheduler(found, every), Rates()]}
        fitted(
            model,
            **{"callbacks": [Rates()], **how, "optimizer": optimizer, "data": DataLoader(points(), 30), **options},
        )
        return seen

    assert rates(lambda o: schedules.StepLR(o, 1, 0.5), epochs=3) == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    assert rates(lambda o: schedules.StepLR(o, 1, 0.5), every="step") == [0.5, 0.25, 0.125, 0.0625]
    plateau = rates(lambda o: schedules.ReduceLROnPlateau(o, patience=0, threshold=1e9, threshold_mode="abs"), epochs=3)
    assert plateau == pytest.approx([1.0, 1.0, 1.0, 1.0, 0.1, 0.1])


# ---------------------------------------------------------------- what it shows


def test_lines_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    fitted(progress=True, metrics=[Accuracy()], epochs=12, callbacks=[Notes()])
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == "" and len(lines) == 3 and lines[0].startswith("epoch  1/12  loss ") and lines[0].endswith(" s")
    assert "accuracy 0." in lines[1] and lines[2] == "stopped: enough"
    fitted()
    assert capsys.readouterr() == ("", "")


def test_training_goes_on_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pipe:
        """Whose reader has gone; it does not even say whether it is a terminal."""

        def write(self, text: str) -> None:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stderr", Pipe())
    assert fitted(progress=True)[1].epochs == 2


def test_bars_where_there_is_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    assert isinstance(display(True, stream), Bars) and type(display(True, io.StringIO())) is Lines
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr("lucid.training.progress._REFRESH", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    fitted(progress=True, metrics={"[/odd]": Accuracy()})
    assert "epoch 1/2" in stream.getvalue() and "4/4" in stream.getvalue() and "[/odd] 0." in stream.getvalue()


# ---------------------------------------------------------------- what it refuses, and how it ends


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"data": 3}, "gives batches"), ({"data": iter([])}, "iterator"), ({"data": []}, "no batch"),
        ({"epochs": -1}, "epochs"),
        ({"average": 3}, "average is a .*AveragedModel"), ({"average": perceptron()}, "average is a"),
        ({"accumulate": 0}, "accumulate"), ({"accumulate": 1.5}, "accumulate"),
        ({"epochs": True}, "epochs"), ({"data": [3]}, "tuple or list"), ({"data": [{"x": 1}]}, "collate_fn"),
        ({"loss": nn.CrossEntropyLoss}, r"write CrossEntropyLoss\(\)"), ({"loss": 3}, "loss is a function"),
        ({"loss": lambda o, t: o}, "gives one number"), ({"loss": lambda o, t: 3.0}, "gives one number"),
        ({"optimizer": optim.Adam}, "optimizer is"), ({"validation": 3}, "validation"),
        ({"callbacks": [3]}, "Callback"),
        ({"callbacks": Callback()}, "callbacks is a list"), ({"metrics": "accuracy"}, "metrics"),
        ({"scheduler": 3}, "LRScheduler"),
        ({"callbacks": [EarlyStopping("val_loss")]}, "there are loss"), ({"callbacks": [EarlyStopping("mean")],
          "metrics": {"mean": lambda o, t: o.mean()}}, 'mode="max"'), ({"progress": 1}, "progress"),
        ({"compiled": None}, "compiled"),
        ({"callbacks": [LRScheduler(schedules.StepLR(optim.SGD([nn.Parameter([1.0])]), 1))]}, "another optimizer"),
        ({"metrics": [lambda o, t: o]}, "number"), ({"validation": []}, "no batch in the validation data in epoch 1"),
        ({"callbacks": [ModelCheckpoint("no/such/x")]}, "there is no folder no/such; make it first"),
    ],
)  # fmt: skip
def test_what_it_refuses(options: Any, words: str) -> None:
    with pytest.raises(LucidError, match=words):
        fitted(**options)


def test_what_callbacks_refuse() -> None:
    plateau = schedules.ReduceLROnPlateau(optim.SGD([nn.Parameter([1.0])]))
    for wrong in (
        lambda: EarlyStopping(patience=0), lambda: EarlyStopping(mode="best"), lambda: EarlyStopping(3),
        lambda: EarlyStopping(min_delta=-1), lambda: ModelCheckpoint(3), lambda: ModelCheckpoint("x", every=0),
        lambda: ModelCheckpoint("x", monitor="loss"), lambda: fitted(resume=3),
        lambda: ModelCheckpoint("x", best_only=True).load_state_dict({"best": 1.0, "more": 1}),
        lambda: ModelCheckpoint("x", every=1, best_only=True), lambda: LRScheduler(3),
        lambda: LRScheduler(plateau, "step"),
        lambda: LRScheduler(schedules.StepLR(plateau.optimizer, 1), monitor="loss"),
        lambda: Callback().load_state_dict({"a": 1}),
        lambda: History().load_state_dict({"loss": [1]}), lambda: History().load_state_dict({"loss": [1.0], "x": []}),
    ):  # fmt: skip
        with pytest.raises(LucidError):
            wrong()  # type: ignore[no-untyped-call]


def test_data_that_end_are_noticed() -> None:
    class Once:
        def __init__(self) -> None:
            self.batches = list(DataLoader(points(), 60))

        def __iter__(self) -> Any:
            self.batches, given = [], self.batches
            return iter(given)

    with pytest.raises(OptionError, match="no batch in the data in epoch 2"):
        fitted(data=Once())


class Interrupts(Callback):
    """Presses Ctrl-C in the middle of an update."""

    def __init__(self, times: int = 1) -> None:
        self.times, self.seen = times, list[Any]()

    def on_fit_begin(self, run: Run) -> None:
        update, optimizer = run.optimizer.update, run.optimizer
        left = [0]

        def interrupted(*args: Any) -> Any:
            left[0] += 1
            if left[0] == 9:  # in the second step, of the third parameter
                for _ in range(self.times):
                    signal.raise_signal(signal.SIGINT)
            return update(*args)

        optimizer.update = interrupted  # type: ignore[method-assign]

    def on_batch_end(self, run: Run) -> None:
        self.seen.append(state(run.model))


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_leaves_a_whole_model() -> None:
    handler = signal.getsignal(signal.SIGINT)
    model, interrupts = perceptron(), Interrupts()
    with pytest.raises(KeyboardInterrupt):
        fitted(model, callbacks=[interrupts])
    after = state(model)
    assert len(interrupts.seen) == 1 and signal.getsignal(signal.SIGINT) is handler and model.training
    usual = perceptron()

    class Until(Callback):
        def on_batch_end(self, run: Run) -> None:
            seen.append(state(run.model))

    seen: list[Any] = []
    fitted(usual, callbacks=[Until()])
    assert interrupts.seen[0] == seen[0] and after == seen[1]  # the step that ran was ended
    with pytest.raises(KeyboardInterrupt):
        fitted(callbacks=[Interrupts(2)])
    assert signal.getsignal(signal.SIGINT) is handler


def test_an_error_in_a_step_is_not_lost() -> None:
    def loss(output: Any, target: Any) -> Any:
        raise ZeroDivisionError("of the loss")

    with pytest.raises(ZeroDivisionError, match="of the loss"):
        fitted(loss=loss)
