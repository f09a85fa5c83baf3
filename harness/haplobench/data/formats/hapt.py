"""`.hapt`: the text format of published artificial genomes.

Yelmen et al., PLOS Genetics 17, e1009303 (2021): a haplotype per row, first a word for its
kind or population (`Real`, `AG`, `GBR`), then its name (`HG00096_A`), then its alleles.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from haplobench.data.formats.collector import Collector
from haplobench.data.formats.options import (
    ReadOptions,
    check_names,
    require_whole,
    staged,
)
from haplobench.data.formats.people import choose_people
from haplobench.data.formats.sites import choose_contig, choose_sites
from haplobench.data.labels import Label
from haplobench.data.panel import Panel
from haplobench.errors import FormatError
from haplobench.files import ENCODING, numbered_lines, read_text, require_file

# Kinds of haplotypes, not populations.
_KINDS = frozenset({"real", "ag", "synthetic", "."})
_SIDE = re.compile(r"(?P<person>.+)_(?P<side>[ABab12])")
# Of the only haplotype of a person: the format has no other place for the ploidy.
_HAPLOID = "_H"
# Identifiers of sites that name contig and position: 20:1234, chr20_1234_A_C.
_POSITION = re.compile(r"[0-9]{1,10}")
_SITE_ID = re.compile(r"(?P<contig>[^:\s]+?)[:_-](?P<position>\d+)(?:[:_-].*)?")
_CODES = np.full(256, -2, np.int8)
_CODES[ord("0")], _CODES[ord("1")], _CODES[ord(".")] = 0, 1, -1
_LEGEND_COLUMNS = ("id", "position", "a0", "a1")


def read(
    path: Path, options: ReadOptions, scratch: Path | None = None
) -> tuple[Panel, dict[str, int]]:
    """Read `.hapt`, positions and alleles from the `.legend` of its name if there is one.

    Without it, sites are numbered from 1 and their alleles are N. Two rows following each
    other are one person; an odd number of rows, or names that all end in `_H`, are haploid
    people, as all are with the option `haploid`. Missing is `.`.

    Raises FormatError naming file and line.
    """
    require_file(path)
    require_whole(path)
    kinds: list[str] = []
    names: list[str] = []
    rows: list[NDArray[np.int8]] = []
    for number, kind, name, alleles in _rows(path):
        if rows and alleles.size != rows[0].size:
            raise FormatError(
                f"{path}:{number}: {alleles.size} alleles, expected {rows[0].size} as in line 1"
            )
        kinds.append(kind)
        names.append(name)
        rows.append(alleles)
    if not rows:
        raise FormatError(f"{path}: holds no haplotypes")
    if {"0", "1"}.issuperset(names):
        raise FormatError(
            f"{path}: its second column holds alleles, expected names",
            hint="a line is a kind, a name and alleles: Real HG00096_A 0 1 1 0",
        )
    samples, ploidy = (names, 1) if options.haploid else _pair(path, names)
    labels = [Label("" if kind.lower() in _KINDS else kind, "") for kind in kinds[::ploidy]]
    own = labels if any(label.population for label in labels) else None
    people = choose_people(path, samples, options, own)
    contig, positions, ref, alternates = _sites(path, rows[0].size, options)
    wanted = options.wanted
    sites, skipped = choose_sites(
        positions, ref, [[alt] for alt in alternates], wanted, snps_only=options.snps_only
    )
    collector = Collector(path, options, people, scratch=scratch)
    collector.skipped.merge(skipped)
    matrix = np.stack(rows).reshape(len(samples), ploidy, -1)[people.index]
    step = 4096
    for start in range(0, sites.size, step):
        chosen = sites[start : start + step]
        collector.add(
            contig,
            positions[chosen],
            [ref[i] for i in chosen],
            [alternates[i] for i in chosen],
            matrix[:, :, chosen].transpose(2, 0, 1),
        )
    return collector.finish(contig)


def _rows(path: Path) -> Iterator[tuple[int, str, str, NDArray[np.int8]]]:
    """Yield (line number, kind, name, alleles (n_sites,) int8)."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as lines:
            for number, line in enumerate(lines, 1):
                fields = line.split(None, 2)
                if not fields:
                    continue
                if len(fields) < 3:
                    raise FormatError(
                        f"{path}:{number}: found {line[:60].decode(errors='replace').strip()!r}, "
                        "expected a kind, a name and alleles"
                    )
                try:
                    kind, name = fields[0].decode(ENCODING), fields[1].decode()
                except UnicodeDecodeError:
                    raise FormatError(
                        f"{path}:{number}: its kind or name isn't text", hint="save it as UTF-8"
                    ) from None
                yield number, kind, name, _alleles(path, number, fields[2])
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{path}: can't be read: {error}") from None


def _alleles(path: Path, number: int, text: bytes) -> NDArray[np.int8]:
    """Alleles of one row, by their even places where each is one character between blanks."""
    letters = np.frombuffer(text.rstrip(), np.uint8)
    separators = letters[1::2]
    if not ((separators == ord(" ")) | (separators == ord("\t"))).all():
        letters = np.frombuffer(b" ".join(text.split()), np.uint8)
        separators = letters[1::2]
    codes: NDArray[np.int8] = _CODES[letters[0::2]]
    wrong = codes < -1
    if wrong.any() or not ((separators == ord(" ")) | (separators == ord("\t"))).all():
        fields = text.split()
        column = next((i for i, field in enumerate(fields) if field not in (b"0", b"1", b".")), 0)
        found = fields[column].decode(errors="replace")
        raise FormatError(
            f"{path}:{number}: allele {column + 1} is {found[:20]!r}, expected 0, 1 or ."
        )
    return codes


def _pair(path: Path, names: list[str]) -> tuple[list[str], int]:
    """Names of the people and their ploidy, from the haplotypes' names."""
    if all(name.endswith(_HAPLOID) for name in names):
        return [name.removesuffix(_HAPLOID) for name in names], 1
    sides = [_SIDE.fullmatch(name) for name in names]
    if len(names) % 2:
        if all(sides):
            raise FormatError(
                f"{path}: an odd number of haplotypes ({len(names)}), named as pairs",
                hint=f"{names[-1]} has no other; set haploid: true to take each by itself",
            )
        return names, 1
    people: list[str] = []
    for i in range(0, len(names), 2):
        first, second = sides[i], sides[i + 1]
        if first is None or second is None:
            people.append(names[i])
        elif first["person"] == second["person"]:
            people.append(first["person"])
        else:
            raise FormatError(
                f"{path}: haplotypes {names[i]} and {names[i + 1]} follow each other, "
                "expected two of one person"
            )
    return people, 2


def _sites(
    path: Path, n: int, options: ReadOptions
) -> tuple[str, NDArray[np.int64], list[str], list[str]]:
    """Contig, positions and alleles from the legend, or numbered."""
    wanted = options.wanted
    stem = path.with_name(path.name.removesuffix(".gz")).with_suffix("")
    legend = next(
        (
            found
            for ending in (".legend", ".legend.gz")
            if (found := stem.with_name(stem.name + ending)).exists()
        ),
        None,
    )
    if legend is None:
        if wanted is not None and (wanted.start > 1 or wanted.end is not None):
            raise FormatError(
                f"{path}: has no positions to choose {wanted} by",
                hint=f"put {stem.name}.legend beside it",
            )
        contig = wanted.contig if wanted else ""
        return contig, np.arange(1, n + 1), ["N"] * n, ["N"] * n
    contigs, positions, ref, alternates = _read_legend(legend)
    if len(positions) != n:
        raise FormatError(f"{legend}: {len(positions)} sites, expected {n} as in {path.name}")
    named = list(dict.fromkeys(filter(None, contigs)))
    contig = choose_contig(legend, named, wanted) if named else (wanted.contig if wanted else "")
    return contig, np.array(positions, np.int64), ref, alternates


def _read_legend(path: Path) -> tuple[list[str], list[int], list[str], list[str]]:
    contigs: list[str] = []
    positions: list[int] = []
    ref: list[str] = []
    alternates: list[str] = []
    for number, line in numbered_lines(read_text(path)):
        fields = line.split()
        if not fields or (number == 1 and fields[1:2] and not fields[1].isdigit()):
            continue
        if len(fields) < 4 or not _POSITION.fullmatch(fields[1]):
            raise FormatError(
                f"{path}:{number}: found {line.strip()[:60]!r}, "
                f"expected {' '.join(_LEGEND_COLUMNS)}"
            )
        named = _SITE_ID.fullmatch(fields[0])
        known = named is not None and named["position"] == fields[1]
        contigs.append(named["contig"] if named is not None and known else "")
        positions.append(int(fields[1]))
        ref.append(fields[2])
        alternates.append(fields[3])
    return contigs, positions, ref, alternates


def write(panel: Panel, path: Path, notes: Mapping[str, str] | None = None) -> None:
    """Write `.hapt` and its `.legend`; rows start with the population, `.` where there is none.

    There is no room for superpopulations and notes.

    Raises FormatError for other than haploid or diploid people, or unphased panels.
    """
    if panel.ploidy > 2:
        raise FormatError(f"{path}: .hapt holds at most two haplotypes each, not {panel.ploidy}")
    if not panel.phased:
        raise FormatError(f"{path}: .hapt holds haplotypes, and the panel is unphased")
    check_names(path, (*panel.samples, *panel.population))
    stem = path.with_name(path.name.removesuffix(".gz")).with_suffix("")
    letters = np.frombuffer(b"01.", np.uint8)
    with staged(path) as folder:
        target = folder / path.name
        with (
            gzip.GzipFile(target, "wb", mtime=0)
            if path.suffix == ".gz"
            else target.open("wb") as out
        ):
            text = np.full(2 * panel.n_sites, ord(" "), np.uint8)
            text[-1] = ord("\n")
            for i, row in enumerate(panel.haplotypes):
                person, side = divmod(i, panel.ploidy)
                name = panel.samples[person] + (f"_{'AB'[side]}" if panel.ploidy == 2 else _HAPLOID)
                text[0::2] = letters[row]
                out.write(f"{panel.population[person] or '.'} {name} ".encode() + text.tobytes())
        lines = [" ".join(_LEGEND_COLUMNS)]
        lines += [
            f"{panel.contig}:{position} {position} {ref} {alt}"
            for position, ref, alt in zip(panel.positions, panel.ref, panel.alt, strict=True)
        ]
        (folder / f"{stem.name}.legend").write_text("\n".join(lines) + "\n")
