"""Facts for readers: what a dataset is, how a run was made, whom to cite."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from haplobench.data.consent import withdrawal_text
from haplobench.data.relatives import relatives_text
from haplobench.report.formatting import format_count
from haplobench.report.model import Summary
from haplobench.report.view import flatten
from haplobench.results.description import isolation_text
from haplobench.units import counted, format_duration, format_size

Facts = list[tuple[str, str]]
_NAMES = {"url": "URL", "sha256": "SHA-256", "doi": "DOI"}


def dataset_facts(info: Mapping[str, Any]) -> Facts:
    """(name, text) pairs of a dataset of run.json: region, sites, people, provenance."""
    facts: Facts = []

    def add(name: str, text: str) -> None:
        if text:
            facts.append((name, text))

    add("Dataset", " ".join(str(info[key]) for key in ("name", "version") if info.get(key)))
    add("Region", _region(info))
    train, holdout = info.get("n_train_haplotypes"), info.get("n_holdout_haplotypes")
    sites = info.get("n_sites")
    maf = info.get("min_maf")
    if sites is not None:
        whose = "real" if train is None and holdout is not None else "training"
        limit = f", MAF ≥ {maf:.2g} among the {whose} people" if maf else ""
        common = info.get("n_common_sites") or sites
        rare = f", {format_count(sites - common)} rarer" if common < sites else ""
        add("Variant sites", f"{format_count(common)}{limit}{rare}")
    add("Sites measured", sites_by_family(info))
    if holdout is not None:
        counts = (
            f"{format_count(holdout)} of real people; training people are not given"
            if train is None
            else f"{format_count(train)} for training, {format_count(holdout)} held out"
        )
        if info.get("n_validation_haplotypes"):
            own = format_count(info["n_validation_haplotypes"])
            counts += f"; {own} of the training ones set apart for early stopping"
        add("Haplotypes", counts + ("" if info.get("phased", True) else "; unphased"))
    if info.get("withdrawn"):
        add("Consent", withdrawal_text(info["withdrawn"]))
    if info.get("relatives"):
        add("Relatives", relatives_text(info["relatives"]))
    add("Superpopulations", _counts(info.get("superpopulations")))
    add("Populations", _counts(info.get("populations")))
    add("Populations on one side", _one_sided(info.get("one_sided") or {}))
    skipped = (info.get("skipped") or {}).items()
    add("Sites left out", "; ".join(f"{why}: {format_count(count)}" for why, count in skipped))
    if "recombination_map" in info:
        add("Recombination map", "yes" if info["recombination_map"] else "none")
    if "surrogate_sequence" in info:
        surrogate = "surrogate bases under the sites" if info["surrogate_sequence"] else "given"
        add("Reference sequence", surrogate)
    for key, text in flatten(info.get("provenance") or {}):
        add(_NAMES.get(key, key.replace("_", " ").capitalize()), text)
    add("Digest", str(info.get("digest") or "")[:16])
    return facts


def sites_by_family(info: Mapping[str, Any]) -> str:
    """How many sites the metrics of each family saw of a dataset of run.json; or empty."""
    return ", ".join(
        f"{family} {' or '.join(map(format_count, counts))}"
        for family, counts in (info.get("family_sites") or {}).items()
    )


def _one_sided(counts: Mapping[str, int]) -> str:
    texts = (("not_held_out", "nobody held out"), ("not_trained_on", "nobody to train on"))
    return "; ".join(
        f"{format_count(counts[key])} with {text}" for key, text in texts if counts.get(key)
    )


def _region(info: Mapping[str, Any]) -> str:
    if several := info.get("contigs"):
        return f"{len(several)} contigs, {several[0]} to {several[-1]}"
    contig, start, end = info.get("contig"), info.get("start"), info.get("end")
    if contig is None or start is None or end is None:
        return ""
    span = end - start + 1
    length = f"{span / 1e6:.2f} Mb" if span >= 1e6 else f"{span / 1e3:.0f} kb"
    build = f", {info['build']}" if info.get("build") else ""
    return f"{contig}:{format_count(start)}–{format_count(end)} ({length}{build})"


def _counts(counts: Mapping[str, Any] | None) -> str:
    return ", ".join(
        f"{name or 'unlabelled'} {format_count(count)}" for name, count in (counts or {}).items()
    )


def _duration(info: Mapping[str, Any]) -> str:
    """From a run's start to its end; empty where its description hasn't both as times."""
    try:
        begun, ended = (datetime.fromisoformat(str(info[key])) for key in ("started", "finished"))
        return format_duration((ended - begun).total_seconds())
    except (KeyError, ValueError, TypeError):  # TypeError: only one of them has a time zone
        return ""


def run_facts(summary: Summary) -> Facts:
    """(name, text) pairs: when, with what code, on what machine a run was made."""
    info = summary.run.info
    facts: Facts = []
    for name, key in (("Suite", "suite"), ("Run", "run_id"), ("Started", "started")):
        if info.get(key):
            facts.append((name, str(info[key])))
    if info.get("finished"):
        facts.append(("Finished", str(info["finished"])))
    if duration := _duration(info):
        facts.append(("From start to end", duration))
    if info.get("status"):
        facts.append(("Status", str(info["status"])))
    cells = {record.cell_id for record in summary.run.records}
    failed = sum(len(failure.seeds) for failure in summary.failures if not failure.metric)
    facts.append(("Cells", f"{counted(len(cells), 'cell')}, {failed or 'none'} failed"))
    if info.get("seeds"):
        facts.append(("Seeds", ", ".join(str(seed) for seed in info["seeds"])))
    for name, key in (("Draws per seed", "draws"), ("Draws of the floor", "floor_draws")):
        if info.get(key) is not None:
            facts.append((name, str(info[key])))
    if text := isolation_text(info.get("isolation") or {}):
        facts.append(("Isolation", text))
    hardware = dict(info.get("hardware") or {})
    if "memory" in hardware:
        hardware["memory"] = format_size(hardware["memory"])
    groups = (("Code", info.get("git")), ("Hardware", hardware), ("Version", info.get("versions")))
    for title, group in groups:
        for name, text in flatten(group or {}):
            facts.append((f"{title}: {name.replace('_', ' ')}", text))
    return facts


def citations(summary: Summary) -> list[tuple[str, str]]:
    """(citation, what it is for) pairs; one citation once."""
    uses: dict[str, list[str]] = {}

    def add(texts: Iterable[str], use: str) -> None:
        for text in texts or ():
            if use not in uses.setdefault(str(text), []):
                uses[str(text)].append(use)

    for label, info in summary.run.datasets.items():
        add(info.get("citations") or (), label)
    for cohort in summary.run.cohorts.values():
        add(cohort.citations, cohort.label)
    for metric in summary.run.metrics.values():
        add(metric.citations, metric.name)
    return [(text, ", ".join(names)) for text, names in uses.items()]


def headline_facts(summary: Summary) -> str:
    """One line: how much was compared with what."""
    cohorts = summary.run.cohorts.values()
    roles = [cohort.role for cohort in cohorts]
    generators, controls = roles.count("generator"), roles.count("control")
    info = summary.run.info
    parts = [
        counted(len(summary.datasets), "dataset"),
        counted(generators, "generator"),
        counted(controls, "control") if controls else "",
        counted(len(summary.run.metrics), "metric"),
    ]
    if info.get("seeds"):
        draws = f" × {counted(info['draws'], 'draw')}" if info.get("draws") else ""
        parts.append(counted(len(info["seeds"]), "seed") + draws)
    if info.get("floor_draws"):
        parts.append(f"floor of {counted(info['floor_draws'], 'draw')}")
    return " · ".join(part for part in parts if part)
