"""Conformance of a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from haplobench.plugin import DatasetSpec, LoadedDataset, Params, RunContext
from haplobench.registry import Registry, resolve
from haplobench.testing.checks import Findings, conformance, watched


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
