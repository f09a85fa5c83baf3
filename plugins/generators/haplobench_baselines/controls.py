"""The two controls: independent sites, and training people returned as synthetic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from haplobench import Panel, Params, RunContext, SampleRequest
from haplobench.plugin.generators import load_state, save_state
from haplobench_baselines.common import BLOCK, Bernoulli, Groups, cut, refuse_missing

_INDEPENDENT = "independent"
_COPYCAT = "copycat"


class Independent:
    """Bernoulli draws at the training frequencies (linkage equilibrium)."""

    def fit(self, train: Panel, params: Params, ctx: RunContext) -> FittedIndependent:
        """Count alleles; missing ones are left out of the counts."""
        return FittedIndependent(train.frequencies.copy())

    def load(self, directory: Path, ctx: RunContext) -> FittedIndependent:
        """Read what `save` wrote."""
        arrays, _ = load_state(directory, _INDEPENDENT)
        return FittedIndependent(arrays["frequencies"])


@dataclass(frozen=True, eq=False)
class FittedIndependent:
    """Training frequencies: (n_sites,) float64, of the alternate allele."""

    frequencies: NDArray[np.float64]

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[NDArray[np.int8]]:
        """Yield (batch, n_sites) int8: every allele an independent draw."""
        sites = Bernoulli.of(self.frequencies)
        return request.batches(lambda block: sites.draw(BLOCK, ctx.rng("sample", block)), BLOCK)

    def save(self, directory: Path) -> None:
        """Write the frequencies."""
        save_state(directory, _INDEPENDENT, {"frequencies": self.frequencies})


class Copycat:
    """Returns what it was trained on: the worst leak there is, at perfect fidelity."""

    def fit(self, train: Panel, params: Params, ctx: RunContext) -> FittedCopycat:
        """Keep the haplotypes. Raises PanelError if alleles are missing."""
        refuse_missing(train, _COPYCAT)
        return FittedCopycat(train.haplotypes, Groups.of(train, "population"), train.ploidy)

    def load(self, directory: Path, ctx: RunContext) -> FittedCopycat:
        """Read what `save` wrote; the haplotypes stay on disk, mapped into memory."""
        arrays, facts = load_state(directory, _COPYCAT)
        return FittedCopycat(arrays["haplotypes"], Groups.load(arrays), facts["ploidy"])


@dataclass(frozen=True, eq=False)
class FittedCopycat:
    """The training haplotypes, (n_haplotypes, n_sites) int8, and whose they are."""

    haplotypes: NDArray[np.int8]
    groups: Groups
    ploidy: int

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[NDArray[np.int8]]:
        """Yield (batch, n_sites) int8: whole training people.

        Synthetic person i is number `i mod n` of a seeded shuffle of the n training people
        of its population, or of all where no population is asked for. So a person recurs only
        n or a multiple of n places later, and never depends on the labels of others: a run
        of fewer than n neighbours of one population has no repeat, a scattered one may.
        """
        index = request.start + np.arange(request.n_haplotypes)
        people, strand = np.divmod(index, self.ploidy)
        person = np.empty_like(people)
        if request.populations is None:
            shuffled = ctx.rng("copycat").permutation(self.groups.members.size)
            person[:] = shuffled[people % shuffled.size]
        else:
            groups = self.groups.find(request.populations)
            for group in np.unique(groups):
                start, end = self.groups.offsets[group : group + 2]
                rng = ctx.rng("copycat", int(group))
                shuffled = rng.permutation(self.groups.members[start:end])
                rows = groups == group
                person[rows] = shuffled[people[rows] % shuffled.size]
        rows = person * self.ploidy + strand
        for begin in range(0, rows.size, BLOCK):
            yield from cut(self.haplotypes[rows[begin : begin + BLOCK]], request.batch_size)

    def save(self, directory: Path) -> None:
        """Write the training haplotypes and their labels."""
        arrays = {"haplotypes": self.haplotypes, **self.groups.arrays()}
        save_state(directory, _COPYCAT, arrays, ploidy=self.ploidy)
