"""What programs read and write: matrices, the output of ms, panels at the training sites."""

from __future__ import annotations

from codecs import BOM_UTF8
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from haplobench import BenchError, FormatError, Panel
from haplobench.data.contigs import same_contig
from haplobench.data.formats import ReadOptions, read_panel
from haplobench.data.formats.sites import MISSING_CALLS, NO_ALTERNATE

# Of a number of sites.
_DIGITS = 9
_ROWS = 512


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
    path: Path, cohort: Panel, sites: Panel, absent_sites: Literal["refuse", "reference"]
) -> NDArray[np.int8]:
    """The rows of `cohort` at the sites of the panel, in its order."""
    if not same_contig(cohort.contig, sites.contig):
        raise FormatError(f"{path.name}: contig {cohort.contig!r}, expected {sites.contig!r}")
    at = np.minimum(np.searchsorted(cohort.positions, sites.positions), cohort.n_sites - 1)
    there = cohort.positions[at] == sites.positions
    for letters, other in ((cohort.ref, sites.ref), (cohort.alt, sites.alt)):
        differ = there & (letters[at] != other) & (letters[at] != "N") & (other != "N")
        if differ.any():
            i = int(np.flatnonzero(differ)[0])
            raise FormatError(
                f"{path.name}: {cohort.contig}:{sites.positions[i]} is {cohort.ref[at[i]]}>"
                f"{cohort.alt[at[i]]}, in the panel {sites.ref[i]}>{sites.alt[i]}",
                hint="keep the panel's alleles, or use `command-own-sites`",
            )
    if cohort.n_sites > there.sum():
        extra = np.setdiff1d(cohort.positions, sites.positions)
        raise FormatError(
            f"{path.name}: {extra.size} sites that the panel doesn't have, the first at "
            f"{cohort.contig}:{extra[0]}",
            hint="leave them out, or use `command-own-sites`",
        )
    if not there.all() and absent_sites == "refuse":
        first = int(sites.positions[np.flatnonzero(~there)[0]])
        raise FormatError(
            f"{path.name}: {int((~there).sum())} of the panel's {sites.n_sites} sites are absent, "
            f"the first {sites.contig}:{first}",
            hint="say `absent_sites: reference` where nobody carries their alternate allele",
        )
    rows = np.zeros((cohort.n_haplotypes, sites.n_sites), np.int8)
    rows[:, there] = cohort.haplotypes[:, at[there]]
    return rows


def write_matrix(haplotypes: NDArray[np.int8], path: Path) -> None:
    """Write `(n_haplotypes, n_sites) int8` as rows of 0, 1 and . (missing) separated by tabs."""
    letters = np.frombuffer(b"01.", np.uint8)
    text = np.full((_ROWS, 2 * haplotypes.shape[1]), ord("\t"), np.uint8)
    text[:, -1] = ord("\n")
    with path.open("wb") as out:
        for start in range(0, len(haplotypes), _ROWS):
            block = haplotypes[start : start + _ROWS]
            text[: len(block), 0::2] = letters[block]
            out.write(text[: len(block)].tobytes())


def read_matrix(path: Path, n_haplotypes: int, n_sites: int) -> NDArray[np.int8]:
    """Read rows of 0 and 1, tabs, blanks or nothing between: `(n_haplotypes, n_sites) int8`.

    Raises FormatError naming the line.
    """
    out = np.empty((n_haplotypes, n_sites), np.int8)
    row = 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            line = line.removeprefix(BOM_UTF8) if number == 1 else line
            alleles = np.frombuffer(line.translate(None, b" \t\r\n"), np.int8) - ord("0")
            if not alleles.size:
                continue
            if alleles.size != n_sites or ((alleles != 0) & (alleles != 1)).any():
                raise FormatError(
                    f"{path.name}:{number}: found {line[:30]!r}, {alleles.size} characters; "
                    f"expected {n_sites} alleles 0 or 1, one for each site"
                )
            if row == n_haplotypes:
                raise FormatError(f"{path.name}:{number}: more than {n_haplotypes} haplotypes")
            out[row] = alleles
            row += 1
    if row != n_haplotypes:
        raise FormatError(f"{path.name}: {row} haplotypes, expected {n_haplotypes}")
    return out


def read_ms(path: Path, n_haplotypes: int, like: Panel) -> Panel:
    """Read one replicate in the format of ms (Hudson 2002) as a panel over the region of `like`.

    Positions from 0 to 1 become bp from the first to the last site of `like`; of sites that fall
    on one bp the later ones move on by one, and those past the end are left out. Alleles are N,
    since ms names none.

    Raises FormatError naming the line.
    """
    lines = path.read_bytes().splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith(b"segsites:")]
    if len(starts) != 1:
        raise FormatError(
            f"{path.name}: {len(starts)} lines `segsites:`, expected one replicate in ms's format"
        )
    start = starts[0]
    number = lines[start].removeprefix(b"segsites:").strip()
    if not number.isdigit() or len(number) > _DIGITS:
        raise FormatError(
            f"{path.name}:{start + 1}: found {number[:30]!r}, expected a number of sites"
        )
    n_sites = int(number)
    if not n_sites:
        raise FormatError(f"{path.name}:{start + 1}: no segregating sites")
    if not lines[start + 1 :] or not lines[start + 1].startswith(b"positions:"):
        raise FormatError(f"{path.name}:{start + 2}: expected `positions:`")
    relative = _relative(lines[start + 1].split()[1:], f"{path.name}:{start + 2}")
    rows = [line.strip() for line in lines[start + 2 :] if line.strip()]
    if relative.size != n_sites or {len(row) for row in rows} != {n_sites}:
        raise FormatError(
            f"{path.name}:{start + 2}: {relative.size} positions and rows of "
            f"{sorted({len(row) for row in rows})} alleles, expected {n_sites} sites"
        )
    if len(rows) != n_haplotypes:
        raise FormatError(f"{path.name}: {len(rows)} haplotypes, expected {n_haplotypes}")
    haplotypes = np.frombuffer(b"".join(rows), np.int8).reshape(len(rows), n_sites) - ord("0")
    if ((haplotypes != 0) & (haplotypes != 1)).any():
        raise FormatError(f"{path.name}: alleles other than 0 and 1")
    first, last = int(like.positions[0]), int(like.positions[-1])
    order = np.argsort(relative, kind="stable")
    wanted = first + np.floor(relative[order] * (last - first + 1)).astype(np.int64)
    ranks = np.arange(n_sites)
    positions = np.maximum.accumulate(wanted - ranks) + ranks
    keep = positions <= last
    return Panel(
        haplotypes=np.ascontiguousarray(haplotypes[:, order[keep]]),
        positions=positions[keep],
        contig=like.contig,
        samples=np.array([f"synthetic{i + 1}" for i in range(n_haplotypes // like.ploidy)]),
        ploidy=like.ploidy,
        build=like.build,
    )


def _relative(texts: list[bytes], place: str) -> NDArray[np.float64]:
    """Positions of ms, which lie from 0 to 1."""
    try:
        relative = np.array([float(text) for text in texts], np.float64)
    except ValueError as error:
        raise FormatError(f"{place}: {error}") from None
    outside = ~((relative >= 0) & (relative <= 1))
    if outside.any():
        raise FormatError(f"{place}: position {relative[outside][0]:g}, expected 0 to 1")
    return relative
