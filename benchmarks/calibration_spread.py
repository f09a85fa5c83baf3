"""How far the temperature that `vae` finds for itself varies over resamples of one panel.

`python benchmarks/calibration_spread.py` fits `vae` to 80 % of the embedded panel's 300 people,
drawn anew each time, at 603 of its sites, with tables so sure that LD hardly depends on the
temperature: what is hardest to tell. It prints each temperature and the excess of LD that is left,
then mean, standard deviation and range, and exits with 1 if the deviation is beyond a tenth.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from haplobench.datasets.embedded import Embedded
from haplobench.datasets.params import EmbeddedParams
from haplobench.testing import example_context, example_panel
from haplobench_vae.specs import VAEParams
from haplobench_vae.vae import VAE

BAR = 0.1
SHARE = 0.8
PARAMS = {"smoothing": 0.02, "codes": 100, "dropout": 0.1, "recombined": 0.2}


def main() -> int:
    """Print a line for each resample, and the spread."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resamples", type=int, default=20)
    parser.add_argument("--params", type=json.loads, default=PARAMS, help="vae's, as JSON")
    args = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        ctx = example_context(Path(folder), example_panel(4, n_sites=4))
        loaded = Embedded().load(EmbeddedParams(region="20:1000000-1600000"), ctx)
        panel = loaded.panel.select_sites(np.flatnonzero(loaded.panel.maf > 0.01)[::3])
        for resample in range(args.resamples):
            rng = np.random.default_rng(resample)
            n = round(SHARE * panel.n_samples)
            train = panel.select_samples(np.sort(rng.choice(panel.n_samples, n, replace=False)))
            own = example_context(Path(folder), train, seed=resample)
            own = replace(own, recombination_map=loaded.recombination_map)
            VAE().fit(train, VAEParams.model_validate(args.params), own)
            told = json.loads((own.artifacts / "training.json").read_text())
            found.append(told["temperature"])
            print(f"{resample}: {found[-1]:.3f}, LD {100 * told['ld_excess']:+.2f} %", flush=True)
    deviation = float(np.std(found, ddof=1))
    print(f"{np.mean(found):.3f} ± {deviation:.3f}, {min(found):.3f} to {max(found):.3f}")
    return int(deviation > BAR)


if __name__ == "__main__":
    sys.exit(main())
