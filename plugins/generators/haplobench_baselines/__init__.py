"""Baseline generators: what a model must beat, and what it must not become.

The baseline generators and their parameters, light to import.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from haplobench import GeneratorSpec, Params, hookimpl


class MarkovParams(Params):
    """Parameters of the Markov chain.

    `order`: sites of context on the left. The table takes `2 * n_sites * 2**order` bytes.
    `smoothing`: pseudo-haplotypes that the context one site shorter is worth. With 0 a
    context gives its raw shares, and only one never seen falls back on a shorter one.
    """

    order: int = Field(default=8, ge=1, le=16)
    smoothing: float = Field(default=0.5, ge=0)


class LiStephensParams(Params):
    """Parameters of the Li-Stephens mosaic.

    `ne`: effective population size, which scales the recombination map; or `fitted`: the one that
    makes training haplotypes likeliest as mosaics of the others.
    `theta`: scaled mutation rate per site; None: Li and Stephens' estimate from the number of
    haplotypes copied from. 0: no mutation. `fitted`: likeliest, as `ne`.
    `within`: whom a haplotype may copy: training people of its own superpopulation (some
    hundred haplotypes at least, so that its rates are those of a reference panel), of its own
    population, or everyone.
    `cm_per_mb`: recombination rate where the dataset has no map, cM/Mb; None: estimated from the
    training haplotypes.
    """

    ne: Annotated[float, Field(gt=0)] | Literal["fitted"] = 10_000.0
    theta: Annotated[float, Field(ge=0)] | Literal["fitted"] | None = None
    within: Literal["population", "superpopulation", "all"] = "superpopulation"
    cm_per_mb: float | None = Field(default=None, ge=0)


SPECS = (
    GeneratorSpec(
        name="independent",
        version="1",
        target="haplobench_baselines.controls:Independent",
        summary="Every site drawn on its own at its training frequency, populations pooled.",
        control="no LD: exposes metrics that only see single sites",
    ),
    GeneratorSpec(
        name="copycat",
        version="1",
        target="haplobench_baselines.controls:Copycat",
        summary="Training people of the populations asked for, returned as synthetic.",
        conditional=True,
        control="training people returned as synthetic: perfect fidelity, total leak",
        leaks=True,
    ),
    GeneratorSpec(
        name="markov",
        version="1",
        target="haplobench_baselines.markov:Markov",
        summary=(
            "Markov chain along the sites, each with its own transition probabilities, smoothed "
            "towards shorter contexts; populations pooled."
        ),
        params=MarkovParams,
        citations=("mackay1995",),
    ),
    GeneratorSpec(
        name="li-stephens",
        version="2",
        target="haplobench_baselines.li_stephens:LiStephens",
        summary=(
            "Mosaics of training haplotypes: switches follow the recombination map, with rare "
            "mutations (Li and Stephens' copying model)."
        ),
        params=LiStephensParams,
        conditional=True,
        citations=("li2003",),
    ),
)


@hookimpl
def haplobench_generators() -> list[GeneratorSpec]:
    """All baselines: the two controls, then the two models."""
    return list(SPECS)
