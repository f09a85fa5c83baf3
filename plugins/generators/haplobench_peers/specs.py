"""The peers and their parameters, light to import."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from haplobench import GeneratorSpec, Module, Params

Within = Literal["population", "superpopulation", "all"]
_NUMBA = Module("numba", "haplobench[peers]")


class RBMParams(Params):
    """Parameters of the restricted Boltzmann machine.

    `window`: sites drawn together, by one machine, given the sites before; None: one machine for
    all sites, as in the paper of 2021.
    `overlap`: sites before a window that its machine is given.
    `hidden`: hidden units of each machine.
    `steps`: Gibbs steps, from random alleles on, in each update and when sampling.
    `updates`: of the weights.
    `batch_size`: haplotypes, and as many Gibbs chains, in each update; never more than there are.
    `learning_rate`: Adam's; it falls to a fiftieth over the second half of the updates.
    `averaging`: decay of the exponential moving average of the weights, which is what is kept.
    `within`: whose label a machine is given: the haplotype's superpopulation, its population, or
    none (`all`).
    """

    window: int | None = Field(64, ge=2)
    overlap: int = Field(64, ge=0, le=4096)
    hidden: int = Field(64, ge=1, le=8192)
    steps: int = Field(10, ge=1, le=10_000)
    updates: int = Field(1200, ge=1)
    batch_size: int = Field(256, ge=1)
    learning_rate: float = Field(0.02, gt=0, le=1)
    averaging: float = Field(0.99, ge=0, lt=1)
    within: Within = "superpopulation"


SPECS = (
    GeneratorSpec(
        name="rbm",
        version="1",
        target="haplobench_peers.rbm:RBM",
        summary=(
            "Restricted Boltzmann machines of windows of sites, each given the sites before and "
            "the superpopulation, trained out of equilibrium."
        ),
        params=RBMParams,
        needs=(_NUMBA,),
        conditional=True,
        citations=(
            "Yelmen, B. et al. Creating artificial human genomes using generative neural networks. "
            "PLoS Genetics 17, e1009303 (2021)",
            "Yelmen, B. et al. Deep convolutional and conditional neural networks for large-scale "
            "genomic data generation. PLoS Computational Biology 19, e1011584 (2023)",
            "Decelle, A., Furtlehner, C. & Seoane, B. Equilibrium and non-equilibrium regimes in "
            "the learning of restricted Boltzmann machines. NeurIPS 34 (2021), arXiv:2105.13889",
            "Carbone, A., Decelle, A., Rosset, L. & Seoane, B. Fast and functional structured data "
            "generators rooted in out-of-equilibrium physics (2023), arXiv:2307.06797",
            "Taylor, G. W., Hinton, G. E. & Roweis, S. T. Modeling human motion using binary "
            "latent variables. NeurIPS 19, 1345-1352 (2007)",
        ),
    ),
)
