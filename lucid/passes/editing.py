"""Changing the default passes: ``lucid.passes.default().insert_after("fold_batch_norm", mine)``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias, TypeVar

from ..base.checks import flag, shown
from ..base.structs import struct
from ..errors import OptionError
from ..graph.ir import Graph
from .pipeline import Pass, inference_pipeline, training_pipeline
from .registered import Registered, enter, registered

Rewrite: TypeAlias = "Pass | Callable[[Graph], Graph]"

F = TypeVar("F", bound=Callable[[Graph], Graph])


def _names(passes: Sequence[Pass]) -> tuple[str, ...]:
    return tuple(one.name for one in passes)


def _unused(*args: object) -> Any:
    raise AssertionError("only the names are asked for")


_INFERENCE = _names(inference_pipeline(_unused, _unused))
_TRAINING = _names(training_pipeline(_unused, _unused))


def as_pass(rewrite: object) -> Pass:
    """A pass, or a function from graph to graph made into one."""
    if isinstance(rewrite, Pass):
        return rewrite
    if not callable(rewrite) or isinstance(rewrite, type):
        raise OptionError(f"passes: a pass is a function from graph to graph, got {shown(rewrite)}")
    return Pass(getattr(rewrite, "__name__", type(rewrite).__name__), rewrite)


@struct(frozen=True)
class _Edit:
    how: str
    name: str
    new: Pass | None = None


@struct(frozen=True)
class Pipeline:
    """The passes to run, as changes to the default ones; each method returns a new pipeline.

    It serves inference and training. In training, the forward and backward graphs go through fewer passes; a pass
    inserted next to one that does not run there runs where that one would have run.
    """

    edits: tuple[_Edit, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the passes of inference, in order."""
        return _names(self.applied([Pass(name, _unused) for name in _INFERENCE]))

    def insert_after(self, name: str, new: Rewrite) -> Pipeline:
        """Run ``new`` right after the pass ``name`` (the last of that name)."""
        return self._edited("after", name, as_pass(new))

    def insert_before(self, name: str, new: Rewrite) -> Pipeline:
        """Run ``new`` right before the pass ``name`` (the first of that name)."""
        return self._edited("before", name, as_pass(new))

    def replace(self, name: str, new: Rewrite) -> Pipeline:
        """Run ``new`` in place of every pass ``name``."""
        return self._edited("replace", name, as_pass(new))

    def add(self, *names: str) -> Pipeline:
        """Run these passes too, each at the place given when it was registered (:func:`lucid.extend.register_pass`)."""
        found = self
        for name in names:
            if not isinstance(name, str):
                raise OptionError(f"passes: add takes names of registered passes, got {shown(name)}")
            entry = registered(name)
            found = found._edited(entry.how, entry.beside, entry.one)
        return found

    def without(self, name: str) -> Pipeline:
        """Leave out every pass ``name``."""
        if isinstance(name, str) and name == "lower":
            raise OptionError("passes: without 'lower' there would be ops that nothing runs; replace it instead")
        return self._edited("without", name, None)

    def _edited(self, how: str, name: str, new: Pass | None) -> Pipeline:
        if not isinstance(name, str) or name not in self.names:
            raise OptionError(f"passes: there is no pass {shown(name)}; the order is {', '.join(self.names)}")
        return replace(self, edits=(*self.edits, _Edit(how, name, new)))

    def applied(self, usual: Sequence[Pass]) -> tuple[Pass, ...]:
        """The passes that result from the default ones of inference or training."""
        passes = list(usual)
        for edit in self.edits:
            at = [i for i, one in enumerate(passes) if one.name == edit.name]
            if edit.how in ("without", "replace"):
                there = [edit.new] if edit.new is not None else []
                passes = [new for one in passes for new in (there if one.name == edit.name else [one])]
            elif edit.new is not None:
                place = _place(edit.name, passes) if not at else at[-1] + 1 if edit.how == "after" else at[0]
                passes.insert(place, edit.new)
        return tuple(passes)


def _place(name: str, passes: Sequence[Pass]) -> int:
    """The position of a pass of inference among those of training: after all that precede it."""
    before = set(_INFERENCE[: _INFERENCE.index(name)]) if name in _INFERENCE else set()
    places = [i for i, one in enumerate(passes) if one.name in before]
    first = passes[: _TRAINING.index("lower")] if not places else passes[: places[-1] + 1]
    return len(first)


USUAL: Final = Pipeline()


def register_pass(
    *bare: object, after: str | None = None, before: str | None = None, name: str | None = None, replace: bool = False
) -> Callable[[F], F]:
    """Register the decorated function from graph to graph as a pass, for ``lucid.passes.default().add(name)``.

    Parameters
    ----------
    after, before
        The default pass next to which it runs; exactly one of the two.
    name
        Its name; by default that of the function.
    replace
        Whether it may replace another pass of that name, as when a notebook cell runs again.

    Raises
    ------
    OptionError
        If the name is taken, or there is no such default pass.
    """
    if bare or (after is None) == (before is None):
        raise OptionError(
            'register_pass: say after or before which pass it goes, by one of the two: @register_pass(after="clean_up")'
        )

    def decorate(function: F) -> F:
        one = as_pass(function)
        one = one if name is None else Pass(name, one.run)
        if one.name in USUAL.names:
            raise OptionError(f"register_pass: {one.name!r} is the name of a usual pass")
        if after is not None:
            USUAL.insert_after(after, one)  # which raises where there is no such pass
            entry = Registered(one, "after", after)
        else:
            assert before is not None
            USUAL.insert_before(before, one)
            entry = Registered(one, "before", before)
        enter(entry, replace=flag("register_pass", "replace", replace))
        return function

    return decorate


def default() -> Pipeline:
    """The default passes, to be changed and passed to ``lucid.compile(model, passes=...)``."""
    return USUAL
