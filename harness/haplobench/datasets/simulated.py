"""Genomes simulated under a demographic model of the stdpopsim catalogue: the truth is known.

Adrian et al., eLife 9, e54967 (2020); msprime: Baumdicker et al., Genetics 220, iyab229 (2022).
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import warnings
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msprime
import numpy as np
import stdpopsim
from numpy.typing import NDArray

from haplobench.data.formats.matrix import HaplotypeMatrix
from haplobench.data.formats.options import Region
from haplobench.data.formats.sites import MULTI_ALLELIC
from haplobench.data.genome import RecombinationMap
from haplobench.data.panel import Panel
from haplobench.datasets import SimulatedParams
from haplobench.errors import BenchError, FormatError
from haplobench.files import near_names
from haplobench.plugin import LoadedDataset, RunContext

_BLOCK = 1024
# Of the catalogue's human populations; others (ancient ones, say) are groups of their own.
_SUPERPOPULATIONS = {
    "AFR": ("AFR", "YRI", "LWK", "Africa", "African_Americans", "Mbuti"),
    "AMR": ("ADMIX",),
    "EAS": ("ASIA", "CHB", "JPT", "Han"),
    "EUR": ("CEU", "EUR", "GBR", "TSI", "Sardinian"),
}


class Simulated:
    """The `simulated` dataset."""

    def load(self, params: SimulatedParams, ctx: RunContext) -> LoadedDataset:
        """Simulate; the same seed and parameters give the same panel.

        Sites are discrete; those with more than two alleles are left out and counted, as
        are those under `min_count`.

        Raises BenchError for a species, model, population or contig that the catalogue
        hasn't, with near names.
        """
        species = _species(params.species)
        model = _model(species, params.model)
        samples = _samples(model, params)
        stretch = _stretch(species, model, params)
        seed = ctx.seed_for("simulated", params.seed_offset) % (2**31 - 1) + 1
        ctx.progress(0.0, f"simulating {sum(samples.values())} people under {params.model}")
        with warnings.catch_warnings():
            # The catalogue warns of what a contig cut to length can't keep; we ask for just that.
            warnings.simplefilter("ignore")
            trees = stdpopsim.get_engine("msprime").simulate(
                model, stretch.contig, samples, seed=seed
            )
        panel, skipped = _panel(trees, stretch, params, ctx)
        provenance = {
            "model": f"{params.species}/{params.model}: {model.description}",
            "mutation_rate": f"{stretch.contig.mutation_rate:g} per bp and generation",
            "recombination": stretch.recombination,
            "seed": str(seed),
            "msprime": importlib.metadata.version("msprime"),
            "stdpopsim": importlib.metadata.version("stdpopsim"),
            "citation": "; ".join(str(citation) for citation in model.citations),
        }
        recombination = stretch.map if "map" in params.told else None
        return LoadedDataset(panel, recombination, skipped=skipped, provenance=provenance)

    def fingerprint(self, params: SimulatedParams) -> str:
        """Parameters, the map's checksum and the simulators' versions."""
        facts = [params.model_dump_json()]
        facts += [importlib.metadata.version(name) for name in ("msprime", "stdpopsim")]
        if params.map:
            facts.append(hashlib.sha256(_map_path(params).read_bytes()).hexdigest())
        return hashlib.sha256("\n".join(facts).encode()).hexdigest()


@dataclass(frozen=True)
class _Stretch:
    """What is simulated: stdpopsim's contig from 0, and where it lies (bp, 1-based)."""

    contig: Any
    name: str
    build: str
    start: int
    end: int
    map: RecombinationMap
    recombination: str


def _species(name: str) -> Any:
    known = {species.id: species for species in stdpopsim.all_species()}
    if name not in known:
        raise _unknown("species", name, known, "params.species")
    return known[name]


def _model(species: Any, name: str) -> Any:
    known = {model.id: model for model in species.demographic_models}
    if name not in known:
        raise _unknown(f"demographic model of {species.id}", name, known, "params.model")
    return known[name]


def _samples(model: Any, params: SimulatedParams) -> dict[str, int]:
    """People by population, in the model's order."""
    populations = {each.name: each for each in model.populations if each.allow_samples}
    for name in params.samples:
        if name not in populations:
            raise _unknown(f"population of {model.id}", name, populations, "params.samples")
    if params.samples:
        return {name: params.samples[name] for name in populations if params.samples.get(name)}
    alive = [name for name, each in populations.items() if each.default_sampling_time == 0]
    share, rest = divmod(params.people, len(alive))
    counts = {name: share + (i < rest) for i, name in enumerate(alive)}
    return {name: count for name, count in counts.items() if count}


def _unknown(kind: str, name: str, known: Collection[str], key: str) -> BenchError:
    hint = near_names(name, known, lead="") or f"there are {', '.join(sorted(known))}"
    return BenchError(f"{key}: no {kind} is named {name!r}", hint=hint)


def _stretch(species: Any, model: Any, params: SimulatedParams) -> _Stretch:
    mutation_rate = model.mutation_rate
    if not (params.contig or params.region):
        contig = species.get_contig(
            length=params.length,
            mutation_rate=mutation_rate,
            recombination_rate=None if params.cm_per_mb is None else params.cm_per_mb * 1e-8,
        )
        rate = float(contig.recombination_map.mean_rate)
        uniform = RecombinationMap.uniform(1, params.length, rate * 1e8, "simulated")
        return _Stretch(
            contig, "simulated", "", 1, params.length, uniform, f"uniform, {rate:g} per bp"
        )
    region = Region.parse(params.region or params.contig)
    known = {each.id: each for each in species.genome.chromosomes}
    name = region.contig.removeprefix("chr")
    if name not in known:
        raise _unknown(f"chromosome of {species.id}", name, known, "params.contig")
    chromosome = known[name]
    end = min(region.end or int(chromosome.length), int(chromosome.length))
    if region.start > end:
        raise BenchError(
            f"params.region: {region} lies beyond the end of chromosome {name} "
            f"({int(chromosome.length)} bp)"
        )
    rate = float(chromosome.recombination_rate)
    contig = species.get_contig(
        length=end - region.start + 1,
        mutation_rate=chromosome.mutation_rate if mutation_rate is None else mutation_rate,
        recombination_rate=rate,
    )
    build = str(species.genome.assembly_name or "")
    if not params.map:
        uniform = RecombinationMap.uniform(region.start, end, rate * 1e8, name)
        return _Stretch(
            contig, name, build, region.start, end, uniform, f"uniform, {rate:g} per bp"
        )
    path = _map_path(params)
    whole = RecombinationMap.read(path, name)
    try:
        genetic = whole.region(region.start, end + 1)
    except FormatError as error:
        raise FormatError(f"{path}: {error.args[0]}", hint=error.hint) from None
    contig.recombination_map = msprime.RateMap(
        position=(genetic.positions - region.start).astype(np.float64),
        rate=np.diff(genetic.centimorgans) / 100 / np.diff(genetic.positions),
    )
    # Positions are those of the map's build, which a map file doesn't say.
    return _Stretch(
        contig, name, "", region.start, end, genetic, f"{path} {genetic.remark}".rstrip()
    )


def _map_path(params: SimulatedParams) -> Path:
    path = Path(params.map).expanduser()
    if not path.is_file():
        raise FormatError(f"{path}: no such recombination map")
    return path


def _panel(
    trees: Any,
    stretch: _Stretch,
    params: SimulatedParams,
    ctx: RunContext,
) -> tuple[Panel, dict[str, int]]:
    """Genotypes of the tree sequence, in blocks of sites."""
    populations = [
        trees.population(trees.node(individual.nodes[0]).population).metadata["name"]
        for individual in trees.individuals()
    ]
    ploidy = trees.individual(0).nodes.size
    nodes = np.concatenate([individual.nodes for individual in trees.individuals()])
    counted: Counter[str] = Counter()
    matrix = HaplotypeMatrix(nodes.size, ctx.scratch)
    block = np.empty((_BLOCK, nodes.size), np.int8)
    filled = 0
    positions: list[int] = []
    ref: list[str] = []
    alt: list[str] = []
    for variant in trees.variants(samples=nodes, copy=False):
        genotypes: NDArray[np.int32] = variant.genotypes
        counts = np.bincount(genotypes, minlength=len(variant.alleles))
        seen = np.flatnonzero(counts)
        if seen.size > 2 or (seen.size == 2 and seen[0] != 0):
            # Two derived alleles without the ancestral one: against it, both are alternates.
            counted[MULTI_ALLELIC] += 1
            continue
        derived = int(seen[-1])
        copies = int(counts[derived]) if derived else 0
        minor = min(copies, nodes.size - copies)
        if not minor:
            counted["monomorphic"] += 1
            continue
        if minor < params.min_count:
            counted[f"fewer than {params.min_count} copies"] += 1
            continue
        block[filled] = genotypes == derived
        filled += 1
        positions.append(stretch.start + int(variant.site.position))
        ref.append(variant.alleles[0])
        alt.append(variant.alleles[derived])
        if filled == _BLOCK:
            matrix.append(block)
            filled = 0
    matrix.append(block[:filled])
    if not positions:
        raise BenchError(
            f"simulated: no site in {stretch.end - stretch.start + 1} bp",
            hint="raise params.length or the number of people",
        )
    labels = np.array(populations, np.str_)
    panel = Panel(
        haplotypes=cast("NDArray[np.int8]", matrix.finish()),
        positions=np.array(positions, np.int64),
        contig=stretch.name,
        samples=_names(populations),
        ref=np.array(ref),
        alt=np.array(alt),
        population=labels,
        superpopulation=_superpopulations(params.species, labels),
        ploidy=ploidy,
        build=stretch.build,
    )
    if "labels" not in params.told:
        nobody = np.full(panel.n_samples, "")
        panel = panel.changed(population=nobody, superpopulation=nobody)
    return panel, dict(sorted(counted.items()))


def _names(populations: list[str]) -> NDArray[np.str_]:
    """`YRI_1`, `YRI_2`, …, `CEU_1`, …"""
    count: Counter[str] = Counter()
    names: list[str] = []
    for population in populations:
        count[population] += 1
        names.append(f"{population}_{count[population]}")
    return np.array(names, np.str_)


def _superpopulations(species: str, populations: NDArray[np.str_]) -> NDArray[np.str_]:
    table = {
        population: group for group, members in _SUPERPOPULATIONS.items() for population in members
    }
    known = table if species == "HomSap" else {}
    return np.array([known.get(name, name) for name in populations.tolist()], np.str_)
