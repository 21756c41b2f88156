"""One case: prepare the contestants, compare what they compute, and only then time them."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

import numpy as np
import torch

from cases import Case
from peers import LUCID, Array, Contestant, Ready, UnsupportedError, mode
from timing import REST, interleave, numpy_call, paired_ratio

AGREE = 1e-3
"""A contestant whose error exceeds this share of the largest value computes something else, and is not timed."""


@dataclass
class Result:
    """What came out of one case.

    Attributes
    ----------
    seconds
        Median of each contestant's rounds.
    quartiles
        First and third quartile of the same.
    ratios
        Contestant's time over Lucid's, the median over the rounds.
    setup
        Seconds from the module (for ONNX Runtime and OpenVINO, from the ONNX model) to the first result.
    errors
        Largest difference from a float64 run over the largest absolute value, of all results.
    absent
        Why a contestant has no time.
    peers
        Those that are not Lucid, of the ones that were timed.
    rounds, day
        How often and when it was measured.
    call
        Seconds of a small NumPy call meanwhile: the median over the rounds.
    notes
        What else the tables show.
    """

    name: str
    title: str
    group: str
    seconds: dict[str, float] = field(default_factory=dict)
    quartiles: dict[str, tuple[float, float]] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    setup: dict[str, float] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    peers: list[str] = field(default_factory=list)
    rounds: int = 0
    day: str = ""
    call: float = 0.0
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def best_peer(self) -> str:
        """The quickest of the others."""
        return min(self.peers, key=self.seconds.__getitem__)

    @property
    def ratio(self) -> float:
        """The best peer's time over ours."""
        return self.ratios[self.best_peer]

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"best_peer": self.best_peer, "ratio": self.ratio}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Result:
        return cls(**{key: value for key, value in data.items() if key not in ("best_peer", "ratio")})


def relative_error(results: Sequence[Array], expected: Sequence[Array]) -> float:
    """The largest difference, as a share of the largest absolute value; infinite where not finite or of other shape."""
    worst = 0.0
    for found, wanted in zip(results, expected, strict=True):
        if found.shape != wanted.shape or not np.isfinite(found).all():
            return float("inf")
        scale = float(np.abs(wanted).max(initial=0)) or 1.0
        worst = max(worst, float(np.abs(found - wanted).max(initial=0)) / scale)
    return worst


def _prepare(who: Contestant, ready: Ready, result: Result) -> Callable[[], Any] | None:
    """A contestant's run, if it can take part and computes the right thing."""
    ready.present(who.needs)
    start = time.perf_counter()
    try:
        run = who.prepare(ready)
        results = who.output(run())
    except UnsupportedError as reason:
        result.absent[who.name] = str(reason)
        return None
    except Exception as error:
        if who.ours:
            raise
        # whatever a peer cannot do at set-up is not ours to mend: the table says so
        first = (str(error).strip().splitlines() or [""])[0]
        result.absent[who.name] = f"{type(error).__name__} at set-up: {first[:160]}"
        return None
    result.setup[who.name] = time.perf_counter() - start
    error = relative_error(results, ready.expected)
    result.errors[who.name] = error
    if error > AGREE:
        if who.ours:
            raise AssertionError(f"{ready.case.name}: {who.name} is wrong by {error:.1e} of the largest value")
        result.absent[who.name] = f"wrong by {error:.1e} of the largest value"
        return None
    return run


def contest(
    case: Case,
    contestants: Sequence[Contestant],
    seconds: float,
    *,
    rest: float = REST,
    stage: Callable[[str], object] = lambda text: None,
    extra: Callable[[Ready], Sequence[Contestant]] = lambda ready: (),
) -> Result:
    """Measure one case.

    Parameters
    ----------
    case, contestants
        Lucid must be among them, and at least one peer that can run the case.
    seconds
        Budget for the timing.
    rest
        Seconds of silence before each turn.
    stage
        Is told what happens now.
    extra
        More contestants, made for this case.

    Raises
    ------
    RuntimeError
        Where no peer could run: there is no figure without one.
    """
    ready = Ready(case)
    result = Result(case.name, case.title, case.group)
    entered = [who for who in (*contestants, *extra(ready)) if not who.groups or case.group in who.groups]
    runs: dict[str, Callable[[], Any]] = {}
    with mode(case):
        for who in entered:
            stage(f"set up {who.name}")
            run = _prepare(who, ready, result)
            if run is not None:
                runs[who.name] = run
        result.peers = [who.name for who in entered if not who.ours and who.name in runs]
        if not result.peers:
            raise RuntimeError(f"{case.name}: no peer could run it: {result.absent}")
        calls: list[float] = []

        def on_round(number: int) -> None:
            stage(f"round {number}")
            calls.append(numpy_call())

        taken = interleave(runs, seconds, rest=rest, on_round=on_round)
    for name, turns in taken.items():
        result.seconds[name] = statistics.median(turns)
        low, _, high = statistics.quantiles(turns, n=4)
        result.quartiles[name] = (low, high)
        result.ratios[name] = paired_ratio(turns, taken[LUCID])
    result.rounds, result.day, result.call = len(calls), date.today().isoformat(), statistics.median(calls)
    del runs, ready
    torch.compiler.reset()
    gc.collect()
    return result
