"""Peers: published generators of haplotypes, and a cheap strong baseline, to be held against.

The peers and their parameters, light to import.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from haplobench import Binary, GeneratorSpec, Module, Params, hookimpl

Within = Literal["population", "superpopulation", "all"]
_NUMBA = Module("numba", "haplobench[peers]")
# Of another environment: it wants an older zarr than the extra formats.
PROGRAM = Binary("tsinfer", "make tsinfer, or pipx install tsinfer")


class RBMParams(Params):
    """Parameters of the restricted Boltzmann machine.

    `window`: sites drawn together, by one machine, given the sites before; None: one machine for
    all sites, as in the paper of 2021.
    `overlap`: sites before a window that its machine is given.
    `hidden`: hidden units of each machine.
    `steps`: Gibbs steps, from random alleles on, in each update and when sampling.
    `updates`: of the weights. None: 36,000 shared out among the windows, 300 to 3,000 to each.
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
    updates: int | None = Field(None, ge=1)
    batch_size: int = Field(256, ge=1)
    learning_rate: float = Field(0.02, gt=0, le=1)
    averaging: float = Field(0.99, ge=0, lt=1)
    within: Within = "superpopulation"


class WGANParams(Params):
    """Parameters of the Wasserstein GAN.

    `latents`: dimensions of the maker's noise.
    `maker`, `critic`: units of the hidden layers.
    `updates`: of the maker; `critic_updates`: of the critic for each.
    `batch_size`: haplotypes in each update.
    `penalty`: on slopes of the critic that aren't 1.
    `learning_rate`: Adam's; it falls to a twentieth over the second half of the updates.
    `averaging`: decay of the moving average of the maker's weights, which is what is kept.
    `within`: whose label the networks are given: the haplotype's superpopulation, its population,
    or none (`all`).
    """

    latents: int = Field(128, ge=1, le=4096)
    maker: tuple[Annotated[int, Field(ge=1, le=8192)], ...] = (384, 512)
    critic: tuple[Annotated[int, Field(ge=1, le=8192)], ...] = (512, 256)
    updates: int = Field(1200, ge=1)
    critic_updates: int = Field(3, ge=1, le=100)
    batch_size: int = Field(128, ge=1)
    penalty: float = Field(10.0, ge=0)
    learning_rate: float = Field(1e-3, gt=0, le=1)
    averaging: float = Field(0.999, ge=0, lt=1)
    within: Within = "superpopulation"


class GANParams(Params):
    """Parameters of the GAN.

    `latents`: dimensions of the maker's noise.
    `maker`, `critic`: units of the hidden layers. None: as many as sites, divided by 1.2 and 1.1,
    and by 2 and 3.
    `updates`: of the maker; the critic has two for each, by real haplotypes and by made ones.
    `batch_size`: haplotypes in each update.
    `shrinkage`: of the weights of hidden layers, towards 0: times the sum of their squares, in the
    loss.
    `learning_rate`, `critic_learning_rate`: Adam's.
    `averaging`: decay of the moving average of the maker's weights, which is what is kept; 0: the
    last ones.
    """

    latents: int = Field(600, ge=1, le=4096)
    maker: tuple[Annotated[int, Field(ge=1, le=8192)], ...] | None = None
    critic: tuple[Annotated[int, Field(ge=1, le=8192)], ...] | None = None
    updates: int = Field(5000, ge=1)
    batch_size: int = Field(32, ge=1)
    shrinkage: float = Field(1e-4, ge=0)
    learning_rate: float = Field(1e-4, gt=0, le=1)
    critic_learning_rate: float = Field(8e-4, gt=0, le=1)
    averaging: float = Field(0.999, ge=0, lt=1)


class DiffusionParams(Params):
    """Parameters of latent diffusion.

    `window`: sites drawn together, by one network, given the sites before.
    `overlap`: sites before a window that its network is given.
    `latents`: principal components of a window.
    `hidden`, `layers`: units of each network's hidden layers, and how many follow the first.
    `steps`: from noise to a sample.
    `updates`: of the weights. None: 30,000 shared out among the windows, 300 to 3,000 to each.
    `batch_size`: haplotypes in each update; never more than there are.
    `learning_rate`: Adam's; it falls to a fiftieth over the second half of the updates.
    `averaging`: decay of the moving average of the weights, which is what is kept.
    `within`: whose label a network is given: the haplotype's superpopulation, its population, or
    none (`all`).
    """

    window: int = Field(64, ge=1, le=4096)
    overlap: int = Field(64, ge=0, le=4096)
    latents: int = Field(32, ge=1, le=4096)
    hidden: int = Field(256, ge=1, le=8192)
    layers: int = Field(2, ge=0, le=32)
    steps: int = Field(20, ge=2, le=10_000)
    updates: int | None = Field(None, ge=1)
    batch_size: int = Field(256, ge=1)
    learning_rate: float = Field(0.004, gt=0, le=1)
    averaging: float = Field(0.998, ge=0, lt=1)
    within: Within = "superpopulation"


class HCLTParams(Params):
    """Parameters of the hidden Chow-Liu tree.

    `states`: of each latent variable. A fit takes time in their square.
    `iterations`: of expectation maximisation.
    `pseudocount`: haplotypes added to the counts of each state, so that nothing unseen is ruled
    out.
    `reach`: sites apart, at most, that the tree may join.
    `start_window`: sites whose alleles sort the haplotypes into the states that the first
    iteration starts from; half as many on either side count, too.
    `start_share`: how far that start is blurred: 0 not at all.
    """

    states: int = Field(16, ge=2, le=127)
    iterations: int = Field(40, ge=1)
    pseudocount: float = Field(0.1, ge=0)
    reach: int = Field(512, ge=1)
    start_window: int = Field(16, ge=2)
    start_share: float = Field(0.1, gt=0)


class CopulaParams(Params):
    """Parameters of the Gaussian copula.

    `window`: sites whose latents are drawn together, given those before.
    `overlap`: sites before a window that its latents depend on.
    `components`: principal components kept of the correlations of window and overlap; the rest is
    independent noise.
    `within`: whose correlations are estimated apart: of superpopulations, of populations, or of
    nobody (`all`).
    """

    window: int = Field(256, ge=1, le=16_384)
    overlap: int = Field(256, ge=0, le=16_384)
    components: int = Field(128, ge=1)
    within: Within = "superpopulation"


class ARGParams(Params):
    """Parameters of lineages threaded through inferred trees.

    `youngest`: generations. A new lineage that meets a branch which is younger has the alleles of
    that branch's ancestor of this age: nobody has a closer relative among the training people.
    `ne`: effective size, diploid, of each stratum's population; the ages of the trees' nodes are in
    proportion to it.
    `mismatch`: tsinfer's mismatch ratio: how likely it is that a site mutated twice, beside
    recombination.
    `within`: among whom a new lineage coalesces: its superpopulation, its population, or all.
    `cm_per_mb`: recombination rate where the dataset has no map, cM/Mb.
    """

    youngest: float = Field(100.0, ge=0)
    ne: float = Field(10_000, gt=0)
    mismatch: float = Field(1.0, gt=0)
    within: Within = "superpopulation"
    cm_per_mb: float = Field(1.0, gt=0)


class DescentParams(Params):
    """Parameters of haplotypes that are handed down.

    `generations`: since ancestors met: pieces copied from one have a mean length of as many parts
    of a Morgan. 0: whole haplotypes.
    `cm_per_mb`: recombination rate where the dataset has no map, cM/Mb.
    """

    generations: float = Field(8.0, ge=0)
    cm_per_mb: float = Field(1.0, gt=0)


class AdmixtureParams(DescentParams):
    """Parameters of admixture.

    `generations`: since the populations met: a haplotype changes ancestor as often per Morgan.
    `cm_per_mb`: recombination rate where the dataset has no map, cM/Mb.
    `proportions`: shares of the ancestries, superpopulations or populations without one; they need
    not sum to 1. None: as many as in training.
    """

    proportions: dict[str, Annotated[float, Field(gt=0)]] | None = Field(None, min_length=1)


class FamiliesParams(DescentParams):
    """Parameters of families.

    `children`: of each couple.
    `generations`: since the founders' haplotypes were those of training people: they change
    ancestor as often per Morgan. 0: founders are training haplotypes.
    `cm_per_mb`: recombination rate where the dataset has no map, cM/Mb.
    """

    children: int = Field(1, ge=1, le=20)
    generations: float = Field(20.0, ge=0)


class PrivateParams(Params):
    """The budget of a person, with all haplotypes.

    `epsilon`: infinite: no noise. `delta` None: 1e-6, or 1 / n² for more than a thousand people.
    """

    epsilon: float = Field(8.0, gt=0, allow_inf_nan=True)
    delta: float | None = Field(None, gt=0, lt=1)

    def unrepeatable(self) -> str:
        """Protective noise."""
        if math.isinf(self.epsilon):
            return ""
        return "its protective noise comes from the operating system's entropy"


class MarginalsParams(PrivateParams):
    """Parameters of the private marginals.

    `epsilon`, `delta`: the budget of a person, with all haplotypes; infinite ε: no noise. δ None:
    1e-6, or 1 / n² for more than a thousand people.
    `given`, `drawn`: sites that a window depends on, and that it has; None: by the noise.
    """

    given: int | None = Field(None, ge=0, le=12)
    drawn: int | None = Field(None, ge=1, le=8)


class HMMParams(PrivateParams):
    """Parameters of the private hidden Markov model.

    `epsilon`, `delta`: the budget of a person, with all haplotypes; infinite ε: no noise. δ None:
    1e-6, or 1 / n² for more than a thousand people.
    `window`: sites between which the hidden state can't change.
    `states`: of the hidden variable. None: 2 to 12, the fewer the more noise there is for a person.
    `iterations`: over all people; the noise of each grows with the square root of their number.
    `clip`: norm that a person's share of an iteration is cut to. None: 0.3 √sites.
    """

    window: int = Field(16, ge=1, le=256)
    states: int | None = Field(None, ge=2, le=64)
    iterations: int = Field(16, ge=1)
    clip: float | None = Field(None, gt=0)


class FoundersParams(PrivateParams):
    """Parameters of the private founders.

    `epsilon`, `delta`: the budget of a person, with all haplotypes; infinite ε: no noise. δ None:
    1e-6, or 1 / n² for more than a thousand people.
    `reach`: sites up to which pairs are summed.
    `founders`: of a set. None: 16 to 64, the fewer the more noise there is.
    `members`: sets of founders, each fitted to the same noisy sums from another start.
    `iterations`: of the fit of each. Neither they nor `members` cost budget.
    """

    reach: int = Field(64, ge=2, le=512)
    founders: int | None = Field(None, ge=2, le=256)
    members: int = Field(4, ge=1)
    iterations: int = Field(600, ge=1)


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
        citations=("yelmen2021", "yelmen2023", "decelle2021", "carbone2023", "taylor2007"),
    ),
    GeneratorSpec(
        name="wgan",
        version="1",
        target="haplobench_peers.gan:WGAN",
        summary=(
            "Wasserstein GAN with a penalty on gradients: dense networks over all sites, given "
            "the superpopulation."
        ),
        params=WGANParams,
        needs=(Module("torch", "haplobench[peers]"),),
        conditional=True,
        citations=("yelmen2023", "yelmen2021", "gulrajani2017"),
    ),
    GeneratorSpec(
        name="gan",
        version="1",
        target="haplobench_peers.gan:GAN",
        summary=(
            "GAN as it was published in 2021, dense networks with its layers and rates, trained "
            "for minutes of a CPU where it was for days of GPUs: a low bar; populations pooled."
        ),
        params=GANParams,
        needs=(Module("torch", "haplobench[peers]"),),
        citations=("yelmen2021",),
    ),
    GeneratorSpec(
        name="latent-diffusion",
        version="1",
        target="haplobench_peers.diffusion:LatentDiffusion",
        summary=(
            "Latent diffusion: principal components of windows of sites, made from noise by small "
            "networks, each given the sites before and the superpopulation."
        ),
        params=DiffusionParams,
        needs=(Module("torch", "haplobench[peers]"),),
        conditional=True,
        citations=("kenneweg2025", "lampis2026", "song2021", "karras2022"),
    ),
    GeneratorSpec(
        name="hclt",
        version="1",
        target="haplobench_peers.hclt:HCLT",
        summary=(
            "Hidden Chow-Liu tree: a latent of 16 states for each site, tied along the tree of "
            "greatest mutual information; exact likelihoods, populations pooled."
        ),
        params=HCLTParams,
        needs=(_NUMBA, Module("scipy", "haplobench[peers]")),
        citations=("dang2023", "liu2021", "chow1968"),
    ),
    GeneratorSpec(
        name="pca-copula",
        version="1",
        target="haplobench_peers.copula:PCACopula",
        summary=(
            "Gaussian copula of windows of sites, by superpopulation: exact allele frequencies, "
            "correlations of pairs of sites, nothing beyond pairs."
        ),
        params=CopulaParams,
        needs=(Module("scipy", "haplobench[peers]"),),
        conditional=True,
        citations=("emrich1991", "sheppard1899", "montana2005"),
    ),
    GeneratorSpec(
        name="tsinfer",
        version="1",
        target="haplobench_peers.arg:ARG",
        summary=(
            "New lineages threaded through the training haplotypes' trees by tsinfer: coalescence, "
            "recombination along the map, alleles of the branches; by superpopulation."
        ),
        params=ARGParams,
        needs=(_NUMBA, PROGRAM),
        conditional=True,
        citations=("kelleher2019", "wohns2022", "wiuf1999", "mcvean2005", "rasmussen2014"),
    ),
    GeneratorSpec(
        name="dp-marginals",
        version="1",
        target="haplobench_peers.marginals:DPMarginals",
        summary=(
            "Differentially private counts of the alleles of neighbouring sites, drawn window "
            "after window: PrivBayes along the chromosome, ε = 8 a person; populations pooled."
        ),
        params=MarginalsParams,
        needs=(
            Module("dp_accounting", "haplobench[peers]"),
            Module("cryptography", "haplobench[peers]"),
            Module("scipy", "haplobench[peers]"),
        ),
        citations=("zhang2017", "balle2018", "held1974"),
    ),
    GeneratorSpec(
        name="dp-hmm",
        version="1",
        target="haplobench_peers.private_hmm:DPHMM",
        summary=(
            "Differentially private hidden Markov model whose transitions depend on the place, "
            "ε = 8 a person; populations pooled."
        ),
        params=HMMParams,
        needs=(
            _NUMBA,
            Module("dp_accounting", "haplobench[peers]"),
            Module("cryptography", "haplobench[peers]"),
            Module("scipy", "haplobench[peers]"),
        ),
        citations=("rahimian2025", "balle2018", "held1974", "scheet2006"),
    ),
    GeneratorSpec(
        name="dp-founders",
        version="1",
        target="haplobench_peers.private_founders:DPFounders",
        summary=(
            "Mosaics of founders fitted to differentially private moments of pairs of sites, "
            "ε = 8 a person; for few people, too; populations pooled."
        ),
        params=FoundersParams,
        needs=(
            _NUMBA,
            Module("torch", "haplobench[peers]"),
            Module("dp_accounting", "haplobench[peers]"),
            Module("cryptography", "haplobench[peers]"),
            Module("scipy", "haplobench[peers]"),
        ),
        citations=("li2003", "balle2018", "scheet2006"),
    ),
    GeneratorSpec(
        name="admixture",
        version="1",
        target="haplobench_peers.descent:Admixture",
        summary=(
            "Mosaics of the training people's ancestries, as old as their admixture, with the "
            "local ancestry in a table; copies alleles."
        ),
        params=AdmixtureParams,
        citations=("massarat2023", "haldane1919"),
    ),
    GeneratorSpec(
        name="families",
        version="1",
        target="haplobench_peers.descent:Families",
        summary=(
            "Couples and their children by Mendelian transmission along the map, founders "
            "mosaics of a population's haplotypes; copies alleles."
        ),
        params=FamiliesParams,
        citations=("haldane1919",),
    ),
)


@hookimpl
def haplobench_generators() -> list[GeneratorSpec]:
    """All peers."""
    return list(SPECS)
