"""Holds a run of suites/flagship.yaml against the flagship's bars, dataset by dataset.

    bench run suites/flagship.yaml --jobs 2
    python benchmarks/flagship_bars.py results/flagship/<run>

A figure is the mean over seeds and draws, the floor the median over its draws; of `vae-paper`,
if the run has it, the ratio to `vae` is printed too. Exit status 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

MANY_HELD_OUT = 1000  # haplotypes
HIGHEST_AUC = 0.55
LONGEST_FIT_S = 300
FEWEST_ALLELES_PER_CPU_S = 4e6


@dataclass(frozen=True)
class Bar:
    """One figure, what it may be, and whether it is."""

    figure: str
    value: float
    floor: float | None
    wanted: str
    met: bool


def main() -> int:
    """Print a table for each dataset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("--generator", default="vae")
    parser.add_argument("--rival", default="vae-paper")
    args = parser.parse_args()
    described = json.loads((args.run / "run.json").read_text())
    records = pd.read_json(args.run / "records.jsonl", lines=True)
    records = records[records["value"].notna()]
    label = records["labels"].map(lambda labels: ",".join(map(str, labels.values())))
    records["figure"] = records["metric"] + "/" + records["submetric"]
    records["figure"] = records["figure"].where(label == "", records["figure"] + ":" + label)
    console = Console(width=110)
    missed = 0
    for name, dataset in described["datasets"].items():
        own = records[records["dataset"] == name]
        floor = _figures(own[own["role"] == "floor"], "median")
        values = _figures(own[own["generator"] == args.generator], "mean")
        if "ld-decay/rmse" not in values or "ld-decay/rmse" not in floor:
            console.print(f"{name}: nothing measured yet")
            continue
        seeds = own[own["generator"] == args.generator]["seed"].nunique()
        rival = _figures(own[own["generator"] == args.rival], "mean")
        held_out = dataset["n_holdout_haplotypes"]
        table = Table(
            title=f"{name}: {args.generator}, {seeds} seeds; {dataset['n_train_haplotypes']} "
            f"haplotypes train, {held_out} held out, {dataset['n_sites']} sites"
        )
        for column in ("figure", "value", "floor", "bar", "", f"{args.rival} / value"):
            table.add_column(column, justify="left" if column == "figure" else "right")
        for bar in _bars(values, floor, held_out):
            missed += not bar.met
            table.add_row(
                bar.figure,
                f"{bar.value:.4g}",
                "" if bar.floor is None else f"{bar.floor:.4g}",
                bar.wanted,
                "met" if bar.met else "MISSED",
                f"{rival[bar.figure] / bar.value:.2f}" if bar.figure in rival else "",
            )
        console.print(table)
    return int(missed > 0)


def _figures(records: pd.DataFrame, statistic: str) -> dict[str, float]:
    """Mean or median of every figure over seeds and draws."""
    return dict(records.groupby("figure")["value"].agg(statistic))


def _bars(values: dict[str, float], floor: dict[str, float], held_out: int) -> Iterator[Bar]:
    def most(figure: str, limit: float, *, beside: bool = True) -> Bar:
        value = values[figure]
        noise = floor.get(figure) if beside else None
        return Bar(figure, value, noise, f"≤ {limit:.4g}", value <= limit)

    def least(figure: str, limit: float) -> Bar:
        value = values[figure]
        return Bar(figure, value, floor.get(figure), f"≥ {limit:.4g}", value >= limit)

    def near(figure: str, aim: float, tolerance: float) -> Bar:
        value = values[figure]
        wanted = f"{aim:.3f} ± {tolerance:g}"
        return Bar(figure, value, aim, wanted, abs(value - aim) <= tolerance)

    yield most("ld-decay/rmse", max(0.005, 1.5 * floor["ld-decay/rmse"]))
    yield least("ld-matrix/cross_border", floor["ld-matrix/cross_border"] - 0.01)
    yield most("allele-frequency/rmse", 1.35 * floor["allele-frequency/rmse"])
    for figure in sorted(values):
        if figure.startswith("allele-frequency/rmse_by_superpopulation"):
            yield most(figure, 1.35 * floor[figure])
    for part in ("aa_truth", "aa_syn"):
        figure = f"adversarial-accuracy/{part}"
        yield near(figure, floor[figure], 0.10 if held_out >= MANY_HELD_OUT else 0.12)
    yield most("haplotype-words/jsd_10", 1.5 * floor["haplotype-words/jsd_10"])
    yield near("haplotype-words/distinct_ratio_20", 1.025, 0.125)
    yield most("pca/wasserstein", 2 * floor["pca/wasserstein"])
    yield most("membership-inference/auc", HIGHEST_AUC)
    own_share = values["nearest-neighbours/holdout_exact_copies"]
    yield most("nearest-neighbours/exact_copies", own_share, beside=False)
    yield most("copied-tracts/tract_ratio", 1.0, beside=False)
    if "pca/superpopulation_match" in values:
        share = values["pca/superpopulation_match_holdout"]
        if share >= 0.95:
            yield least("pca/superpopulation_match", 0.95)
        else:
            yield near("pca/superpopulation_match", share, 0.03)
    yield most("time/fit_wall", LONGEST_FIT_S, beside=False)
    yield least("throughput/alleles_per_cpu_second", FEWEST_ALLELES_PER_CPU_S)


if __name__ == "__main__":
    raise SystemExit(main())
