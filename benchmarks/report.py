"""The page on inference. No time is shown without the best peer's beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import svg
from contest import Result
from peers import CONTESTANTS, LUCID
from tables import geometric_mean, markdown, milliseconds, write_text
from timing import describe

TITLES = {
    "net": "Networks",
    "block": "Blocks",
    "pool": "Max pooling alone",
    "layer": "Single convolutions, by lowering",
}
OURS = [who.name for who in CONTESTANTS if who.ours]


def _columns(results: Sequence[Result]) -> list[str]:
    """The contestants of these results in the order of the table, single lowerings last."""
    present = {name for r in results for name in (*r.seconds, *r.absent)}
    known = [who.name for who in CONTESTANTS if who.name in present]
    return known + sorted(present - set(known))


def _cell(result: Result, name: str) -> str:
    if name in result.seconds:
        return milliseconds(result.seconds[name])
    return "–" if name not in result.absent else "– *"


def time_table(results: Sequence[Result]) -> str:
    """Milliseconds of every contestant in a loop, the best peer, and its time over ours; that of paced calls too."""
    columns = [name for name in _columns(results) if not name.startswith("lowering: ")]
    head = ["ms", *columns, "best peer", "its ms", "best peer / Lucid", "paced"]
    rows = [
        [r.title, *(_cell(r, name) for name in columns), r.best_peer, milliseconds(r.seconds[r.best_peer]),
         f"**{r.ratio:.2f}**", f"{r.paced_ratio:.2f}"]
        for r in results
    ]  # fmt: skip
    return markdown(head, rows)


def lowering_table(results: Sequence[Result]) -> str:
    """Milliseconds of every lowering of each layer, the one that is chosen, and the best peer."""
    columns = [name for name in _columns(results) if name.startswith("lowering: ")]
    head = ["ms", *(c.removeprefix("lowering: ") for c in columns), "chosen", "Lucid", "best peer", "its ms",
            "best peer / Lucid"]  # fmt: skip
    rows = [
        [r.title, *(_cell(r, name) for name in columns), str(r.notes.get("chosen", "")),
         milliseconds(r.seconds[LUCID]), r.best_peer, milliseconds(r.seconds[r.best_peer]), f"**{r.ratio:.2f}**"]
        for r in results
    ]  # fmt: skip
    return markdown(head, rows)


def setup_table(results: Sequence[Result]) -> str:
    """Seconds from the model to its first result, of all that compile, and the quickest peer's over ours."""
    columns = [name for name in _columns(results) if not name.startswith(("lowering: ", "PyTorch"))]
    rows = []
    for r in results:
        quickest = min((n for n in r.peers if n in columns), key=r.setup.__getitem__, default=None)
        cells = [f"{r.setup[n]:.3g}" if n in r.setup else "–" for n in columns]
        if quickest is not None:
            rows.append([r.title, *cells, quickest, f"{r.setup[quickest] / r.setup[LUCID]:.2f}"])
    return markdown(["s from model to first result", *columns, "quickest peer", "quickest peer / Lucid"], rows)


def pool_table(results: Sequence[Result]) -> str:
    """How near pooling comes to the speed at which the machine copies memory."""
    head = ["share of copy bandwidth", "MB moved at least", "Lucid", "best peer", "its share"]
    rows = []
    for r in results:
        moved, bandwidth = r.notes["bytes"], r.notes["bandwidth"]
        ours, best = (moved / r.seconds[name] / bandwidth for name in (LUCID, r.best_peer))
        rows.append([r.title, f"{moved / 1e6:.1f}", f"{ours:.0%}", r.best_peer, f"{best:.0%}"])
    return markdown(head, rows)


def error_table(results: Sequence[Result]) -> str:
    """Largest error of every contestant, as a share of the largest value of a float64 run."""
    columns = [name for name in _columns(results) if not name.startswith("lowering: ")]
    rows = [[r.title, *(f"{r.errors[n]:.1e}" if n in r.errors else "–" for n in columns)] for r in results]
    return markdown(["largest error / largest value", *columns], rows)


def summary(results: Sequence[Result]) -> str:
    """The geometric mean, and where Lucid stays behind."""
    mean, paced = (geometric_mean([getattr(r, how) for r in results]) for how in ("ratio", "paced_ratio"))
    behind = [f"{r.title} ({r.ratio:.2f}, {r.best_peer})" for r in results if r.ratio < 1]
    text = f"Geometric mean of best peer / Lucid over {len(results)}: **{mean:.2f}**, paced {paced:.2f}. "
    text += f"Behind the best peer: {'; '.join(behind)}." if behind else "Nowhere behind the best peer."
    calls = [r.call * 1e6 for r in results if r.call]
    if calls:
        text += f" Meanwhile a NumPy call that adds 512 numbers took {min(calls):.2f} to {max(calls):.2f} µs."
    return text


def absences(results: Sequence[Result]) -> str:
    """The reasons of contestants that have no time, each once."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for r in results:
        for name, reason in r.absent.items():
            reasons.setdefault((name, reason), []).append(r.title)
    return "\n".join(f"\\* {name}: {reason} ({'; '.join(where)})" for (name, reason), where in reasons.items())


def section(group: str, results: Sequence[Result]) -> str:
    """All tables of one group, as Markdown."""
    parts = [f"## {TITLES[group]}"]
    parts.append(lowering_table(results) if group == "layer" else time_table(results))
    if group == "pool":
        parts.append(pool_table(results))
        bandwidth = results[-1].notes["bandwidth"]
        parts.append(f"Copying moves {bandwidth / 1e9:.1f} GB/s on all cores, bytes read and written counted.")
    parts += [summary(results), error_table(results)]
    if group == "net":
        parts.append(setup_table(results))
    if any(r.absent for r in results):
        parts.append(absences(results))
    return "\n\n".join(parts)


def plot(group: str, results: Sequence[Result]) -> str:
    """Bars of every contestant's time, the best peer's being 1."""
    rows = {}
    for r in results:
        best = r.seconds[r.best_peer]
        rows[r.title] = {n: r.seconds[n] / best for n in _columns([r]) if n in r.seconds and "lowering" not in n}
    return svg.bars(f"{TITLES[group]}: time, the best peer's being 1", "shorter is faster", rows, OURS)


def page(facts: Mapping[str, Any], results: Sequence[Result]) -> str:
    """The whole of ``inference.md``."""
    rounds = sorted({r.rounds for r in results})
    days = sorted({r.day for r in results})
    intro = (
        "# Inference\n\nMade by `make bench`. Each contestant has a process of its own, with the same weights and "
        "input, in single precision, and a turn in each round. Times are milliseconds of a call in a loop, medians of "
        "the rounds; a ratio is the median of the rounds' of the best peer's time over ours: above 1 Lucid is faster. "
        "Paced is the same for calls that come one every 30 ms, as requests do. "
        f"Rounds: {rounds[0]} to {rounds[-1]}; measured {days[0]}{'' if len(days) == 1 else ' to ' + days[-1]}. "
        "Why it is slower where it is, and what was tried: [limits.md](limits.md)."
    )
    parts = [intro, describe(facts)]
    for group in TITLES:
        found = [r for r in results if r.group == group]
        if found:
            parts.append(section(group, found))
            if group != "layer":
                parts.append(f"![{TITLES[group]}]({group}.svg)")
    return "\n\n".join(parts) + "\n"


def write(folder: Path, facts: Mapping[str, Any], results: Sequence[Result], order: Sequence[str]) -> None:
    """Write JSON, Markdown and plots. Cases measured before on the same machine and versions are kept.

    Parameters
    ----------
    folder
        Made where it is missing.
    facts
        The machine.
    results
        New ones; they replace those of the same name.
    order
        Names of all cases, in the order of the tables.
    """
    path = folder / "inference.json"
    kept: dict[str, Result] = {}
    if path.exists():
        data = json.loads(path.read_text("utf-8"))
        if data["machine"] == facts:
            kept = {entry["name"]: Result.from_json(entry) for entry in data["results"] if "paced" in entry}
    kept |= {r.name: r for r in results}
    every = [kept[name] for name in order if name in kept]
    content = {"machine": facts, "results": [r.as_json() for r in every]}
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    write_text(folder / "inference.md", page(facts, every))
    for group in TITLES:
        found = [r for r in every if r.group == group]
        if found and group != "layer":
            write_text(folder / f"{group}.svg", plot(group, found))
