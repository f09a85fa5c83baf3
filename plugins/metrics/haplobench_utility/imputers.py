"""Imputation: by the copying model of Li & Stephens, exact, and by Beagle and Minimac4.

A haplotype is a mosaic of the panel's n haplotypes (Li & Stephens 2003, Genetics 165:2213-2233).
Over d Morgans it starts afresh from any of them, itself included, with probability
1 - exp(-4 Ne d / n), and an allele is another than the copied one with the probability `error`.
What is imputed is the probability of the alternate allele given everything that is typed, by
forward and backward probabilities. Untyped sites between two typed ones have states of their own:
nothing is interpolated.

Haplotypes that are equal in a block of sites have the same probabilities there but for what they
bring into it, so that a block's classes stand for them (Das et al. 2016, Nature Genetics
48:1284-1287, who call it state space reduction); it gives what all states would.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from haplobench import PluginError
from haplobench_utility import copying_kernels as kernels
from haplobench_utility.copying_kernels import LANES, Classes, Knots

_WORK_BYTES = 1 << 28


@dataclass(frozen=True, eq=False)
class CopyingModel:
    """A reference panel, ready to impute from.

    Attributes
    ----------
    untyped : (n_untyped,) int64
        Indices of the sites that are imputed, increasing.
    error : float
        Probability that an allele is another than the copied one.
    """

    untyped: NDArray[np.int64]
    error: float
    _classes: Classes
    _knots: Knots

    @classmethod
    def of(
        cls,
        haplotypes: NDArray[np.int8],
        typed: NDArray[np.int64],
        morgans: NDArray[np.float64],
        *,
        ne: float = 20_000,
        error: float = 0.001,
    ) -> CopyingModel:
        """The model of a panel.

        Parameters
        ----------
        haplotypes : (n_haplotypes, n_sites) int8
            0 or 1; one haplotype and two sites or more.
        typed : (n_typed,) int64
            Indices of the sites that are seen in those to impute, increasing; one or more.
        morgans : (n_sites,) float64
            Genetic position of each site, not decreasing.
        ne : float
            Effective population size.
        error : float
            Probability that a copied allele is changed.

        Raises ValueError if shapes contradict this or an allele is missing.
        """
        n, n_sites = haplotypes.shape
        if n < 1 or n_sites < 2 or typed.size < 1 or morgans.shape != (n_sites,):
            raise ValueError(
                "copying model: a haplotype, a typed site, two sites and a genetic position of "
                f"each expected, found {haplotypes.shape} alleles, {typed.size} typed sites and "
                f"{morgans.size} positions"
            )
        alleles = np.ascontiguousarray(haplotypes.T).view(np.uint8)
        if alleles.max() > 1:
            raise ValueError("copying model: alleles 0 and 1 expected, found missing ones")
        untyped = np.setdiff1d(np.arange(n_sites), typed)
        knots = _knots(typed, morgans, n_sites, 4 * ne / n)
        return cls(untyped, error, _classes(alleles, knots.sites), knots)

    def impute(self, typed_alleles: NDArray[np.int8], threads: int = 1) -> NDArray[np.float32]:
        """Probability of the alternate allele at untyped sites: (n, n_untyped) float32.

        `typed_alleles` (n, n_typed) int8: 0, 1, or -1 where it isn't known.
        """
        out = np.empty((typed_alleles.shape[0], self.untyped.size), np.float32)
        batches = list(range(0, typed_alleles.shape[0], LANES))
        threads = max(1, min(threads, len(batches)))

        def work(which: int) -> None:
            space = self._space()
            dosages = np.zeros((self._classes.at.size, LANES), np.float32)
            for start in batches[which::threads]:
                rows = typed_alleles[start : start + LANES]
                seen = np.full((typed_alleles.shape[1], LANES), -1, np.int8)
                seen[:, : len(rows)] = rows.T
                kernels.impute(self._classes, self._knots, seen, self.error, space, dosages)
                out[start : start + LANES] = dosages[self.untyped, : len(rows)].T

        if threads == 1:
            work(0)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(work, range(threads)))
        return out

    def _space(self) -> kernels.Work:
        """Work space of one thread: forward probabilities are kept at some blocks only."""
        n_blocks, n = self._classes.of.shape
        most = self._classes.members.shape[1]
        longest = int(np.diff(self._classes.first).max()) + 1
        step = n_blocks
        if n_blocks * n * LANES * 4 > _WORK_BYTES:
            step = int(np.ceil(np.sqrt(n_blocks)))

        def rows(*shape: int) -> NDArray[np.float32]:
            return np.empty((*shape, LANES), np.float32)

        return kernels.Work(
            far=rows(-(-n_blocks // step), n),
            near=rows(step + 1, n),
            state=rows(n),
            forward=kernels.Forward(
                rows(most), rows(longest, most), rows(longest, most), rows(longest), rows(2)
            ),
            posterior=kernels.Posterior(*(rows(most) for _ in kernels.Posterior._fields)),
        )


def _knots(
    typed: NDArray[np.int64], morgans: NDArray[np.float64], n_sites: int, rate: float
) -> Knots:
    """Typed sites and both ends, with the probabilities of switches at `rate` per Morgan."""
    sites = np.union1d(typed, [0, n_sites - 1]).astype(np.int64)
    index = np.full(n_sites, -1, np.int64)
    index[typed] = np.arange(typed.size)
    every = np.arange(n_sites)
    before = sites[np.maximum(np.searchsorted(sites, every, side="left") - 1, 0)]
    after = sites[np.minimum(np.searchsorted(sites, every, side="right"), sites.size - 1)]

    def switch(start: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(-np.expm1(-rate * (morgans[end] - morgans[start])))

    return Knots(
        sites,
        index[sites],
        switch(sites[np.maximum(np.arange(sites.size) - 1, 0)], sites),
        switch(before, every),
        switch(every, after),
    )


def _blocks(
    alleles: NDArray[np.uint8], sites: NDArray[np.int64]
) -> Iterator[tuple[int, int, NDArray[np.int32]]]:
    """Each block's last knot, its number of classes, and the class of each haplotype."""
    last = 0
    while last < sites.size - 1:
        of = np.empty(alleles.shape[1], np.int32)
        last, n = kernels.cut_block(alleles, sites, last, of)
        yield last, n, of


def _classes(alleles: NDArray[np.uint8], sites: NDArray[np.int64]) -> Classes:
    """`alleles` (n_sites, n_haplotypes) uint8, in blocks between the knots at `sites`."""
    blocks = list(_blocks(alleles, sites))
    first = np.array([0, *(last for last, _, _ in blocks)], np.int64)
    size = np.array([n for _, n, _ in blocks], np.int64)
    members = np.zeros((len(blocks), int(size.max())), np.float32)
    shown, lengths = [], np.zeros(alleles.shape[0], np.int64)
    for b, (_, n, of) in enumerate(blocks):
        members[b, :n] = np.bincount(of, minlength=n)
        start, stop = sites[first[b]] + (b > 0), sites[first[b + 1]] + 1
        shown.append(alleles[start:stop, np.unique(of, return_index=True)[1]].ravel())
        lengths[start:stop] = n
    return Classes(
        first,
        np.stack([of for _, _, of in blocks]),
        size,
        members,
        np.concatenate(shown),
        np.cumsum(lengths) - lengths,
    )


# --- Beagle and Minimac4 ----------------------------------------------------------------------

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
