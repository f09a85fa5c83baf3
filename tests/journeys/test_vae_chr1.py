"""`vae` on real people: as near to held-out people as training people are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from haplobench import SampleRequest
from haplobench.data.split import split_panel
from haplobench.registry import load_registry, resolve
from haplobench.testing import example_context, example_panel
from haplobench_vae import VAEParams
from haplobench_vae.vae import VAE


@pytest.mark.slow
def test_chr1_haplotypes(data_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("cyvcf2")
    spec = load_registry().dataset("file")
    params = {
        "path": str(data_dir / "1kg_p3_chr1_11.70-11.84Mb.vcf.gz"),
        "panel_file": str(data_dir / "1kg_p3.panel.tsv"),
        "map": str(data_dir / "chr1.b37.gmap.gz"),
    }
    ctx = example_context(tmp_path, example_panel())
    loaded = resolve(spec.target)().load(spec.params.model_validate(params), ctx)
    split = split_panel(loaded.panel, 0.2, 0.1)
    train = loaded.panel.select_samples(split.train)
    common = train.common_sites(0.01)
    train = train.select_sites(common)
    holdout = loaded.panel.select_samples(split.holdout).select_sites(common)
    ctx = example_context(
        tmp_path,
        train,
        recombination_map=loaded.recombination_map,
        validation=split.validation_in_train,
    )
    fitted = VAE().fit(train, VAEParams(epochs=8), ctx)
    request = SampleRequest(holdout.n_haplotypes, populations=holdout.haplotype_populations)
    synthetic = np.concatenate(list(fitted.sample(request, ctx)))

    real = np.asarray(holdout.haplotypes)
    people = np.random.default_rng(0).permutation(train.n_haplotypes)[: real.shape[0]]
    floor = np.asarray(train.haplotypes)[people]
    sites = np.flatnonzero(np.abs(train.frequencies - 0.5) < 0.45)
    i, j = np.triu_indices(sites.size, 1)
    width = fitted.tiling.width
    across = (sites[j] - sites[i] < width) & (sites[i] // width != sites[j] // width)
    r_real, r_floor, r_synthetic = (
        np.corrcoef(x[:, sites].T)[i, j][across] for x in (real, floor, synthetic)
    )
    cross_floor, cross = (np.corrcoef(r_real, r)[0, 1] for r in (r_floor, r_synthetic))
    rmse_floor, rmse = (
        np.sqrt(np.mean((x.mean(axis=0) - real.mean(axis=0)) ** 2)) for x in (floor, synthetic)
    )
    distinct = [len(np.unique(x[:, 300:320], axis=0)) for x in (real, synthetic)]
    print(
        f"AF RMSE {rmse:.4f} (floor {rmse_floor:.4f}), across borders {cross:.3f} (floor "
        f"{cross_floor:.3f}), distinct haplotypes of 20 SNPs {distinct[1]} (real {distinct[0]})"
    )
    assert rmse < 1.5 * rmse_floor
    assert cross > cross_floor - 0.02
    assert 0.75 < distinct[1] / distinct[0] < 1.35
    copies = {row.tobytes() for row in np.asarray(train.haplotypes)}
    copied, held = (np.mean([row.tobytes() in copies for row in x]) for x in (synthetic, real))
    assert copied <= held
