"""Compile options, and the passes that follow from them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import reduce
from typing import Final

from ..base.checks import integer, shown
from ..base.structs import struct
from ..errors import OptionError
from ..graph.ir import Node
from ..passes.editing import USUAL, Pipeline
from ..passes.pipeline import Pass, inference_pipeline, step_pipeline, training_pipeline
from ..runtime.backends import Backend
from ..runtime.eager import evaluate
from ..runtime.planning.registry import lowerings
from ..runtime.workers.settings import MOST_THREADS

LAID_OUT: Final[Sequence[str]] = ("fuse_elementwise", "assign_layout")
"""The passes that only NumPy programs need."""


def has_kernel(node: Node) -> bool:
    """Whether the runtime runs the node as it is, rather than its decomposition."""
    return bool(lowerings(node.op))


@struct(frozen=True)
class Options:
    """How to compile.

    Attributes
    ----------
    threads
        How many threads one call may use; None for ``lucid.get_num_threads()``.
    exact
        Use no lowering that rounds differently from a plain sum of products.
    verify
        Check every pass and gradient rule on sampled inputs, and every step of each program on its first inputs,
        against the reference. A path is the folder in which evidence of a fault is saved.
    passes
        The default passes with changes; or the passes for inference instead of them.
    tune
        Measure the ways to run each node of an inference program, and use the fastest.
    backend
        What runs the graphs instead of NumPy programs.
    memory_budget
        The most bytes a training step may take; values are recomputed to stay within it. None for no limit.
    """

    threads: int | None = None
    exact: bool = False
    verify: bool | str | os.PathLike[str] = False
    passes: tuple[Pass, ...] | Pipeline = USUAL
    tune: bool = False
    backend: Backend | None = None
    memory_budget: int | None = None

    def __post_init__(self) -> None:
        if self.threads is not None and (
            not isinstance(self.threads, int) or isinstance(self.threads, bool) or not 0 < self.threads <= MOST_THREADS
        ):
            raise OptionError(f"threads is a number from 1 to {MOST_THREADS}, or None, got {shown(self.threads)}")
        if not isinstance(self.verify, bool | str | os.PathLike) or self.verify == "":
            raise OptionError(f"verify is True, False or the path of a folder, got {shown(self.verify)}")
        if self.memory_budget is not None:
            integer("compile_step", "memory_budget", self.memory_budget)
        for name in ("exact", "tune"):
            if not isinstance(getattr(self, name), bool):
                raise OptionError(f"{name} is True or False, got {shown(getattr(self, name))}")
        if self.tune and self.backend is not None:
            raise self.refusal("tuning")

    def refusal(self, what: str) -> OptionError:
        """The error about something that does not exist if a back end runs the graphs."""
        assert self.backend is not None
        return OptionError(
            f"the model is compiled for the back end {self.backend.name!r}, of which there is no {what}: compile it "
            f"without backend= for that"
        )

    @property
    def evidence(self) -> str | os.PathLike[str] | None:
        """The folder in which evidence of a fault is saved; None for a new temporary folder."""
        return None if isinstance(self.verify, bool) else self.verify

    @property
    def inference_passes(self) -> tuple[Pass, ...]:
        """The passes for graphs of inference."""
        if not isinstance(self.passes, Pipeline):
            return self.passes
        if self.backend is not None:  # memory orders and blocks concern NumPy programs only
            passes = reduce(Pipeline.without, LAID_OUT, self.passes)
            return passes.applied(inference_pipeline(evaluate, self.backend.accepts, exact=self.exact))
        return self.passes.applied(inference_pipeline(evaluate, has_kernel, exact=self.exact))

    @property
    def step_passes(self) -> tuple[Pass, ...]:
        """The passes for the graph of a training step."""
        usual = step_pipeline(evaluate, has_kernel, exact=self.exact)
        return self.passes.applied(usual) if isinstance(self.passes, Pipeline) else usual

    @property
    def training_passes(self) -> tuple[Pass, ...]:
        """The passes for the forward and backward graphs of training."""
        usual = training_pipeline(evaluate, has_kernel)
        return self.passes.applied(usual) if isinstance(self.passes, Pipeline) else usual
