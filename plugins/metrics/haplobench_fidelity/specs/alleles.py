"""Allele frequencies and the allele-frequency spectrum: descriptions and parameters."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import Field, field_validator

from haplobench import FigureSpec, MetricSpec, Module, Params, SubmetricSpec


class AlleleFrequencyParams(Params):
    """Parameters of `allele-frequency`.

    `maf_bins` are the edges of the bins, in held-out minor allele frequency; a bin leaves its
    lower edge out and holds its upper edge.
    """

    maf_bins: tuple[float, ...] = (0.0, 0.01, 0.05, 0.1, 0.2, 0.5)

    @field_validator("maf_bins")
    @classmethod
    def _edges(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        rising = all(low < high for low, high in pairwise(edges))
        if len(edges) < 2 or not rising or edges[0] < 0 or edges[-1] > 0.5:
            raise ValueError(f"two or more increasing edges within 0-0.5 expected, found {edges}")
        return edges


class SpectrumParams(Params):
    """Parameters of `allele-frequency-spectrum`.

    Attributes
    ----------
    projection : int
        Haplotypes that both spectra are projected to; fewer where a cohort has fewer, and 0
        for as many as the smaller cohort has.
    fixed : str
        `drop` leaves fixed sites out of both spectra; `zero` keeps them as the class of no
        copies.
    """

    projection: int = Field(100, ge=0)
    fixed: Literal["drop", "zero"] = "drop"


ALLELE_FREQUENCY = MetricSpec(
    name="allele-frequency",
    version="1",
    target="haplobench_fidelity.allele_frequency:allele_frequency",
    summary=(
        "Whether each site's alternate allele is as frequent in the synthetic cohort as in "
        "held-out people. Read it beside the floor: two samples of real people differ too, the "
        "more the smaller they are."
    ),
    family="fidelity",
    input="batches",
    phased=False,
    params=AlleleFrequencyParams,
    citations=("Yelmen et al. 2021, PLoS Genetics 17:e1009303",),
    submetrics=(
        SubmetricSpec(
            "r",
            "AF r",
            "Pearson correlation of alternate allele frequencies, synthetic against held-out, over "
            "all panel sites with a called allele on both sides; fixed sites count with their "
            "frequency 0 or 1.",
            "higher",
            ideal=1.0,
            min_effect=0.001,
            headline=True,
        ),
        SubmetricSpec(
            "rmse",
            "AF RMSE",
            "Root mean square of synthetic minus held-out alternate allele frequency over the same "
            "sites.",
            "lower",
            ideal=0.0,
            min_effect=0.002,
            headline=True,
        ),
        SubmetricSpec(
            "rmse-by-maf",
            "AF RMSE by MAF",
            "The same over the sites whose held-out minor allele frequency lies in a bin (lower "
            "edge left out, upper edge held).",
            "lower",
            ideal=0.0,
            min_effect=0.002,
        ),
        SubmetricSpec(
            "rmse-by-superpopulation",
            "AF RMSE by superpopulation",
            "The same over all sites, synthetic people of one superpopulation against held-out "
            "people of it.",
            "lower",
            ideal=0.0,
            min_effect=0.004,
        ),
        SubmetricSpec(
            "sites-lost",
            "Sites lost",
            "Share of the sites polymorphic in held-out people that are fixed in the synthetic "
            "cohort; real samples lose rare sites too.",
            "lower",
            ideal=0.0,
            min_effect=0.005,
        ),
    ),
    figures=(
        FigureSpec(
            "allele-frequency",
            "Allele frequencies, real and synthetic",
            "Sites by alternate allele frequency in held-out people and in each synthetic cohort "
            "(first seed, first draw), stronger where there are more of them. On the diagonal both "
            "are the same.",
            "haplobench_fidelity.figures_alleles:draw_frequencies",
        ),
    ),
)

SPECTRUM = MetricSpec(
    name="allele-frequency-spectrum",
    version="1",
    target="haplobench_fidelity.spectrum:allele_frequency_spectrum",
    summary=(
        "How many sites have how many copies of the rarer allele, whichever sites they are, so "
        "that simulators with sites of their own can be compared. A spectrum that leans to the "
        "left has too many rare alleles."
    ),
    family="fidelity",
    input="batches",
    site_matched=False,
    phased=False,
    params=SpectrumParams,
    needs=(Module("scipy", "haplobench[metrics]"),),
    submetrics=(
        SubmetricSpec(
            "jsd",
            "SFS JSD",
            "Jensen-Shannon divergence in bits (0-1) of the two folded site-frequency spectra, "
            "each projected hypergeometrically to the same number of haplotypes (100, or the "
            "smaller cohort) and scaled to sum 1. Where sites differ, only those above the "
            "dataset's MAF threshold count, on both sides.",
            "lower",
            unit="bit",
            ideal=0.0,
            min_effect=0.002,
            headline=True,
        ),
        SubmetricSpec(
            "wasserstein",
            "SFS Wasserstein",
            "Wasserstein-1 distance of the same spectra as distributions of minor allele "
            "frequency.",
            "lower",
            ideal=0.0,
            min_effect=0.002,
        ),
        SubmetricSpec(
            "r",
            "SFS r",
            "Pearson correlation of the same spectra, class by class; the rarest classes weigh "
            "most.",
            "higher",
            ideal=1.0,
            min_effect=0.005,
        ),
        SubmetricSpec(
            "site-ratio",
            "Polymorphic sites, ratio",
            "Sites polymorphic in the synthetic cohort (above the dataset's MAF threshold, where "
            "sites differ) over those in held-out people.",
            "closer",
            ideal=1.0,
            min_effect=0.01,
        ),
    ),
    figures=(
        FigureSpec(
            "spectrum",
            "Allele-frequency spectrum",
            "Share of sites by copies of the rarer allele, projected to the same number of "
            "haplotypes: each synthetic cohort (mean over seeds and draws) over held-out people "
            "(dashed) and the range of real samples (grey). Shares under a tenth of the rarest "
            "real class are drawn there.",
            "haplobench_fidelity.figures_alleles:draw_spectrum",
        ),
    ),
    citations=(
        "Marth et al. 2004, Genetics 166:351-372",
        "Gutenkunst et al. 2009, PLoS Genetics 5:e1000695",
    ),
)

SPECS: tuple[MetricSpec, ...] = (ALLELE_FREQUENCY, SPECTRUM)
