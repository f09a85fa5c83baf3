"""`dp-founders`: mosaics of a few founders, fitted to noisy moments of pairs of sites."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from haplobench import (
    Panel,
    PrivacyStatement,
    RecombinationMap,
    RunContext,
    SampleRequest,
)
from haplobench.kernels import compiled
from haplobench.noise import cut, fine_step
from haplobench.plugin.generators import load_state, save_state
from haplobench_peers import FoundersParams
from haplobench_peers.common import BLOCK, Budget, refuse_unfit
from haplobench_peers.networks import torch_threads

Reals = NDArray[np.float64]
_NAME = "dp-founders"
_SHARES = 0.35, 0.65  # of the budget: frequencies, moments
_CENTRE = 0.25  # that allele frequencies are counted from
_FREQUENCY_CLIP = 0.375  # of the root of the sites, a haplotype
_MOMENT_CLIP = 1.25  # of the norm if sites were independent
_WITNESS = 0.2  # of the norm that alleles are cut to
_RARE = 0.3  # weight of frequencies by 1 / (1 - p), where 1 / p has 1
_GRID = np.linspace(0.005, 0.995, 199)
_SAMPLING = 0.1  # standard deviation of what a haplotype adds to a moment, beside the noise
_JUMPS = 100.0  # a Morgan
_SPREAD, _SLOPE = 0.3, 0.08  # weight of the prior of log odds, learning rate
_FIRST_CONSENSUS, _EVERY = 0.3, 20  # share of the iterations; iterations
_ALIKE, _NOBODY = 0.05, 0.7  # by how much, and from where on, a correlation draws
_SHARPER = 4.0
_EDGE = 1e-5
_LADDER = ((0.1, 64), (0.5, 32), (math.inf, 16))  # noise of a correlation up to which so many


class DPFounders:
    """Haplotypes as mosaics of founders (Li & Stephens 2003), learnt from noisy second moments.

    Two sums over people get noise: of their alleles, and of the products of their alleles, less
    the noisy frequencies, at all pairs of sites up to a reach apart. What follows is
    computed from these two alone and costs no budget, however often it looks at them: founders
    whose moments are the noisy ones are fitted by gradients, several times from other starts, so
    that what noise alone made of them averages out.

    Three things stand in for the people that are missing. Frequencies are drawn towards the
    spectrum of a population of constant size. A site's alleles in the founders are drawn
    towards those of the sites nearby that it resembles, as sites on one branch of a genealogy
    are alike. Fitted odds are sharpened, because what is fitted to noise has too little LD.
    """

    def fit(self, train: Panel, params: FoundersParams, ctx: RunContext) -> FittedDPFounders:
        """Sum, add noise, and fit.

        The unit is a person. Raises PanelError if alleles are missing, if there are none, or if δ
        isn't below 1 / people.
        """
        refuse_unfit(train, _NAME)
        budget = Budget.of(train, params, _NAME)
        moments = Moments.of(train, params.reach, budget)
        genetic_map = ctx.recombination_map or RecombinationMap.uniform(
            int(train.positions[0]), int(train.positions[-1])
        )
        morgans = genetic_map.at(train.positions) / 100
        founders = params.founders or moments.founders()
        members, iterations = params.members, params.iterations
        fits = []
        with torch_threads(ctx.threads):
            for member in range(members):
                generator = torch.Generator().manual_seed(ctx.seed_for(_NAME, "start", member))
                search = Search(moments, morgans, founders, generator)
                for at in range(iterations):
                    search.step(at / iterations, at)
                fits.append(search.founders())
                ctx.progress((member + 1) / members, f"{member + 1} of {members} sets of founders")
        alleles = sharpened(np.array(fits))
        if not budget.private:
            fixed = train.maf == 0
            alleles[:, fixed] = train.frequencies[fixed, None]
        stay = np.exp(-_JUMPS * np.diff(morgans, prepend=morgans[0]))
        statement = budget.statement(
            f"sums of alleles, and of products of alleles of sites up to {params.reach} apart, "
            "each person's cut to a norm",
            {
                "recombination map": "public",
                "settings": "public: chosen on simulated people (OutOfAfrica_3G09) alone",
            },
            shares=_SHARES,
        )
        return FittedDPFounders(alleles.astype(np.float32), stay.astype(np.float32), statement)

    def load(self, directory: Path, ctx: RunContext) -> FittedDPFounders:
        """Read what `save` wrote."""
        arrays, facts = load_state(directory, _NAME)
        statement = PrivacyStatement.from_json(facts["privacy"])
        return FittedDPFounders(arrays["alleles"], arrays["stay"], statement)


@dataclass(frozen=True, eq=False)
class Moments:
    """What is released of the training people; all arrays float64, sites in blocks of `reach`.

    `frequencies`, `variances` (n_sites,): posterior of the alternate allele's frequency.
    `inside` (n_blocks, reach, reach): sums over haplotypes of the products of alleles less
    `frequencies`, of a block's sites with the same or a later one of the block; `across`
    (n_blocks - 1, reach, reach): of a block's sites (first) with the next one's up to `reach` away.
    The rest is 0.
    `deviation`: of the noise of each. `haplotypes`: as many would have squares of the sum there is;
    fewer than there are, because large ones are cut.
    """

    frequencies: Reals
    variances: Reals
    inside: Reals
    across: Reals
    deviation: float
    haplotypes: float

    def founders(self) -> int:
        """How many may be told apart: by the noise of a pair's correlation, from `_LADDER`."""
        variance = float((self.frequencies * (1 - self.frequencies)).mean())
        noise = self.deviation / self.haplotypes / variance
        return next(founders for most, founders in _LADDER if noise <= most)

    @classmethod
    def of(cls, train: Panel, reach: int, budget: Budget) -> Self:
        """Release them."""
        haplotypes, ploidy = train.haplotypes, train.ploidy
        n_sites = train.n_sites
        people = [slice(at, at + ploidy) for at in range(0, len(haplotypes), ploidy)]
        clip = _FREQUENCY_CLIP * ploidy * math.sqrt(n_sites)
        witness = _WITNESS * clip  # is cut with a person's alleles, so its sum tells how much was
        alleles = (np.append((haplotypes[rows] - _CENTRE).sum(axis=0), witness) for rows in people)
        sums, deviation = _released(alleles, n_sites + 1, clip, budget.part(_SHARES[0]))
        count = max(1.0, sums[-1] / witness) * ploidy
        frequencies, variances = posterior_frequencies(
            _CENTRE + sums[:-1] / count, deviation / count
        )
        products = _Products(-(-n_sites // reach), reach)
        spread = _in_blocks(frequencies * (1 - frequencies), reach)
        clip = _MOMENT_CLIP * math.sqrt(ploidy * products.of(spread[None]).sum())
        pairs = (products.of(_in_blocks(haplotypes[rows] - frequencies, reach)) for rows in people)
        sums, deviation = _released(pairs, products.size, clip, budget.part(_SHARES[1]))
        inside, across = products.unfold(sums)
        # The mean square of an allele less its frequency's mean, over the posterior.
        squares = float(np.diagonal(inside, axis1=1, axis2=2).sum())
        count = max(1.0, squares / float(spread.sum()))
        return cls(frequencies, variances, inside, across, deviation, count)


def _in_blocks(values: Reals, reach: int) -> Reals:
    """(…, n_sites) to (…, n_blocks, reach), the last block filled up with 0."""
    n_blocks = -(-values.shape[-1] // reach)
    whole = np.zeros((*values.shape[:-1], n_blocks * reach))
    whole[..., : values.shape[-1]] = values
    return whole.reshape(*values.shape[:-1], n_blocks, reach)


class _Products:
    """Products of the values of sites up to `reach` apart, as one vector of `size` numbers."""

    def __init__(self, n_blocks: int, reach: int) -> None:
        self.shape = n_blocks, reach, reach
        self.upper = np.triu_indices(reach)
        self.near = np.tril_indices(reach)  # a block's site, the next one's: reach apart at most
        self.size = n_blocks * self.upper[0].size + (n_blocks - 1) * self.near[0].size

    def of(self, values: Reals) -> Reals:
        """Of (n, n_blocks, reach), summed over the first axis: (size,)."""
        turned = values.transpose(1, 2, 0)
        inside = turned @ turned.transpose(0, 2, 1)
        across = turned[:-1] @ turned[1:].transpose(0, 2, 1)
        return np.concatenate([inside[:, *self.upper].ravel(), across[:, *self.near].ravel()])

    def unfold(self, sums: Reals) -> tuple[Reals, Reals]:
        """As `Moments` has them."""
        n_blocks = self.shape[0]
        inside, across = np.zeros(self.shape), np.zeros((n_blocks - 1, *self.shape[1:]))
        split = n_blocks * self.upper[0].size
        inside[:, *self.upper] = sums[:split].reshape(n_blocks, -1)
        across[:, *self.near] = sums[split:].reshape(n_blocks - 1, self.near[0].size)
        return inside, across


def _released(
    vectors: Iterator[Reals], size: int, clip: float, budget: Budget
) -> tuple[Reals, float]:
    """Noisy sum of people's vectors (size,), each cut to a norm of `clip`, and its deviation."""
    total, step = person_sum(vectors, size, clip)
    noisy = budget.noised(total, clip / step).astype(np.float64)
    return noisy * step, budget.multiplier * clip


def person_sum(vectors: Iterator[Reals], size: int, clip: float) -> tuple[NDArray[np.int64], float]:
    """Sum of people's vectors (size,), each cut to a norm of `clip`, in whole steps; the step.

    One person moves it by `clip` / step at most, in L2.
    """
    step = fine_step(clip, size)
    total = np.zeros(size, np.int64)
    for vector in vectors:
        # A billionth shorter, for the rounding of the norm.
        length = max(float(np.linalg.norm(vector)), clip)
        total += cut(clip * (1 - 1e-9) / length * vector, step)
    return total, step


def posterior_frequencies(noisy: Reals, deviation: float) -> tuple[Reals, Reals]:
    """Mean and variance of frequencies (n_sites,), given noisy ones and the expected spectrum.

    Derived alleles of frequency p are there in proportion to 1 / p in a population of constant
    size (Ewens 1979); alternate alleles are mostly, not always, derived.
    """
    prior = 1 / _GRID + _RARE / (1 - _GRID)
    means, variances = np.empty(noisy.size), np.empty(noisy.size)
    width = max(deviation, (_GRID[1] - _GRID[0]) / 2)
    for first in range(0, noisy.size, 4096):
        part = slice(first, first + 4096)
        distance = (noisy[part, None] - _GRID) ** 2 / (2 * width**2)
        weight = prior * np.exp(distance.min(axis=1, keepdims=True) - distance)
        weight /= weight.sum(axis=1, keepdims=True)
        means[part] = weight @ _GRID
        variances[part] = weight @ _GRID**2 - means[part] ** 2
    return means, variances


class Search:
    """Founders whose moments come near to noisy ones: (n_sites, founders) log odds, by Adam.

    A haplotype keeps its founder but for jumps along the map, after which any is as likely. What
    is minimised is half the squared distance of its moments from the noisy ones, in deviations of
    the noise, half that of its frequencies from theirs, and half `_SPREAD` times that of the log
    odds from what sites nearby agree on: the logarithm of a posterior density.
    """

    def __init__(
        self, moments: Moments, morgans: Reals, founders: int, generator: torch.Generator
    ) -> None:
        n_blocks, reach, _ = moments.inside.shape
        self.n_sites = moments.frequencies.size

        def blocks(values: Reals) -> Tensor:
            return torch.from_numpy(_in_blocks(values, reach)).float()

        self.live = blocks(np.ones(self.n_sites))
        self.frequencies = torch.where(self.live > 0, blocks(moments.frequencies), 0.5)
        self.precision = self.live / blocks(moments.variances).clamp_min(2e-6)
        self.inside = torch.from_numpy(moments.inside).float()
        self.across = torch.from_numpy(moments.across).float()
        self.haplotypes = moments.haplotypes
        self.variance = moments.deviation**2 + _SAMPLING**2 * moments.haplotypes
        self.upper = torch.ones(reach, reach).triu(1)
        self.near = torch.ones(reach, reach).tril()
        at = blocks(morgans)
        self.kept_inside = torch.exp(-_JUMPS * (at[:, :, None] - at[:, None]).abs())
        self.kept_across = torch.exp(-_JUMPS * (at[:-1, :, None] - at[1:, None]).abs())
        start = torch.randn(n_blocks, reach, founders, generator=generator)
        self.odds = (torch.logit(self.frequencies)[..., None] + start).requires_grad_()
        self.adam = torch.optim.Adam([self.odds], lr=_SLOPE)
        self.centre: Tensor | None = None

    def step(self, share: float, at: int) -> None:
        """One step, `share` of all behind it; the rate falls in the second half."""
        self.adam.param_groups[0]["lr"] = _SLOPE * min(1.0, 2 * (1 - share) + 0.02)
        if share >= _FIRST_CONSENSUS and at % _EVERY == 0:
            self.centre = self._consensus()
        alleles = torch.sigmoid(self.odds)
        mean = alleles.mean(dim=2)
        own = (alleles - mean[..., None]) * (self.live / math.sqrt(alleles.shape[2]))[..., None]
        inside = torch.bmm(own, own.transpose(1, 2)) * self.kept_inside
        across = torch.bmm(own[:-1], own[1:].transpose(1, 2)) * self.kept_across
        distance = ((self.inside - self.haplotypes * inside) * self.upper).square().sum()
        distance += ((self.across - self.haplotypes * across) * self.near).square().sum()
        loss = distance / self.variance + ((mean - self.frequencies) ** 2 * self.precision).sum()
        centre = torch.logit(mean.clamp(0.005, 0.995))[..., None]
        if self.centre is not None:
            centre = self.centre
        loss = loss + _SPREAD * ((centre - self.odds) ** 2 * self.live[..., None]).sum()
        (loss / 2).backward()  # type: ignore[no-untyped-call]
        self.adam.step()
        self.adam.zero_grad()

    @torch.no_grad()
    def _consensus(self) -> Tensor:
        """Log odds that the sites of a block and of those beside it agree on for each site.

        The average of the alleles of sites, weighted by how strongly they are correlated over the
        founders (non-local means: Buades, Coll & Morel 2005); alleles are swapped where they
        are correlated negatively. Where none is, the site's own frequency stands.
        """
        alleles = torch.sigmoid(self.odds)
        mean = alleles.mean(dim=2, keepdim=True)
        own = alleles - mean
        own = own / (own.norm(dim=2, keepdim=True) + 0.03 * math.sqrt(own.shape[2]))

        def with_beside(values: Tensor, outside: float) -> Tensor:
            edge = torch.full_like(values[:1], outside)
            return torch.cat(
                [torch.cat([edge, values[:-1]]), values, torch.cat([values[1:], edge])], 1
            )

        likeness = torch.bmm(own, with_beside(own, 0.0).transpose(1, 2))
        draw = (likeness.abs() - _NOBODY) / _ALIKE
        draw = draw.masked_fill(with_beside(self.live, 0.0)[:, None] == 0, -math.inf)
        site = torch.arange(own.shape[1])
        draw[:, site, site + own.shape[1]] = -math.inf
        weight = torch.softmax(torch.cat([draw, torch.zeros_like(draw[..., :1])], 2), 2)
        others, itself = weight[..., :-1], weight[..., -1:]
        around = with_beside(alleles, 0.5)
        agreed = torch.bmm(others * (likeness > 0), around)
        agreed += torch.bmm(others * (likeness <= 0), 1 - around) + itself * mean
        return torch.logit(agreed.clamp(0.01, 0.99))

    def founders(self) -> Reals:
        """Probability of the alternate allele: (n_sites, founders)."""
        alleles = torch.sigmoid(self.odds.detach()).flatten(0, 1)[: self.n_sites]
        return np.asarray(alleles.numpy(), np.float64)


def sharpened(fits: Reals) -> Reals:
    """Founders (members, n_sites, founders) whose log odds are `_SHARPER` times as large.

    What is fitted to noise has too little LD. Log odds are moved at each site so that every
    member has the mean frequency of them all.
    """
    frequency = fits.mean(axis=(0, 2))
    fits = np.clip(fits, _EDGE, 1 - _EDGE)
    return with_frequency(_SHARPER * np.log(fits / (1 - fits)), frequency)


def with_frequency(odds: Reals, frequency: Reals) -> Reals:
    """Probabilities of log odds (members, n_sites, founders), moved to a mean frequency (n_sites,).

    Found by bisection for each member and site.
    """
    low = np.full(odds.shape[:2], -40 * _SHARPER)
    high = -low
    for _ in range(40):
        middle = (low + high) / 2
        chances = 1 / (1 + np.exp(np.clip(-odds - middle[..., None], -60, 60)))
        less = chances.mean(axis=2) < frequency
        low, high = np.where(less, middle, low), np.where(less, high, middle)
    return np.asarray(chances)


def _mosaics_plain(alleles: Any, stay: Any, move: Any, level: Any, drawn: Any) -> None:
    members, n_sites, founders = alleles.shape
    for row in range(len(drawn)):
        # One number tells the set of founders, and what is left of it the founder.
        place = np.float64(move[row, 0]) * members
        member = min(members - 1, int(place))
        founder = min(founders - 1, int((place - member) * founders))
        for site in range(n_sites):
            if site > 0 and move[row, site] >= stay[site]:
                left = (move[row, site] - stay[site]) / (1 - stay[site])
                founder = min(founders - 1, int(left * founders))
            drawn[row, site] = level[row, site] < alleles[member, site, founder]


_mosaics = compiled(_mosaics_plain)


@dataclass(frozen=True, eq=False)
class FittedDPFounders:
    """Sets of founders, and what may be claimed of them.

    `alleles` (members, n_sites, founders) float32: probability of the alternate allele. `stay`
    (n_sites,) float32: of keeping the founder of the site before. Haplotypes are mosaics of one
    set's founders, each set as likely.
    """

    alleles: NDArray[np.float32]
    stay: NDArray[np.float32]
    statement: PrivacyStatement

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[NDArray[np.int8]]:
        """Yield (batch, n_sites) int8, populations as they come."""

        def draw(block: int) -> NDArray[np.int8]:
            rng = ctx.rng("sample", block)
            shape = BLOCK, self.stay.size
            drawn = np.empty(shape, np.int8)
            move, level = (rng.random(shape, np.float32) for _ in range(2))
            _mosaics(self.alleles, self.stay, move, level, drawn)
            return drawn

        return request.batches(draw, BLOCK)

    def privacy_statement(self) -> PrivacyStatement:
        """What is claimed for everything that is drawn."""
        return self.statement

    def save(self, directory: Path) -> None:
        """Write the probabilities."""
        arrays = {"alleles": self.alleles, "stay": self.stay}
        save_state(directory, _NAME, arrays, privacy=self.statement.to_json())
