"""Panels for tests of association studies and scores, and how a result is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from haplobench import Measurement, Panel, Reference

_FOUNDERS, _SWITCH, _ALIKE = 20, 0.02, 3


def split_panel(n_train: int, n_holdout: int, n_sites: int = 300) -> Reference:
    """Training and held-out people, mosaics of the same founders, of two populations.

    Runs of sites have the same carriers among the founders, so that every site has tags.
    """
    rng = np.random.default_rng(3)
    n = n_train + n_holdout
    counts = rng.integers(1, _FOUNDERS, -(-n_sites // _ALIKE))
    carried = rng.random((_FOUNDERS, counts.size)).argsort(axis=0) < counts
    founders = np.repeat(carried, _ALIKE, axis=1)[:, :n_sites].astype(np.int8)
    labels = np.array(["CEU", "YRI"])[np.arange(n) % 2]
    shares = rng.dirichlet(np.full(_FOUNDERS, 0.7), 2).cumsum(axis=1)[
        np.repeat(np.arange(n) % 2, 2)
    ]
    drawn = (rng.random((2 * n, n_sites, 1)) > shares[:, None, :-1]).sum(axis=2)
    switch = rng.random((2 * n, n_sites)) < _SWITCH
    since = np.maximum.accumulate(np.where(switch, np.arange(n_sites), 0), axis=1)
    source = np.take_along_axis(drawn, since, axis=1)
    panel = Panel(
        haplotypes=founders[source, np.arange(n_sites)],
        positions=1 + 1000 * np.arange(n_sites),
        contig="20",
        samples=np.array([f"p{i}" for i in range(n)]),
        ref=np.full(n_sites, "A"),
        alt=np.full(n_sites, "C"),
        population=labels,
        superpopulation=np.where(labels == "CEU", "EUR", "AFR"),
    )
    people = np.arange(n)
    return Reference(panel.select_samples(people[:n_train]), panel.select_samples(people[n_train:]))


def repeated(panel: Panel, times: int) -> Panel:
    """As many of everybody, under other names."""
    return panel.with_haplotypes(np.tile(np.asarray(panel.haplotypes), (times, 1)))


def some_people(panel: Panel, n: int, seed: int) -> Panel:
    """`n` of a panel's people."""
    return panel.select_samples(np.random.default_rng(seed).permutation(panel.n_samples)[:n])


def shuffled_sites(panel: Panel, seed: int = 0) -> Panel:
    """The panel with each site's alleles dealt anew: the same frequencies, no LD."""
    alleles = np.random.default_rng(seed).permuted(np.asarray(panel.haplotypes), axis=0)
    return panel.with_haplotypes(np.ascontiguousarray(alleles))


def fair_coins(panel: Panel, seed: int = 0) -> Panel:
    """Alleles by a fair coin."""
    rng = np.random.default_rng(seed)
    return panel.with_haplotypes(rng.integers(0, 2, panel.haplotypes.shape).astype(np.int8))


def number(result: Any, name: str) -> float:
    """The value of a number without labels, which there must be."""
    measurement = result.measurements[name]
    assert isinstance(measurement, Measurement)
    assert measurement.value is not None, measurement.note
    return float(measurement.value)


def write_table(path: Path, samples: Any, columns: dict[str, Any]) -> None:
    """A table of phenotypes or covariates as PLINK reads it."""
    rows = ["\t".join(["#IID", *columns])]
    for i, sample in enumerate(samples):
        rows.append(
            "\t".join([str(sample), *(repr(values[i].item()) for values in columns.values())])
        )
    path.write_text("\n".join(rows) + "\n")
