"""One population of constant size with the panel's diversity and recombination map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msprime

from haplobench import Panel, PluginError, RunContext, SampleRequest
from haplobench.panel import synthetic_names
from haplobench_coalescent.diversity import estimate
from haplobench_coalescent.simulation import Region, simulate
from haplobench_coalescent.specs import MsprimeParams
from haplobench_coalescent.storage import load_state, region_of, save_state

_NAME = "msprime"


@dataclass(frozen=True, eq=False)
class FittedConstantSize:
    """Region, effective size (diploid people), mutation rate per bp and generation, model."""

    region: Region
    ne: float
    mutation_rate: float
    model: str

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[Panel]:
        """Yield one panel: another `request.start` gives people of another simulation."""
        n_people = -(-request.n_haplotypes // self.region.ploidy)
        # One population of diploids, even where the panel keeps one haplotype of each.
        simulated = simulate(
            self.region,
            [msprime.SampleSet(n_people, ploidy=self.region.ploidy)],
            msprime.Demography.isolated_model([self.ne]),
            self.mutation_rate,
            ctx,
            start=request.start,
            model=_ancestry_model(self.model),
        )
        yield simulated.panel(self.region, samples=synthetic_names(n_people))

    def save(self, directory: Path) -> None:
        """Write the parameters and the map."""
        save_state(
            directory,
            _NAME,
            self.region,
            ne=self.ne,
            mutation_rate=self.mutation_rate,
            model=self.model,
        )


class ConstantSize:
    """The standard neutral coalescent with recombination, simulated by msprime."""

    def fit(self, train: Panel, params: MsprimeParams, ctx: RunContext) -> FittedConstantSize:
        """Estimate Ne = theta / (4 mu L) from the panel's diversity.

        Raises PluginError if no site is polymorphic and `ne` isn't given.
        """
        region = region_of(train, ctx, name=_NAME, cm_per_mb=params.cm_per_mb)
        ne = params.ne
        if ne is None:
            min_maf = ctx.min_maf if params.min_maf is None else params.min_maf
            diversity = estimate(train, min_maf, params.estimator)
            ne = diversity.effective_size(params.mutation_rate)
            ctx.log.info(
                "%s: Ne %.0f, theta %.3g per bp from %d sites with %d or more minor alleles (%s)",
                _NAME,
                ne,
                diversity.theta / diversity.span,
                diversity.n_sites,
                diversity.least_count,
                params.estimator,
            )
        return FittedConstantSize(region, ne, params.mutation_rate, params.model)

    def load(self, directory: Path, ctx: RunContext) -> FittedConstantSize:
        """Read what `save` wrote."""
        region, facts = load_state(directory, _NAME)
        return FittedConstantSize(region, **facts)


def _ancestry_model(name: str) -> Any:
    """The ancestry model of that name, as msprime takes it."""
    if name == "hudson":
        return name
    if not hasattr(msprime, "SMCK"):
        raise PluginError(
            f"model {name} needs msprime 1.4, found {msprime.__version__}",
            hint="pip install -U msprime, or set model: hudson",
        )
    return msprime.SMCK(1)
