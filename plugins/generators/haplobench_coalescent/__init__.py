"""Coalescent simulators: people of a demography, at sites of their own.

The coalescent generators and their parameters, light to import.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from haplobench import Binary, GeneratorSpec, Module, Params, hookimpl
from haplobench.plugin import Need

_MODULE = Module("msprime", "haplobench[coalescent]")
SLIM = Binary("slim", "SLiM 4 or later: https://messerlab.org/slim")
_CATALOGUE = "haplobench_coalescent.catalogue:Catalogue"


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
    `engine`: `msprime`, the coalescent; or `slim`, every generation forward in time by the program
    SLiM, which must be on PATH, and is slow where populations are large (see `scaling_factor`).
    Mutations are neutral, and put onto the trees afterwards, in either case.
    `scaling_factor`: what SLiM divides population sizes and times by, and multiplies rates by:
    with 10, a tenth of the people live for a tenth of the generations. Above 1 it is an
    approximation, which changes LD and rare variants.
    `burn_in`: for how long SLiM runs before the history begins, as a multiple of the first
    population's size, in generations. Lineages that are older are traced by msprime.
    """

    species: str = "HomSap"
    model: str = "OutOfAfrica_3G09"
    populations: dict[str, str] = Field(default_factory=dict)
    population: str = "CEU"
    mutation_rate: float | None = Field(default=None, gt=0, lt=1)
    engine: Literal["msprime", "slim"] = "msprime"
    scaling_factor: float = Field(default=1, ge=1)
    burn_in: float = Field(default=10, ge=0)

    @model_validator(mode="after")
    def _forward_only(self) -> Self:
        for name in ("scaling_factor", "burn_in"):
            value, default = getattr(self, name), type(self).model_fields[name].default
            if self.engine != "slim" and value != default:
                raise ValueError(f"{name}: {value:g} is SLiM's; expected none without engine: slim")
        return self

    def needed(self) -> tuple[Need, ...]:
        """SLiM, where it is the engine."""
        return (SLIM,) if self.engine == "slim" else ()

    def fingerprint(self) -> str:
        """Of SLiM's program, beside the code; empty without."""
        from haplobench.runner.fingerprints import plugin_code

        needs = self.needed()
        return plugin_code(_CATALOGUE, needs).digest if needs else ""


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
        target=_CATALOGUE,
        summary=(
            "Coalescent simulation (or SLiM's, forward in time) of a published demography, "
            "population by population, with the panel's recombination map; learns nothing from "
            "the training people."
        ),
        params=StdpopsimParams,
        needs=(_MODULE, Module("stdpopsim", "haplobench[coalescent]")),
        site_matched=False,
        conditional=True,
        citations=(
            "adrion2020",
            "lauterbur2023",
            "gutenkunst2009",
            "baumdicker2022",
            "haller2019",
        ),
    ),
)


@hookimpl
def haplobench_generators() -> list[GeneratorSpec]:
    """The coalescent generators."""
    return list(SPECS)
