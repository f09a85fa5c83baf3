"""Files to be spoilt: a VCF's lines, and what is said of a file that can't be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from haplobench import BenchError
from haplobench.data.formats import ReadOptions, read_panel

HEADER = """##fileformat=VCFv4.2
##contig=<ID=20,length=63025520>
##contig=<ID=21,length=48129895>
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tA\tB
"""


def record(
    position: int, *genotypes: str, ref: str = "A", alt: str = "G", contig: str = "20"
) -> str:
    calls = "\t".join(genotypes or ("0|1", "1|1"))
    return f"{contig}\t{position}\t.\t{ref}\t{alt}\t.\t.\t.\tGT\t{calls}\n"


def one_line(path: Path, options: ReadOptions | None = None) -> str:
    with pytest.raises(BenchError) as caught:
        read_panel(path, options)
    text = str(caught.value)
    assert "\n" not in text
    return text


def swap(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
