"""What a VCF's header says beside its records."""

from __future__ import annotations

from pathlib import Path

import pytest

from haplobench.data.formats.vcf import stated_build


@pytest.mark.parametrize(
    ("lines", "build"),
    [
        ("##contig=<ID=20,assembly=b37,length=5>", "GRCh37"),
        ("##contig=<ID=20,length=64444167>", "GRCh38"),
        ("##reference=file:///data/37/hg38.fa\n##contig=<ID=20>", "GRCh38"),
        ("##contig=<ID=19,assembly=b37>\n##contig=<ID=20>", ""),
    ],
)
def test_the_build_that_a_header_states(lines: str, build: str, tmp_path: Path) -> None:
    path = tmp_path / "x.vcf"
    columns = "\t".join(("#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO"))
    path.write_text(
        f"##fileformat=VCFv4.2\n{lines}\n{columns}\n20\t5\t.\tA\tC\t.\t.\t.\n", encoding="utf-8"
    )
    assert stated_build(path, "20") == build
