"""The prior: causality, locality, its loss."""

from __future__ import annotations

import pytest
import torch
from prior_cases import CODES, example, prior


@pytest.mark.parametrize("length", [3, 4, 5, 12, 13])
def test_chunked_attention_is_dense_attention_with_a_band(length: int) -> None:
    block = prior(reach=4).blocks[0]
    hidden = torch.randn(2, length, 8, generator=torch.Generator().manual_seed(2))
    q, k, v = block.split(hidden)
    distance = torch.arange(length)[:, None] - torch.arange(length)[None]
    bias = block.distance_bias[:, distance.clamp(0, 3)]
    bias = bias.masked_fill((distance < 0) | (distance >= 4), -torch.inf)
    scores = q @ k.transpose(-1, -2) / 2.0 + bias
    expected = block.finish(hidden, (scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(block(hidden), expected)


def test_no_window_sees_itself_or_those_after_it() -> None:
    model = prior()
    codes, alleles, population = example()
    before = model.scores(codes, alleles, population)[0]
    changed = codes.clone()
    changed[20] = (changed[20] + 1) % CODES
    after = model.scores(changed, alleles, population)[0]
    torch.testing.assert_close(after[:21], before[:21])
    assert (after[21] - before[21]).abs().max() > 1e-3
    # Two layers of reach 4: seven windows on at the most.
    torch.testing.assert_close(after[28:], before[28:])


def test_the_loss_is_that_of_codes_and_alleles() -> None:
    model = prior()
    codes, alleles, population = example()
    loss = model(codes, alleles, population)
    scores, logits = model.scores(codes, alleles, population)
    code = -scores.log_softmax(-1).gather(-1, codes[..., None])[..., 0].sum(0)
    allele = -torch.distributions.Bernoulli(logits=logits).log_prob(alleles.float()).sum((0, 2))
    torch.testing.assert_close(loss, torch.stack([code, allele], dim=1))
    missing = alleles.clone()
    missing[-1] = -1
    less = -torch.distributions.Bernoulli(logits=logits[:-1]).log_prob(alleles[:-1].float())
    torch.testing.assert_close(model(codes, missing, population)[:, 1], less.sum((0, 2)))
