"""`admixture` and `families`: haplotypes handed down from the training people, along the map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from haplobench import Panel, PluginError, RunContext, SampleRequest
from haplobench.plugin.generators import load_state, save_state
from haplobench_peers import AdmixtureParams, DescentParams, FamiliesParams
from haplobench_peers.common import morgans, refuse_unfit

Indices = NDArray[np.int64]
_PEOPLE = 128  # drawn together, at least


@dataclass(frozen=True, eq=False)
class Ancestors:
    """Training haplotypes to descend from, in order of their group.

    `haplotypes` (n, n_sites) int8; `first` (n_groups + 1,) int64: each group's first haplotype, and
    n; `positions` (n_sites,) int64 bp; `morgans` (n_sites,) float64: from the first site.
    """

    haplotypes: NDArray[np.int8]
    first: Indices
    positions: Indices
    morgans: NDArray[np.float64]

    @classmethod
    def of(cls, train: Panel, group: Indices, params: DescentParams, ctx: RunContext) -> Self:
        """Of haplotypes in groups (n,), with the dataset's map or one of a constant rate."""
        counts = np.bincount(group)
        return cls(
            np.asarray(train.haplotypes)[np.argsort(group, kind="stable")],
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            np.asarray(train.positions, np.int64),
            morgans(train, params.cm_per_mb, ctx),
        )

    @classmethod
    def read(cls, arrays: dict[str, NDArray[Any]]) -> Self:
        """Of what `vars` gave."""
        return cls(**{part.name: arrays[part.name] for part in fields(cls)})

    def pieces(self, per_morgan: float, rng: np.random.Generator) -> Indices:
        """First sites of the pieces between points of a Poisson process along the map: (k,).

        Points that no site lies between are one.
        """
        length = float(self.morgans[-1])
        points = rng.random(rng.poisson(per_morgan * length)) * length
        sites = np.searchsorted(self.morgans, points, side="right")
        return np.unique(np.concatenate([[0], sites[sites < self.morgans.size]])).astype(np.int64)

    def mosaic(
        self, firsts: Indices, groups: Indices, rng: np.random.Generator
    ) -> NDArray[np.int8]:
        """A haplotype (n_sites,) whose pieces are copied, each from anyone of its group."""
        low, high = self.first[groups], self.first[groups + 1]
        sources = low + (rng.random(groups.size) * (high - low)).astype(np.int64)
        lengths = np.diff(firsts, append=self.morgans.size)
        return self.haplotypes[np.repeat(sources, lengths), np.arange(self.morgans.size)]


class Admixture:
    """People whose ancestors met some generations ago, with the ancestry of every piece.

    A haplotype changes ancestor at points of a Poisson process of rate `generations` along the map
    (Haldane 1919), and every piece is copied from a training haplotype of a population drawn by
    its share: the model of haptools' `simgenotype` (Massarat et al. 2023) in the limit of many
    people in every generation. Departure from it: no pedigree is simulated.

    Alleles are copied as they are: what a person's haplotypes tell stays in the cohort.
    """

    def fit(self, train: Panel, params: AdmixtureParams, ctx: RunContext) -> FittedAdmixture:
        """Sort the haplotypes by ancestry.

        Raises PanelError if alleles are missing or there are none, PluginError for a population
        that nobody has.
        """
        refuse_unfit(train, "admixture")
        labels = np.where(
            train.haplotype_superpopulations == "",
            train.haplotype_populations,
            train.haplotype_superpopulations,
        )
        names, group = np.unique(labels, return_inverse=True)
        wanted = params.proportions or dict(
            zip(names.tolist(), np.bincount(group).tolist(), strict=True)
        )
        unknown = sorted(set(wanted) - set(names.tolist()))
        if unknown:
            raise PluginError(
                f"generator admixture: proportions name {unknown[0]!r}, which nobody in the "
                f"training panel is (there are: {', '.join(names) or 'none'})"
            )
        shares = np.array([float(wanted.get(name, 0)) for name in names])
        ancestors = Ancestors.of(train, group.astype(np.int64), params, ctx)
        return FittedAdmixture(
            ancestors,
            tuple(names.tolist()),
            shares / shares.sum(),
            params.generations,
            train.ploidy,
        )

    def load(self, directory: Path, ctx: RunContext) -> FittedAdmixture:
        """Read what `save` wrote."""
        arrays, facts = load_state(directory, "admixture")
        return FittedAdmixture(
            Ancestors.read(arrays),
            tuple(facts["names"]),
            arrays["shares"],
            facts["generations"],
            facts["ploidy"],
        )


@dataclass(frozen=True, eq=False)
class FittedAdmixture:
    """Ancestors by ancestry, whose `names` and `shares` (n_groups,) are in turn."""

    ancestors: Ancestors
    names: tuple[str, ...]
    shares: NDArray[np.float64]
    generations: float
    ploidy: int

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[NDArray[np.int8]]:
        """Yield (batch, n_sites) int8, and write every piece's ancestry to the artifacts.

        `local-ancestry-START.tsv`, START the request's first haplotype: its number from 0, first
        and last position (bp, both included) and ancestry of each piece, in turn.
        """
        path = ctx.artifacts / f"local-ancestry-{request.start}.tsv"
        with path.open("w", encoding="utf-8") as table:
            table.write("haplotype\tstart\tend\tancestry\n")
            for block, wanted, _ in request.blocks(_PEOPLE * self.ploidy):
                rng = ctx.rng("admixture", "sample", block)
                rows = []
                for row in range(_PEOPLE * self.ploidy):
                    firsts = self.ancestors.pieces(self.generations, rng)
                    groups = rng.choice(self.shares.size, firsts.size, p=self.shares)
                    rows.append(self.ancestors.mosaic(firsts, groups, rng))
                    if wanted.start <= row < wanted.stop:
                        number = block * _PEOPLE * self.ploidy + row
                        table.writelines(self._lines(number, firsts, groups))
                drawn = np.stack(rows[wanted])
                for first in range(0, len(drawn), request.batch_size):
                    yield drawn[first : first + request.batch_size]

    def _lines(self, haplotype: int, firsts: Indices, groups: Indices) -> Iterator[str]:
        positions = self.ancestors.positions
        changes = np.flatnonzero(np.diff(groups, prepend=-1))
        starts = firsts[changes]
        lasts = np.append(starts[1:], positions.size) - 1
        for start, last, group in zip(starts, lasts, groups[changes], strict=True):
            place = f"{positions[start]}\t{positions[last]}"
            yield f"{haplotype}\t{place}\t{self.names[group] or 'unlabelled'}\n"

    def save(self, directory: Path) -> None:
        """Write the ancestors and their shares."""
        save_state(
            directory,
            "admixture",
            {**vars(self.ancestors), "shares": self.shares},
            names=self.names,
            generations=self.generations,
            ploidy=self.ploidy,
        )


class Families:
    """Unrelated founders, and their children by Mendelian transmission.

    A family is a father, a mother and `children` siblings: trios, where it is one. A child's first
    haplotype is a recombinant of its father's two, its second of its mother's: crossovers are a
    Poisson process of rate 1 along the map, without interference (Haldane 1919). Where people have
    one haplotype, a child's is a recombinant of its parents'.

    Founders' haplotypes are mosaics of one population's training haplotypes, as old as
    `generations`; copied alleles stay as they are.
    """

    def fit(self, train: Panel, params: FamiliesParams, ctx: RunContext) -> FittedFamilies:
        """Sort the haplotypes by population.

        Raises PanelError if alleles are missing or there are none.
        """
        refuse_unfit(train, "families")
        _, group = np.unique(train.haplotype_populations, return_inverse=True)
        ancestors = Ancestors.of(train, group.astype(np.int64), params, ctx)
        return FittedFamilies(ancestors, params.children, params.generations, train.ploidy)

    def load(self, directory: Path, ctx: RunContext) -> FittedFamilies:
        """Read what `save` wrote."""
        arrays, facts = load_state(directory, "families")
        return FittedFamilies(Ancestors.read(arrays), **facts)


@dataclass(frozen=True, eq=False)
class FittedFamilies:
    """Ancestors by population, and what families are like."""

    ancestors: Ancestors
    children: int
    generations: float
    ploidy: int

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[NDArray[np.int8]]:
        """Yield (batch, n_sites) int8, and write who is whose child to the artifacts.

        `families-START.tsv`, START the request's first haplotype: family, person and parents of
        everybody in turn, numbered from 0; -1 for a founder's parents. A family follows another
        whole: father, mother, children. Its parents are of one population, drawn by its people.
        """
        members = 2 + self.children
        families = -(-_PEOPLE // members)
        path = ctx.artifacts / f"families-{request.start}.tsv"
        with path.open("w", encoding="utf-8") as table:
            table.write("family\tperson\tfather\tmother\n")
            for block, wanted, _ in request.blocks(families * members * self.ploidy):
                rng = ctx.rng("families", "sample", block)
                drawn = np.concatenate([self._family(rng) for _ in range(families)])[wanted]
                for row in range(wanted.start, wanted.stop, self.ploidy):
                    person = block * families * members + row // self.ploidy
                    family, role = divmod(person, members)
                    parents = (family * members, family * members + 1) if role > 1 else (-1, -1)
                    table.write(f"{family}\t{person}\t{parents[0]}\t{parents[1]}\n")
                for first in range(0, len(drawn), request.batch_size):
                    yield drawn[first : first + request.batch_size]

    def _family(self, rng: np.random.Generator) -> NDArray[np.int8]:
        """Father, mother and children: ((2 + children) × ploidy, n_sites) int8."""
        ancestors = self.ancestors
        someone = rng.integers(len(ancestors.haplotypes))
        group = np.searchsorted(ancestors.first, someone, side="right") - 1
        people = []
        for _ in range(2 * self.ploidy):
            firsts = ancestors.pieces(self.generations, rng)
            people.append(ancestors.mosaic(firsts, np.full(firsts.size, group), rng))
        parents = [people[: self.ploidy], people[self.ploidy :]] if self.ploidy > 1 else [people]
        for _ in range(self.children):
            people += [self._gamete(parent, rng) for parent in parents]
        return np.stack(people)

    def _gamete(
        self, parent: Sequence[NDArray[np.int8]], rng: np.random.Generator
    ) -> NDArray[np.int8]:
        """A recombinant of two haplotypes: (n_sites,) int8."""
        points = rng.poisson(float(self.ancestors.morgans[-1]))
        crossovers = rng.random(points) * self.ancestors.morgans[-1]
        passed = np.searchsorted(np.sort(crossovers), self.ancestors.morgans, side="left")
        strand = (passed + rng.integers(2)) % 2
        return np.where(strand == 0, parent[0], parent[1])

    def save(self, directory: Path) -> None:
        """Write the ancestors."""
        save_state(
            directory,
            "families",
            vars(self.ancestors),
            children=self.children,
            generations=self.generations,
            ploidy=self.ploidy,
        )
