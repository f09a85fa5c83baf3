"""How often a leaderboard's 95 % intervals hold the true distance: a seeded simulation.

    python benchmarks/rank_coverage.py [WORLDS]

Worlds of 16 numbers of 11 metrics: most are levels (lognormal about 1, 10-40 % from draw to
draw), some lie about their ideal (normal), all correlated. A generator is near the floor, some way
off or far; its draws are as noisy as the floor's, its seeds differ by SHARE times that variance.
The truth is the mean over five thousand cohorts, by units of five thousand floor draws. Prints,
for numbers of floor draws, draws of a seed and seeds: the coverage of distances and of differences
between two generators in percent, half a distance's interval and its mean error (logarithms).
"""

from __future__ import annotations

import sys

import numpy as np

from haplobench.report.leaderboard import Floats, Yardstick

N, MANY = 16, 5_000
FLOORS, DRAWS, SEEDS = (3, 10), (1, 3), (1, 2, 3, 5)
METRIC = np.array([0, 0, 1, 2, 3, 3, 4, 5, 5, 6, 7, 7, 8, 8, 9, 10])
WEIGHT = 1 / 11 / np.bincount(METRIC)[METRIC]
SHIFTS = {"near": (0.0, 0.5), "off": (0.5, 4.0), "far": (4.0, 40.0)}


class World:
    """Numbers with an ideal, and how real cohorts scatter."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.centred = rng.random(N) < 0.35
        self.spread = np.where(self.centred, 1.0, rng.uniform(0.1, 0.4, N))
        self.rho = rng.uniform(0.0, 0.5)

    def noise(self, *shape: int) -> Floats:
        """(…, N) float64, standard normal, correlated."""
        shared = self.rng.normal(size=(*shape, 1))
        own = self.rng.normal(size=(*shape, N))
        return np.asarray(self.rho**0.5 * shared + (1 - self.rho) ** 0.5 * own, np.float64)

    def cohorts(self, shift: Floats, seeds: int, draws: int, share: float) -> Floats:
        """(seeds, draws, N) float64: numbers of cohorts of a generator, or of the floor."""
        noise = self.noise(seeds, draws) + share**0.5 * self.noise(seeds, 1)
        level = np.exp(self.spread * noise - self.spread**2 / 2) + shift
        return np.asarray(np.where(self.centred, noise + shift, level), np.float64)


def cover(number: int, share: float) -> Floats:
    """One world: (floors, draws, seeds, kinds, 4) float64.

    Whether a distance is covered, whether a difference is, half the first's interval, its error.
    """
    world = World(np.random.default_rng([20261129, number]))
    zero = np.zeros(N)
    vast = world.cohorts(zero, MANY, 1, 0.0)[:, 0].T
    units = np.abs(vast).mean(axis=1)
    floor = world.cohorts(zero, max(FLOORS), 1, 0.0)[:, 0].T
    found = np.empty((len(FLOORS), len(DRAWS), len(SEEDS), len(SHIFTS), 4))
    for at_kind, limits in enumerate(SHIFTS.values()):
        shifts = world.rng.uniform(*limits, (2, N))
        whole = Yardstick(vast, zero, zero, WEIGHT)
        truth = [
            whole.logs(world.cohorts(shift, MANY, 1, share)[:, 0], units).mean() for shift in shifts
        ]
        made = [
            world.cohorts(shift, max(SEEDS), max(DRAWS), share).transpose(2, 0, 1)
            for shift in shifts
        ]
        for i, n_floor in enumerate(FLOORS):
            yard = Yardstick(floor[:, :n_floor], zero, zero, WEIGHT)
            for j, n_draws in enumerate(DRAWS):
                for k, n_seeds in enumerate(SEEDS):
                    first, second = (
                        yard.place(values[:, :n_seeds, :n_draws], tuple(range(n_seeds)))
                        for values in made
                    )
                    own, gap = first.estimate, first.minus(second)
                    error = own.value - truth[0]
                    apart = gap.value - (truth[0] - truth[1])
                    found[i, j, k, at_kind] = (
                        abs(error) <= own.half, abs(apart) <= gap.half, own.half, error
                    )  # fmt: skip
    return found


def main() -> None:
    """Print the tables."""
    worlds = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    for share in (0.0, 0.5, 1.0):
        found = np.array([cover(number, share) for number in range(worlds)])
        means, halves = found.mean(axis=0), np.median(found[..., 2], axis=0)
        print(f"\nVariance between seeds over that between draws: {share:g}")
        print("floor draws seeds " + "".join(f"{kind:>25s}" for kind in SHIFTS))
        for i, j, k in np.ndindex(*means.shape[:3]):
            print(f"{FLOORS[i]:5d}{DRAWS[j]:6d}{SEEDS[k]:6d} ", end="")
            for at in range(len(SHIFTS)):
                covered, gaps, _, error = means[i, j, k, at]
                print(f"{100 * covered:8.1f}{100 * gaps:6.1f}{halves[i, j, k, at]:6.2f}"
                      f"{error:5.2f}", end="")  # fmt: skip
            print(flush=True)


if __name__ == "__main__":
    main()
