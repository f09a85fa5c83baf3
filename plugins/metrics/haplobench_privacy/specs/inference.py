"""Descriptions of attribute inference and kinship."""

from __future__ import annotations

from pydantic import Field

from haplobench import FigureSpec, MetricSpec, SubmetricSpec
from haplobench_privacy.specs.common import NUMBA, DistanceParams

_STADLER = (
    "Stadler, T., Oprisanu, B. & Troncoso, C. Synthetic data: anonymisation groundhog day. "
    "USENIX Security Symposium (2022)"
)
_MANICHAIKUL = (
    "Manichaikul, A. et al. Robust relationship inference in genome-wide association studies. "
    "Bioinformatics 26, 2867-2873 (2010)"
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


ATTRIBUTE_INFERENCE = MetricSpec(
    name="attribute-inference",
    version="1",
    target="haplobench_privacy.attributes:AttributeInference",
    summary=(
        "Whether an attacker who knows most of a person's genome can fill in the rest from the "
        "synthetic cohort better where the person was trained on. What is guessed as well of "
        "held-out people is knowledge of the population, not a leak: 0 is none."
    ),
    family="privacy",
    params=AttributeParams,
    needs=(NUMBA,),
    floor="holdout",
    cohort="train",
    citations=(_STADLER,),
    submetrics=(
        SubmetricSpec(
            name="leak",
            title="Attribute leak",
            definition=(
                "Balanced accuracy (both alleles of a site weigh the same) of hidden alleles, by "
                "vote of the synthetic haplotypes nearest at the shown sites around, of training "
                "people minus that of held-out people; also by MAF. Standard error over people."
            ),
            direction="closer",
            ideal=0.0,
            min_effect=0.01,
            headline=True,
        ),
        SubmetricSpec(
            name="accuracy_train",
            title="Accuracy, training people",
            definition="That balanced accuracy of training people.",
            direction="info",
        ),
        SubmetricSpec(
            name="accuracy_holdout",
            title="Accuracy, held-out people",
            definition="That balanced accuracy of held-out people.",
            direction="info",
        ),
        SubmetricSpec(
            name="gain_over_frequency",
            title="Gain over the commoner allele",
            definition=(
                "Balanced accuracy of training people minus 1/2, that of guessing the commoner "
                "allele everywhere."
            ),
            direction="info",
        ),
        SubmetricSpec(
            name="gain_over_reference",
            title="Gain over a real reference",
            definition=(
                "Balanced accuracy of training people from as many synthetic haplotypes as are "
                "held out, minus that from the held-out haplotypes themselves."
            ),
            direction="info",
        ),
        SubmetricSpec(
            name="hidden_sites",
            title="Hidden sites",
            definition="Sites hidden, as evenly over strata of MAF as there are sites.",
            direction="info",
        ),
    ),
)


def _degree(
    name: str, words: str, range_: str, *, headline: bool = False
) -> tuple[SubmetricSpec, ...]:
    return (
        SubmetricSpec(
            name=name,
            title=words,
            definition=(
                f"Share of synthetic people whose closest training relative has a kinship {range_}."
            ),
            direction="info",
        ),
        SubmetricSpec(
            name=f"holdout_{name}",
            title=f"{words}, held-out people",
            definition="The same share of held-out people.",
            direction="info",
        ),
        SubmetricSpec(
            name=f"excess_{name}",
            title=f"{words}, excess",
            definition=f"{words}: the share of synthetic people minus that of held-out people.",
            direction="lower",
            min_effect=0.02,
            headline=headline,
        ),
    )


KINSHIP = MetricSpec(
    name="kinship",
    version="1",
    target="haplobench_privacy.relatives:Kinship",
    summary=(
        "Whether synthetic people look like relatives of training people, beyond how unseen "
        "people of the same populations do: in a short region unrelated people can share as much "
        "as relatives do genome-wide, so only the excess counts. 0 is none."
    ),
    family="privacy",
    params=DistanceParams,
    needs=(NUMBA,),
    floor="holdout",
    citations=(_MANICHAIKUL,),
    figures=(
        FigureSpec(
            name="kinship",
            title="Kinship with the closest training person",
            caption=(
                "Cumulative share of synthetic people by KING-robust kinship with their closest "
                "training person; grey: held-out real people. A line below the grey one is of "
                "people nearer akin to training people than unseen people are."
            ),
            target="haplobench_privacy.figures:draw_kinship",
        ),
    ),
    submetrics=(
        SubmetricSpec(
            name="excess_related",
            title="Excess of relatives",
            definition=(
                "Share of synthetic people (rows 2i and 2i + 1) with a duplicate or a first- or "
                "second-degree relative in train (KING-robust kinship of at least 2^-3.5 = .0884), "
                "minus the held-out people's share."
            ),
            direction="lower",
            min_effect=0.02,
        ),
        *_degree("duplicates", "Duplicates", "of at least 2^-1.5 = .354", headline=True),
        *_degree("first_degree", "First degree", "of .177 to .354"),
        *_degree("second_degree", "Second degree", "of .0884 to .177"),
        SubmetricSpec(
            name="closer_than_unseen",
            title="Closer than unseen",
            definition=(
                "Probability that a synthetic person's closest training relative is closer than "
                "a held-out person's (ties 1/2). Standard error after DeLong."
            ),
            direction="info",
        ),
    ),
)

SPECS = (ATTRIBUTE_INFERENCE, KINSHIP)
