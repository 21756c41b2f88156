"""What a call of a compiled model costs besides its arithmetic, part by part, in nanoseconds.

Run it as ``python -m benchmarks.overhead``. Each figure is the least of many repetitions.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import lucid
from lucid import nn
from lucid.models import lenet5

REPEAT, NUMBER = 50, 500


class Shift(nn.Module):
    """One addition: what is left is overhead."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(np.zeros((1, 4), np.float32))

    def forward(self, x: Any) -> Any:
        return x + self.shift


def least(function: Callable[[], object], number: int = NUMBER) -> float:
    """Nanoseconds of one call."""
    best = float("inf")
    for _ in range(REPEAT):
        start = time.perf_counter_ns()
        for _ in range(number):
            function()
        best = min(best, (time.perf_counter_ns() - start) / number)
    return best


def parts(model: nn.Module, x: Any, number: int) -> dict[str, float]:
    """Nanoseconds of the whole call in its variants, and of the parts below it."""
    net = lucid.compile(model.eval())
    tensor = lucid.Tensor(x)
    found = {}
    net(x)
    found["net(array), remembered for backward"] = least(lambda: net(x), number)
    with lucid.no_grad():
        net(x), net(tensor)
        found["net(array), no_grad"] = least(lambda: net(x), number)
        found["net(tensor), no_grad"] = least(lambda: net(tensor), number)
    specialization = net._current()
    executable = specialization.executable("inference", ())
    found["  Specialization.run"] = least(lambda: specialization.run(executable, (x,)), number)
    found["  Executable.__call__"] = least(lambda: executable(x), number)
    run: Any = executable._runs.new()[0]
    found["  the program, warnings off"] = least(lambda: run(x), number)
    bare = run.args[0]
    with np.errstate(all="ignore"):
        found["  the program"] = least(lambda: bare(x), number)
    found["before and after the program"] = found["net(array), no_grad"] - found["  the program"]
    return found


def main() -> None:
    cases = [("x + parameter", Shift(), (1, 4), NUMBER), ("LeNet-5, batch 1", lenet5(), (1, 1, 28, 28), 50)]
    for title, model, shape, number in cases:
        print(title)
        for name, ns in parts(model, np.zeros(shape, np.float32), number).items():
            print(f"  {name:40s} {ns:9.0f} ns")


if __name__ == "__main__":
    main()
