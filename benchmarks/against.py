"""Kernels of two commits, run in turn on one machine: `make benchmarks-against BASE=main`.

A machine's speed drifts (other work, heat); base and head run alternately, so that both meet the
same drift. Each round gives one median per benchmark and side; the ratio of their medians is
tested with Mann-Whitney's U, as `bench compare` does with times. Both sides run in this
environment: only haplobench's own code is another.

Exit codes: 0 nothing is slower, 1 something is, 2 a mistake in the call.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from scipy.stats import mannwhitneyu

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("harness", "plugins/generators", "plugins/metrics")
# The level of design's gate on times; with 7 rounds a side the smallest possible p is 0.0006.
LEVEL = 0.002
LEAST_ROUNDS = 7

Medians = dict[str, list[float]]


def measure(tree: Path, tests: Path, wanted: Sequence[str]) -> Mapping[str, float]:
    """Median seconds of each benchmark of the tests' folder, with a tree's code."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "benchmarks.json"
        done = subprocess.run(
            [
                *(
                    sys.executable,
                    "-m",
                    "pytest",
                    *wanted,
                    "-q",
                    "-m",
                    "",
                    "-p",
                    "no:cacheprovider",
                ),
                *("--benchmark-only", "--benchmark-min-rounds=3", "--benchmark-max-time=0.5"),
                f"--benchmark-json={out}",
            ],
            cwd=tests,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(str(tree / s) for s in SOURCES)},
            capture_output=True,
            text=True,
        )
        if not out.is_file() or not out.stat().st_size:
            sys.exit(f"no benchmark ran in {tree}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        found = json.loads(out.read_text())["benchmarks"]
    return {item["fullname"]: float(item["stats"]["median"]) for item in found}


def judge(base: Sequence[float], head: Sequence[float], slower: float) -> tuple[float, float, str]:
    """Ratio of medians (head over base), p, and slower, faster or the same."""
    ratio = statistics.median(head) / statistics.median(base)
    p = float(mannwhitneyu(head, base, alternative="two-sided").pvalue)
    if p < LEVEL and ratio > 1 + slower:
        return ratio, p, "slower"
    if p < LEVEL and ratio < 1 / (1 + slower):
        return ratio, p, "faster"
    return ratio, p, "the same"


def main() -> int:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("base", help="a git reference")
    parser.add_argument("tests", nargs="*", default=["benchmarks"], help="as for pytest")
    parser.add_argument("--rounds", type=int, default=9, help=f"at least {LEAST_ROUNDS}")
    parser.add_argument("--slower", type=float, default=0.1, help="0.1: 10 %% is called slower")
    arguments = parser.parse_args()
    if arguments.rounds < LEAST_ROUNDS:
        parser.error(f"--rounds {arguments.rounds}: expected at least {LEAST_ROUNDS}")
    sides: dict[str, Medians] = {"base": {}, "head": {}}
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "base"
        made = subprocess.run(
            ["git", "worktree", "add", "--detach", str(tree), arguments.base],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        if made.returncode:
            parser.error(made.stderr.strip())
        try:
            for number in range(arguments.rounds):
                order = ("base", "head") if number % 2 == 0 else ("head", "base")
                for side in order:
                    # The benchmarks themselves are head's on both sides.
                    code = tree if side == "base" else ROOT
                    for name, median in measure(code, ROOT, arguments.tests).items():
                        sides[side].setdefault(name, []).append(median)
                print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT)
    return report(sides, arguments.slower)


def report(sides: Mapping[str, Medians], slower: float) -> int:
    """Print the table; 1 if something is slower."""
    table = Table(box=None, pad_edge=False)
    for column in ("benchmark", "base (ms)", "head (ms)", "head / base", "p", ""):
        table.add_column(column, justify="left" if column in ("benchmark", "") else "right")
    worst = 0
    for name, head in sorted(sides["head"].items()):
        base = sides["base"].get(name, [])
        if len(base) < LEAST_ROUNDS or len(head) < LEAST_ROUNDS:
            table.add_row(name, "", "", "", "", f"ran {len(base)} and {len(head)} times")
            continue
        ratio, p, verdict = judge(base, head, slower)
        worst = max(worst, int(verdict == "slower"))
        table.add_row(
            name,
            f"{1e3 * statistics.median(base):.3g}",
            f"{1e3 * statistics.median(head):.3g}",
            f"{ratio:.2f}",
            f"{p:.2g}",
            verdict,
        )
    Console().print(table)
    return worst


if __name__ == "__main__":
    sys.exit(main())
