"""The table of what the backend suite gives, which is checked in: written, and read again.

``python -m tests.suite.table`` writes it; with a pattern behind, it prints what became of the cases instead.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import onnx

from .cases import KINDS, Result, results

TABLE = Path(__file__).with_name("table.md")
STATES = ("passed", "other", "unsupported", "failed")


def written(found: Sequence[Result]) -> str:
    """The table as text."""
    counts = Counter((one.kind, one.state) for one in found)
    lines = [
        f"# The backend suite of onnx {onnx.__version__}", "",
        "Written by `python -m tests.suite.table`; `make onnx` fails where fewer cases pass.", "",
        "| kind | cases | passed | other | unsupported | failed |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for kind in (*KINDS, "all"):
        numbers = [sum(counts[one, state] for one in KINDS if kind in (one, "all")) for state in STATES]
        lines.append(f"| {kind} | {sum(numbers)} | {' | '.join(map(str, numbers))} |")
    for state in ("failed", "other", "unsupported"):
        reasons: dict[str, list[str]] = {}
        for one in found:
            if one.state == state:
                reasons.setdefault(one.reason.replace("|", "/"), []).append(one.name.removeprefix("test_"))
        lines += ["", f"## {state.capitalize()}", "", "| reason | cases | among them |", "|---|---|---|"]
        for reason, names in sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0])):
            among = names[:3] if state == "unsupported" else names
            lines.append(f"| {reason} | {len(names)} | {', '.join(among)} |")
    return "\n".join([*lines, ""])


def passed() -> dict[str, int]:
    """How many cases of each kind the table says pass."""
    rows = re.findall(r"^\| ([\w-]+) \| \d+ \| (\d+) \| \d+ \| \d+ \| \d+ \|$", TABLE.read_text("utf-8"), re.MULTILINE)
    return {kind: int(count) for kind, count in rows}


def main(patterns: Sequence[str]) -> None:
    if not patterns:
        TABLE.write_text(written(results()), "utf-8")
        return
    for one in results("|".join(patterns)):
        sys.stdout.write(f"{one.state:12} {one.name} {one.reason}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
