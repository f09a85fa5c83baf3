"""Simulating a region with msprime: what is simulated, how, and how it is stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msprime
import numpy as np
import tskit
from numpy.typing import NDArray

from haplobench import Panel, PluginError, RecombinationMap, ReferenceSequence, RunContext
from haplobench.data.formats.sites import Cohort, Variants, sites_at_once
from haplobench.plugin.generators import load_state, save_state

_BASES = np.array(["A", "C", "G", "T"])


@dataclass(frozen=True, eq=False)
class Region:
    """Where to simulate, and the panel's conventions to keep.

    `start`, `end`: bp, 1-based, both included.
    `map_positions` (n,) int64: bp; from `start` to `end + 1`.
    `map_centimorgans` (n,) float64: cM.
    """

    contig: str
    build: str
    start: int
    end: int
    ploidy: int
    map_positions: NDArray[np.int64]
    map_centimorgans: NDArray[np.float64]

    @classmethod
    def of(cls, train: Panel, recombination_map: RecombinationMap) -> Self:
        """The region from the first to the last site of `train`."""
        start, end = int(train.positions[0]), int(train.positions[-1])
        inside = recombination_map.region(start, end + 1)
        return cls(
            contig=train.contig,
            build=train.build,
            start=start,
            end=end,
            ploidy=train.ploidy,
            map_positions=inside.positions,
            map_centimorgans=inside.centimorgans,
        )

    @property
    def length(self) -> int:
        """bp."""
        return self.end - self.start + 1

    def rate_map(self) -> msprime.RateMap:
        """Recombination rate per bp and generation, from 0 (`start`) to `length`."""
        return msprime.RateMap(
            position=(self.map_positions - self.start).astype(np.float64),
            rate=np.diff(self.map_centimorgans) / 100 / np.diff(self.map_positions),
        )

    def save(self, directory: Path, name: str, **facts: Any) -> None:
        """Write the region, and JSON-able `facts` of the generator `name`, into a folder."""
        arrays = {"map_positions": self.map_positions, "map_centimorgans": self.map_centimorgans}
        region = {key: value for key, value in vars(self).items() if key not in arrays}
        save_state(directory, name, arrays, region=region, **facts)

    @classmethod
    def load(cls, directory: Path, name: str) -> tuple[Self, dict[str, Any]]:
        """Region and facts that `save` wrote; PluginError as `load_state` raises it."""
        arrays, facts = load_state(directory, name)
        region: dict[str, Any] = facts.pop("region") | arrays
        return cls(**region), facts


@dataclass(frozen=True, eq=False)
class Simulated:
    """Simulated ancestry with its mutations, and the biallelic sites among them.

    `sequence`: samples in the order of the sample sets, a person's together; states 0 and 1.
    `sites` (n_sites,) int64: those of its sites whose derived allele some have, but not all.
    `positions` (n_sites,) int64 bp; `ref`, `alt` (n_sites,) str, `ref` the ancestral base.
    """

    sequence: tskit.TreeSequence
    sites: NDArray[np.int64]
    positions: NDArray[np.int64]
    ref: NDArray[np.str_]
    alt: NDArray[np.str_]

    def variants(self, region: Region, people: Cohort, rows: NDArray[np.int64]) -> Variants:
        """The haplotypes, decoded by blocks of sites; 1 is the derived allele.

        `rows` (n_haplotypes,): which of the samples are whose, in the order of `people`.
        """
        n = self.sequence.num_samples
        variant = tskit.Variant(self.sequence)

        def alleles(start: int, stop: int) -> NDArray[np.int8]:
            block = np.empty((stop - start, n), np.int8)
            for i, site in enumerate(self.sites[start:stop].tolist()):
                variant.decode(site)
                block[i] = variant.genotypes
            return block[:, rows]

        return Variants(
            positions=self.positions,
            contig=region.contig,
            ref=self.ref,
            alt=self.alt,
            samples=people.samples,
            population=people.population,
            superpopulation=people.superpopulation,
            ploidy=people.ploidy,
            build=region.build,
            phased=people.phased,
            step=sites_at_once(n),
            alleles=alleles,
        )


@dataclass(frozen=True)
class GeneConversion:
    """Tracts copied from the other haplotype without crossing over.

    `rate`: tracts that begin, per bp and generation. `tract`: their mean length, bp.
    """

    rate: float = 0.0
    tract: float = 300.0

    def arguments(self) -> dict[str, float]:
        """As msprime takes it; nothing where there is none."""
        if not self.rate:
            return {}
        return {"gene_conversion_rate": self.rate, "gene_conversion_tract_length": self.tract}


NO_CONVERSION = GeneConversion()


def simulate(
    region: Region,
    people: Cohort,
    demes: NDArray[np.str_],
    demography: msprime.Demography,
    mutation_rate: float,
    ctx: RunContext,
    *,
    start: int,
    model: Any = "hudson",
    ploidy: int = 2,
    conversion: GeneConversion = NO_CONVERSION,
) -> Variants:
    """Ancestry under `model`, then mutations, see `mutate`; haplotypes by blocks of sites.

    `demes` (n_people,): population of the `demography` that each of the `people` comes from.
    `mutation_rate`: per bp and generation.
    `start`: absolute index of the first haplotype, which keys the seeds.
    `ploidy`: genomes per person of the populations, which scales the coalescent.
    """
    names, counts = np.unique(demes, return_counts=True)
    ancestry = msprime.sim_ancestry(
        [
            msprime.SampleSet(n, population=name, ploidy=region.ploidy)
            for name, n in zip(names.tolist(), counts.tolist(), strict=True)
        ],
        demography=demography,
        recombination_rate=region.rate_map(),
        ploidy=ploidy,
        model=model,
        random_seed=seed_of(ctx, "ancestry", start),
        **conversion.arguments(),
    )
    return mutate(ancestry, region, people, demes, mutation_rate, ctx, start=start)


def mutate(
    ancestry: tskit.TreeSequence,
    region: Region,
    people: Cohort,
    demes: NDArray[np.str_],
    mutation_rate: float,
    ctx: RunContext,
    *,
    start: int,
) -> Variants:
    """Mutations between two states on an ancestry; haplotypes by blocks of sites.

    A second mutation at a site reverses the first, so that every site has two alleles; one
    whose derived allele was lost or fixed is left out.

    `ancestry`: its samples are deme by deme, by name, a person's together. Others as `simulate`.
    """
    which = np.unique(demes, return_inverse=True)[1]
    ctx.progress(0.5, "ancestry simulated")
    mutated = msprime.sim_mutations(
        ancestry,
        rate=mutation_rate,
        model=msprime.BinaryMutationModel(),
        random_seed=seed_of(ctx, "mutations", start),
    )
    sites = _polymorphic(mutated)
    positions = region.start + mutated.sites_position[sites].astype(np.int64)
    ref, alt = assign_bases(positions, ctx.sequence, ctx.rng("sample", "bases", start))
    # Simulated deme by deme; asked for in another order.
    order = np.empty(which.size, np.int64)
    order[np.argsort(which, kind="stable")] = np.arange(which.size)
    rows = (order[:, None] * region.ploidy + np.arange(region.ploidy)).ravel()
    return Simulated(mutated, sites, positions, ref, alt).variants(region, people, rows)


def assign_bases(
    positions: NDArray[np.int64], sequence: ReferenceSequence | None, rng: np.random.Generator
) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """Reference and alternate bases of new sites: two (n_sites,) str.

    The reference base is the `sequence`'s where it has A, C, G or T there, else random; the
    alternate is its transition partner twice as often as either transversion together, as
    among human variants (ratio about 2.1: 1000 Genomes Project, Nature 526, 2015).
    """
    ref = rng.integers(4, size=positions.size)
    if sequence is not None:
        offsets = positions - sequence.start
        inside = np.flatnonzero((offsets >= 0) & (offsets < sequence.bases.size))
        code = np.full(256, -1)
        code[np.frombuffer(b"ACGTacgt", np.uint8)] = [0, 1, 2, 3] * 2
        known = code[sequence.bases[offsets[inside]]]
        ref[inside[known >= 0]] = known[known >= 0]
    # A and G (0, 2), C and T (1, 3) are partners: two further on; one or three are transversions.
    step = rng.choice([1, 2, 3], size=positions.size, p=[1 / 6, 2 / 3, 1 / 6])
    return _BASES[ref], _BASES[(ref + step) % 4]


def _polymorphic(sequence: tskit.TreeSequence) -> NDArray[np.int64]:
    """Sites whose derived allele some samples have, but not all; nothing is decoded."""
    n = sequence.num_samples
    derived = sequence.sample_count_stat(
        [sequence.samples()],
        lambda counts: counts,
        1,
        windows="sites",
        polarised=True,
        span_normalise=False,
        strict=False,
    )[:, 0]
    return np.flatnonzero((derived > 0) & (derived < n))


def seed_of(ctx: RunContext, part: str, start: int) -> int:
    """A seed that msprime takes: 1 to 2**32 - 1."""
    return ctx.seed_for("sample", part, start) % (2**32 - 1) + 1


def region_of(train: Panel, ctx: RunContext, *, name: str, cm_per_mb: float) -> Region:
    """The region of `train` with the dataset's map, or at `cm_per_mb` where it has none."""
    recombination_map = ctx.recombination_map
    if not train.n_sites:
        raise PluginError(f"generator {name}: the training panel has no sites, so no region")
    if recombination_map is None:
        ctx.log.info("%s: no recombination map: %g cM/Mb", name, cm_per_mb)
        recombination_map = RecombinationMap.uniform(
            int(train.positions[0]), int(train.positions[-1]) + 1, cm_per_mb
        )
    return Region.of(train, recombination_map)
