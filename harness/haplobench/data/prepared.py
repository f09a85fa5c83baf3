"""A prepared dataset: what the prepare stage leaves for all later stages."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench.data.genome import RecombinationMap, ReferenceSequence
from haplobench.data.panel import UNREADABLE, Panel
from haplobench.errors import PanelError

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


def digests(
    train: Panel,
    holdout: Panel,
    validation: NDArray[np.int64],
    recombination_map: RecombinationMap | None,
    sequence: ReferenceSequence | None,
) -> tuple[str, str]:
    """SHA-256 (hex) of the panels, and of everything in a prepared dataset."""
    digest = hashlib.sha256(f"{train.digest} {holdout.digest}".encode()).hexdigest()
    content = hashlib.sha256(digest.encode())
    content.update(validation.tobytes())
    if sequence is not None:
        content.update(sequence.bases.tobytes())
        content.update(f"{sequence.start} {sequence.surrogate}".encode())
    if recombination_map is not None:
        content.update(recombination_map.positions.tobytes())
        content.update(recombination_map.centimorgans.tobytes())
    return digest, content.hexdigest()


def verify_prepared(directory: Path) -> None:
    """Raise PanelError if a prepared dataset isn't what it was when it was stored."""
    for part in ("train", "holdout"):
        verify_panel(directory / part)
    try:
        stored = Prepared.load(directory)
        parts = (stored.train, stored.holdout, stored.validation)
        _, content = digests(*parts, stored.recombination_map, stored.sequence)
        expected = stored.facts["content"]
    except UNREADABLE as error:
        raise PanelError(f"{directory}: can't be read any more: {error}") from None
    if content != expected:
        raise PanelError(
            f"{directory}: changed since it was stored: its content's digest is {content[:8]}, "
            f"expected {str(expected)[:8]}"
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
