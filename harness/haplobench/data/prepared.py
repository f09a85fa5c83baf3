"""A prepared dataset: what the prepare stage leaves for all later stages."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench.data.genome import RecombinationMap, ReferenceSequence
from haplobench.data.panel import UNREADABLE, Panel
from haplobench.errors import FormatError, PanelError
from haplobench.files import link_or_copy, read_as, write_json

PRIVACY_FILE = "privacy.json"
TRAIN_COHORT = "train"
PATHS = "paths"
PATH_STEPS = 9
FACTS_FILE = "dataset.json"
HOLDOUT = "holdout"
"""Folder, within a prepared dataset's, of the held-out people."""
_LABELS = "holdout-labels.npz"


@dataclass(frozen=True, kw_only=True)
class PrepareFacts:
    """What the prepare stage hands back, and run.json says of a dataset.

    `digest` identifies the panels' content, and `content` also map, sequence and validation
    people; `start`, `end` of the sites, in bp; `populations` and `superpopulations` how many
    people of each; `one_sided` how many populations have nobody on one side; `skipped` sites
    by the reason. `n_common_sites` of the `n_sites` have a MAF of `min_maf`. `withdrawn` as
    `PeopleList.leave_out` counts, None without a list; `relatives` as `relatives_text` is told,
    None where nobody looked. `contigs` of a genome, whose `start` is of the first and `end` of the
    last; None of any other dataset.
    """

    digest: str
    content: str
    contig: str
    build: str
    start: int
    end: int
    ploidy: int
    phased: bool
    n_sites: int
    n_common_sites: int
    n_train_haplotypes: int
    n_holdout_haplotypes: int
    n_validation_haplotypes: int
    populations: Mapping[str, int]
    superpopulations: Mapping[str, int]
    min_maf: float
    skipped: Mapping[str, int]
    provenance: Mapping[str, str]
    recombination_map: bool
    surrogate_sequence: bool
    one_sided: Mapping[str, int] = field(default_factory=dict)
    withdrawn: Mapping[str, int] | None = None
    relatives: Mapping[str, Any] | None = None
    contigs: tuple[str, ...] | None = None

    def plain(self) -> dict[str, Any]:
        """As plain values; what is None is left out."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What of a prepared dataset the stages of generators are shown: nobody held out.

    Attributes
    ----------
    train : Panel
        Haplotypes mapped into memory.
    validation, recombination_map, sequence, facts
        As of `Prepared`.
    population, superpopulation : (n,) str
        Labels of the held-out people in their order, of whom there is no more: cohorts are asked
        for with as many people of each.
    """

    train: Panel
    validation: NDArray[np.int64]
    recombination_map: RecombinationMap | None
    sequence: ReferenceSequence | None
    facts: PrepareFacts
    population: NDArray[np.str_]
    superpopulation: NDArray[np.str_]

    def save(self, directory: Path) -> None:
        """Write into an existing folder."""
        self.train.save(directory / "train")
        np.save(directory / "validation.npy", self.validation)
        np.savez_compressed(
            directory / _LABELS, population=self.population, superpopulation=self.superpopulation
        )
        if self.recombination_map is not None:
            np.savez_compressed(
                directory / "map.npz",
                positions=self.recombination_map.positions,
                centimorgans=self.recombination_map.centimorgans,
                contig=np.array(self.recombination_map.contig),
            )
        if self.sequence is not None:
            save_sequence(self.sequence, directory / "sequence.npz")
        write_json(directory / FACTS_FILE, self.facts.plain())

    @classmethod
    def load(cls, directory: Path) -> TrainingData:
        """Read what `save` wrote, or `Prepared.save`."""
        with np.load(directory / _LABELS) as labels:
            population, superpopulation = labels["population"], labels["superpopulation"]
        return cls(
            train=Panel.load(directory / "train"),
            validation=np.load(directory / "validation.npy"),
            recombination_map=_load_map(directory / "map.npz"),
            sequence=load_sequence(directory / "sequence.npz"),
            facts=read_as(PrepareFacts, directory / FACTS_FILE),
            population=population,
            superpopulation=superpopulation,
        )


@dataclass(frozen=True, eq=False)
class Prepared:
    """A dataset after filters and split.

    Attributes
    ----------
    train, holdout : Panel
        Same sites, chosen on `train`; haplotypes mapped into memory.
    validation : (n,) int64
        People of `train`, by index, set apart for early stopping.
    common : (n_sites,) bool
        Sites that pass the MAF filter; in a suite all, since a generator sees no others.
    recombination_map : RecombinationMap or None
    sequence : ReferenceSequence or None
    facts : PrepareFacts
    """

    train: Panel
    holdout: Panel
    validation: NDArray[np.int64]
    common: NDArray[np.bool_]
    recombination_map: RecombinationMap | None
    sequence: ReferenceSequence | None
    facts: PrepareFacts

    @property
    def for_training(self) -> TrainingData:
        """What of it generators are shown."""
        return TrainingData(
            self.train,
            self.validation,
            self.recombination_map,
            self.sequence,
            self.facts,
            self.holdout.population,
            self.holdout.superpopulation,
        )

    def save(self, directory: Path) -> None:
        """Write into an existing folder."""
        self.for_training.save(directory)
        if self.holdout.digest == self.train.digest:
            # Nobody was trained on, so the same people stand for both: on disk once.
            (directory / HOLDOUT).mkdir()
            for file in (directory / "train").iterdir():
                link_or_copy(file, directory / HOLDOUT / file.name)
        else:
            self.holdout.save(directory / HOLDOUT)
        np.save(directory / "common.npy", self.common)

    @classmethod
    def load(cls, directory: Path) -> Prepared:
        """Read a folder written by `save`."""
        return cls(
            train=Panel.load(directory / "train"),
            holdout=Panel.load(directory / HOLDOUT),
            validation=np.load(directory / "validation.npy"),
            common=np.load(directory / "common.npy"),
            recombination_map=_load_map(directory / "map.npz"),
            sequence=load_sequence(directory / "sequence.npz"),
            facts=read_as(PrepareFacts, directory / FACTS_FILE),
        )


def digests(
    train: Panel,
    holdout: Panel,
    validation: NDArray[np.int64],
    common: NDArray[np.bool_],
    recombination_map: RecombinationMap | None,
    sequence: ReferenceSequence | None,
) -> tuple[str, str]:
    """SHA-256 (hex) of the panels, and of everything in a prepared dataset."""
    digest = hashlib.sha256(f"{train.digest} {holdout.digest}".encode()).hexdigest()
    content = hashlib.sha256(digest.encode())
    content.update(validation.tobytes())
    content.update(common.tobytes())
    if sequence is not None:
        content.update(sequence.bases.tobytes())
        content.update(f"{sequence.start} {sequence.surrogate}".encode())
    if recombination_map is not None:
        content.update(recombination_map.positions.tobytes())
        content.update(recombination_map.centimorgans.tobytes())
    return digest, content.hexdigest()


def verify_prepared(directory: Path) -> None:
    """Raise PanelError if a prepared dataset isn't what it was when it was stored."""
    for part in ("train", HOLDOUT):
        verify_panel(directory / part)
    try:
        stored = Prepared.load(directory)
        labels = TrainingData.load(directory)
        parts = (stored.train, stored.holdout, stored.validation, stored.common)
        _, content = digests(*parts, stored.recombination_map, stored.sequence)
    except (FormatError, *UNREADABLE) as error:
        raise PanelError(f"{directory}: can't be read any more: {error}") from None
    holdout = stored.holdout
    for name in ("population", "superpopulation"):
        if not np.array_equal(getattr(labels, name), getattr(holdout, name)):
            raise PanelError(f"{directory / _LABELS}: changed since it was stored: other {name}s")
    if content != stored.facts.content:
        raise PanelError(
            f"{directory}: changed since it was stored: its content's digest is {content[:8]}, "
            f"expected {stored.facts.content[:8]}"
        )


def verify_panel(directory: Path, expected: str = "") -> None:
    """Raise PanelError if a saved panel isn't that of its digest, or of an `expected` one."""
    panel = Panel.load(directory)
    expected = expected or panel.digest
    panel.__dict__.pop("digest")
    if panel.digest != expected:
        raise PanelError(
            f"{directory}: changed since it was stored: its digest is {panel.digest[:8]}, "
            f"expected {expected[:8]}"
        )


def save_sequence(sequence: ReferenceSequence, path: Path) -> None:
    """Write a reference sequence as npz."""
    np.savez_compressed(
        path, bases=sequence.bases, start=sequence.start, surrogate=sequence.surrogate
    )


def load_sequence(path: Path) -> ReferenceSequence | None:
    """Read what `save_sequence` wrote; None if there is no such file."""
    if not path.is_file():
        return None
    with np.load(path) as table:
        return ReferenceSequence(
            table["bases"], int(table["start"]), surrogate=bool(table["surrogate"])
        )


def _load_map(path: Path) -> RecombinationMap | None:
    if not path.is_file():
        return None
    with np.load(path) as table:
        return RecombinationMap(table["positions"], table["centimorgans"], str(table["contig"]))
