"""A made-up but realistic run folder: what the reports are tested with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from haplobench.report.figures import Figure, FigureProblem
from haplobench.results.records import Record, append_records

Drawn = tuple[list[Figure], list[FigureProblem]]
SEEDS = (1, 2, 3)
DRAWS = 3
FLOOR_DRAWS = 10
HOSTILE = "<script>alert('x')</script> & \"quoted\" | pipe"

GENERATORS: dict[str, dict[str, Any]] = {
    "shuffled": {"role": "control", "quality": 12.0, "leak": 0.0},
    "replayed": {"role": "control", "quality": 1.0, "leak": 40.0},
    "chain": {"role": "generator", "quality": 3.0, "leak": 0.1},
    "patchwork": {"role": "generator", "quality": 1.2, "leak": 6.0},
    "theory": {"role": "generator", "quality": 6.0, "leak": 0.0, "site_matched": False},
    "network": {"role": "generator", "quality": 1.6, "leak": 0.3},
    "slowpoke": {"role": "generator", "quality": 1.5, "leak": 0.3},
    "broken": {"role": "generator", "quality": 1.5, "leak": 0.3},
}


def _submetric(name: str, title: str, direction: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "title": title,
        "definition": f"Definition of {title.lower()}: mean over sites of |p - q|.",
        "unit": "",
        "direction": direction,
        "ideal": None,
        "min_effect": 0.0,
        "headline": False,
        **more,
    }


METRICS: dict[str, dict[str, Any]] = {
    "frequency": {
        "family": "fidelity",
        "submetrics": [
            _submetric("r", "AF r", "higher", ideal=1.0, headline=True),
            _submetric("rmse", "AF RMSE", "lower", ideal=0.0, headline=True),
            _submetric("lost", "Sites lost", "lower", ideal=0.0),
        ],
        "labels": [{"superpopulation": "EUR"}, {"superpopulation": "AFR"}],
    },
    "ld-decay": {
        "family": "fidelity",
        "submetrics": [
            _submetric("rmse", "LD decay RMSE", "lower", ideal=0.0, headline=True),
            _submetric("bias", "LD decay bias", "closer", ideal=0.0),
        ],
        "figures": [
            {
                "name": "curve",
                "title": "Decay of LD with distance",
                "caption": "Mean r² by distance; the floor in grey.",
                "target": "report_figures_fixture:draw_curve",
            },
            {
                "name": "bad",
                "title": "A figure whose code is broken",
                "caption": "Never seen.",
                "target": "report_figures_fixture:draw_broken",
            },
            {
                "name": "empty",
                "title": "A figure with nothing to draw",
                "caption": "Never seen.",
                "target": "report_figures_fixture:draw_nothing",
            },
            {
                "name": "gone",
                "title": "A figure of a plugin that is not installed",
                "caption": "Never seen.",
                "target": "haplobench_no_such_plugin.figures:draw",
            },
        ],
    },
    "ld-matrix": {
        "family": "fidelity",
        "submetrics": [
            _submetric("corr", "LD corr in window", "higher", ideal=1.0, headline=True),
            _submetric("cross", "LD corr across border", "higher", ideal=1.0, headline=True),
        ],
        "figures": [
            {
                "name": "scatter",
                "title": "Signed r, real against synthetic",
                "caption": "Pairs of sites, one panel per generator.",
                "target": "report_figures_fixture:draw_scatter",
            }
        ],
    },
    "words": {
        "family": "fidelity",
        "submetrics": [
            _submetric(
                "jsd", "Distinct 10-SNP words, divergence", "lower", ideal=0.0, headline=True
            )
        ],
    },
    "spectrum": {
        "family": "fidelity",
        "site_matched": False,
        "submetrics": [_submetric("jsd", "SFS JSD", "lower", ideal=0.0, unit="bit", headline=True)],
    },
    "adversarial": {
        "family": "privacy",
        "submetrics": [
            _submetric("truth", "AA truth", "closer", ideal=0.5, headline=True, min_effect=0.02),
            _submetric("syn", "AA syn", "closer", ideal=0.5, headline=True, min_effect=0.02),
        ],
    },
    "copies": {
        "family": "privacy",
        "submetrics": [
            _submetric("exact", "Exact copies", "lower", ideal=0.0, unit="%", headline=True),
            _submetric("tract", "Longest tract", "info", unit="SNPs"),
        ],
    },
    "inference": {
        "family": "privacy",
        "submetrics": [_submetric("auc", "MIA AUC", "closer", ideal=0.5, headline=True)],
    },
    "speed": {
        "family": "performance",
        "submetrics": [
            _submetric("fit", "Fit", "lower", unit="s", headline=True),
            _submetric("rate", "Throughput", "higher", unit="alleles/s", headline=True),
            _submetric("memory", "Peak memory", "lower", unit="bytes", headline=True),
        ],
    },
}

_FLOORS = {
    ("frequency", "r"): (0.9984, 0.0003),
    ("frequency", "rmse"): (0.0146, 0.0006),
    ("frequency", "lost"): (3.0, 1.0),
    ("ld-decay", "rmse"): (0.0013, 0.0004),
    ("ld-decay", "bias"): (0.0, 0.001),
    ("ld-matrix", "corr"): (0.996, 0.0008),
    ("ld-matrix", "cross"): (0.991, 0.002),
    ("words", "jsd"): (0.0016, 0.0001),
    ("spectrum", "jsd"): (0.0021, 0.0004),
    ("adversarial", "truth"): (0.49, 0.02),
    ("adversarial", "syn"): (0.50, 0.02),
    ("copies", "exact"): (9.8, 0.8),
    ("copies", "tract"): (1419.0, 60.0),
    ("inference", "auc"): (0.503, 0.004),
}


def build_run(folder: Path, hostile: bool = False, seed: int = 7) -> Path:
    """Write a run folder: 2 datasets, 8 generators, 3 seeds x 3 draws, a floor of 10 draws."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    label = HOSTILE if hostile else "chain"
    rename = {"chain": label}
    datasets = [HOSTILE, "chr1"] if hostile else ["chr20-eur", "chr1"]
    info = _info(datasets, rename, hostile)
    (folder / "run.json").write_text(json.dumps(info), encoding="utf-8")
    records: list[Record] = []
    for dataset in datasets:
        for draw in range(FLOOR_DRAWS):
            records += _measure(folder, rng, dataset, "floor", "floor", 0, draw, 1.0, 0.0)
        for name, entry in GENERATORS.items():
            for cell_seed in SEEDS:
                records += _cell(
                    folder, rng, dataset, rename.get(name, name), name, entry, cell_seed, hostile
                )
    append_records(folder / "records.jsonl", records)
    return folder


def _cell(
    folder: Path,
    rng: np.random.Generator,
    dataset: str,
    label: str,
    name: str,
    entry: dict[str, Any],
    seed: int,
    hostile: bool,
) -> list[Record]:
    failure = {"metric": "", "value": None, "wall_s": 600.2, "started": "2026-11-21T10:00:00Z"}
    base = _record(dataset, label, entry["role"], seed, 0)
    if name == "broken":
        text = HOSTILE if hostile else "shapes (3, 4) and (5,) can't be multiplied"
        trace = f'{text}\nTraceback (most recent call last):\n  File "model.py", line 3, in fit'
        status = {"status": "failed", "phase": "fit", "error_type": "ValueError", "error": trace}
        return [replace(base, **failure, **status)]
    if name == "slowpoke" and (dataset == "chr1" or seed == 3):
        status = {"status": "timeout", "phase": "fit", "error": "stopped after 600 s"}
        return [replace(base, **failure, **status)]
    out = []
    for draw in range(DRAWS):
        out += _measure(
            folder, rng, dataset, label, entry["role"], seed, draw, entry["quality"],
            entry["leak"], site_matched=entry.get("site_matched", True), name=name,
        )  # fmt: skip
    return out


def _measure(
    folder: Path,
    rng: np.random.Generator,
    dataset: str,
    label: str,
    role: str,
    seed: int,
    draw: int,
    quality: float,
    leak: float,
    site_matched: bool = True,
    name: str = "floor",
) -> list[Record]:
    records = []
    for metric, entry in METRICS.items():
        base = replace(_record(dataset, label, role, seed, draw), metric=metric)
        base = replace(base, family=entry["family"], metric_version="1.0", wall_s=0.4)
        if entry["family"] == "performance" and role == "floor":
            continue
        by_site = entry.get("site_matched", True) and entry["family"] != "performance"
        if by_site and not site_matched:
            records.append(replace(base, status="not-applicable", note="sites differ"))
            continue
        if metric == "inference" and name == "patchwork" and draw == 1 and seed == 2:
            error = {"error_type": "MemoryError", "error": "needs 9 GiB, 6 GiB allowed"}
            records.append(replace(base, status="memory", phase="measure", **error))
            continue
        series = _series(folder, rng, base, quality)
        for item in entry["submetrics"]:
            value = _value(rng, metric, item, quality, leak)
            found = replace(
                base,
                submetric=item["name"],
                value=value,
                unit=item["unit"],
                direction=item["direction"],
                n=1002,
                series=series,
            )
            records.append(found)
            if item is entry["submetrics"][0]:
                for labels in entry.get("labels", ()):
                    shifted = value * float(rng.normal(1, 0.001))
                    records.append(replace(found, labels=labels, value=shifted))
    return records


def _value(
    rng: np.random.Generator, metric: str, item: dict[str, Any], quality: float, leak: float
) -> float:
    if metric == "speed":
        base = {"fit": 20.0, "rate": 4e6, "memory": 4.2e8}[item["name"]]
        return float(base * quality * rng.lognormal(0, 0.1))
    centre, width = _FLOORS[metric, item["name"]]
    noise = float(rng.normal(0, width / 2))
    if metric in ("copies", "inference"):
        return centre + noise + leak * (2.0 if metric == "copies" else 0.006)
    if item["direction"] == "higher":
        return 1 - (1 - centre) * quality - abs(noise)
    if item["direction"] == "closer":
        return centre + noise + 0.03 * (quality - 1)
    return centre * quality + abs(noise)


def _series(folder: Path, rng: np.random.Generator, base: Record, quality: float) -> str:
    path = Path("series") / base.cell_id / str(base.replicate) / f"{base.metric}.npz"
    if base.metric == "ld-decay":
        distance = np.geomspace(100, 1e6, 30)
        real = 0.6 / (1 + distance / 2e4)
        synthetic = real / quality**0.3 + rng.normal(0, 0.004, 30)
        tables = {"curve/bin_bp": distance, "curve/real_r2": real, "curve/synthetic_r2": synthetic}
    elif base.metric == "ld-matrix":
        real = rng.uniform(-1, 1, 400)
        synthetic = np.clip(real + rng.normal(0, 0.03 * quality, 400), -1, 1)
        tables = {"pairs/real_r": real, "pairs/synthetic_r": synthetic}
    else:
        return ""
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / path, **tables)
    return str(path)


def _record(dataset: str, label: str, role: Any, seed: int, draw: int) -> Record:
    clean = "".join(c if c.isalnum() else "-" for c in f"{dataset}-{label}-{seed}")
    return Record(
        run_id="20261121-100000-abc",
        suite="demo",
        suite_digest="0" * 64,
        dataset=dataset,
        dataset_digest="1" * 64,
        generator=label,
        generator_name=label,
        generator_version="1.0",
        generator_distribution="haplobench",
        role=role,
        params_digest="2" * 64,
        seed=seed,
        replicate=draw,
        world_size=1,
        cell_id=clean,
        run_key=clean,
        git_sha="f" * 40,
        git_dirty=False,
        lock_digest="3" * 64,
        hardware="cpu",
        status="ok",
        phase="measure",
        started="2026-11-21T10:00:00Z",
    )


def _info(datasets: list[str], rename: dict[str, str], hostile: bool) -> dict[str, Any]:
    text = HOSTILE if hostile else "Haplotypes made by a rule."
    generators = {
        rename.get(name, name): {
            "name": name,
            "version": "1.0",
            "distribution": "haplobench 0.1.0",
            "role": entry["role"],
            "params": {"order": 3, "note": text},
            "summary": text,
            "citations": ["Author et al., Journal 12, 34 (2020), doi:10.1000/demo(1)x."],
            "site_matched": entry.get("site_matched", True),
            "conditional": False,
        }
        for name, entry in GENERATORS.items()
    }
    metrics = {
        name: {
            "version": "1.0",
            "distribution": "haplobench 0.1.0",
            "family": entry["family"],
            "summary": f"What {name} tells. How to read it. {HOSTILE if hostile else ''}".strip(),
            "site_matched": entry.get("site_matched", True),
            "floor": "train",
            "citations": ["Hill and Robertson, TAG 38, 226-231 (1968)"],
            "submetrics": entry["submetrics"],
            "figures": entry.get("figures", []),
        }
        for name, entry in METRICS.items()
    }
    return {
        "run_id": "20261121-100000-abc",
        "suite": "demo",
        "title": "Made-up generators compared",
        "started": "2026-11-21T10:00:00Z",
        "finished": "2026-11-21T10:21:40Z",
        "status": "partial",
        "command": "bench run suites/demo.yaml --seeds 1,2,3 --set sample.draws=3 --jobs 2",
        "versions": {"haplobench": "0.1.0", "python": "3.11.7", "numpy": "2.4.1"},
        "hardware": {
            "cpu": "Xeon",
            "cores": 2,
            "memory_bytes": 16_000_000_000,
            "gpus": [{"name": "H100"}],
        },
        "git": {"sha": "f" * 40, "dirty": False},
        "datasets": {
            label: {
                "name": "embedded",
                "version": "1",
                "digest": "1" * 64,
                "contig": "20",
                "build": "GRCh37",
                "start": 1_000_226,
                "end": 3_999_849,
                "n_sites": 9_349,
                "n_train_haplotypes": 480,
                "n_holdout_haplotypes": 120,
                "populations": {"CEU": 3, "FIN": 99, "GBR": 91, "IBS": 107},
                "superpopulations": {"EUR": 300},
                "min_maf": 0.01,
                "skipped": {"multi-allelic": 211, "indel": 1_020},
                "provenance": {"url": "https://example.org/panel", "licence": "Expat"},
                "summary": text,
                "citations": ["1000 Genomes Project Consortium, Nature 526, 68-74 (2015)"],
            }
            for label in datasets
        },
        "generators": generators,
        "metrics": metrics,
        "seeds": list(SEEDS),
        "draws": DRAWS,
        "floor_draws": FLOOR_DRAWS,
    }
