"""`with-traits`: another generator's haplotypes, jointly with traits of their people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from haplobench import (
    BenchError,
    Fitted,
    Panel,
    PanelError,
    Populations,
    RunContext,
    SampleRequest,
)
from haplobench.data.contigs import same_contig
from haplobench.data.panel import summed_strands
from haplobench.files import expand_path
from haplobench.model_state import load_state, save_state
from haplobench.registry import load_registry, resolve
from haplobench_traits.model import Floats, TraitModel
from haplobench_traits.specs import TraitsParams
from haplobench_traits.table import read_table

# Drawn together: other generators draw blocks whole, of 256 haplotypes mostly, so that fewer would
# have each drawn twice. With candidates there are many more for each person.
_PEOPLE, _PEOPLE_GIVEN = 256, 64
_FEWEST = 20
_FEWEST_EFFECTIVE = 10.0


class WithTraits:
    """Haplotypes h of another generator, and traits y of their people: p(h) p(y | h).

    p(y | h) is `TraitModel`'s. Given traits, haplotypes are drawn by sampling importance
    resampling (Smith & Gelfand 1992): of some candidates of the other generator one is kept, by the
    likelihood of the given values.

    No differential privacy is claimed, whatever the other generator claims: traits are fitted
    without noise.
    """

    def fit(self, train: Panel, params: TraitsParams, ctx: RunContext) -> FittedTraits:
        """Fit both; effects of sites are in the artifacts, `effects.tsv`.

        Raises PanelError if alleles are missing, BenchError if the table has fewer than 20 of the
        training people or has none of a population.
        """
        if train.has_missing:
            raise PanelError("generator with-traits: missing alleles, expected 0 and 1 only")
        table = read_table(expand_path(params.table))
        rows = {sample: row for row, sample in enumerate(table.samples)}
        with_row = np.array([sample in rows for sample in train.samples.tolist()], bool)
        n = int(with_row.sum())
        if n < _FEWEST:
            raise BenchError(
                f"{params.table}: has {n} of the {train.n_samples:,} training people, expected "
                f"{_FEWEST} or more: its column `sample` must have the panel's names",
            )
        if n < train.n_samples:
            ctx.log.warning(
                "%s: %d of %d training people have no row, and no part in the traits",
                *(params.table, train.n_samples - n, train.n_samples),
            )
        people = train.select_samples(with_row)
        populations = Populations.of(train)
        lacking = sorted(set(populations.names) - set(people.population.tolist()))
        if lacking:
            raise BenchError(
                f"{params.table}: has nobody of population {lacking[0]!r}, whose traits can't be "
                "told; leave the population out, or give its people rows"
            )
        values = table.values[[rows[sample] for sample in people.samples.tolist()]]
        model = TraitModel.fit(
            people,
            populations.index(people.population),
            values,
            params.most_sites,
            ctx.rng("traits", "order"),
        )
        at = {table.names.index(name): value for name, value in params.given.items()}
        for trait, value in at.items():
            if not model.least[trait] <= value <= model.most[trait]:
                raise BenchError(
                    f"given: {table.names[trait]} {value:g}, but the training people's lie within "
                    f"{model.least[trait]:g} and {model.most[trait]:g}"
                )
        _write_effects(ctx.artifacts / "effects.tsv", train.contig, table.names, model)
        inner = resolve(params.inner().target)().fit(train, params.inner_params(), ctx)
        return FittedTraits(
            *(inner, params.generator, model, table.names, populations),
            *(train.contig, train.ploidy, at, params.candidates),
        )

    def load(self, directory: Path, ctx: RunContext) -> FittedTraits:
        """Read what `save` wrote."""
        arrays, facts = load_state(directory, "with-traits")
        spec = load_registry().generator(facts["generator"])
        return FittedTraits(
            resolve(spec.target)().load(directory / "haplotypes", ctx),
            facts["generator"],
            TraitModel.read(arrays),
            tuple(facts["names"]),
            Populations(**{name: tuple(of) for name, of in facts["populations"].items()}),
            facts["contig"],
            facts["ploidy"],
            {int(trait): value for trait, value in facts["given"].items()},
            facts["candidates"],
        )


def _write_effects(path: Path, contig: str, names: tuple[str, ...], model: TraitModel) -> None:
    lines = ["trait\tcontig\tposition\tref\talt\teffect\texplained\n"]
    columns = zip(model.trait, model.position, model.ref, model.alt, model.effect, strict=True)
    for trait, position, ref, alt, effect in columns:
        explained = model.explained[trait]
        place = f"{contig}\t{position}\t{ref}\t{alt}"
        lines.append(f"{names[trait]}\t{place}\t{effect:.4g}\t{explained:.3f}\n")
    path.write_text("".join(lines), encoding="utf-8")


@dataclass(frozen=True, eq=False)
class FittedTraits:
    """Haplotypes' generator, `inner`, called `generator`, and what traits are given haplotypes.

    `names` of the traits; `given`: values by their number; `candidates` for each person kept.
    """

    inner: Fitted
    generator: str
    model: TraitModel
    names: tuple[str, ...]
    populations: Populations
    contig: str
    ploidy: int
    given: dict[int, float]
    candidates: int

    @property
    def people(self) -> int:
        """People of a block, to which randomness is keyed."""
        return _PEOPLE_GIVEN if self.given else _PEOPLE

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[NDArray[np.int8]]:
        """Yield (batch, n_sites) int8, and write everybody's traits to the artifacts.

        `traits-START.tsv`, START the request's first haplotype: person, from 0, and a column for
        each trait.
        """
        path = ctx.artifacts / f"traits-{request.start}.tsv"
        effective = []
        with path.open("w", encoding="utf-8") as table:
            table.write("\t".join(("person", *self.names)) + "\n")
            for block, wanted, into in request.blocks(self.people * self.ploidy):
                asked = None if request.populations is None else request.populations[into]
                rows = slice(wanted.start // self.ploidy, wanted.stop // self.ploidy)
                drawn, population, n = self._people(block, rows, asked, ctx)
                effective.append(n)
                noise = ctx.rng("traits", "noise", block).normal(
                    size=(self.people, len(self.names))
                )
                expected = self._expected(drawn, population)
                values = self.model.draw(expected, noise[rows], self.given)
                for person, row in enumerate(values, block * self.people + rows.start):
                    table.write("\t".join([str(person), *(f"{v:.6g}" for v in row)]) + "\n")
                for first in range(0, len(drawn), request.batch_size):
                    yield drawn[first : first + request.batch_size]
        if self.given and (least := min(effective)) < _FEWEST_EFFECTIVE:
            ctx.log.warning(
                "given traits are rare among people that %s draws: %d candidates are worth %.1f; "
                "raise `candidates`, or the cohort is less like such people than it should be",
                *(self.generator, self.candidates, least),
            )

    def traits(self, panel: Panel, ctx: RunContext) -> Floats:
        """Traits drawn for the people of `panel`, which has the effects' sites: (n, n_traits).

        Raises PanelError if it hasn't, or is of another contig or ploidy; PluginError for a
        population that nobody in training has.
        """
        if not same_contig(panel.contig, self.contig):
            raise PanelError(f"contig: {panel.contig!r}, expected {self.contig!r} as in training")
        if panel.ploidy != self.ploidy:
            raise PanelError(f"ploidy: {panel.ploidy}, expected {self.ploidy} as in training")
        rng = ctx.rng("traits", "of", panel.digest)
        labels = panel.population if panel.labelled else None
        population = self.populations.draw(labels, rng.random(panel.n_samples))
        expected = self.model.expected(self.model.dosages(panel), population)
        return self.model.draw(expected, rng.normal(size=expected.shape), {})

    def _expected(self, haplotypes: NDArray[np.int8], population: NDArray[np.int64]) -> Floats:
        """Scores expected of people with these haplotypes: (n, n_traits)."""
        alleles = np.ascontiguousarray(haplotypes[:, self.model.site])
        return self.model.expected(summed_strands(alleles, self.ploidy), population)

    def _people(
        self, block: int, rows: slice, asked: NDArray[np.str_] | None, ctx: RunContext
    ) -> tuple[NDArray[np.int8], NDArray[np.int64], float]:
        """People of a block that are wanted, of populations or superpopulations `asked`.

        Returns
        -------
        (n × ploidy, n_sites) int8, (n,) int64, float
            Haplotypes, populations, and how many candidates those of a person are worth.
        """
        each = self.candidates if self.given else 1
        n = rows.stop - rows.start
        level = ctx.rng("traits", "population", block).random((self.people, each))[rows].ravel()
        labels = None if asked is None else np.repeat(asked[:: self.ploidy], each)
        population = self.populations.draw(labels, level)
        names = np.repeat(np.array(self.populations.names)[population], self.ploidy)
        request = SampleRequest(
            names.size,
            (block * self.people + rows.start) * each * self.ploidy,
            populations=names if self.populations.names != ("",) else None,
        )
        drawn = np.concatenate(list(self.inner.sample(request, ctx)))
        if not self.given:
            return drawn, population, 1.0
        expected = self._expected(drawn, population)
        log = self.model.log_likelihood(expected, self.given).reshape(n, each)
        weight = np.exp(log - log.max(axis=1, keepdims=True))
        weight /= weight.sum(axis=1, keepdims=True)
        level = ctx.rng("traits", "kept", block).random(self.people)[rows]
        kept = np.minimum((weight.cumsum(axis=1) < level[:, None]).sum(axis=1), each - 1)
        people = drawn.reshape(n, each, self.ploidy, -1)[np.arange(n), kept]
        effective = float((1 / (weight**2).sum(axis=1)).mean())
        return (
            people.reshape(n * self.ploidy, -1),
            population.reshape(n, each)[np.arange(n), kept],
            effective,
        )

    def save(self, directory: Path) -> None:
        """Write both: the haplotypes' generator into a folder of its own."""
        (directory / "haplotypes").mkdir()
        self.inner.save(directory / "haplotypes")
        save_state(
            directory,
            "with-traits",
            vars(self.model),
            generator=self.generator,
            names=self.names,
            populations=vars(self.populations),
            contig=self.contig,
            ploidy=self.ploidy,
            given=self.given,
            candidates=self.candidates,
        )
