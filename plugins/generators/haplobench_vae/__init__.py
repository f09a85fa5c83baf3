"""Variational autoencoders of windows of SNPs."""

from __future__ import annotations

from haplobench import GeneratorSpec, Module, hookimpl
from haplobench_vae.params import PaperVAEParams, VAEParams

NEEDS = (
    Module("torch", "haplobench[vae]"),
    Module("safetensors", "haplobench[vae]"),
)
COMPILED = Module("numba", "haplobench[vae]")

VAE_PAPER = GeneratorSpec(
    name="vae-paper",
    version="1",
    target="haplobench_vae.paper:PaperVAE",
    summary=(
        "Convolutional VAE of each window of SNPs with a standard normal prior, as published "
        "for GenSynthVAE: windows are sampled independently, so LD ends at window borders."
    ),
    params=PaperVAEParams,
    needs=NEEDS,
    distributed=True,
    citations=(
        "Saxena et al. 2026, Synthetic Data Generation in Genome Sector, IJERT 14(05), "
        "doi:10.17577/IJERTCONV14IS050053",
        "Kingma & Welling 2014, Auto-Encoding Variational Bayes, ICLR, arXiv:1312.6114",
    ),
)

VAE = GeneratorSpec(
    name="vae",
    version="4",
    target="haplobench_vae.vae:VAE",
    summary=(
        "Windowed VAE with discrete codes, a causal transformer with local attention as their "
        "prior, conditioned on population, and a decoder that knows the windows before."
    ),
    params=VAEParams,
    needs=(*NEEDS, COMPILED),
    conditional=True,
    distributed=True,
    citations=(
        "van den Oord et al. 2017, Neural Discrete Representation Learning, NeurIPS, "
        "arXiv:1711.00937",
        "Vaswani et al. 2017, Attention Is All You Need, NeurIPS, arXiv:1706.03762",
        "Li & Stephens 2003, Modeling Linkage Disequilibrium, Genetics 165, "
        "doi:10.1093/genetics/165.4.2213 (recombination of the training haplotypes)",
    ),
)


@hookimpl
def haplobench_generators() -> list[GeneratorSpec]:
    """All VAE generators."""
    return [VAE, VAE_PAPER]
