"""What the peers share: strata, blocks of haplotypes, fits in progress, refusals, budgets."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from haplobench import (
    Panel,
    PanelError,
    Params,
    Populations,
    PrivacyCharge,
    PrivacyStatement,
    RecombinationMap,
    RunContext,
    SampleRequest,
)
from haplobench.files import digest_of, write_whole
from haplobench.plugin.generators import load_state, save_state
from haplobench_peers import PrivateParams, Within

BLOCK = 256  # haplotypes drawn together
Draw = Callable[[int, NDArray[np.int64]], NDArray[np.int8]]


@dataclass(frozen=True)
class Strata:
    """Groups of the training people that a model tells apart.

    `populations`: of the training panel.
    `of_population` (n_populations,): stratum of each, from 0.
    """

    populations: Populations
    of_population: tuple[int, ...]

    @classmethod
    def of(cls, train: Panel, within: Within) -> Self:
        """By population, by superpopulation (population where there is none), or one for all."""
        populations = Populations.of(train)
        return cls(
            populations,
            {
                "population": tuple(range(len(populations.names))),
                "superpopulation": populations.superpopulation_of,
                "all": (0,) * len(populations.names),
            }[within],
        )

    @property
    def n(self) -> int:
        """Number of strata."""
        return max(self.of_population) + 1

    def index(self, train: Panel) -> NDArray[np.int64]:
        """Stratum of each training haplotype: (n_haplotypes,) int64."""
        return np.array(self.of_population)[self.populations.index(train.haplotype_populations)]

    def draw(
        self, labels: NDArray[np.str_] | None, level: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        """Stratum of each label asked for; see `Populations.draw`."""
        return np.array(self.of_population)[self.populations.draw(labels, level)]

    def facts(self) -> dict[str, Any]:
        """What JSON can hold, for `from_facts`."""
        return asdict(self)

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Self:
        """Undo `facts`."""
        named = {name: tuple(values) for name, values in facts["populations"].items()}
        return cls(Populations(**named), tuple(facts["of_population"]))


def sample_blocks(
    request: SampleRequest, ctx: RunContext, strata: Strata, ploidy: int, draw: Draw
) -> Iterator[NDArray[np.int8]]:
    """Yield what was asked for, in batches, each block drawn whole.

    `draw(block, stratum)` gives the haplotypes of an absolute block, (n, n_sites) int8, for the
    stratum of each, (n,) int64. Where no populations are asked for, each person's is drawn by its
    share of the training people.
    """
    size = max(1, BLOCK // ploidy) * ploidy
    done = 0
    for block, wanted, into in request.blocks(size):
        level = np.repeat(ctx.rng("sample", "people", block).random(size // ploidy), ploidy)
        stratum = strata.draw(None, level)
        if request.populations is not None:
            stratum[wanted] = strata.draw(request.populations[into], level[wanted])
        rows = draw(block, stratum)[wanted]
        for first in range(0, len(rows), request.batch_size):
            yield rows[first : first + request.batch_size]
        done += len(rows)
        ctx.progress(done / request.n_haplotypes, f"{done} haplotypes")


@dataclass(frozen=True)
class Tiling:
    """Windows of `width` sites along `n_sites`, each with the `overlap` sites before it.

    Sites that aren't there, before the first and past the last, have allele 0.
    """

    n_sites: int
    width: int
    overlap: int

    @classmethod
    def of(cls, n_sites: int, window: int | None, overlap: int) -> Self:
        """One window where `window` is None, or more sites than there are."""
        width = min(window or n_sites, n_sites)
        return cls(n_sites, width, overlap if width < n_sites else 0)

    @property
    def n_windows(self) -> int:
        """How many windows there are."""
        return -(-self.n_sites // self.width)

    @property
    def padded(self) -> int:
        """Columns of padded haplotypes."""
        return self.overlap + self.n_windows * self.width

    def pad(self, haplotypes: NDArray[np.int8]) -> NDArray[np.int8]:
        """(n, n_sites) to (n, padded) int8."""
        padded = np.zeros((haplotypes.shape[0], self.padded), np.int8)
        padded[:, self.overlap : self.overlap + self.n_sites] = haplotypes
        return padded

    def given(self, padded: NDArray[Any], window: int) -> NDArray[Any]:
        """The sites before a window: (n, overlap)."""
        start = window * self.width
        return padded[:, start : start + self.overlap]

    def inside(self, padded: NDArray[Any], window: int) -> NDArray[Any]:
        """The sites of a window, as a view: (n, width)."""
        start = window * self.width + self.overlap
        return padded[:, start : start + self.width]


@dataclass(frozen=True, eq=False)
class Frame:
    """What fitted models of windows share beside their networks.

    `steps`: of a sample. `fixed` (n_sites,) int8: the allele of sites that don't vary in training,
    -1 elsewhere.
    """

    tiling: Tiling
    strata: Strata
    steps: int
    ploidy: int
    fixed: NDArray[np.int8]

    @classmethod
    def of(cls, train: Panel, tiling: Tiling, strata: Strata, steps: int) -> Self:
        """Of the training panel."""
        fixed = np.where(train.maf == 0, train.frequencies, -1).astype(np.int8)
        return cls(tiling, strata, steps, train.ploidy, fixed)

    def sample(
        self,
        request: SampleRequest,
        ctx: RunContext,
        name: str,
        draw: Callable[[np.random.Generator, NDArray[np.int64]], NDArray[Any]],
    ) -> Iterator[NDArray[np.int8]]:
        """Yield (batch, n_sites) int8; `draw(rng, stratum)` gives padded haplotypes of a block."""

        def block(block: int, stratum: NDArray[np.int64]) -> NDArray[np.int8]:
            seed = np.random.SFC64(ctx.seed_for(name, "sample", block))
            padded = draw(np.random.Generator(seed), stratum)
            start = self.tiling.overlap
            drawn = padded[:, start : start + self.tiling.n_sites].astype(np.int8)
            return np.where(self.fixed < 0, drawn, self.fixed)

        return sample_blocks(request, ctx, self.strata, self.ploidy, block)

    def save(self, directory: Path, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write itself and the networks' `arrays`, for `load`."""
        save_state(
            directory,
            name,
            {**arrays, "fixed": self.fixed},
            tiling=vars(self.tiling),
            strata=self.strata.facts(),
            steps=self.steps,
            ploidy=self.ploidy,
        )

    @classmethod
    def load(cls, directory: Path, name: str) -> tuple[dict[str, NDArray[Any]], Self]:
        """What `save` wrote: the networks' arrays, mapped into memory, and itself."""
        arrays, facts = load_state(directory, name)
        strata, fixed = Strata.from_facts(facts["strata"]), arrays.pop("fixed")
        tiling = Tiling(**facts["tiling"])
        return arrays, cls(tiling, strata, facts["steps"], facts["ploidy"], fixed)


@dataclass(frozen=True)
class Checkpoint:
    """Arrays of a fit in progress: files of `folder`, nowhere if None; `identity`: of which fit."""

    folder: Path | None
    identity: str

    @classmethod
    def of(cls, name: str, train: Panel, params: Params, ctx: RunContext) -> Self:
        """Of the generator `name`, where the run keeps any."""
        return cls(ctx.checkpoint, digest_of([name, params.model_dump(), ctx.seed, train.digest]))

    def write(self, file: str, arrays: Mapping[str, Any]) -> None:
        """Keep arrays, in the place of those before."""
        if self.folder is None:
            return
        buffer = io.BytesIO()
        np.savez(buffer, identity=np.array(self.identity), **arrays)
        write_whole(self.folder / file, buffer.getvalue())

    def read(self, file: str, names: Iterable[str] | None = None) -> dict[str, NDArray[Any]] | None:
        """What `write` kept, all of it or by name; None where that isn't there, or of another fit.

        What is torn or damaged isn't there.
        """
        if self.folder is None:
            return None
        try:
            with np.load(self.folder / file, allow_pickle=False) as table:
                if str(table["identity"]) != self.identity:
                    return None
                wanted = table.files if names is None else names
                return {name: table[name] for name in wanted if name != "identity"}
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            return None


def morgans(train: Panel, cm_per_mb: float, ctx: RunContext) -> NDArray[np.float64]:
    """Genetic positions of the sites from the first, (n_sites,), by the dataset's map.

    Where it has none, of one of `cm_per_mb`, which is logged.
    """
    found = ctx.recombination_map
    if found is None:
        ends = int(train.positions[0]), int(train.positions[-1])
        found = RecombinationMap.uniform(*ends, cm_per_mb)
        ctx.log.info("no recombination map: %g cM/Mb", cm_per_mb)
    centimorgans = found.at(train.positions)
    return np.asarray((centimorgans - centimorgans[0]) / 100, np.float64)


def refuse_unfit(train: Panel, name: str) -> None:
    """PanelError if the training panel has no sites or nobody, or missing alleles."""
    if not train.haplotypes.size:
        raise PanelError(
            f"generator {name}: the training panel has {train.n_haplotypes} haplotypes at "
            f"{train.n_sites} sites, expected at least one of each"
        )
    if train.has_missing:
        raise PanelError(
            f"generator {name}: the training panel has missing alleles, expected 0 and 1 only",
            hint="set the dataset's filter max_missing to 0",
        )


# --- privacy budget ---------------------------------------------------------------------------

_PUBLIC = {
    "sites": "public: the panel's site list is taken as given",
    "MAF filter": "not covered: the suite's filter was computed on the training people",
    "number of people": "public",
}


@dataclass(frozen=True)
class Budget:
    """ε and δ of a person with all haplotypes, spent on `steps` sums over all people.

    `multiplier`: standard deviation of each sum's noise over the sum's sensitivity; 0: no noise.
    Gaussian mechanisms of one multiplier z are together one of z / √steps, whose ε is exact
    (Balle & Wang 2018).
    """

    epsilon: float
    delta: float
    steps: int
    multiplier: float
    people: int

    @classmethod
    def of(cls, train: Panel, params: PrivateParams, name: str, steps: int = 1) -> Self:
        """Raises PanelError if δ isn't below 1 / people."""
        people = train.n_samples
        delta = params.delta or min(1e-6, people**-2)
        if delta * people >= 1:
            raise PanelError(
                f"generator {name}: delta is {delta:g} for {people} people, expected below "
                f"1 / {people}: it would allow to publish one of them",
            )
        whole = 0.0
        if math.isfinite(params.epsilon):
            import dp_accounting

            whole = dp_accounting.get_sigma_gaussian(params.epsilon, delta)
        return cls(params.epsilon, delta, steps, whole * math.sqrt(steps), people)

    @property
    def private(self) -> bool:
        """Whether there is noise."""
        return self.multiplier > 0

    def part(self, share: float) -> Self:
        """The budget of one of several sums, whose shares come to 1: less of it, more noise."""
        return replace(self, multiplier=self.multiplier / math.sqrt(share))

    def noised(self, total: NDArray[np.int64], sensitivity: float) -> NDArray[np.int64]:
        """One of the sums, integers that a person moves by `sensitivity` at most, in L2."""
        if not self.private:
            return total
        from haplobench.noise import NoiseSource, noised

        flat = noised(total.ravel(), self.multiplier, sensitivity, NoiseSource())
        return flat.reshape(total.shape)

    def statement(
        self, what: str, choices: Mapping[str, str], shares: tuple[float, ...] = (1.0,)
    ) -> PrivacyStatement:
        """What is claimed; `what` the noise is on, `choices` beside sites, filter and people.

        `shares`: of the sums that differ in their part of the budget.
        """
        parts = [self.part(share).multiplier for share in shares]
        return PrivacyStatement(
            epsilon=self.epsilon,
            delta=self.delta if self.private else 0.0,
            unit="person",
            accountant=f"analytic Gaussian (dp-accounting {version('dp-accounting')})"
            if self.private
            else "none: no noise",
            sampling="all people, once"
            if self.steps * len(parts) == 1
            else "all people, in every step",
            mechanism="discrete Gaussian noise, multiplier "
            f"{' and '.join(f'{multiplier:.4g}' for multiplier in parts)}, on {what}"
            if self.private
            else "none",
            n_records=self.people,
            choices={**_PUBLIC, **choices},
            noise_source="entropy" if self.private else "none",
            charges=tuple(PrivacyCharge(multiplier, 1.0, self.steps) for multiplier in parts)
            if self.private
            else (),
        )
