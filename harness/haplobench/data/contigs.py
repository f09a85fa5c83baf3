"""Contigs by name: which names mean one contig, and where a man has one copy of it.

Names: plain and UCSC's (`20`, `chr20`), PLINK's numbers (23 to 26), RefSeq's (`NC_000020.10`)
and GenBank's (`CM000682.1`) accessions of the human assemblies.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NUMBERS = {"23": "X", "24": "Y", "25": "XY", "26": "MT", "M": "MT"}
_REFSEQ = re.compile(r"NC_0000(\d\d)\.\d+")
_GENBANK = re.compile(r"CM000(\d{3})\.\d+")
_MITOCHONDRIA = re.compile(r"(NC_012920|J01415)\.\d+")
# Pseudo-autosomal regions of X (bp, 1-based, both included), by the Genome Reference
# Consortium's assembly pages and, of CHM13, Rhie et al., Nature 621, 344 (2023).
_PSEUDO_AUTOSOMAL = {
    "GRCh37": ((60_001, 2_699_520), (154_931_044, 155_260_560)),
    "GRCh38": ((10_001, 2_781_479), (155_701_383, 156_030_895)),
    "CHM13": ((1, 2_394_410), (153_925_835, 154_259_566)),
}
_BUILDS = {
    "GRCh37": ("37", "hg19"),
    "GRCh38": ("38", "hg38"),
    "CHM13": ("chm13", "hs1"),
}
# bp of chromosomes 1 to 22, X and Y, by the same pages.
_LENGTHS = {
    "GRCh37": (
        *(249250621, 243199373, 198022430, 191154276, 180915260, 171115067, 159138663, 146364022),
        *(141213431, 135534747, 135006516, 133851895, 115169878, 107349540, 102531392, 90354753),
        *(81195210, 78077248, 59128983, 63025520, 48129895, 51304566, 155270560, 59373566),
    ),
    "GRCh38": (
        *(248956422, 242193529, 198295559, 190214555, 181538259, 170805979, 159345973, 145138636),
        *(138394717, 133797422, 135086622, 133275309, 114364328, 107043718, 101991189, 90338345),
        *(83257441, 80373285, 58617616, 64444167, 46709983, 50818468, 156040895, 57227415),
    ),
}


def plain_name(contig: str) -> str:
    """The contig's name without its prefix or code: `chr20` is `20`, `NC_000023.10` is `X`."""
    if match := _REFSEQ.fullmatch(contig):
        name = match[1].lstrip("0")
    elif match := _GENBANK.fullmatch(contig):
        number = int(match[1]) - 662
        name = str(number) if 1 <= number <= 24 else contig
    elif _MITOCHONDRIA.fullmatch(contig):
        name = "MT"
    else:
        name = contig[3:] if contig[:3].lower() == "chr" else contig
        name = name.upper() if name in ("x", "y", "m", "mt", "xy") else name
    return _NUMBERS.get(name, name)


def same_contig(one: str, other: str) -> bool:
    """Whether two names mean one contig, as `chr20` and `20` or `X` and `23` do."""
    return one == other or plain_name(one) == plain_name(other)


def build_of(text: str, contig: str = "", length: int = 0) -> str:
    """`GRCh37`, `GRCh38` or `CHM13` by a name in use (`b37`, `hg38`), else by a contig's length.

    Empty where neither says.
    """
    for build, marks in _BUILDS.items():
        if any(mark in text.lower() for mark in marks):
            return build
    names = [*map(str, range(1, 23)), "X", "Y"]
    if plain_name(contig) in names:
        place = names.index(plain_name(contig))
        return next((b for b, lengths in _LENGTHS.items() if lengths[place] == length), "")
    return ""


def one_copy(
    contig: str, positions: NDArray[np.int64], build: str
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where a man has one copy of a contig: (there, unsure), (n_sites,) bool each.

    All of Y and of the mitochondria (of which women have one as well), and X outside its
    pseudo-autosomal regions. Without a known build, those positions of X are unsure that are
    pseudo-autosomal in some builds only.
    """
    import numpy as np

    name = plain_name(contig)
    if name in ("Y", "MT"):
        return np.ones(positions.size, np.bool_), np.zeros(positions.size, np.bool_)
    if name != "X":
        return np.zeros(positions.size, np.bool_), np.zeros(positions.size, np.bool_)
    known = [regions for key, regions in _PSEUDO_AUTOSOMAL.items() if key == build_of(build)]
    inside = [
        np.logical_or.reduce([(positions >= low) & (positions <= high) for low, high in regions])
        for regions in known or _PSEUDO_AUTOSOMAL.values()
    ]
    somewhere, everywhere = np.logical_or.reduce(inside), np.logical_and.reduce(inside)
    return ~somewhere, somewhere & ~everywhere
