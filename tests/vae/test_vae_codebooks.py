"""Codebooks against known founders (scikit-learn's homogeneity), and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, Categorical

from haplobench_vae.codebooks import (
    Codebooks,
    CodebookSettings,
    fit_codebooks,
    indicators,
    joint_log_likelihood,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def founders(n: int = 400, codes: int = 8, error: float = 0.01) -> tuple[torch.Tensor, ...]:
    """Alleles (2 windows, n, 24 sites) of `codes` founders with errors, and who has which."""
    rng = np.random.default_rng(0)
    tables = rng.integers(0, 2, (2, codes, 24))
    which = rng.integers(0, codes, (2, n))
    alleles = np.take_along_axis(tables, which[..., None], axis=1)
    alleles ^= rng.random(alleles.shape) < error
    return torch.tensor(alleles, dtype=torch.int8), torch.tensor(which)


def test_codes_find_the_founders_and_rebuild_the_alleles() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    alleles, which = founders()
    codebooks = fit_codebooks(alleles, CodebookSettings(codes=12), range(2))
    codes = codebooks.encode(alleles)
    for window in range(2):
        assert metrics.homogeneity_score(which[window], codes[window]) > 0.98
    tables = codebooks.logits.gather(1, codes[..., None].expand(-1, -1, 24))
    assert ((tables > 0) != (alleles == 1)).float().mean() < 0.015
    assert codebooks.log_weights.exp().sum(-1).numpy() == pytest.approx(1.0)


def test_the_joint_likelihood_is_that_of_torch_distributions() -> None:
    alleles, _ = founders(n=9)
    logits = torch.randn(2, 5, 24, generator=generator())
    log_weights = torch.randn(2, 5, generator=generator(1)).log_softmax(-1)
    found = joint_log_likelihood(indicators(alleles), logits, log_weights)
    emission = Bernoulli(logits=logits[:, None]).log_prob(alleles[:, :, None].float()).sum(-1)
    torch.testing.assert_close(found, emission + Categorical(logits=log_weights).logits[:, None])


def test_missing_alleles_cost_nothing() -> None:
    alleles, _ = founders()
    codebooks = fit_codebooks(alleles, CodebookSettings(codes=8), range(2))
    hidden = alleles.clone()
    hidden[..., 16:] = -1
    part = Codebooks(codebooks.logits[..., :16], codebooks.log_weights)
    assert torch.equal(codebooks.encode(hidden), part.encode(alleles[..., :16]))


def test_windows_are_independent_and_dead_codes_are_seeded_anew() -> None:
    alleles, _ = founders()
    # One haplotype in nine tenths of all: most seeds die at first.
    alleles[:, :360] = alleles[:, :1]
    codebooks = fit_codebooks(alleles, CodebookSettings(codes=12), range(2))
    used = [codebooks.encode(alleles)[window].unique().numel() for window in range(2)]
    assert min(used) >= 8
