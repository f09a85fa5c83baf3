"""Metrics of ancestry, demography, selection, rare variants and tables of a user's own."""

from __future__ import annotations

from functools import partial

from pydantic import Field, field_validator

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
    version="2",
    target="haplobench_utility.ancestry:ancestry",
    summary=(
        "Whether a cohort can stand for real people where ancestry is inferred: it trains a "
        "classifier that is asked of held-out people, and is the reference panel by which admixed "
        "people's proportions and the ancestry of their stretches are told."
    ),
    family="utility",
    params=AncestryParams,
    phased=False,
    needs=(_SKLEARN, _NUMBA, _SCIPY),
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
            "haplobench_utility.figures:draw_confusion",
        ),
    ),
    citations=("alexander2011", "price2009", "li2003"),
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
            # Another genealogy has other windows, whatever made it.
            site_matched=True,
        ),
        _higher(
            f"{name}_top",
            f"{title}, top windows in common",
            f"Share of the tenth of windows with the highest {title} among held-out haplotypes "
            "that are in the cohort's highest tenth.",
            min_effect=0.1,
            site_matched=True,
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
            "haplobench_utility.figures:draw_scan",
        ),
    ),
    citations=("garud2015", "voight2006", "ferrer2014", "durbin2014"),
)


class DemographyParams(Params):
    """Parameters of `demography`.

    mutation_rate : per bp and generation; it scales sizes, and no comparison of them.
    recent, remote : generations ago between which inferred histories are compared.
    min_maf : sites of each side whose LD and kinship are measured.
    least_cm, greatest_cm, distance_bins, pairs : distances between which LD tells a size, in how
        many classes, and pairs of sites drawn for each.
    window_bp, step_bp : windows of local rates, and from one's start to the next one's.
    max_people : whose LD and kinship are measured; a seeded sample of more.
    """

    mutation_rate: float = Field(1.25e-8, gt=0)
    recent: float = Field(200, gt=0)
    remote: float = Field(20_000, gt=0)
    min_maf: float = Field(0.05, gt=0, lt=0.5)
    least_cm: float = Field(0.01, gt=0)
    greatest_cm: float = Field(2.0, gt=0)
    distance_bins: int = Field(8, ge=1, le=100)
    pairs: int = Field(3000, ge=10)
    window_bp: int = Field(20_000, ge=1)
    step_bp: int = Field(5_000, ge=1)
    max_people: int = Field(500, ge=2)


DEMOGRAPHY = MetricSpec(
    name="demography",
    version="1",
    target="haplobench_utility.demography:demography",
    summary=(
        "Whether history and structure inferred from a cohort are those inferred from real people: "
        "sizes by the site-frequency spectrum and by LD, local recombination rates, and kinship "
        "among the cohort's people. None needs common sites."
    ),
    family="utility",
    params=DemographyParams,
    site_matched=False,
    phased=False,
    needs=(_NUMBA, _SCIPY),
    submetrics=(
        _closer(
            "theta_ratio",
            "θ by the spectrum, × real",
            "Sites of the fitted frequencies (folded spectrum, projected to 40 haplotypes) over "
            "as many among held-out people: the ratio of Watterson's θ, and of the sizes that a "
            "constant population would have.",
            ideal=1.0,
            min_effect=0.02,
        ),
        _lower(
            "history_rmse",
            "Size history by the spectrum, RMSE",
            "Root mean square of log2 of the cohort's inferred size over held-out people's, 200 to "
            "20,000 generations ago: one change of size, fitted to the same spectrum by maximum "
            "multinomial likelihood.",
            unit="log2",
            min_effect=0.1,
        ),
        _closer(
            "ld_size_ratio",
            "Ne by LD, × real",
            "Geometric mean over distances c of the ratio of sizes, (1 / (mean r² - 1 / n) - 1) "
            "/ 4c, in the cohort and among held-out people, as far as their r² is twice the 1 / n "
            "that chance gives.",
            ideal=1.0,
            min_effect=0.02,
            headline=True,
        ),
        _lower(
            "ld_size_rmse",
            "Ne by LD along time, RMSE",
            "Root mean square of log2 of the same ratios.",
            unit="log2",
            min_effect=0.05,
        ),
        _higher(
            "rate_rank",
            "Recombination rates, rank r",
            "Spearman correlation over windows of 20 kb between the rates (4 Ne r) that LD tells "
            "in the cohort and among held-out people.",
            min_effect=0.03,
        ),
        _higher(
            "rate_map_rank",
            "Recombination rates against the map, rank r",
            "The same between the cohort's rates and the recombination map's.",
            min_effect=0.03,
        ),
        _closer(
            "related_difference",
            "Pairs that look related, difference",
            "Pairs of the cohort's people with a KING-robust kinship of the second degree or "
            "closer (.088), a thousand pairs, less those of held-out people; in a short region "
            "strangers reach it, too.",
            ideal=0.0,
            unit="‰",
            min_effect=1.0,
        ),
        _lower(
            "kinship_wasserstein",
            "Kinship among the cohort, Wasserstein",
            "Wasserstein-1 distance between the kinship of all pairs of the cohort and of "
            "held-out people, -.5 at least.",
            min_effect=0.005,
        ),
        _closer(
            "inbreeding_difference",
            "Inbreeding, difference",
            "1 less heterozygous over expected genotypes (at the cohort's own frequencies), of "
            "the cohort less of held-out people: below 0 where populations are pooled.",
            ideal=0.0,
            min_effect=0.005,
        ),
    ),
    figures=(
        FigureSpec(
            "size-by-ld",
            "Effective size by LD",
            "Effective size that LD at each distance c tells, of some 1 / 2c generations ago: "
            "cohorts (colour, mean over draws) and held-out people (dashed).",
            "haplobench_utility.figures:draw_sizes",
        ),
    ),
    citations=("polanski2003", "sved1971", "hill1988", "hayes2003", "manichaikul2010"),
)


class RareVariantsParams(Params):
    """Parameters of `rare-variants`.

    max_maf : sites below it among the training people are rare.
    min_people : people that a label must have on both sides.
    least_sites : of held-out people that a ratio or a distance is made of.
    """

    max_maf: float = Field(0.05, gt=0, le=0.5)
    min_people: int = Field(5, ge=1)
    least_sites: int = Field(10, ge=1)


RARE_VARIANTS = MetricSpec(
    name="rare-variants",
    version="1",
    target="haplobench_utility.rare_variants:rare_variants",
    summary=(
        "Whether rare alleles are as many, in as many people, and shared as closely within "
        "populations as real ones: what studies of rare variants rest on. Of held-out people as "
        "many are compared; rarer is the allele that is among the training people."
    ),
    family="utility",
    params=RareVariantsParams,
    phased=False,
    sites="all",
    needs=(_SCIPY,),
    submetrics=(
        _closer(
            "singletons_ratio",
            "Singletons, × real",
            "Sites at which the cohort has one copy of the rarer allele, over those among as many "
            "held-out people.",
            ideal=1.0,
            min_effect=0.02,
        ),
        _closer(
            "doubletons_ratio",
            "Doubletons, × real",
            "The same of two copies.",
            ideal=1.0,
            min_effect=0.02,
        ),
        _closer(
            "carried_ratio",
            "Rare alleles carried, × real",
            "Mean number of sites with a MAF below 5 % among the training people at which a "
            "person of the cohort carries the rarer allele, over held-out people's.",
            ideal=1.0,
            min_effect=0.02,
        ),
        _lower(
            "carried_wasserstein",
            "Rare alleles carried, Wasserstein",
            "Wasserstein-1 distance between the numbers carried by people of the cohort and by "
            "held-out people, over the latter's mean.",
            min_effect=0.02,
        ),
        _higher(
            "recall",
            "Rare alleles found",
            "Share of the rare alleles that held-out people carry which somebody in the cohort "
            "carries, too.",
            min_effect=0.01,
        ),
        _lower(
            "sharing_distance",
            "Doubletons' sharing, distance",
            "Total variation distance between the cohort's and held-out people's doubletons by "
            "the labels of the two people who share one (f2 sharing): superpopulations, or "
            "populations where there is one superpopulation.",
            min_effect=0.02,
        ),
        _closer(
            "sharing_within_difference",
            "Doubletons shared within a label, difference",
            "Share of doubletons whose two carriers have one label, of the cohort less of "
            "held-out people.",
            ideal=0.0,
            min_effect=0.02,
        ),
        _closer(
            "private_ratio",
            "Private alleles, × real",
            "Sites whose rarer allele people of one label carry and nobody of another does, over "
            "those among held-out people; as many people of each label on both sides.",
            ideal=1.0,
            min_effect=0.05,
        ),
    ),
    citations=("mathieson2014",),
)


class UserTableParams(Params):
    """Parameters of `user-table`.

    table : path of a table of scores or haplotypes, TSV or CSV; of the folder in which `bench` is
        started, if it is relative. Without one there is nothing to measure.
    """

    table: str = Field("", max_length=4096)

    @field_validator("table")
    @classmethod
    def _readable(cls, table: str) -> str:
        """Refuse a table that can't be read, before anything runs."""
        if table:
            from haplobench import FormatError
            from haplobench.files import expand_path
            from haplobench_utility.score_tables import read_table

            try:
                read_table(expand_path(table))
            except FormatError as error:
                raise ValueError(str(error)) from None
        return table

    def fingerprint(self) -> str:
        """Of the table's content."""
        from haplobench.files import expand_path, file_digest

        return file_digest(expand_path(self.table)) if self.table else ""


USER_TABLE = MetricSpec(
    name="user-table",
    version="1",
    target="haplobench_utility.user_tables:user_table",
    summary=(
        "Whether a cohort has what a table of your own asks for, a score of weighted alleles or "
        "haplotypes of a gene by their alleles, in as many people as real ones. A suite names the "
        "table; without one there is nothing to measure."
    ),
    family="utility",
    params=UserTableParams,
    phased=False,
    sites="all",
    needs=(_SCIPY,),
    submetrics=(
        _closer(
            "score_mean_difference",
            "Score, difference of means",
            "Mean score of the cohort's people less held-out people's, over the latter's standard "
            "deviation; a score is the sum of weights times copies of the alleles.",
            unit="SD",
            ideal=0.0,
            min_effect=0.05,
        ),
        _closer(
            "score_sd_ratio",
            "Score, SD × real",
            "Standard deviation of the cohort's scores over held-out people's.",
            ideal=1.0,
            min_effect=0.05,
        ),
        _lower(
            "score_wasserstein",
            "Score, Wasserstein",
            "Wasserstein-1 distance between the scores of the cohort and of held-out people, over "
            "the latter's standard deviation.",
            unit="SD",
            min_effect=0.05,
        ),
        _lower(
            "score_wasserstein_superpopulation",
            "Score by superpopulation, Wasserstein",
            "The same among people of one superpopulation, over the standard deviation of all "
            "held-out people.",
            unit="SD",
            min_effect=0.05,
        ),
        _lower(
            "haplotype_rmse",
            "Haplotypes of a locus, RMSE",
            "Root mean square difference of the frequencies of a locus' haplotypes and of all "
            "others together, cohort against held-out people.",
            min_effect=0.01,
        ),
        _lower(
            "haplotype_distance",
            "Haplotypes of a locus, distance",
            "Total variation distance between the same frequencies.",
            min_effect=0.01,
        ),
        _closer(
            "carrier_difference",
            "Carriers of a haplotype, difference",
            "Share of the cohort's people with one copy or more less that of held-out people.",
            ideal=0.0,
            min_effect=0.02,
        ),
        _closer(
            "carrier_difference_superpopulation",
            "Carriers by superpopulation, difference",
            "The same among people of one superpopulation.",
            ideal=0.0,
            min_effect=0.02,
        ),
        _lower(
            "phenotype_distance",
            "Phenotypes of a locus, distance",
            "Total variation distance between the phenotypes of the cohort's and of held-out "
            "people: the sum of the weights of a person's haplotypes (0 for one that isn't in the "
            "table), or without weights which haplotypes they are.",
            min_effect=0.02,
        ),
        _lower(
            "phenotype_distance_superpopulation",
            "Phenotypes by superpopulation, distance",
            "The same among people of one superpopulation.",
            min_effect=0.02,
        ),
    ),
)

SPECS: tuple[MetricSpec, ...] = (ANCESTRY, SELECTION_SCAN, DEMOGRAPHY, RARE_VARIANTS, USER_TABLE)
