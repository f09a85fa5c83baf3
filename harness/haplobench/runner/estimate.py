"""What a run will take: time, memory and disk by dataset, from what is stored and what cost what.

A dataset that is prepared has a known size. Of its cells, those that ran before cost what they did;
others what the same generator's cells did elsewhere in the suite's runs, in proportion to alleles
(haplotypes times sites), in which fitting, sampling and measuring are about linear.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from haplobench.data.bits import stored_bytes
from haplobench.data.prepared import FACTS_FILE, PrepareFacts
from haplobench.errors import FormatError
from haplobench.files import jsonable, read_as
from haplobench.registry import Registry
from haplobench.results.notes import CellCost, read_costs
from haplobench.results.provenance import provenance
from haplobench.results.run_folder import RunFolder, find_runs
from haplobench.runner.genome import FOLDER
from haplobench.runner.plan import Cell, Keys, plan_cells
from haplobench.runner.run import SuiteSource, hardware_of
from haplobench.runner.store import STAGES, StageStore
from haplobench.suite.schema import Suite
from haplobench.units import counted, format_duration, format_size


@dataclass(frozen=True)
class Estimate:
    """What a dataset's, or a contig's, cells will take; None where nothing is known of it.

    Attributes
    ----------
    dataset : str
        Its label.
    alleles : int or None
        Haplotypes times sites of its training panel; None where it isn't prepared yet.
    seconds : float or None
        Of its cells one after the other, those that are done already counted, too.
    memory : int or None
        Bytes resident in a stage of fitting or sampling, at most.
    disk : int or None
        Bytes of its panels and of its cohorts, models left out.
    unknown : tuple of str
        Names of cells of which nothing like them has run.
    """

    dataset: str
    alleles: int | None
    seconds: float | None
    memory: int | None
    disk: int | None
    unknown: tuple[str, ...]


def estimate_run(suite: Suite, registry: Registry, out: Path) -> list[Estimate]:
    """An estimate for every dataset and contig of a suite, genomes after their contigs.

    Raises SuiteError for datasets that aren't there.
    """
    parent = out / suite.name
    store = StageStore(parent / STAGES)
    keys = Keys(hardware_of(suite, provenance()), suite.threads)
    stages = SuiteSource(suite, registry).datasets(keys)
    sizes: dict[str, PrepareFacts] = {}
    for stage in (one for dataset in stages for one in dataset.all_stages):
        folder = store.folder("join" if stage.parts else "prepare", stage.key)
        try:
            sizes[stage.entry.label] = read_as(PrepareFacts, folder / FACTS_FILE)
        except (FileNotFoundError, FormatError):
            continue
    past = _Past.read(parent, suite, store.timings())
    by_dataset: dict[str, list[Cell]] = {}
    for cell in plan_cells(suite):
        by_dataset.setdefault(cell.dataset.label, []).append(cell)
    return [
        _estimate(stage.entry.label, by_dataset[stage.entry.label], sizes, past)
        for dataset in stages
        for stage in dataset.all_stages
    ]


@dataclass(frozen=True)
class _Past:
    """Earlier runs: seconds by cell, costs by dataset and generator, alleles by dataset."""

    seconds: Mapping[str, float]
    costs: Mapping[tuple[str, str], CellCost]
    alleles: Mapping[str, int]

    @classmethod
    def read(cls, parent: Path, suite: Suite, seconds: Mapping[str, float]) -> _Past:
        """Of the newest run that has each."""
        costs: dict[tuple[str, str], CellCost] = {}
        for run in find_runs(parent.parent, suite.name):
            for folder in (run, RunFolder(run.path / FOLDER)):
                costs |= {(cost.dataset, cost.generator): cost for cost in read_costs(folder)}
        alleles: dict[str, int] = {}
        for (dataset, _), cost in costs.items():
            if cost.draws:
                n = round(cost.n_train * cost.draws[0]["n_sites"])
                alleles[dataset] = max(n, alleles.get(dataset, 0))
        for genome in suite.datasets:
            parts = [alleles[part.label] for part in genome.parts if part.label in alleles]
            if parts and len(parts) == len(genome.parts):
                alleles[genome.label] = sum(parts)
        return cls(seconds, costs, alleles)

    def like(self, cell: Cell, labels: Iterable[str]) -> str:
        """The dataset, of these, on which the cell ran: its own, or the largest; empty if none."""
        tail = cell.name.partition("/")[2]
        own = cell.dataset.label
        ran = [one for one in labels if f"{one}/{tail}" in self.seconds and self._same(cell, one)]
        return own if own in ran else max(ran, key=lambda one: self.alleles[one], default="")

    def _same(self, cell: Cell, dataset: str) -> bool:
        """Whether its size is known, and the generator had the parameters it has now."""
        cost = self.costs.get((dataset, cell.label))
        return dataset in self.alleles and (
            cell.generator is None or cost is None or cost.params == jsonable(cell.generator.params)
        )


def _estimate(
    label: str, cells: Sequence[Cell], sizes: Mapping[str, PrepareFacts], past: _Past
) -> Estimate:
    facts = sizes.get(label)
    if facts is None:
        return Estimate(label, None, None, None, None, tuple(cell.name for cell in cells))
    alleles = facts.n_train_haplotypes * facts.n_sites
    seconds, memory, unknown = 0.0, 0.0, []
    panels = [facts.n_train_haplotypes, facts.n_holdout_haplotypes]
    genome = bool(cells[0].dataset.contigs)
    labels = [one for one in past.alleles if one == label or not genome]
    for cell in cells:
        if cell.generator is not None:
            n = cell.sample.haplotypes
            drawn = facts.n_holdout_haplotypes if n == "holdout" else n
            # The attacks are shown one more cohort, as large as the training panel.
            panels += [*[drawn] * cell.sample.draws, facts.n_train_haplotypes]
        if not (like := past.like(cell, labels)):
            unknown.append(cell.name)
            continue
        ratio = alleles / past.alleles[like]
        seconds += past.seconds[f"{like}/{cell.name.partition('/')[2]}"] * ratio
        cost = past.costs.get((like, cell.label))
        for stage in (cost.fit, *cost.draws) if cost else ():
            base = stage["base_rss"] or 0
            memory = max(memory, base + (stage["peak_rss"] - base) * ratio)
    disk = sum(stored_bytes(n, facts.n_sites) for n in panels)
    return Estimate(label, alleles, seconds or None, round(memory) or None, disk, tuple(unknown))


def estimate_text(estimates: Sequence[Estimate]) -> str:
    """A table of estimates with their sum, and what it rests on."""
    head = ("dataset", "alleles", "time", "memory", "disk")
    rows = [
        (
            one.dataset,
            "not prepared" if one.alleles is None else f"{one.alleles:,}",
            "?" if one.seconds is None else format_duration(one.seconds),
            "?" if one.memory is None else format_size(one.memory),
            "?" if one.disk is None else format_size(one.disk),
        )
        for one in estimates
    ]
    seconds = sum(one.seconds or 0.0 for one in estimates)
    disk = sum(one.disk or 0 for one in estimates)
    most = max((one.memory or 0 for one in estimates), default=0)
    total = (
        format_duration(seconds) if seconds else "?",
        format_size(most) if most else "?",
        format_size(disk) if disk else "?",
    )
    rows = [head, *rows, ("together", "", *total)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(map(str.rjust, row[1:], widths[1:]))]).rstrip()
        for row in rows
    ]
    unknown = sum(len(one.unknown) for one in estimates)
    lines.append(
        "time: of all cells one after the other; memory: of a stage of fitting or sampling; disk: "
        "of panels and cohorts, models left out. By what the same cells cost here before, in "
        "proportion to alleles (training haplotypes times sites)."
    )
    if unknown:
        lines.append(
            f"Not counted: {counted(unknown, 'cell')} of which nothing is known: their dataset "
            "isn't prepared yet, or nothing like them has run."
        )
    return "\n".join(lines)
