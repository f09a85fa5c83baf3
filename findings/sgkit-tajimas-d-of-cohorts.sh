#!/bin/sh
# sgkit: Tajima's D of a cohort is a mixture of the cohort's diversity and everybody's sites.
#
# Expected: `Tajimas_D`, whose result has a column for each cohort, gives for a cohort what it gives
# for a data set of the cohort's people alone, as `diversity` does.
# Seen: the number of segregating sites and of haplotypes is that of all people of the data set; only
# the diversity is the cohort's. Beside two more cohorts D moves from 0.06 to 0.71, and a cohort in
# which nothing varies has a D of -3.2 where its people alone have none (nan). Where
# two cohorts are compared by D, as real people with synthetic ones, both numbers change with the
# other cohort, without a warning. With one cohort of all people it is right.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet sgkit==0.10.0 dask==2024.8.0 xarray==2025.3.0 numpy==2.1.3 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import warnings

import numpy as np
import sgkit as sg

warnings.simplefilter("ignore")


def tajimas_d(genotypes, cohorts):
    sites = len(genotypes)
    data = sg.create_genotype_call_dataset(
        variant_contig_names=["1"],
        variant_contig=np.zeros(sites, int),
        variant_position=np.arange(sites),
        variant_allele=np.full((sites, 2), ["A", "C"], "S1"),
        sample_id=np.array([f"P{i}" for i in range(genotypes.shape[1])]),
        call_genotype=genotypes,
    )
    data["sample_cohort"] = ("samples", np.array(cohorts))
    found = sg.Tajimas_D(sg.window_by_variant(data, size=sites))
    return found.stat_diversity.values[0], found.stat_Tajimas_D.values[0]


draw = np.random.default_rng(1)
people = (draw.random((30, 20, 2)) < draw.beta(0.3, 1, (30, 1, 1))).astype(np.int8)
people[:, 20:] = 0
still = np.zeros((30, 10, 2), np.int8)
cohorts = [0] * 10 + [1] * 10 + [2] * 10
diversity, together = tajimas_d(np.concatenate([people, still], axis=1), cohorts)
print("sgkit", sg.__version__)
for cohort, who in enumerate((people[:, :10], people[:, 10:], still)):
    pi, alone = tajimas_d(who, [0] * 10)
    print(
        f"cohort {cohort}: diversity {diversity[cohort]:.4f}, alone {pi[0]:.4f};"
        f" D {together[cohort]:.4f}, alone {alone[0]:.4f}"
    )
    assert np.isclose(diversity[cohort], pi[0])
    assert not np.isclose(together[cohort], alone[0], atol=0.05)
assert np.isnan(alone[0]) and together[2] < -2
PYTHON
