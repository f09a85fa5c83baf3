"""`hclt`: hidden Chow-Liu trees over the sites, with exact likelihoods."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from haplobench import Panel, PluginError, RunContext, SampleRequest
from haplobench.kernels import compiled
from haplobench.plugin.generators import load_state, save_state
from haplobench_peers import HCLTParams
from haplobench_peers.common import BLOCK, Checkpoint, refuse_unfit

_NAME = "hclt"
_FILE = "tree.npz"  # of a fit in progress
_ROWS = 64  # haplotypes that a kernel takes at a time
_PARTS = 4  # of the haplotypes, whose counts are summed apart; another number rounds otherwise
_SITES = 256  # whose mutual information is computed at once
_SURE = 1e-6  # what no probability of an allele is nearer to 0 or 1


class HCLT:
    """Hidden Chow-Liu tree (Liu & Van den Broeck 2021; of genomes: Dang et al. 2023).

    The sites' maximum spanning tree by mutual information (Chow & Liu 1968) is the tree of latent
    variables, one to a site, each with `states` values; a site's allele depends on its own latent
    alone. Expectation maximisation over all haplotypes, by belief propagation along the tree, which
    is exact; samples are ancestral.

    Departures: full batches only, where the authors go on from mini-batches. The tree joins sites
    up to `reach` apart, which bounds its cost on long panels. The start isn't random: latents are
    clusters of the haplotypes' alleles around each site, which saves most iterations. Fixed sites
    are leaves of the tree, and stay fixed.
    """

    def fit(self, train: Panel, params: HCLTParams, ctx: RunContext) -> FittedHCLT:
        """Find the tree, then the parameters; writes `training.json` to the artifacts.

        It holds `log_likelihood`: mean log-likelihood of a training haplotype before each
        iteration, natural logarithm (nats).

        Raises PanelError if alleles are missing, or if there are none.
        """
        refuse_unfit(train, _NAME)
        haplotypes = np.ascontiguousarray(train.haplotypes)
        checkpoint = Checkpoint.of(_NAME, train, params, ctx)
        state = checkpoint.read(_FILE, ("history", *Tree.__dataclass_fields__))
        if state:
            history = state.pop("history").tolist()
            tree = Tree(**state)
        else:
            ctx.progress(0.0, "tree")
            tree = _started(haplotypes, params, ctx.rng(_NAME, "start"))
            history = []
        with ThreadPoolExecutor(max(1, ctx.threads)) as pool:
            for iteration in range(len(history), params.iterations):
                log_likelihood, counts = tree.expectation(haplotypes, pool)
                history.append(float(log_likelihood.mean()))
                tree = tree.maximised(*counts, params.pseudocount)
                checkpoint.write(_FILE, {"history": np.array(history), **vars(tree)})
                ctx.progress(
                    (iteration + 1) / params.iterations,
                    f"iteration {iteration + 1}: {history[-1]:.2f} nats",
                )
        record = json.dumps({"log_likelihood": history, "unit": "nats per haplotype"})
        (ctx.artifacts / "training.json").write_text(record + "\n")
        fixed = np.where(train.maf == 0, train.frequencies, -1).astype(np.int8)
        return FittedHCLT(tree, fixed)

    def load(self, directory: Path, ctx: RunContext) -> FittedHCLT:
        """Read what `save` wrote."""
        arrays, _ = load_state(directory, _NAME)
        return FittedHCLT(fixed=arrays.pop("fixed"), tree=Tree(**arrays))


@dataclass(frozen=True, eq=False)
class Tree:
    """A latent tree of n sites with H states.

    `order` (n,) int64: sites, each after its parent. `parent` (n,) int64: of each site; -1 of the
    root. `transitions` (n, H, H) float32: probability of a site's state (last) given its parent's;
    all rows of the root are its state's probabilities. `emissions` (n, H) float32: probability of
    the alternate allele in each state.
    """

    order: NDArray[np.int64]
    parent: NDArray[np.int64]
    transitions: NDArray[np.float32]
    emissions: NDArray[np.float32]

    def log_likelihood(self, haplotypes: NDArray[np.int8]) -> NDArray[np.float64]:
        """Exact log-likelihood of haplotypes (n, n_sites) int8 in nats: (n,) float64."""
        with ThreadPoolExecutor(1) as pool:
            return self.expectation(haplotypes, pool)[0]

    def expectation(
        self, haplotypes: NDArray[np.int8], pool: ThreadPoolExecutor
    ) -> tuple[NDArray[np.float64], tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Log-likelihoods (n,) in nats, and expected counts of the haplotypes (n, n_sites) int8.

        Counts: of a site's state with its parent's, (n_sites, H, H) float64, and of its state with
        the reference and the alternate allele, (2, n_sites, H) float64.
        """
        n = haplotypes.shape[0]
        edges = np.linspace(0, n, _PARTS + 1).astype(int)
        parts = [haplotypes[a:b] for a, b in pairwise(edges) if b > a]

        def count(part: NDArray[np.int8]) -> Any:
            joint = np.zeros(self.transitions.shape)
            alleles = np.zeros((2, *self.emissions.shape))
            logs = np.zeros(part.shape[0])
            for first in range(0, part.shape[0], _ROWS):
                rows = part[first : first + _ROWS]
                columns = np.ascontiguousarray(rows.T)
                _propagate(
                    *(self.order, self.parent, self.transitions, self.emissions),
                    *(columns, joint, alleles, logs[first : first + _ROWS]),
                )
            return logs, joint, alleles

        logs, joint, alleles = zip(*pool.map(count, parts), strict=True)
        return np.concatenate(logs), (sum(joint) * self.transitions, sum(alleles))

    def maximised(
        self, joint: NDArray[np.float64], alleles: NDArray[np.float64], pseudocount: float
    ) -> Self:
        """The tree with the parameters that counts make likeliest.

        `pseudocount`: haplotypes added to each state of a parent, spread evenly over the child's
        states; and as many to each state of a site, at the site's allele frequency.
        """
        n_states = self.emissions.shape[1]
        transitions = joint + (pseudocount + 1e-9) / n_states
        transitions /= transitions.sum(axis=2, keepdims=True)
        total = alleles.sum(axis=0)
        frequency = alleles[1].sum(axis=1, keepdims=True) / total.sum(axis=1, keepdims=True)
        emissions = alleles[1] + (pseudocount + 1e-9) * frequency
        emissions /= total + pseudocount + 1e-9
        return type(self)(
            self.order,
            self.parent,
            transitions.astype(np.float32),
            emissions.clip(_SURE, 1 - _SURE).astype(np.float32),
        )


def chow_liu(
    haplotypes: NDArray[np.int8], reach: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Maximum spanning tree by mutual information of sites at most `reach` columns apart.

    `haplotypes` (n, n_sites) int8 of 0 and 1. Returns `order` and `parent` as `Tree` has them; the
    root is the site in the middle.
    """
    n, n_sites = haplotypes.shape
    reach = min(reach, n_sites - 1)
    if n_sites == 1:
        return np.zeros(1, np.int64), np.full(1, -1)
    values = haplotypes.astype(np.float32)
    ones = values.sum(axis=0, dtype=np.float64)
    sites, others, weights = [], [], []
    for start in range(0, n_sites - 1, _SITES):
        stop = min(start + _SITES, n_sites)
        end = min(stop + reach, n_sites)
        both = (values[:, start:stop].T @ values[:, start:end]).astype(np.float64)
        i, j = np.nonzero(np.triu(np.tri(stop - start, end - start, reach), 1))
        information = _mutual_information(both[i, j], ones[start + i], ones[start + j], n)
        sites.append(start + i)
        others.append(start + j)
        # What is least is spanned, and 0 isn't an edge. Among equals, neighbours.
        weights.append(1 - information + 1e-9 * (j - i) / n_sites)
    graph = sparse.coo_matrix(
        (np.concatenate(weights), (np.concatenate(sites), np.concatenate(others))),
        shape=(n_sites, n_sites),
    )
    spanning = csgraph.minimum_spanning_tree(graph.tocsr())
    order, parent = csgraph.breadth_first_order(spanning, n_sites // 2, directed=False)
    return order.astype(np.int64), np.where(parent < 0, -1, parent).astype(np.int64)


def _mutual_information(
    both: NDArray[np.float64], one: NDArray[np.float64], other: NDArray[np.float64], n: int
) -> NDArray[np.float64]:
    """Of pairs of sites, in nats, from counts of alternate alleles."""
    total = np.zeros(both.shape)
    for cell, row, column in (
        (both, one, other),
        (one - both, one, n - other),
        (other - both, n - one, other),
        (n - one - other + both, n - one, n - other),
    ):
        some = cell > 0
        total[some] += cell[some] / n * np.log(cell[some] * n / (row[some] * column[some]))
    return total


def _started(haplotypes: NDArray[np.int8], params: HCLTParams, rng: np.random.Generator) -> Tree:
    """A tree whose latents are clusters of haplotypes by the alleles around each site."""
    n, n_sites = haplotypes.shape
    order, parent = chow_liu(haplotypes, params.reach)
    n_states = params.states
    cluster = np.empty((n_sites, n), np.int64)
    values = haplotypes.astype(np.float32)
    for start in range(0, n_sites, params.start_window):
        stop = min(start + params.start_window, n_sites)
        around = slice(max(0, start - params.start_window // 2), stop + params.start_window // 2)
        cluster[start:stop] = _clusters(values[:, around], n_states, rng)
    joint = np.zeros((n_sites, n_states, n_states))
    alleles = np.zeros((2, n_sites, n_states))
    for site in range(n_sites):
        above = cluster[parent[site]]
        if parent[site] < 0:
            joint[site] += np.bincount(cluster[site], minlength=n_states)
        else:
            pairs = np.bincount(above * n_states + cluster[site], minlength=n_states**2)
            joint[site] += pairs.reshape(n_states, n_states)
        for allele in (0, 1):
            alleles[allele, site] += np.bincount(
                cluster[site][haplotypes[:, site] == allele], minlength=n_states
            )
    empty = Tree(order, parent, joint.astype(np.float32), alleles[0].astype(np.float32))
    # Soft, so that iterations can leave the clusters.
    return empty.maximised(joint, alleles, params.pseudocount + params.start_share * n / n_states)


def _clusters(
    values: NDArray[np.float32], n_states: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Cluster of each row (n, k) by k-means of distinct rows drawn at random: (n,) int64."""
    distinct, which, counts = np.unique(values, axis=0, return_inverse=True, return_counts=True)
    if len(distinct) <= n_states:
        return np.asarray(which.reshape(-1), np.int64)
    weights = counts.astype(np.float64)
    # The starts of k-means++ (Arthur & Vassilvitskii 2007).
    centres = distinct[rng.choice(len(distinct), p=weights / weights.sum())][None]
    nearest = ((distinct - centres) ** 2).sum(axis=1)
    while len(centres) < n_states:
        chance = nearest * weights
        chosen = distinct[rng.choice(len(distinct), p=chance / chance.sum())]
        centres = np.vstack([centres, chosen])
        nearest = np.minimum(nearest, ((distinct - chosen) ** 2).sum(axis=1))
    for _ in range(5):
        own = (
            (distinct**2).sum(1)[:, None] - 2 * distinct @ centres.T + (centres**2).sum(1)
        ).argmin(1)
        member = np.zeros((len(distinct), n_states), np.float32)
        member[np.arange(len(distinct)), own] = weights
        size = member.sum(axis=0)
        centres = np.where(
            size[:, None] > 0, member.T @ distinct / np.maximum(size, 1)[:, None], centres
        )
    return np.asarray(own[which.reshape(-1)], np.int64)


def _propagate_plain(
    order: Any, parent: Any, transitions: Any, emissions: Any, columns: Any, joint: Any,
    alleles: Any, logs: Any,
) -> None:  # fmt: skip
    """Add the counts of some haplotypes, `columns` (n_sites, n) int8, and their likelihoods.

    `joint` lacks a factor, the transitions themselves.
    """
    n_sites, n = columns.shape
    n_states = emissions.shape[1]
    below = np.ones((n_sites, n_states, n), np.float32)  # of a state: everything under it
    message = np.empty((n_sites, n_states, n), np.float32)  # of the parent's state
    scale = np.empty(n, np.float32)
    posterior = np.empty((n_sites, n_states, n), np.float32)
    for at in range(n_sites - 1, -1, -1):
        site = order[at]
        here = below[site]
        scale[:] = 0
        for state in range(n_states):
            one = emissions[site, state]
            zero = np.float32(1) - one
            for row in range(n):
                here[state, row] *= one if columns[site, row] else zero
                scale[row] += here[state, row]
        for row in range(n):
            logs[row] += np.log(scale[row])
            scale[row] = np.float32(1) / scale[row]
        for state in range(n_states):
            for row in range(n):
                here[state, row] *= scale[row]
        up = message[site]
        for above in range(n_states):
            for row in range(n):
                up[above, row] = 0
            for state in range(n_states):
                chance = transitions[site, above, state]
                for row in range(n):
                    up[above, row] += chance * here[state, row]
        if parent[site] >= 0:
            # Scaled at every child: a site may have dozens.
            into = below[parent[site]]
            scale[:] = 0
            for above in range(n_states):
                for row in range(n):
                    into[above, row] *= up[above, row]
                    scale[row] += into[above, row]
            for row in range(n):
                logs[row] += np.log(scale[row])
                scale[row] = np.float32(1) / scale[row]
            for above in range(n_states):
                for row in range(n):
                    into[above, row] *= scale[row]
    root = order[0]
    for row in range(n):
        logs[row] += np.log(message[root, 0, row])
    share = np.empty((n_states, n), np.float32)
    for at in range(n_sites):
        site = order[at]
        here, up, own = below[site], message[site], posterior[site]
        for above in range(n_states):
            for row in range(n):
                if parent[site] < 0:
                    share[above, row] = np.float32(1) / (np.float32(n_states) * up[above, row])
                else:
                    share[above, row] = posterior[parent[site], above, row] / up[above, row]
        for state in range(n_states):
            for row in range(n):
                own[state, row] = 0
            for above in range(n_states):
                chance = transitions[site, above, state]
                total = np.float32(0)
                for row in range(n):
                    own[state, row] += chance * share[above, row]
                    total += share[above, row] * here[state, row]
                joint[site, above, state] += total
            zero_count = np.float32(0)
            one_count = np.float32(0)
            for row in range(n):
                own[state, row] *= here[state, row]
                if columns[site, row]:
                    one_count += own[state, row]
                else:
                    zero_count += own[state, row]
            alleles[0, site, state] += zero_count
            alleles[1, site, state] += one_count


_propagate = compiled(_propagate_plain, fastmath=True, error_model="numpy")


def _ancestral_plain(
    order: Any, parent: Any, cumulative: Any, emissions: Any, levels: Any, state: Any, alleles: Any
) -> None:
    """States and alleles of a block: `levels` (2, n_sites, n) uniform float32."""
    n_sites, n = alleles.shape
    last = emissions.shape[1] - 1
    for at in range(n_sites):
        site = order[at]
        for row in range(n):
            above = 0 if parent[site] < 0 else state[parent[site], row]
            drawn = 0
            while drawn < last and levels[0, site, row] >= cumulative[site, above, drawn]:
                drawn += 1
            state[site, row] = drawn
            alleles[site, row] = levels[1, site, row] < emissions[site, drawn]


_ancestral = compiled(_ancestral_plain)


@dataclass(frozen=True, eq=False)
class FittedHCLT:
    """The tree; `fixed` (n_sites,) int8: the allele of sites that don't vary, -1 elsewhere."""

    tree: Tree
    fixed: NDArray[np.int8]

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[NDArray[np.int8]]:
        """Yield (batch, n_sites) int8, populations as they come."""
        cumulative = self.tree.transitions.cumsum(axis=2, dtype=np.float32)
        n_sites = self.fixed.size

        def draw(block: int) -> NDArray[np.int8]:
            levels = ctx.rng("sample", block).random((2, n_sites, BLOCK), np.float32)
            state, alleles = np.empty((2, n_sites, BLOCK), np.int8)
            tree = self.tree
            _ancestral(tree.order, tree.parent, cumulative, tree.emissions, levels, state, alleles)
            drawn = np.where(self.fixed[:, None] < 0, alleles, self.fixed[:, None])
            return np.ascontiguousarray(drawn.T)

        return request.batches(draw, BLOCK)

    def log_likelihood(self, panel: Panel) -> NDArray[np.float64]:
        """Exact log-likelihood of a panel's haplotypes in nats: (n_haplotypes,) float64.

        Raises PluginError if the panel hasn't as many sites, or if alleles are missing.
        """
        if panel.n_sites != self.fixed.size or panel.has_missing:
            raise PluginError(
                f"panel: {panel.n_sites} sites{', some alleles missing' * panel.has_missing}; "
                f"expected {self.fixed.size} without missing alleles"
            )
        return self.tree.log_likelihood(np.ascontiguousarray(panel.haplotypes))

    def save(self, directory: Path) -> None:
        """Write the tree."""
        save_state(directory, _NAME, {**vars(self.tree), "fixed": self.fixed})
