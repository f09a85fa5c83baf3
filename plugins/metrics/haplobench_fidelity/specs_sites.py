"""Allele frequencies and linkage disequilibrium: descriptions and parameters."""

from __future__ import annotations

from functools import partial
from typing import Literal, Self

from pydantic import Field, model_validator

from haplobench import FigureSpec, MetricSpec, Module, Params, SubmetricSpec
from haplobench.plugin import MafEdges

_lower = partial(SubmetricSpec, direction="lower", ideal=0.0)
_higher = partial(SubmetricSpec, direction="higher", ideal=1.0)
_closer = partial(SubmetricSpec, direction="closer")


class AlleleFrequencyParams(Params):
    """Parameters of `allele-frequency`.

    `maf_bins` are the edges of the bins, in held-out minor allele frequency; a bin leaves its
    lower edge out and holds its upper edge.
    """

    maf_bins: MafEdges = (0.0, 0.01, 0.05, 0.1, 0.2, 0.5)


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
    target="haplobench_fidelity.alleles:allele_frequency",
    summary=(
        "Whether each site's alternate allele is as frequent in the synthetic cohort as in "
        "held-out people. Read it beside the floor: two samples of real people differ too, the "
        "more the smaller they are."
    ),
    family="fidelity",
    input="batches",
    phased=False,
    params=AlleleFrequencyParams,
    citations=("yelmen2021",),
    submetrics=(
        _higher(
            "r",
            "AF r",
            "Pearson correlation of alternate allele frequencies, synthetic against held-out, "
            "over all panel sites with a called allele on both sides; fixed sites count with "
            "their frequency 0 or 1.",
            min_effect=0.001,
            headline=True,
        ),
        _lower(
            "rmse",
            "AF RMSE",
            "Root mean square of synthetic minus held-out alternate allele frequency over the "
            "same sites.",
            min_effect=0.002,
            headline=True,
        ),
        _lower(
            "rmse_by_maf",
            "AF RMSE by MAF",
            "The same over the sites whose held-out minor allele frequency lies in a bin (lower "
            "edge left out, upper edge held).",
            min_effect=0.002,
        ),
        _lower(
            "rmse_by_superpopulation",
            "AF RMSE by superpopulation",
            "The same over all sites, synthetic people of one superpopulation against held-out "
            "people of it.",
            min_effect=0.004,
        ),
        _lower(
            "sites_lost",
            "Sites lost",
            "Share of the sites polymorphic in held-out people that are fixed in the synthetic "
            "cohort; real samples lose rare sites too.",
            min_effect=0.005,
        ),
    ),
    figures=(
        FigureSpec(
            "allele-frequency",
            "Allele frequencies, real and synthetic",
            "Sites by alternate allele frequency in held-out people and in each synthetic cohort "
            "(first seed, first draw), stronger where there are more of them. On the diagonal "
            "both are the same.",
            "haplobench_fidelity.figures:draw_frequencies",
        ),
    ),
)

SPECTRUM = MetricSpec(
    name="allele-frequency-spectrum",
    version="2",
    target="haplobench_fidelity.alleles:allele_frequency_spectrum",
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
        _lower(
            "jsd",
            "SFS JSD",
            "Jensen-Shannon divergence in bits (0-1) of the two folded site-frequency spectra, "
            "each projected hypergeometrically to the same number of haplotypes (100, or the "
            "smaller cohort) and scaled to sum 1. The dataset's MAF threshold was applied to "
            "training people: a site that the panel doesn't have counts with the chance that it "
            "would have passed there, by its frequency in the cohort.",
            unit="bit",
            min_effect=0.002,
            headline=True,
        ),
        _lower(
            "wasserstein",
            "SFS Wasserstein",
            "Wasserstein-1 distance of the same spectra as distributions of minor allele "
            "frequency.",
            min_effect=0.002,
        ),
        _higher(
            "r",
            "SFS r",
            "Pearson correlation of the same spectra, class by class; the rarest classes weigh "
            "most.",
            min_effect=0.005,
        ),
        _closer(
            "site_ratio",
            "Polymorphic sites, ratio",
            "Sites polymorphic in the synthetic cohort (above the dataset's MAF threshold, where "
            "sites differ) over those in held-out people.",
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
            "haplobench_fidelity.figures:draw_site_spectrum",
        ),
    ),
    citations=("marth2004", "gutenkunst2009"),
)
_NEEDS = (Module("numba", "haplobench[metrics]"),)

FixedSites = Literal["drop", "zero", "all-polymorphic"]

_SITES = (
    "Sites: held-out MAF above `min_maf`; one that is fixed in the synthetic cohort leaves both "
    "sides (`fixed: drop`)."
)


class LDParams(Params):
    """What all LD metrics share.

    Attributes
    ----------
    min_maf : float
        LD is measured at sites whose minor allele frequency in held-out people exceeds this.
    fixed : str
        What becomes of such a site where it is fixed in the synthetic cohort: `drop` leaves it
        out on both sides, `zero` counts its pairs as r = 0 in the synthetic cohort.
        `all-polymorphic` drops `min_maf` instead: every site polymorphic on both sides.
    """

    min_maf: float = Field(0.05, ge=0, lt=0.5)
    fixed: FixedSites = "drop"


class DecayParams(LDParams):
    """Parameters of `ld-decay`.

    Attributes
    ----------
    bins : int
        Distance bins, of equal width in the logarithm.
    min_distance, max_distance : float
        First and last edge, bp; the last edge is the region's length where that is shorter.
    min_centimorgan, max_centimorgan : float
        The same in cM.
    min_pairs : int
        A bin counts where both sides have so many pairs.
    """

    bins: int = Field(20, ge=2, le=1000)
    min_distance: float = Field(250, gt=0)
    max_distance: float = Field(1_000_000, gt=0)
    min_centimorgan: float = Field(0.001, gt=0)
    max_centimorgan: float = Field(1.0, gt=0)
    min_pairs: int = Field(50, ge=1)


class MatrixParams(LDParams):
    """Parameters of `ld-matrix`.

    Attributes
    ----------
    block : int
        LD sites per block; pairs inside a block count.
    window : int
        Panel sites between two window borders, counted from the panel's first site. Borders of
        generators with windows of `window`, half of it and so on are all among these.
    reach : int
        Pairs at most so many panel sites apart count as in-window or cross-border.
    max_sites : int
        For r² of all pairs: where there are more LD sites, so many evenly spaced ones are used.
    """

    block: int = Field(500, ge=2, le=5000)
    window: int = Field(128, ge=2)
    reach: int = Field(64, ge=1)
    max_sites: int = Field(2000, ge=10)

    @model_validator(mode="after")
    def _inside(self) -> Self:
        if self.reach > self.window:
            raise ValueError(f"reach {self.reach} must not exceed window {self.window}")
        return self


class LongRangeParams(LDParams):
    """Parameters of `long-range-ld`.

    Attributes
    ----------
    min_distance : int
        bp; pairs further apart count.
    max_sites : int
        Where there are more LD sites, so many evenly spaced ones are used.
    gaps : tuple of int
        Panel sites between neighbours of a triplet (i, i + gap, i + 2 gap).
    """

    min_distance: int = Field(100_000, ge=1)
    max_sites: int = Field(2000, ge=10)
    gaps: tuple[int, ...] = (1, 4, 16, 64, 256, 512, 1024)

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if not self.gaps or min(self.gaps) < 1:
            raise ValueError(f"gaps of 1 or more expected, found {self.gaps}")
        return self


_CITATIONS = ("hill1968", "rogers2009")

DECAY = MetricSpec(
    name="ld-decay",
    version="1",
    target="haplobench_fidelity.ld:ld_decay",
    summary=(
        "How fast correlation between sites falls with their distance, the mark that "
        "recombination and demography leave. A curve below the real one has lost LD, one above it "
        "recombines too little or draws from too few haplotypes."
    ),
    family="fidelity",
    site_matched=False,
    phased=False,
    params=DecayParams,
    needs=_NEEDS,
    submetrics=(
        _lower(
            "rmse",
            "LD decay RMSE",
            "Root mean square difference of mean r² per distance bin, synthetic minus held-out: "
            "20 bins log-spaced from 250 bp to the region's length (at most 1 Mb), all pairs, "
            "each bin with 50 pairs or more weighing the same. "
            + _SITES
            + " Where sites differ, each "
            "side's own MAF counts. r² of haplotypes, or of dosages (Rogers & Huff) where either "
            "side is unphased.",
            min_effect=0.002,
            headline=True,
        ),
        _closer(
            "bias",
            "LD decay bias",
            "Mean over the same bins of synthetic minus held-out mean r²: below 0 where LD is "
            "lost.",
            ideal=0.0,
            min_effect=0.002,
        ),
        _lower(
            "rmse_centimorgan",
            "LD decay RMSE (cM)",
            "As RMSE, with bins log-spaced in genetic distance from 0.001 to at most 1 cM; needs "
            "a recombination map.",
            min_effect=0.002,
        ),
    ),
    figures=(
        FigureSpec(
            "decay",
            "LD decay",
            "Mean r² by distance: each generator (mean over draws and seeds; faint, its seeds), "
            "held-out people (dashed) and the range of real samples (grey).",
            "haplobench_fidelity.figures:draw_decay",
        ),
    ),
    citations=_CITATIONS,
)

MATRIX = MetricSpec(
    name="ld-matrix",
    version="1",
    target="haplobench_fidelity.ld:ld_matrix",
    summary=(
        "Whether the same pairs of sites are correlated, and with the same sign. A generator that "
        "joins windows drawn independently keeps LD inside them and loses it across their "
        "borders; the two are told apart."
    ),
    family="fidelity",
    phased=False,
    params=MatrixParams,
    needs=_NEEDS,
    submetrics=(
        _higher(
            "in_window",
            "LD r, in window",
            "Pearson correlation of signed r, synthetic against held-out, over pairs at most 64 "
            "panel sites apart with no window border between them; borders at every 128th panel "
            "site. A generator whose own borders lie elsewhere loses some of this and some of the "
            "next. " + _SITES,
            min_effect=0.005,
            headline=True,
        ),
        _higher(
            "cross_border",
            "LD r, cross border",
            "The same over pairs at most 64 panel sites apart with a window border between them.",
            min_effect=0.01,
            headline=True,
        ),
        _higher(
            "blocks",
            "LD r, blocks",
            "The same over all pairs inside blocks of 500 adjacent LD sites.",
            min_effect=0.005,
        ),
        _lower(
            "frobenius",
            "LD Frobenius error",
            "Frobenius norm of synthetic minus held-out signed r over that of held-out, off the "
            "diagonal, over the same blocks.",
            min_effect=0.01,
        ),
        _higher(
            "squared",
            "LD r², all pairs",
            "Pearson correlation of r², synthetic against held-out, over all pairs of LD sites, "
            "or of 2,000 evenly spaced ones. With `fixed: all-polymorphic`, as Yelmen et al. give "
            "it.",
            min_effect=0.005,
        ),
        _lower(
            "squared_rmse",
            "LD r² RMSE, all pairs",
            "Root mean square of synthetic minus held-out r² over the same pairs.",
            min_effect=0.002,
        ),
    ),
    figures=(
        FigureSpec(
            "heat-map",
            "LD of neighbouring sites",
            "r² of adjacent sites in the middle of the region: held-out people above the "
            "diagonal, synthetic (first seed, first draw) below; beneath, the positions of the "
            "first and the last site. A faithful cohort mirrors the "
            "real half; squares along the diagonal are windows drawn independently.",
            "haplobench_fidelity.figures:draw_heat_map",
        ),
    ),
    citations=(*_CITATIONS, "yelmen2021"),
)

LONG_RANGE = MetricSpec(
    name="long-range-ld",
    version="1",
    target="haplobench_fidelity.ld:long_range_ld",
    summary=(
        "What is left of correlation between distant sites, and among three sites at once. Real "
        "samples of some hundred people agree poorly here themselves: only the distance from the "
        "floor tells something."
    ),
    family="fidelity",
    phased=False,
    params=LongRangeParams,
    needs=_NEEDS,
    submetrics=(
        _higher(
            "correlation",
            "Long-range LD r",
            "Pearson correlation of signed r, synthetic against held-out, over pairs further "
            "apart than 100 kb, of all LD sites or of 2,000 evenly spaced ones. " + _SITES,
            min_effect=0.02,
            headline=True,
        ),
        _lower(
            "rmse",
            "Long-range LD RMSE",
            "Root mean square of synthetic minus held-out signed r over the same pairs.",
            min_effect=0.005,
        ),
        _higher(
            "three_point",
            "Three-point r",
            "Pearson correlation, synthetic against held-out, of the third central moment E[(a - "
            "Ea)(b - Eb)(c - Ec)] of alleles over all triplets of panel sites (i, i + gap, i + 2 "
            "gap).",
            min_effect=0.02,
        ),
        _higher(
            "three_point_mean",
            "Three-point r, mean",
            "Mean of the three-point correlations over the gaps that the region holds.",
            min_effect=0.02,
        ),
    ),
    citations=(*_CITATIONS, "yelmen2021"),
)

SPECS = (ALLELE_FREQUENCY, SPECTRUM, DECAY, MATRIX, LONG_RANGE)
