"""Variational autoencoders of windows of SNPs."""

from __future__ import annotations

from haplobench import GeneratorSpec, hookimpl
from haplobench_vae.specs import SPECS


@hookimpl
def haplobench_generators() -> list[GeneratorSpec]:
    """All VAE generators."""
    return list(SPECS)
