"""Checking that passes preserve what a graph computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..base.arrays import Array
from ..base.checks import shown
from ..errors import PassError
from ..graph.assume import Assumption
from ..graph.cut import Part
from ..graph.ir import Graph, Value
from ..graph.region import spelled
from ..graph.stages import found_sizes
from ..passes.editing import as_pass
from ..passes.pipeline import Observer, Pass
from . import evidence
from .sampling import UNFIT, Evaluated, close, difference, evaluated, given, sizes_of, with_samples
from .smallest import smallest


def check_pass(
    one: Pass | Callable[[Graph], Graph],
    graph: Graph,
    parameters: Mapping[str, Array],
    assumptions: Sequence[Assumption] = (),
) -> None:
    """Compare a graph before and after a pass, on sampled inputs, by the reference.

    Parameters
    ----------
    one
        A pass, or a function from graph to graph.
    graph
        The graph before the pass.
    parameters
        Arrays by name.
    assumptions
        Assumptions about its sizes.

    Raises
    ------
    PassError
        If a result differs; says which, and by how much.
    """
    applied = as_pass(one)
    before = evaluated(graph, given(graph, parameters), sizes_of(graph, assumptions))
    made = applied.run(graph)
    if not isinstance(made, Graph):
        raise PassError(f"pass {applied.name} gave {shown(made)}, which is no graph", graph=graph)
    found = _changed(before, evaluated(made, parameters, before.sizes))
    if found is not None:
        raise PassError(f"pass {applied.name} {found}", graph=graph)


def observer(
    state: Callable[[], Mapping[str, Array]], assumptions: Sequence[Assumption] = (), folder: evidence.Folder = None,
    path: Sequence[str] = (),
) -> Observer:  # fmt: skip
    """A function that compares the graphs before and after each pass, with the present arrays of the parameters.

    For a graph that a node holds, at ``path``, captured parameters are sampled like inputs, so it is checked whether or
    not the whole graph would run it. The smallest graph that shows a fault is saved in the folder.
    """
    latest: list[Evaluated] = []
    """The latest graph with its values: the result of a pass is the input of the next, and is evaluated once."""
    arrays: Mapping[str, Array] = {}

    def found(graph: Graph, sizes: Mapping[str, int]) -> Evaluated:
        known = (one for one in latest if one.graph is graph and one.sizes == sizes)
        return next(known, None) or evaluated(graph, arrays, sizes)

    def observe(applied: Pass, before: Graph, after: Graph) -> None:
        nonlocal arrays
        sizes = latest[0].sizes if latest and latest[0].graph is before else sizes_of(before, assumptions)
        arrays = with_samples(before, state(), sizes) if path else state()
        try:
            first = found(before, sizes)
        except UNFIT:
            if path or found_sizes(before):  # sizes found in random numbers may violate the assumptions of the trace
                return
            raise
        pair = first, found(after, sizes)
        latest[:] = pair[1:]
        wrong = _changed(*pair)
        if wrong is not None:
            where = f", in {spelled(path)}," if path else ""
            raise _blamed(applied, f"{where} {wrong}", before, after, arrays, sizes, folder)

    return observe


def _changed(before: Evaluated, after: Evaluated) -> str | None:
    """What differs between two evaluated graphs, in words; None if nothing does."""
    old, new, want, have = before.concrete, after.concrete, before.values, after.values
    if len(old.results) != len(new.results):
        return f"gave {len(new.results)} results for {len(old.results)}"
    for index, (a, b) in enumerate(zip(old.results, new.results, strict=True)):
        if not close(want[a], have[b]):
            culprit = _first_difference(old, new, want, have) or str(b)
            by = difference(want[a], have[b])
            return f"changed result {index}: node {culprit} differs from the reference by {by:.3g}"
    return None


def _first_difference(old: Graph, new: Graph, want: Mapping[Value, Array], have: Mapping[Value, Array]) -> str | None:
    """The first node that both graphs have, with equal name and type but different values."""
    for name in new.order:
        if (
            name in old
            and new.node(name).outputs == old.node(name).outputs
            and not close(want[Value(name)], have[Value(name)])
        ):
            return name
    return None


def _blamed(
    applied: Pass,
    wrong: str,
    before: Graph,
    after: Graph,
    arrays: Mapping[str, Array],
    sizes: Mapping[str, int],
    folder: evidence.Folder,
) -> PassError:
    """The error, with the smallest graph that the pass changes."""
    touched = [n for n in before.order if n not in after or after.node(n) != before.node(n)]
    found = smallest(before, lambda part: _fails(applied, arrays, sizes, part.graph), touched)
    said, script = f"pass {applied.name}{wrong}", None
    if _fails(applied, arrays, sizes_of(found.graph), found.graph):  # of the sizes that the script takes
        imports, name = evidence.spelled(applied.run)
        call = f"lucid.proof.check_pass(lucid.passes.Pass({applied.name!a}, {name}), graph, arrays)"
        script = evidence.write(folder, applied.name, found.graph, arrays, title=said, call=call, imports=imports)
    return PassError(f"{said}; {_counted(found)}", graph=found.graph, script=script)


def _counted(found: Part) -> str:
    names = found.computing
    listed = f"{', '.join(names[:4])}{', …' if len(names) > 4 else ''}"
    return f"the smallest graph that it changes has {len(names)} node{'s' * (len(names) != 1)}: {listed}"


def _fails(applied: Pass, arrays: Mapping[str, Array], sizes: Mapping[str, int], graph: Graph) -> bool:
    try:
        before = evaluated(graph, arrays, {name: sizes[name] for name in graph.symbols})
        after = evaluated(applied.run(graph), arrays, before.sizes)
    except UNFIT:  # another fault than the one looked for
        return False
    return _changed(before, after) is not None
