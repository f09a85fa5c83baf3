"""Metrics of imputation of sites that weren't typed."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Literal

from pydantic import Field, field_validator

from haplobench import Binary, FigureSpec, MetricSpec, Module, Params, SubmetricSpec
from haplobench.plugin import Need

_higher = partial(SubmetricSpec, direction="higher", ideal=1.0)
_closer = partial(SubmetricSpec, direction="closer")
_NEEDS = (Module("numba", "haplobench[metrics]"), Module("scipy", "haplobench[metrics]"))
_PROGRAMS: dict[str, tuple[Need, ...]] = {
    "own": (),
    "beagle": (Binary("beagle", "Debian's package beagle"),),
    "minimac4": (
        Binary("minimac4", "Debian's package minimac4"),
        Module("pysam", "haplobench[formats]"),
    ),
}

Engine = Literal["own", "beagle", "minimac4"]


class TypedParams(Params):
    """What metrics of imputation share: which sites are typed, and who imputes.

    Attributes
    ----------
    typed : str
        Sites that are seen in held-out people. `array`: common ones, evenly spaced, as genotyping
        arrays have them: in each of so many stretches of the region of one length the common site
        that is nearest to its middle, and where stretches have none, others at even steps.
        `random`: any that differ among real people.
    share : float
        Typed sites, as a share of all.
    typed_maf : float
        A site is common from this minor allele frequency in real people on.
    typed_seed : int
        Of `random`.
    engine : str
        `own`: the copying model in this package; `beagle` and `minimac4`: the programs, with the
        same map, `ne` and `error`.
    ne, error : float
        Of the copying model: effective population size, and probability that a copied allele is
        changed.
    max_sites : int
        A longer region is cut to so many sites in its middle.
    max_people : int
        Of more held-out people so many are imputed, drawn once for all cohorts.
    max_haplotypes : int
        A larger cohort, or one larger than the training panel, is cut to so many, and real panels
        have no more, either.
    """

    typed: Literal["array", "random"] = "array"
    share: float = Field(0.1, gt=0, lt=1)
    typed_maf: float = Field(0.05, gt=0, le=0.5)
    typed_seed: int = 0
    engine: Engine = "own"
    ne: float = Field(20_000, gt=0)
    error: float = Field(0.001, gt=0, lt=0.5)
    max_sites: int = Field(20_000, ge=20)
    max_people: int = Field(500, ge=2)
    max_haplotypes: int = Field(2_000, ge=2)

    def needed(self) -> tuple[Need, ...]:
        """The program that imputes."""
        return _PROGRAMS[self.engine]


class ImputationParams(TypedParams):
    """Parameters of `imputation`.

    Attributes
    ----------
    real_panels : int
        Real panels of the cohort's size that it is compared with; their mean stands for them.
    maf_bins : tuple of float
        Edges of the bins, in minor allele frequency in real people; a bin leaves its lower edge
        out and holds its upper edge. Rarer sites than the first edge don't count anywhere.
    """

    real_panels: int = Field(10, ge=2, le=100)
    maf_bins: tuple[float, ...] = (0.001, 0.01, 0.05, 0.5)

    @field_validator("maf_bins")
    @classmethod
    def _edges(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        rising = all(low < high for low, high in pairwise(edges))
        if len(edges) < 2 or not rising or edges[0] < 0 or edges[-1] > 0.5:
            raise ValueError(f"two or more increasing edges within 0-0.5 expected, found {edges}")
        return edges


IMPUTATION = MetricSpec(
    name="imputation",
    version="1",
    target="haplobench_utility.imputation:imputation",
    summary=(
        "How well the synthetic cohort serves as a reference panel: most sites of held-out people "
        "are hidden, imputed from the cohort, and compared with what they are. Read it beside the "
        "floor, or as a share of what real panels of the same size give: a small panel imputes "
        "rare sites badly, whoever is in it."
    ),
    family="utility",
    sites="all",
    params=ImputationParams,
    needs=_NEEDS,
    submetrics=(
        _higher(
            "r2",
            "Imputation r²",
            "Mean over imputed sites of the squared Pearson correlation of imputed and true "
            "alternate alleles per held-out person (dosages); sites that differ among held-out "
            "people count, with 0 where everybody is imputed alike.",
            min_effect=0.005,
            headline=True,
        ),
        _higher(
            "r2_ratio",
            "Imputation r², × real panel's",
            "The same over the mean of real panels of as many training people, drawn in the "
            "held-out people's populations; the interval is that of one more real panel about "
            "this ratio (Student's prediction interval).",
            min_effect=0.02,
            headline=True,
        ),
        _higher(
            "r2_by_maf",
            "Imputation r² by MAF",
            "r2 over the sites whose minor allele frequency in real people, training and held-out, "
            "lies in a bin (lower edge left out, upper edge held).",
            min_effect=0.01,
        ),
        _higher(
            "r2_ratio_by_maf",
            "Imputation r² by MAF, × real panel's",
            "r2_ratio over the sites of a bin.",
            min_effect=0.03,
        ),
        _higher(
            "r2_by_superpopulation",
            "Imputation r² by superpopulation",
            "r2 among the held-out people of a superpopulation, over the sites that differ among "
            "them.",
            min_effect=0.01,
        ),
        _higher(
            "r2_ratio_by_superpopulation",
            "Imputation r² by superpopulation, × real panel's",
            "r2_ratio among the held-out people of a superpopulation.",
            min_effect=0.03,
        ),
        _higher(
            "aggregate_r2",
            "Aggregate r² by MAF",
            "Squared correlation over all imputed sites of a bin and all held-out people together, "
            "as programs report it; frequencies alone give part of it.",
            min_effect=0.01,
        ),
        SubmetricSpec(
            "discordance",
            "Non-reference discordance",
            "Share of wrong ones among imputed genotypes (dosages, rounded) that have an alternate "
            "allele, in truth or as imputed.",
            direction="lower",
            ideal=0.0,
            min_effect=0.005,
        ),
        _closer(
            "info_bias",
            "Estimated minus true r²",
            "Mean over the same sites of the r² that imputation programs estimate without truth, "
            "variance of imputed haplotype dosages over p (1 - p), minus the true one. Above the "
            "floor: whoever filters by it trusts the panel too much.",
            ideal=0.0,
            min_effect=0.01,
        ),
        _closer(
            "calibration_slope",
            "Calibration slope",
            "Slope of true on imputed dosages, both about their site's mean, over all sites "
            "together. Below 1: the panel is surer than it is right.",
            ideal=1.0,
            min_effect=0.02,
        ),
    ),
    figures=(
        FigureSpec(
            "imputation-by-maf",
            "Imputation r² by minor allele frequency",
            "Mean r² of imputed sites by their minor allele frequency in real people: from each "
            "synthetic cohort (mean over draws and seeds) over real panels of the same size "
            "(dashed) and the range of the floor (grey).",
            "haplobench_utility.imputation_figures:draw_imputation",
        ),
    ),
    citations=("li2003", "das2016", "browning2018"),
)


class AugmentationParams(TypedParams):
    """Parameters of `augmentation`.

    Attributes
    ----------
    people : int
        Real people in the small panel.
    samples : int
        Small panels, each drawn anew from the training people.
    times : tuple of float
        Synthetic people added, as multiples of `people`; multiples beyond what the cohort has are
        left out, and all of it is added last.
    population : str
        Population or superpopulation, by label; empty: the superpopulation with most held-out
        people.
    min_maf : float
        Sites of a lower minor allele frequency in real people don't count.
    """

    people: int = Field(25, ge=1)
    samples: int = Field(5, ge=2, le=100)
    times: tuple[float, ...] = (1, 4)
    population: str = ""
    min_maf: float = Field(0.001, ge=0, lt=0.5)

    @field_validator("times")
    @classmethod
    def _rising(cls, times: tuple[float, ...]) -> tuple[float, ...]:
        if not times or times[0] <= 0 or any(low >= high for low, high in pairwise(times)):
            raise ValueError(f"one or more increasing multiples above 0 expected, found {times}")
        return times


AUGMENTATION = MetricSpec(
    name="augmentation",
    version="1",
    target="haplobench_utility.augmentation:augmentation",
    summary=(
        "Whether synthetic people help where real ones are few: a small real panel of one "
        "population imputes held-out people of it, alone and with more and more synthetic people "
        "added. Read the gain beside the floor, which is what as many real people add."
    ),
    family="utility",
    sites="all",
    params=AugmentationParams,
    needs=_NEEDS,
    submetrics=(
        SubmetricSpec(
            "gain",
            "Gain of r² by adding the cohort",
            "Mean imputation r² (as in imputation) from the small real panel and all synthetic "
            "people of its population, minus that from the small panel alone; mean over small "
            "panels, with Student's interval over them. Above 0: adding helps.",
            direction="higher",
            min_effect=0.01,
            headline=True,
        ),
        SubmetricSpec(
            "r2_alone",
            "r² of the small panel",
            "Mean imputation r² from the small real panel alone.",
            direction="info",
        ),
        _higher(
            "r2_with",
            "r² with synthetic people",
            "Mean imputation r² from the small real panel and all synthetic people of its "
            "population.",
            min_effect=0.01,
        ),
    ),
    figures=(
        FigureSpec(
            "augmentation",
            "A small real panel with synthetic people added",
            "Mean imputation r² by the number of people added to a small real panel of one "
            "population: synthetic ones (mean over draws and seeds), and real ones (grey: the "
            "floor's range). The dashed line is the small panel alone.",
            "haplobench_utility.imputation_figures:draw_augmentation",
        ),
    ),
)

# In the order of the report.
SPECS = (IMPUTATION, AUGMENTATION)
