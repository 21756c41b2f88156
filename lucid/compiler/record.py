"""Recording a model: one run with traced tensors."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextvars import copy_context
from typing import NamedTuple

from ..errors import TraceError
from ..graph.assume import Assumption
from ..graph.ir import Graph
from ..graph.types import TensorType
from ..nn.module import Module
from ..tensor.grad_mode import forget_switching_on, is_grad_enabled, switched_on
from ..tensor.tracing import Recorder
from .arguments import Structure, flatten, leaf_names, unflatten
from .guards.checks import Guards
from .guards.observe import Watch
from .objective import Objective
from .results import Results, traced_results


class Record(NamedTuple):
    """What a run of a model with traced tensors has recorded.

    Attributes
    ----------
    recorder
        Holds the state that was read, the modules that were called and the assumptions that were made.
    graph
        What was computed.
    results
        What the model returned.
    guards
        What the run depends on besides its arguments.
    of_mode
        Whether it depends on whether gradients are recorded.
    """

    recorder: Recorder
    graph: Graph
    results: Results
    guards: Guards
    of_mode: bool


def record(
    model: Callable[..., object], structure: Structure, types: Sequence[TensorType], grad: bool = True,
    taken: Sequence[Assumption] = (), hands_back: bool = False,
) -> Record:  # fmt: skip
    """Run the model once with traced tensors, assuming ``taken`` about data-dependent sizes.

    With ``hands_back``, arguments that the model changes in place are appended to the results of the graph.

    The record serves calls with and without gradients, unless the model reads or sets the gradient mode. The run has a
    context of its own, which Python leaves at the end, so that no trace stays active even after a late interrupt.
    """
    return copy_context().run(_record, model, structure, types, grad, taken, hands_back)


def _record(
    model: Callable[..., object], structure: Structure, types: Sequence[TensorType], grad: bool,
    taken: Sequence[Assumption], hands_back: bool,
) -> Record:  # fmt: skip
    names: dict[int, str] = {}
    paths: dict[int, str] = {}
    if isinstance(model, Module):
        names = {id(t): n for n, t in (*model.named_parameters(), *model.named_buffers())}
        paths = {id(m): p for p, m in model.named_modules()}
    watch = Watch(model)
    recorder = Recorder(names, paths, watch, hands_back=hands_back)
    recorder.assumptions.update(dict.fromkeys(taken))
    outside = is_grad_enabled()
    with recorder.active(grad):
        inputs = [recorder.input(t, label) for t, label in zip(types, _labels(model, structure), strict=True)]
        args, kwargs = unflatten(structure, inputs)
        forget_switching_on()
        with watch.active():
            result = model(*args, **kwargs)
        if switched_on():  # then its results require a gradient even within no_grad
            watch.read_mode()
        _refuse_later_code(result)
        results, nested = flatten(result, results=True)
        if not results:
            hint = "" if types else ", nor was it given any: pass tensors or NumPy arrays, not numbers or lists"
            raise TraceError(f"the compiled function returns no tensor{hint}")
        if grad == outside or not watch.mode_read:
            graph = recorder.finish(results)
            changed, arrays = tuple(recorder.changed), not isinstance(model, Module)
            given = traced_results(nested, results, inputs, changed, recorder.rows, arrays)
            return Record(recorder, graph, given, watch.guards(), watch.mode_read)
    return record(model, structure, types, outside, taken, hands_back)


def _refuse_later_code(result: object) -> None:
    """Raise if a function has returned a coroutine or generator, whose code would run later."""
    if inspect.isawaitable(result) or inspect.isgenerator(result) or inspect.isasyncgen(result):
        if hasattr(result, "close"):
            result.close()
        raise TraceError(
            f"the compiled function returns a {type(result).__name__}, whose code would run later: compile a "
            f"plain function, without async or yield"
        )


def input_names(model: object) -> tuple[str, ...]:
    """The input names of a module that declares them and whose ``forward`` takes any arguments, by any name."""
    names = getattr(model, "input_names", ())
    if not isinstance(model, Module) or not isinstance(names, tuple) or not names:
        return ()
    taken = [one.kind for one in inspect.signature(model.forward).parameters.values()]
    takes_any = taken == [inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD]
    return names if takes_any and all(isinstance(one, str) for one in names) else ()


def _labels(model: Callable[..., object], structure: Structure) -> list[str]:
    """Names of the inputs: those that the module declares, or the function's argument names."""
    _, _, positional, keyword = structure
    known = input_names(model) or _known_names(model, len(positional) - 2)
    labels: list[str] = []
    for i, part in enumerate(positional[2:]):
        labels.extend(leaf_names(part, known[i] if i < len(known) else f"input_{i}"))
    labels.extend(leaf_names(keyword, ""))
    return labels


def _known_names(model: Callable[..., object], count: int) -> tuple[str, ...]:
    """Names of the first ``count`` positional arguments, as far as the model has any."""
    if isinstance(model, Objective):
        names = _known_names(model.called[0], count)
        return (*names[: count - 1], "target") if model.has_target(count) else names
    return _argument_names(model.forward if isinstance(model, Module) else model)


def _argument_names(function: Callable[..., object]) -> tuple[str, ...]:
    try:
        return tuple(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return ()
