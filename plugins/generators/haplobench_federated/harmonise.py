"""Panels of clients brought to one site list, and what each lost by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench import BenchError, Panel
from haplobench.contigs import same_contig
from haplobench.panel import MISSING


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

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


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
    return _sites_of(first.select_sites(shared))


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
    return (
        replace(
            panel,
            haplotypes=haplotypes,
            positions=sites.positions,
            ref=sites.ref,
            alt=sites.alt,
            contig=sites.contig,
            build=sites.build,
        ),
        report,
    )


def thinned(panel: Panel, lacking: float, missing: float, rng: np.random.Generator) -> Panel:
    """A panel as a client might have it: some sites not typed, some alleles not called."""
    typed = rng.random(panel.n_sites) >= lacking
    if not typed.any():
        typed[rng.integers(panel.n_sites)] = True
    kept = panel.select_sites(typed)
    lost = rng.random(kept.haplotypes.shape) < missing
    return replace(kept, haplotypes=np.where(lost, np.int8(MISSING), kept.haplotypes))


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
    if not same_contig(one.contig, other.contig):
        raise BenchError(
            f"harmonisation: {first} is of contig {one.contig}, {second} of {other.contig}"
        )
    if one.build and other.build and one.build != other.build:
        raise BenchError(
            f"harmonisation: {first} is of build {one.build}, {second} of {other.build}"
        )


def _sites_of(panel: Panel) -> Panel:
    return panel.select_samples(np.empty(0, np.int64))
