"""What a cohort costs by its size, and from which size on one generator is cheaper than another.

    python benchmarks/cohort_cost.py RUN --sizes 100,1000,10000,100000 --out cohort_cost.json

RUN is a run's folder, whose fitted generators are sampled by `bench generate` into VCF Zarr, each
in a process of its own: CPU seconds (starting and loading included), peak memory, bytes on disk.
What `--out` already holds isn't measured again.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

_PROGRAM = "from haplobench.cli import main; main()"


def measure(run: Path, generator: str, size: int, folder: Path) -> dict[str, Any]:
    """One cohort: haplotypes, sites, CPU seconds, MiB of memory, bytes on disk."""
    to = folder / "cohort.vcz"
    arguments = ["generate", str(run), "-g", generator, "-n", str(size), "--to", str(to)]
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"},
    )
    assert process.stdout
    text = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    sites = re.search(r"haplotypes at ([\d,]+) sites", text)
    if status or sites is None:
        raise SystemExit(f"{generator}, {size} haplotypes: {text[-500:]}")
    disk = sum(path.stat().st_size for path in to.rglob("*") if path.is_file())
    shutil.rmtree(to)
    return {
        "generator": generator,
        "haplotypes": size,
        "sites": int(sites[1].replace(",", "")),
        "cpu_s": round(used.ru_utime + used.ru_stime, 2),
        "mib": round(used.ru_maxrss / 1024),
        "bytes": disk,
    }


def exponent(curve: Mapping[int, float]) -> float:
    """Of the steepest step of a curve from size to cost: 1 is proportional to size."""
    steps = pairwise(sorted(curve.items()))
    return max(math.log(d / b) / math.log(c / a) for (a, b), (c, d) in steps)


def break_even(first: Mapping[int, float], second: Mapping[int, float]) -> list[float]:
    """Sizes at which two curves cross, straight lines between the sizes that both have."""
    sizes = sorted(first.keys() & second.keys())
    gaps = [(size, first[size] - second[size]) for size in sizes]
    return [
        a + (b - a) * one / (one - other)
        for (a, one), (b, other) in pairwise(gaps)
        if one * other < 0
    ]


def table(rows: Sequence[Mapping[str, Any]], sizes: Sequence[int]) -> str:
    """A Markdown table: a line for each generator; `-` where it wasn't measured."""
    cells = {(row["generator"], row["haplotypes"]): row for row in rows}
    head = ["generator", "sites", *(f"{size:,}" for size in sizes), "MiB", "MB on disk", "exponent"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for generator in dict.fromkeys(row["generator"] for row in rows):
        mine = {size: cells[generator, size] for size in sizes if (generator, size) in cells}
        last = mine[max(mine)]
        cpu = {size: row["cpu_s"] for size, row in mine.items()}
        lines.append(
            [
                f"`{generator}`",
                f"{last['sites']:,}",
                *(f"{cpu[size]:.1f}" if size in cpu else "-" for size in sizes),
                f"{max(row['mib'] for row in mine.values())}",
                f"{last['bytes'] / 1e6:.1f}",
                f"{exponent(cpu):.2f}" if len(cpu) > 1 else "-",
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Measure, and print a table and the break-even sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--sizes", default="100,1000,10000,100000")
    parser.add_argument("--generators", default="", help="labels; all of the run's")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    models = [json.loads(path.read_text()) for path in sorted((options.run / "models").iterdir())]
    labels = options.generators.split(",") if options.generators else []
    labels = labels or list(dict.fromkeys(model["generator"] for model in models))
    rows = json.loads(options.out.read_text()) if options.out.exists() else []
    known = {(row["generator"], row["haplotypes"]) for row in rows}
    for size in sizes:
        for generator in labels:
            if (generator, size) in known:
                continue
            with tempfile.TemporaryDirectory(dir=options.out.absolute().parent) as folder:
                rows.append(measure(options.run, generator, size, Path(folder)))
            print(rows[-1], flush=True)
            options.out.write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows, sorted({row["haplotypes"] for row in rows})))
    curves: dict[str, dict[int, float]] = {}
    for row in rows:
        curves.setdefault(row["generator"], {})[row["haplotypes"]] = row["cpu_s"]
    for first, second in combinations(curves, 2):
        for size in break_even(curves[first], curves[second]):
            print(f"{first} and {second} cost the same at {size:,.0f} haplotypes")


if __name__ == "__main__":
    main()
