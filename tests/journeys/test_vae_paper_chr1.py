"""`vae-paper` on real people: LD inside windows is learnt, across their borders it is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from haplobench import Panel, SampleRequest
from haplobench.testing import example_context
from haplobench_vae import PaperVAEParams
from haplobench_vae.paper import PaperVAE

WINDOW = 128
BORDER = 64  # sites on each side of a window border


def common_snps(path: Path) -> Panel:
    """Biallelic SNPs of MAF above 1 %."""
    cyvcf2 = pytest.importorskip("cyvcf2")
    rows, positions = [], []
    with_samples = cyvcf2.VCF(str(path))
    for record in with_samples:
        if record.is_snp and len(record.ALT) == 1 and min(record.aaf, 1 - record.aaf) > 0.01:
            rows.append(record.genotype.array()[:, :2].ravel().astype(np.int8))
            positions.append(record.POS)
    return Panel(
        np.ascontiguousarray(np.array(rows).T),
        np.array(positions),
        "1",
        np.array(with_samples.samples),
    )


@pytest.mark.slow
def test_chr1_windows(data_dir: Path, tmp_path: Path) -> None:
    panel = common_snps(data_dir / "1kg_p3_chr1_11.70-11.84Mb.vcf.gz")
    assert panel.n_sites == 741
    people = np.random.default_rng(0).permutation(panel.n_samples)
    train, holdout = panel.select_samples(people[:2003]), panel.select_samples(people[2003:])
    ctx = example_context(tmp_path, train)
    fitted = PaperVAE().fit(train, PaperVAEParams(window=WINDOW), ctx)
    synthetic = np.concatenate(list(fitted.sample(SampleRequest(2000), ctx)))

    real = np.asarray(holdout.haplotypes)
    rmse = np.sqrt(np.mean((synthetic.mean(axis=0) - real.mean(axis=0)) ** 2))
    assert rmse < 0.04
    common = np.flatnonzero(np.abs(train.frequencies - 0.5) < 0.45)
    i, j = np.triu_indices(common.size, 1)
    r_real, r_synthetic = (np.corrcoef(x[:, common].T)[i, j] for x in (real, synthetic))
    left, right = common[i], common[j]
    inside = left // WINDOW == right // WINDOW
    border = right // WINDOW * WINDOW
    across = (left < border) & (left >= border - BORDER) & (right < border + BORDER)
    in_window, cross_border = (
        np.corrcoef(r_real[chosen], r_synthetic[chosen])[0, 1] for chosen in (inside, across)
    )
    print(f"AF RMSE {rmse:.4f}, in-window {in_window:.3f}, cross-border {cross_border:.3f}")
    assert in_window > 0.9
    assert abs(cross_border) < 0.5
