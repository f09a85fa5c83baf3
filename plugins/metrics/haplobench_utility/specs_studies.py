"""Metrics of studies of a cohort: imputation, association and polygenic scores."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Literal

from pydantic import Field, field_validator

from haplobench import Binary, FigureSpec, MetricSpec, Module, Params, SubmetricSpec
from haplobench.plugin import MafEdges, Need

_higher = partial(SubmetricSpec, direction="higher", ideal=1.0)
_closer = partial(SubmetricSpec, direction="closer")
_NUMBA = Module("numba", "haplobench[metrics]")
_SCIPY = Module("scipy", "haplobench[metrics]")
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
    maf_bins: MafEdges = (0.001, 0.01, 0.05, 0.5)


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
    needs=(_NUMBA, _SCIPY),
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
            "haplobench_utility.figures:draw_imputation",
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
    target="haplobench_utility.imputation:augmentation",
    summary=(
        "Whether synthetic people help where real ones are few: a small real panel of one "
        "population imputes held-out people of it, alone and with more and more synthetic people "
        "added. Read the gain beside the floor, which is what as many real people add."
    ),
    family="utility",
    sites="all",
    params=AugmentationParams,
    needs=(_NUMBA, _SCIPY),
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
            "haplobench_utility.figures:draw_augmentation",
        ),
    ),
)

# In the order of the report.


class TraitParams(Params):
    """Parameters of simulated traits.

    Attributes
    ----------
    n_traits : int
        Polygenic traits, over which numbers are averaged.
    n_causal : int
        Causal sites of each.
    h2 : float
        Genetic share of a trait's variance among the training people.
    alpha : float
        Effects' variance is proportional to [2 p (1 - p)]^alpha, p the allele's frequency.
    n_panels : int
        Real panels of the cohort's size that ratios are over.
    trait_seed : int
        Another number, other traits. A dataset's cohorts are compared on the same traits,
        whatever their seed.
    max_sites : int
        Sites that are looked at; of more, so many are taken evenly.
    """

    n_traits: int = Field(100, ge=2)
    n_causal: int = Field(10, ge=1)
    h2: float = Field(0.5, gt=0, lt=1)
    alpha: float = -1.0
    n_panels: int = Field(6, ge=1)
    trait_seed: int = Field(1, ge=0)
    max_sites: int = Field(20_000, ge=1)

    @property
    def note(self) -> str:
        """For measurements: what they are averaged over."""
        return f"{self.n_traits} traits of {self.n_causal} causal sites, h² {self.h2:g}"


class ScoreParams(TraitParams):
    """Parameters of `polygenic-scores`: those of its traits."""


class GwasParams(TraitParams):
    """Parameters of `gwas`.

    Attributes
    ----------
    n_pcs : int
        Principal components of a panel's own genotypes that are covariates. In one region more
        of them explain the loci themselves.
    n_null : int
        Traits without causal sites; as many with another mean in each superpopulation.
    n_single : int
        Traits of one causal site, for credible sets.
    single_chi2 : float
        What those are made for: their h² is c / (c + n) for n people, 0.5 at most, so that the
        causal site's expected χ² is about c whatever the cohort's size.
    n_case_control : int
        Polygenic traits, and null ones, that are cases and controls, too.
    prevalence : float
        Share of cases among the training people.
    false_positive_rate : float
        At which power is compared.
    credible_level : float
    """

    n_pcs: int = Field(2, ge=0)
    n_null: int = Field(50, ge=2)
    n_single: int = Field(50, ge=1)
    single_chi2: float = Field(30.0, gt=0)
    n_case_control: int = Field(5, ge=1)
    prevalence: float = Field(0.3, gt=0, lt=1)
    false_positive_rate: float = Field(0.001, gt=0, lt=1)
    credible_level: float = Field(0.95, gt=0, lt=1)


GWAS = MetricSpec(
    name="gwas",
    version="1",
    target="haplobench_utility.gwas:gwas",
    summary=(
        "Whether an association study of the cohort finds what one of real people finds: traits "
        "simulated on real people's sites are carried to the cohort, with the same effect per "
        "allele and the same environmental noise. Causal sites aren't among those tested, as on an "
        "array, so a cohort without LD finds nothing. A cohort at other sites can't be given the "
        "traits: effects belong to sites."
    ),
    family="utility",
    phased=False,
    params=GwasParams,
    needs=(_SCIPY, _NUMBA),
    citations=("uffelmann2021", "wakefield2009"),
    submetrics=(
        _higher(
            "effect_correlation_ratio",
            "GWAS effects, × real",
            "GWAS effect r over its mean in several panels of training people, as many as the "
            "cohort has.",
            min_effect=0.03,
            headline=True,
        ),
        _higher(
            "effect_correlation",
            "GWAS effect r",
            "Pearson correlation over sites of effects (slopes per standard deviation of dosage, "
            "given principal components) in the cohort and in held-out people, where no noise is "
            "added; mean over polygenic traits. A trait's own causal sites are left out; a site "
            "that is fixed in the cohort has effect 0.",
            min_effect=0.01,
        ),
        _closer(
            "calibration",
            "GWAS effect slope",
            "Slope through the origin of the cohort's effects on held-out people's, over each "
            "causal site's best tag among training people (r² ≥ 0.8); below 1 for real people, "
            "too, since held-out people's effects have their sampling error.",
            ideal=1.0,
            min_effect=0.03,
        ),
        _higher(
            "power",
            "GWAS power",
            "Share of causal sites whose best tag (r² ≥ 0.8 among training people) is significant "
            "in the cohort at the false-positive rate (1 in 1,000).",
            min_effect=0.02,
        ),
        _higher(
            "power_ratio",
            "GWAS power, × real",
            "GWAS power over its mean in as large panels of training people.",
            min_effect=0.05,
        ),
        _higher(
            "replication",
            "Lead sites that tag",
            "Share of traits whose lead site (the most significant one that isn't causal) has "
            "r² ≥ 0.8 among training people with a causal site.",
            min_effect=0.05,
        ),
        _closer(
            "type_one_error_05",
            "Type I error at 5 %",
            "Share of tests of traits without causal sites with p < 0.05. Least squares with "
            "normal noise errs as often as it says whatever the genotypes, so this checks the "
            "study, and no cohort should differ. Wilson's interval, of as many independent tests "
            "as explain how traits differ.",
            ideal=0.05,
            min_effect=0.005,
        ),
        _closer(
            "type_one_error_001",
            "Type I error at 0.1 %",
            "The same with p < 0.001.",
            ideal=0.001,
            min_effect=0.0005,
        ),
        _closer(
            "inflation",
            "Genomic inflation λ",
            "Median over sites and traits without causal sites of the squared statistic, over its "
            "expectation.",
            ideal=1.0,
            min_effect=0.05,
        ),
        _closer(
            "stratified_inflation",
            "λ under stratification",
            "The same of traits that have another mean in each of the cohort's superpopulations "
            "(a fifth of their variance): whether the cohort's own components correct for it as "
            "real people's do. In one region they don't wholly.",
            ideal=1.0,
            min_effect=0.1,
        ),
        _closer(
            "credible_coverage",
            "95 % sets with the causal site",
            "Share of traits of one causal site whose 95 % credible set, of all sites by "
            "Wakefield's approximate Bayes factors, holds it.",
            ideal=0.95,
            min_effect=0.03,
        ),
        SubmetricSpec(
            "credible_size",
            "Sites in 95 % sets",
            "Median number of sites in those credible sets.",
            "info",
        ),
        _closer(
            "credible_size_ratio",
            "Sites in 95 % sets, × real",
            "Geometric mean size of those credible sets over that in as large panels of training "
            "people. Below 1 LD is lacking: fine-mapping looks easier than it is.",
            ideal=1.0,
            min_effect=0.1,
        ),
        _higher(
            "case_control_correlation",
            "Case/control effect r",
            "As GWAS effect r, of the statistics (log odds over standard error) of logistic "
            "regression; cases are those whose polygenic trait exceeds what a share of 0.3 of real "
            "people exceeds. Over up to 1,000 sites.",
            min_effect=0.03,
        ),
        _closer(
            "case_control_type_one_error",
            "Case/control type I error",
            "Share of Wald tests of logistic regression on case/control traits without causal "
            "sites with p < 0.05; below it where people are few.",
            ideal=0.05,
            min_effect=0.01,
        ),
    ),
    figures=(
        FigureSpec(
            "gwas-effects",
            "GWAS effects, real and synthetic",
            "Effects at the best tags of causal sites, per standard deviation of dosage: among "
            "held-out people without noise, and in each synthetic cohort (first seed, first draw) "
            "with noise. Sampling alone spreads the points about the diagonal; without LD they lie "
            "on the horizontal.",
            "haplobench_utility.figures:draw_effects",
        ),
    ),
)

POLYGENIC_SCORES = MetricSpec(
    name="polygenic-scores",
    version="1",
    target="haplobench_utility.scores:polygenic_scores",
    summary=(
        "Whether scores whose weights were learned on the cohort work for real people. Traits as "
        "of `gwas`; weights are ridge regression's on all sites (best linear unbiased prediction), "
        "tested against held-out people's genetic values. As many real people set the measure."
    ),
    family="utility",
    phased=False,
    params=ScoreParams,
    needs=(_SCIPY, _NUMBA),
    citations=("martin2019",),
    submetrics=(
        _higher(
            "r2_ratio",
            "Score r², × real",
            "Score r² over its mean with weights from several panels of training people, as many "
            "as the cohort has.",
            min_effect=0.03,
            headline=True,
        ),
        _higher(
            "r2",
            "Score r²",
            "Partial r² of score and genetic value over held-out people, given their "
            "superpopulation, negative where the score points the wrong way; mean over traits. "
            "Learned from traits with noise, tested against genetic values without it.",
            min_effect=0.01,
        ),
        _higher(
            "r2_by_superpopulation",
            "Score r² by superpopulation",
            "The same within each superpopulation of 10 held-out people or more.",
            min_effect=0.02,
        ),
        _higher(
            "r2_ratio_by_superpopulation",
            "Score r² by superpopulation, × real",
            "That over its mean with weights from as large panels of training people.",
            min_effect=0.05,
        ),
        SubmetricSpec(
            "portability",
            "Score portability",
            "Mean r² in the other superpopulations over mean r² in the one whose people the "
            "weights were learned on, over superpopulations of 20 people or more in the cohort.",
            "info",
        ),
        _closer(
            "portability_ratio",
            "Score portability, × real",
            "That over the same of as large panels of training people.",
            ideal=1.0,
            min_effect=0.05,
        ),
    ),
    figures=(
        FigureSpec(
            "score-accuracy",
            "Accuracy of polygenic scores",
            "r² of scores and held-out people's genetic values, with weights from each synthetic "
            "cohort (points, mean of its draws) and from as many real people (ticks): over "
            "everybody given their superpopulation, and within each.",
            "haplobench_utility.figures:draw_accuracy",
        ),
    ),
)

SPECS: tuple[MetricSpec, ...] = (IMPUTATION, AUGMENTATION, GWAS, POLYGENIC_SCORES)
