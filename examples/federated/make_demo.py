"""Two hospitals out of the panel in the package: files as a real federation would have them."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from haplobench import RunContext
from haplobench.data.formats import write_panel
from haplobench.data.formats.people import write_labels
from haplobench.datasets import EmbeddedParams
from haplobench.datasets.embedded import Embedded
from haplobench_federated.client_panels import SiteList


def main() -> None:
    """Write `site_list.json`, and a panel with its labels for each hospital."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--region", default="20:1000000-1200000", help="contig:start-end, in bp")
    parser.add_argument("--min-maf", type=float, default=0.05)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        ctx = RunContext(seed=1, artifacts=Path(scratch), scratch=Path(scratch))
        loaded = Embedded().load(EmbeddedParams(region=asked.region), ctx)
    panel = loaded.panel.select_sites(loaded.panel.maf >= asked.min_maf)
    asked.folder.mkdir(parents=True, exist_ok=True)
    # In earnest the list comes from a published panel, the numbers from the hospitals.
    SiteList.of(panel, loaded.recombination_map).write(asked.folder / "site_list.json")
    north = np.isin(panel.population, ("CEU", "FIN", "GBR"))
    for name, people in (("north", north), ("south", ~north)):
        own = panel.select_samples(people)
        write_panel(own, asked.folder / f"{name}.vcf.gz")
        write_labels(own, asked.folder / f"{name}.tsv")
        sys.stdout.write(f"{name}: {own.n_samples} people, {own.n_sites} sites\n")


if __name__ == "__main__":
    main()
