"""How far the temperature that `vae` finds for itself varies over choices of people.

    python benchmarks/calibration_spread.py            # all three panels
    python benchmarks/calibration_spread.py chr20 --resamples 5

`vae` is fitted to 80 % of a panel's people, drawn anew each time, with a seed of its own. Panels
are small parts: of chr20 (300 Europeans), of chr1 (500 people of five superpopulations), and of
people simulated under OutOfAfrica_3G09 (240). Temperature, what samples then have in excess, and
the epoch that was kept are printed, then their means and standard deviations; the exit status is 1
if the temperature's deviation is beyond .05 anywhere.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from haplobench import RecombinationMap, RunContext
from haplobench.data.panel import Panel
from haplobench.datasets import EmbeddedParams, SimulatedParams
from haplobench.datasets.embedded import Embedded
from haplobench.datasets.simulated import Simulated
from haplobench_vae import VAEParams
from haplobench_vae.vae import VAE, FittedVAE

BAR = 0.05
SHARE = 0.8
PANELS = ("chr20", "chr1", "simulated")
TOLD = ("temperature", "ld_excess", "distinct_excess", "best_epoch")
Fit = tuple[FittedVAE, Panel, RunContext, dict[str, Any]]


def main() -> int:
    """Print a line for each fit, and the spread of each panel."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("panels", nargs="*", metavar="panel", help=f"of {', '.join(PANELS)}")
    parser.add_argument("--resamples", type=int, default=20)
    parser.add_argument("--params", type=json.loads, default={}, help="vae's, as JSON")
    args = parser.parse_args()
    wide = False
    with tempfile.TemporaryDirectory() as folder:
        for name in args.panels or PANELS:
            panel, known = panel_of(name, Path(folder))
            rows = []
            for _, _, _, told in fits(panel, known, args.resamples, args.params, Path(folder)):
                rows.append([told[key] for key in TOLD])
                epochs = len(told["validation_code_loss_nats"])
                print(
                    "{}: {:.3f}, LD {:+.2%}, distinct haplotypes {:+.1%}, epoch {} of {}".format(
                        name, *rows[-1][:3], told["best_epoch"] + 1, epochs
                    ),
                    flush=True,
                )
            found = np.array(rows)
            deviation = found.std(axis=0, ddof=1)
            for key, mean, spread, values in zip(
                TOLD, found.mean(axis=0), deviation, found.T, strict=True
            ):
                print(f"{name} {key}: {mean:.3f} ± {spread:.3f}, {min(values)} to {max(values)}")
            wide |= bool(deviation[0] > BAR)
    return int(wide)


def panel_of(name: str, folder: Path) -> tuple[Panel, RecombinationMap | None]:
    """Some 600 sites of a panel with a MAF of 1 %, and its map."""
    ctx = RunContext(seed=1, artifacts=folder, scratch=folder)
    if name == "chr20":
        loaded = Embedded().load(EmbeddedParams(region="20:1000000-1200000"), ctx)
    elif name == "chr1":
        loaded = Embedded().load(EmbeddedParams(panel="chr1-all"), ctx)
        some = np.sort(ctx.rng("people").choice(loaded.panel.n_samples, 500, replace=False))
        loaded = replace(loaded, panel=loaded.panel.select_samples(some))
    else:
        people = {"YRI": 80, "CEU": 80, "CHB": 80}
        loaded = Simulated().load(SimulatedParams(samples=people, length=200_000), ctx)
    common = np.flatnonzero(loaded.panel.maf >= 0.01)[:640]
    return loaded.panel.select_sites(common), loaded.recombination_map


def fits(
    panel: Panel, known: RecombinationMap | None, n: int, params: dict[str, Any], folder: Path
) -> Iterator[Fit]:
    """Yield n models, each with its training panel, its context and what its training told."""
    for resample in range(n):
        rng = np.random.default_rng(resample)
        people = rng.choice(panel.n_samples, round(SHARE * panel.n_samples), replace=False)
        train = panel.select_samples(np.sort(people))
        ctx = RunContext(
            seed=resample, artifacts=folder, scratch=folder, recombination_map=known, min_maf=0.01
        )
        fitted = VAE().fit(train, VAEParams.model_validate(params), ctx)
        yield fitted, train, ctx, json.loads((folder / "training.json").read_text())


if __name__ == "__main__":
    sys.exit(main())
