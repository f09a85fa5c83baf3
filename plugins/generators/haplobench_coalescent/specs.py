"""The coalescent generators and their parameters, light to import."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from haplobench import GeneratorSpec, Module, Params

_MODULE = Module("msprime", "haplobench[coalescent]")


class MsprimeParams(Params):
    """Parameters of the coalescent of one population, or of several.

    `ne`: effective size, diploid; None: from the training panel's diversity.
    `estimator`: what the diversity is taken from: `pi` (mean pairwise difference) or
    `segregating-sites` (Watterson's); both account for the sites left out as too rare.
    `min_maf`: MAF below which sites were left out; None: the dataset's filter. Where the
    rarest site of the panel is commoner still, its MAF counts.
    `mutation_rate`: per bp and generation.
    `model`: the coalescent with recombination (`hudson`), or its sequentially Markov
    approximation SMC(1), which is SMC' (`smc_k`), faster over long regions.
    `cm_per_mb`: recombination rate where the dataset has no map, cM/Mb.
    `demography`: one population of `constant` size, or populations `fitted` to allele frequencies
    (`ne` and `estimator` then say nothing), which `demography.yaml` among the artifacts has in the
    Demes format: three epochs of one population, or a tree of several.
    `within`: whose labels make a population of a fitted demography: superpopulations (populations,
    where there are none), populations, or none (`all` people are one). More than eight, the most
    similar are joined.
    `gene_conversion_rate`: tracts that begin, per bp and generation, in addition to the map.
    `gene_conversion_tract`: their mean length, bp.
    """

    ne: float | None = Field(default=None, gt=0)
    estimator: Literal["pi", "segregating-sites"] = "pi"
    min_maf: float | None = Field(default=None, ge=0, le=0.5)
    mutation_rate: float = Field(default=1.25e-8, gt=0, lt=1)
    model: Literal["hudson", "smc_k"] = "hudson"
    cm_per_mb: float = Field(default=1.0, ge=0)
    demography: Literal["constant", "fitted"] = "constant"
    within: Literal["population", "superpopulation", "all"] = "superpopulation"
    gene_conversion_rate: float = Field(default=0, ge=0, lt=1)
    gene_conversion_tract: float = Field(default=300, ge=1)

    @model_validator(mode="after")
    def _one_size_or_fitted(self) -> Self:
        if self.demography == "fitted" and self.ne is not None:
            raise ValueError(
                f"ne: {self.ne:g} is a constant size; expected none with demography: fitted"
            )
        if self.gene_conversion_rate and self.model != "hudson":
            raise ValueError(
                f"gene_conversion_rate: model {self.model} has no gene conversion in msprime; "
                "expected 0, or model: hudson"
            )
        return self

    def needed(self) -> tuple[Module, ...]:
        """moments, for a fitted demography."""
        if self.demography == "constant":
            return ()
        return (
            Module("moments", "haplobench[coalescent]"),
            Module("scipy", "haplobench[coalescent]"),
        )


class StdpopsimParams(Params):
    """Parameters of the catalogue's demographies.

    `species`, `model`: stdpopsim's identifiers.
    `populations`: model population for a population or superpopulation label of the panel,
    where the built-in choice for the 1000 Genomes Project's labels doesn't do.
    `population`: label taken for people who have none.
    `mutation_rate`: per bp and generation; None: the rate the model was inferred with.
    """

    species: str = "HomSap"
    model: str = "OutOfAfrica_3G09"
    populations: dict[str, str] = Field(default_factory=dict)
    population: str = "CEU"
    mutation_rate: float | None = Field(default=None, gt=0, lt=1)


SPECS = (
    GeneratorSpec(
        name="msprime",
        version="2",
        target="haplobench_coalescent.constant:Coalescent",
        summary=(
            "Coalescent simulation of one population of constant size, or of a fitted history of "
            "several, with the training panel's diversity and recombination map; its sites are its "
            "own."
        ),
        params=MsprimeParams,
        needs=(_MODULE,),
        site_matched=False,
        conditional=True,
        citations=(
            "baumdicker2022",
            "kelleher2016",
            "tajima1983",
            "watterson1975",
            "fu1995",
            "jouganous2017",
            "kamm2017",
            "gower2022",
        ),
    ),
    GeneratorSpec(
        name="stdpopsim",
        version="1",
        target="haplobench_coalescent.catalogue:Catalogue",
        summary=(
            "Coalescent simulation of a published demography, population by population, with "
            "the panel's recombination map; learns nothing from the training people."
        ),
        params=StdpopsimParams,
        needs=(_MODULE, Module("stdpopsim", "haplobench[coalescent]")),
        site_matched=False,
        conditional=True,
        citations=("adrion2020", "lauterbur2023", "gutenkunst2009", "baumdicker2022"),
    ),
)
