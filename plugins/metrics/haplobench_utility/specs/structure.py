"""Metrics of ancestry, demography, selection, rare variants and tables of a user's own."""

from __future__ import annotations

from functools import partial

from pydantic import Field

from haplobench import FigureSpec, MetricSpec, Module, Params, SubmetricSpec

_lower = partial(SubmetricSpec, direction="lower", ideal=0.0)
_higher = partial(SubmetricSpec, direction="higher", ideal=1.0)
_closer = partial(SubmetricSpec, direction="closer")
_info = partial(SubmetricSpec, direction="info")

_NUMBA = Module("numba", "haplobench[metrics]")
_SCIPY = Module("scipy", "haplobench[metrics]")
_SKLEARN = Module("sklearn", "haplobench[metrics]")


class AncestryParams(Params):
    """Parameters of `ancestry`.

    components : principal components that the classifier sees; of few people a quarter as many.
    min_people : people that a label must have among the training and among the held-out people.
    real_draws : panels of real people that the synthetic cohort's accuracy is divided by.
    admixed_people : made of held-out haplotypes, for proportions and local ancestry.
    generations : since their ancestors mixed; null: three changes of ancestry on a haplotype.
    references : haplotypes of each label that local ancestry is painted with, at most.
    painted_sites : sites that local ancestry is painted at, evenly chosen from more.
    """

    components: int = Field(50, ge=1, le=500)
    min_people: int = Field(5, ge=2)
    real_draws: int = Field(6, ge=1, le=100)
    admixed_people: int = Field(20, ge=1, le=10_000)
    generations: float | None = Field(None, gt=0)
    references: int = Field(200, ge=1)
    painted_sites: int = Field(2500, ge=2)


ANCESTRY = MetricSpec(
    name="ancestry",
    version="1",
    target="haplobench_utility.ancestry:ancestry",
    summary=(
        "Whether a cohort can stand for real people where ancestry is inferred: it trains a "
        "classifier that is asked of held-out people, and is the reference panel by which admixed "
        "people's proportions and the ancestry of their stretches are told."
    ),
    family="utility",
    params=AncestryParams,
    phased=False,
    needs=(_SKLEARN, _NUMBA),
    submetrics=(
        _higher(
            "accuracy_ratio",
            "Ancestry trained on it, × real",
            "Balanced accuracy of superpopulations called for held-out people by a classifier "
            "trained on the cohort, over the mean of the same trained on as many training people. "
            "A cohort without two labels trains none: for it stands one in the number of labels, "
            "what guessing gives.",
            min_effect=0.02,
            headline=True,
        ),
        _higher(
            "accuracy",
            "Ancestry trained on it, accuracy",
            "Mean over superpopulations of the share of held-out people who are called right by a "
            "linear discriminant of the cohort's principal components, trained on the cohort.",
            min_effect=0.02,
        ),
        _info(
            "accuracy_real",
            "Ancestry trained on real, accuracy",
            "The same of classifiers trained on as many training people, mean over draws.",
        ),
        _higher(
            "recall",
            "Ancestry trained on it, by superpopulation",
            "Share of the held-out people of one superpopulation who are called right.",
            min_effect=0.05,
        ),
        _closer(
            "reverse_difference",
            "Ancestry trained on real, difference",
            "Balanced accuracy of the cohort's own labels by a classifier trained on the held-out "
            "people, less that of the training people's. Above 0 the cohort's populations are "
            "further apart than real ones, below they run together.",
            ideal=0.0,
            min_effect=0.02,
        ),
        _higher(
            "population_accuracy_ratio",
            "Populations trained on it, × real",
            "As the ratio of superpopulations, of populations.",
            min_effect=0.05,
        ),
        _lower(
            "proportions_rmse",
            "Admixture proportions, RMSE",
            "Root mean square error of the proportions of admixed people, made of held-out "
            "haplotypes, by the cohort's allele frequencies (maximum likelihood, sites taken as "
            "independent).",
            min_effect=0.005,
        ),
        _higher(
            "local_accuracy",
            "Local ancestry, accuracy",
            "Share of the sites of the same people's haplotypes whose superpopulation is the most "
            "probable one by a copying model with the cohort as reference; mean over "
            "superpopulations.",
            min_effect=0.01,
        ),
        _higher(
            "local_recall",
            "Local ancestry, by superpopulation",
            "The share among sites of one superpopulation.",
            min_effect=0.02,
        ),
    ),
    figures=(
        FigureSpec(
            "ancestry-confusion",
            "Ancestry called by a classifier trained on each cohort",
            "Held-out people of each superpopulation (rows) by what a classifier trained on the "
            "cohort calls them (columns), in percent of the row; floor: trained on real people.",
            "haplobench_utility.structure_figures:draw_confusion",
        ),
    ),
    citations=(
        "Alexander and Lange 2011, doi:10.1186/1471-2105-12-246 (ADMIXTURE, supervised)",
        "Price et al. 2009, doi:10.1371/journal.pgen.1000519 (HAPMIX)",
        "Li and Stephens 2003, doi:10.1093/genetics/165.4.2213",
    ),
)


class SelectionScanParams(Params):
    """Parameters of `selection-scan`.

    window_bp, step_bp : length of the windows, and from one's start to the next one's.
    min_maf : sites of each side that are scanned; both sides' own, so that sites may differ.
    max_haplotypes : of each side; a seeded sample of more.
    top : share of the windows that are taken for a scan's findings.
    """

    window_bp: int = Field(20_000, ge=1)
    step_bp: int = Field(5_000, ge=1)
    min_maf: float = Field(0.05, gt=0, lt=0.5)
    max_haplotypes: int = Field(400, ge=4)
    top: float = Field(0.1, gt=0, lt=1)


def _scan(name: str, title: str, what: str, headline: bool = False) -> tuple[SubmetricSpec, ...]:
    return (
        _higher(
            f"{name}_rank",
            f"{title} along the region, rank r",
            f"Spearman correlation over windows between {what} in the cohort and in as many "
            "held-out haplotypes. 0 where all windows of the cohort are alike.",
            min_effect=0.03,
            headline=headline,
        ),
        _higher(
            f"{name}_top",
            f"{title}, top windows in common",
            f"Share of the tenth of windows with the highest {title} among held-out haplotypes "
            "that are in the cohort's highest tenth.",
            min_effect=0.1,
        ),
    )


SELECTION_SCAN = MetricSpec(
    name="selection-scan",
    version="1",
    target="haplobench_utility.selection:selection_scan",
    summary=(
        "Whether a scan for selection on the cohort points to the windows that it points to among "
        "real haplotypes: long haplotypes at high frequency (H12), and alleles whose carriers "
        "share more than others' do (iHS, nSL)."
    ),
    family="utility",
    params=SelectionScanParams,
    site_matched=False,
    needs=(_NUMBA, _SCIPY),
    submetrics=(
        *_scan("h12", "H12", "H12 of sites with a MAF of 5 % or more", headline=True),
        *_scan("ihs", "|iHS|", "mean |iHS|, standardised among sites of like frequency,"),
        *_scan("nsl", "|nSL|", "mean |nSL|, standardised among sites of like frequency,"),
    ),
    figures=(
        FigureSpec(
            "selection-scan",
            "H12 along the region",
            "H12 of each window of 20 kb, cohorts (colour, first draw of the first seed) over "
            "held-out haplotypes (grey): peaks are where few haplotypes are common.",
            "haplobench_utility.structure_figures:draw_scan",
        ),
    ),
    citations=(
        "Garud et al. 2015, doi:10.1371/journal.pgen.1005004 (H12)",
        "Voight et al. 2006, doi:10.1371/journal.pbio.0040072 (iHS)",
        "Ferrer-Admetlla et al. 2014, doi:10.1093/molbev/msu077 (nSL)",
        "Durbin 2014, doi:10.1093/bioinformatics/btu014 (positional Burrows-Wheeler transform)",
    ),
)

SPECS: tuple[MetricSpec, ...] = (ANCESTRY, SELECTION_SCAN)
