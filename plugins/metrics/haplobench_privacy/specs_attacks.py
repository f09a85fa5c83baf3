"""Descriptions of the attacks, of whom they expose, and of the audit of what is claimed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pydantic import Field

from haplobench import FigureSpec, MetricSpec, Params, SubmetricSpec
from haplobench_privacy.specs_distances import (
    DistanceParams,
    area,
    attack,
    evidence,
    info,
)

_lower = partial(SubmetricSpec, direction="lower")


class MembershipParams(DistanceParams):
    """Parameters of the membership inference attacks.

    `bootstraps`: resamples of people behind the interval of the true positive rate.
    """

    bootstraps: int = Field(default=200, ge=2)


class LikelihoodParams(MembershipParams):
    """Parameters of the attack by allele frequencies.

    `folds`: parts into which everybody is shared out; people of one are scored against the
    held-out people of the others. `max_r2`: greatest r² between sites taken as independent.
    """

    folds: int = Field(default=5, ge=2)
    max_r2: float = Field(default=0.1, gt=0, le=1)


def roc_figure(name: str, kind: str) -> FigureSpec:
    """The figure of an attack's ROC, which the metric leaves as the table `roc`."""
    return FigureSpec(
        f"{name}-roc",
        f"ROC of the attack by {kind}",
        "True against false positive rate, both on a log scale, the mean over seeds; grey: the "
        "range over held-out people taken as the synthetic cohort. Only what is above the grey "
        "band on the left, where few people are accused wrongly, is a working attack.",
        "haplobench_privacy.figures:draw_roc",
    )


def common(
    kind: str, score: str, number: Callable[..., SubmetricSpec] = area
) -> tuple[SubmetricSpec, ...]:
    """What every attack reports: `kind` for titles, `score` what it scores people by, in words.

    `number`: what its AUC is, evidence or information.
    """
    return (
        number(
            "auc",
            f"AUC ({kind})",
            f"Probability that a training person scores above a held-out one (ties 1/2); "
            f"{score} Standard error and interval after DeLong, p-value after Mann and Whitney.",
            headline=True,
        ),
        info(
            "tpr_at_low_fpr",
            f"TPR at 1 % FPR ({kind})",
            "Share of training people found where 1 % of held-out people are called members (ROC "
            "interpolated between tied scores). Standard error and interval by bootstrap over "
            "people. With fewer than some hundreds of held-out people it says little.",
        ),
        info(
            "advantage",
            f"Attacker's advantage ({kind})",
            "Largest difference between true and false positive rate over all thresholds (above 0 "
            "by chance too: see the floor).",
        ),
    )


MEMBERSHIP_INFERENCE = attack(
    name="membership-inference",
    version="3",
    target="haplobench_privacy.membership:by_distance",
    summary=(
        "Whether an attacker who holds a synthetic cohort of the training panel's size and a "
        "person's genome can tell that the person was trained on, by the distance to the nearest "
        "synthetic haplotype. 0.5 is guessing."
    ),
    contigs="joined",
    params=MembershipParams,
    citations=("chen2020", "delong1988", "carlini2022"),
    figures=(roc_figure("distance", "distance"),),
    submetrics=(
        *common(
            "distance",
            "the score is minus the mean, over the person's haplotypes, of log(1 + d), d the "
            "Hamming distance to the nearest synthetic haplotype; equal scores are told apart by "
            "the distance of genotypes to the nearest synthetic person.",
        ),
        info(
            "auc_nearest_haplotype",
            "AUC by nearer haplotype",
            "AUC where a person's score is minus the least d of their haplotypes.",
        ),
        area(
            "auc_tracts",
            "AUC (tracts)",
            "AUC where a person's score is the longest exact match, in sites, of either haplotype "
            "with a synthetic one.",
            headline=True,
        ),
        area(
            "auc_kinship",
            "AUC (kinship)",
            "AUC where a person's score is the KING-robust kinship with the closest synthetic "
            "person.",
        ),
    ),
)

MEMBERSHIP_LIKELIHOOD = attack(
    name="membership-likelihood",
    version="2",
    target="haplobench_privacy.membership:by_frequencies",
    summary=(
        "Whether allele frequencies of the synthetic cohort give training people away, as those "
        "of a pool of DNA do. 0.5 is guessing; intervals leave out the error of the reference, "
        "which held-out people make up and which the floor's spread shows. It finds the people of "
        "anything that has a small panel's frequencies, sites drawn independently included, and "
        "is told for information: no evidence that somebody's haplotypes are given away."
    ),
    contigs="joined",
    params=LikelihoodParams,
    citations=("homer2008", "sankararaman2009", "delong1988", "obuchowski1997"),
    figures=(roc_figure("likelihood", "allele frequencies"),),
    submetrics=(
        *common(
            "frequencies",
            "the score is the sum over sites in linkage equilibrium (r² of at most 0.1) and both "
            "haplotypes of x log(p/q) + (1 - x) log((1 - p)/(1 - q)), p the synthetic frequency, "
            "q that of held-out people of other folds, minus the population's mean score, so that "
            "ancestry isn't mistaken for membership.",
            info,
        ),
        info(
            "auc_candidates",
            "AUC, all candidates known",
            "The same with q the frequency among all real people together: an attacker who knows "
            "every candidate, and not which of them were trained on. It finds the training people "
            "of any cohort that has their exact frequencies, sites drawn independently included: "
            "frequencies of a small panel are no secret.",
        ),
        info(
            "auc_all_sites",
            "AUC, all sites",
            "The AUC at all sites, linked ones taken as independent, which weighs long haplotypes "
            "by their length.",
        ),
        info(
            "auc_homer",
            "AUC, Homer's statistic",
            "The AUC at all sites by T = mean(D) / (sd(D) / sqrt(sites)), D = |y - q| - |y - p|, "
            "y the person's own frequency (0, 1/2, 1) at a site.",
        ),
        info(
            "auc_haplotype",
            "AUC, single haplotypes",
            "The AUC of the likelihood ratio where single haplotypes are attacked; standard error "
            "over people, whose haplotypes aren't independent (Obuchowski 1997).",
        ),
        info(
            "auc_uncentred",
            "AUC, ancestry left in",
            "The AUC without subtracting each population's mean.",
        ),
        info("independent_sites", "Independent sites", "Sites left after thinning by r²."),
    ),
)

MEMBERSHIP_SHADOW = attack(
    name="membership-shadow",
    version="2",
    target="haplobench_privacy.membership:with_shadows",
    summary=(
        "Membership inference by an attacker who can fit the same generator to other people, and "
        "so knows for each person what a cohort looks like with and without them. Needs shadow "
        "fits, for which a suite asks (shadows: 8); 0.5 is guessing."
    ),
    contigs="joined",
    params=MembershipParams,
    shadows=True,
    citations=("carlini2022", "delong1988"),
    figures=(roc_figure("shadow", "shadow models"),),
    submetrics=(
        *common(
            "shadows",
            "the score is the sum over two features (nearest distance, longest tract) of the "
            "log ratio of normal densities with and without the person, means from shadow cohorts "
            "fitted on random halves of all people (each person's own gain shrunk to "
            "everybody's), variances pooled.",
        ),
        info(
            "calibrated_tpr",
            "TPR at the shadows' threshold",
            "Share of training people above the score that 1 % of people exceed in shadow cohorts "
            "they weren't fitted on, each scored by the other shadows.",
        ),
        info(
            "calibrated_fpr",
            "FPR at the shadows' threshold",
            "Share of held-out people above that score: 1 % if the threshold carries over.",
        ),
    ),
)


class AttributeParams(DistanceParams):
    """Parameters of attribute inference.

    `sites`: how many are hidden, at most a fifth of all. `window`: shown sites around a hidden
    one at which haplotypes are compared, a multiple of 64. `max_people`: attacked of each side,
    drawn at random where there are more.
    """

    sites: int = Field(default=100, ge=1)
    window: int = Field(default=256, ge=128, multiple_of=64)
    max_people: int = Field(default=1000, ge=2)


ATTRIBUTE_INFERENCE = attack(
    name="attribute-inference",
    version="3",
    target="haplobench_privacy.criteria:attribute_inference",
    summary=(
        "Whether an attacker who knows most of a person's genome can fill in the rest from the "
        "synthetic cohort better where the person was trained on. What is guessed as well of "
        "held-out people is knowledge of the population, not a leak: 0 is none."
    ),
    params=AttributeParams,
    citations=("stadler2022",),
    submetrics=(
        evidence(
            "leak",
            "Attribute leak",
            "Balanced accuracy (both alleles of a site weigh the same) of hidden alleles, by vote "
            "of the synthetic haplotypes nearest at the shown sites around, of training people "
            "minus that of held-out people; also by MAF. Standard error over all people, with one "
            "variance.",
            min_effect=0.01,
            material=0.05,
            headline=True,
        ),
        info(
            "accuracy_train",
            "Accuracy, training people",
            "That balanced accuracy of training people.",
        ),
        info(
            "accuracy_holdout",
            "Accuracy, held-out people",
            "That balanced accuracy of held-out people.",
        ),
        info(
            "gain_over_frequency",
            "Gain over the commoner allele",
            "Balanced accuracy of training people minus 1/2, that of guessing the commoner allele "
            "everywhere.",
        ),
        info(
            "gain_over_reference",
            "Gain over a real reference",
            "Balanced accuracy of training people from as many synthetic haplotypes as are held "
            "out, minus that from the held-out haplotypes themselves.",
        ),
        info(
            "hidden_sites",
            "Hidden sites",
            "Sites hidden, as evenly over strata of MAF as there are sites.",
        ),
    ),
)


class LeakListParams(DistanceParams):
    """Parameters of the leak list.

    `false_discoveries`: share of the people flagged who may be flagged wrongly.
    """

    false_discoveries: float = Field(default=0.02, gt=0, lt=1)


LEAK_LIST = attack(
    name="leak-list",
    version="3",
    target="haplobench_privacy.leak_list:leak_list",
    summary=(
        "Which training people the synthetic cohort gives away: by copies of them, letter for "
        "letter or nearly, that other real people wouldn't account for, and by standing out among "
        "held-out people. 0 is none. The list with their names is the table `people` of this "
        "metric's series in the run folder, shown by `bench leaks`, and nowhere else: whoever "
        "shares that folder shares the names."
    ),
    contigs="joined",
    params=LeakListParams,
    citations=("good1953", "renyi1953", "vovk2005", "benjamini1995", "bates2023"),
    figures=(
        FigureSpec(
            "leak-list",
            "Strongest evidence by person",
            "Training people from the most to the least exposed: the strongest of four kinds of "
            "evidence, in robust standard deviations from the held-out people's median; grey: "
            "held-out people themselves. Dots: people flagged.",
            "haplobench_privacy.figures:draw_leak_list",
        ),
    ),
    submetrics=(
        SubmetricSpec(
            "flagged",
            "People flagged",
            "Training people flagged at a false discovery rate of 2 %: p-values adjusted after "
            "Benjamini and Hochberg, each six times the least of six. Three are of haplotypes "
            "copied letter for letter (a person, both haplotypes, one), by how improbable they "
            "are to be met again (Good-Turing); two of a person and a haplotype nearer to the "
            "cohort than to other real people, by the tails of what held-out people and real "
            "people among themselves show; one is conformal, of the strongest of nearest "
            "distance, longest copied tract, frequency likelihood ratio and KING-robust kinship. "
            "Of a genome also the five of copies on each contig, and the least times all of them.",
            "lower",
            unit="people",
            ideal=0.0,
            min_effect=1.0,
            headline=True,
            evidence=True,
            material=1.0,
            names=True,
        ),
        info(
            "flagged_share",
            "Share of people flagged",
            "The same over the number of training people.",
        ),
        info(
            "people_copied",
            "People copied whole",
            "Training people all of whose haplotypes one cohort person has, letter for letter, "
            "improbable or not.",
            unit="people",
        ),
        info(
            "copies_named",
            "Copies that would be named",
            "Share of training people who would be flagged, were they alone copied whole: how far "
            "people differ at these sites. Under 80 % nobody flagged doesn't mean nobody copied.",
        ),
        info(
            "fewest_flagged",
            "Fewest that stand out",
            "So many exposed people it takes for any to be flagged by standing out alone: a "
            "conformal p-value can't be under 1 / (held-out people + 1).",
            unit="people",
        ),
        info("least_q", "Least adjusted p-value", "Of the most exposed person."),
    ),
)


class AuditParams(DistanceParams):
    """Parameters of the audit.

    `confidence`: of the lower bound, over all tests together. `delta`: where the generator
    claims none. `guesses`: shares of the pairs guessed, widest margin first; each is a test.
    """

    confidence: float = Field(default=0.95, gt=0, lt=1)
    delta: float = Field(default=1e-5, ge=0, lt=1)
    guesses: tuple[float, ...] = Field(default=(1.0, 0.25), min_length=1)


AUDIT = attack(
    name="audit",
    version="3",
    target="haplobench_privacy.audit:audit",
    summary=(
        "A lower bound on ε from attacks on this one run: no (ε, δ)-differentially private "
        "generator with a smaller ε would give its people away so often. A claim below the bound "
        "is false; a bound of 0 says that these attacks found nothing, not that there is nothing."
    ),
    contigs="joined",
    params=AuditParams,
    citations=("steinke2023",),
    submetrics=(
        info(
            "epsilon_lower",
            "Audited ε",
            "Largest ε that right guesses of who of a pair (one training, one held-out person of "
            "a population; the split's fair coin) was trained on refute with 95 % confidence over "
            "all scores and numbers of guesses tried (Bonferroni): theorem 5.2 of Steinke et al.; "
            "for adding or removing a person, of which an exchange is two.",
            headline=True,
        ),
        info(
            "epsilon_ceiling",
            "Largest ε that can be audited",
            "What it would be with every guess right: grows with the held-out people.",
        ),
        info(
            "right_guesses",
            "Right guesses",
            "Share of right guesses in the test that gave the bound (in the first if none did).",
        ),
        info("pairs", "Pairs", "Coins guessed."),
        info(
            "claimed_epsilon",
            "Claimed ε",
            "The ε that the generator claims; none where its noise can be repeated.",
        ),
        evidence(
            "claim_refuted",
            "Claim refuted",
            "1 where the audited ε exceeds the claimed one, else 0; the p-value is that of the "
            "claimed ε.",
        ),
    ),
)

PRIVACY_STATEMENT = MetricSpec(
    name="privacy-statement",
    version="2",
    target="haplobench_privacy.statement:statement",
    summary=(
        "The (ε, δ)-differential privacy that the generator claims for each person, with unit, "
        "accountant, sampling and data-dependent choices in the note. Smaller is more private; a "
        "generator that claims none has no bound at all."
    ),
    contigs="joined",
    family="privacy",
    params=Params,
    input="panel",
    site_matched=False,
    phased=False,
    floor="holdout",
    sites="all",
    citations=("dwork2014",),
    submetrics=(
        _lower(
            "epsilon",
            "Claimed ε",
            "Upper bound on the privacy lost by any one record, over all rounds of one fit; draws "
            "from it cost nothing more. None where whoever has the seed can repeat the noise. "
            "What all fits of a run come to stands beside the claims.",
            headline=True,
        ),
        _lower("delta", "Claimed δ", "Probability up to which that bound may not hold."),
        info(
            "least_client_epsilon",
            "Least client ε",
            "The smallest ε of any client of a federation; the claimed is the largest.",
        ),
        info("clients", "Clients", "Clients of the federation."),
    ),
)


class RareAlleleParams(DistanceParams):
    """Parameters of the attack by rare alleles.

    `max_maf`: greatest frequency, among all real people, of the alleles whose pairs are looked
    for.
    """

    max_maf: float = Field(default=0.05, gt=0, le=0.5)


RARE_ALLELES = attack(
    name="rare-alleles",
    version="2",
    target="haplobench_privacy.rare_alleles:rare_alleles",
    summary=(
        "Whether the cohort holds pairs of rare alleles of training people more than of held-out "
        "people. 0.5 is guessing; alleles that only one person has are counted beside it."
    ),
    contigs="joined",
    params=RareAlleleParams,
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


MEMBERSHIP_DENSITY = attack(
    name="membership-density",
    version="1",
    target="haplobench_privacy.membership:by_density",
    summary=(
        "Whether the cohort lies denser around training people than around held-out people, "
        "beside how dense real people lie there. 0.5 is guessing."
    ),
    contigs="joined",
    params=DensityParams,
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

SPECS = (
    MEMBERSHIP_INFERENCE,
    MEMBERSHIP_LIKELIHOOD,
    MEMBERSHIP_SHADOW,
    ATTRIBUTE_INFERENCE,
    LEAK_LIST,
    AUDIT,
    PRIVACY_STATEMENT,
    RARE_ALLELES,
    MEMBERSHIP_DENSITY,
)
