"""``python -m tests.soak [NAME …] [--cases N] [--seconds S] [--seed K]``: sweeps at length; 1 where any failed."""

from __future__ import annotations

import argparse
import sys

from .sweep import names, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Run sweeps at length.")
    parser.add_argument("names", nargs="*", help=f"which: {', '.join(names())} (default: all)")
    parser.add_argument("--cases", type=int, default=10**9, help="how many of each at most")
    parser.add_argument("--seconds", type=float, default=300, help="how long each at most (default 300)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    failed = 0
    for name in args.names or names():
        tally = run(name, args.cases, args.seed, args.seconds)
        sys.stdout.write(f"{tally}\n")
        sys.stdout.flush()
        failed += tally.failed
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
