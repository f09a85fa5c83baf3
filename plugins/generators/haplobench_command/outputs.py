"""Reading what a program made, and holding it against the panel's sites."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from haplobench import BenchError, FormatError, Panel
from haplobench.contigs import same_contig
from haplobench.datasets.formats import ReadOptions, read_panel
from haplobench.datasets.formats.sites import MISSING_CALLS, NO_ALTERNATE
from haplobench_command.matrices import read_matrix, read_ms


def read_rows(
    path: Path,
    output_format: str,
    n_haplotypes: int,
    sites: Panel,
    absent_sites: Literal["refuse", "reference"],
) -> NDArray[np.int8]:
    """Haplotypes at the sites of `sites`: `(n_haplotypes, n_sites) int8`.

    Raises BenchError if there are other people or sites than asked for, or missing alleles.
    """
    _require(path)
    if output_format == "matrix":
        return read_matrix(path, n_haplotypes, sites.n_sites)
    panel, skipped = _read(path, n_haplotypes)
    if output_format == "hapt" and not path.with_suffix(".legend").exists():
        if panel.n_sites != sites.n_sites:
            raise FormatError(
                f"{path.name}: {panel.n_sites} sites without a .legend, expected {sites.n_sites}"
            )
        return panel.haplotypes
    unread = {reason: n for reason, n in skipped.items() if n and reason != NO_ALTERNATE}
    if unread:
        raise FormatError(
            f"{path.name}: records that can't be a site of the panel: "
            + ", ".join(f"{n} {reason}" for reason, n in unread.items()),
            hint="write every site of the panel once, with its two alleles",
        )
    return _aligned(path, panel, sites, absent_sites)


def read_own_sites(path: Path, output_format: str, n_haplotypes: int, like: Panel) -> Panel:
    """A cohort with sites of its own, of the ploidy of `like`.

    Raises BenchError if there are other people than asked for, no sites or missing alleles.
    """
    _require(path)
    if output_format == "ms":
        return read_ms(path, n_haplotypes, like)
    if output_format == "matrix":
        raise FormatError(
            f"{path.name}: a matrix names no positions; write VCF or ms, or use `command`"
        )
    panel, _ = _read(path, n_haplotypes)
    return panel


def _require(path: Path) -> None:
    if not path.is_file() or not path.stat().st_size:
        raise BenchError(
            f"command sample: wrote nothing to {{output}} ({path.name})",
            hint="name {output} in the command, or print the haplotypes to stdout",
        )


def _read(path: Path, n_haplotypes: int) -> tuple[Panel, dict[str, int]]:
    # Sites with missing calls are read, and refused: left out, they would seem absent.
    options = ReadOptions(snps_only=False, max_missing=1.0)
    panel, skipped = read_panel(path, options, scratch=path.parent)
    if panel.n_haplotypes != n_haplotypes:
        raise FormatError(
            f"{path.name}: {panel.n_haplotypes} haplotypes, expected {n_haplotypes} (of "
            f"{n_haplotypes // panel.ploidy} people)"
        )
    if MISSING_CALLS in skipped:
        raise FormatError(f"{path.name}: has records without any allele, expected 0 and 1")
    if panel.has_missing:
        site = int(np.flatnonzero(panel.allele_counts[1] < n_haplotypes)[0])
        raise FormatError(
            f"{path.name}: {panel.contig}:{panel.positions[site]} has missing alleles, expected "
            "0 and 1"
        )
    return panel, skipped


def _aligned(
    path: Path, made: Panel, sites: Panel, absent_sites: Literal["refuse", "reference"]
) -> NDArray[np.int8]:
    """The rows of `made` at the sites of the panel, in its order."""
    if not same_contig(made.contig, sites.contig):
        raise FormatError(f"{path.name}: contig {made.contig!r}, expected {sites.contig!r}")
    at = np.minimum(np.searchsorted(made.positions, sites.positions), made.n_sites - 1)
    there = made.positions[at] == sites.positions
    for letters, other in ((made.ref, sites.ref), (made.alt, sites.alt)):
        differ = there & (letters[at] != other) & (letters[at] != "N") & (other != "N")
        if differ.any():
            i = int(np.flatnonzero(differ)[0])
            raise FormatError(
                f"{path.name}: {made.contig}:{sites.positions[i]} is {made.ref[at[i]]}>"
                f"{made.alt[at[i]]}, in the panel {sites.ref[i]}>{sites.alt[i]}",
                hint="keep the panel's alleles, or use `command-own-sites`",
            )
    if made.n_sites > there.sum():
        extra = np.setdiff1d(made.positions, sites.positions)
        raise FormatError(
            f"{path.name}: {extra.size} sites that the panel doesn't have, the first at "
            f"{made.contig}:{extra[0]}",
            hint="leave them out, or use `command-own-sites`",
        )
    if not there.all() and absent_sites == "refuse":
        first = int(sites.positions[np.flatnonzero(~there)[0]])
        raise FormatError(
            f"{path.name}: {int((~there).sum())} of the panel's {sites.n_sites} sites are absent, "
            f"the first {sites.contig}:{first}",
            hint="say `absent_sites: reference` where nobody carries their alternate allele",
        )
    rows = np.zeros((made.n_haplotypes, sites.n_sites), np.int8)
    rows[:, there] = made.haplotypes[:, at[there]]
    return rows
