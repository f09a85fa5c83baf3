"""Beagle and Minimac4 as imputers: files written for them, what they impute read back."""

from __future__ import annotations

import gzip
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from haplobench import PluginError

_HEAD = """##fileformat=VCFv4.2
##contig=<ID=1,length={length}>
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t"""


def impute(
    program: str,
    haplotypes: NDArray[np.int8],
    typed_alleles: NDArray[np.int8],
    typed: NDArray[np.int64],
    positions: NDArray[np.int64],
    morgans: NDArray[np.float64],
    ne: float,
    error: float,
    scratch: Path,
) -> NDArray[np.float32]:
    """Probability of the alternate allele at sites that aren't typed: (n, n_untyped) float32.

    `program` is `beagle` or `minimac4`; `haplotypes` (n_reference, n_sites) and `typed_alleles`
    (n, n_typed) int8 of 0 and 1. An odd haplotype is paired with itself: the programs know people
    of two. Raises PluginError with the program's last words if it fails.

    Both are told the copying model's `ne` and `error`. By their own defaults, made for panels of
    tens of thousands, they are worse with a hundred haplotypes. Minimac4 takes its map's distances
    for switches as they are, so it gets them scaled by 4 Ne / n.
    """
    run = {"beagle": _beagle, "minimac4": _minimac4}[program]
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        folder = Path(name)
        write_vcf(folder / "reference.vcf", haplotypes, positions)
        write_vcf(folder / "target.vcf", typed_alleles, positions[typed])
        # A plain PLINK map: cM must not repeat for Beagle, so equal ones are set a hair apart.
        scale = 4 * ne / haplotypes.shape[0] if program == "minimac4" else 1.0
        centimorgans = 100 * morgans * scale + np.arange(morgans.size) * 1e-9
        (folder / "map.txt").write_text(
            "".join(f"1 . {cm:.10f} {bp}\n" for cm, bp in zip(centimorgans, positions, strict=True))
        )
        run(folder, ne, error)
        found = dict(_dosages(folder, "HDS" if program == "minimac4" else "AP1"))
    index = {int(bp): i for i, bp in enumerate(positions)}
    untyped = np.setdiff1d(np.arange(positions.size), typed)
    out = np.full((positions.size, typed_alleles.shape[0]), np.nan, np.float32)
    for bp, row in found.items():
        out[index[bp]] = row[: typed_alleles.shape[0]]
    missing = np.isnan(out[untyped]).any(axis=1)
    if missing.any():
        raise PluginError(
            f"{program}: {int(missing.sum())} of {untyped.size} sites came back without dosages"
        )
    return np.ascontiguousarray(out[untyped].T)


def write_vcf(path: Path, haplotypes: NDArray[np.int8], positions: NDArray[np.int64]) -> None:
    """A phased VCF of people of two haplotypes each, A and C for 0 and 1."""
    if haplotypes.shape[0] % 2:
        haplotypes = np.concatenate([haplotypes, haplotypes[-1:]])
    names = "\t".join(f"p{i}" for i in range(haplotypes.shape[0] // 2))
    with path.open("w") as handle:
        handle.write(_HEAD.format(length=int(positions[-1]) + 1) + names + "\n")
        for bp, column in zip(positions, haplotypes.T, strict=True):
            calls = "\t".join(f"{a}|{b}" for a, b in column.reshape(-1, 2))
            handle.write(f"1\t{bp}\t.\tA\tC\t.\tPASS\t.\tGT\t{calls}\n")


def _beagle(folder: Path, ne: float, error: float) -> None:
    _call(
        [
            *("beagle", "gt=target.vcf", "ref=reference.vcf", "map=map.txt", "out=imputed"),
            *("ap=true", "nthreads=1", "seed=1", f"ne={ne:.0f}", f"err={error:g}"),
        ],
        folder,
    )


def _minimac4(folder: Path, _ne: float, error: float) -> None:
    import pysam

    pysam.tabix_index(str(folder / "target.vcf"), preset="vcf", force=True, csi=True)
    compress = ["minimac4", "--compress-reference", "reference.vcf", "-o", "reference.msav"]
    _call(compress, folder)
    options = ["--match-error", f"{error:g}", "-m", "map.txt", "-f", "HDS", "-O", "vcf.gz"]
    files = ["reference.msav", "target.vcf.gz", "-o", "imputed.vcf.gz"]
    _call(["minimac4", *options, "-t", "1", *files], folder)


def _call(arguments: Sequence[str], folder: Path) -> None:
    done = subprocess.run(
        arguments,
        cwd=folder,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()[-5:]
        raise PluginError(f"{arguments[0]} ended with {done.returncode}: {' / '.join(words)}")


def _dosages(folder: Path, field: str) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Position and dosages of haplotypes of each record: (2 n_people,) float32.

    `HDS` holds both of a person's; `AP1` stands for Beagle's two fields.
    """
    with gzip.open(folder / "imputed.vcf.gz", "rt") as handle:
        for line in handle:
            if line.startswith("#"):
                continue
            columns = line.rstrip("\n").split("\t")
            fields = columns[8].split(":")
            if field not in fields:
                continue
            at = fields.index(field)
            people = [column.split(":") for column in columns[9:]]
            if field == "HDS":
                texts = [text for person in people for text in person[at].split(",")]
            else:
                second = fields.index("AP2")
                texts = [text for person in people for text in (person[at], person[second])]
            yield int(columns[1]), np.array(texts, np.float32)
