"""Recombination map: genetic against physical position of one contig, and the files of maps.

Where none is given, a map is estimated from a panel's own haplotypes.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from haplobench.data.contigs import same_contig
from haplobench.data.panel import MISSING, Panel
from haplobench.errors import FormatError
from haplobench.files import ENCODING, require_file

BASES = np.frombuffer(b"ACGT", np.uint8)
# Human genome, GRCh37: 41 % G+C.
_BASE_FREQUENCIES = np.array([0.295, 0.205, 0.205, 0.295])
# cM/Mb of a whole map beyond which its units are others: Morgans, or positions in kb. People's
# chromosomes have .9 to 2, the slowest Mb of their arms some .05, their hottest kb some 100.
_LEAST_RATE, _MOST_RATE = 0.03, 100.0


@dataclass(frozen=True, eq=False)
class ReferenceSequence:
    """Bases of a stretch of one contig.

    Attributes
    ----------
    bases : (length,) uint8
        ASCII A, C, G, T or N.
    start : int
        Position of the first base, bp, 1-based.
    surrogate : bool
        True where the bases are random, drawn because no FASTA was given.
    """

    bases: NDArray[np.uint8]
    start: int
    surrogate: bool

    def place(self, panel: Panel) -> ReferenceSequence:
        """The same sequence with `panel`'s single-base reference alleles written at its sites."""
        bases = self.bases.copy()
        single = np.char.str_len(panel.ref) == 1
        offsets = panel.positions - self.start
        inside = single & (offsets >= 0) & (offsets < bases.size)
        bases[offsets[inside]] = np.frombuffer("".join(panel.ref[inside]).encode(), np.uint8)
        return ReferenceSequence(bases, self.start, self.surrogate)


def surrogate_sequence(start: int, end: int, rng: np.random.Generator) -> ReferenceSequence:
    """Random bases from `start` to `end` (bp, both included), 41 % of them G or C as in humans."""
    bases = BASES[rng.choice(4, size=end - start + 1, p=_BASE_FREQUENCIES)]
    return ReferenceSequence(bases, start, surrogate=True)


@dataclass(frozen=True, eq=False)
class RecombinationMap:
    """Cumulative genetic position at physical positions of one contig.

    Attributes
    ----------
    positions : (n,) int64
        bp, 1-based, strictly increasing.
    centimorgans : (n,) float64
        cM, not decreasing.
    contig : str
    covered : float
        Of a region's map, the share of the region that its source covers; elsewhere the
        source's mean rate stands.
    """

    positions: NDArray[np.int64]
    centimorgans: NDArray[np.float64]
    contig: str = ""
    covered: float = 1.0

    def __post_init__(self) -> None:
        if self.positions.shape != self.centimorgans.shape or self.positions.size < 2:
            raise FormatError("recombination map: expected two or more pairs of bp and cM")
        if (np.diff(self.positions) <= 0).any() or (np.diff(self.centimorgans) < 0).any():
            raise FormatError("recombination map: bp must increase and cM must not decrease")

    def at(self, positions: ArrayLike) -> NDArray[np.float64]:
        """cM at physical positions (bp), interpolated; beyond the ends at the map's mean rate."""
        bp = np.asarray(positions, np.float64)
        first, last = float(self.positions[0]), float(self.positions[-1])
        rate = (self.centimorgans[-1] - self.centimorgans[0]) / (last - first)
        inside = np.interp(bp, self.positions, self.centimorgans)
        return np.asarray(inside + rate * (np.minimum(bp - first, 0) + np.maximum(bp - last, 0)))

    def region(self, start: int, end: int) -> RecombinationMap:
        """The map from `start` to `end` (bp, both included), its cM kept.

        Raises FormatError if it covers nothing of them.
        """
        first, last = int(self.positions[0]), int(self.positions[-1])
        overlap = min(end, last) - max(start, first)
        if overlap <= 0:
            raise FormatError(
                f"the recombination map covers {first} to {last} bp, nothing of {start} to {end}",
                hint="is it of the same contig and build?",
            )
        inner = self.positions[(self.positions > start) & (self.positions < end)]
        bp = np.concatenate([[start], inner, [end]]).astype(np.int64)
        return RecombinationMap(bp, self.at(bp), self.contig, overlap / (end - start))

    @property
    def remark(self) -> str:
        """What a reader should know of a region's map; empty where it covers the region."""
        if self.covered > 0.99:
            return ""
        return f"covers {self.covered:.0%} of the region, beyond it stands its mean rate"

    @classmethod
    def uniform(
        cls, start: int, end: int, cm_per_mb: float = 1.0, contig: str = ""
    ) -> RecombinationMap:
        """A map of one rate (cM/Mb; the human mean is about 1)."""
        bp = np.array([start, max(end, start + 1)], np.int64)
        centimorgans = (bp - start).astype(np.float64) * (cm_per_mb / 1e6)
        return cls(bp, centimorgans, contig)

    @classmethod
    def read(cls, path: Path | str, contig: str = "") -> RecombinationMap:
        """Read a map file, plain or gzipped, by its header.

        Point maps: SHAPEIT (`pos chr cM`), HapMap (`Chromosome Position(bp) Rate(cM/Mb)
        Map(cM)`; without the last column a rate holds up to the next position), Eagle (`chr
        position COMBINED_rate(cM/Mb) Genetic_Map(cM)`), IMPUTE2 (the same without `chr`).
        Interval maps: bedGraph (`chrom chromStart chromEnd value`, cM/Mb) and deCODE's (`Chr
        Begin End cMperMb cM`); between intervals their mean rate stands.

        Without a header: four columns are PLINK's (`chr id cM pos`), HapMap's or bedGraph's,
        three are `pos chr cM`, `chr pos cM` or IMPUTE2's; whichever one of them the numbers
        fit, positions increasing, cM not decreasing and agreeing with the rates beside them.

        Where the file holds several contigs, `contig` chooses.
        Raises FormatError that names the line.
        """
        path = Path(path)
        header, rows = _table(path)
        columns = _columns(header) if header else _headerless(path, rows)
        if columns is None:
            raise FormatError(
                f"{path}:1: found {' '.join(header)[:60]!r}, expected a recombination map "
                "(columns pos chr cM, or Chromosome Position(bp) Rate(cM/Mb) Map(cM), or others "
                "that name a position and cM or cM/Mb)"
            )
        short = next((row for row in rows if len(row.fields) < columns.width), None)
        if short is not None:
            raise FormatError(
                f"{path}:{short.number}: expected bp, contig and cM, found "
                f"{' '.join(short.fields)[:60]!r}: {len(short.fields)} columns, expected "
                f"{columns.width} or more"
            )
        if columns.contig is not None and contig:
            names = list(dict.fromkeys(row.fields[columns.contig] for row in rows if row.fields))
            mine = lru_cache(lambda name: same_contig(name, contig))
            rows = [row for row in rows if mine(row.fields[columns.contig])]
            if not rows:
                raise FormatError(
                    f"{path}: no positions for contig {contig!r}; it holds "
                    f"{', '.join(names[:30]) or 'none'}"
                )
        if len(rows) < 2:
            raise FormatError(
                f"{path}: no positions for contig {contig!r}: {len(rows)} line, two expected"
            )
        bp, cm = _cumulative(path, rows, columns)
        if cm[-1] == cm[0]:
            raise FormatError(
                f"{path}: every position of contig {contig!r} has {cm[0]:g} cM",
                hint="the file holds no recombination map; leave it out, or give another",
            )
        span, length = (bp[-1] - bp[0]) / 1e6, cm[-1] - cm[0]
        if (length < _LEAST_RATE * span and span >= 1) or length > max(1, _MOST_RATE * span):
            raise FormatError(
                f"{path}: {length:g} cM over {bp[-1] - bp[0]:,} bp are {length / span:.3g} cM/Mb; "
                "people's chromosomes have about 1",
                hint="expected are positions in bp and distances in cM (a Morgan is 100 cM)",
            )
        return cls(bp, cm, contig)


class _Row(NamedTuple):
    """A line of a table: its number and its fields."""

    number: int
    fields: list[str]


@dataclass(frozen=True)
class _Columns:
    """Places of a map file's columns; `start` and `position` are an interval's ends."""

    position: int
    contig: int | None = None
    start: int | None = None
    cm: int | None = None
    rate: int | None = None

    @property
    def width(self) -> int:
        """How many columns a line must have."""
        places = (self.position, self.contig, self.start, self.cm, self.rate)
        return 1 + max(place for place in places if place is not None)


_HEADERS = {
    "contig": r"chr|chrom|chromosome|contig",
    "start": r"(chrom)?start|begin",
    "position": r"((phys(ical)?|bp)?pos(ition)?|bp|basepairs?)(bp)?|(chrom)?end",
    "cm": r"(gen(etic)?)?(map|pos(ition)?)?cm|(gen(etic)?)?map|gen(etic)?pos(ition)?|cumulativecm",
    "rate": r"(\w*rate)?cm(per)?mb|(recomb(ination)?)?rate|(data)?value",
}


def _table(path: Path) -> tuple[list[str], list[_Row]]:
    """Header (empty where there is none) and lines of a map file."""
    opener = gzip.open if path.suffix in (".gz", ".bgz") else open
    header: list[str] = []
    rows: list[_Row] = []
    require_file(path)
    try:
        with opener(path, "rt", encoding=ENCODING) as lines:
            for number, line in enumerate(lines, 1):
                fields = line.split()
                if not fields or fields[0] in ("track", "browser"):
                    continue
                if fields[0].startswith("#"):
                    named = " ".join(fields).lstrip("# ").split()
                    if not rows and _columns(named) is not None:
                        header = named
                elif not rows and not header and not any(map(_is_number, fields)):
                    header = fields
                else:
                    rows.append(_Row(number, fields))
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{path}: can't be read: {error}") from None
    except UnicodeDecodeError:
        raise FormatError(f"{path}: not a text file") from None
    if not header and not rows:
        raise FormatError(f"{path}: no positions for any contig: the file is empty")
    return header, rows


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text) is not None


def _numbers(texts: list[str]) -> NDArray[np.float64]:
    """Numbers from texts; what isn't a plain number is NaN."""
    try:
        if "_" not in "".join(texts):  # Python's float reads 1_000
            return np.array(list(map(float, texts)))
    except ValueError:
        pass
    return np.array([float(text) if _is_number(text) else np.nan for text in texts])


def _columns(header: Sequence[str]) -> _Columns | None:
    """Columns by their names; None unless they hold a position and cM or rates."""
    places: dict[str, int] = {}
    for place, name in enumerate(header):
        plain = re.sub(r"[^a-z0-9]", "", name.lower())
        for kind, pattern in _HEADERS.items():
            if kind not in places and re.fullmatch(pattern, plain):
                places[kind] = place
                break
    if "position" not in places or not places.keys() & {"cm", "rate"}:
        return None
    return _Columns(**places)


def _headerless(path: Path, rows: Sequence[_Row]) -> _Columns:
    """The one known order of columns that the numbers of a file without header fit."""
    width = len(rows[0].fields)
    known = {
        3: (
            _Columns(position=0, contig=1, cm=2),
            _Columns(contig=0, position=1, cm=2),
            _Columns(position=0, rate=1, cm=2),
        ),
        4: (
            _Columns(contig=0, cm=2, position=3),
            _Columns(contig=0, position=1, rate=2, cm=3),
            _Columns(contig=0, start=1, position=2, rate=3),
        ),
    }.get(width, ())
    fitting = [columns for columns in known if _fits(rows, columns)]
    if len({(columns.position, columns.cm, columns.start) for columns in fitting}) != 1:
        raise FormatError(
            f"{path}:{rows[0].number}: found {' '.join(rows[0].fields)[:60]!r}, expected a "
            "recombination map, and its numbers fit "
            f"{'several' if fitting else 'no'} known order of columns",
            hint="put a header over its columns, for example pos chr cM",
        )
    return fitting[0]


def _fits(rows: Sequence[_Row], columns: _Columns) -> bool:
    """Whether nine of ten lines follow from the one before as such columns do."""
    whole = [row.fields for row in rows if len(row.fields) >= columns.width]
    if len(whole) < 2:
        return False

    def numbers(place: int | None) -> NDArray[np.float64]:
        if place is None:
            return np.zeros(len(whole))
        return _numbers([fields[place] for fields in whole])

    bp, start, cm, rate = map(numbers, (columns.position, columns.start, columns.cm, columns.rate))
    contig = (
        np.zeros(len(whole))
        if columns.contig is None
        else np.unique([fields[columns.contig] for fields in whole], return_inverse=True)[1]
    )
    same = np.diff(contig) == 0
    if not same.any():
        return False
    steps, gains = np.diff(bp)[same], np.diff(cm)[same]
    good = (steps >= 0) & (gains >= 0) & (bp[1:] == np.floor(bp[1:]))[same]
    if columns.start is not None:
        good &= ((start[1:] >= bp[:-1]) & (start[1:] < bp[1:]))[same]
        good &= (start[1:] == np.floor(start[1:]))[same]
    if columns.rate is not None and columns.cm is not None:
        expected = rate[:-1][same] * steps / 1e6
        good &= np.abs(gains - expected) <= 1e-4 + 0.05 * expected
    return bool(good.mean() >= 0.9)


def _cumulative(
    path: Path, rows: Sequence[_Row], columns: _Columns
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Positions and cM of a contig's lines, in whichever way they are given."""

    def column(place: int, what: str, whole: bool = False) -> NDArray[np.float64]:
        values = _numbers([row.fields[place] if place < len(row.fields) else "" for row in rows])
        wrong = ~np.isfinite(values)
        if whole:
            wrong |= (values < 0) | (values != np.floor(values)) | (values > 2**53)
        if wrong.any():
            row = rows[int(np.argmax(wrong))]
            raise FormatError(
                f"{path}:{row.number}: expected bp, contig and cM, found "
                f"{' '.join(row.fields)[:60]!r}: column {place + 1} is no {what}"
            )
        return values

    def places(place: int) -> NDArray[np.int64]:
        return column(place, "position in bp", whole=True).astype(np.int64)

    end = places(columns.position)
    _refuse_back(path, rows, np.diff(end) < 0, "bp must increase")
    if columns.cm is not None:
        cm = column(columns.cm, "number of cM")
        _refuse_back(path, rows, np.diff(cm) < 0, "cM must not decrease")
        again = np.diff(end) == 0
        _refuse_back(path, rows, again & (np.diff(cm) > 0), "one position has two values of cM")
        keep = np.concatenate([[True], ~again])
        bp, cm = end[keep], cm[keep]
        if columns.start is not None and bp.size:  # cM are those at an interval's end
            begin = int(places(columns.start)[0])
            if columns.rate is not None and begin < bp[0]:
                gain = column(columns.rate, "rate in cM/Mb")[0] * (bp[0] - begin) / 1e6
                bp, cm = np.concatenate([[begin], bp]), np.concatenate([[cm[0] - gain], cm])
        return _two_or_more(path, bp), cm
    assert columns.rate is not None
    rate = column(columns.rate, "rate in cM/Mb")
    negative = np.flatnonzero(rate < 0)
    if negative.size:
        row = rows[negative[0]]
        raise FormatError(f"{path}:{row.number}: the rate is negative: {row.fields[columns.rate]}")
    if 0 < rate.max() < 1e-4:
        raise FormatError(
            f"{path}: rates of at most {rate.max():g}, expected cM/Mb (of humans, some 1)",
            hint="rates per bp are 1e8 times smaller: multiply them",
        )
    if columns.start is None:  # a rate holds up to the next position
        _refuse_back(path, rows, np.diff(end) == 0, "bp must increase")
        gains = rate[:-1] * np.diff(end) / 1e6
        return end, np.concatenate([[0.0], np.cumsum(gains)])
    start = places(columns.start)
    _refuse_back(path, rows, start[1:] < end[:-1], "intervals must not overlap")
    _refuse_back(path, rows, np.diff(end) == 0, "bp must increase")
    empty = np.flatnonzero(start >= end)
    if empty.size:
        row = rows[empty[0]]
        raise FormatError(f"{path}:{row.number}: an interval must end after its start")
    lengths = (end - start).astype(np.float64)
    mean = float((rate * lengths).sum() / lengths.sum())
    gaps = np.concatenate([[0], start[1:] - end[:-1]])
    bp = np.stack([start, end], axis=1).ravel()
    gains = np.stack([gaps * mean, lengths * rate], axis=1).ravel() / 1e6
    keep = np.concatenate([[True], np.diff(bp) > 0])
    return bp[keep], np.cumsum(gains)[keep]


def _two_or_more(path: Path, bp: NDArray[np.int64]) -> NDArray[np.int64]:
    if bp.size < 2:
        raise FormatError(f"{path}: no positions for the contig but one, two expected")
    return bp


def _refuse_back(path: Path, rows: Sequence[_Row], back: NDArray[np.bool_], rule: str) -> None:
    """Raise FormatError at the first line that breaks a rule with the line before it."""
    if back.any():
        row = rows[int(np.argmax(back)) + 1]
        raise FormatError(
            f"{path}:{row.number}: {rule}, found {' '.join(row.fields)[:60]!r} after "
            f"{' '.join(rows[int(np.argmax(back))].fields)[:60]!r}"
        )


_TARGETS, _SOURCES = 48, 72
_LEAST_GROUP = 12
_MOST_SITES = 3_000
_MIN_MAF = 0.01
# bp. Nearer sites show gene conversion and errors, which look like two switches each.
_SPACING = 1_000
# Iterations with one rate for the whole region, then with local ones.
_ROUNDS = (4, 4)
# Local rates are of pieces of so many sites, and drawn towards the region's as if so many
# switches had been seen at it.
_SITES, _PRIOR_SWITCHES = 24, 4.0
# cM/Mb.
_FIRST, _LEAST, _MOST = 1.0, 1e-3, 100.0


def estimate_map(
    panel: Panel, groups: NDArray[np.int64], ne: float, rng: np.random.Generator
) -> RecombinationMap:
    """The map under which a panel's haplotypes are likeliest as mosaics of each other.

    Up to 48 haplotypes are explained as copies of up to 72 others of their group by the model of
    Li & Stephens (2003, Genetics 165), and the rates at which copying switches, 4 Ne r / n, are
    found by expectation maximisation: first one for the region, then one for each piece of 24
    sites, shrunk towards it. At most 3,000 sites are looked at, with a MAF of 1 % or more and 1 kb
    apart. On simulated people the mean rate comes out at 1.0 to 2.5 times the true one at .1
    cM/Mb, .9 to 1.4 at 1, .5 to .8 at 10. `groups`: (n_haplotypes,) int64, such as their
    superpopulations: who is less related has more switches. `ne`: effective population size; only
    its product with the rates shows in a panel. 1 cM/Mb where fewer than 4 haplotypes or 8 such
    sites are there.

    Nothing of it protects the panel's people: no part of a generator with differential privacy.
    """
    sites = np.flatnonzero(panel.common_sites(_MIN_MAF))
    sites = _spaced(panel.positions, sites)
    if sites.size < 8 or panel.n_haplotypes < 4:
        start, end = int(panel.positions[0]), int(panel.positions[-1])
        return RecombinationMap.uniform(start, end, _FIRST, panel.contig)
    if sites.size > _MOST_SITES:
        sites = sites[np.linspace(0, sites.size - 1, _MOST_SITES).round().astype(np.int64)]
    rows, others = _copied(groups, rng)
    n_targets, n_sources = others.shape
    alleles = panel.site_rows(sites)
    targets, sources = alleles[:, rows], alleles[:, others]
    lengths = np.diff(panel.positions[sites]).astype(np.float64)
    # A cM/Mb is so many switches per bp of a haplotype.
    unit = 4 * ne * 1e-8 / n_sources
    pieces = np.arange(lengths.size) // _SITES
    exposure = np.bincount(pieces, lengths) * n_targets * unit
    rates, miscopied = np.full(exposure.size, _FIRST), 0.01
    for local in np.repeat([False, True], _ROUNDS):
        expected = rates[pieces] * lengths * unit
        switches, share = expected_switches(targets, sources, expected, miscopied)
        miscopied = float(np.clip(share, 1e-4, 0.2))
        seen = np.bincount(pieces, switches)
        rate = max(_LEAST, seen.sum() / exposure.sum())
        rates = np.full(exposure.size, rate)
        if local:
            rates = (seen + _PRIOR_SWITCHES) / (exposure + _PRIOR_SWITCHES / rate)
        rates = rates.clip(_LEAST, _MOST)
    centimorgans = np.concatenate([[0.0], np.cumsum(rates[pieces] * lengths / 1e6)])
    return RecombinationMap(panel.positions[sites], centimorgans, panel.contig)


def _spaced(positions: NDArray[np.int64], sites: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sites at least 1 kb apart, the first one taken each time."""
    chosen, last = [], -_SPACING
    for site in sites.tolist():
        if positions[site] - last >= _SPACING:
            chosen.append(site)
            last = positions[site]
    return np.array(chosen, np.int64)


def _copied(
    groups: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Haplotypes to explain, (t,), and others of the group of each to copy, (t, k).

    Groups of a few haplotypes each tell nothing apart: all are then one.
    """
    sizes = np.bincount(groups)
    if sizes.max() < _LEAST_GROUP:
        groups, sizes = np.zeros_like(groups), np.array([groups.size])
    n_sources = int(min(_SOURCES, sizes.max() - 1))
    rows = rng.permutation(np.flatnonzero(sizes[groups] > n_sources))[:_TARGETS]
    others = []
    for row in rows:
        alike = np.flatnonzero(groups == groups[row])
        others.append(rng.permutation(alike[alike != row])[:n_sources])
    return rows, np.array(others)


def expected_switches(
    targets: NDArray[np.int8],
    sources: NDArray[np.int8],
    expected: NDArray[np.float64],
    miscopied: float,
) -> tuple[NDArray[np.float64], float]:
    """Switches between neighbouring sites, of all targets together, given their alleles.

    One round of expectation maximisation of the model of Li & Stephens (2003) by the
    forward-backward algorithm; a missing allele fits every other.

    `targets` (n_sites, t) and `sources` (n_sites, t, k) int8, k haplotypes that each may copy;
    `expected` (n_sites - 1,): switches of a haplotype before its alleles are known, infinite where
    two sites tell nothing of each other; `miscopied`: share of alleles copied wrongly. Returns
    (n_sites - 1,) float64 and the share that is expected now.
    """
    n_sites = targets.shape[0]
    jump = -np.expm1(-expected)
    weights = np.array([miscopied, 1 - miscopied], np.float32)

    def emission(site: int) -> NDArray[np.float32]:
        return np.asarray(weights[_alike(targets[site], sources[site]).astype(np.int8)])

    forward = np.empty(sources.shape, np.float32)
    state = emission(0)
    for site in range(n_sites):
        if site:
            p = np.float32(jump[site - 1])
            state = (forward[site - 1] * (1 - p) + p / sources.shape[2]) * emission(site)
        np.divide(state, state.sum(axis=1, keepdims=True), out=forward[site])
    switches, errors, called = np.zeros(n_sites - 1), 0.0, 0
    backward = np.ones(forward.shape[1:], np.float32)
    for site in range(n_sites - 1, -1, -1):
        posterior = forward[site] * backward
        posterior /= posterior.sum(axis=1, keepdims=True)
        errors += float((posterior * ~_alike(targets[site], sources[site])).sum())
        called += int((targets[site] != MISSING).sum())
        if not site:
            break
        p = np.float32(jump[site - 1])
        backward *= emission(site)
        anywhere = p * backward.mean(axis=1)
        stays = (1 - p) * np.einsum("tk,tk->t", forward[site - 1], backward)
        switches[site - 1] = float((anywhere / (anywhere + stays)).sum())
        backward = (1 - p) * backward + anywhere[:, None]
        backward /= backward.max(axis=1, keepdims=True)
    # Where a haplotype switches, it does so once or more often.
    switches *= expected / np.maximum(jump, 1e-300)
    return switches, errors / max(1, called)


def _alike(targets: NDArray[np.int8], sources: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Whether the alleles of targets (t,) and sources (t, k) may be the same: (t, k) bool."""
    same = targets[:, None] == sources
    return np.asarray(same | (targets[:, None] == MISSING) | (sources == MISSING))
