"""Infers trees of haplotypes: a script for the Python that tsinfer is installed in.

    python arg_inference.py HAPLOTYPES.npz TREES.npz

tsinfer wants zarr below 3, bio2zarr of the extra `formats` one above: no environment holds both. So
this runs in tsinfer's own, imports nothing of haplobench, and reads and writes files of arrays.

HAPLOTYPES.npz: `haplotypes` (n, n_sites) int8 of 0 and 1; `at` (n_sites,) int64, increasing:
genetic positions, `per_morgan` to a Morgan; `mismatch`: tsinfer's mismatch ratio; `stratum` (n,)
int64, from 0: whose trees are written apart.

TREES.npz: `version` of tsinfer, and for each stratum, with its number after a dash:
`order` (n_nodes,) float64: tsinfer's times, of which only the order means anything; the stratum's
haplotypes are the first nodes; `edges` (n_edges, 4) int32: first site, site past the last, parent,
child; `ancestral` (n_sites,) int8: the allele above all; `mutations` (n_mutations, 3) int32: site,
node, allele, by site, older ones first.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Any

import numpy as np


def infer(haplotypes: Any, at: Any, per_morgan: float, mismatch: float) -> Any:
    """The tree sequence of haplotypes; the commoner allele of a site is taken as the ancestral."""
    import tsinfer
    import tskit
    import zarr

    ancestral = (2 * haplotypes.sum(axis=0, dtype=np.int64) > len(haplotypes)).astype(int)
    length = int(at[-1]) + 1
    if len(haplotypes) < 2:  # tsinfer wants two
        tables = tskit.TableCollection(length)
        tables.nodes.add_row(flags=tskit.NODE_IS_SAMPLE)
        for position, allele in zip(at, ancestral, strict=True):
            tables.sites.add_row(position, str(allele))
        return tables.tree_sequence()
    group = zarr.group()
    chunk = max(1, min(at.size, 10_000_000 // len(haplotypes)))
    for name, values, chunks in (
        ("call_genotype", haplotypes.T[:, :, None], (chunk, len(haplotypes), 1)),
        ("variant_position", at, (chunk,)),
        ("variant_allele", np.array([["0", "1"]] * at.size), (chunk, 2)),
        ("sample_id", np.arange(len(haplotypes)).astype("U"), (len(haplotypes),)),
    ):
        group.array(name, np.ascontiguousarray(values), chunks=chunks)
    data = tsinfer.VariantData(group, ancestral.astype("U1"), sequence_length=length)
    return tsinfer.infer(data, recombination_rate=1 / per_morgan, mismatch_ratio=mismatch)


def described(trees: Any, rows: Any, at: Any) -> dict[str, Any]:
    """Arrays of the trees of some of the haplotypes."""
    part = trees.simplify(rows, filter_sites=False)
    edges = part.tables.edges
    columns = (
        np.searchsorted(at, edges.left),
        np.searchsorted(at, edges.right),
        edges.parent,
        edges.child,
    )
    mutations = [(m.site, m.node, int(m.derived_state)) for m in part.mutations()]
    return {
        "order": part.tables.nodes.time,
        "edges": np.stack(columns, 1).astype(np.int32),
        "ancestral": np.array([int(site.ancestral_state) for site in part.sites()], np.int8),
        "mutations": np.array(mutations, np.int32).reshape(-1, 3),
    }


def main() -> None:
    """Read, infer, write."""
    source, target = sys.argv[1:]
    with np.load(source) as given:
        trees = infer(
            given["haplotypes"], given["at"], float(given["per_morgan"]), float(given["mismatch"])
        )
        out: dict[str, Any] = {"version": np.array(version("tsinfer"))}
        for group in range(int(given["stratum"].max()) + 1):
            rows = np.flatnonzero(given["stratum"] == group)
            for name, values in described(trees, rows, given["at"]).items():
                out[f"{name}-{group}"] = values
    np.savez(target, **out)


if __name__ == "__main__":
    main()
