"""Sizes and splits of several populations, estimated from their joint allele frequencies.

A tree of populations without migration. What is expected of it is exact: partial likelihoods of
allele counts go up the tree under the Moran model, as in momi (Kamm, Terhorst & Song 2017), of
functions that are products over populations. Functions of roots of unity give the spectrum of all
people together, and with it which sites a filter of MAF leaves.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import demes
import numpy as np
from numpy.typing import NDArray
from scipy import cluster, optimize, special

from haplobench import Panel
from haplobench.data.populations import Populations
from haplobench_coalescent.demography import complete_sites

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Values = NDArray[np.complex128]

_HAPLOTYPES = 60  # of all populations together, that the spectra are projected to
_FEWEST_HAPLOTYPES = 4  # of a population among them
_FEWEST_PEOPLE = 10  # of a population of its own
_MOST = 8  # populations
_COMPLETE = 0.6  # share of a class of the spectrum that a filter must have left
# Of the squared distances: they are of statistics that go together. Simulated people's histories
# came back best with it, of 0.1, 0.2 and 1.
_WEIGHT = 0.2
_ROUNDS = 30
_SITES_AT_ONCE = 2_000
_BLOCKS = 20  # of sites, of which one after the other is left out
_LEAST_SPREAD = 1e-3


@dataclass(frozen=True)
class Tree:
    """Which populations split from which: tips 0 to K - 1, then K - 1 inner nodes, the root last.

    `children[i]`: the two that node K + i splits into, both before it.
    """

    children: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, distances: Floats) -> Tree:
        """Average linkage (UPGMA) of differences between populations, (K, K) float64.

        Without migration two haplotypes' differences grow with the age of their populations'
        split, whatever the sizes since, so that no rates need be equal.
        """
        upper = distances[np.triu_indices(len(distances), 1)]
        joined = cluster.hierarchy.linkage(upper, method="average")
        return cls(tuple((int(a), int(b)) for a, b in joined[:, :2]))

    @property
    def tips(self) -> int:
        """Populations."""
        return len(self.children) + 1

    @property
    def parents(self) -> Ints:
        """Of every node but the root, (2K - 2,) int64."""
        parents = np.empty(2 * self.tips - 2, np.int64)
        for i, both in enumerate(self.children):
            parents[list(both)] = self.tips + i
        return parents


@dataclass(frozen=True, eq=False)
class History:
    """Times and sizes on a tree, in the ancestral size and twice as many generations.

    `heights` (2K - 1,): of the nodes; 0 at tips. `sizes` (2K - 1,): of each branch above its node,
    older than `recent` ago; the root's `ancient` long. Before that the size is 1.
    `recent_sizes` (K,): of the tips, younger than a quarter of their branch.
    """

    heights: Floats
    sizes: Floats
    recent_sizes: Floats
    ancient: float

    def epochs(self, tree: Tree, node: int) -> list[tuple[float, float]]:
        """Durations and sizes on a branch, the youngest first; the root's last is endless."""
        size = float(self.sizes[node])
        if node == 2 * tree.tips - 2:
            return [(self.ancient, size), (np.inf, 1.0)]
        duration = float(self.heights[tree.parents[node]] - self.heights[node])
        if node >= tree.tips:
            return [(duration, size)]
        return [(duration / 4, float(self.recent_sizes[node])), (duration * 3 / 4, size)]


@cache
def _moran(n: int) -> tuple[Floats, Floats, Floats]:
    """Rates of decay, and matrices to and from what decays with them, of 1 to n - 1 copies of n.

    The Moran model's generator, j(n - j) / 2 to both sides, in units of a pair's coalescence.
    """
    copies = np.arange(1, n)
    rates = copies * (n - copies) / 2
    root = np.sqrt(rates)
    matrix = (
        np.diag(-2 * rates) + np.diag(root[1:] * root[:-1], 1) + np.diag(root[1:] * root[:-1], -1)
    )
    values, vectors = np.linalg.eigh(matrix)
    return -values, vectors.T / root, root[:, None] * vectors


def _up(values: Values, epochs: list[tuple[float, float]]) -> tuple[Values, Values]:
    """Up a branch: the values at its top, and what mutations on it contribute.

    `values` (n + 1, F): of 0 to n derived copies at the bottom. Contributions (F,): the expected
    length of branches with 1 to n copies below them, each times its value; an endless branch's
    without those that all n share.
    """
    n = len(values) - 1
    none, every = values[0], values[n]
    endless = not np.isfinite(epochs[-1][0])
    total = np.zeros_like(none)
    # What 0 copies have counts for nothing: no mutation is seen.
    seen = every * (not endless)
    line = np.arange(1, n)[:, None] / n
    top = values.copy()
    if n == 1:
        return top, seen * sum(duration for duration, _ in epochs) if not endless else total
    decay, to, back = _moran(n)
    inner = to @ (values[1:n] - none - line * (every - none))
    mutants = to @ (values[1:n] - line * seen)
    for duration, size in epochs:
        scaled = np.exp(-decay * (duration / size))
        length = size * (1 - scaled) / decay
        total = total + n * (back[0] * length) @ mutants
        if not endless:
            total = total + seen * duration
        inner, mutants = scaled[:, None] * inner, scaled[:, None] * mutants
    if not endless:
        top[1:n] = none + line * (every - none) + back @ inner
    return top, total


@cache
def _binomials(n: int) -> Floats:
    found: Floats = special.comb(n, np.arange(n + 1))[:, None]
    return found


def _join(a: Values, b: Values) -> Values:
    """Values of 0 to n_a + n_b copies, shared out at random between two populations' lineages."""
    m, n = len(a) - 1, len(b) - 1
    joined = np.zeros((m + n + 1, a.shape[1]), np.complex128)
    weighted = b * _binomials(n)
    for copies, row in enumerate(a * _binomials(m)):
        joined[copies : copies + n + 1] += row * weighted
    return joined / _binomials(m + n)


def expected(tree: Tree, history: History, functions: list[Values]) -> Values:
    """Sum over branches of their expected length times the product of `functions` of the copies.

    `functions[k]` (n_k + 1, F): of 0 to n_k copies below the branch, in population k. Returns (F,),
    in units of twice the ancestral size, in generations.
    """
    none = np.stack([values[0] for values in functions])
    below: list[list[int]] = [[k] for k in range(tree.tips)]
    tops: list[Values] = []
    total = np.zeros(functions[0].shape[1], np.complex128)
    for node in range(2 * tree.tips - 1):
        if node < tree.tips:
            values = functions[node]
        else:
            a, b = tree.children[node - tree.tips]
            values = _join(tops[a], tops[b])
            below.append(below[a] + below[b])
        top, mutants = _up(values, history.epochs(tree, node))
        elsewhere = [k for k in range(tree.tips) if k not in below[node]]
        total += mutants * none[elsewhere].prod(axis=0)
        tops.append(top)
    return total


@dataclass(frozen=True, eq=False)
class Functions:
    """What spectra are made of: products over populations of functions of the copies.

    `sizes` (K,): haplotypes of each population. Of the frequencies' generating function, at half of
    the roots of unity: alone, times a population's frequency, times a population's differences
    within, and times two populations' frequencies.
    """

    sizes: Ints

    def values(self) -> list[Values]:
        """Each population's factors, (n_k + 1, F)."""
        n, k = int(self.sizes.sum()), self.sizes.size
        unity = np.exp(-2j * np.pi * np.arange(n // 2 + 1) / (n + 1))
        first, second = np.triu_indices(k, 1)
        factors = []
        for deme, size in enumerate(self.sizes.tolist()):
            copies = np.arange(size + 1)
            power = unity[None, :] ** copies[:, None]
            frequency = copies / size
            within = 2 * frequency * (1 - frequency) * size / (size - 1)
            kinds = np.ones((size + 1, 1 + 2 * k + first.size))
            kinds[:, 1 + deme] = frequency
            kinds[:, 1 + k + deme] = within
            kinds[:, 1 + 2 * k :][:, (first == deme) | (second == deme)] = frequency[:, None]
            factors.append((kinds[:, :, None] * power[:, None, :]).reshape(size + 1, -1))
        return factors

    def spectra(self, values: Values) -> tuple[Floats, Floats]:
        """Folded spectrum of all, (n / 2 + 1,), and differences of pairs by class.

        Differences (K(K + 1) / 2, n / 2 + 1): sites of each class at which two haplotypes differ,
        of one population (K), then of two.
        """
        n, k = int(self.sizes.sum()), self.sizes.size
        whole = np.fft.irfft(values.reshape(-1, n // 2 + 1), n=n + 1)
        folded = whole[:, : n // 2 + 1].copy()
        folded[:, : n // 2] += whole[:, : n // 2 : -1]
        folded[:, 0] = 0
        first, second = np.triu_indices(k, 1)
        alone, both = folded[1 : k + 1], folded[1 + 2 * k :]
        # What is frequent in the one and in the other: of folded classes the sums are the same.
        between = alone[first] + alone[second] - 2 * both
        return folded[0], np.concatenate([folded[1 + k : 1 + 2 * k], between])

    def observed(self, copies: Ints, people: Ints) -> Values:
        """The functions' sums over the sites of each block, (blocks, F).

        `copies` (K, S) of `people` (K,) haplotypes, in the order of the sites; projected.
        """
        factors = self.values()
        blocks = []
        for block in np.array_split(copies, min(_BLOCKS, copies.shape[1]), axis=1):
            total = np.zeros(factors[0].shape[1], np.complex128)
            for start in range(0, block.shape[1], _SITES_AT_ONCE):
                part = block[:, start : start + _SITES_AT_ONCE]
                product = np.ones((part.shape[1], 1), np.complex128)
                for deme, size in enumerate(self.sizes.tolist()):
                    kinds, which = np.unique(part[deme], return_inverse=True)
                    product = (
                        product * (_drawn(int(people[deme]), kinds, size) @ factors[deme])[which]
                    )
                total += product.sum(axis=0)
            blocks.append(total)
        return np.array(blocks)


def _drawn(n_all: int, copies: Ints, n: int) -> Floats:
    """Chance of 0 to n copies among n haplotypes of `n_all`, that have `copies` (S,): (S, n + 1).

    The hypergeometric distribution; scipy's takes a hundred times as long.
    """
    factorials = special.gammaln(np.arange(n_all + 1) + 1.0)
    k, m = np.arange(n + 1), copies[:, None]
    inside = (k <= m) & (n - k <= n_all - m)
    few = np.where(inside, k, 0)
    rest = np.where(inside, n - k, 0)
    logs = factorials[m] - factorials[few] - factorials[m - few]
    logs += factorials[n_all - m] - factorials[rest] - factorials[n_all - m - rest]
    logs -= factorials[n_all] - factorials[n] - factorials[n_all - n]
    return np.where(inside, np.exp(np.where(inside, logs, 0)), 0.0)


def left_by_filter(n_all: int, least: int, n: int) -> Floats:
    """Share of each folded class of n haplotypes whose sites have `least` minor alleles of all.

    (n / 2 + 1,) float64, of a spectrum that falls with 1 / i.
    """
    copies = np.arange(1, n_all)
    kept = np.minimum(copies, n_all - copies) >= least
    drawn = _drawn(n_all, copies, n) / copies[:, None]
    whole, left = drawn.sum(axis=0), drawn[kept].sum(axis=0)
    fold = np.minimum(np.arange(n + 1), n - np.arange(n + 1))
    share: Floats = np.bincount(fold, left) / np.maximum(np.bincount(fold, whole), 1e-300)
    return share


class _Scales:
    """From numbers that are free to a history, and how far these are from what is held likely."""

    def __init__(self, tree: Tree) -> None:
        k = tree.tips
        self.tree, self.parents = tree, tree.parents
        self.inner = k - 2
        # Age of the root, duration of its epoch, shares of the parents' age, sizes, recent sizes.
        self.middle = np.concatenate(
            [np.log([0.3, 0.5]), np.full(self.inner, 0.5), np.zeros(3 * k - 1)]
        )
        self.spread = np.concatenate(
            [[1.5, 1.0], np.full(self.inner, 1.5), np.ones(2 * k - 1), np.full(k, 0.7)]
        )

    def history(self, free: Floats) -> History:
        k, inner = self.tree.tips, self.inner
        heights = np.zeros(2 * k - 1)
        sizes = np.empty(2 * k - 1)
        heights[-1] = np.exp(free[0])
        shares = special.expit(free[2 : 2 + inner])
        steps = free[2 + inner : 2 + inner + 2 * k - 1]
        sizes[-1] = steps[-1]
        for node in range(2 * k - 3, -1, -1):
            sizes[node] = sizes[self.parents[node]] + steps[node]
            if node >= k:
                heights[node] = heights[self.parents[node]] * shares[node - k]
        recent = sizes[:k] + free[2 + inner + 2 * k - 1 :]
        return History(heights, np.exp(sizes), np.exp(recent), float(np.exp(free[1])))


@dataclass(frozen=True)
class Groups:
    """The populations of a history, by the labels of people.

    `names`: deme of each of the training panel's populations, in their order. `demes`: each deme
    once. `rows` (n_haplotypes,): deme of each training haplotype, from 0.
    """

    names: tuple[str, ...]
    demes: tuple[str, ...]
    rows: Ints

    @classmethod
    def of(cls, panel: Panel, within: str, log: logging.Logger) -> Groups:
        """By `within`: superpopulations, populations or all.

        A group of fewer than ten people joins the one of the smallest Fst; so do, while there are
        more than eight groups, the two most alike. `log` is warned of both.
        """
        populations = Populations.of(panel)
        labels = {
            "population": populations.names,
            "superpopulation": populations.superpopulations,
            "all": ("all",) * len(populations.names),
        }[within]
        own = populations.index(panel.haplotype_populations)
        distinct, of_population = np.unique(labels, return_inverse=True)
        sizes = np.bincount(of_population, populations.people).astype(np.int64)
        copies = np.stack([_copies(panel, of_population[own] == i) for i in range(sizes.size)])
        haplotypes = sizes * panel.ploidy
        while sizes.size > 1 and (sizes.min() < _FEWEST_PEOPLE or sizes.size > _MOST):
            distances = _fst(copies, haplotypes)
            np.fill_diagonal(distances, np.inf)
            goes = int(sizes.argmin())
            stays = int(distances[goes].argmin())
            if sizes[goes] >= _FEWEST_PEOPLE:
                pair = divmod(int(distances.argmin()), sizes.size)
                goes, stays = sorted(pair, key=lambda i: int(sizes[i]))
            log.warning(
                "msprime: %d people of %s are one population with those of %s: %s",
                sizes[goes],
                distinct[goes] or "no label",
                distinct[stays] or "no label",
                f"fewer than {_FEWEST_PEOPLE}"
                if sizes[goes] < _FEWEST_PEOPLE
                else f"more than {_MOST} populations",
            )
            for per_group in (copies, haplotypes, sizes):
                per_group[stays] += per_group[goes]
            of_population[of_population == goes] = stays
            of_population -= of_population > goes
            copies, haplotypes, sizes, distinct = (
                np.delete(per_group, goes, axis=0)
                for per_group in (copies, haplotypes, sizes, distinct)
            )
        demes: list[str] = []
        for label in distinct.tolist():
            demes.append(_deme_name(label or "unlabelled", demes))
        return cls(
            tuple(demes[i] for i in of_population.tolist()), tuple(demes), of_population[own]
        )


def _copies(panel: Panel, rows: NDArray[np.bool_]) -> Ints:
    """Alternate alleles of some haplotypes, (n_sites,)."""
    copies: Ints = np.maximum(panel.haplotypes[rows], 0).sum(axis=0, dtype=np.int64)
    return copies


def _fst(copies: Ints, haplotypes: Ints) -> Floats:
    """Hudson's Fst of pairs, a ratio of sums over sites (Bhatia et al. 2013): (K, K)."""
    n = haplotypes[:, None]
    p = copies / n
    within = (2 * p * (1 - p) * n / np.maximum(n - 1, 1)).sum(axis=1)
    between = p.sum(axis=1)[:, None] + p.sum(axis=1) - 2 * p @ p.T
    fst: Floats = 1 - (within[:, None] + within) / 2 / np.maximum(between, 1e-12)
    return fst


def _deme_name(label: str, taken: list[str]) -> str:
    """A name that Demes takes, an identifier, and that is none of `taken`."""
    name = re.sub(r"\W", "_", label)
    name = name if name.isidentifier() else f"population_{name}"
    while name in (*taken, "ancestral"):
        name += "_"
    return name


@dataclass(frozen=True, eq=False)
class FittedTree:
    """A tree of populations with their history.

    `names` (K,): of the tips, valid in Demes. `ancestral`: size, diploid people, which scales the
    history.
    """

    names: tuple[str, ...]
    tree: Tree
    history: History
    ancestral: float

    def __str__(self) -> str:
        return "; ".join(
            f"{name}: size {size * self.ancestral:.0f}"
            + (f", split {height * 2 * self.ancestral:.0f} generations ago" if height else "")
            for name, size, height in zip(
                self._all_names(), self.history.sizes, self.history.heights, strict=True
            )
        )

    def _all_names(self) -> list[str]:
        names = [*self.names]
        for a, b in self.tree.children[:-1]:
            names.append(_deme_name(f"{names[a]}_{names[b]}", names))
        return [*names, "ancestral"]

    def demes(self) -> str:
        """As Demes YAML (Gower et al. 2022), in generations."""
        tree, names = self.tree, self._all_names()
        builder: Any = demes.Builder(
            description="Populations that split, fitted to the training panel's spectra.",
            time_units="generations",
        )
        unit = 2 * self.ancestral
        for node in range(len(names) - 1, -1, -1):
            end = float(self.history.heights[node])
            epochs = []
            for duration, size in self.history.epochs(tree, node):
                epochs.append({"start_size": size * self.ancestral, "end_time": end * unit})
                end += duration
            root = node == len(names) - 1
            above = {} if root else {"ancestors": [names[tree.parents[node]]]}
            builder.add_deme(names[node], epochs=epochs[::-1], **above)
        return demes.dumps(builder.resolve())


def fit_tree(
    panel: Panel,
    groups: Groups,
    min_maf: float,
    mutation_rate: float,
    tell: Callable[[float, str], None] = lambda share, words: None,
) -> FittedTree:
    """The history of several populations whose spectra are nearest to the panel's.

    Which split first is told by their differences (`Tree.of`). Sizes and times make small: the
    squared distances of (roots of) the spectrum of all people, of Fst between populations and of
    diversity within, in standard errors of a jackknife over blocks of sites; and of sizes from
    those of ancestors, which keeps what the panel doesn't tell in bounds. All spectra are folded
    and projected to about 60 haplotypes. Sites with missing alleles are left out; of a class that
    sites rarer than `min_maf`, left out of the panel, would have added to, the share that is left
    is fitted.

    `mutation_rate`: per bp and generation, which scales sizes and times.

    Raises PluginError if fewer than 50 sites are polymorphic.
    """
    kept, least = complete_sites(panel, min_maf)
    copies = np.stack([_copies(panel, groups.rows == i)[kept] for i in range(len(groups.demes))])
    people = np.bincount(groups.rows)
    k, n_all = people.size, int(people.sum())
    sizes = np.round(_HAPLOTYPES * people / n_all).astype(np.int64)
    sizes = np.minimum(np.maximum(sizes, _FEWEST_HAPLOTYPES), people)
    sizes[np.argmax(people)] -= sizes.sum() % 2
    functions = Functions(sizes)
    blocks = functions.observed(copies, people)
    real, differing = functions.spectra(blocks.sum(axis=0))
    first, second = np.triu_indices(k, 1)
    between = np.zeros((k, k))
    between[first, second] = between[second, first] = differing[k:].sum(axis=1)
    tree = Tree.of(between)
    left = left_by_filter(n_all, least, int(sizes.sum()))
    classes = np.flatnonzero((left >= _COMPLETE) & (np.arange(left.size) > 0))

    def statistics(whole: Floats, pairs: Floats) -> Floats:
        """Roots of classes' shares, Fst of pairs and relative diversity of each."""
        whole, pairs = whole[classes], pairs[:, classes].sum(axis=1)
        within, across = pairs[:k], pairs[k:]
        fst = 1 - (within[first] + within[second]) / 2 / np.maximum(across, 1e-12)
        shares = np.sqrt(np.maximum(whole, 0) / whole.sum())
        return np.concatenate([shares, fst, within / np.maximum(within.mean(), 1e-12)])

    target = statistics(real, differing)
    without = [statistics(*functions.spectra(blocks.sum(axis=0) - block)) for block in blocks]
    spread = np.std(without, axis=0) * np.sqrt(len(blocks) - 1)
    # One spread for all classes: each one's own is known badly.
    spread[: classes.size] = np.sqrt(np.mean(spread[: classes.size] ** 2))
    spread = np.maximum(spread, _LEAST_SPREAD)
    values, scales, done = functions.values(), _Scales(tree), 0

    def model(free: Floats) -> tuple[Floats, Floats]:
        whole, pairs = functions.spectra(expected(tree, scales.history(free), values))
        return whole * left, pairs * left

    def residuals(free: Floats) -> Floats:
        nonlocal done
        done += 1
        tell(min(1, done / (_ROUNDS * free.size)), "fitting the populations' history")
        away = (statistics(*model(free)) - target) / spread
        return np.concatenate([np.sqrt(_WEIGHT) * away, (free - scales.middle) / scales.spread])

    best = optimize.least_squares(
        residuals, scales.middle, diff_step=1e-4, xtol=1e-4, ftol=1e-5, max_nfev=_ROUNDS
    )
    whole, _ = model(best.x)
    expected_sites = 2 * mutation_rate * panel.span * whole[classes].sum()
    ancestral = float(real[classes].sum() / expected_sites)
    return FittedTree(groups.demes, tree, scales.history(best.x), ancestral)
