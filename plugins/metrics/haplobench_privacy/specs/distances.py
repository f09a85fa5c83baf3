"""Descriptions of the metrics on distances between all haplotypes."""

from __future__ import annotations

from haplobench import FigureSpec, MetricSpec, SubmetricSpec
from haplobench_privacy.specs.common import NUMBA, DistanceParams

_YALE = (
    "Yale, A. et al. Generation and evaluation of privacy preserving synthetic health data. "
    "Neurocomputing 416, 244-255 (2020)"
)
_YELMEN = (
    "Yelmen, B. et al. Creating artificial human genomes using generative neural networks. "
    "PLoS Genetics 17, e1009303 (2021)"
)

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
    needs=(NUMBA,),
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
    needs=(NUMBA,),
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
    needs=(NUMBA,),
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
            direction="lower",
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
            direction="lower",
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

SPECS = (ADVERSARIAL_ACCURACY, PRIVACY_LOSS, NEAREST_NEIGHBOURS)
