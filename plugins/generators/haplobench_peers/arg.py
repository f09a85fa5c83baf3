"""`tsinfer`: new haplotypes threaded through trees inferred from the training haplotypes.

Trees of haplotypes along the sites, and how new haplotypes are threaded through them.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from haplobench import Panel, PluginError, RunContext, SampleRequest
from haplobench.kernels import compiled
from haplobench.plugin.generators import load_state, save_state
from haplobench_peers import PROGRAM, ARGParams
from haplobench_peers.common import Checkpoint, Strata, morgans, refuse_unfit, sample_blocks

Floats = NDArray[np.float64]
_APART = 1.0  # generations between a node and its child, at least
_STEP = np.uint64(0x9E3779B97F4A7C15)  # splitmix64's (Steele, Lea & Flood 2014)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_30, _27, _31, _11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)


@dataclass(frozen=True, eq=False)
class Genealogy:
    """Trees of some haplotypes along the sites, dated, with the mutations on their branches.

    `ages` (n_nodes,) float64: generations; the first `n_leaves` nodes are the haplotypes, of age 0.
    `edges` (n_edges, 4) int32: first site, site past the last, parent, child, by first site.
    `gone` (n_edges,) int64: edges by the site past their last.
    `ancestral` (n_sites,) int8: the allele of whoever has no mutation above.
    `mutations` (n_mutations, 3) int32: site, node below, new allele, by site, older ones first.
    `mutation_ages` (n_mutations,) float64: generations; infinite above a root.
    `rates` (2, n_sites) float64: mutations to the reference and to the alternate allele beside the
    site's oldest one, per generation of a branch.
    `n_leaves` () int64: haplotypes.
    """

    ages: Floats
    edges: NDArray[np.int32]
    gone: NDArray[np.int64]
    ancestral: NDArray[np.int8]
    mutations: NDArray[np.int32]
    mutation_ages: Floats
    rates: Floats
    n_leaves: NDArray[np.int64]

    @classmethod
    def dated(
        cls,
        order: Floats,
        edges: NDArray[np.int32],
        ancestral: NDArray[np.int8],
        mutations: NDArray[np.int32],
        n_leaves: int,
        two_n: float,
        rng: np.random.Generator,
    ) -> Self:
        """Trees of nodes that are known by their order in time alone.

        A node of k of n haplotypes has the age that such a node has on average in the coalescent
        of one population (Wiuf & Donnelly 1999), the mean over its sites: 2N (k - 1) / n
        generations, 4N (1 - 1/n) the root; and no less than its children. Mutations lie anywhere on
        their branch. `two_n`: haplotypes of the population.
        """
        n_sites = ancestral.size
        edges = edges[edges[:, 0] < edges[:, 1]]
        edges = edges[np.argsort(edges[:, 0], kind="stable")]
        gone = np.argsort(edges[:, 1], kind="stable")
        ages = np.zeros(order.size)
        _expected(edges, gone, n_sites, n_leaves, ages)
        ages *= two_n
        for edge in np.argsort(order[edges[:, 2]], kind="stable").tolist():
            parent, child = edges[edge, 2:]
            ages[parent] = max(ages[parent], ages[child] + _APART)
        low, high = _branch(ages, edges, mutations, n_sites)
        mutation_ages = np.where(
            np.isfinite(high), low + rng.random(low.size) * (high - low), np.inf
        )
        return cls(
            ages,
            edges,
            gone,
            ancestral,
            mutations,
            mutation_ages,
            _rates(ages, edges, mutations, n_sites),
            np.array(n_leaves),
        )

    def thread(
        self, morgans: Floats, two_n: float, youngest: float, seeds: NDArray[np.uint64]
    ) -> NDArray[np.int8]:
        """A new haplotype for each seed: (n, n_sites) int8.

        Its lineage coalesces with any branch of its tree at a rate of 1 / 2N. Between sites it is
        broken by recombination, once in as many Morgans as it has generations, at any of its
        generations, and coalesces anew from there. `morgans` (n_sites,): genetic positions.
        `two_n`: haplotypes of the population. `youngest`: generations; who coalesces later than
        that has the alleles of the branch's ancestor of that age.
        """
        alleles = np.empty((seeds.size, self.ancestral.size), np.int8)
        first = np.searchsorted(self.mutations[:, 0], np.arange(self.ancestral.size + 1))
        n_leaves = int(self.n_leaves)
        _thread(
            *(self.edges, self.gone, self.ages, n_leaves, morgans, two_n, youngest),
            *(first, self.mutations, self.mutation_ages, self.ancestral, self.rates),
            *(seeds.copy(), alleles),
        )
        return alleles


def _branch(
    ages: Floats, edges: NDArray[np.int32], mutations: NDArray[np.int32], n_sites: int
) -> tuple[Floats, Floats]:
    """Ages of the lower and the upper end of each mutation's branch; the upper of a root's: inf."""
    site, node = mutations[:, 0], mutations[:, 1].astype(np.int64)
    high = np.full(site.size, np.inf)
    if edges.size:
        key = edges[:, 3].astype(np.int64) * (n_sites + 1) + edges[:, 0]
        by_child = np.argsort(key)
        at = np.searchsorted(key[by_child], node * (n_sites + 1) + site, side="right") - 1
        edge = edges[by_child[at.clip(0)]]
        inside = (at >= 0) & (edge[:, 3] == node) & (site < edge[:, 1])
        high[inside] = ages[edge[inside, 2]]
    return ages[node], high


def _rates(
    ages: Floats, edges: NDArray[np.int32], mutations: NDArray[np.int32], n_sites: int
) -> Floats:
    """See `Genealogy.rates`."""
    lengths = ages[edges[:, 2]] - ages[edges[:, 3]]
    change = np.bincount(edges[:, 0], lengths, n_sites + 1)
    total = np.cumsum(change - np.bincount(edges[:, 1], lengths, n_sites + 1))[:-1]
    site = mutations[:, 0]
    again = mutations[np.concatenate([[False], site[1:] == site[:-1]])[: site.size]]
    counts = np.stack(
        [np.bincount(again[again[:, 2] == allele, 0], minlength=n_sites) for allele in (0, 1)]
    )
    rates: Floats = counts / np.maximum(total, 1)
    return rates


def _advance_plain(
    edges: Any, gone: Any, at: Any, site: int, parent: Any, former: Any, leaves: Any
) -> bool:
    """Make the tree of the site before that of a site; `at` (2,): edges gone and come so far."""
    before = at[0] + at[1]
    while at[0] < gone.size and edges[gone[at[0]], 1] <= site:
        above, child = edges[gone[at[0]], 2], edges[gone[at[0]], 3]
        parent[child], former[child] = -1, above
        while above >= 0:
            leaves[above] -= leaves[child]
            above = parent[above]
        at[0] += 1
    while at[1] < gone.size and edges[at[1], 0] <= site:
        above, child = edges[at[1], 2], edges[at[1], 3]
        parent[child] = above
        while above >= 0:
            leaves[above] += leaves[child]
            above = parent[above]
        at[1] += 1
    return bool(at[0] + at[1] > before)


_advance = compiled(_advance_plain)


def _expected_plain(edges: Any, gone: Any, n_sites: int, n_leaves: int, ages: Any) -> None:
    """Mean age of each node over the trees that it is in, in units of 2N generations."""
    n_nodes = ages.size
    parent, former = np.full(n_nodes, -1), np.full(n_nodes, -1)
    leaves, at = np.zeros(n_nodes, np.int64), np.zeros(2, np.int64)
    leaves[:n_leaves] = 1
    sites = np.zeros(n_nodes)
    site = 0
    while site < n_sites:
        _advance(edges, gone, at, site, parent, former, leaves)
        following = n_sites
        if at[0] < gone.size:
            following = min(following, edges[gone[at[0]], 1])
        if at[1] < gone.size:
            following = min(following, edges[at[1], 0])
        for node in range(n_leaves, n_nodes):
            k = leaves[node]
            if k:
                age = (k - 1) / n_leaves if k < n_leaves else 2 * (1 - 1 / n_leaves)
                ages[node] += age * (following - site)
                sites[node] += following - site
        site = following
    for node in range(n_leaves, n_nodes):
        ages[node] /= max(sites[node], 1)


_expected = compiled(_expected_plain)


def _uniform_plain(state: Any, row: int) -> float:
    """A number in [0, 1) of the row's own stream: splitmix64."""
    state[row] += _STEP
    word = state[row]
    word = (word ^ (word >> _30)) * _FIRST
    word = (word ^ (word >> _27)) * _SECOND
    return float(((word ^ (word >> _31)) >> _11) / 9007199254740992.0)


_uniform = compiled(_uniform_plain)


def _coalesce_plain(
    age: float, two_n: float, youngest: float, n_leaves: int, tree: Any, state: Any, row: int
) -> Any:
    """Node and age at which a lineage of an age joins a tree: parents, leaves and ages of nodes.

    Leaves are proposed at a rate of 1 / 2N each, and the branch above one that is there by then is
    taken with a probability of 1 / its leaves: all branches at the same rate.
    """
    parent, leaves, ages = tree
    while True:
        age -= np.log1p(-_uniform(state, row)) * two_n / n_leaves
        node = int(_uniform(state, row) * n_leaves)
        while parent[node] >= 0 and ages[parent[node]] <= age:
            node = parent[node]
        if _uniform(state, row) * leaves[node] < 1:
            break
    age = max(age, youngest)
    while parent[node] >= 0 and ages[parent[node]] <= age:
        node = parent[node]
    return node, age


_coalesce = compiled(_coalesce_plain)


def _thread_plain(
    edges: Any,
    gone: Any,
    ages: Any,
    n_leaves: int,
    morgans: Any,
    two_n: float,
    youngest: float,
    first: Any,
    mutations: Any,
    mutation_ages: Any,
    ancestral: Any,
    rates: Any,
    state: Any,
    alleles: Any,
) -> None:
    """Thread rows (n, n_sites) of `alleles`; `state` (n,): of their streams."""
    n_rows, n_sites = alleles.shape
    n_nodes = ages.size
    parent, former = np.full(n_nodes, -1), np.full(n_nodes, -1)
    leaves, at = np.zeros(n_nodes, np.int64), np.zeros(2, np.int64)
    leaves[:n_leaves] = 1
    tree = (parent, leaves, ages)
    mutated = np.full(n_nodes, -1)
    joined, since = np.zeros(n_rows, np.int64), np.zeros(n_rows)
    # Generations times Morgans until a lineage is broken: what both had between them at a break.
    left = np.zeros(n_rows)
    for site in range(n_sites):
        changed = _advance(edges, gone, at, site, parent, former, leaves)
        for i in range(first[site], first[site + 1]):
            mutated[mutations[i, 1]] = i
        for row in range(n_rows):
            node, age = joined[row], since[row]
            if site == 0:
                node, age = _coalesce(0.0, two_n, youngest, n_leaves, tree, state, row)
                left[row] = -np.log1p(-_uniform(state, row))
            else:
                if changed:
                    # A branch that isn't in the tree any more: its lineage went on to the parent.
                    while node >= 0 and leaves[node] == 0:
                        node = former[node]
                        if node >= 0:
                            age = max(age, ages[node])
                    if node < 0:  # nor was there one, above the root
                        node, age = _coalesce(age, two_n, youngest, n_leaves, tree, state, row)
                    while parent[node] >= 0 and ages[parent[node]] <= age:
                        node = parent[node]
                distance = morgans[site] - morgans[site - 1]
                while left[row] < distance * age:
                    distance -= left[row] / age
                    broken = _uniform(state, row) * age
                    node, age = _coalesce(broken, two_n, youngest, n_leaves, tree, state, row)
                    left[row] = -np.log1p(-_uniform(state, row))
                left[row] -= distance * age
            joined[row], since[row] = node, age
            allele = ancestral[site]
            if first[site] < first[site + 1]:
                if mutated[node] >= 0 and mutation_ages[mutated[node]] <= age:
                    node = parent[node]
                while node >= 0 and mutated[node] < 0:
                    node = parent[node]
                if node >= 0:
                    allele = mutations[mutated[node], 2]
            if _uniform(state, row) < rates[1 - allele, site] * age:
                allele = 1 - allele
            alleles[row, site] = allele
        for i in range(first[site], first[site + 1]):
            mutated[mutations[i, 1]] = -1


_thread = compiled(_thread_plain)


_NAME = "tsinfer"
_FILE = "trees.npz"  # of a fit in progress
_SCRIPT = Path(__file__).with_name("arg_inference.py")
_PER_MORGAN = 1e10  # genetic positions, whole numbers, of a Morgan


class ARG:
    """New lineages in the ancestral recombination graph of the training haplotypes.

    tsinfer infers the trees along the sites (Kelleher et al. 2019). A new haplotype is one more
    lineage in them: it coalesces with a branch at a drawn time, is broken by recombination along
    the map as in the sequentially Markov coalescent (McVean & Cardin 2005) and coalesces anew, and
    has the alleles that its branch has at that time, and now and then a mutation. So it descends
    from ancestors of the training people, `youngest` generations ago at least, not from the people.

    ARGweaver (Rasmussen et al. 2014) threads a haplotype that is known, given its alleles; this one
    is nobody's, and threaded as the process has it. Departures from the papers beside that: trees
    aren't sampled but inferred once, and new lineages don't coalesce with each other. The
    commoner allele is taken as the ancestral one, for panels name none. Where a tree changes and a
    branch is gone, its lineage goes on to the branch's parent. Ages of nodes aren't estimated by a
    clock, as tsdate does (Wohns et al. 2022), since rare sites are filtered out, and with them all
    that tells young branches' ages: they are the expectations that tsdate has for a prior, of one
    population of constant size in each stratum. A lineage mutates as often as the trees' branches
    do at sites that tsinfer explains by more than one mutation.
    """

    def fit(self, train: Panel, params: ARGParams, ctx: RunContext) -> FittedARG:
        """Infer the trees of all haplotypes, and date those of each stratum.

        Raises PanelError if alleles are missing, or if there are none; PluginError where tsinfer
        fails.
        """
        refuse_unfit(train, _NAME)
        strata = Strata.of(train, params.within)
        stratum = strata.index(train)
        places = morgans(train, params.cm_per_mb, ctx)
        checkpoint = Checkpoint.of(_NAME, train, params, ctx)
        trees = checkpoint.read(_FILE)
        if trees is None:
            ctx.progress(0.0, "tsinfer")
            trees = _inferred(np.asarray(train.haplotypes), places, stratum, params, ctx)
            checkpoint.write(_FILE, trees)
        ctx.log.info("trees by tsinfer %s", trees["version"])
        sizes = np.bincount(stratum, minlength=strata.n)
        genealogies = []
        for group in range(strata.n):
            parts = {
                name: trees[f"{name}-{group}"]
                for name in ("order", "edges", "ancestral", "mutations")
            }
            genealogies.append(
                Genealogy.dated(
                    **parts,
                    n_leaves=int(sizes[group]),
                    two_n=2 * params.ne,
                    rng=ctx.rng(_NAME, "mutations", group),
                )
            )
            ctx.progress((group + 1) / strata.n, f"stratum {group + 1} of {strata.n}")
        return FittedARG(
            tuple(genealogies), places, strata, 2 * params.ne, params.youngest, train.ploidy
        )

    def load(self, directory: Path, ctx: RunContext) -> FittedARG:
        """Read what `save` wrote."""
        arrays, facts = load_state(directory, _NAME)
        strata = Strata.from_facts(facts["strata"])
        genealogies = tuple(
            Genealogy(**{p.name: np.array(arrays[f"{p.name}-{g}"]) for p in fields(Genealogy)})
            for g in range(strata.n)
        )
        return FittedARG(
            genealogies,
            np.array(arrays["morgans"]),
            strata,
            facts["two_n"],
            facts["youngest"],
            facts["ploidy"],
        )


def _inferred(
    haplotypes: NDArray[np.int8],
    places: NDArray[np.float64],
    stratum: NDArray[np.int64],
    params: ARGParams,
    ctx: RunContext,
) -> dict[str, NDArray[Any]]:
    """What `arg_inference.py` writes, run by the Python that the program `tsinfer` belongs to."""
    program = shutil.which(PROGRAM.name)
    if program is None:
        raise PluginError(f"generator {_NAME}: it needs {PROGRAM.missing()}")
    python = Path(program).resolve().with_name("python")
    source, target = ctx.scratch / "haplotypes.npz", ctx.scratch / "trees.npz"
    np.savez(
        source,
        haplotypes=haplotypes,
        at=np.round(places * _PER_MORGAN).astype(np.int64) + np.arange(places.size) + 1,
        per_morgan=_PER_MORGAN,
        mismatch=params.mismatch,
        stratum=stratum,
    )
    command = [str(python), "-I", str(_SCRIPT), str(source), str(target)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise PluginError(
            f"generator {_NAME}: {python}: {error.strerror}; expected the Python of {program}"
        ) from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise PluginError(
            f"generator {_NAME}: the inference of the trees ended with {done.returncode}: {last}",
            hint=f"it was run by {python}, which must have tsinfer 0.5",
        )
    with np.load(target, allow_pickle=False) as table:
        return {name: table[name] for name in table.files}


@dataclass(frozen=True, eq=False)
class FittedARG:
    """`genealogies`: of each stratum. `morgans` (n_sites,) float64: from the first site.

    `two_n`: haplotypes of a stratum's population. `youngest`: see `ARGParams`.
    """

    genealogies: tuple[Genealogy, ...]
    morgans: NDArray[np.float64]
    strata: Strata
    two_n: float
    youngest: float
    ploidy: int

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[NDArray[np.int8]]:
        """Yield (batch, n_sites) int8; the labels asked for may be superpopulations, too."""

        def draw(block: int, stratum: NDArray[np.int64]) -> NDArray[np.int8]:
            # A stream for each row, so that none depends on who else is of its stratum.
            seeds = ctx.rng("sample", block).integers(0, 1 << 64, stratum.size, np.uint64)
            drawn = np.empty((stratum.size, self.morgans.size), np.int8)
            for group in np.unique(stratum).tolist():
                mine = stratum == group
                drawn[mine] = self.genealogies[group].thread(
                    self.morgans, self.two_n, self.youngest, seeds[mine]
                )
            return drawn

        return sample_blocks(request, ctx, self.strata, self.ploidy, draw)

    def save(self, directory: Path) -> None:
        """Write the genealogies and the map."""
        arrays = {
            f"{name}-{group}": values
            for group, genealogy in enumerate(self.genealogies)
            for name, values in vars(genealogy).items()
        }
        save_state(
            directory,
            _NAME,
            arrays | {"morgans": self.morgans},
            strata=self.strata.facts(),
            two_n=self.two_n,
            youngest=self.youngest,
            ploidy=self.ploidy,
        )
