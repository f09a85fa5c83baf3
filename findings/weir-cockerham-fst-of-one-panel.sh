#!/bin/sh
# moments, dadi, scikit-allel: one panel, one named estimator, two values of Fst.
#
# Expected: moments' and dadi's `Spectrum.Fst()`, which name Weir and Cockerham (1984), agree with
# scikit-allel's `average_weir_cockerham_fst` on the same 2 x 20 haplotypes, as far as the
# heterozygosity that a spectrum doesn't know allows: for two samples of one size under random
# mating the estimator nearly equals Hudson's.
# Seen: scikit-allel .0341, a haploid Weir-Cockerham by hand and Hudson's .0346; moments and dadi
# both .0593, 1.7 times as much; tskit's `Fst` is .0176, half of Hudson's, being defined with the
# mean of all pairs in its denominator. A number called Fst isn't comparable from one of them to
# another.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet moments-popgen==1.6.1 dadi==2.4.4 scikit-allel==1.3.13 msprime==1.4.4 tskit==1.0.3 numpy==2.4.6 pandas scipy >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import allel
import dadi
import moments
import msprime
import numpy as np

demography = msprime.Demography()
demography.add_population(name="A", initial_size=20_000)
demography.add_population(name="B", initial_size=8_000)
demography.add_population(name="root", initial_size=10_000)
demography.add_population_split(time=1_000, derived=["A", "B"], ancestral="root")
ts = msprime.sim_ancestry(
    {"A": 10, "B": 10}, demography=demography, sequence_length=2e6, recombination_rate=1e-8,
    random_seed=1,
)
ts = msprime.sim_mutations(ts, rate=1e-8, random_seed=2, model="binary")
first, second = ts.samples(0), ts.samples(1)
genotypes = ts.genotype_matrix()
a, b = genotypes[:, first], genotypes[:, second]
spectrum = np.zeros((21, 21))
np.add.at(spectrum, (a.sum(1), b.sum(1)), 1)
pairs = allel.HaplotypeArray(np.hstack([a, b])).to_genotypes(2)
counts = [allel.HaplotypeArray(side).count_alleles(max_allele=1) for side in (a, b)]

# Weir and Cockerham (1984) for haploids, two samples of n: a / (a + b), summed over sites.
n, p = 20, np.array([a.mean(1), b.mean(1)])
mean, s2 = p.mean(0), p.var(0, ddof=1)
within = n / (n - 1) * (mean * (1 - mean) - s2 / 2)
among = s2 - within / n
fst = {
    "moments Spectrum.Fst": moments.Spectrum(spectrum).Fst(),
    "dadi Spectrum.Fst": dadi.Spectrum(spectrum).Fst(),
    "scikit-allel Weir-Cockerham": allel.average_weir_cockerham_fst(
        pairs, [range(10), range(10, 20)], 100
    )[0],
    "Weir-Cockerham by hand, haploid": among.sum() / (among + within).sum(),
    "scikit-allel Hudson": allel.average_hudson_fst(*counts, 100)[0],
    "tskit Fst": float(ts.Fst([first, second])),
}
for package in ("moments-popgen", "dadi", "scikit-allel", "tskit"):
    print(package, importlib.metadata.version(package))
for name, value in fst.items():
    print(f"{name:32} {value:.4f}")
by_hand = fst["Weir-Cockerham by hand, haploid"]
assert abs(fst["scikit-allel Weir-Cockerham"] / by_hand - 1) < 0.03
assert abs(fst["scikit-allel Hudson"] / by_hand - 1) < 0.03
assert fst["moments Spectrum.Fst"] == fst["dadi Spectrum.Fst"] > 1.3 * by_hand
assert 0.45 < fst["tskit Fst"] / fst["scikit-allel Hudson"] < 0.56
PYTHON
