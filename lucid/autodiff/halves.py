"""The forward and backward graphs of training, cached by the inputs and results that need gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from ..base.locks import forkable
from ..base.recent import Recent
from ..graph.ir import Graph
from .reverse import Backward, Joint, Partition, backward_half, differentiable, differentiate, partition

Wanted: TypeAlias = "tuple[bool, ...]"
"""For each input, whether a gradient with respect to it is wanted."""

Used: TypeAlias = "tuple[bool, ...]"
"""For each output, whether it has a cotangent."""

KEPT = 16
"""For how many sets of used outputs graphs are kept."""


class Halves:
    """The graphs that compute a graph's results and their gradients.

    Parameters
    ----------
    traced
        The graph.
    parameters
        Names of the nodes of the parameters that require a gradient.
    optimise
        Runs the passes for training on a graph.
    """

    def __init__(self, traced: Graph, parameters: Sequence[str], optimise: Callable[[Graph], Graph]) -> None:
        self.traced, self.parameters, self.optimise = traced, tuple(parameters), optimise
        self._lock = forkable()
        self._partitions: dict[Wanted, Partition] = {}
        self._backwards: Recent[tuple[Wanted, Used, bool], Backward] = Recent(KEPT)
        self._differentiable: dict[Wanted, tuple[bool, ...]] = {}

    def graphs(self) -> list[Graph]:
        """All graphs that have been made."""
        cuts, backwards = list(self._partitions.values()), list(self._backwards.values())
        return [cut.forward for cut in cuts] + [one.graph for one in (*(cut.half for cut in cuts), *backwards)]

    def sources(self, wanted: Wanted) -> list[str]:
        """Nodes to differentiate with respect to: the wanted inputs, and the parameters."""
        return [name for name, want in zip(self.traced.inputs, wanted, strict=True) if want] + [*self.parameters]

    def differentiable(self, wanted: Wanted) -> tuple[bool, ...]:
        """For each output, whether it requires a gradient if the wanted inputs do."""
        if wanted not in self._differentiable:
            self._differentiable[wanted] = differentiable(self.traced, self.sources(wanted))
        return self._differentiable[wanted]

    def split(self, wanted: Wanted) -> Partition:
        """The optimised forward and backward graphs, for gradients of all outputs that have one."""
        with self._lock:
            if wanted not in self._partitions:
                cut = partition(self._joint(wanted, self.differentiable(wanted)))
                half = replace(cut.half, graph=self.optimise(cut.backward))
                self._partitions[wanted] = Partition(self.optimise(cut.forward), half, cut.places)
            return self._partitions[wanted]

    def backward(self, wanted: Wanted, used: Used, keeping: bool) -> Backward:
        """The graph that computes the gradients from cotangents of the ``used`` outputs.

        Without ``keeping`` it takes the graph's inputs before the cotangents, and recomputes the forward values.
        """
        key = (wanted, used, keeping)
        with self._lock:
            backward = self._backwards.use(key)
            if backward is None:
                backward = self._backward(wanted, used, keeping)
                self._backwards.keep(key, backward)
            return backward

    def _backward(self, wanted: Wanted, used: Used, keeping: bool) -> Backward:
        if keeping and used == self.differentiable(wanted):
            return self.split(wanted).half
        joint = self._joint(wanted, used)
        if keeping:
            half = backward_half(joint, self.split(wanted).places)
            return replace(half, graph=self.optimise(half.graph))
        graph, count = joint.graph, joint.forward_outputs
        gradients = Graph(graph.dag, graph.inputs, graph.outputs[count:], (), graph.names[count:])
        return Backward(self.optimise(gradients), (), joint.wanted)

    def _joint(self, wanted: Wanted, used: Used) -> Joint:
        values = {value for value, use in zip(self.traced.outputs, used, strict=True) if use}
        return differentiate(self.traced, self.sources(wanted), values, zeros=False)
