"""Small made-up panels to test plugins with, as in life; and the conformance of datasets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench.data.genome import BASES, RecombinationMap, surrogate_sequence
from haplobench.data.panel import Panel
from haplobench.plugin import DatasetSpec, LoadedDataset, Params, Reference, RunContext, Shadow
from haplobench.registry import Registry, resolve
from haplobench.testing.checks import Findings, conformance, watched

_FOUNDERS = 16
_SWITCH = 0.03  # per site: mosaics of about 30 sites
_MUTATION = 0.002
_SPACING = 300.0  # bp, as between common variants of the human genome
_SUPERPOPULATIONS = {"YRI": "AFR", "CEU": "EUR", "CHB": "EAS"}


def example_panel(
    n_samples: int = 60,
    n_sites: int = 200,
    seed: int = 0,
    populations: Sequence[str] = ("YRI", "CEU"),
) -> Panel:
    """A made-up diploid panel: mosaics of a few founders, each population with its own shares.

    The people are nobody's; only the labels are borrowed. `populations` are dealt in turn,
    none if empty. Every site is polymorphic; contig 20 from 1 Mb on, GRCh37.
    """
    rng = np.random.default_rng([20, seed])
    founders = _founders(n_sites, rng)
    labels = np.array(populations, np.str_)
    which = np.arange(n_samples) % max(1, labels.size)
    shares = rng.dirichlet(np.full(_FOUNDERS, 0.5), max(1, labels.size))
    haplotypes = _mosaics(founders, shares[np.repeat(which, 2)], rng)
    constant = np.flatnonzero((haplotypes == haplotypes[0]).all(axis=0))
    haplotypes[rng.integers(2 * n_samples, size=constant.size), constant] ^= 1
    positions = 1_000_000 + np.cumsum(1 + rng.geometric(1 / _SPACING, n_sites))
    ref = rng.integers(4, size=n_sites)
    alt = (ref + rng.integers(1, 4, size=n_sites)) % 4
    letters = BASES.view("S1").astype(np.str_)
    superpopulations = np.array([_SUPERPOPULATIONS.get(name, name) for name in populations])
    return Panel(
        haplotypes=haplotypes,
        positions=positions,
        contig="20",
        samples=np.array([f"person{i + 1}" for i in range(n_samples)]),
        ref=letters[ref],
        alt=letters[alt],
        population=labels[which] if labels.size else np.empty(0, "U1"),
        superpopulation=superpopulations[which] if labels.size else np.empty(0, "U1"),
        build="GRCh37",
    )


def example_reference(n_train: int = 60, n_holdout: int = 30, seed: int = 0) -> Reference:
    """Train and holdout of one `example_panel`: the same founders, other people."""
    panel = example_panel(n_train + n_holdout, seed=seed)
    people = np.arange(panel.n_samples)
    return Reference(panel.select_samples(people[:n_train]), panel.select_samples(people[n_train:]))


def example_context(folder: Path, panel: Panel, seed: int = 0, **changes: Any) -> RunContext:
    """A RunContext for `panel`: 1 cM/Mb, a surrogate sequence, folders made under `folder`."""
    for name in ("artifacts", "scratch"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    start, end = int(panel.positions[0]), int(panel.positions[-1])
    fields: dict[str, Any] = {
        "artifacts": folder / "artifacts",
        "scratch": folder / "scratch",
        "recombination_map": RecombinationMap.uniform(start, end, contig=panel.contig),
        "sequence": surrogate_sequence(start, end, np.random.default_rng(0)).place(panel),
        "min_maf": 0.01,
    }
    return RunContext(seed=seed, **(fields | changes))


def example_shadows(folder: Path, reference: Reference, n: int = 4) -> tuple[Shadow, ...]:
    """Shadow cohorts of a generator that returns its people, written under `folder`."""
    shadows = []
    for i in range(n):
        rng = np.random.default_rng(i // 2)
        panels = (reference.train, reference.holdout)
        members = [
            (rng.permutation(panel.n_samples) < panel.n_samples // 2) ^ bool(i % 2)
            for panel in panels
        ]
        people = [
            panel.select_samples(np.flatnonzero(inside)).haplotypes
            for panel, inside in zip(panels, members, strict=True)
        ]
        reference.train.with_haplotypes(np.concatenate(people)).save(folder / f"shadow{i}")
        shadows.append(Shadow(members[0], members[1], folder / f"shadow{i}"))
    return tuple(shadows)


def panel_state(panel: Panel) -> tuple[bytes, ...]:
    """What a change of the panel's arrays in place would change."""
    arrays: tuple[NDArray[Any], ...] = (
        panel.haplotypes,
        panel.positions,
        panel.ref,
        panel.alt,
        panel.samples,
        panel.population,
        panel.superpopulation,
    )
    return tuple(np.ascontiguousarray(values).tobytes() for values in arrays)


def without_labels(panel: Panel) -> Panel:
    """The panel with nobody's population known."""
    empty = np.full(panel.n_samples, "")
    return replace(panel, population=empty, superpopulation=empty)


def haploid(panel: Panel) -> Panel:
    """The first haplotype of everybody, as of people who have one: men's X, mitochondria."""
    first = np.ascontiguousarray(panel.haplotypes[:: panel.ploidy])
    return replace(panel, haplotypes=first, ploidy=1)


def _founders(n_sites: int, rng: np.random.Generator) -> NDArray[np.int8]:
    """Founder haplotypes: derived alleles ∝ 1/count, carried by neighbours in a slow order."""
    counts = np.arange(1, _FOUNDERS)
    weights = 1 / counts
    founders = np.zeros((_FOUNDERS, n_sites), np.int8)
    order = rng.permutation(_FOUNDERS)
    for site in range(n_sites):
        if rng.random() < 0.3:
            i, j = rng.integers(_FOUNDERS, size=2)
            order[[i, j]] = order[[j, i]]
        count = rng.choice(counts, p=weights / weights.sum())
        first = rng.integers(_FOUNDERS - count + 1)
        founders[order[first : first + count], site] = 1
    return founders


def _mosaics(
    founders: NDArray[np.int8], shares: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int8]:
    """A mosaic of founders per row of `shares` (n_haplotypes, n_founders), slightly mutated."""
    shape = (shares.shape[0], founders.shape[1])
    cumulative = np.cumsum(shares, axis=1)[:, None, :]
    drawn = (rng.random(shape)[:, :, None] > cumulative[..., :-1]).sum(axis=2)
    switch = rng.random(shape) < _SWITCH
    switch[:, 0] = True
    since = np.maximum.accumulate(np.where(switch, np.arange(shape[1]), 0), axis=1)
    source = np.take_along_axis(drawn, since, axis=1)
    alleles = founders[source, np.arange(shape[1])]
    return np.asarray(alleles ^ (rng.random(shape) < _MUTATION), np.int8)


# --- conformance of datasets ------------------------------------------------------------------


def check_dataset(
    dataset: str | DatasetSpec,
    *,
    params: Mapping[str, Any] | Params | None = None,
    seed: int = 0,
    registry: Registry | None = None,
) -> tuple[str, ...]:
    """Check that a dataset keeps its contract.

    Loads twice (paths in `params` must be absolute): description, params, light import (by
    name only), a panel with people and sites, the same panel both times, a fingerprint that
    doesn't change, counts of what was skipped, provenance, a recombination map and a
    sequence that cover the panel, no files outside the folders.

    `dataset`: a name in the registry, or a description. Returns the names of the checks passed.

    Raises ConformanceError that lists every failure, PluginError for an unknown name or if this
    machine lacks what the dataset needs.
    """
    return conformance(
        "dataset",
        dataset,
        params,
        registry,
        lambda spec, findings, folder, params: _run(spec, findings, folder, seed, params),
    )


def _run(spec: DatasetSpec, findings: Findings, folder: Path, seed: int, params: Params) -> None:
    digests, fingerprints = [], []
    for attempt in range(2):
        ctx = RunContext(seed, folder / "artifacts", folder / "scratch")
        for made in (ctx.artifacts, ctx.scratch):
            made.mkdir(exist_ok=True)
        with (
            watched(findings, folder),
            findings.attempt(
                "load", "load(params, ctx) to return", "There is nothing to learn from.", vital=True
            ),
        ):
            source = resolve(spec.target)()
            fingerprints.append(source.fingerprint(params))
            loaded = source.load(params, ctx)
        if attempt == 0:
            _judge(findings, loaded)
        digests.append(loaded.panel.digest)
    findings.expect(
        digests[0] == digests[1],
        "determinism",
        "loading twice with one seed to give the same panel",
        "panels of different digests",
        "Results of different datasets are never compared; draw from ctx.rng(*key) alone.",
    )
    findings.expect(
        fingerprints[0] == fingerprints[1] and isinstance(fingerprints[0], str),
        "fingerprint",
        "the same str twice",
        f"{fingerprints[0]!r} and {fingerprints[1]!r}",
        "It decides whether a prepared dataset can be used again.",
    )


def _judge(findings: Findings, loaded: Any) -> None:
    """Check one LoadedDataset."""
    why = "There is nothing to learn from."
    given = type(loaded).__name__
    findings.require(isinstance(loaded, LoadedDataset), "load", "a LoadedDataset", given, why)
    panel = loaded.panel
    findings.expect(
        panel.n_samples > 0 and panel.n_sites > 0 and bool(panel.contig),
        "panel",
        "people, sites and a contig",
        f"{panel.n_samples} people, {panel.n_sites} sites, contig {panel.contig!r}",
        why,
    )
    findings.expect(
        all(isinstance(count, int) and count >= 0 for count in loaded.skipped.values()),
        "skipped",
        "counts (int) by reason",
        f"{dict(loaded.skipped)}",
        "What a reader leaves out is said, never silent.",
    )
    findings.expect(
        bool(loaded.provenance)
        and all(isinstance(text, str) for text in loaded.provenance.values()),
        "provenance",
        "where the data came from, str to str",
        f"{dict(loaded.provenance)}",
        "Numbers without a source can't be checked.",
    )
    if panel.n_sites and loaded.recombination_map is not None:
        genetic = loaded.recombination_map.at(panel.positions)
        findings.expect(
            bool(np.isfinite(genetic).all())
            and loaded.recombination_map.contig in ("", panel.contig),
            "recombination map",
            f"a map of contig {panel.contig!r}, finite at every site",
            f"contig {loaded.recombination_map.contig!r}",
            "Distances in cM and mosaics come from it.",
        )
    if panel.n_sites and loaded.sequence is not None:
        first, last = loaded.sequence.start, loaded.sequence.start + loaded.sequence.bases.size - 1
        findings.expect(
            first <= panel.positions[0] and last >= panel.positions[-1],
            "sequence",
            f"bases from {panel.positions[0]} to {panel.positions[-1]} at least",
            f"{first} to {last}",
            "k-mers are counted on the sequence under all sites.",
        )
