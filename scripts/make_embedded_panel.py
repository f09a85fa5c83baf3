"""Make an embedded panel from a VCF, a map and a panel file of 1000 Genomes.

    apt-get install shapeit4-example
    python scripts/make_embedded_panel.py chr20-eur \\
        --vcf /usr/share/doc/shapeit4/examples/test/reference.vcf.gz \\
        --map /usr/share/doc/shapeit4/examples/test/chr20.b37.gmap.gz \\
        --panel-file integrated_call_samples_v3.20130502.ALL.panel

Run again, it writes the same bytes (zlib's version aside: then the panel's digest still agrees).
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from haplobench.data.formats import ReadOptions, read_panel
from haplobench.data.genome import RecombinationMap
from haplobench.datasets.embedded import STEMS, decode, encode

DATA = Path(__file__).resolve().parent.parent / "harness" / "haplobench" / "datasets" / "data"
BUILD = "GRCh37"
LIMIT_BYTES = 1_000_000
OPEN = "1000 Genomes Project data: open"
RELEASE = "1000 Genomes Project, phase 3, release 20130502"


@dataclass(frozen=True)
class Source:
    """Where a panel is from; `least_count` of the minor allele and `filter` say what is kept."""

    contig: str
    region: tuple[int, int]
    least_count: int
    filter: str
    source: str
    url: str
    licence: str


SOURCES = {
    "chr20-eur": Source(
        "20",
        (1_000_000, 4_000_000),
        6,
        "biallelic SNPs, one record a position, MAF of at least 1 % among all 300 people",
        f"{RELEASE}, 300 Europeans at chr20:1-4 Mb (GRCh37), by way of Debian's package "
        "shapeit4-example 4.2.2+dfsg-1",
        "https://packages.debian.org/bookworm/shapeit4-example",
        f"{OPEN}; shapeit4-example: Expat (LICENSE.shapeit4-example), "
        "Copyright 2018 Olivier Delaneau, University of Lausanne",
    ),
    "chr1-all": Source(
        "1",
        (11_697_000, 11_837_000),
        0,
        "biallelic SNPs, one record a position",
        f"{RELEASE}, all 2,504 people at chr1:11.70-11.84 Mb (GRCh37), by way of the example data "
        "of the R package genotype_plot; map: Debian's package shapeit4-example 4.2.2+dfsg-1",
        "https://ftp.1000genomes.ebi.ac.uk/vol1/ftp/release/20130502/",
        f"{OPEN}; map: as LICENSE.shapeit4-example",
    ),
}


def main() -> None:
    """Read, filter, pack, verify, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("panel", choices=SOURCES)
    parser.add_argument("--vcf", type=Path, required=True)
    parser.add_argument("--map", type=Path, required=True)
    parser.add_argument("--panel-file", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=DATA)
    arguments = parser.parse_args()
    source, stem = SOURCES[arguments.panel], STEMS[arguments.panel]

    options = ReadOptions(panel_file=arguments.panel_file, build=BUILD)
    panel, skipped = read_panel(arguments.vcf, options)
    if source.least_count:
        alternate, called = panel.allele_counts
        common = np.minimum(alternate, called - alternate) >= source.least_count
        skipped["MAF below 1 %"] = int((~common).sum())
        panel = panel.select_sites(common)
    recombination_map = RecombinationMap.read(arguments.map, source.contig).region(*source.region)

    data = encode(panel, recombination_map)
    if len(data) > LIMIT_BYTES:
        raise SystemExit(f"{len(data)} bytes: more than {LIMIT_BYTES}")
    again, _ = decode(data, contig=source.contig, build=BUILD)
    if again.digest != panel.digest:
        raise SystemExit("the packed panel doesn't unpack to the same")
    about = {
        "contig": panel.contig,
        "build": BUILD,
        "n_haplotypes": panel.n_haplotypes,
        "n_sites": panel.n_sites,
        "sha256": hashlib.sha256(data).hexdigest(),
        "panel_digest": panel.digest,
        "skipped": skipped,
        "filter": source.filter,
        "source": source.source,
        "url": source.url,
        "source_sha256": {
            "haplotypes": _sha256(arguments.vcf),
            "recombination map": _sha256(arguments.map),
            "population labels": _sha256(arguments.panel_file),
        },
        "licence": source.licence,
        "citation": "The 1000 Genomes Project Consortium, Nature 526, 68-74 (2015)",
        "made_by": "scripts/make_embedded_panel.py",
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / f"{stem}.npz").write_bytes(data)
    (arguments.out / f"{stem}.json").write_text(json.dumps(about, indent=1) + "\n")
    print(f"{panel.n_haplotypes} haplotypes, {panel.n_sites} sites, {len(data)} bytes")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
