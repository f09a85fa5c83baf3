"""Make the embedded panel from Debian's `shapeit4-example` and a panel file of 1000 Genomes.

    apt-get install shapeit4-example
    python scripts/make_embedded_panel.py --panel-file integrated_call_samples_v3.20130502.ALL.panel

Run again, it writes the same bytes (zlib's version aside: then the panel's digest still agrees).
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np

from haplobench.data.formats import ReadOptions, read_panel
from haplobench.data.genome import RecombinationMap
from haplobench.datasets.embedded import STEM, decode, encode

EXAMPLE = Path("/usr/share/doc/shapeit4/examples/test")
DATA = Path(__file__).resolve().parent.parent / "harness" / "haplobench" / "datasets" / "data"
CONTIG = "20"
REGION = (1_000_000, 4_000_000)
BUILD = "GRCh37"
# 6 of 600 haplotypes: a minor allele frequency of at least 1 %.
MIN_COUNT = 6
LIMIT_BYTES = 1_000_000


def main() -> None:
    """Read, filter, pack, verify, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vcf", type=Path, default=EXAMPLE / "reference.vcf.gz")
    parser.add_argument("--map", type=Path, default=EXAMPLE / "chr20.b37.gmap.gz")
    parser.add_argument("--panel-file", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=DATA)
    arguments = parser.parse_args()

    options = ReadOptions(panel_file=arguments.panel_file, build=BUILD)
    panel, skipped = read_panel(arguments.vcf, options)
    alternate, called = panel.allele_counts
    common = np.minimum(alternate, called - alternate) >= MIN_COUNT
    skipped["MAF below 1 %"] = int((~common).sum())
    panel = panel.select_sites(common)
    recombination_map = RecombinationMap.read(arguments.map, CONTIG).region(*REGION)

    data = encode(panel, recombination_map)
    if len(data) > LIMIT_BYTES:
        raise SystemExit(f"{len(data)} bytes: more than {LIMIT_BYTES}")
    again, _ = decode(data, contig=CONTIG, build=BUILD)
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
        "filter": "biallelic SNPs, one record a position, MAF of at least 1 % among all 300 people",
        "source": (
            "1000 Genomes Project, phase 3, release 20130502, 300 Europeans at chr20:1-4 Mb "
            "(GRCh37), by way of Debian's package shapeit4-example 4.2.2+dfsg-1"
        ),
        "url": "https://packages.debian.org/bookworm/shapeit4-example",
        "source_sha256": {
            "reference.vcf.gz": _sha256(arguments.vcf),
            "chr20.b37.gmap.gz": _sha256(arguments.map),
            "population labels": _sha256(arguments.panel_file),
        },
        "licence": (
            "1000 Genomes Project data: open; shapeit4-example: Expat (LICENSE.shapeit4-example), "
            "Copyright 2018 Olivier Delaneau, University of Lausanne"
        ),
        "citation": "The 1000 Genomes Project Consortium, Nature 526, 68-74 (2015)",
        "made_by": "scripts/make_embedded_panel.py",
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / f"{STEM}.npz").write_bytes(data)
    (arguments.out / f"{STEM}.json").write_text(json.dumps(about, indent=1) + "\n")
    print(f"{panel.n_haplotypes} haplotypes, {panel.n_sites} sites, {len(data)} bytes")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
