"""How often `bench compare` raises a false alarm, and how often it catches a planted regression.

    python benchmarks/aa_study/study.py run --seeds 100 --out results
    python benchmarks/aa_study/study.py analyse --out results

`run` runs suite.yaml with the harness, in pieces of ten seeds. `analyse` draws two disjoint sets
of seeds for each comparison, hands one to either side as its seeds 1 to n, as if the code's random
numbers had changed between the two, and compares. For an A/A comparison both sides are the same
generators; for a planted regression head's generator is its worsened double (see aa_plants.py).
Writes aa_study.json and aa_study.md beside this file.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from haplobench.comparison.compare import compare
from haplobench.comparison.measured import Cohort, Measured, Number, define, gather
from haplobench.comparison.model import Comparison, Side
from haplobench.comparison.settings import CompareSettings
from haplobench.results.run_folder import RunFolder, find_runs

HERE = Path(__file__).parent
GENERATORS = ("independent", "copycat", "markov", "li-stephens")
PIECE = 10


@dataclass(frozen=True)
class Plant:
    """A worsened generator, whose place it takes, and the family that should notice."""

    name: str
    replaces: str
    family: str
    what: str


PLANTS = (
    Plant("plant-noise", "li-stephens", "fidelity", "LD 10 % lower (noise on alleles)"),
    Plant("plant-leak", "li-stephens", "privacy", "5 % of people copied from training"),
    Plant("plant-slow", "markov", "performance", "1.3 times the processor time"),
)


def run(seeds: int, out: Path) -> None:
    """Run the suite with seeds 1 to `seeds`."""
    sys.path.insert(0, str(HERE))
    from haplobench.registry import load_registry
    from haplobench.runner import run_suite
    from haplobench.suite import load_suite

    installed = [entry.value for entry in importlib.metadata.entry_points(group="haplobench")]
    registry = load_registry([*installed, "aa_plants"])
    for first in range(1, seeds + 1, PIECE):
        piece = list(range(first, min(first + PIECE, seeds + 1)))
        suite = load_suite(HERE / "suite.yaml", [f"seeds={piece}"], registry)
        outcome = run_suite(suite, registry, out)
        print(f"seeds {piece[0]}-{piece[-1]}: {outcome.run_folder}", flush=True)


def read(out: Path) -> Measured:
    """All runs of the study as one."""
    runs: list[RunFolder] = find_runs(out, "aa-study")
    rows: list[dict[str, Any]] = []
    for folder in runs:
        rows += [asdict(record) for record in folder.records()]
    measured = gather(rows, Side("study"))
    measured.definitions = define(runs[-1].info()["metrics"])
    return measured


def side(measured: Measured, seeds: Sequence[int], plant: Plant | None = None) -> Measured:
    """A run of some seeds, called 1 to n; a planted generator under the name of the sound one."""
    taken = {name: name for name in GENERATORS}
    if plant is not None:
        del taken[plant.replaces]
        taken[plant.name] = plant.replaces
    made = replace(measured, cohorts={}, numbers={}, failures={})
    for (dataset, generator), cohort in measured.cohorts.items():
        name = taken.get(generator)
        if name is not None:
            made.cohorts[dataset, name] = Cohort(
                role=cohort.role,
                cells={at: f"{name}-{at}" for at in range(1, len(seeds) + 1)},
                hardware=cohort.hardware,
            )
    for key, number in measured.numbers.items():
        name = taken.get(key.generator)
        if name is not None:
            values = {
                at: number.values[seed] for at, seed in enumerate(seeds, 1) if seed in number.values
            }
            made.numbers[replace(key, generator=name)] = Number(
                **{**vars(number), "values": values}
            )
    return made


def caught(comparison: Comparison, plant: Plant) -> bool:
    """Whether the planted generator regressed in the family that should notice."""
    return any(
        row.generator == plant.replaces and row.family == plant.family for row in comparison.failing
    )


def rates(
    measured: Measured,
    n: int,
    repeats: int,
    settings: CompareSettings,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Alarms in A/A comparisons, and catches of each plant, with `n` seeds a side."""
    seeds = sorted(
        set.intersection(
            *(set(measured.cohorts[k].cells) for k in measured.cohorts if k[1] != "floor")
        )
    )
    found: dict[str, Any] = {"seeds_per_side": n, "comparisons": repeats, "pool": len(seeds)}
    alarms, improved, which = 0, 0, {}
    hits = {plant.name: 0 for plant in PLANTS}
    other = dict(hits)
    for _ in range(repeats):
        drawn = [int(seed) for seed in rng.choice(seeds, size=2 * n, replace=False)]
        base = side(measured, drawn[:n])
        comparison = compare(base, side(measured, drawn[n:]), settings)
        alarms += bool(comparison.failing)
        improved += any(r.gated and r.status == "improved" for r in comparison.rows)
        for row in comparison.failing:
            which[row.key] = which.get(row.key, 0) + 1
        for plant in PLANTS:
            comparison = compare(base, side(measured, drawn[n:], plant), settings)
            hits[plant.name] += caught(comparison, plant)
            other[plant.name] += any(row.generator != plant.replaces for row in comparison.failing)
    found["gated"] = comparison.correction
    found["false_alarms"] = interval(alarms, repeats)
    found["false_improvements"] = interval(improved, repeats)
    found["alarms_by_number"] = dict(sorted(which.items(), key=lambda item: -item[1])[:10])
    found["caught"] = {name: interval(count, repeats) for name, count in hits.items()}
    found["alarms_elsewhere"] = {name: interval(count, repeats) for name, count in other.items()}
    return found


def interval(count: int, total: int) -> dict[str, Any]:
    """A share with its 95 % interval (Wilson, JASA 22, 209-212, 1927)."""
    from scipy.stats import binomtest

    low, high = binomtest(count, total).proportion_ci(0.95, "wilson")
    return {"count": count, "share": count / total, "low": float(low), "high": float(high)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["run", "analyse"])
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--sizes", type=int, nargs="+", default=[3, 5, 7, 10, 15, 20])
    parser.add_argument("--out", type=Path, default=Path("results"))
    arguments = parser.parse_args()
    if arguments.command == "run":
        run(arguments.seeds, arguments.out)
    else:
        measured = read(arguments.out)
        for n in arguments.sizes:
            print(
                json.dumps(
                    rates(
                        measured, n, arguments.repeats, CompareSettings(), np.random.default_rng(n)
                    ),
                    indent=1,
                )
            )
