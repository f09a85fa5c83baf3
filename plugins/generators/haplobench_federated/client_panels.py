"""What each client of a federation holds: its people, and their alleles at the sites of all.

`partition` shares a panel's people out to simulated clients; a person is never split. `harmonise`
brings the panels of clients to one site list, and says what each lost by it. A `SiteList` is what
all parties of a real federation know beforehand: one JSON file, the same everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench import BenchError, FormatError, Panel, Populations, RecombinationMap
from haplobench.data.contigs import same_contig
from haplobench.data.panel import MISSING
from haplobench.files import numbered_lines, read_text
from haplobench_federated.model import PublicFacts
from haplobench_federated.params import FederationParams

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


def partition(
    panel: Panel, params: FederationParams, rng: np.random.Generator
) -> dict[str, NDArray[np.int64]]:
    """Share out the people of a panel: each client's name, and its people's indices, increasing.

    Raises BenchError where people have no label to go by, where the file names people that
    don't exist or misses some, or where a client would have nobody.
    """
    kind, n = params.partition, params.clients
    if kind == "file":
        assert params.partition_file is not None  # checked by the parameters
        clients = by_file(panel, Path(params.partition_file))
    else:
        if panel.n_samples < n:
            raise BenchError(
                f"partition: {panel.n_samples} people for {n} clients; expected at least one each"
            )
        if kind == "iid":
            parts = np.array_split(rng.permutation(panel.n_samples), n)
        elif kind == "dirichlet":
            parts = dirichlet(panel.population, n, params.concentration, rng)
        else:
            parts = by_label(panel, kind, n)
        clients = {f"client-{i}": part for i, part in enumerate(parts)}
    for name, people in clients.items():
        if not people.size:
            raise BenchError(
                f"partition {kind}: {name} has no people",
                hint="fewer clients, or a greater concentration",
            )
    return {name: np.sort(people).astype(np.int64) for name, people in clients.items()}


def by_label(panel: Panel, which: str, clients: int) -> list[NDArray[np.int64]]:
    """Whole populations or superpopulations, the largest first, to the smallest client so far."""
    labels = panel.population if which == "population" else panel.superpopulation
    if (labels == "").any():
        raise BenchError(f"partition {which}: not every person of the panel has a {which}")
    names, counts = np.unique(labels, return_counts=True)
    if names.size < clients:
        raise BenchError(
            f"partition {which}: {names.size} labels for {clients} clients; expected at most "
            f"{names.size} clients"
        )
    sizes = np.zeros(clients, np.int64)
    held: list[list[NDArray[np.int64]]] = [[] for _ in range(clients)]
    for label in np.lexsort((names, -counts)):
        smallest = int(np.argmin(sizes))
        held[smallest].append(np.flatnonzero(labels == names[label]))
        sizes[smallest] += counts[label]
    return [np.concatenate(parts) for parts in held]


def dirichlet(
    labels: NDArray[np.str_], clients: int, concentration: float, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Each label's people by shares drawn from a symmetric Dirichlet distribution.

    Hsu, Qi & Brown 2019, arXiv:1909.06335.
    """
    held: list[list[NDArray[np.int64]]] = [[] for _ in range(clients)]
    for label in np.unique(labels):
        people = rng.permutation(np.flatnonzero(labels == label))
        shares = rng.dirichlet(np.full(clients, concentration))
        cuts = np.round(np.cumsum(shares)[:-1] * people.size).astype(np.int64)
        for client, part in enumerate(np.split(people, cuts)):
            held[client].append(part)
    return [np.concatenate(parts) for parts in held]


def by_file(panel: Panel, path: Path) -> dict[str, NDArray[np.int64]]:
    """As the file says; people it names who are not in the panel are passed over."""
    client_of: dict[str, str] = {}
    lines = [line for _, line in numbered_lines(read_text(path)) if line.strip()]
    for number, fields in enumerate((line.split("\t") for line in lines), 1):
        if len(fields) != 2 or not all(fields):
            raise FormatError(
                f"{path}: line {number}: found {len(fields)} fields, expected sample and client, "
                "separated by a tab"
            )
        sample, client = fields
        if client_of.setdefault(sample, client) != client:
            raise FormatError(
                f"{path}: line {number}: {sample} is at {client} and at {client_of[sample]}; "
                "expected one client per person"
            )
    missing = [str(sample) for sample in panel.samples if str(sample) not in client_of]
    if missing:
        raise BenchError(
            f"{path}: {len(missing)} people of the panel are at no client, the first is "
            f"{missing[0]}"
        )
    at = np.array([client_of[str(sample)] for sample in panel.samples])
    return {str(name): np.flatnonzero(at == name) for name in np.unique(at)}


@dataclass(frozen=True)
class Harmonised:
    """What became of one client's panel.

    Attributes
    ----------
    sites : int
        That the client has.
    kept : int
        Sites of the list that it has with the same alleles, swapped ones counted.
    swapped : int
        Of these, with reference and alternate exchanged: its alleles were exchanged back.
    dropped : int
        Sites it has that are not on the list.
    conflicting : int
        Sites on the list where its alleles are others: counted as absent.
    absent : int
        Sites of the list that it lacks: all its people are missing there.
    missing : float
        Share of missing alleles in what it trains on, absent sites included.
    """

    sites: int
    kept: int
    swapped: int
    dropped: int
    conflicting: int
    absent: int
    missing: float


def common_sites(panels: Mapping[str, Panel]) -> Panel:
    """The sites that all clients have, by position and alleles (swapped ones too).

    A panel without people, with the first client's alleles as reference and alternate. The list
    rests on the clients' site lists, which are taken to be public (arrays, reference panels), not
    on anybody's alleles.

    Raises BenchError if there are no clients, contigs or builds differ, or no site is common.
    """
    if not panels:
        raise BenchError("harmonisation: no clients; expected at least one")
    (first_name, first), *others = panels.items()
    shared = np.ones(first.n_sites, bool)
    for name, panel in others:
        _same_reference(first_name, first, name, panel)
        _, matches, swapped = _matched(first, panel)
        shared[~(matches | swapped)] = False
    if not shared.any():
        raise BenchError("harmonisation: no site is common to all clients")
    return first.select_sites(shared).select_samples(np.empty(0, np.int64))


def harmonise(panel: Panel, sites: Panel, name: str = "panel") -> tuple[Panel, Harmonised]:
    """A client's people at the sites of the list; absent sites are missing for all of them.

    Raises BenchError if contigs or builds differ, or the client has none of the sites.
    """
    _same_reference("site list", sites, name, panel)
    at, matches, swapped = _matched(sites, panel)
    has = matches | swapped
    if not has.any():
        raise BenchError(f"harmonisation: {name} has none of the {sites.n_sites} sites")
    haplotypes = np.full((panel.n_haplotypes, sites.n_sites), MISSING, np.int8)
    haplotypes[:, has] = panel.haplotypes[:, at[has]]
    turned = haplotypes[:, swapped]
    haplotypes[:, swapped] = np.where(turned == MISSING, MISSING, 1 - turned)
    there = np.isin(sites.positions, panel.positions)
    report = Harmonised(
        sites=panel.n_sites,
        kept=int(has.sum()),
        swapped=int(swapped.sum()),
        dropped=int((~np.isin(panel.positions, sites.positions)).sum()),
        conflicting=int((there & ~has).sum()),
        absent=int((~has).sum()),
        missing=float((haplotypes == MISSING).mean()),
    )
    listed = {name: getattr(sites, name) for name in ("positions", "ref", "alt", "contig", "build")}
    return replace(panel, haplotypes=haplotypes, **listed), report


def _matched(
    sites: Panel, panel: Panel
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """For each site of the list: its column in the panel, whether alleles match, or are swapped."""
    at = np.searchsorted(panel.positions, sites.positions)
    at = np.minimum(at, max(panel.n_sites - 1, 0)).astype(np.int64)
    if not panel.n_sites:
        nothing = np.zeros(sites.n_sites, bool)
        return at, nothing, nothing
    there = panel.positions[at] == sites.positions
    ref, alt = panel.ref[at], panel.alt[at]
    matches = there & (ref == sites.ref) & (alt == sites.alt)
    swapped = there & (ref == sites.alt) & (alt == sites.ref) & ~matches
    return at, matches, swapped


def _same_reference(first: str, one: Panel, second: str, other: Panel) -> None:
    same = one.build == other.build or not (one.build and other.build)
    for what, mine, its, alike in (
        ("contig", one.contig, other.contig, same_contig(one.contig, other.contig)),
        ("build", one.build, other.build, same),
    ):
        if not alike:
            raise BenchError(f"harmonisation: {first} is of {what} {mine}, {second} of {its}")
