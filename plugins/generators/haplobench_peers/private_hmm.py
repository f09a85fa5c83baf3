"""`dp-hmm`: a hidden Markov model along the sites, learnt from clipped and noisy sums."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from haplobench import Panel, PrivacyStatement, RunContext, SampleRequest
from haplobench.kernels import compiled
from haplobench.noise import fine_step
from haplobench.plugin.generators import load_state, save_state
from haplobench_peers import HMMParams
from haplobench_peers.common import BLOCK, Budget, Checkpoint, refuse_unfit

Reals = NDArray[np.float64]
_NAME = "dp-hmm"
_FILE = "chain.npz"  # of a fit in progress
_CLIP = 0.3  # of the root of the sites
_NOISE = 0.07  # of a state's haplotypes, that an iteration's noise may be
_MOST_STATES = 12
_STAY = 0.9  # probability to keep the state, at the start
_SPREAD = 1.0  # of the log odds of the alternate allele among the states, at the start
_ODDS = -1.0  # their mean
_STEP, _TRANSITION_STEP, _LAST = 0.8, 0.4, 0.3  # of what an iteration asks for; share at the end
_LEAST_STATE, _LEAST_MOVE, _LEAST_ALLELE = 1e-3, 1e-4, 2e-4  # probabilities
_SCARCE = 0.1  # of an even share of the haplotypes: a state counts as if it had so many


class DPHMM:
    """A hidden Markov model whose transitions depend on the place (Rahimian & Fritz 2025).

    A haplotype has a hidden state in each window of sites, one of a few clusters as in fastPHASE
    (Scheet & Stephens 2006); its alleles depend on the state alone. Every iteration sums, over
    people, how far the alleles and moves expected of each state, given the haplotypes, are from
    the model's: the gradient of the log-likelihood in log odds. A person's share, of all
    haplotypes, is cut to a norm of `clip`, and the sum gets noise. So a person is protected with
    all that neighbouring sites tell of each other.

    Departures: all people take part in every iteration, which a Gaussian mechanism charges less
    than batches for the same noise. What an iteration asks for is divided by the haplotypes that
    the model itself, hence nobody's data, gives a state: a step of expectation maximisation, not
    of stochastic gradient descent. States change between windows only, so that there are fewer
    noisy moves, which blur each other along the chromosome. Rows of moves are made probabilities by
    the nearest point of the simplex (Held, Wolfe & Crowder 1974).
    """

    def fit(self, train: Panel, params: HMMParams, ctx: RunContext) -> FittedDPHMM:
        """Start from random states and iterate.

        The unit is a person. Raises PanelError if alleles are missing, if there are none, or if δ
        isn't below 1 / people.
        """
        refuse_unfit(train, _NAME)
        budget = Budget.of(train, params, _NAME, params.iterations)
        haplotypes = np.ascontiguousarray(train.haplotypes)
        clip = params.clip or _CLIP * math.sqrt(train.n_sites)
        states = params.states
        if states is None:
            noise = budget.multiplier * clip / len(haplotypes)
            states = max(2, min(_MOST_STATES, int(_NOISE / noise) if noise else _MOST_STATES))
        checkpoint = Checkpoint.of(_NAME, train, params, ctx)
        chain = Chain.random(train.n_sites, params.window, states, ctx.rng(_NAME, "start"))
        done = 0
        if state := checkpoint.read(_FILE, ("done", *chain.arrays)):
            done = int(state.pop("done"))
            chain = Chain(**state, window=params.window)
        for iteration in range(done, params.iterations):
            step = fine_step(clip, chain.size)
            total = chain.clipped_gradient(haplotypes, train.ploidy, clip, step)
            late = max(0.0, 2 * iteration / params.iterations - 1)
            rate = (1 - (1 - _LAST) * late) / len(haplotypes)
            noisy = budget.noised(total, clip / step).astype(np.float64)
            chain = chain.moved(noisy * step, rate)
            checkpoint.write(_FILE, {"done": np.array(iteration + 1), **chain.arrays})
            ctx.progress((iteration + 1) / params.iterations, f"iteration {iteration + 1}")
        statement = budget.statement(
            f"sums of gradients cut to {clip:.4g}",
            {
                "states": "public: by the noise" if params.states is None else "public",
                "settings": "public: chosen on the 1000 Genomes Project's chr1, not covered there",
            },
        )
        fixed = np.full(train.n_sites, -1, np.int8)
        if not budget.private:
            fixed = np.where(train.maf == 0, train.frequencies, -1).astype(np.int8)
        return FittedDPHMM(chain, fixed, statement)

    def load(self, directory: Path, ctx: RunContext) -> FittedDPHMM:
        """Read what `save` wrote."""
        arrays, facts = load_state(directory, _NAME)
        fixed = arrays.pop("fixed")
        statement = PrivacyStatement.from_json(facts["privacy"])
        return FittedDPHMM(Chain(**arrays, window=facts["window"]), fixed, statement)


@dataclass(frozen=True, eq=False)
class Chain:
    """A chain of H states over windows of sites, all probabilities float64.

    `start` (H,): of the first window's states. `moves` (n_windows - 1, H, H): of a window's state
    (last), given the one before. `alleles` (n_sites, H): of the alternate allele in each state.
    """

    start: Reals
    moves: Reals
    alleles: Reals
    window: int

    @classmethod
    def random(cls, n_sites: int, window: int, states: int, rng: np.random.Generator) -> Self:
        """Random alleles; states mostly stay."""
        others = (1 - _STAY) / (states - 1)
        move = np.where(np.eye(states) > 0, _STAY, others)
        odds = _ODDS + _SPREAD * rng.standard_normal((n_sites, states))
        n_windows = -(-n_sites // window)
        return cls(
            np.full(states, 1 / states),
            np.tile(move, (n_windows - 1, 1, 1)),
            1 / (1 + np.exp(-odds)),
            window,
        )

    @property
    def arrays(self) -> dict[str, Reals]:
        """Its probabilities by name."""
        return {"start": self.start, "moves": self.moves, "alleles": self.alleles}

    @property
    def size(self) -> int:
        """Number of probabilities."""
        return self.start.size + self.moves.size + self.alleles.size

    def clipped_gradient(
        self, haplotypes: NDArray[np.int8], ploidy: int, clip: float, step: float
    ) -> NDArray[np.int64]:
        """Sum over people of their gradients in log odds, cut to a norm of `clip`.

        In whole steps, each person's cut towards 0: (size,), of start, moves and alleles in turn.
        """
        total = np.zeros(self.size, np.int64)
        _add_people(
            haplotypes, ploidy, self.window, self.start, self.moves, self.alleles, clip, step, total
        )
        return total

    def moved(self, gradient: Reals, rate: float) -> Self:
        """The chain after a step; `gradient` (size,), `rate`: 1 / haplotypes for the whole step."""
        first, second = self.start.size, self.start.size + self.moves.size
        start, moves, alleles = np.split(rate * gradient, [first, second])
        share = np.empty((len(self.moves) + 1, first))
        share[0] = self.start
        for window, move in enumerate(self.moves):
            share[window + 1] = share[window] @ move
        share = np.maximum(share, _SCARCE / first)
        by_site = np.repeat(share, self.window, axis=0)[: len(self.alleles)]
        return type(self)(
            nearest_probabilities(self.start + _STEP * start, _LEAST_STATE),
            nearest_probabilities(
                self.moves
                + _TRANSITION_STEP * moves.reshape(self.moves.shape) / share[:-1, :, None],
                _LEAST_MOVE,
            ),
            np.clip(
                self.alleles + _STEP * alleles.reshape(by_site.shape) / by_site,
                _LEAST_ALLELE,
                1 - _LEAST_ALLELE,
            ),
            self.window,
        )

    def draw(self, n: int, rng: np.random.Generator) -> NDArray[np.int8]:
        """Haplotypes (n, n_sites) int8."""
        n_sites, states = self.alleles.shape
        drawn = np.empty((n, n_sites), np.int8)
        sums = np.cumsum(self.moves, axis=-1)
        state = np.searchsorted(np.cumsum(self.start)[:-1], rng.random(n), side="right")
        for window, first in enumerate(range(0, n_sites, self.window)):
            if window:
                level = rng.random((n, 1))
                state = np.minimum((sums[window - 1][state] <= level).sum(1), states - 1)
            chances = self.alleles[first : first + self.window].T[state]
            drawn[:, first : first + self.window] = rng.random(chances.shape) < chances
        return drawn


def nearest_probabilities(values: Reals, least: float) -> Reals:
    """The probabilities nearest to `values` (…, H), then none below `least`."""
    falling = -np.sort(-values, axis=-1)
    over = (np.cumsum(falling, axis=-1) - 1) / np.arange(1, values.shape[-1] + 1)
    last = (falling > over).sum(axis=-1, keepdims=True) - 1
    nearest = np.maximum(values - np.take_along_axis(over, last, axis=-1), least)
    return np.asarray(nearest / nearest.sum(axis=-1, keepdims=True))


def _add_people_plain(
    haplotypes: Any, ploidy: Any, window: Any, start: Any, moves: Any, alleles: Any,
    clip: Any, step: Any, total: Any,
) -> None:  # fmt: skip
    n_sites, states = alleles.shape
    n_windows = len(moves) + 1
    forward = np.empty((n_windows, states))
    here = np.empty((n_windows, states))  # probability of a window's alleles in each state
    after, before, weight, posterior = (
        np.empty(states), np.empty(states), np.empty(states), np.empty(states)
    )  # fmt: skip
    gradient = np.empty(total.size)
    first_allele = states + moves.size
    for person in range(len(haplotypes) // ploidy):
        gradient[:] = 0
        for row in range(person * ploidy, (person + 1) * ploidy):
            for at in range(n_windows):
                for state in range(states):
                    here[at, state] = 1
                for site in range(at * window, min(n_sites, (at + 1) * window)):
                    greatest = 0.0
                    for state in range(states):
                        one = alleles[site, state]
                        here[at, state] *= one if haplotypes[row, site] == 1 else 1 - one
                        greatest = max(greatest, here[at, state])
                    for state in range(states):
                        here[at, state] /= greatest
                whole = 0.0
                for state in range(states):
                    arriving = 0.0
                    if at == 0:
                        arriving = start[state]
                    else:
                        for old in range(states):
                            arriving += forward[at - 1, old] * moves[at - 1, old, state]
                    forward[at, state] = arriving * here[at, state]
                    whole += forward[at, state]
                for state in range(states):
                    forward[at, state] /= whole
            after[:] = 1
            for at in range(n_windows - 1, -1, -1):
                whole = 0.0
                for state in range(states):
                    posterior[state] = forward[at, state] * after[state]
                    whole += posterior[state]
                for state in range(states):
                    posterior[state] /= whole
                for site in range(at * window, min(n_sites, (at + 1) * window)):
                    for state in range(states):
                        gradient[first_allele + site * states + state] += posterior[state] * (
                            haplotypes[row, site] - alleles[site, state]
                        )
                if at == 0:
                    for state in range(states):
                        gradient[state] += posterior[state] - start[state]
                    break
                whole = 0.0
                for state in range(states):
                    weight[state] = here[at, state] * after[state]
                for old in range(states):
                    before[old] = 0
                    for state in range(states):
                        before[old] += moves[at - 1, old, state] * weight[state]
                    whole += forward[at - 1, old] * before[old]
                greatest = 0.0
                for old in range(states):
                    share = forward[at - 1, old] / whole
                    greatest = max(greatest, before[old])
                    for state in range(states):
                        gradient[states + ((at - 1) * states + old) * states + state] += (
                            share * moves[at - 1, old, state] * (weight[state] - before[old])
                        )
                for old in range(states):
                    after[old] = before[old] / greatest
        square = 0.0
        for value in gradient:
            square += value * value
        # A billionth shorter, for the rounding of the norm.
        factor = min(1.0, clip * (1 - 1e-9) / max(math.sqrt(square), 1e-300)) / step
        for index in range(gradient.size):
            total[index] += int(gradient[index] * factor)


_add_people = compiled(_add_people_plain)


@dataclass(frozen=True, eq=False)
class FittedDPHMM:
    """The chain, and what may be claimed of it.

    `fixed` (n_sites,) int8: without noise, the allele of sites that don't vary in training; -1
    elsewhere.
    """

    chain: Chain
    fixed: NDArray[np.int8]
    statement: PrivacyStatement

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[NDArray[np.int8]]:
        """Yield (batch, n_sites) int8, populations as they come."""

        def draw(block: int) -> NDArray[np.int8]:
            drawn = self.chain.draw(BLOCK, ctx.rng("sample", block))
            return np.where(self.fixed < 0, drawn, self.fixed)

        return request.batches(draw, BLOCK)

    def privacy_statement(self) -> PrivacyStatement:
        """What is claimed for everything that is drawn."""
        return self.statement

    def save(self, directory: Path) -> None:
        """Write the probabilities."""
        facts = {"window": self.chain.window, "privacy": self.statement.to_json()}
        save_state(directory, _NAME, {**self.chain.arrays, "fixed": self.fixed}, **facts)
