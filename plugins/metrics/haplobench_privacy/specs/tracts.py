"""Description of copied tracts."""

from __future__ import annotations

from pydantic import Field

from haplobench import FigureSpec, MetricSpec, SubmetricSpec
from haplobench_privacy.specs.common import NUMBA, DistanceParams

_DURBIN = (
    "Durbin, R. Efficient haplotype matching and storage using the positional Burrows-Wheeler "
    "transform (PBWT). Bioinformatics 30, 1266-1272 (2014)"
)


class TractParams(DistanceParams):
    """Parameters of copied tracts.

    `max_parts`: at most so many disjoint parts of the training haplotypes, each of the
    size of the holdout, are compared with it.
    """

    max_parts: int = Field(default=4, ge=1)


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
    needs=(NUMBA,),
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
            direction="lower",
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

SPECS = (COPIED_TRACTS,)
