"""Synthetic people from the model that a federation left, as a file."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from haplobench import RunContext, SampleRequest
from haplobench.data.formats import write_panel
from haplobench.data.panel import Panel, synthetic_names
from haplobench_federated.client_panels import SiteList
from haplobench_federated.generator import Federated


def main() -> None:
    """Draw haplotypes and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="the folder `model` of the server's `out`")
    parser.add_argument("site_list", type=Path)
    parser.add_argument("to", type=Path, help="for example synthetic.vcf.gz")
    parser.add_argument("--people", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        ctx = RunContext(seed=asked.seed, artifacts=Path(scratch), scratch=Path(scratch))
        fitted = Federated().load(asked.model, ctx)
        request = SampleRequest(asked.people * fitted.ploidy)
        rows = np.concatenate(list(fitted.sample(request, ctx)))
    sites = SiteList.read(asked.site_list).sites
    nobody = np.full(asked.people, "")
    panel = Panel(
        haplotypes=rows,
        positions=sites.positions,
        contig=sites.contig,
        samples=synthetic_names(asked.people),
        population=nobody,
        superpopulation=nobody,
        ref=sites.ref,
        alt=sites.alt,
        build=sites.build,
        ploidy=fitted.ploidy,
    )
    write_panel(panel, asked.to)
    sys.stdout.write(f"{asked.to}: {asked.people} people, {panel.n_sites} sites\n")
    sys.stdout.write(fitted.privacy_statement().to_json())


if __name__ == "__main__":
    main()
