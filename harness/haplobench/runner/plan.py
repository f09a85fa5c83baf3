"""The plan: cells of a suite, what they are called, and the keys of their stages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from haplobench.files import digest_of
from haplobench.plugin import DatasetSpec, GeneratorSpec, MetricSpec, Telemetry
from haplobench.results.records import FLOOR, Role
from haplobench.runner.fingerprints import harness_code, plugin_code
from haplobench.suite.schema import (
    DatasetEntry,
    GeneratorEntry,
    MetricEntry,
    SampleSettings,
    Suite,
)

_ROLES: dict[Role, int] = {"floor": 0, "control": 1, "generator": 2}


@dataclass(frozen=True)
class Cell:
    """One dataset with one generator, seed and world size; `generator` None: the floor."""

    dataset: DatasetEntry
    generator: GeneratorEntry | None
    seed: int
    sample: SampleSettings

    @property
    def label(self) -> str:
        """The generator's label, or `floor`."""
        return self.generator.label if self.generator else FLOOR

    @property
    def role(self) -> Role:
        """What its records are of."""
        return self.generator.role if self.generator else "floor"

    @property
    def name(self) -> str:
        """For people and file names: `chr20-eur/vae-paper/seed1`."""
        tail = f"/seed{self.seed}" if self.generator else ""
        ranks = self.generator.ranks if self.generator else 1
        return f"{self.dataset.label}/{self.label}{tail}" + (f"/ranks{ranks}" if ranks > 1 else "")

    @property
    def own_seed(self) -> int:
        """The seed of fitting and sampling: of a genome's contig one of its own, by its name.

        With one seed for all, a synthetic person's chromosomes would be drawn by the same random
        numbers, and so depend on each other by accident.
        """
        return seed_of_contig(self.seed, self.dataset)

    @property
    def cell_id(self) -> str:
        """What was asked, as 16 hex digits: the same across commits and machines."""
        question: dict[str, Any] = {
            "dataset": self.dataset.label,
            "source": self.dataset.name,
            "source_params": self.dataset.params,
            "filters": self.dataset.filters.asked(),
            "split": self.dataset.asked_split(),
            "generator": self.label,
            "seed": self.seed,
        }
        if self.dataset.contigs:
            question["contigs"] = list(self.dataset.contigs)
        if self.generator:
            question |= {
                "name": self.generator.name,
                "params": self.generator.params,
                "world_size": self.generator.ranks,
                "haplotypes": self.sample.haplotypes,
            }
            if self.generator.ranks > 1 and self.generator.backend != "torch":
                question["backend"] = self.generator.backend
            if self.generator.train_share < 1:
                question["people"] = self.generator.train_share
        return digest_of(question)[:16]


def seed_of_contig(seed: int, dataset: DatasetEntry) -> int:
    """A seed of a contig's own; the seed as it is where the dataset is no genome's contig."""
    if not dataset.contig:
        return seed
    return int(digest_of([seed, dataset.contig])[:15], 16)


def plan_cells(suite: Suite, expected: Mapping[str, float] | None = None) -> list[Cell]:
    """Cells in the order in which they are worth starting.

    The floor first, then controls, then generators; of those seed after seed, so that every
    generator soon has a row; within a seed those first of which nothing is known, then the
    longest by `expected` (seconds by cell name, from earlier runs), so that at the end none is left
    to run alone. A genome has cells of its contigs; its own, which rest on those, come last.
    """
    expected = expected or {}
    cells: list[Cell] = []
    place: dict[str, tuple[bool, int, int, float, int]] = {}
    for genome in suite.datasets:
        chosen = [one for one in suite.generators if not one.missing and one.fits(genome.label)]
        for dataset in (*genome.parts, genome):
            whole = bool(dataset.contigs)
            cells.append(Cell(dataset, None, 0, suite.sample))
            place[cells[-1].name] = (whole, 0, 0, 0.0, 0)
            for at, generator in enumerate(chosen):
                for turn, seed in enumerate(generator.seeds):
                    for entry in by_world_size(generator):
                        cell = Cell(dataset, entry, seed, suite.sample)
                        seconds = expected.get(cell.name, math.inf)
                        place[cell.name] = (whole, _ROLES[cell.role], turn, -seconds, at)
                        cells.append(cell)
    return sorted(cells, key=lambda cell: place[cell.name])


def by_world_size(entry: GeneratorEntry) -> list[GeneratorEntry]:
    """An entry for each of its world sizes, with the work that is its ranks'."""
    most = max(entry.world_size)
    entries = []
    for size in entry.world_size:
        times = {name: value * size for name, value in entry.scaling.per_rank.items()}
        share = size / most if entry.scaling.mode == "weak" else entry.train_share
        params = {**entry.params, **times}
        changes = {"world_size": (size,), "params": params, "train_share": share}
        entries.append(entry.model_copy(update=changes))
    return entries


# --- keys -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Keys:
    """Keys of stages: digests of everything that their results rest on.

    `hardware` is the machine's fingerprint, `threads` how many a stage's process may use.
    """

    hardware: str
    threads: int = 1

    def prepare(self, spec: DatasetSpec, entry: DatasetEntry, fingerprint: str) -> str:
        """Of the prepare stage; `fingerprint` is the dataset's own of its content."""
        listed, setting = entry.withdrawn, entry.filters.withdrawn
        consent = [listed.digest, setting.allow_unknown] if listed and setting else []
        return digest_of(
            {
                "stage": "prepare",
                "dataset": [spec.name, spec.version, entry.values],
                "fingerprint": fingerprint,
                "filters": entry.filters.asked(),
                **({"withdrawn": consent} if consent else {}),
                "split": entry.asked_split(),
                "code": plugin_code(spec.target, spec.needs).digest,
                "harness": harness_code("prepare"),
            }
        )

    def contig(self, own: str, first: str, contig: str) -> str:
        """Of the prepare stage of a genome's contig: `own` is its key if it were alone.

        `first`: the key of the contig that decides on the split; empty for itself.
        """
        return digest_of([own, first, contig])

    def join(self, parts: Sequence[str]) -> str:
        """Of the stage that joins what contigs' stages of these keys have left."""
        return digest_of({"stage": "join", "parts": list(parts), "harness": harness_code("join")})

    def fit(
        self,
        spec: GeneratorSpec,
        entry: GeneratorEntry,
        seed: int,
        content: str,
        shadow: int | None = None,
    ) -> str:
        """Of the fit stage; `content` identifies the prepared dataset, `shadow` a shadow fit."""
        return digest_of(
            {
                "stage": "fit",
                "content": content,
                "shadow": shadow,
                "generator": [spec.name, spec.version, entry.params],
                "files": entry.fingerprint,
                "seed": seed,
                "world_size": entry.ranks,
                "backend": entry.backend if entry.ranks > 1 else "",
                **({"train_share": entry.train_share} if entry.train_share < 1 else {}),
                **({"profile": True} if entry.torch_profile else {}),
                "code": plugin_code(spec.target, spec.needs).digest,
                "harness": harness_code("fit"),
                "hardware": self.hardware,
                "threads": self.threads,
            }
        )

    def sample(self, fit: str, settings: Mapping[str, Any]) -> str:
        """Of the sample stage of what was fitted under the key `fit`."""
        return digest_of(
            {
                "stage": "sample",
                "fit": fit,
                "settings": dict(settings),
                "harness": harness_code("sample"),
            }
        )

    def measure(
        self,
        spec: MetricSpec,
        entry: MetricEntry,
        *,
        cohort: str,
        replicate: int,
        seed: int,
        telemetry: Telemetry | None,
        shadows: Sequence[str] = (),
    ) -> str:
        """Of one metric of one cohort; `cohort` is the sample stage's key, or says `floor`.

        `shadows` are the sample stages' keys of the shadow cohorts that the metric is shown.
        """
        return digest_of(
            {
                "stage": "measure",
                "cohort": cohort,
                "replicate": replicate,
                "seed": seed,
                "metric": [
                    spec.name,
                    spec.version,
                    entry.params,
                    spec.input,
                    spec.floor,
                    spec.cohort,
                    spec.sites,
                ],
                "files": entry.fingerprint,
                "shadows": list(shadows),
                "submetrics": [submetric.name for submetric in spec.submetrics],
                "telemetry": telemetry and asdict(telemetry),
                "code": plugin_code(spec.target, spec.needs).digest,
                "harness": harness_code("measure"),
                "hardware": self.hardware,
                "threads": self.threads,
            }
        )
