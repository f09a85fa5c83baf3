"""The built-in quality profile beside ART's empirical one for the same instrument."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pysam
import pytest

from haplobench.data.genome import BASES
from haplobench_reads.genome import write_fasta
from haplobench_reads.illumina import QualityProfile

LENGTH = 150


@pytest.mark.skipif(not shutil.which("art_illumina"), reason="art_illumina is not on PATH")
def test_qualities_are_like_arts_hiseq_2500(tmp_path: Path) -> None:
    fasta = tmp_path / "one.fa"
    write_fasta(fasta, "one", BASES[np.random.default_rng(0).integers(0, 4, 100_000)])
    command = f"art_illumina -q -na -p -ss HS25 -l {LENGTH} -f 20 -m 400 -s 50 -rs 1"
    subprocess.run(
        [*command.split(), "-i", str(fasta), "-o", str(tmp_path / "art")],
        check=True,
        capture_output=True,
    )
    for mate in (0, 1):
        with pysam.FastxFile(str(tmp_path / f"art{mate + 1}.fq")) as fastq:
            art = np.array([list(read.get_quality_array()) for read in fastq], np.float64)
        built_in = QualityProfile.illumina(LENGTH, mate).draw(len(art), np.random.default_rng(0))
        curve, art_curve = built_in.mean(axis=0), art.mean(axis=0)
        assert np.abs(curve - art_curve).mean() < 1
        assert np.abs(curve - art_curve).max() < 4
        assert np.corrcoef(curve, art_curve)[0, 1] > 0.85
        rate, art_rate = ((10 ** (q / -10.0)).mean() for q in (built_in, art))
        assert 0.5 < rate / art_rate < 2
