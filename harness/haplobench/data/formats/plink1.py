"""PLINK 1 binary files: `.bed`, `.bim` and `.fam`, which know genotypes but no phase."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import bed_reader
import numpy as np

from haplobench.data.formats.collector import Collector
from haplobench.data.formats.options import ReadOptions
from haplobench.data.formats.people import choose_people, staged_labelled
from haplobench.data.formats.plink import check_writable, read_bim, read_fam
from haplobench.data.formats.sites import choose_contig
from haplobench.data.panel import Panel
from haplobench.errors import FormatError
from haplobench.files import require_file

_BATCH = 4096
_MISSING = -127
_MAGIC = b"\x6c\x1b\x01"
# Alleles of dosages 0, 1 and 2: a heterozygous person's alternate allele always comes second.
_GENOTYPES = np.array([[0, 0], [0, 1], [1, 1], [-1, -1]], np.int8)

_LOOKED_AT = 10_000
"""Sites, at most, at which a file is asked for people beyond those of the .fam."""


def read(
    path: Path, options: ReadOptions, scratch: Path | None = None
) -> tuple[Panel, dict[str, int]]:
    """Read `.bed`, `.bim` and `.fam`; the panel says `phased=False`.

    The `.bim` file's fifth column is taken as the alternate allele, its sixth as the
    reference, as PLINK 2 writes them; PLINK 1.9 puts the minor allele fifth unless told
    `--keep-allele-order`. Heterozygous people are coded 0 then 1.

    Raises FormatError naming file and line.
    """
    bed, bim, fam = (path.with_suffix(ending) for ending in (".bed", ".bim", ".fam"))
    require_file(bed)
    names, labels = read_fam(fam)
    people = choose_people(fam, names, options, labels)
    table = read_bim(bim)
    _check_bed(bed, len(names), table.n_sites)
    wanted = options.wanted
    contig = choose_contig(bim, table.contig_names, wanted)
    sites, skipped = table.choose(contig, wanted, snps_only=options.snps_only)
    collector = Collector(path, options, people, scratch=scratch, at_most=sites.size)
    collector.skipped.merge(skipped)
    source = bed_reader.open_bed(
        bed, iid_count=len(names), sid_count=table.n_sites, properties={}, num_threads=1
    )
    for start in range(0, sites.size, _BATCH):
        chosen = sites[start : start + _BATCH]
        dosage = source.read(index=np.s_[people.index, chosen], dtype="int8", order="F")
        dosage[dosage == _MISSING] = 3
        collector.add(
            contig,
            table.positions[chosen],
            [table.ref[i] for i in chosen],
            [table.alternates[i][0] for i in chosen],
            _GENOTYPES[dosage.T],
        )
    return collector.finish(contig, phased=False)


def _check_bed(path: Path, n_samples: int, n_sites: int) -> None:
    with path.open("rb") as handle:
        magic = handle.read(3)
    if magic != _MAGIC:
        raise FormatError(
            f"{path}: starts with {magic.hex() or 'nothing'}, expected {_MAGIC.hex()}: "
            "not a PLINK 1 file in variant-major order"
        )
    size, expected = path.stat().st_size, 3 + n_sites * ((n_samples + 3) // 4)
    if size != expected:
        raise FormatError(
            f"{path}: {size} bytes, expected {expected} for {n_samples} people of the .fam "
            f"and {n_sites} sites of the .bim",
            hint="it was cut short, or the files don't belong together",
        )
    # The last byte of a site has room for four people; what is none's is zero.
    if n_sites and (people := n_samples % 4):
        rows = np.memmap(path, np.uint8, "r", offset=3, shape=(n_sites, (size - 3) // n_sites))
        some = np.linspace(0, n_sites - 1, min(n_sites, _LOOKED_AT)).astype(np.int64)
        if (rows[some, -1] >> (2 * people)).any():
            raise FormatError(
                f"{path}: has genotypes of more than the {n_samples} people of the .fam",
                hint="give the .fam that was written with it",
            )


def write(panel: Panel, path: Path, notes: Mapping[str, str] | None = None) -> None:
    """Write `.bed`, `.bim` and `.fam`; phase is lost, as the format has none, and so are notes.

    Labels go into a table beside it, see `labels_beside`.

    Raises FormatError for other than diploid people and for half-missing genotypes.
    """
    check_writable(panel, path)
    bed = path.with_suffix(".bed")
    with staged_labelled(bed, panel) as folder:
        bed_reader.to_bed(
            folder / bed.name,
            np.where(panel.dosages() < 0, _MISSING, panel.dosages()).astype(np.int8),
            properties={
                "iid": panel.samples.tolist(),
                "fid": ["0"] * panel.n_samples,
                "chromosome": [panel.contig] * panel.n_sites,
                "sid": [f"{panel.contig}:{position}" for position in panel.positions],
                "bp_position": panel.positions.tolist(),
                "allele_1": panel.alt.tolist(),
                "allele_2": panel.ref.tolist(),
            },
            num_threads=1,
        )
