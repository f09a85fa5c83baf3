"""Traits simulated on real people's sites, and carried to other people by site.

A trait is additive: each causal site adds its effect for every alternate allele a person has, and
the environment adds normal noise. Effects and noise are scaled among real people, so that the
genetic part has the share h² of the variance of 1 there. A synthetic cohort has the same effects
per allele and as much noise: where it has too little variation, it has less heritability, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from haplobench import Measurement, Panel, Reference
from haplobench_utility.association import Floats, dosage_blocks
from haplobench_utility.specs.studies import TraitParams


@dataclass(frozen=True, eq=False)
class Traits:
    """Additive traits at sites of a panel.

    Attributes
    ----------
    causal : (n_traits, n_causal) int64
        Columns of the causal sites, each trait's distinct.
    effects : (n_traits, n_causal) float64
        Trait's units per alternate allele.
    centre : (n_traits,) float64
        Mean genetic value among the real people that the traits were simulated on.
    h2 : float
        Their share of genetic variance; the trait's variance is 1 among them.
    """

    causal: NDArray[np.int64]
    effects: Floats
    centre: Floats
    h2: float

    def genetic_values(self, panel: Panel) -> Floats:
        """Genetic values less the real people's mean: (n_people, n_traits) float64.

        `panel` has the same sites, all alleles known.
        """
        sites, place = np.unique(self.causal, return_inverse=True)
        place = place.reshape(self.causal.shape)
        weights = np.zeros((sites.size, self.causal.shape[0]))
        weights[place.T, np.arange(self.causal.shape[0])] = self.effects.T
        values = np.zeros((panel.n_samples, self.causal.shape[0]))
        for part, x in dosage_blocks(panel, sites):
            values += x @ weights[part]
        return np.asarray(values - self.centre, np.float64)

    def values(self, panel: Panel, rng: np.random.Generator) -> Floats:
        """Genetic values and environmental noise: (n_people, n_traits) float64."""
        genetic = self.genetic_values(panel)
        noise = rng.standard_normal(genetic.shape)
        return np.asarray(genetic + np.sqrt(1 - self.h2) * noise, np.float64)

    def with_h2(self, h2: float) -> Traits:
        """The same traits with weaker or stronger effects."""
        scale = (h2 / self.h2) ** 0.5
        return Traits(self.causal, self.effects * scale, self.centre * scale, h2)


def simulate_traits(people: Panel, params: TraitParams, n_traits: int, n_causal: int) -> Traits:
    """Traits with effects of `n_causal` sites that vary among real `people`.

    Effects are normal with variance proportional to [2 p (1 - p)]^alpha, p the allele's frequency
    (alpha = -1: every site explains as much, on average; 0: every allele does as much), then scaled
    so that each trait's genetic variance among `people` is h².

    Neither a run's seed nor who the people are decides which sites: all cohorts of a dataset are
    compared on the same traits.
    """
    rng = np.random.default_rng([params.trait_seed, n_causal, int(people.positions.sum())])
    p = people.frequencies
    lot = rng.random((n_traits, people.n_sites))
    lot[:, (p == 0) | (p == 1)] = 2.0
    causal = lot.argpartition(n_causal - 1, axis=1)[:, :n_causal]
    spread = (2 * p[causal] * (1 - p[causal])) ** (params.alpha / 2)
    effects = rng.standard_normal(causal.shape) * spread
    raw = Traits(causal, effects, np.zeros(n_traits), params.h2).genetic_values(people)
    scale = params.h2**0.5 / raw.std(axis=0)
    return Traits(causal, effects * scale[:, None], raw.mean(axis=0) * scale, params.h2)


def obstacle(reference: Reference, cohort: Panel, n_causal: int, least_people: int) -> str:
    """Why traits can't be simulated on these panels, or told apart in so few people; or empty."""
    panels = {"training": reference.train, "held-out": reference.holdout, "synthetic": cohort}
    for name, panel in panels.items():
        if panel.has_missing:
            return f"missing alleles in the {name} panel"
    for name, panel in panels.items():
        if panel.n_samples < least_people:
            return (
                f"too few people in the {name} panel: {panel.n_samples}, expected {least_people} "
                "or more"
            )
    varying = int(((reference.train.frequencies > 0) & (reference.train.frequencies < 1)).sum())
    if varying < n_causal:
        return f"{varying} sites vary among the training people, traits have {n_causal} causal ones"
    return ""


def even_sample(n: int, most: int) -> NDArray[np.int64]:
    """All of `n` indices, or `most` of them evenly: (min(n, most),) int64, increasing."""
    return np.linspace(0, n - 1, min(n, most)).round().astype(np.int64)


def all_of(train: Panel, n: int) -> str:
    """A note where real panels can't be as large as a cohort of `n` people; or empty."""
    if n <= train.n_samples:
        return ""
    return f"real panels have all {train.n_samples} training people and no more"


def relative(value: float, real: float | None, n: int, note: str) -> Measurement:
    """A number over the mean of as large real panels'; not applicable where nothing is there.

    `real` is None where no real panel can be drawn, and `note` then says why.
    """
    if real is None:
        return Measurement(None, n, note=note)
    if not np.isfinite(value) or not real > 0:
        return Measurement(None, n, note="as many real people, or the cohort, show nothing")
    return Measurement(float(value / real), n, note=note)


def thinned(reference: Reference, cohort: Panel, most: int) -> tuple[Reference, Panel, str]:
    """Panels at `most` sites, evenly, and a note that says so; as they are if they have fewer."""
    n = cohort.n_sites
    if n <= most:
        return reference, cohort, ""
    columns = even_sample(n, most)
    train, holdout = (p.select_sites(columns) for p in (reference.train, reference.holdout))
    return Reference(train, holdout), cohort.select_sites(columns), f"{most:,} of {n:,} sites"
