"""A prepared dataset: what the prepare stage leaves for all later stages."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench.panel import Panel
from haplobench.recombination import RecombinationMap
from haplobench.sequence import ReferenceSequence

PRIVACY_FILE = "privacy.json"
TRAIN_COHORT = "train"


@dataclass(frozen=True, eq=False)
class Prepared:
    """A dataset after filters and split.

    Attributes
    ----------
    train, holdout : Panel
        Same sites, chosen on `train`; haplotypes mapped into memory.
    validation : (n,) int64
        People of `train`, by index, set apart for early stopping.
    recombination_map : RecombinationMap or None
    sequence : ReferenceSequence or None
    facts : dict
        What run.json says of the dataset; `digest` identifies the panels' content, and
        `content` also map, sequence and validation people.
    """

    train: Panel
    holdout: Panel
    validation: NDArray[np.int64]
    recombination_map: RecombinationMap | None
    sequence: ReferenceSequence | None
    facts: dict[str, Any]

    def save(self, directory: Path) -> None:
        """Write into an existing folder."""
        self.train.save(directory / "train")
        self.holdout.save(directory / "holdout")
        np.save(directory / "validation.npy", self.validation)
        if self.recombination_map is not None:
            np.savez_compressed(
                directory / "map.npz",
                positions=self.recombination_map.positions,
                centimorgans=self.recombination_map.centimorgans,
                contig=np.array(self.recombination_map.contig),
            )
        if self.sequence is not None:
            save_sequence(self.sequence, directory / "sequence.npz")
        (directory / "dataset.json").write_text(json.dumps(self.facts, indent=1) + "\n")

    @classmethod
    def load(cls, directory: Path) -> Prepared:
        """Read a folder written by `save`."""
        return cls(
            train=Panel.load(directory / "train"),
            holdout=Panel.load(directory / "holdout"),
            validation=np.load(directory / "validation.npy"),
            recombination_map=_load_map(directory / "map.npz"),
            sequence=load_sequence(directory / "sequence.npz"),
            facts=read_facts(directory),
        )


def read_facts(directory: Path) -> dict[str, Any]:
    """What a prepared folder says of its dataset, without opening the panels."""
    facts: dict[str, Any] = json.loads((directory / "dataset.json").read_text())
    return facts


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
