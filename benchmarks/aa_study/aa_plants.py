"""Planted regressions: generators that behave like another one, made worse by a known amount.

- `plant-noise`: a Li-Stephens mosaic whose alleles are shuffled among haplotypes, site by site,
  with a given probability: allele frequencies stay, and r² falls by a known factor.
- `plant-leak`: a Markov chain where a share of the people are training people. (Not a Li-Stephens
  mosaic: in so short a region four in ten of its haplotypes are training haplotypes anyway.)
- `plant-slow`: a Markov chain that spends a given factor of its processor time.
- `plant-chain`: the tutorial's first-order chain; its `forgets` is the share by which each
  threshold is moved to the site's own frequency (1: no LD is left, its RMSE by distance goes from
  .202 to .266), its `shift` what is added to each threshold (.15: too many alternate alleles).
"""

from __future__ import annotations

from pydantic import Field

from haplobench import GeneratorSpec, Params, hookimpl
from haplobench_baselines import LiStephensParams, MarkovParams


class NoiseParams(LiStephensParams):
    """`fall`: share by which r² falls in expectation."""

    fall: float = Field(default=0.1, ge=0, lt=1)


class LeakParams(MarkovParams):
    """`share`: of synthetic people that are training people."""

    share: float = Field(default=0.05, ge=0, le=1)


class SlowParams(MarkovParams):
    """`factor`: of the processor time that the model itself takes."""

    factor: float = Field(default=1.3, ge=1)


class ChainParams(Params):
    """`forgets`: share of the allele before that is left out; `shift`: of every threshold."""

    pseudocount: float = 0.5
    forgets: float = Field(default=0.0, ge=0, le=1)
    shift: float = 0.0


@hookimpl
def haplobench_generators() -> list[GeneratorSpec]:
    """The plants."""
    return [
        _spec("noise", NoiseParams, "Li-Stephens mosaic with shuffled alleles."),
        _spec("leak", LeakParams, "Markov chain among which training people hide."),
        _spec("slow", SlowParams, "Markov chain that takes longer than it needs."),
        _spec("chain", ChainParams, "First-order Markov chain along the sites."),
    ]


def _spec(name: str, params: type[Params], summary: str) -> GeneratorSpec:
    return GeneratorSpec(
        name=f"plant-{name}",
        version="1",
        target=f"aa_plants_models:{name.capitalize()}",
        summary=summary,
        params=params,
        conditional=name == "noise",
    )
