"""What all parties of a real federation know beforehand: one JSON file, the same everywhere."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench import FormatError, Panel, Populations, RecombinationMap
from haplobench.user_text import read_text
from haplobench_federated.contract import PublicFacts

_FORMAT = 1


@dataclass(frozen=True, eq=False)
class SiteList:
    """Sites, populations and numbers of people, agreed on before anybody's data is read.

    Attributes
    ----------
    sites : Panel
        Without people.
    populations : Populations
        Labels, and how many people of each all hospitals together have.
    ploidy : int
    recombination_map : RecombinationMap or None
        Published.
    """

    sites: Panel
    populations: Populations
    ploidy: int = 2
    recombination_map: RecombinationMap | None = None

    @property
    def people(self) -> int:
        """People of all hospitals."""
        return sum(self.populations.people)

    def facts(self, frequencies: NDArray[np.float64] | None = None) -> PublicFacts:
        """As a model is built from it."""
        return PublicFacts(
            positions=self.sites.positions,
            populations=self.populations.names,
            ploidy=self.ploidy,
            recombination_map=self.recombination_map,
            frequencies=frequencies,
        )

    def write(self, path: Path) -> None:
        """Write the file."""
        sites, known = self.sites, self.recombination_map
        path.write_text(
            json.dumps(
                {
                    "format": _FORMAT,
                    "contig": sites.contig,
                    "build": sites.build,
                    "ploidy": self.ploidy,
                    "populations": asdict(self.populations),
                    "positions": sites.positions.tolist(),
                    "ref": sites.ref.tolist(),
                    "alt": sites.alt.tolist(),
                    "map": None if known is None else {
                        "positions": known.positions.tolist(),
                        "centimorgans": known.centimorgans.tolist(),
                    },
                }
            ) + "\n"
        )  # fmt: skip

    @classmethod
    def read(cls, path: Path) -> SiteList:
        """Read what `write` wrote. Raises FormatError for anything else."""
        try:
            held: dict[str, Any] = json.loads(read_text(path))
            if held["format"] != _FORMAT:
                raise ValueError(f"format {held['format']}, expected {_FORMAT}")
            known = held["map"]
            return cls(
                sites=Panel(
                    haplotypes=np.empty((0, len(held["positions"])), np.int8),
                    positions=np.array(held["positions"], np.int64),
                    contig=held["contig"],
                    samples=np.empty(0, "U1"),
                    population=np.empty(0, "U1"),
                    superpopulation=np.empty(0, "U1"),
                    ref=np.array(held["ref"], np.str_),
                    alt=np.array(held["alt"], np.str_),
                    build=held["build"],
                    ploidy=int(held["ploidy"]),
                ),
                populations=Populations(**{k: tuple(v) for k, v in held["populations"].items()}),
                ploidy=int(held["ploidy"]),
                recombination_map=None if known is None else RecombinationMap(
                    np.array(known["positions"]), np.array(known["centimorgans"]), held["contig"]
                ),
            )  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FormatError(f"{path}: not a site list of a federation: {error}") from None

    @classmethod
    def of(cls, panel: Panel, recombination_map: RecombinationMap | None = None) -> SiteList:
        """Sites and numbers of a panel: for a site list that is public already, and for tests."""
        nobody = panel.select_samples(np.empty(0, np.int64))
        return cls(nobody, Populations.of(panel), panel.ploidy, recombination_map)
