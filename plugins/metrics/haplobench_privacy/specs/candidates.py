"""Descriptions of attacks by someone who knows all candidates, but not who was trained on."""

from __future__ import annotations

from pydantic import Field

from haplobench import MetricSpec
from haplobench_privacy.specs.attacks import (
    MembershipParams,
    common,
    roc_figure,
)
from haplobench_privacy.specs.distances import NUMBA, SCIPY, DistanceParams, area, info


class RareAlleleParams(DistanceParams):
    """Parameters of the attack by rare alleles.

    `max_maf`: greatest frequency, among all real people, of the alleles whose pairs are looked
    for.
    """

    max_maf: float = Field(default=0.05, gt=0, le=0.5)


RARE_ALLELES = MetricSpec(
    name="rare-alleles",
    version="2",
    target="haplobench_privacy.rare_alleles:rare_alleles",
    summary=(
        "Whether the cohort holds pairs of rare alleles of training people more than of held-out "
        "people. 0.5 is guessing; alleles that only one person has are counted beside it."
    ),
    family="privacy",
    params=RareAlleleParams,
    needs=(NUMBA, SCIPY),
    floor="holdout",
    sites="all",
    cohort="train",
    citations=("shringarpure2015", "delong1988"),
    figures=(roc_figure("rare-alleles", "pairs of rare alleles"),),
    submetrics=(
        info(
            "auc",
            "AUC (rare alleles)",
            "For information: probability that a training person scores above a held-out one (ties "
            "1/2); the score is the sum, over alleles of one or two copies among all real people "
            "that the person carries, of (held - h) / (h (1 - h) carriers), held 1 where the "
            "cohort has the allele, h the share of alleles of as many copies that it has, minus "
            "the population's mean score. Whoever draws alleles by their frequencies among the "
            "training people holds those that only they have, and no more of any of them.",
        ),
        area(
            "auc_pairs",
            "AUC (rare pairs)",
            "Probability that a training person scores above a held-out one (ties 1/2); the score "
            "is the sum, over pairs of alleles with a MAF of at most 5 %, neighbours on a "
            "haplotype, which no other real haplotype carries together, of (held - p) (-log p) "
            "less the mean of all pairs, held 1 where the cohort has the pair on a haplotype, p "
            "how probable that is by its own allele counts and without LD. Interval after DeLong, "
            "p-value after Mann and Whitney.",
            headline=True,
        ),
        info(
            "people_with_private",
            "People with a private allele in the cohort",
            "Share of training people of whom the cohort holds an allele that no other real person "
            "carries, minus the held-out people's share.",
        ),
        info(
            "held_private",
            "Private alleles held",
            "Share of the alleles of one real person alone that the cohort has.",
        ),
        info("held_pairs", "Private pairs held", "Share of those pairs that the cohort has."),
        info(
            "private_alleles",
            "Private alleles",
            "Alleles that a single real person carries, in one or two copies.",
        ),
        info("private_pairs", "Private pairs", "Pairs as above."),
    ),
)


class DensityParams(MembershipParams):
    """Parameters of the attacks by density.

    `min_maf`: least MAF, among all real people, of the sites looked at. `components`: principal
    components, at most. `window`: sites of a window. `folds`: parts into which everybody is
    shared out; the classifier that scores one is fitted to the others. `penalty`: of its squared
    coefficients, in numbers of windows.
    """

    min_maf: float = Field(default=0.05, gt=0, le=0.5)
    components: int = Field(default=10, ge=1, le=100)
    window: int = Field(default=16, ge=1, le=62)
    folds: int = Field(default=5, ge=2)
    penalty: float = Field(default=0.1, gt=0)


MEMBERSHIP_DENSITY = MetricSpec(
    name="membership-density",
    version="1",
    target="haplobench_privacy.density:by_density",
    summary=(
        "Whether the cohort lies denser around training people than around held-out people, "
        "beside how dense real people lie there. 0.5 is guessing."
    ),
    family="privacy",
    params=DensityParams,
    needs=(NUMBA, SCIPY),
    floor="holdout",
    sites="all",
    cohort="train",
    citations=("breugel2023", "hayes2019", "delong1988"),
    figures=(roc_figure("density", "local density"),),
    submetrics=(
        *common(
            "density",
            "the score is the sum over both haplotypes of the log density of the synthetic "
            "haplotypes over that of all other real people, by Gaussian kernels on the ten leading "
            "principal components of sites in linkage equilibrium (MAF of 5 % or more), minus the "
            "population's mean: DOMIAS.",
        ),
        info(
            "auc_discriminator",
            "AUC (discriminator)",
            "For information: the same where the score is how synthetic a ridge regression takes "
            "both haplotypes to be, by the haplotypes in windows of 16 common sites; it was fitted "
            "to the cohort and to the real people of the other four folds: after LOGAN, whose "
            "discriminator is a neural network. Where sites were chosen among the training people, "
            "held-out people look less like any cohort, and real people score above 0.5, too: see "
            "the floor.",
        ),
        info("windows", "Windows", "Windows that the discriminator sees."),
    ),
)

SPECS = (RARE_ALLELES, MEMBERSHIP_DENSITY)
