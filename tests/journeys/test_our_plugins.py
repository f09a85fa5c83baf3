"""Every plugin of this distribution keeps its contract, as the conformance kit sees it."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import pytest

from haplobench.plugin import PROJECT
from haplobench.registry import load_registry, missing_needs
from haplobench.testing import check_dataset, check_generator, check_metric, example_panel

# Our own entry points only: what else is installed can't change these tests.
OURS = sorted(
    entry.value
    for entry in importlib.metadata.entry_points(group=PROJECT)
    if entry.dist is not None and entry.dist.name == "haplobench"
)
REGISTRY = load_registry(OURS)

COPIES = (
    "BEGIN {srand(seed)} {row[NR] = $0} "
    "END {for (i = 0; i < n; i++) print row[1 + int(rand() * NR)]}"
)
# Copies training haplotypes of the population asked for.
OF_POPULATION = (
    "BEGIN {srand(seed)} FNR == 1 {file++} file == 1 && FNR > 1 {of[FNR - 2] = $2} "
    "file == 2 {p = of[int((FNR - 1) / 2)]; row[p, ++count[p]] = $0} "
    "file == 3 && FNR > 1 {for (j = 0; j < 2; j++) print row[$2, 1 + int(rand() * count[$2])]}"
)
TWENTY_SITES = (
    'BEGIN {srand(seed); printf "segsites: 20\\npositions:"; '
    'for (i = 1; i <= 20; i++) printf " %.6f", i / 21; print ""; '
    'for (h = 0; h < n; h++) {line = ""; for (i = 0; i < 20; i++) line = line (rand() < 0.3); '
    "print line}}"
)
AWK = ["awk", "-v", "n={n_haplotypes}", "-v", "seed={seed}"]
MATRIX = {"input_format": "matrix", "output_format": "matrix"}
# Parameters by name, where there are no defaults, or they are made for real panels.
QUICK: dict[str, dict[str, Any]] = {
    "command": {"sample": [*AWK, COPIES, "{train}"], **MATRIX},
    "command-own-sites": {"sample": [*AWK, TWENTY_SITES], "output_format": "ms"},
    "command-populations": {
        "sample": [*AWK, OF_POPULATION, "{train_labels}", "{train}", "{populations}"],
        **MATRIX,
    },
    "gan": {"updates": 60, "maker": [64], "critic": [64]},
    "latent-diffusion": {"updates": 60, "hidden": 32, "batch_size": 64, "steps": 6},
    "vae": {"epochs": 3, "window": 32, "codes": 12, "dimension": 16, "reach": 3},
    "vae-federated": {
        "privacy": "none",
        "rounds": 6,
        "local_steps": 20,
        "sampling_rate": 0.5,
        "learning_rate": 0.1,
        "model": {"window": 16, "codes": 16},
    },
    "vae-paper": {"epochs": 2},
    "wgan": {
        "updates": 60,
        "critic_updates": 2,
        "batch_size": 64,
        "learning_rate": 0.01,
        "maker": [64],
        "critic": [64],
    },
}
# Datasets that can be had without a file or a network.
DATASETS: dict[str, dict[str, Any]] = {
    "embedded": {},
    "simulated": {"samples": {"CEU": 8}, "people": 8, "length": 100_000},
}


def skip_without_needs(spec: Any) -> None:
    missing = missing_needs(spec.needs)
    if missing:
        pytest.skip(f"{spec.name} needs {', '.join(missing)}")


def test_all_are_there() -> None:
    assert not REGISTRY.broken
    assert not REGISTRY.duplicates
    assert REGISTRY.generators
    assert REGISTRY.metrics
    assert REGISTRY.datasets
    assert set(DATASETS) <= set(REGISTRY.datasets)


# Long fits; each has a quicker test of its own.
LONG = {"rbm", "vae", "vae-federated", "vae-paper"}
# Of a table of the people's: `tests/traits` holds it to the same.
ELSEWHERE = {"with-traits"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in LONG else ())
        for name in sorted(set(REGISTRY.generators) - ELSEWHERE)
    ],
)
def test_generators(name: str) -> None:
    skip_without_needs(REGISTRY.generator(name))
    check_generator(name, example_panel(60, n_sites=160), params=QUICK.get(name), registry=REGISTRY)


@pytest.mark.parametrize("name", list(REGISTRY.metrics))
def test_metrics(name: str) -> None:
    skip_without_needs(REGISTRY.metric(name))
    check_metric(name, registry=REGISTRY)


def test_the_file_dataset(data_dir: Path) -> None:
    spec = REGISTRY.dataset("file")
    skip_without_needs(spec)
    params = {
        "path": str(data_dir / "1kg_p3_chr20_1-4Mb_EUR300.vcf.gz"),
        "panel_file": str(data_dir / "1kg_p3.panel.tsv"),
        "map": str(data_dir / "chr20.b37.gmap.gz"),
        "region": "20:1000000-1030000",
    }
    check_dataset("file", params=params, registry=REGISTRY)


@pytest.mark.parametrize("name", list(DATASETS))
def test_datasets(name: str) -> None:
    skip_without_needs(REGISTRY.dataset(name))
    check_dataset(name, params=DATASETS[name], registry=REGISTRY)
