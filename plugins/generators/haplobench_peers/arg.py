"""`tsinfer`: new haplotypes threaded through trees inferred from the training haplotypes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench import Panel, PluginError, RunContext, SampleRequest
from haplobench.model_state import load_state, save_state
from haplobench_peers.common import Checkpoint, Strata, morgans, refuse_unfit, sample_blocks
from haplobench_peers.genealogy import Genealogy
from haplobench_peers.specs import PROGRAM, ARGParams

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
