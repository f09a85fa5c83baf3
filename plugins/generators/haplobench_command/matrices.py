"""Plain formats: matrices of 0 and 1, and the output of ms."""

from __future__ import annotations

from codecs import BOM_UTF8
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from haplobench import FormatError, Panel

# Of a number of sites.
_DIGITS = 9
_ROWS = 512


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
