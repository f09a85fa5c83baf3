"""Puts real people in the place of a cohort, and counts the marks that they earn.

    python benchmarks/floor_marks.py --data ../shared/data

For each region, split and number of people: a floor as `bench evaluate` draws it, ten draws, and
cohorts of strangers, who are neither among the real nor among the training people. Every fidelity
number with a better and a worse is marked; right are ● for nearly all of them, and next to no ◆
and ×. Exit status 1 if a size has fewer than 90 % ●, or more than 1 % ◆ or ×.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from haplobench import Panel, Reference, RunContext
from haplobench.data.formats import ReadOptions, read_panel
from haplobench.datasets.file import read_surroundings
from haplobench.plugin import MetricSpec
from haplobench.registry import load_registry, resolve
from haplobench.report.model import Floor, band
from haplobench.results.description import SubmetricInfo
from haplobench.runner.floor import dealt_cohort, most_people, subsample
from haplobench.runner.worker.prepare import make_prepared

LEAST_WITHIN, MOST_OTHER = 0.9, 0.01
FLOOR_DRAWS, SUBSAMPLES = 10, 5
Key = tuple[str, str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True)
class Region:
    """A panel, and how many of its people are real and trained on."""

    file: str
    map: str
    region: str
    n_real: int
    n_train: int
    sizes: tuple[int, ...]


REGIONS = {
    "chr1": Region(
        "1kg_p3_chr1_11.70-11.84Mb.vcf.gz", "chr1.b37.gmap.gz", "", 300, 1100,
        (2, 3, 6, 20, 60, 150, 300, 500),
    ),
    "chr20": Region(
        "1kg_p3_chr20_1-4Mb_EUR300.vcf.gz", "chr20.b37.gmap.gz", "20:1000000-1800000", 60, 120,
        (2, 3, 6, 20, 60, 100),
    ),
}  # fmt: skip


def main() -> int:
    """Print a table for each region."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of real panels")
    parser.add_argument("--region", choices=REGIONS, action="append", help="only these")
    parser.add_argument("--draws", type=int, default=100, help="strangers' cohorts of each size")
    parser.add_argument("--splits", type=int, default=20, help="splits that they are drawn from")
    parser.add_argument("--no-train", action="store_true", help="as without --train")
    args = parser.parse_args()
    console = Console(width=100)
    missed = 0
    for name in args.region or REGIONS:
        marks = _marks(REGIONS[name], args.data, args.draws, args.splits, not args.no_train)
        table = Table("people", "numbers", "● %", "◆ %", "○ %", "× %", title=name)
        for n, counts in marks.items():
            total = counts.total()
            shares = [counts[m] / total for m in ("within", "better", "outside", "far")]
            table.add_row(str(n), f"{total:,}", *(f"{100 * share:.1f}" for share in shares))
            missed += shares[0] < LEAST_WITHIN or max(shares[1], shares[3]) > MOST_OTHER
        console.print(table)
    return 1 if missed else 0


def _marks(
    region: Region, data: Path, draws: int, splits: int, with_train: bool
) -> dict[int, Counter[str]]:
    """Marks by number of people."""
    options = ReadOptions(region=region.region, panel_file=data / "1kg_p3.panel.tsv")
    panel, _ = read_panel(data / region.file, options)
    specs = [spec for spec in load_registry().metrics.values() if spec.family == "fidelity"]
    infos = {
        (spec.name, item.name): SubmetricInfo(
            item.name,
            item.title,
            direction=item.direction,
            ideal=item.ideal,
            min_effect=item.min_effect,
        )
        for spec in specs
        for item in spec.submetrics
    }
    marks: dict[int, Counter[str]] = defaultdict(Counter)
    for split in range(splits):
        order = np.random.default_rng(split).permutation(panel.n_samples)
        n_known = region.n_real + region.n_train
        known, strangers = order[:n_known], np.sort(order[n_known:])
        train, real, ctx, everybody = _prepared(panel, known, region, data, split)
        trained = train if with_train else None
        for n in region.sizes:
            if n > strangers.size:
                continue
            people = min(n, most_people((train if with_train else real).n_samples))
            floor_values: dict[Key, list[float]] = defaultdict(list)
            for draw in range(FLOOR_DRAWS):
                reference, cohort = dealt_cohort(trained, real, people, draw, split)
                for key, value in _values(specs, reference, cohort, ctx).items():
                    floor_values[key].append(value)
            for draw in range(split, draws, splits):
                rng = np.random.default_rng([split, n, draw])
                chosen = np.sort(rng.choice(strangers, n, replace=False))
                cohort = everybody.select_samples(chosen)
                found = _cohort_values(specs, cohort, people, train, real, ctx, with_train)
                for key, value in found.items():
                    info = infos[key[:2]]
                    if key in floor_values:
                        floor = Floor.of_each({"": (np.array(floor_values[key]), info.ideal)})[""]
                        mark = band(value, floor, info)
                        marks[n].update([mark] if mark else [])
    return marks


def _prepared(
    panel: Panel, known: np.ndarray[Any, Any], region: Region, data: Path, seed: int
) -> tuple[Panel, Panel, RunContext, Panel]:
    """Training and real people at the sites chosen on the former, and everybody there."""
    ctx = RunContext(seed=seed, artifacts=Path(), scratch=Path(), min_maf=0.01)
    real = panel.select_samples(np.sort(known[: region.n_real]))
    train = panel.select_samples(np.sort(known[region.n_real :]))
    genetic, sequence = read_surroundings(panel, str(data / region.map), "")
    prepared = make_prepared(
        train=train,
        holdout=real,
        validation=np.empty(0, np.int64),
        recombination_map=genetic,
        sequence=sequence,
        min_maf=0.01,
        max_missing=0.0,
        skipped={},
        provenance={},
        ctx=ctx,
    )
    ctx = replace(ctx, sequence=prepared.sequence, recombination_map=genetic)
    everybody = panel.select_sites(np.isin(panel.positions, prepared.train.positions))
    return prepared.train, prepared.holdout, ctx, everybody


def _cohort_values(
    specs: list[MetricSpec],
    cohort: Panel,
    people: int,
    train: Panel,
    real: Panel,
    ctx: RunContext,
    with_train: bool,
) -> Mapping[Key, float]:
    """What `bench evaluate` places: the cohort's values, or the means of its subsamples'."""
    cohort = cohort.with_haplotypes(
        cohort.haplotypes, population=cohort.population, superpopulation=cohort.superpopulation
    )
    if with_train and people == cohort.n_samples:
        return _values(specs, Reference(train, real), cohort, ctx)
    values: dict[Key, list[float]] = defaultdict(list)
    for draw in range(SUBSAMPLES):
        reference = Reference(train, real)
        if not with_train:
            reference, _ = dealt_cohort(None, real, people, draw, ctx.seed + 1000)
        some = subsample(cohort, people, draw, ctx.seed)
        for key, value in _values(specs, reference, some, ctx).items():
            values[key].append(value)
    return {key: float(np.mean(found)) for key, found in values.items()}


def _values(
    specs: list[MetricSpec], reference: Reference, cohort: Panel, ctx: RunContext
) -> dict[Key, float]:
    """All numbers of a cohort, by metric, submetric and labels."""
    values = {}
    for spec in specs:
        result = resolve(spec.target)(reference, cohort, spec.params(), ctx)
        for name, found in result.measurements.items():
            for one in [found] if not isinstance(found, (list, tuple)) else found:
                if one.value is not None:
                    values[spec.name, name, tuple(sorted(one.labels.items()))] = float(one.value)
    return values


if __name__ == "__main__":
    raise SystemExit(main())
