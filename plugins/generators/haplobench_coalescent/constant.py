"""`msprime`: one population, with the panel's diversity and recombination map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import demes
import msprime
import numpy as np

from haplobench import Panel, PluginError, RunContext, SampleRequest
from haplobench.data.formats.sites import Cohort, Variants
from haplobench.data.panel import synthetic_names
from haplobench_coalescent.simulation import Region, load_state, region_of, save_state, simulate
from haplobench_coalescent.specs import MsprimeParams

_NAME = "msprime"
Estimator = Literal["pi", "segregating-sites"]


class ConstantSize:
    """The standard neutral coalescent with recombination, simulated by msprime."""

    def fit(self, train: Panel, params: MsprimeParams, ctx: RunContext) -> FittedConstantSize:
        """Estimate Ne = theta / (4 mu L) from the panel's diversity.

        Or, where the demography is to be fitted, three epochs, written to the artifacts.

        Raises PluginError if no site is polymorphic and `ne` isn't given, or if too few are for a
        fit.
        """
        region = region_of(train, ctx, name=_NAME, cm_per_mb=params.cm_per_mb)
        ne = params.ne
        min_maf = ctx.min_maf if params.min_maf is None else params.min_maf
        if params.demography == "fitted":
            return self._fitted(train, region, min_maf, params, ctx)
        if ne is None:
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

    def _fitted(
        self, train: Panel, region: Region, min_maf: float, params: MsprimeParams, ctx: RunContext
    ) -> FittedConstantSize:
        from haplobench_coalescent.demography import three_epochs

        epochs = three_epochs(train, min_maf, params.mutation_rate, ctx.progress)
        ctx.log.info(
            "%s: sizes %s, until %s generations ago; log-likelihood %.1f (constant size: %.1f)",
            _NAME,
            " to ".join(f"{size:.0f}" for size in epochs.sizes),
            " and ".join(f"{end:.0f}" for end in epochs.ends),
            epochs.log_likelihood,
            epochs.constant,
        )
        text = epochs.demes()
        (ctx.artifacts / "demography.yaml").write_text(text)
        return FittedConstantSize(
            region, epochs.sizes[-1], params.mutation_rate, params.model, demography=text
        )

    def load(self, directory: Path, ctx: RunContext) -> FittedConstantSize:
        """Read what `save` wrote."""
        region, facts = load_state(directory, _NAME)
        return FittedConstantSize(region, **facts)


@dataclass(frozen=True, eq=False)
class FittedConstantSize:
    """Region, effective size (diploid people), mutation rate per bp and generation, model.

    `demography`: Demes YAML; empty where the size is constant, else `ne` is today's.
    """

    region: Region
    ne: float
    mutation_rate: float
    model: str
    demography: str = ""

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[Panel]:
        """Yield one panel: another `request.start` gives people of another simulation."""
        yield self.variants(request, ctx).panel()

    def variants(self, request: SampleRequest, ctx: RunContext) -> Variants:
        """The same, its alleles decoded by blocks of sites."""
        n_people = -(-request.n_haplotypes // self.region.ploidy)
        # One population of diploids, even where the panel keeps one haplotype of each.
        simulated = simulate(
            self.region,
            [msprime.SampleSet(n_people, population=0, ploidy=self.region.ploidy)],
            self._history(),
            self.mutation_rate,
            ctx,
            start=request.start,
            model=_ancestry_model(self.model),
        )
        nobody = np.full(n_people, "")
        people = Cohort(synthetic_names(n_people), nobody, nobody, self.region.ploidy)
        return simulated.variants(self.region, people)

    def _history(self) -> msprime.Demography:
        if not self.demography:
            return msprime.Demography.isolated_model([self.ne])
        return msprime.Demography.from_demes(demes.loads(self.demography))

    def save(self, directory: Path) -> None:
        """Write the parameters and the map."""
        save_state(
            directory,
            _NAME,
            self.region,
            ne=self.ne,
            mutation_rate=self.mutation_rate,
            model=self.model,
            demography=self.demography,
        )


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


@dataclass(frozen=True)
class Diversity:
    """An estimate of theta = 4 Ne mu, and what it rests on.

    `theta`: of the whole region (not per bp).
    `n_sites`: polymorphic sites counted.
    `least_count`: minor alleles of the rarest site kept.
    `span`: bp.
    """

    theta: float
    n_sites: int
    least_count: int
    span: int

    def effective_size(self, mutation_rate: float) -> float:
        """Ne = theta / (4 mu L), mu per bp and generation."""
        return self.theta / (4 * mutation_rate * self.span)


def estimate(panel: Panel, min_maf: float, estimator: Estimator = "pi") -> Diversity:
    """Theta of a panel of which only the sites of MAF `min_maf` or more were kept.

    In a population of constant size, n haplotypes have theta / i sites with i derived alleles
    (Fu 1995). With a the least minor allele count kept,

    - segregating sites S (Watterson 1975): E[S] = theta * sum of 1 / i, i from a to n - a;
    - mean pairwise difference pi (Tajima 1983): every minor allele count contributes the
      same to E[pi], so E[pi] = theta * (1 - 2 (a - 1) / (n - 1)).

    Without a filter (a = 1) both are the usual estimators. a is the larger of `min_maf` times
    n and the rarest site's count, so that a panel filtered by someone else isn't taken for
    complete.

    `panel`: missing alleles are left out site by site; a is counted in haplotypes of the panel.

    Raises PluginError if no site is polymorphic.
    """
    alternate, called = panel.allele_counts
    minor = np.minimum(alternate, called - alternate)
    polymorphic = minor > 0
    alternate, called, minor = alternate[polymorphic], called[polymorphic], minor[polymorphic]
    if not minor.size:
        raise PluginError(
            f"none of the training panel's {panel.n_sites} sites is polymorphic, so that its "
            "diversity says nothing",
            hint="set ne",
        )
    n = panel.n_haplotypes
    # Tolerance: 0.05 * 480 is 24.000000000000004 in floating point.
    least = max(1, int(np.ceil(min_maf * n - 1e-6)), int((minor * n // called).min()))
    if estimator == "pi":
        differences = 2 * alternate * (called - alternate) / (called * (called - 1))
        theta = differences.sum() / (1 - 2 * (least - 1) / (n - 1))
    else:
        theta = minor.size / (1 / np.arange(least, n - least + 1)).sum()
    return Diversity(float(theta), int(minor.size), least, panel.span)
