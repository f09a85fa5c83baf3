"""Descriptions of the privacy metrics, light to import."""

from __future__ import annotations

from pydantic import Field

from haplobench import FigureSpec, MetricSpec, Module, Params, SubmetricSpec

_NEEDS = (Module("numba", "haplobench[metrics]"),)

_YALE = (
    "Yale, A. et al. Generation and evaluation of privacy preserving synthetic health data. "
    "Neurocomputing 416, 244-255 (2020)"
)
_YELMEN = (
    "Yelmen, B. et al. Creating artificial human genomes using generative neural networks. "
    "PLoS Genetics 17, e1009303 (2021)"
)
_DURBIN = (
    "Durbin, R. Efficient haplotype matching and storage using the positional Burrows-Wheeler "
    "transform (PBWT). Bioinformatics 30, 1266-1272 (2014)"
)
_CHEN = (
    "Chen, D., Yu, N., Zhang, Y. & Fritz, M. GAN-Leaks: a taxonomy of membership inference "
    "attacks against generative models. CCS (2020)"
)
_DELONG = (
    "DeLong, E. R., DeLong, D. M. & Clarke-Pearson, D. L. Comparing the areas under two or more "
    "correlated receiver operating characteristic curves. Biometrics 44, 837-845 (1988)"
)
_CARLINI = (
    "Carlini, N. et al. Membership inference attacks from first principles. "
    "IEEE Symposium on Security and Privacy (2022)"
)


class DistanceParams(Params):
    """Parameters of the metrics on all pairs of haplotypes.

    `max_haplotypes`: a larger synthetic cohort is subsampled to so many haplotypes, whole
    people, seeded; what a metric costs grows with the square.
    """

    max_haplotypes: int = Field(default=10_000, ge=2)


class MembershipParams(DistanceParams):
    """Parameters of the membership inference attack.

    `bootstraps`: resamples of people behind the standard error of the true positive rate.
    """

    bootstraps: int = Field(default=200, ge=2)


class TractParams(DistanceParams):
    """Parameters of copied tracts.

    `max_parts`: at most so many disjoint parts of the training haplotypes, each of the
    size of the holdout, are compared with it.
    """

    max_parts: int = Field(default=4, ge=1)


ADVERSARIAL_ACCURACY = MetricSpec(
    name="adversarial-accuracy",
    version="1",
    target="haplobench_privacy.adversarial:AdversarialAccuracy",
    summary=(
        "Whether a nearest-neighbour classifier can tell synthetic haplotypes from held-out real "
        "ones. Both parts are 0.5 at best: AA truth above it means that real haplotypes are not "
        "covered, AA synthetic above it that synthetic ones are unlike real ones, below it that "
        "they crowd around real ones or into the middle; their mean hides opposite failures."
    ),
    family="privacy",
    params=DistanceParams,
    needs=_NEEDS,
    floor="train",
    citations=(_YALE, _YELMEN),
    figures=(
        FigureSpec(
            name="adversarial-accuracy",
            title="Adversarial accuracy",
            caption=(
                "Both parts of the nearest-neighbour adversarial accuracy, a point per seed and "
                "draw; dashed: ideal; grey: real people. Right of the ideal, real haplotypes are "
                "left uncovered; above it, synthetic ones are unlike real ones; below it, they "
                "lie nearer to real ones than to each other."
            ),
            target="haplobench_privacy.figures:draw_adversarial_accuracy",
        ),
    ),
    submetrics=(
        SubmetricSpec(
            name="aa_truth",
            title="AA truth",
            definition=(
                "Share of held-out haplotypes whose nearest other held-out haplotype is nearer "
                "(Hamming distance) than their nearest synthetic one; a tie counts 1/2. The "
                "larger side counts as subsampled to the size of the smaller: the exact "
                "expectation over all subsamples."
            ),
            direction="closer",
            ideal=0.5,
            min_effect=0.03,
            headline=True,
        ),
        SubmetricSpec(
            name="aa_syn",
            title="AA synthetic",
            definition=(
                "Share of synthetic haplotypes whose nearest other synthetic haplotype is nearer "
                "than their nearest held-out one; ties and sizes as in AA truth. One haplotype "
                "repeated scores 0.5 too if a held-out person carries it: AA truth tells."
            ),
            direction="closer",
            ideal=0.5,
            min_effect=0.03,
            headline=True,
        ),
        SubmetricSpec(
            name="aa_truth_strict",
            title="AA truth, ties as 0",
            definition="AA truth with a tie counted 0, as Yale et al. define it.",
            direction="info",
        ),
        SubmetricSpec(
            name="aa_syn_strict",
            title="AA synthetic, ties as 0",
            definition="AA synthetic with a tie counted 0, as Yale et al. define it.",
            direction="info",
        ),
    ),
)

PRIVACY_LOSS = MetricSpec(
    name="privacy-loss",
    version="1",
    target="haplobench_privacy.adversarial:PrivacyLoss",
    summary=(
        "How much harder it is to tell synthetic haplotypes from training ones than from "
        "held-out ones. 0 for people unseen in training, 0.5 for a full copy of them; a copy of "
        "n out of N training haplotypes scores about n / 2N."
    ),
    family="privacy",
    params=DistanceParams,
    needs=_NEEDS,
    floor="holdout",
    citations=(_YALE,),
    submetrics=(
        SubmetricSpec(
            name="privacy_loss",
            title="Privacy loss",
            definition=(
                "Mean of AA truth and AA synthetic against the holdout, minus the same against "
                "the training haplotypes at the same size (exact expectation over subsamples)."
            ),
            direction="closer",
            ideal=0.0,
            min_effect=0.02,
            headline=True,
        ),
        SubmetricSpec(
            name="train_aa_truth",
            title="AA truth against train",
            definition="AA truth with training haplotypes in place of the held-out ones.",
            direction="info",
        ),
        SubmetricSpec(
            name="train_aa_syn",
            title="AA synthetic against train",
            definition="AA synthetic with training haplotypes in place of the held-out ones.",
            direction="info",
        ),
    ),
)

NEAREST_NEIGHBOURS = MetricSpec(
    name="nearest-neighbours",
    version="1",
    target="haplobench_privacy.nearest:NearestNeighbours",
    summary=(
        "How near synthetic haplotypes lie to training ones, against how near they lie to "
        "held-out ones and how near held-out people lie to training ones. A ratio below 1, or "
        "more exact copies than held-out people have, means that training people were memorised."
    ),
    family="privacy",
    params=DistanceParams,
    needs=_NEEDS,
    floor="holdout",
    citations=(_YALE, _YELMEN),
    figures=(
        FigureSpec(
            name="nearest-distances",
            title="Distance to the nearest training haplotype",
            caption=(
                "Cumulative share of synthetic haplotypes by Hamming distance to the nearest "
                "training haplotype; grey: held-out real people. A line above the grey one lies "
                "nearer to training people than unseen people do."
            ),
            target="haplobench_privacy.figures:draw_nearest_distances",
        ),
    ),
    submetrics=(
        SubmetricSpec(
            name="unseen_ratio",
            title="Nearest distance, synthetic/held-out",
            definition=(
                "Mean Hamming distance to the nearest training haplotype: of synthetic "
                "haplotypes over that of held-out ones. 0 for copies; above 1 for haplotypes "
                "unlike real ones; a mix of both can average 1, which exact copies and membership "
                "inference tell apart."
            ),
            direction="closer",
            ideal=1.0,
            min_effect=0.05,
            headline=True,
        ),
        SubmetricSpec(
            name="distance_ratio",
            title="Nearest distance, train/holdout",
            definition=(
                "Mean Hamming distance of a synthetic haplotype to its nearest training "
                "haplotype over that to its nearest held-out one; the larger side counts as "
                "subsampled to the size of the smaller (exact expectation over all subsamples). "
                "A copy of N training haplotypes scores 1 - n / N with n held-out ones."
            ),
            direction="closer",
            ideal=1.0,
            min_effect=0.05,
        ),
        SubmetricSpec(
            name="exact_copies",
            title="Exact copies",
            definition=(
                "Share of synthetic haplotypes identical to a training haplotype at every site."
            ),
            direction="info",
            headline=True,
        ),
        SubmetricSpec(
            name="holdout_exact_copies",
            title="Exact copies, held-out people",
            definition="Share of held-out haplotypes identical to a training haplotype.",
            direction="info",
        ),
        SubmetricSpec(
            name="excess_copies",
            title="Excess of exact copies",
            definition="Exact copies minus the held-out people's own share.",
            direction="closer",
            ideal=0.0,
            min_effect=0.01,
        ),
        SubmetricSpec(
            name="near_share",
            title="Within 1st percentile",
            definition=(
                "Share of synthetic haplotypes whose nearest training haplotype is at most as far "
                "as the 1st percentile of the held-out haplotypes' nearest training distances."
            ),
            direction="info",
        ),
        SubmetricSpec(
            name="excess_near",
            title="Excess within 1st percentile",
            definition=(
                "That share minus the held-out haplotypes' own (above 1 % where distances tie). "
                "Where 1 % of held-out haplotypes or more are exact copies this is the excess of "
                "exact copies again, and near copies show in the nearest distance."
            ),
            direction="closer",
            ideal=0.0,
            min_effect=0.01,
        ),
        SubmetricSpec(
            name="train_distance",
            title="Nearest training distance",
            definition="Median Hamming distance of synthetic haplotypes to the nearest training "
            "haplotype.",
            unit="sites",
            direction="info",
        ),
        SubmetricSpec(
            name="holdout_train_distance",
            title="Nearest training distance, held-out people",
            definition="Median Hamming distance of held-out haplotypes to the nearest training "
            "haplotype.",
            unit="sites",
            direction="info",
        ),
    ),
)

COPIED_TRACTS = MetricSpec(
    name="copied-tracts",
    version="1",
    target="haplobench_privacy.copied:CopiedTracts",
    summary=(
        "The longest stretch that a synthetic haplotype shares, allele for allele, with a "
        "training haplotype, against what unseen people share. Above 1, pieces of training "
        "people were copied, which genome-wide distance hides."
    ),
    family="privacy",
    params=TractParams,
    needs=_NEEDS,
    floor="holdout",
    citations=(_DURBIN,),
    figures=(
        FigureSpec(
            name="copied-tracts",
            title="Longest tract shared with a training haplotype",
            caption=(
                "Cumulative share of synthetic haplotypes by the length of their longest exact "
                "match with any training haplotype; grey: held-out real people. A line below the "
                "grey one carries longer copied tracts than unseen people do."
            ),
            target="haplobench_privacy.figures:draw_copied_tracts",
        ),
    ),
    submetrics=(
        SubmetricSpec(
            name="tract_ratio",
            title="Longest tract, synthetic/held-out",
            definition=(
                "Median longest exact match with any training haplotype, in sites: of synthetic "
                "haplotypes over that of held-out haplotypes. The median of a mix of copies and "
                "noise can be 1: see the excess of long tracts."
            ),
            direction="closer",
            ideal=1.0,
            min_effect=0.1,
            headline=True,
        ),
        SubmetricSpec(
            name="matched_ratio",
            title="Longest tract, train/holdout",
            definition=(
                "Mean longest exact match of a synthetic haplotype, in sites, with training "
                "haplotypes over that with held-out ones, at equal numbers of both (disjoint "
                "seeded parts of the larger side, averaged)."
            ),
            direction="closer",
            ideal=1.0,
            min_effect=0.1,
        ),
        SubmetricSpec(
            name="excess_long",
            title="Excess of long tracts",
            definition=(
                "Share of synthetic haplotypes whose longest match with a training haplotype is "
                "at least as long as the 99th percentile of the held-out haplotypes', minus "
                "their own share (above 1 % where lengths tie)."
            ),
            direction="closer",
            ideal=0.0,
            min_effect=0.01,
        ),
        SubmetricSpec(
            name="tract_sites",
            title="Longest tract",
            definition="Median longest exact match of synthetic with training haplotypes.",
            unit="sites",
            direction="info",
        ),
        SubmetricSpec(
            name="holdout_tract_sites",
            title="Longest tract, held-out people",
            definition="Median longest exact match of held-out with training haplotypes.",
            unit="sites",
            direction="info",
        ),
        SubmetricSpec(
            name="tract_bp",
            title="Longest tract (physical)",
            definition="Median physical length, first to last site, of the longest such match.",
            unit="bp",
            direction="info",
        ),
        SubmetricSpec(
            name="holdout_tract_bp",
            title="Longest tract (physical), held-out people",
            definition="The same of held-out haplotypes.",
            unit="bp",
            direction="info",
        ),
        SubmetricSpec(
            name="tract_cm",
            title="Longest tract (genetic)",
            definition="Median genetic length of the longest such match; needs a recombination "
            "map.",
            unit="cM",
            direction="info",
        ),
        SubmetricSpec(
            name="holdout_tract_cm",
            title="Longest tract (genetic), held-out people",
            definition="The same of held-out haplotypes.",
            unit="cM",
            direction="info",
        ),
    ),
)

MEMBERSHIP_INFERENCE = MetricSpec(
    name="membership-inference",
    version="1",
    target="haplobench_privacy.membership:MembershipInference",
    summary=(
        "Whether an attacker who holds the synthetic cohort and a person's genome can tell that "
        "the person was trained on, by the distance to the nearest synthetic haplotype. 0.5 is "
        "guessing; the cohort's size bounds how many training people it can give away."
    ),
    family="privacy",
    params=MembershipParams,
    needs=_NEEDS,
    floor="holdout",
    citations=(_CHEN, _DELONG, _CARLINI),
    submetrics=(
        SubmetricSpec(
            name="auc",
            title="Membership inference AUC",
            definition=(
                "Probability that a training person scores above a held-out one (ties 1/2); the "
                "score is minus the mean, over the person's haplotypes, of log(1 + d), d the "
                "Hamming distance to the nearest synthetic haplotype: one copied haplotype "
                "stands out, two more so. Standard error after DeLong."
            ),
            direction="closer",
            ideal=0.5,
            min_effect=0.02,
            headline=True,
        ),
        SubmetricSpec(
            name="tpr_at_low_fpr",
            title="TPR at 1 % FPR",
            definition=(
                "Share of training people found where 1 % of held-out people are called members "
                "(ROC interpolated between tied scores). Standard error by bootstrap over people."
            ),
            direction="closer",
            ideal=0.01,
            min_effect=0.01,
            headline=True,
        ),
        SubmetricSpec(
            name="auc_nearest_haplotype",
            title="AUC by nearer haplotype",
            definition="AUC where a person's score is minus the least d of their haplotypes.",
            direction="info",
        ),
        SubmetricSpec(
            name="advantage",
            title="Attacker's advantage",
            definition="Largest difference between true and false positive rate over all "
            "thresholds (above 0 by chance too: see the floor).",
            direction="info",
        ),
    ),
)

SPECS = (
    ADVERSARIAL_ACCURACY,
    PRIVACY_LOSS,
    NEAREST_NEIGHBOURS,
    COPIED_TRACTS,
    MEMBERSHIP_INFERENCE,
)
