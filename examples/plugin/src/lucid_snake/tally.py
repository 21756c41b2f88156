"""A back end: runs the graph node by node, and keeps a tally of what was run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lucid.extend import Graph, Machine, Node, Value, run_node

Array = npt.NDArray[Any]

PLAIN: dict[str, Callable[..., Array]] = {"Add": np.add, "Mul": np.multiply, "Relu": lambda x: np.maximum(x, 0)}
"""What is run by a plain NumPy call."""


class Tally:
    """How often each op runs, and how many numbers it writes."""

    name = "tally"

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()
        self.numbers: Counter[str] = Counter()

    def accepts(self, node: Node) -> bool:
        """All but what is made of simpler ops: that is to be taken apart, and tallied by its parts."""
        return node.op.decompose is None

    def compile(
        self, graph: Graph, parameters: Mapping[str, Array], machine: Machine
    ) -> Callable[..., Sequence[Array]]:
        """Make the function that runs the graph."""
        given = {Value(node): parameters[name] for name, node in graph.parameters.items()}

        def run(*inputs: Array) -> Sequence[Array]:
            values = {**given, **{Value(name): x for name, x in zip(graph.inputs, inputs, strict=True)}}
            for name, node in graph.nodes():
                if Value(name) not in values:
                    self._run(name, node, [values[v] for v in graph.inputs_of(name)], values)
            return [values[value] for value in graph.results]

        return run

    def _run(self, name: str, node: Node, arrays: list[Array], values: dict[Value, Array]) -> None:
        plain = PLAIN.get(node.op.name)
        results = run_node(node, arrays) if plain is None else (plain(*arrays),)
        values.update((Value(name, i), result) for i, result in enumerate(results))
        self.runs[node.op.name] += 1
        self.numbers[node.op.name] += sum(result.size for result in results)
