"""A contestant in a process of its own: it sets up one case after another, and takes its turns in each.

Run by contest.py, which writes a line of JSON for each thing to do and reads one of what came of it:

    {"case": name}                      the names under which it takes part
    {"set up": name, "expected": path}  seconds to the first result, and its error; or why it cannot take part
    {"turn": name}                      seconds of a call in a loop, and of one that comes every 30 ms
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch

from cases import named
from lowerings import forced
from peers import CONTESTANTS, Array, Contestant, Ready, UnsupportedError, mode
from timing import clock, collector_off, steady, warm_up

AGREE = 1e-3
"""A contestant whose error exceeds this share of the largest value computes something else, and is not timed."""
LOOP = 0.25
"""Seconds of calls one after another in a turn."""
PACE, PACED = 0.03, 4
"""Seconds from one paced call to the next, and how many there are in a turn."""
LOWERINGS = "lowerings"
"""The contestant that is every lowering of a layer."""


def relative_error(results: Sequence[Array], expected: Sequence[Array]) -> float:
    """The largest difference, as a share of the largest absolute value; infinite where not finite or of other shape."""
    worst = 0.0
    for found, wanted in zip(results, expected, strict=True):
        if found.shape != wanted.shape or not np.isfinite(found).all():
            return float("inf")
        scale = float(np.abs(wanted).max(initial=0)) or 1.0
        worst = max(worst, float(np.abs(found - wanted).max(initial=0)) / scale)
    return worst


class Entrant:
    """A contestant with what it has set up of the present case."""

    def __init__(self, who: str) -> None:
        self.who = who
        self.entered: dict[str, Contestant] = {}
        self.runs: dict[str, tuple[Callable[[], Any], float]] = {}
        """What runs, with the seconds of its quickest run."""
        self.mode = ExitStack()

    def begin(self, case: str) -> dict[str, Any]:
        """Leave the case before, and make what this one is set up from."""
        self.mode.close()
        self.runs.clear()
        torch.compiler.reset()
        gc.collect()
        self.ready = ready = Ready(named(case))
        self.mode.enter_context(mode(ready.case))
        mine = forced(ready) if self.who == LOWERINGS else [one for one in CONTESTANTS if one.name == self.who]
        self.entered = {one.name: one for one in mine if not one.groups or ready.case.group in one.groups}
        for one in self.entered.values():
            ready.present(one.needs)
        return {"names": list(self.entered)}

    def set_up(self, name: str, expected: str) -> dict[str, Any]:
        """Make it run, if it can take part and computes the right thing."""
        who = self.entered[name]
        start = time.perf_counter()
        try:
            run = who.prepare(self.ready)
            results = who.output(run())
        except UnsupportedError as reason:
            return {"absent": str(reason)}
        except Exception as error:
            if who.ours:
                raise
            # whatever a peer cannot do at set-up is not ours to mend: the table says so
            first = (str(error).strip().splitlines() or [""])[0]
            return {"absent": f"{type(error).__name__} at set-up: {first[:160]}"}
        taken = time.perf_counter() - start
        with np.load(expected) as file:
            error = relative_error(results, [file[key] for key in file.files])
        if error > AGREE:
            if who.ours:
                raise AssertionError(f"{self.ready.case.name}: {name} is wrong by {error:.1e} of the largest value")
            return {"absent": f"wrong by {error:.1e} of the largest value", "error": error}
        self.runs[name] = run, warm_up(run)
        return {"setup": taken, "error": error}

    def turn(self, name: str) -> dict[str, float]:
        """Seconds of a call: the medians of those in a loop, and of those that come one every 30 ms."""
        run, quickest = self.runs[name]
        with collector_off():
            loop = steady(run, LOOP)
            paced, begin = [], time.perf_counter()
            for number in range(1, PACED + 1):
                time.sleep(max(0.0, begin + number * max(PACE, 1.5 * quickest) - time.perf_counter()))
                paced.append(clock(run))
        return {"loop": loop, "paced": statistics.median(paced)}

    def answer(self, asked: Mapping[str, str]) -> dict[str, Any]:
        """What comes of a line."""
        if "case" in asked:
            return self.begin(asked["case"])
        if "set up" in asked:
            return self.set_up(asked["set up"], asked["expected"])
        return self.turn(asked["turn"])


def main() -> None:
    entrant = Entrant(sys.argv[1])
    for line in sys.stdin:
        print(json.dumps(entrant.answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
