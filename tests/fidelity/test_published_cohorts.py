"""The figures of published cohorts, as their authors' released files give them.

805 SNPs of the 1000 Genomes Project, and 5,000 haplotypes each of Yelmen et al. 2021's GAN and RBM:
`805_SNP_1000G_real.hapt`, `805_SNP_GAN_AG_20000epochs.hapt`, `805_SNP_RBM_AG_800Epochs.hapt`. They
aren't ours to hand on: HAPLOBENCH_PUBLISHED is the folder that they are in.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from haplobench import Panel, Reference, RunContext
from haplobench.plugin.metrics import apply_metric
from haplobench.registry import load_registry, resolve

_REAL = "805_SNP_1000G_real.hapt"
# The definitions of the authors' notebooks, computed once with numpy, scipy and scikit-learn alone.
_PUBLISHED = {
    "805_SNP_GAN_AG_20000epochs.hapt": {
        "aa_truth_strict": 0.2075,
        "aa_syn_strict": 0.9930,
        "r": 0.98177,
        "rmse": 0.04072,
        "squared": 0.9239,
        "squared_rmse": 0.02089,
        "coupled_wasserstein": 2.378,
        "distances_within": 4.742,
        "distances_between": 2.038,
    },
    "805_SNP_RBM_AG_800Epochs.hapt": {
        "aa_truth_strict": 0.5470,
        "aa_syn_strict": 0.4854,
        "r": 0.99373,
        "rmse": 0.02169,
        "squared": 0.9770,
        "squared_rmse": 0.01574,
        "coupled_wasserstein": 1.572,
        "distances_within": 7.691,
        "distances_between": 3.616,
    },
}
_METRICS = {
    "allele-frequency": {},
    "ld-matrix": {"fixed": "all-polymorphic"},
    "pca": {"n_components": 2},
    "haplotype-statistics": {"max_haplotypes": 5008},
    "adversarial-accuracy": {},
}


def _panel(file: Path) -> Panel:
    rows = [line.split()[2:] for line in file.read_text().splitlines()]
    haplotypes = np.array(rows, np.int8)
    names = np.array([f"h{i}" for i in range(haplotypes.shape[0])])
    return Panel(haplotypes, np.arange(1, haplotypes.shape[1] + 1), "1", names, ploidy=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(_PUBLISHED))
def test_figures_of_the_gan_and_the_rbm_come_to_three_digits(name: str, ctx: RunContext) -> None:
    folder = Path(os.environ.get("HAPLOBENCH_PUBLISHED", "absent"))
    if not (folder / _REAL).is_file():
        pytest.skip("published cohorts absent (set HAPLOBENCH_PUBLISHED)")
    real = _panel(folder / _REAL)
    cohort = _panel(folder / name)
    cohort = real.with_haplotypes(cohort.haplotypes)
    found = {}
    metrics = load_registry(["haplobench_fidelity", "haplobench_privacy"]).metrics
    for metric, params in _METRICS.items():
        spec = metrics[metric]
        given = spec.params.model_validate(params)
        result = apply_metric(spec, resolve(spec.target), Reference(real, real), cohort, given, ctx)
        for submetric, measured in result.measurements.items():
            if submetric in _PUBLISHED[name]:
                found[submetric] = measured.value
    for submetric, expected in _PUBLISHED[name].items():
        assert found[submetric] == pytest.approx(expected, rel=5e-4), submetric
