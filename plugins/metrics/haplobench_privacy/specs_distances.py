"""Descriptions of the metrics on distances, shared tracts, linkability and singling out."""

from __future__ import annotations

from functools import partial

from pydantic import Field

from haplobench import FigureSpec, MetricSpec, Module, Params, SubmetricSpec

evidence = partial(SubmetricSpec, direction="lower", ideal=0.0, evidence=True)
# An attack that finds a training person before a held-out one two times of three matters.
area = partial(
    SubmetricSpec, direction="lower", ideal=0.5, min_effect=0.02, evidence=True, material=0.65
)
_closer = partial(SubmetricSpec, direction="closer")
info = partial(SubmetricSpec, direction="info")

NUMBA = Module("numba", "haplobench[metrics]")

SCIPY = Module("scipy", "haplobench[metrics]")

attack = partial(
    MetricSpec, family="privacy", needs=(NUMBA, SCIPY), floor="holdout", sites="all", cohort="train"
)


class DistanceParams(Params):
    """Parameters of the metrics on all pairs of haplotypes.

    `max_haplotypes`: a larger synthetic cohort is subsampled to so many haplotypes, whole
    people, seeded; what a metric costs grows with the square.
    """

    max_haplotypes: int = Field(default=10_000, ge=2)


ADVERSARIAL_ACCURACY = MetricSpec(
    name="adversarial-accuracy",
    version="1",
    target="haplobench_privacy.neighbours:adversarial_accuracies",
    summary=(
        "Whether a nearest-neighbour classifier can tell synthetic haplotypes from held-out real "
        "ones. Both parts are 0.5 at best: AA truth above it means that real haplotypes are not "
        "covered, AA synthetic above it that synthetic ones are unlike real ones, below it that "
        "they crowd around real ones or into the middle; their mean hides opposite failures."
    ),
    contigs="joined",
    family="fidelity",
    params=DistanceParams,
    needs=(NUMBA, SCIPY),
    floor="train",
    citations=("yale2020", "yelmen2021"),
    figures=(
        FigureSpec(
            "adversarial-accuracy",
            "Adversarial accuracy",
            "Both parts of the nearest-neighbour adversarial accuracy, a point per seed and draw; "
            "dashed: ideal; grey: real people. Right of the ideal, real haplotypes are left "
            "uncovered; above it, synthetic ones are unlike real ones; below it, they lie nearer "
            "to real ones than to each other.",
            "haplobench_privacy.figures:draw_adversarial_accuracy",
        ),
    ),
    submetrics=(
        _closer(
            "aa_truth",
            "AA truth",
            "Share of held-out haplotypes whose nearest other held-out haplotype is nearer "
            "(Hamming distance) than their nearest synthetic one; a tie counts 1/2. The larger "
            "side counts as subsampled to the size of the smaller: the exact expectation over all "
            "subsamples.",
            ideal=0.5,
            min_effect=0.03,
            headline=True,
        ),
        _closer(
            "aa_syn",
            "AA synthetic",
            "Share of synthetic haplotypes whose nearest other synthetic haplotype is nearer than "
            "their nearest held-out one; ties and sizes as in AA truth. One haplotype repeated "
            "scores 0.5 too if a held-out person carries it: AA truth tells.",
            ideal=0.5,
            min_effect=0.03,
            headline=True,
        ),
        info(
            "aa_truth_strict",
            "AA truth, ties as 0",
            "AA truth with a tie counted 0, as Yale et al. define it.",
        ),
        info(
            "aa_syn_strict",
            "AA synthetic, ties as 0",
            "AA synthetic with a tie counted 0, as Yale et al. define it.",
        ),
    ),
)

PRIVACY_LOSS = MetricSpec(
    name="privacy-loss",
    version="3",
    target="haplobench_privacy.neighbours:privacy_loss",
    summary=(
        "How much harder it is to tell synthetic haplotypes from training ones than from held-out "
        "ones. 0 for people unseen in training, 0.5 for a full copy of them; a copy of n out of N "
        "training haplotypes scores about n / 2N."
    ),
    contigs="joined",
    family="privacy",
    params=DistanceParams,
    needs=(NUMBA, SCIPY),
    floor="holdout",
    sites="all",
    citations=("yale2020",),
    submetrics=(
        evidence(
            "privacy_loss",
            "Privacy loss",
            "Mean of AA truth and AA synthetic against the holdout, minus the same against the "
            "training haplotypes at the same size (exact expectation over subsamples).",
            min_effect=0.02,
            material=0.1,
            headline=True,
        ),
        info(
            "train_aa_truth",
            "AA truth against train",
            "AA truth with training haplotypes in place of the held-out ones.",
        ),
        info(
            "train_aa_syn",
            "AA synthetic against train",
            "AA synthetic with training haplotypes in place of the held-out ones.",
        ),
    ),
)

NEAREST_NEIGHBOURS = MetricSpec(
    name="nearest-neighbours",
    version="2",
    target="haplobench_privacy.neighbours:nearest_neighbours",
    summary=(
        "How near synthetic haplotypes lie to training ones, against how near they lie to "
        "held-out ones and how near held-out people lie to training ones. A ratio below 1, or "
        "more exact copies than held-out people have, means that training people were memorised."
    ),
    contigs="joined",
    family="privacy",
    params=DistanceParams,
    needs=(NUMBA, SCIPY),
    floor="holdout",
    sites="all",
    citations=("yale2020", "yelmen2021"),
    figures=(
        FigureSpec(
            "nearest-distances",
            "Distance to the nearest training haplotype",
            "Cumulative share of synthetic haplotypes by Hamming distance to the nearest training "
            "haplotype; grey: held-out real people. A line above the grey one lies nearer to "
            "training people than unseen people do.",
            "haplobench_privacy.figures:draw_nearest_distances",
        ),
    ),
    submetrics=(
        _closer(
            "unseen_ratio",
            "Nearest distance, synthetic/held-out",
            "Mean Hamming distance to the nearest training haplotype: of synthetic haplotypes "
            "over that of held-out ones. 0 for copies; above 1 for haplotypes unlike real ones; a "
            "mix of both can average 1, which exact copies and membership inference tell apart.",
            ideal=1.0,
            min_effect=0.05,
            headline=True,
            family="fidelity",
        ),
        info(
            "distance_ratio",
            "Nearest distance, train/holdout",
            "Mean Hamming distance of a synthetic haplotype to its nearest training haplotype "
            "over that to its nearest held-out one; the larger side counts as subsampled to the "
            "size of the smaller (exact expectation over all subsamples). A copy of N training "
            "haplotypes scores 1 - n / N with n held-out ones.",
        ),
        evidence(
            "copied_haplotypes",
            "People copied verbatim",
            "Share of training people of whom a haplotype is in the cohort, identical at every "
            "site, minus the held-out people's share; p-value after Fisher.",
            min_effect=0.01,
            material=0.1,
            headline=True,
        ),
        info(
            "exact_copies",
            "Exact copies",
            "Share of synthetic haplotypes identical to a training haplotype at every site.",
        ),
        info(
            "holdout_exact_copies",
            "Exact copies, held-out people",
            "Share of held-out haplotypes identical to a training haplotype.",
        ),
        info(
            "excess_copies",
            "Excess of exact copies",
            "Exact copies minus the held-out people's own share.",
        ),
        info(
            "near_share",
            "Within 1st percentile",
            "Share of synthetic haplotypes whose nearest training haplotype is at most as far as "
            "the 1st percentile of the held-out haplotypes' nearest training distances.",
        ),
        info(
            "excess_near",
            "Excess within 1st percentile",
            "That share minus the held-out haplotypes' own (above 1 % where distances tie). Where "
            "1 % of held-out haplotypes or more are exact copies this is the excess of exact "
            "copies again, and near copies show in the nearest distance.",
        ),
        info(
            "train_distance",
            "Nearest training distance",
            "Median Hamming distance of synthetic haplotypes to the nearest training haplotype.",
            unit="sites",
        ),
        info(
            "holdout_train_distance",
            "Nearest training distance, held-out people",
            "Median Hamming distance of held-out haplotypes to the nearest training haplotype.",
            unit="sites",
        ),
    ),
)


class TractParams(DistanceParams):
    """Parameters of copied tracts.

    `max_parts`: at most so many disjoint parts of the training haplotypes, each of the
    size of the holdout, are compared with it.
    """

    max_parts: int = Field(default=4, ge=1)


COPIED_TRACTS = MetricSpec(
    name="copied-tracts",
    version="2",
    target="haplobench_privacy.tracts:copied_tracts",
    summary=(
        "The longest stretch that a synthetic haplotype shares, allele for allele, with a "
        "training haplotype, against what unseen people share. Above 1, pieces of training people "
        "were copied, which genome-wide distance hides."
    ),
    family="privacy",
    params=TractParams,
    needs=(NUMBA, SCIPY),
    floor="holdout",
    sites="all",
    citations=("durbin2014",),
    figures=(
        FigureSpec(
            "copied-tracts",
            "Longest tract shared with a training haplotype",
            "Cumulative share of synthetic haplotypes by the length of their longest exact match "
            "with any training haplotype; grey: held-out real people. A line below the grey one "
            "carries longer copied tracts than unseen people do.",
            "haplobench_privacy.figures:draw_copied_tracts",
        ),
    ),
    submetrics=(
        _closer(
            "tract_ratio",
            "Longest tract, synthetic/held-out",
            "Median longest exact match with any training haplotype, in sites: of synthetic "
            "haplotypes over that of held-out haplotypes. The median of a mix of copies and noise "
            "can be 1: see the excess of long tracts.",
            ideal=1.0,
            min_effect=0.1,
            headline=True,
            family="fidelity",
        ),
        info(
            "matched_ratio",
            "Longest tract, train/holdout",
            "Mean longest exact match of a synthetic haplotype, in sites, with training "
            "haplotypes over that with held-out ones, at equal numbers of both (disjoint seeded "
            "parts of the larger side, averaged).",
        ),
        info(
            "excess_long",
            "Excess of long tracts",
            "Share of synthetic haplotypes whose longest match with a training haplotype is at "
            "least as long as the 99th percentile of the held-out haplotypes', minus their own "
            "share (above 1 % where lengths tie).",
        ),
        info(
            "tract_sites",
            "Longest tract",
            "Median longest exact match of synthetic with training haplotypes.",
            unit="sites",
        ),
        info(
            "holdout_tract_sites",
            "Longest tract, held-out people",
            "Median longest exact match of held-out with training haplotypes.",
            unit="sites",
        ),
        info(
            "tract_bp",
            "Longest tract (physical)",
            "Median physical length, first to last site, of the longest such match.",
            unit="bp",
        ),
        info(
            "holdout_tract_bp",
            "Longest tract (physical), held-out people",
            "The same of held-out haplotypes.",
            unit="bp",
        ),
        info(
            "tract_cm",
            "Longest tract (genetic)",
            "Median genetic length of the longest such match; needs a recombination map.",
            unit="cM",
        ),
        info(
            "holdout_tract_cm",
            "Longest tract (genetic), held-out people",
            "The same of held-out haplotypes.",
            unit="cM",
        ),
    ),
)


def _degree(name: str, words: str, range_: str) -> tuple[SubmetricSpec, ...]:
    return (
        info(
            name,
            words,
            f"Share of synthetic people whose closest training relative has a kinship {range_}.",
        ),
        info(f"holdout_{name}", f"{words}, held-out people", "The same share of held-out people."),
        info(
            f"excess_{name}",
            f"{words}, excess",
            f"{words}: the share of synthetic people minus that of held-out people.",
        ),
    )


KINSHIP = MetricSpec(
    name="kinship",
    version="2",
    target="haplobench_privacy.neighbours:kinship",
    summary=(
        "Whether synthetic people look like relatives of training people, beyond how unseen "
        "people of the same populations do: in a short region unrelated people can share as much "
        "as relatives do genome-wide, so only the excess counts. 0 is none."
    ),
    contigs="joined",
    family="privacy",
    params=DistanceParams,
    needs=(NUMBA, SCIPY),
    floor="holdout",
    sites="all",
    citations=("manichaikul2010",),
    figures=(
        FigureSpec(
            "kinship",
            "Kinship with the closest training person",
            "Cumulative share of synthetic people by KING-robust kinship with their closest "
            "training person; grey: held-out real people. A line below the grey one is of people "
            "nearer akin to training people than unseen people are.",
            "haplobench_privacy.figures:draw_kinship",
        ),
    ),
    submetrics=(
        evidence(
            "duplicated_people",
            "People with a double",
            "Share of training people with a synthetic person (rows 2i and 2i + 1) of KING-robust "
            "kinship of at least 2^-1.5 = .354, minus the held-out people's share; p-value after "
            "Fisher.",
            min_effect=0.02,
            material=0.1,
            headline=True,
        ),
        evidence(
            "related_people",
            "People with a relative",
            "The same with a kinship of at least 2^-3.5 = .0884: duplicates, first and second "
            "degree.",
            min_effect=0.02,
            material=0.1,
        ),
        info(
            "excess_related",
            "Excess of relatives",
            "Share of synthetic people with a duplicate or a first- or second-degree relative in "
            "train, minus the held-out people's share.",
        ),
        *_degree("duplicates", "Duplicates", "of at least 2^-1.5 = .354"),
        *_degree("first_degree", "First degree", "of .177 to .354"),
        *_degree("second_degree", "Second degree", "of .0884 to .177"),
        info(
            "closer_than_unseen",
            "Closer than unseen",
            "Probability that a synthetic person's closest training relative is closer than a "
            "held-out person's (ties 1/2). Standard error after DeLong.",
        ),
    ),
)


SPECS = (ADVERSARIAL_ACCURACY, PRIVACY_LOSS, NEAREST_NEIGHBOURS, COPIED_TRACTS, KINSHIP)


class SinglingOutParams(DistanceParams):
    """Parameters of singling out.

    `per_haplotype`: predicates tried for each synthetic haplotype. `alleles`: at most so many
    make a predicate, within `window` neighbouring sites that vary in the cohort.
    """

    per_haplotype: int = Field(default=4, ge=1)
    alleles: int = Field(default=8, ge=1)
    window: int = Field(default=1024, ge=2)


def _rates(success: str) -> tuple[SubmetricSpec, ...]:
    return (
        info("success", "Success", f"{success} Wilson's interval."),
        info("control", "Success, held-out people", "The same of held-out people."),
        info(
            "risk",
            "Risk",
            "(success - control) / (1 - control), of the middles of Wilson's intervals, kept "
            "within 0 and 1, as Giomi et al. (2023) define it.",
        ),
        info("baseline", "Success of guessing", "The same of an attacker who guesses at random."),
    )


LINKABILITY = attack(
    name="linkability",
    version="1",
    target="haplobench_privacy.criteria:linkability",
    summary=(
        "Whether an attacker who has two halves of people's genomes can tell by the synthetic "
        "cohort which belong together, for training people oftener than for held-out people; 0 is "
        "no leak. One of the three criteria of the Article 29 Working Party."
    ),
    params=DistanceParams,
    citations=("article29wp2014", "giomi2023"),
    submetrics=(
        SubmetricSpec(
            "excess_linked",
            "People linked, excess",
            "Share of training people of whom a haplotype's left and right half of the sites (cut "
            "at a multiple of 64) have a nearest synthetic haplotype in common (Hamming distance, "
            "ties together), minus the held-out people's share; p-value after Fisher.",
            direction="lower",
            ideal=0.0,
            min_effect=0.02,
            evidence=True,
            material=0.1,
            headline=True,
        ),
        *_rates("Share of training people linked."),
    ),
)

SINGLING_OUT = attack(
    name="singling-out",
    version="1",
    target="haplobench_privacy.criteria:singling_out",
    summary=(
        "Whether what is unique in the synthetic cohort, a few alleles on one haplotype, fits "
        "exactly one training person oftener than exactly one held-out person; 0.5 is guessing. "
        "One of the three criteria of the Article 29 Working Party."
    ),
    params=SinglingOutParams,
    citations=("article29wp2014", "giomi2023", "cohen2020"),
    submetrics=(
        area(
            "auc",
            "AUC (singling out)",
            "Probability that a training person scores above a held-out one (ties 1/2); the score "
            "is how many predicates fit this person alone among all real people, minus the "
            "population's mean. A predicate is up to 8 of the rarer alleles that a synthetic "
            "haplotype carries within 1,024 sites, drawn until no other synthetic haplotype has "
            "them together; it fits a person of whom a haplotype has them. Interval after DeLong, "
            "p-value after Mann and Whitney.",
            headline=True,
        ),
        *_rates(
            "Share of predicates that fit exactly one of as many training people as are held out "
            "(the larger side counts as drawn to the size of the smaller)."
        ),
        info("predicates", "Predicates", "Different predicates tried."),
    ),
)

CRITERIA = (LINKABILITY, SINGLING_OUT)
