"""`with-traits`: another generator's haplotypes, jointly with traits of their people.

What traits are, given a person's haplotypes: effects of sites, populations, shared residuals.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.covariance import ledoit_wolf

from haplobench import BenchError, Fitted, Panel, PanelError, Populations, RunContext, SampleRequest
from haplobench.data.contigs import same_contig
from haplobench.data.panel import summed_strands
from haplobench.files import expand_path
from haplobench.plugin.generators import load_state, save_state
from haplobench.registry import load_registry, resolve
from haplobench_traits import TraitsParams, read_table

Floats = NDArray[np.float64]
_KNOTS = 33
_BEYOND = 5  # people, of the training people, on either side of the outermost knots
_SITES = 4096  # whose dosages are floats at a time


@dataclass(frozen=True, eq=False)
class TraitModel:
    """A person's traits: normal scores that are linear in dosages, with normal residuals.

    Attributes
    ----------
    levels : (n_knots,) float64
        Scores of the knots.
    knots : (n_knots, n_traits) float64
        Values of each trait with those scores, in the trait's units. The outermost are no
        person's own: as many people lie beyond as `_BEYOND` says.
    least, most : (n_traits,) float64
        Bounds of each trait's values.
    means : (n_populations, n_traits) float64
        Score of who has no alternate allele.
    site, trait : (n_effects,) int64
        Which site of the training panel has an effect on which trait.
    position, ref, alt : (n_effects,) int64 bp, str, str
        Of that site.
    effect : (n_effects,) float64
        In scores for one more alternate allele.
    covariance : (n_traits, n_traits) float64
        Of residuals.
    explained : (n_traits,) float64
        Share of the variance within populations that the sites explain in the training people.
    """

    levels: Floats
    knots: Floats
    least: Floats
    most: Floats
    means: Floats
    site: NDArray[np.int64]
    trait: NDArray[np.int64]
    position: NDArray[np.int64]
    ref: NDArray[np.str_]
    alt: NDArray[np.str_]
    effect: Floats
    covariance: Floats
    explained: Floats

    @classmethod
    def fit(
        cls,
        train: Panel,
        population: NDArray[np.int64],
        values: Floats,
        most_sites: int,
        rng: np.random.Generator,
    ) -> Self:
        """Fit to people of populations (n,), with traits (n, n_traits).

        Scores are normal quantiles of ranks, equal values in random order, so that a trait which
        most people lack has normal scores, too. A trait that is nowhere below 0 stays so, and one
        that lies within 0 and 1. Sites enter one after the other, by the greatest
        correlation with what is left within populations, as long as the extended BIC falls
        (Chen & Chen 2008, γ = 1): it asks more of one site among many. Residuals' covariance is
        shrunk (Ledoit & Wolf 2004).
        """
        n = len(values)
        shuffled = rng.permuted(np.tile(np.arange(n), (values.shape[1], 1)), axis=1)
        order = np.array([np.lexsort(one) for one in zip(shuffled, values.T, strict=True)])
        scores = norm.ppf((order.argsort(axis=1) + 0.5) / n).T
        outermost = norm.isf(min(0.1, _BEYOND / n))
        levels = np.linspace(-outermost, outermost, _KNOTS)
        knots = np.quantile(values, norm.cdf(levels), axis=0)
        bounded = values.min(axis=0) >= 0
        groups = np.eye(population.max() + 1)[population]
        within = _Within(train, groups)
        left = within.centred(scores)
        total = np.maximum((left**2).sum(axis=0), 1e-12)
        chosen = _chosen_sites(within, left, most_sites)
        n_traits = scores.shape[1]
        means, residuals = np.empty((groups.shape[1], n_traits)), np.empty_like(scores)
        effects = []
        for of in range(n_traits):
            design = np.hstack([groups, within.dosages(np.array(chosen[of], np.int64))])
            solved = np.linalg.lstsq(design, scores[:, of], rcond=None)[0]
            residuals[:, of] = scores[:, of] - design @ solved
            means[:, of] = solved[: groups.shape[1]]
            effects.append(solved[groups.shape[1] :])
        site = np.concatenate([np.array(sites, np.int64) for sites in chosen])
        return cls(
            levels,
            knots,
            np.where(bounded, 0.0, -np.inf),
            np.where(bounded & (values.max(axis=0) <= 1), 1.0, np.inf),
            means,
            site,
            np.repeat(np.arange(n_traits), [len(sites) for sites in chosen]),
            *(train.positions[site], train.ref[site], train.alt[site]),
            np.concatenate(effects),
            np.atleast_2d(ledoit_wolf(residuals, assume_centered=True)[0]),
            1 - (residuals**2).sum(axis=0) / total,
        )

    @classmethod
    def read(cls, arrays: dict[str, NDArray[Any]]) -> Self:
        """Of what `vars` gave."""
        return cls(**{part.name: np.asarray(arrays[part.name]) for part in fields(cls)})

    def expected(self, dosages: NDArray[np.int8], population: NDArray[np.int64]) -> Floats:
        """Scores expected of people with these dosages at `site`: (n, n_traits).

        `dosages` (n, n_effects) int8; `population` (n,) int64.
        """
        scores = self.means[population]
        np.add.at(scores.T, self.trait, (dosages * self.effect).T)
        return scores

    def dosages(self, panel: Panel) -> NDArray[np.int8]:
        """Of the people of another panel, (n, n_effects) int8.

        Raises PanelError if it lacks a site, has other alleles there, or missing ones.
        """
        at = np.minimum(np.searchsorted(panel.positions, self.position), panel.n_sites - 1)
        for which, (own, theirs) in enumerate(zip(self.position, panel.positions[at], strict=True)):
            alleles = f"{self.ref[which]}/{self.alt[which]}"
            other = f"{panel.ref[at[which]]}/{panel.alt[at[which]]}"
            if own != theirs or alleles != other:
                raise PanelError(
                    f"site {panel.contig}:{own} {alleles}, which has an effect on a trait: "
                    + ("isn't in the panel" if own != theirs else f"is {other} in the panel")
                )
        haplotypes = panel.site_rows(at).T
        if (haplotypes < 0).any():
            raise PanelError("missing alleles at sites with an effect, expected 0 and 1 only")
        return summed_strands(np.ascontiguousarray(haplotypes), panel.ploidy)

    def draw(self, expected: Floats, noise: Floats, given: dict[int, float]) -> Floats:
        """Values of traits of people: (n, n_traits), in the traits' units.

        `expected`, `noise` (n, n_traits): scores, and standard normal numbers. Traits that are
        given, by index, have their value; the others are drawn as those leave them.
        """
        known = sorted(given)
        free = [i for i in range(expected.shape[1]) if i not in given]
        values = np.empty_like(expected)
        values[:, known] = [given[i] for i in known]
        if not free:
            return values
        across = self.covariance[np.ix_(known, free)]
        slope = np.linalg.solve(self.covariance[np.ix_(known, known)], across)
        residual = self.scores(given) - expected[:, known]
        rest = self.covariance[np.ix_(free, free)] - across.T @ slope
        drawn = expected[:, free] + residual @ slope + noise[:, free] @ np.linalg.cholesky(rest).T
        values[:, free] = self._values(drawn, free)
        return values

    def log_likelihood(self, expected: Floats, given: dict[int, float]) -> Floats:
        """Log density of the given scores, up to a constant, of people expected to have (n,)."""
        known = sorted(given)
        residual = self.scores(given) - expected[:, known]
        solved = np.linalg.solve(self.covariance[np.ix_(known, known)], residual.T)
        return np.asarray(-0.5 * (residual.T * solved).sum(axis=0))

    def scores(self, given: dict[int, float]) -> Floats:
        """Scores of given values, in order of their traits: (n_given,).

        Of a value that many people have, the middle of their scores.
        """
        scores = []
        for of in sorted(given):
            knots, first, count = np.unique(
                self.knots[:, of], return_index=True, return_counts=True
            )
            middle = (self.levels[first] + self.levels[first + count - 1]) / 2
            scores.append(_line(np.array([given[of]]), knots, middle)[0])
        return np.array(scores)

    def _values(self, scores: Floats, traits: list[int]) -> Floats:
        """Of scores (n, n_some) of some traits."""
        values = np.empty_like(scores)
        for column, of in enumerate(traits):
            drawn = _line(scores[:, column], self.levels, self.knots[:, of])
            values[:, column] = np.clip(drawn, self.least[of], self.most[of])
        return values


def _line(x: Floats, knots: Floats, values: Floats) -> Floats:
    """Piecewise linear between knots (n,), and on as straight as between the last two."""
    if knots.size < 2:
        return np.full_like(x, values[0])
    y = np.interp(x, knots, values)
    for inner, outer, beyond in ((1, 0, x < knots[0]), (-2, -1, x > knots[-1])):
        slope = (values[outer] - values[inner]) / (knots[outer] - knots[inner])
        y[beyond] = values[outer] + slope * (x[beyond] - knots[outer])
    return y


@dataclass(frozen=True, eq=False)
class _Within:
    """Dosages and scores less their population's mean; `groups` (n_people, n_populations): 0, 1."""

    panel: Panel
    groups: Floats

    def centred(self, values: Floats) -> Floats:
        """Less the mean of each column's population."""
        means = (self.groups.T @ values) / self.groups.sum(axis=0)[:, None]
        return np.asarray(values - self.groups @ means)

    def dosages(self, sites: NDArray[np.int64]) -> Floats:
        """Of some sites: (n_people, n_some)."""
        alleles = self.panel.site_rows(sites).T
        return summed_strands(np.ascontiguousarray(alleles), self.panel.ploidy).astype(np.float64)

    def blocks(self) -> Iterator[tuple[int, Floats]]:
        """Yield first site, and standardised dosages of a block of sites; 0 where all are equal."""
        for low in range(0, self.panel.n_sites, _SITES):
            sites = np.arange(low, min(low + _SITES, self.panel.n_sites))
            block = self.centred(self.dosages(sites))
            size = np.sqrt((block**2).sum(axis=0))
            yield low, block / np.where(size > 1e-9, size, np.inf)


def _chosen_sites(within: _Within, left: Floats, most_sites: int) -> list[list[int]]:
    """Sites with an effect on each trait, in the order in which they entered."""
    n, n_traits = left.shape
    free = n - within.groups.shape[1]
    chosen: list[list[int]] = [[] for _ in range(n_traits)]
    square = (left**2).sum(axis=0)
    left, active = left.copy(), np.flatnonzero(square > 1e-9)
    designs: list[Floats] = [np.empty((n, 0))] * n_traits
    for _ in range(min(most_sites, max(0, free // 10))):
        if not active.size:
            break
        best, best_site = np.zeros(active.size), np.zeros(active.size, np.int64)
        for low, block in within.blocks():
            agreement = np.abs(block.T @ left[:, active])
            at = agreement.argmax(axis=0)
            value = agreement[at, np.arange(active.size)]
            better = value > best
            best[better], best_site[better] = value[better], at[better] + low
        entered = []
        for of, site in zip(active.tolist(), best_site.tolist(), strict=True):
            column = within.centred(within.dosages(np.array([site])))
            design = np.hstack([designs[of], column])
            before = square[of]
            residual = left[:, of] - design @ np.linalg.lstsq(design, left[:, of], rcond=None)[0]
            after = max(float((residual**2).sum()), 1e-12)
            gain = n * np.log(before / after)
            if site in chosen[of] or gain <= np.log(n) + 2 * np.log(within.panel.n_sites):
                continue
            chosen[of].append(site)
            designs[of], left[:, of], square[of] = design, residual, after
            entered.append(of)
        active = np.array(entered, np.int64)
    return chosen


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
