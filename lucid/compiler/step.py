"""Compiled training steps: which graph runs for a call, and on which tensors."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ..base import changes
from ..base.arrays import Array
from ..base.checks import number, shown, user_stacklevel
from ..base.locks import forkable
from ..base.recent import Recent
from ..distributed.group import Group
from ..errors import BudgetError, ExecutionError, OptionError, TraceError
from ..graph import rng
from ..graph.ir import Graph
from ..graph.trace import active_trace
from ..optim.optimizer import Optimizer
from ..optim.swa_utils import AveragedModel
from ..runtime.program.recompute import Recomputed
from ..runtime.program.store import Store
from ..tensor.tensor import Tensor
from .accumulated import Accumulated
from .anomaly import where_not_finite
from .arguments import Structure
from .compiled import CompiledModel, Specs, Trace
from .objective import Objective
from .options import Options
from .programs import PLANS, Program
from .record import Record
from .sizes import Orders, Sizes, orders_of
from .specialization import Specialization
from .step_average import Averages
from .step_form import Form, Members, Snapshot
from .step_graph import NOT_FINITE, Holders, step_graph
from .step_ranks import Ranks, Summary
from .step_settled import Settled

GRAPHS = 3
"""The most graphs per update: for the first of its calls, for those in between, and for the last, which updates."""


class CompiledStep(CompiledModel):
    """A training step that runs as one program; returned by :func:`lucid.compile_step`.

    A call with a batch computes the loss and its gradients, and updates the parameters and the optimizer's state in
    place. You may mix it with any other use of the model and the optimizer: the options of the parameter groups are
    read at each call, and a loaded state is continued from.

    If an exception ends a call, parameters, buffers and the optimizer's state are all as before or, if it comes while
    the new values are being written, all as after the call: Ctrl-C waits for the writing.

    Attributes
    ----------
    optimizer
        The optimizer of the parameters.
    clip_grad, clip_norm
        As given; may be changed between calls.
    accumulate
        As given.
    accumulated
        The gradients accumulated for the next update, with ``state_dict()`` and ``load_state_dict()`` for checkpoints.
    """

    hands_back = False

    def __init__(
        self, objective: Objective, optimizer: Optimizer, specs: Specs, options: Options, *,
        clip_grad: float | None = None, clip_norm: float | None = None, accumulate: int = 1,
        detect_anomaly: bool = False, group: Group | None = None, average: AveragedModel | None = None,
    ) -> None:  # fmt: skip
        self.optimizer = optimizer
        self._averages = None if average is None else Averages(average, objective.called[0])
        self._ranks = None if group is None else Ranks(group, objective, optimizer, average)
        self.clip_grad, self.clip_norm = clip_grad, clip_norm
        self._detects = detect_anomaly
        self._turn = forkable()
        self.accumulated = Accumulated(optimizer, accumulate)
        self._members = Members()
        self._warned: set[int] = set()
        self._settled: Settled | None = None
        self._form = self._present_form()
        super().__init__(objective, specs, options)

    # ------------------------------------------------------------ calling

    def __call__(self, /, *args: object, **kwargs: object) -> Any:
        if active_trace.get() is not None:
            raise TraceError("a compiled step cannot be part of what is traced: it changes parameters")
        with self._turn, self._ranks or nullcontext():
            for group in self.optimizer.param_groups:
                self.optimizer.check(group)
            if self.optimizer.has_step_hooks:
                raise OptionError(
                    "compile_step: the optimizer has step hooks, which a step that is one program does not call: do "
                    "what they do around the call, or train by a loop of eager calls (with lucid.fit, compiled=False)"
                )
            settled = self._settled
            if settled is not None and not kwargs and settled.decides(args, self._numbers, self.optimizer):
                self._latest, self._ran = settled.trace, settled.call
                result = settled.run(args)
            else:
                result = self._dispatched(args, kwargs)
            assert self._ran is not None
            if self._ran.program.seen == changes.of_contents.now:  # only this step has changed anything
                self._members.stepped(self._form.gathered)
            return result

    def _dispatched(self, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        """Find the graph for a call and run it; in simple cases later calls may skip the search."""
        self._settled = None
        self._form = self._present_form()
        self._store.turns = min(self.accumulate, GRAPHS)
        drawn = rng.current_keys().state
        try:
            result, trace, call = self._run(args, kwargs)
        except ExecutionError as error:
            if self._detects and NOT_FINITE in str(error):
                self._blame(args, kwargs, drawn, error)
            raise
        if not kwargs and not self._detects and self.accumulate == 1 and self._ranks is None and self._averages is None:
            self._settled = Settled.of(trace, call, args, self._numbers, self.optimizer, self._members)
        return result

    @property
    def _numbers(self) -> tuple[object, ...]:
        """The step's own settings that a call depends on."""
        return self.clip_grad, self.clip_norm, self.accumulate

    @property
    def accumulate(self) -> int:
        """The number of calls per update."""
        return self.accumulated.share

    @accumulate.setter
    def accumulate(self, share: int) -> None:
        self.accumulated.share = share

    @property
    def recomputed(self) -> tuple[Recomputed, ...]:
        """What the latest call recomputed to stay within ``memory_budget``, and its predicted cost."""
        return self.plan.recomputed

    def _blame(self, args: tuple[object, ...], kwargs: dict[str, object], drawn: int, error: Exception) -> NoReturn:
        """Raise the error that names the node from which a loss or gradient that is not finite comes."""
        leaves, structure = self._flat(args, kwargs)
        found = self._find(structure, leaves).specialization
        assert self._ran is not None
        arrays = [leaf._array if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        plan = found.own(self._ran.program).plan
        parameters = [found.state[name]._array for name in plan.parameters]
        where = where_not_finite(plan, parameters, arrays, drawn)
        raise ExecutionError(f"{NOT_FINITE}, and nothing was updated: {where}") from error

    def _find(self, structure: Structure, leaves: Sequence[object]) -> Trace:
        trace = super()._find(structure, leaves)
        made = trace.specialization
        assert isinstance(made, StepSpecialization)
        made.follow(self.optimizer, self._own, self._members.seen)
        if self._ranks is not None and self._ranks.due:
            also = self._others(self._ranks, made)
            if also:  # then a graph with those too is needed
                self._form = replace(self._form, also=also)
                trace = self._find(structure, leaves)
                more = trace.specialization
                assert isinstance(more, StepSpecialization)
                self._ranks.expect(more.summary)
        if self.options.memory_budget is not None and not self._form.updates:
            self._foresee(trace, structure, leaves)
        return trace

    def _foresee(self, trace: Trace, structure: Structure, leaves: Sequence[Any]) -> None:
        """Plan all calls up to the next update, so that what a budget is too small for is refused before the first.

        Later calls are taken to have arguments like those of this one, and gradients of the same parameters.
        """
        made, form = trace.specialization, self._form
        assert isinstance(made, StepSpecialization)
        arrays = [leaf._array if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        key = made.sizes(arrays), orders_of(arrays)
        if made.foreseen.use(key):
            return
        again = replace(form, gathered=made.after)
        forms = [form, again, replace(again, updates=True)]
        if self.accumulated.position + 2 == self.accumulate:  # the next call updates
            del forms[1]
        refused: list[BudgetError] = []
        try:
            for self._form in forms:
                try:
                    super()._find(structure, leaves).calls.prepare(leaves)
                except BudgetError as error:
                    refused.append(error)
        finally:
            self._form = form
        if refused:
            raise max(refused, key=lambda error: error.least)
        made.foreseen.keep(key, True)

    @property
    def _own(self) -> dict[str, float | None]:
        """The step's own numbers, besides those of the optimizer."""
        return {"clip_grad": self.clip_grad, "clip_norm": self.clip_norm}

    def _others(self, ranks: Ranks, made: StepSpecialization) -> frozenset[int]:
        """Agree with the other ranks; returns the parameters for which they have gradients and this one does not."""
        groups = self.optimizer.param_groups
        numbers = [self.optimizer.scalars(group) for group in groups], self._own
        used = ranks.agree(made.summary, numbers)
        params = [p for group in groups for p in group["params"]]
        also = frozenset(
            id(p) for p, one, mine in zip(params, used, made.summary.used, strict=True) if one and not mine
        )
        self._warn([p for p in made.missing if id(p) not in also])
        return also

    def _holding(self, key: object) -> Trace | None:
        for trace in reversed(self._by_key.get(key, ())):
            made = trace.specialization
            if isinstance(made, StepSpecialization) and made.form == self._form and trace.guards.hold():
                return self._traces.use(id(trace)) or trace
        return None

    # ------------------------------------------------------------ the form of the step

    def _present_form(self) -> Form:
        """The form of the present call."""
        optimizer, position = self.optimizer, self.accumulated.position
        gathered = self.accumulated.now[1] if position else frozenset()
        for name in ("clip_grad", "clip_norm"):
            if getattr(self, name) is not None:
                number("compile_step", name, getattr(self, name), 0.0, nan=False)
        flags = tuple(tuple(optimizer.flags(group).items()) for group in optimizer.param_groups)
        clips = self.clip_grad is not None, self.clip_norm is not None
        last = position == self.accumulate - 1
        members = self._members.present(optimizer, gathered)
        place = None if self._ranks is None else self._ranks.place
        averages = () if self._averages is None else self._averages.present
        return Form(
            type(optimizer), flags, members, clips, self.accumulate, gathered, last, self._detects, place,
            averages=averages,
        )  # fmt: skip

    # ------------------------------------------------------------ tracing

    def _made(self, recorded: Record, structure: Structure) -> Specialization:
        objective, state = self.model, dict(recorded.recorder.state)
        assert isinstance(objective, Objective)
        named = dict(objective.named_parameters())
        self._check_optimizer({id(p) for p in (*named.values(), *state.values())})
        names = {id(p): name for name, p in named.items()}
        metrics = objective.metrics_in(recorded.results.structure)
        graph, holders = step_graph(
            recorded.graph, state, self.optimizer, self._form, self.accumulated, names, metrics, self._averages
        )
        if self._ranks is None:  # otherwise the loss of another rank may depend on them
            self._warn(holders.missing)
        return StepSpecialization(
            recorded, graph, structure, state, self.options, self._store, self._form, holders, self.accumulated,
            self._ranks,
        )  # fmt: skip

    def _check_optimizer(self, known: set[int]) -> None:
        others = [p for group in self.optimizer.param_groups for p in group["params"] if id(p) not in known]
        if others:
            raise OptionError(
                f"compile_step: {len(others)} of the optimizer's parameters are not the model's (the first is "
                f"{others[0].type}); make the optimizer of model.parameters(), when the model has all its layers"
            )

    def _warn(self, missing: Sequence[Tensor]) -> None:
        """Warn about the parameters that no gradient reaches, once for each."""
        fresh = [p for p in missing if id(p) not in self._warned]
        self._warned.update(map(id, fresh))
        if fresh:
            assert isinstance(self.model, Objective)
            names = {id(p): name for name, p in self.model.named_parameters()}
            listed = ", ".join(names.get(id(p), str(p.type)) for p in fresh[:8]) + (", …" if len(fresh) > 8 else "")
            warnings.warn(
                f"compile_step: the loss does not depend on {listed}: no gradient, no update. Where that is meant, "
                f"leave them out of the optimizer or set requires_grad = False",
                stacklevel=user_stacklevel(),
            )

    def save(self, path: str | Path) -> None:
        """Save graph, weights and state to a ``.lucid`` file, which can train on without the classes of either.

        Learning rates, the optimizer's state and bounds of gradients are those of now, not those of the latest call.
        """
        if self.accumulate != 1:
            raise OptionError(
                "a step that adds up gradients is several graphs, of which a file would keep one: save one without "
                "accumulate, or the state of model and optimizer by save_checkpoint"
            )
        if self._ranks is not None:
            raise OptionError(
                "a step of a group is a part of what all its ranks do: save the state of model and optimizer by "
                "save_checkpoint, in one rank"
            )
        made = self._current()
        assert isinstance(made, StepSpecialization)
        with self._turn:
            if self._present_form() != made.form:
                raise OptionError(
                    "save: since the step's latest call a setting has changed that decides what it computes, such as "
                    "whether weights decay, gradients are bounded or a parameter is frozen: call the step, then save"
                )
            made.follow(self.optimizer, self._own, None)
        super().save(path)

    @property
    def _called(self) -> str:
        return f"step of {self.model.named}" if isinstance(self.model, Objective) else super()._called

    def __reduce__(self) -> NoReturn:
        raise OptionError(
            "a compiled step is neither copied nor pickled, as it changes one model and one optimizer: copy those and "
            "compile a step of the copies, or save() it to train from the file"
        )


class StepSpecialization(Specialization):
    """A step of one form, with the tensors that it reads and writes.

    Parameters
    ----------
    recorded
        The model and its loss, as traced.
    graph, state, form, holders
        The graph of the step, the tensors of its parameters, its form and what it reads besides the model.
    structure, options, store
        As for any specialization.
    accumulated
        The gradients accumulated so far.
    ranks
        The other ranks of the group; None without a group.

    Attributes
    ----------
    form
        As given.
    after
        The parameters that have accumulated gradients after a call.
    foreseen
        For which sizes and memory orders of arguments the calls up to the next update stay within the budget.
    missing
        The parameters that require a gradient, but on which the loss does not depend.
    summary
        What is told the other ranks.
    """

    def __init__(
        self, recorded: Record, graph: Graph, structure: Structure, state: Mapping[str, Tensor], options: Options,
        store: Store, form: Form, holders: Holders, accumulated: Accumulated, ranks: Ranks | None,
    ) -> None:  # fmt: skip
        super().__init__(
            graph,
            structure,
            recorded.results,
            state,
            training=True,
            options=options,
            store=store,
            assumptions=tuple(recorded.recorder.assumptions),
            in_place=True,
        )
        self.form = form
        self._holders, self._accumulated = holders, accumulated
        self.after = frozenset() if form.updates else form.gathered | holders.given
        self.foreseen: Recent[tuple[Sizes, Orders], bool] = Recent(PLANS)
        self._followed: Snapshot | None = None
        self.missing, self._ranks, self.summary = holders.missing, ranks, Summary.of(form, holders)

    def run(self, program: Program, arrays: Sequence[Array]) -> tuple[Array, ...]:
        whole = self.own(program).whole
        assert whole is not None
        before = whole.times
        try:
            self.ready(program, arrays)
            with nullcontext() if self._ranks is None else self._ranks.running(whole):
                return program(*arrays)
        finally:
            if whole.times != before:
                self._accumulated.now = self._accumulated.now[0] + whole.times - before, self.after

    def follow(self, optimizer: Optimizer, own: Mapping[str, float | None], seen: Snapshot | None) -> None:
        """Take over the present numbers, and the tensors of the optimizer's state that have been replaced.

        ``seen`` is a snapshot of the optimizer in this call; None looks at all tensors of its state.
        """
        groups = [optimizer.scalars(group) for group in optimizer.param_groups]
        for name, (group, what) in self._holders.scalars.items():
            value, held = own[what] if group is None else groups[group][what], self.state[name]
            if held._array[()] != value:
                held.copy_(np.float64(value))
        if seen is not None and seen.same(self._followed):
            return
        for name, (p, at, slot) in self._holders.slots.items():
            tensor, held = optimizer.state_of(p, optimizer.param_groups[at])[slot], self.state[name]
            if held is not tensor:
                if not isinstance(tensor, Tensor) or tensor.type != held.type:
                    got = tensor.type if isinstance(tensor, Tensor) else shown(tensor)
                    raise OptionError(f"compile_step: {slot!r} in the optimizer's state is {held.type}, got {got}")
                self.state[name] = tensor
                changes.of_contents.note()
        self._followed = Snapshot(optimizer)
