"""Random programs of views and changes in place mean what they mean in PyTorch: eagerly, compiled, and of any size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch

import lucid
from lucid import nn
from lucid.errors import LucidError

from .in_place import Program, check_same, draw_program, outcome

BLOCK = 25

REFUSED = (
    "may repeat numbers", "one place of memory", "a leaf that requires a gradient", "made within no_grad",
)  # fmt: skip
"""What decision 0062 says stays refused."""
OF_SIZES = (
    "no known size",
    "as it happens to lie",
    "of symbolic size",
    "do not broadcast",
    "does not fit",
    "does not divide",
)
"""What may be the matter where only sizes that are known fit each other, or say how many results there are."""


class _Module(nn.Module):
    """The program with its last argument as a buffer."""

    def __init__(self, program: Program, buffer: Any) -> None:
        super().__init__()
        self.program = program
        self.register_buffer("held", buffer)

    def forward(self, *given: Any) -> Any:
        return tuple(self.program.run(lucid, [*given, self.held]))


def ways(program: Program) -> Iterator[tuple[str, Callable[[Sequence[Any]], Sequence[Any]]]]:
    """How the program may run here."""

    def called(*given: Any) -> Any:
        return tuple(program.run(lucid, given))

    yield "eager", lambda given: called(*given)
    yield "compiled", lambda given: lucid.compile(called)(*given)
    sizes = [[1 if size == 1 else f"N{size}" for size in array.shape] for array in program.arrays]
    specs = [lucid.spec(*one, dtype="float64") for one in sizes]
    yield "of any size", lambda given: lucid.compile(called, *specs)(*given)
    yield "a module", lambda given: lucid.compile(_Module(program, given[-1]))(*given[:-1])


def check(seed: int) -> tuple[int, int]:
    """How many ways of running the program of a seed are PyTorch's, and how many are refused."""
    program, same, refused = draw_program(torch, seed), 0, 0
    if program is None:
        return 0, 0
    try:
        wanted = outcome(torch, program, lambda given: program.run(torch, given))
    except RuntimeError:  # what it made it does not read
        return 0, 0
    for way, run in ways(program):
        what = f"seed {seed}, {way}: {program.steps}"
        try:
            found = outcome(lucid, program, run)
        except LucidError as error:
            if not any(one in str(error) for one in (*REFUSED, *(OF_SIZES if way == "of any size" else ()))):
                raise AssertionError(what) from error
            refused += 1
            continue
        check_same(found, wanted, what)
        same += 1
    return same, refused


@pytest.mark.parametrize("block", range(12))
def test_random_programs_are_pytorch_s(block: int) -> None:
    counts = [check(seed) for seed in range(block * BLOCK, (block + 1) * BLOCK)]
    same, refused = (sum(one) for one in zip(*counts, strict=True))
    assert same > 50 and refused < same / 2
