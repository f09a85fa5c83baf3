"""Seconds to read the same panel from each format: 4,294 SNPs of 2,504 people (phase 3, chr1).

`pytest benchmarks/test_formats_speed.py` prints the table; `extra_info` holds alleles per
second. One thread; skips where the real data is absent.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from haplobench.data.formats import read_panel, write_panel

DATA = Path(os.environ.get("HAPLOBENCH_DATA", "../shared/data"))
SOURCE = DATA / "1kg_p3_chr1_11.70-11.84Mb.vcf.gz"


@pytest.mark.parametrize("name", ["a.vcf.gz", "a.bcf", "a.vcz", "a.bed", "a.pgen", "a.hapt"])
def test_reading(benchmark: Any, name: str, tmp_path: Path) -> None:
    if not SOURCE.is_file():
        pytest.skip(f"real data absent: {DATA} (set HAPLOBENCH_DATA)")
    panel, _ = read_panel(SOURCE)
    write_panel(panel, tmp_path / name)
    found, _ = benchmark.pedantic(read_panel, (tmp_path / name,), rounds=3, warmup_rounds=1)
    assert found.haplotypes.shape == panel.haplotypes.shape
    benchmark.extra_info["alleles_per_s"] = panel.haplotypes.size / benchmark.stats["median"]
