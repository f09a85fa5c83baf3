"""How the panel of $name is had: put your reader in place of the draws."""

import numpy as np
from haplobench import LoadedDataset, Panel, RunContext

from $module.params import ${title}Params


class $title:
    """Loads the panel; split, MAF filter and storage are the harness's work."""

    def fingerprint(self, params: ${title}Params) -> str:
        """What identifies the content: for a file, its path, size and time."""
        return f"{params.people} people, {params.sites} sites"

    def load(self, params: ${title}Params, ctx: RunContext) -> LoadedDataset:
        """Read or draw the panel: rows 2i and 2i + 1 of its haplotypes are one person."""
        rng = ctx.rng("$name")
        frequencies = rng.beta(0.5, 0.5, params.sites).clip(0.05, 0.95)
        shape = (2 * params.people, params.sites)
        panel = Panel(
            haplotypes=(rng.random(shape) < frequencies).astype(np.int8),
            positions=1_000_000 + np.cumsum(rng.integers(1, 500, params.sites)),
            contig="20",
            samples=np.array([f"person{i + 1}" for i in range(params.people)]),
        )
        return LoadedDataset(panel, provenance={"source": "drawn by $name"})
