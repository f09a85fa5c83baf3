"""Plants leaks in cohorts of real people, and counts which are said to leak and who is named.

    python benchmarks/planted_leaks.py --data ../shared/data --region chr20 --splits 3 --draws 20

People of a region are shared out anew for each split: training people, held-out people, and
strangers, who are the cohort. Into it go copies of training people, or parts of them. Cohorts
without a plant (strangers, independent sites, frequencies with ε = 1, people simulated at the
panel's sites) should hardly ever be said to leak: `--draws` of each are judged. All privacy
metrics but that of shadows take part, at all sites, and are judged together as a report judges
them. Exit status 1 if somebody copied whole isn't named, or if cohorts without a plant are said
to leak more often than one time in twenty.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msprime
import numpy as np
import stdpopsim
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from haplobench import Measurement, Panel, Reference, RunContext
from haplobench.data.formats import ReadOptions, read_panel
from haplobench.plugin import MetricSpec
from haplobench.registry import load_registry, resolve
from haplobench.report.evidence import AttackKey, judge
from haplobench.results.description import SubmetricInfo
from haplobench.suite.schema import VerdictSettings

Alleles = NDArray[np.int8]
Plant = Callable[["Split", Alleles, int, np.random.Generator], None]
REGIONS = {
    "chr1": "1kg_p3_chr1_11.70-11.84Mb.vcf.gz",
    "chr4": "1kg_p3_chr4_93.1-94.7Mb_EUR297_AFR268.vcf.gz",
    "chr20": "1kg_p3_chr20_1-4Mb_EUR300.vcf.gz",
}
MOST_FALSE = 0.05


@dataclass(frozen=True)
class Split:
    """People of a region, shared out: three fifths train, a fifth each held out and strangers."""

    train: Panel
    holdout: Panel
    strangers: Panel

    @classmethod
    def of(cls, panel: Panel, rng: np.random.Generator) -> Split:
        """Share the panel's people out at random."""
        order, fifth = rng.permutation(panel.n_samples), panel.n_samples // 5
        parts = np.split(order, [3 * fifth, 4 * fifth])
        return cls(*(panel.select_samples(np.sort(part)) for part in parts))

    @property
    def rare(self) -> NDArray[np.bool_]:
        """Sites at which at most two real haplotypes carry the alternate allele."""
        counts = self.train.allele_counts[0] + self.holdout.allele_counts[0]
        return np.asarray(counts <= 2)


def _copy(changed: float, apart: bool = False, haplotypes: int = 2) -> Plant:
    """Whole copies: with a share of sites flipped, spread over other people, or one haplotype."""

    def plant(split: Split, cohort: Alleles, people: int, rng: np.random.Generator) -> None:
        for person in range(people):
            alleles = split.train.haplotypes[2 * person : 2 * person + haplotypes]
            flips = rng.random(alleles.shape) < changed
            for at, row in enumerate(alleles ^ flips.astype(np.int8)):
                # Haplotypes of one person meet again in one, or each beside another's.
                other = (person + at * people // 2) % people if people > 1 else person + at
                cohort[2 * (other if apart else person) + at] = row

    return plant


def _tract(split: Split, cohort: Alleles, people: int, rng: np.random.Generator) -> None:
    """500 kb, or half of a shorter region, of one haplotype each."""
    positions = split.train.positions
    for person in range(people):
        length = min(500_000, int(positions[-1] - positions[0]) // 2)
        first = int(rng.integers(positions[0], positions[-1] - length))
        sites = (positions >= first) & (positions < first + length)
        cohort[2 * person, sites] = split.train.haplotypes[2 * person, sites]


def _rare(split: Split, cohort: Alleles, people: int, rng: np.random.Generator) -> None:
    """Rare alleles alone."""
    rows = slice(0, 2 * people)
    cohort[rows] |= split.train.haplotypes[rows] & split.rare.astype(np.int8)


def _mosaic(split: Split, cohort: Alleles, people: int, rng: np.random.Generator) -> None:
    """Everybody is a mosaic of the first so many training people, in tracts of 200 kb."""
    positions = split.train.positions
    tract = (positions - positions[0]) // 200_000
    for row in cohort:
        source = rng.integers(0, 2 * people, int(tract[-1]) + 1)[tract]
        row[:] = split.train.haplotypes[source, np.arange(row.size)]


def _nobody(split: Split, cohort: Alleles, people: int, rng: np.random.Generator) -> None:
    """Nothing."""


def _independent(split: Split, cohort: Alleles, people: int, rng: np.random.Generator) -> None:
    """Every allele by its frequency among the training people."""
    cohort[:] = rng.random(cohort.shape) < split.train.frequencies


def _private(split: Split, cohort: Alleles, people: int, rng: np.random.Generator) -> None:
    """Every allele by its frequency at ε = 1, δ = 1e-5 a person.

    A person changes each of n sites' counts by two at most, so all of them by 2 √n (Gaussian
    mechanism; ρ of zero-concentrated privacy after Bun and Steinke 2016: ε = ρ + 2 √(ρ ln(1/δ))).
    """
    slack = np.log(1e5)
    rho = (np.sqrt(slack + 1) - np.sqrt(slack)) ** 2
    counts = split.train.haplotypes.sum(axis=0, dtype=np.int64)
    noise = rng.normal(0, 2 * np.sqrt(counts.size) / np.sqrt(2 * rho), counts.size)
    frequencies = np.clip((counts + noise) / split.train.n_haplotypes, 0, 1)
    cohort[:] = rng.random(cohort.shape) < frequencies


def _simulated(split: Split, cohort: Alleles, people: int, rng: np.random.Generator) -> None:
    """stdpopsim's Europeans (OutOfAfrica_3G09) at the panel's sites.

    Each site has the alleles of that simulated one, of the 200 nearest, whose frequency is most
    alike.
    """
    model = stdpopsim.get_species("HomSap").get_demographic_model("OutOfAfrica_3G09").model
    positions = split.train.positions - split.train.positions[0]
    trees = msprime.sim_ancestry(
        {"CEU": cohort.shape[0] // 2},
        demography=model,
        sequence_length=int(positions[-1]) + 1,
        recombination_rate=1e-8,
        random_seed=int(rng.integers(1, 2**31)),
    )
    # Some seven times as many mutations as people have leave a choice.
    mutated = msprime.sim_mutations(
        trees, rate=1e-7, model=msprime.BinaryMutationModel(), random_seed=1
    )
    simulated = mutated.genotype_matrix().T.astype(np.int8)
    frequencies = simulated.mean(axis=0)
    first = np.searchsorted(mutated.tables.sites.position, positions) - 100
    first = np.clip(first, 0, max(0, simulated.shape[1] - 200))
    for site, wanted in enumerate(split.train.frequencies):
        near = slice(first[site], first[site] + 200)
        cohort[:, site] = simulated[:, near][:, np.abs(frequencies[near] - wanted).argmin()]


CONTROLS: Mapping[str, Plant] = {
    "strangers": _nobody,
    "independent": _independent,
    "frequencies at ε = 1": _private,
    "stdpopsim": _simulated,
}
PLANTS: Mapping[str, Plant] = {
    "copied whole": _copy(0),
    "copied, in other people": _copy(0, apart=True),
    "one haplotype": _copy(0, haplotypes=1),
    "0.1 % flipped": _copy(0.001),
    "1 % flipped": _copy(0.01),
    "a tract of 500 kb": _tract,
    "rare alleles": _rare,
    "mosaic of 200 kb": _mosaic,
}


@dataclass(frozen=True)
class Outcome:
    """Whether a cohort is said to leak, by which numbers, and how many people are named rightly."""

    leaks: bool
    by: tuple[str, ...]
    named: int
    wrongly: int


def main() -> int:
    """Print a table for each region."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of real panels")
    parser.add_argument("--region", choices=REGIONS, action="append", help="only these")
    parser.add_argument("--splits", type=int, default=3, help="splits of each plant")
    parser.add_argument("--draws", type=int, default=200, help="cohorts of each control")
    parser.add_argument("--people", type=int, nargs="+", default=[1, 5, 22], help="copied")
    parser.add_argument("--min-maf", type=float, default=0.0, help="leave rarer sites out")
    parser.add_argument("--jobs", type=int, default=1, help="cohorts judged at a time")
    args = parser.parse_args()
    console = Console(width=100)
    missed = False
    pool = ProcessPoolExecutor(args.jobs, mp_context=get_context("fork"))
    for name in args.region or REGIONS:
        options = ReadOptions(panel_file=args.data / "1kg_p3.panel.tsv")
        panel, _ = read_panel(args.data / REGIONS[name], options)
        if args.min_maf:
            panel = panel.select_sites(panel.common_sites(args.min_maf))
        title = f"{name}: {panel.n_samples:,} people, {panel.n_sites:,} sites"
        table = Table("plant", "people", "said to leak", "named", "wrongly", "by", title=title)
        for control in CONTROLS:
            judge_one = partial(_judged, panel, control, 0)
            outcomes = list(pool.map(judge_one, range(args.draws)))
            _add(table, control, 0, outcomes)
            missed |= bool(np.mean([one.leaks for one in outcomes]) > MOST_FALSE)
        for label in PLANTS:
            for people in args.people:
                judge_one = partial(_judged, panel, label, people)
                outcomes = list(pool.map(judge_one, range(args.splits)))
                _add(table, label, people, outcomes)
                whole = label == "copied whole"
                missed |= whole and any(one.named < people for one in outcomes)
        console.print(table)
    pool.shutdown()
    return int(missed)


def _add(table: Table, label: str, people: int, outcomes: Sequence[Outcome]) -> None:
    n = len(outcomes)
    by: dict[str, int] = defaultdict(int)
    for one in outcomes:
        for number in one.by:
            by[number] += 1
    most = sorted(by, key=lambda number: -by[number])[:2]
    table.add_row(
        label,
        str(people),
        f"{sum(one.leaks for one in outcomes)} of {n}",
        f"{sum(one.named for one in outcomes)} of {n * people}" if people else "–",
        str(sum(one.wrongly for one in outcomes)),
        ", ".join(f"{number} {by[number]}" for number in most),
    )


def _judged(panel: Panel, label: str, people: int, seed: int) -> Outcome:
    plant = {**CONTROLS, **PLANTS}[label]
    split = Split.of(panel, np.random.default_rng([seed, 1]))
    alleles = np.array(split.strangers.haplotypes)
    plant(split, alleles, people, np.random.default_rng([seed, 2]))
    cohort = split.strangers.with_haplotypes(alleles)
    attacks: dict[AttackKey, Sequence[Measurement]] = {}
    known: dict[tuple[str, str], SubmetricInfo] = {}
    flagged: NDArray[Any] = np.empty(0, "U1")
    for spec in _specs():
        with tempfile.TemporaryDirectory() as scratch:
            ctx = RunContext(seed=seed, artifacts=Path(scratch), scratch=Path(scratch))
            reference = Reference(split.train, split.holdout)
            result = resolve(spec.target)(reference, cohort, spec.params(), ctx)
        for number in spec.submetrics:
            known[spec.name, number.name] = SubmetricInfo(
                **{**asdict(number), "family": number.family or spec.family}
            )
            found = result.measurements.get(number.name, ())
            for one in [found] if isinstance(found, Measurement) else found:
                if number.evidence and one.p is not None and one.value is not None:
                    attacks[spec.name, number.name, tuple(sorted(one.labels.items()))] = [one]
        if "people" in result.series:
            listed = result.series["people"]
            flagged = listed["sample"][listed["flagged"]]
    judged = judge(attacks, known, VerdictSettings().level)
    by = tuple(f"{key[0]}.{key[1]}" for key, one in judged.items() if one.finding == "leak")
    right = np.isin(flagged, split.train.samples[:people]).sum()
    return Outcome(bool(by), by, int(right), int(flagged.size - right))


def _specs() -> list[MetricSpec]:
    """Privacy metrics with evidence, but that of shadows."""
    return [
        spec
        for spec in load_registry().metrics.values()
        if spec.family == "privacy"
        and not spec.shadows
        and any(number.evidence for number in spec.submetrics)
    ]


if __name__ == "__main__":
    raise SystemExit(main())
