"""A contest: contestants in processes of their own set up a case, their results are compared, and they run in turns."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from cases import Case
from entrant import LOWERINGS
from peers import LUCID, Contestant, Ready
from timing import numpy_call, paired_ratio, rest
from turns import Process

LEAST_ROUNDS = 3
ENTRANT = Path(__file__).with_name("entrant.py")


@dataclass
class Result:
    """What came out of one case.

    Attributes
    ----------
    seconds, paced
        Median of each contestant's rounds, of calls in a loop and of calls that come one every 30 ms.
    quartiles
        First and third quartile of the rounds, in a loop.
    ratios, paced_ratios
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
    paced: dict[str, float] = field(default_factory=dict)
    quartiles: dict[str, tuple[float, float]] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    paced_ratios: dict[str, float] = field(default_factory=dict)
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
        """The quickest of the others, in a loop."""
        return min(self.peers, key=self.seconds.__getitem__)

    @property
    def ratio(self) -> float:
        """The best peer's time over ours, in a loop."""
        return self.ratios[self.best_peer]

    @property
    def paced_ratio(self) -> float:
        """The same of paced calls, by which another may be the best."""
        return self.paced_ratios[min(self.peers, key=self.paced.__getitem__)]

    def as_json(self) -> dict[str, Any]:
        found = {"best_peer": self.best_peer, "ratio": self.ratio, "paced_ratio": self.paced_ratio}
        return asdict(self) | found

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Result:
        made = ("best_peer", "ratio", "paced_ratio")
        return cls(**{key: value for key, value in data.items() if key not in made})


class Contest:
    """The processes of all contestants, which serve one case after another.

    Parameters
    ----------
    contestants
        Lucid must be among them.
    seconds
        Budget for the timing of a case.
    lowerings
        Whether every lowering of a layer takes part too.
    """

    def __init__(self, contestants: Sequence[Contestant], seconds: float, lowerings: bool = False) -> None:
        self.ours = {who.name for who in contestants if who.ours}
        self.seconds = seconds
        self._folder = tempfile.TemporaryDirectory()
        fresh = {"TORCHINDUCTOR_CACHE_DIR": self._folder.name}  # what is compiled is compiled anew
        names = [who.name for who in contestants] + [LOWERINGS] * lowerings
        self.running = {name: Process([str(ENTRANT), name], environment=fresh) for name in names}

    def __enter__(self) -> Contest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in self.running.values():
            one.end()
        self._folder.cleanup()

    def case(
        self,
        case: Case,
        *,
        stage: Callable[[str], object] = lambda text: None,
        notes: Callable[[Ready], Mapping[str, Any]] = lambda ready: {},
    ) -> Result:
        """Measure one case.

        Parameters
        ----------
        case
            At least one peer must be able to run it.
        stage
            Is told what happens now.
        notes
            What else the tables show of it.

        Raises
        ------
        RuntimeError
            Where no peer could run, as there is no figure without one; where one of ours has failed.
        """
        result = Result(case.name, case.title, case.group)
        entered = self._enter(case, result, stage, notes)
        result.peers = [name for name, who in entered.items() if who not in self.ours and who != LOWERINGS]
        if not result.peers:
            raise RuntimeError(f"{case.name}: no peer could run it: {result.absent}")
        turns: dict[str, list[Mapping[str, float]]] = {name: [] for name in entered}
        calls: list[float] = []
        end = time.perf_counter() + self.seconds
        while len(calls) < LEAST_ROUNDS or time.perf_counter() < end:
            for name, who in entered.items():
                rest([one.process.pid for one in self.running.values()])
                turns[name].append(self.running[who].ask({"turn": name}))
            calls.append(numpy_call())
            stage(f"round {len(calls)}")
        _conclude(result, turns)
        result.rounds, result.day, result.call = len(calls), date.today().isoformat(), statistics.median(calls)
        return result

    def _enter(
        self,
        case: Case,
        result: Result,
        stage: Callable[[str], object],
        notes: Callable[[Ready], Mapping[str, Any]],
    ) -> dict[str, str]:
        """The names under which something runs, with who does."""
        running = {who: one for who, one in self.running.items() if who != LOWERINGS or case.group == "layer"}
        for one in running.values():  # all at once, as nothing is timed yet
            one.tell({"case": case.name})
        ready, expected = Ready(case), str(Path(self._folder.name) / "expected.npz")
        np.savez(expected, *ready.expected)
        result.notes = dict(notes(ready))
        names = {who: _answered(one, who)["names"] for who, one in running.items()}
        entered: dict[str, str] = {}
        for name, who in ((name, who) for who, of in names.items() for name in of):
            stage(f"set up {name}")
            found = self.running[who].ask({"set up": name, "expected": expected})
            if not found:
                raise RuntimeError(f"{case.name}: {name} has failed; benchmarks/entrant.py runs it alone")
            if "error" in found:
                result.errors[name] = found["error"]
            if "absent" in found:
                result.absent[name] = found["absent"]
            else:
                result.setup[name] = found["setup"]
                entered[name] = who
        return entered


def _answered(one: Process, who: str) -> dict[str, Any]:
    found = one.answer()
    if not found:
        raise RuntimeError(f"{who} has failed; benchmarks/entrant.py runs it alone")
    return found


def _conclude(result: Result, turns: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    """The medians of all turns, and the ratios to Lucid's of the same rounds."""
    loop, paced = ({name: [turn[how] for turn in of] for name, of in turns.items()} for how in ("loop", "paced"))
    for name in turns:
        result.seconds[name], result.paced[name] = statistics.median(loop[name]), statistics.median(paced[name])
        low, _, high = statistics.quantiles(loop[name], n=4)
        result.quartiles[name] = (low, high)
        result.ratios[name] = paired_ratio(loop[name], loop[LUCID])
        result.paced_ratios[name] = paired_ratio(paced[name], paced[LUCID])
