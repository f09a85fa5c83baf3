"""The metric that reads a table of the user's own."""

from __future__ import annotations

from pydantic import Field, field_validator

from haplobench import MetricSpec, Module, Params, SubmetricSpec


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
            from haplobench_utility.user_tables import read_table

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
    needs=(Module("scipy", "haplobench[metrics]"),),
    submetrics=(
        SubmetricSpec(
            "score_mean_difference",
            "Score, difference of means",
            "Mean score of the cohort's people less held-out people's, over the latter's standard "
            "deviation; a score is the sum of weights times copies of the alleles.",
            "closer",
            unit="SD",
            ideal=0.0,
            min_effect=0.05,
        ),
        SubmetricSpec(
            "score_sd_ratio",
            "Score, SD × real",
            "Standard deviation of the cohort's scores over held-out people's.",
            "closer",
            ideal=1.0,
            min_effect=0.05,
        ),
        SubmetricSpec(
            "score_wasserstein",
            "Score, Wasserstein",
            "Wasserstein-1 distance between the scores of the cohort and of held-out people, over "
            "the latter's standard deviation.",
            "lower",
            unit="SD",
            ideal=0.0,
            min_effect=0.05,
        ),
        SubmetricSpec(
            "score_wasserstein_superpopulation",
            "Score by superpopulation, Wasserstein",
            "The same among people of one superpopulation, over the standard deviation of all "
            "held-out people.",
            "lower",
            unit="SD",
            ideal=0.0,
            min_effect=0.05,
        ),
        SubmetricSpec(
            "haplotype_rmse",
            "Haplotypes of a locus, RMSE",
            "Root mean square difference of the frequencies of a locus' haplotypes and of all "
            "others together, cohort against held-out people.",
            "lower",
            ideal=0.0,
            min_effect=0.01,
        ),
        SubmetricSpec(
            "haplotype_distance",
            "Haplotypes of a locus, distance",
            "Total variation distance between the same frequencies.",
            "lower",
            ideal=0.0,
            min_effect=0.01,
        ),
        SubmetricSpec(
            "carrier_difference",
            "Carriers of a haplotype, difference",
            "Share of the cohort's people with one copy or more less that of held-out people.",
            "closer",
            ideal=0.0,
            min_effect=0.02,
        ),
        SubmetricSpec(
            "carrier_difference_superpopulation",
            "Carriers by superpopulation, difference",
            "The same among people of one superpopulation.",
            "closer",
            ideal=0.0,
            min_effect=0.02,
        ),
        SubmetricSpec(
            "phenotype_distance",
            "Phenotypes of a locus, distance",
            "Total variation distance between the phenotypes of the cohort's and of held-out "
            "people: the sum of the weights of a person's haplotypes (0 for one that isn't in the "
            "table), or without weights which haplotypes they are.",
            "lower",
            ideal=0.0,
            min_effect=0.02,
        ),
        SubmetricSpec(
            "phenotype_distance_superpopulation",
            "Phenotypes by superpopulation, distance",
            "The same among people of one superpopulation.",
            "lower",
            ideal=0.0,
            min_effect=0.02,
        ),
    ),
)

SPECS: tuple[MetricSpec, ...] = (USER_TABLE,)
