"""`msprime`: one population or several, with the panel's diversity and recombination map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import demes
import msprime
import numpy as np

from haplobench import Panel, PluginError, RunContext, SampleRequest
from haplobench.data.formats.sites import Cohort, Variants
from haplobench.data.panel import synthetic_names
from haplobench.data.populations import Populations
from haplobench_coalescent import MsprimeParams
from haplobench_coalescent.simulation import (
    NO_CONVERSION,
    GeneConversion,
    Region,
    region_of,
    simulate,
)

_NAME = "msprime"
Estimator = Literal["pi", "segregating-sites"]
ONE_POPULATION = Populations(("",), ("",), (1,))


class Coalescent:
    """The standard neutral coalescent with recombination, simulated by msprime."""

    def fit(self, train: Panel, params: MsprimeParams, ctx: RunContext) -> FittedCoalescent:
        """Estimate Ne = theta / (4 mu L) from the panel's diversity.

        Or, where the demography is to be fitted, three epochs of one population, or a tree of
        several; written to the artifacts.

        Raises PluginError if no site is polymorphic and `ne` isn't given, if too few are for a
        fit, or if tracts of gene conversion are longer than the region.
        """
        region = region_of(train, ctx, name=_NAME, cm_per_mb=params.cm_per_mb)
        if params.gene_conversion_rate and params.gene_conversion_tract > region.length:
            raise PluginError(
                f"gene_conversion_tract: {params.gene_conversion_tract:g} bp is longer than the "
                f"region, {region.length} bp; set a shorter one"
            )
        min_maf = ctx.min_maf if params.min_maf is None else params.min_maf
        fitted = FittedCoalescent(
            region,
            params.ne or 1.0,
            params.mutation_rate,
            params.model,
            conversion=GeneConversion(params.gene_conversion_rate, params.gene_conversion_tract),
            populations=Populations.of(train),
        )
        if params.demography == "fitted":
            return self._with_demography(fitted, train, min_maf, params, ctx)
        if params.ne is not None:
            return fitted
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
        return replace(fitted, ne=ne)

    def _with_demography(
        self,
        fitted: FittedCoalescent,
        train: Panel,
        min_maf: float,
        params: MsprimeParams,
        ctx: RunContext,
    ) -> FittedCoalescent:
        from haplobench_coalescent.demography import three_epochs
        from haplobench_coalescent.population_tree import Groups, fit_tree

        names: tuple[str, ...]
        groups = Groups.of(train, params.within, ctx.log)
        if len(groups.demes) > 1:
            tree = fit_tree(train, groups, min_maf, params.mutation_rate, ctx.progress)
            text, size, names = tree.demes(), tree.ancestral, groups.names
            ctx.log.info("%s: %s", _NAME, tree)
        else:
            epochs = three_epochs(train, min_maf, params.mutation_rate, ctx.progress)
            text, size, names = epochs.demes(), epochs.sizes[-1], ()
            ctx.log.info(
                "%s: sizes %s, until %s generations ago; log-likelihood %.1f (constant size: %.1f)",
                _NAME,
                " to ".join(f"{size:.0f}" for size in epochs.sizes),
                " and ".join(f"{end:.0f}" for end in epochs.ends),
                epochs.log_likelihood,
                epochs.constant,
            )
        (ctx.artifacts / "demography.yaml").write_text(text)
        return replace(fitted, ne=size, demography=text, demes=names)

    def load(self, directory: Path, ctx: RunContext) -> FittedCoalescent:
        """Read what `save` wrote."""
        region, facts = Region.load(directory, _NAME)
        named = {name: tuple(values) for name, values in facts.pop("populations").items()}
        return FittedCoalescent(
            region,
            conversion=GeneConversion(**facts.pop("conversion")),
            populations=Populations(**named),
            demes=tuple(facts.pop("demes")),
            **facts,
        )


@dataclass(frozen=True, eq=False)
class FittedCoalescent:
    """Region, effective size (diploid people), mutation rate per bp and generation, model.

    `demography`: Demes YAML; empty where one population's size is constant. Then `ne` is it, else
    today's of one population, or of several populations' ancestors.
    `populations`: the training people's; `demes`: of the demography, for each of them, or none
    where there is one population.
    """

    region: Region
    ne: float
    mutation_rate: float
    model: str
    demography: str = ""
    conversion: GeneConversion = NO_CONVERSION
    populations: Populations = ONE_POPULATION
    demes: tuple[str, ...] = ()

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[Panel]:
        """Yield one panel: another `request.start` gives people of another simulation.

        Labelled as `request.populations` asks, or else in the training people's proportions. Of a
        superpopulation's populations each has its share. One population's people bear labels, too.
        """
        yield self.variants(request, ctx).panel()

    def variants(self, request: SampleRequest, ctx: RunContext) -> Variants:
        """The same, its alleles decoded by blocks of sites."""
        ploidy, real = self.region.ploidy, self.populations
        n_people = -(-request.n_haplotypes // ploidy)
        if request.populations is None:
            drawn = real.draw(None, (np.arange(n_people) + 0.5) / max(1, n_people))
            labels = np.array(real.names)[drawn]
        else:
            labels = request.populations[::ploidy]
            level = ctx.rng("sample", "populations", request.start).random(n_people)
            drawn = real.draw(labels, level)
        history = self._history()
        first = str(history.populations[0].name)
        above = dict.fromkeys(labels.tolist(), "")
        above |= {name: name for name in real.superpopulations if name in above}
        above |= dict(zip(real.names, real.superpopulations, strict=True))
        groups = np.array([above[label] for label in labels.tolist()], np.str_)
        # One population of diploids, even where the panel keeps one haplotype of each.
        return simulate(
            self.region,
            Cohort(synthetic_names(n_people), labels, groups, ploidy),
            np.array(self.demes or [first] * len(real.names))[drawn],
            history,
            self.mutation_rate,
            ctx,
            start=request.start,
            model=_ancestry_model(self.model),
            conversion=self.conversion,
        )

    def _history(self) -> msprime.Demography:
        if not self.demography:
            return msprime.Demography.isolated_model([self.ne])
        return msprime.Demography.from_demes(demes.loads(self.demography))

    def save(self, directory: Path) -> None:
        """Write the parameters and the map."""
        self.region.save(
            directory,
            _NAME,
            ne=self.ne,
            mutation_rate=self.mutation_rate,
            model=self.model,
            demography=self.demography,
            conversion=asdict(self.conversion),
            populations=asdict(self.populations),
            demes=self.demes,
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
