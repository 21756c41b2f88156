"""Checkpoints: all that training depends on comes back, or nothing does and one error says why."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import lucid
from lucid import nn, optim
from lucid.data import DataLoader
from lucid.errors import FileError, LucidError
from lucid.optim import lr_scheduler as schedules
from lucid.training import Accuracy, Callback, EarlyStopping, LRScheduler, ModelCheckpoint, Run
from tests.soak.files import put, take

from .nets import fitted, perceptron, points, state


class Parts:
    """A model with all that trains it."""

    def __init__(
        self,
        optimizer: Callable[[Any], Any] = lambda ps: optim.Adam(ps, 0.01, amsgrad=True),
        scheduler: Callable[[Any], Any] = lambda o: schedules.StepLR(o, 2),
        seed: int = 0,
    ) -> None:
        self.model = perceptron(seed)
        self.optimizer = optimizer(self.model.parameters())
        self.scheduler = scheduler(self.optimizer)
        self.loader = DataLoader(points(), 16, shuffle=True)

    def named(self) -> dict[str, Any]:
        return {"model": self.model, "optimizer": self.optimizer, "scheduler": self.scheduler, "loader": self.loader}

    def step(self, batch: Any) -> None:
        self.optimizer.zero_grad()
        nn.CrossEntropyLoss()(self.model(batch[0]), batch[1]).backward()
        self.optimizer.step()

    def states(self) -> Any:
        found: Any = copy.deepcopy([part.state_dict() for part in self.named().values()])
        return repr([{k: v.tolist() for k, v in found[0].items()}, *found[1:], lucid.get_rng_state()])


OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "SGD": lambda ps: optim.SGD(ps, 0.1, momentum=0.9, nesterov=True), "AdamW": lambda ps: optim.AdamW(ps, 0.01),
    "NAdam": lambda ps: optim.NAdam(ps), "RMSprop": lambda ps: optim.RMSprop(ps, centered=True, momentum=0.5),
    "Adagrad": lambda ps: optim.Adagrad(ps), "ASGD": lambda ps: optim.ASGD(ps, t0=2), "Rprop": optim.Rprop,
    "Adafactor": optim.Adafactor, "RAdam": lambda ps: optim.RAdam(ps, betas=(0.5, 0.8)),
    "groups": lambda ps: optim.SGD([{"params": [p], "lr": 0.1 * (i + 1)} for i, p in enumerate(ps)], 1, momentum=0.5),
}  # fmt: skip
SCHEDULERS: dict[str, Callable[[Any], Any]] = {
    "lambda": lambda o: schedules.LambdaLR(o, lambda e: 0.9**e),
    "milestones": lambda o: schedules.MultiStepLR(o, [1, 3]),
    "cosine": lambda o: schedules.CosineAnnealingWarmRestarts(o, 2, 2),
    "cycle": lambda o: schedules.OneCycleLR(o, 0.1, 20),
    "cyclic": lambda o: schedules.CyclicLR(o, 0.01, 0.1, 3), "sequence": lambda o: schedules.SequentialLR(
        o, [schedules.ConstantLR(o, 0.5, 2), schedules.ExponentialLR(o, 0.5)], [2]),
    "chain": lambda o: schedules.ChainedScheduler([schedules.LinearLR(o), schedules.PolynomialLR(o)]),
    "swa": lambda o: optim.swa_utils.SWALR(o, 0.05, 3),
}  # fmt: skip


@pytest.mark.parametrize(
    ("optimizer", "scheduler"),
    [(o, "milestones") for o in OPTIMIZERS] + [("SGD", s) for s in SCHEDULERS],
)
def test_training_goes_on_as_if_it_had_never_stopped(optimizer: str, scheduler: str, tmp_path: Path) -> None:
    first = Parts(OPTIMIZERS[optimizer], SCHEDULERS[scheduler])
    batches = iter(first.loader)
    for _ in range(2):
        first.step(next(batches))
        first.scheduler.step()
    lucid.save_checkpoint(tmp_path / "x", **first.named(), step=2, extra={"note": ["a", (1, np.arange(2))]})
    second = Parts(OPTIMIZERS[optimizer], SCHEDULERS[scheduler], seed=5)
    found = lucid.load_checkpoint(tmp_path / "x", **second.named())
    assert found.step == 2 and repr(found.extra) == repr({"note": ["a", (1, np.arange(2))]})
    assert second.states() == first.states()
    ends = []
    for parts, others in ((second, iter(second.loader)), (first, batches)):
        lucid.load_checkpoint(tmp_path / "x")  # the random numbers alone
        for batch in others:
            parts.step(batch)
            parts.scheduler.step()
        ends.append(parts.states())
    assert ends[0] == ends[1]


def test_what_is_in_the_file(tmp_path: Path) -> None:
    path, parts = tmp_path / "x.safetensors", Parts()
    for batch in parts.loader:
        parts.step(batch)
    lucid.save_checkpoint(path, model=parts.model, optimizer=parts.optimizer)
    found = safetensors.numpy.load_file(path)
    np.testing.assert_array_equal(found["model/0.weight"], parts.model[0].weight.numpy())  # type: ignore[union-attr]
    assert {"model/1.running_mean", "optimizer/state/0/exp_avg", "optimizer/state/0/step"} <= set(found)
    before = lucid.get_rng_state()
    lucid.rand(1)
    there = lucid.get_rng_state().item()
    other = perceptron(3)
    lucid.set_rng_state(before)
    lucid.rand(1)
    assert (
        lucid.load_checkpoint(path, model=other, random=False).extra is None and lucid.get_rng_state().item() == there
    )
    assert state(other) == state(parts.model)
    raw = path.read_bytes()
    lucid.load_checkpoint(path)
    lucid.save_checkpoint(path, model=parts.model, optimizer=parts.optimizer)
    assert path.read_bytes() == raw  # the same bytes each time


class Own:
    """Something of the user's with a state."""

    def __init__(self) -> None:
        self.state: Any = {"a": 1}

    def state_dict(self) -> Any:
        return self.state

    def load_state_dict(self, state_dict: Any) -> None:
        self.state = state_dict


def test_other_objects_go_too(tmp_path: Path) -> None:
    own = Own()
    lucid.save_checkpoint(tmp_path / "x", loader=own)
    own.state = {}
    lucid.load_checkpoint(tmp_path / "x", loader=own)
    assert own.state == {"a": 1}
    own.state = {"a": object()}
    before = (tmp_path / "x").read_bytes()
    with pytest.raises(FileError, match=r"save_checkpoint: .*loader/a is <object"):
        lucid.save_checkpoint(tmp_path / "x", loader=own)
    assert (tmp_path / "x").read_bytes() == before and os.listdir(tmp_path) == ["x"]


# ---------------------------------------------------------------- what does not fit


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"model": nn.Linear(4, 3)}, r"lacks .*'weight'"), ({"model": nn.Linear(4, 3).double()}, "lacks"),
        ({"scheduler": Parts().optimizer}, "of 'StepLR', here is 'Adam': make it"),
        ({"optimizer": optim.Adam(nn.Linear(4, 3).parameters())}, "other groups"),
        ({"optimizer": optim.SGD(perceptron().parameters())}, "of 'Adam', here is 'SGD': make it"),
        ({"optimizer": optim.AdamW(perceptron().parameters())}, "of 'Adam', here is 'AdamW'"),
        ({"model": perceptron().double()}, r"0\.weight is float64.* the file has float32"),
        ({"scheduler": schedules.StepLR(Parts().optimizer, 3)}, "step_size is 3 here and 2 in the file"),
        ({"scheduler": schedules.ExponentialLR(Parts().optimizer, 0.5)}, "of 'StepLR', here is 'ExponentialLR'"),
        ({"loader": DataLoader([1], generator=lucid.Generator())}, "without a generator|with a generator"),
    ],
)  # fmt: skip
def test_what_does_not_fit_changes_nothing(other: dict[str, Any], words: str, tmp_path: Path) -> None:
    parts = Parts()
    parts.step(next(iter(parts.loader)))
    lucid.save_checkpoint(tmp_path / "x", **parts.named())
    fresh = Parts(seed=9)
    before = fresh.states()
    with pytest.raises(FileError, match=f"x: cannot be loaded: .*{words}"):
        lucid.load_checkpoint(tmp_path / "x", **{**fresh.named(), **other})
    assert fresh.states() == before


def test_a_step_of_another_thread_waits(tmp_path: Path) -> None:
    parts, path = Parts(), tmp_path / "x"
    step = lucid.compile_step(parts.model, nn.CrossEntropyLoss(), parts.optimizer, threads=1)
    x, y = next(iter(parts.loader))
    step(x, y)
    threads: list[Thread] = []
    before = state(parts.model)

    class Beside:
        def state_dict(self) -> dict[str, int]:
            threads.append(Thread(target=lambda: step(x, y)))
            threads[0].start()
            threads[0].join(0.1)
            return {}

        def load_state_dict(self, given: object) -> None:
            pass

    lucid.save_checkpoint(path, model=parts.model, scheduler=Beside())
    threads[0].join()
    assert state(parts.model) != before
    lucid.load_checkpoint(path, model=parts.model)
    assert state(parts.model) == before


def test_what_is_asked_for_is_there(tmp_path: Path) -> None:
    lucid.save_checkpoint(tmp_path / "x", model=nn.Linear(1, 1))
    with pytest.raises(FileError, match="holds no optimizer, but model"):
        lucid.load_checkpoint(tmp_path / "x", optimizer=Parts().optimizer)
    with pytest.raises(FileError, match="not a compiled model"):
        lucid.load(tmp_path / "x")
    lucid.compile(nn.Linear(1, 1), lucid.spec(1, 1)).save(tmp_path / "net.lucid")
    with pytest.raises(FileError, match=r"is no checkpoint: it is a compiled model, which lucid\.load"):
        lucid.load_checkpoint(tmp_path / "net.lucid")
    for wrong in (
        lambda: lucid.save_checkpoint(tmp_path / "x", model=3), lambda: lucid.save_checkpoint(tmp_path / "x", step=-1),
        lambda: lucid.save_checkpoint(3), lambda: lucid.load_checkpoint(tmp_path / "no"),
        lambda: lucid.load_checkpoint(tmp_path),
        lambda: lucid.load_checkpoint(tmp_path / "x", random=1), lambda: lucid.save_checkpoint(tmp_path / "no" / "x"),
    ):  # fmt: skip
        with pytest.raises(LucidError):
            wrong()  # type: ignore[no-untyped-call]


NUMBERS = [-1, 1 << 64, 1.5, True, None, "0", {"float": "nan"}, 10**300]
FINE = {"last_epoch": [-1], "lr": [1 << 64, 1.5, 10**300]}


@pytest.mark.parametrize(
    "what", ["step", "random", "taken", "key", "last_epoch", "lr", "betas", "steps", "checkpoint", "params"]
)
def test_files_that_lie(what: str, tmp_path: Path) -> None:
    """Their checksums are right; ``make soak`` has many more."""
    path, parts = tmp_path / "x", Parts()
    parts.step(next(iter(parts.loader)))
    lucid.save_checkpoint(path, **parts.named())
    header, data = take(path.read_bytes())
    top = header["__metadata__"]["extra"]["checkpoint"]["dict"]
    found = {name: value["dict"] if isinstance(value, dict) else value for name, value in top}
    optimizer, loader = dict(found["optimizer"]), dict(found["loader"])
    group, slots = optimizer["param_groups"][0]["dict"], dict(optimizer["state"]["numbered"])[0]["dict"]
    owners = {"key": loader["epoch"]["dict"], "last_epoch": found["scheduler"], "steps": slots}
    owners |= {"taken": owners["key"], **dict.fromkeys(("lr", "betas", "params"), group)}
    entry = next(one for one in owners.get(what, top) if one[0] == ("step" if what == "steps" else what))
    fresh = Parts(seed=9)
    before = fresh.states()
    for value in NUMBERS:
        entry[1] = value
        path.write_bytes(put(header, data))
        if repr(value) not in map(repr, FINE.get(what, [])):
            with pytest.raises(FileError):
                lucid.load_checkpoint(path, **fresh.named())
            assert fresh.states() == before, value


# ---------------------------------------------------------------- in a run


class KilledError(Exception):
    pass


class Dies(Callback):
    """Ends a run as an error would, after so many steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_batch_end(self, run: Run) -> None:
        if run.step == self.steps:
            raise KilledError

    def state_dict(self) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize(
    ("every", "listed", "options"),
    [
        (1, False, {}), (3, True, {}), (None, False, {}), (1, False, {"accumulate": 3}),
    ],
)  # fmt: skip
def test_a_run_goes_on(every: int | None, listed: bool, options: dict[str, Any], tmp_path: Path) -> None:
    path, batches = tmp_path / "x", list(DataLoader(points(), 16))

    def run(dies: int, resume: Path | None) -> tuple[Any, Any]:
        model = perceptron()
        optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9)
        return fitted(
            model, optimizer=optimizer, epochs=4, validation=DataLoader(points(20, 1), 20), metrics=[Accuracy()],
            callbacks=[
                ModelCheckpoint(path, every=every), EarlyStopping(patience=2), Dies(dies),
                LRScheduler(schedules.StepLR(optimizer, 3), "step"),
            ], scheduler=schedules.ExponentialLR(optimizer, 0.9), resume=resume,
            **({"data": batches} if listed else {}), **options,
        )  # fmt: skip

    wanted = run(0, None)
    path.unlink()
    for dies in (4, 5, 7, 11, 0):
        try:
            model, history = run(dies, path)
        except KilledError:
            continue
        assert state(model) == state(wanted[0]) and dict(history) == dict(wanted[1])
    again, history = run(0, path)  # there is nothing left to do
    assert state(again) == state(wanted[0]) and dict(history) == dict(wanted[1])


def added_up(share: int = 3) -> tuple[Any, Any, Any]:
    model = perceptron()
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9)
    return model, optimizer, lucid.compile_step(model, nn.CrossEntropyLoss(), optimizer, accumulate=share)


def test_what_has_been_added_up_goes_on(tmp_path: Path) -> None:
    batches = list(DataLoader(points(), 20)) * 3
    first, other = added_up(), added_up()
    lucid.manual_seed(0)
    losses = []
    for number, batch in enumerate(batches):
        model, optimizer, step = first
        path = tmp_path / f"{number}"
        lucid.save_checkpoint(path, model=model, optimizer=optimizer, accumulated=step.accumulated)
        losses.append(float(step(*batch)))
    wanted = state(first[0])
    for stop, (model, optimizer, step) in ((1, first), (5, first), (2, other), (7, other)):
        lucid.load_checkpoint(tmp_path / f"{stop}", model=model, optimizer=optimizer, accumulated=step.accumulated)
        assert [float(step(*batch)) for batch in batches[stop:]] == losses[stop:]
        assert state(model) == wanted


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"accumulate": 4}, "accumulate=4, here it is 3"), ({"calls": 3}, "calls"), ({"calls": -1}, "calls"),
        ({"calls": True}, "calls"), ({"calls": 0}, "take none"), ({"gradients": {9: np.zeros(3)}}, "take none"),
        ({"gradients": {0: 1.0}}, "parameter 0 is"), ({"gradients": {0: np.zeros((8, 4))}}, "parameter 0 is"),
        ({"gradients": 3}, "gradients"), ({"more": 1}, "a state from state_dict"),
    ],
)  # fmt: skip
def test_sums_that_are_none_of_the_step_s(change: dict[str, Any], words: str) -> None:
    _, _, step = added_up()
    step(*next(iter(DataLoader(points(), 20))))
    before: Any = step.accumulated.state_dict()
    with pytest.raises(LucidError, match=words):
        step.accumulated.load_state_dict({**before, **change})
    assert repr(step.accumulated.state_dict()) == repr(before)


def test_a_run_of_others_is_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "x"
    fitted(callbacks=[ModelCheckpoint(path)], metrics=[Accuracy()])
    for options, words in (
        ({}, "has the metrics loss, accuracy, here are loss"),
        ({"metrics": [Accuracy()]}, "has the callbacks ModelCheckpoint"),
        ({"metrics": [Accuracy()], "callbacks": [ModelCheckpoint(path)], "data": [*DataLoader(points())]}, "loader"),
        ({"metrics": [Accuracy()], "callbacks": [EarlyStopping()]}, "callbacks"),
        ({"metrics": [Accuracy()], "callbacks": [ModelCheckpoint(path)], "validation": [*DataLoader(points())]},
         "a history of 2 of loss, accuracy"),
    ):  # fmt: skip
        with pytest.raises(FileError, match=f"cannot be resumed: .*{words}"):
            fitted(resume=path, **options)
    lucid.save_checkpoint(path, model=perceptron())
    with pytest.raises(FileError, match=r"not saved by lucid\.fit"):
        fitted(resume=path)


def test_an_epoch_that_was_to_be_the_last_is_ended(tmp_path: Path) -> None:
    class Stops(Callback):
        def on_batch_end(self, run: Run) -> None:
            if run.step == 2:
                run.stop("enough")

    def run(dies: int) -> Any:
        saving = ModelCheckpoint(tmp_path / "x", every=1)
        return fitted(callbacks=[Stops(), saving, Dies(dies)], epochs=3, resume=tmp_path / "x")

    wanted = run(0)
    (tmp_path / "x").unlink()
    with pytest.raises(KilledError):
        run(3)
    model, history = run(0)
    assert history.epochs == 1 and dict(history) == dict(wanted[1]) and state(model) == state(wanted[0])


def test_the_best_one_is_kept(tmp_path: Path) -> None:
    class Losses(Callback):
        def on_epoch_end(self, run: Run) -> None:
            run.logs["val_loss"] = [3.0, 1.0, 2.0][run.epoch - 1]
            seen.append(state(run.model))

    seen: list[Any] = []
    best, each = ModelCheckpoint(tmp_path / "best", best_only=True), ModelCheckpoint(tmp_path / "{epoch}-{step}")
    fitted(validation=DataLoader(points(), 60), callbacks=[Losses(), best, each], epochs=3)
    assert sorted(os.listdir(tmp_path)) == ["1-4", "2-8", "3-12", "best"]
    model = perceptron(7)
    assert lucid.load_checkpoint(tmp_path / "best", model=model).step == 8 and state(model) == seen[1]
