"""Simulated expression beside haplotypes: whether a cohort of `with-traits` has its eQTLs.

    python benchmarks/eqtl_study.py --genes 20 --generator li-stephens --generator vae

Expression of genes is simulated on the people of the embedded panel of chr1: one or two sites
explain 3 to 30 % of a gene's variance, genes share residuals, superpopulations have means of their
own. Four fifths of the people are trained on. Effects are slopes of a causal site alone, in a
cohort as large as the held-out part, beside those in held-out people and (floor) as many training
people. Then a cohort is drawn given a high expression of the first gene.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from haplobench import Panel, RunContext, SampleRequest
from haplobench.registry import load_registry
from haplobench_traits import TraitsParams
from haplobench_traits.generator import WithTraits

Floats = NDArray[np.float64]


def main() -> None:
    """Print a table for each generator."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--genes", type=int, default=20)
    parser.add_argument("--generator", action="append")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        panel = _embedded(RunContext(seed=1, artifacts=folder, scratch=folder))
        values, causal = _expression(panel, args.genes, rng)
        order = rng.permutation(panel.n_samples)
        held, trained = (
            np.sort(order[: panel.n_samples // 5]),
            np.sort(order[panel.n_samples // 5 :]),
        )
        genes = [f"gene{i}" for i in range(args.genes)]
        table = pd.DataFrame(values, columns=genes)
        table.insert(0, "sample", panel.samples)
        table.to_csv(folder / "expression.tsv", sep="\t", index=False)
        train, holdout = panel.select_samples(trained), panel.select_samples(held)
        real = Slopes.of(holdout.dosages(), values[held], causal)
        some = rng.choice(trained, held.size, replace=False)
        shown = Table("cohort", "slopes r", "RMSE", "genes' r RMSE", "fit, CPU s")
        floor = Slopes.of(panel.select_samples(some).dosages(), values[some], causal)
        shown.add_row("floor", *floor.against(real), "")
        for generator in args.generator or ["li-stephens", "vae"]:
            params = {"table": str(folder / "expression.tsv"), "generator": generator}
            ctx = RunContext(seed=args.seed, artifacts=folder, scratch=folder / generator)
            ctx.scratch.mkdir()
            before = time.process_time()
            model = WithTraits().fit(train, TraitsParams(**params), ctx)
            cpu = time.process_time() - before
            labels = np.repeat(holdout.population, 2)
            request = SampleRequest(2 * held.size, populations=labels)
            dosages = np.concatenate(list(model.sample(request, ctx))).reshape(held.size, 2, -1)
            drawn = pd.read_csv(folder / "traits-0.tsv", sep="\t")[genes].to_numpy()
            cohort = Slopes.of(dosages.sum(axis=1), drawn, causal)
            shown.add_row(generator, *cohort.against(real), f"{cpu:.0f}")
            effects = pd.read_csv(folder / "effects.tsv", sep="\t")
            print(f"{generator}: {len(effects)} sites with an effect, {len(causal)} simulated")
        Console(width=100).print(shown)


class Slopes:
    """Slopes of causal sites, and correlations of genes: what a study of expression would find."""

    def __init__(self, slopes: Floats, genes: Floats) -> None:
        self.slopes, self.genes = slopes, genes

    @classmethod
    def of(cls, dosages: NDArray[Any], values: Floats, causal: list[tuple[int, int]]) -> Slopes:
        """Of people's dosages (n, n_sites) and expression (n, n_genes), by (gene, site)."""
        slopes = [np.polyfit(dosages[:, site], values[:, gene], 1)[0] for gene, site in causal]
        return cls(np.array(slopes), np.corrcoef(values.T)[np.triu_indices(values.shape[1], 1)])

    def against(self, real: Slopes) -> list[str]:
        """Correlation and RMSE of slopes with those of `real`, and RMSE of genes' correlations."""
        rmse = np.sqrt(np.mean((self.slopes - real.slopes) ** 2))
        genes = np.sqrt(np.mean((self.genes - real.genes) ** 2))
        r = np.corrcoef(self.slopes, real.slopes)[0, 1]
        return [f"{r:.3f}", f"{rmse:.3f}", f"{genes:.3f}"]


def _embedded(ctx: RunContext) -> Panel:
    from haplobench.registry import resolve

    spec = load_registry().dataset("embedded")
    panel: Panel = resolve(spec.target)().load(spec.params(panel="chr1-all"), ctx).panel
    return panel.select_sites(panel.common_sites(0.01))


def _expression(
    panel: Panel, n_genes: int, rng: np.random.Generator
) -> tuple[Floats, list[tuple[int, int]]]:
    """Expression (n_people, n_genes), standardised, and (gene, site) of its eQTLs."""
    dosages = panel.dosages().astype(np.float64)
    common = np.flatnonzero(panel.common_sites(0.05))
    _, group = np.unique(panel.superpopulation, return_inverse=True)
    factors = rng.normal(size=(3, n_genes)) * 0.4
    values = rng.normal(size=(panel.n_samples, n_genes))
    values += rng.normal(size=(panel.n_samples, 3)) @ factors
    values += 0.3 * rng.normal(size=(group.max() + 1, n_genes))[group]
    causal = []
    for gene in range(n_genes):
        for site in rng.choice(common, 1 + gene % 2, replace=False):
            share = rng.uniform(0.03, 0.3)
            effect = np.sqrt(share / (1 - share) * values[:, gene].var() / dosages[:, site].var())
            values[:, gene] += rng.choice([-1, 1]) * effect * dosages[:, site]
            causal.append((gene, int(site)))
    return (values - values.mean(axis=0)) / values.std(axis=0), causal


if __name__ == "__main__":
    main()
