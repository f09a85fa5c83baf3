"""Metrics of association studies and polygenic scores: descriptions and parameters."""

from __future__ import annotations

from functools import partial

from pydantic import Field

from haplobench import FigureSpec, MetricSpec, Module, Params, SubmetricSpec

_higher = partial(SubmetricSpec, direction="higher", ideal=1.0)
_closer = partial(SubmetricSpec, direction="closer")
_NEEDS = (Module("scipy", "haplobench[metrics]"), Module("numba", "haplobench[metrics]"))


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
    needs=_NEEDS,
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
            "haplobench_utility.association_figures:draw_effects",
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
    needs=_NEEDS,
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
            "haplobench_utility.association_figures:draw_accuracy",
        ),
    ),
)

SPECS: tuple[MetricSpec, ...] = (GWAS, POLYGENIC_SCORES)
