"""Variational autoencoders of windows of SNPs."""

from __future__ import annotations

from haplobench import GeneratorSpec, Module, hookimpl
from haplobench_vae.params import PaperVAEParams

NEEDS = (
    Module("torch", "haplobench[vae]"),
    Module("safetensors", "haplobench[vae]"),
)

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
    citations=(
        "Saxena et al. 2026, Synthetic Data Generation in Genome Sector, IJERT 14(05), "
        "doi:10.17577/IJERTCONV14IS050053",
        "Kingma & Welling 2014, Auto-Encoding Variational Bayes, ICLR, arXiv:1312.6114",
    ),
)


@hookimpl
def haplobench_generators() -> list[GeneratorSpec]:
    """All VAE generators."""
    return [VAE_PAPER]
