"""Descriptions of linkability and singling out, criteria of data protection authorities."""

from __future__ import annotations

from pydantic import Field

from haplobench import MetricSpec, SubmetricSpec
from haplobench_privacy.specs.distances import NUMBA, SCIPY, DistanceParams, area, info


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


LINKABILITY = MetricSpec(
    name="linkability",
    version="1",
    target="haplobench_privacy.criteria:linkability",
    summary=(
        "Whether an attacker who has two halves of people's genomes can tell by the synthetic "
        "cohort which belong together, for training people oftener than for held-out people; 0 is "
        "no leak. One of the three criteria of the Article 29 Working Party."
    ),
    family="privacy",
    params=DistanceParams,
    needs=(NUMBA, SCIPY),
    floor="holdout",
    sites="all",
    cohort="train",
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

SINGLING_OUT = MetricSpec(
    name="singling-out",
    version="1",
    target="haplobench_privacy.criteria:singling_out",
    summary=(
        "Whether what is unique in the synthetic cohort, a few alleles on one haplotype, fits "
        "exactly one training person oftener than exactly one held-out person; 0.5 is guessing. "
        "One of the three criteria of the Article 29 Working Party."
    ),
    family="privacy",
    params=SinglingOutParams,
    needs=(NUMBA, SCIPY),
    floor="holdout",
    sites="all",
    cohort="train",
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

SPECS = (LINKABILITY, SINGLING_OUT)
