"""The window-code model against enumeration, automatic differentiation and Opacus."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping
from opacus.optimizers import DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import DPTensorFastGradientClipping

from haplobench import RecombinationMap
from haplobench_federated.model import (
    MarginalLikelihood,
    ModelShape,
    WindowCodes,
    build,
    person_losses,
    sample,
)

torch = pytest.importorskip("torch", reason="needs torch")


SHAPE = ModelShape(n_sites=7, window=3, codes=3, populations=2)


def random_model(shape: ModelShape = SHAPE, seed: int = 0) -> WindowCodes:
    rng = np.random.default_rng(seed)
    positions = np.arange(shape.n_sites, dtype=np.int64) * 1000 + 1
    model = build(shape, rng.uniform(0.1, 0.9, shape.n_sites), positions, None, rng)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn(parameter.shape, generator=generator)
    return model


def random_people(n: int, shape: ModelShape = SHAPE, seed: int = 1) -> tuple:
    rng = np.random.default_rng(seed)
    haplotypes = rng.integers(-1, 2, (n, 2, shape.n_sites)).astype(np.int8)
    population = rng.integers(shape.populations, size=n)
    return torch.from_numpy(haplotypes), torch.from_numpy(population)


def enumerated_loss(model: WindowCodes, haplotypes: np.ndarray, population: int) -> float:
    """Sum over all paths of codes, written as the model is defined."""
    shape = model.shape
    with torch.no_grad():
        p = model.decoder.logits.sigmoid().double().numpy().transpose(0, 2, 1)
        start = model.weights.population[population] + model.weights.window
        pi = start.double().softmax(dim=1).numpy()
        r = model.recombination.logits.sigmoid().double().numpy()
    total = 0.0
    for row in haplotypes:
        likelihood = 0.0
        for path in itertools.product(range(shape.codes), repeat=shape.n_windows):
            chance = pi[0][path[0]]
            for w in range(1, shape.n_windows):
                keep = (1 - r[w]) if path[w] == path[w - 1] else 0.0
                chance *= keep + r[w] * pi[w][path[w]]
            for site, allele in enumerate(row):
                w, s = divmod(site, shape.window)
                if allele >= 0:
                    q = p[w, path[w], s]
                    chance *= q if allele else 1 - q
            likelihood += chance
        total -= math.log(likelihood)
    return total


def gradients_one_by_one(model: WindowCodes, haplotypes, population) -> list:
    """Each person's gradient, from a loss of that person alone."""
    rows = []
    for i in range(haplotypes.shape[0]):
        loss = person_losses(model, haplotypes[i : i + 1], population[i : i + 1]).sum()
        rows.append(torch.autograd.grad(loss, list(model.parameters())))
    return [torch.stack(values) for values in zip(*rows, strict=True)]


def test_likelihood_is_the_sum_over_all_paths() -> None:
    model = random_model()
    haplotypes, population = random_people(6)
    losses = person_losses(model, haplotypes, population)
    for i in range(6):
        expected = enumerated_loss(model, haplotypes[i].numpy(), int(population[i]))
        assert losses[i].item() == pytest.approx(expected, rel=1e-5)


def test_all_haplotypes_together_have_probability_one() -> None:
    shape = ModelShape(n_sites=5, window=2, codes=3, populations=2)
    model = random_model(shape)
    every = np.array(list(itertools.product([0, 1], repeat=5)), np.int8)
    alone = torch.from_numpy(every[:, None])
    population = torch.ones(len(every), dtype=torch.int64)
    losses = person_losses(model, alone, population)
    assert torch.exp(-losses).sum().item() == pytest.approx(1.0, rel=1e-5)


def test_backward_recursion_is_the_derivative() -> None:
    generator = torch.Generator().manual_seed(3)

    def draw(*size: int):
        values = torch.randn(*size, generator=generator, dtype=torch.float64)
        return values.requires_grad_()

    inputs = draw(4, 2, 3), draw(4, 2, 3), draw(4, 2)
    assert torch.autograd.gradcheck(MarginalLikelihood.apply, inputs)


def test_opacus_gets_each_persons_own_gradient() -> None:
    model = random_model()
    haplotypes, population = random_people(9)
    expected = gradients_one_by_one(model, haplotypes, population)
    wrapped = GradSampleModule(model, loss_reduction="sum")
    person_losses(wrapped, haplotypes, population).sum().backward()
    for parameter, rows in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad_sample, rows, rtol=1e-4, atol=1e-5)


def test_ghost_norms_are_the_norms_of_the_gradients() -> None:
    model = random_model()
    haplotypes, population = random_people(9)
    rows = gradients_one_by_one(model, haplotypes, population)
    expected = torch.cat([row.flatten(1) for row in rows], dim=1).norm(dim=1)
    wrapped = GradSampleModuleFastGradientClipping(model, loss_reduction="sum", max_grad_norm=1.0)
    person_losses(wrapped, haplotypes, population).sum().backward()
    torch.testing.assert_close(wrapped.get_norm_sample(), expected, rtol=1e-3, atol=1e-4)


def test_ghost_clipping_sums_the_clipped_gradients() -> None:
    model = random_model()
    haplotypes, population = random_people(9)
    rows = gradients_one_by_one(model, haplotypes, population)
    norms = torch.cat([row.flatten(1) for row in rows], dim=1).norm(dim=1)
    clip = float(norms.median())
    factor = (clip / norms).clamp(max=1.0)
    wrapped = GradSampleModuleFastGradientClipping(model, loss_reduction="sum", max_grad_norm=clip)
    optimizer = DPOptimizerFastGradientClipping(
        torch.optim.SGD(wrapped.parameters(), lr=1.0),
        noise_multiplier=0.0,
        max_grad_norm=clip,
        expected_batch_size=1,
        loss_reduction="sum",
    )
    losses = person_losses(wrapped, haplotypes, population)
    DPTensorFastGradientClipping(wrapped, optimizer, losses, "sum").backward()
    for parameter, row in zip(model.parameters(), rows, strict=True):
        expected = torch.einsum("n,n...->...", factor, row)
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-3, atol=1e-4)


def test_a_person_moves_the_clipped_sum_by_at_most_the_clipping_norm() -> None:
    model = random_model()
    haplotypes, population = random_people(8)
    rows = gradients_one_by_one(model, haplotypes, population)
    flat = torch.cat([row.flatten(1) for row in rows], dim=1)
    clip = 0.5
    clipped = flat * (clip / flat.norm(dim=1, keepdim=True)).clamp(max=1.0)
    for person in range(8):
        without = torch.cat([clipped[:person], clipped[person + 1 :]]).sum(dim=0)
        assert (clipped.sum(dim=0) - without).norm().item() <= clip * (1 + 1e-5)


def test_padding_and_missing_alleles_have_no_gradient() -> None:
    model = random_model()
    haplotypes, population = random_people(4)
    haplotypes[:, :, 1] = -1
    person_losses(model, haplotypes, population).sum().backward()
    gradient = model.decoder.logits.grad.flatten(0, 1)
    assert gradient[1].abs().max() == 0
    assert gradient[SHAPE.n_sites :].abs().max() == 0
    assert gradient[0].abs().max() > 0


def test_build_starts_at_the_given_frequencies() -> None:
    shape = ModelShape(n_sites=50, window=16, codes=64, populations=1)
    frequencies = np.linspace(0.05, 0.95, 50)
    positions = np.arange(50, dtype=np.int64) * 500 + 1
    model = build(shape, frequencies, positions, None, np.random.default_rng(1))
    means = model.decoder.logits.detach().sigmoid().mean(dim=2).flatten()[:50].numpy()
    assert np.abs(means - frequencies).max() < 0.03


def test_recombination_follows_the_map() -> None:
    shape = ModelShape(n_sites=40, window=10, codes=2, populations=1)
    positions = np.arange(40, dtype=np.int64) * 1000 + 1
    hot = RecombinationMap(np.array([1, 19_000, 22_000, 40_000]), np.array([0.0, 0.01, 2.0, 2.01]))
    model = build(shape, np.full(40, 0.5), positions, hot, np.random.default_rng(1))
    r = model.recombination.logits.sigmoid()
    assert r[2] > 5 * r[1]
    assert r[2] > 5 * r[3]


def test_samples_follow_the_model() -> None:
    """Haplotype frequencies of a sample against the enumerated likelihood."""
    shape = ModelShape(n_sites=4, window=2, codes=2, populations=2)
    model = random_model(shape, seed=5)
    n = 40_000
    rows = sample(model, np.ones(n, np.int64), np.random.default_rng(2), temperature=1.0)
    assert rows.shape == (n, 4)
    assert rows.dtype == np.int8
    counts = np.bincount(rows @ np.array([8, 4, 2, 1]), minlength=16)
    for index, alleles in enumerate(itertools.product([0, 1], repeat=4)):
        expected = n * math.exp(-enumerated_loss(model, np.array([alleles], np.int8), 1))
        assert abs(counts[index] - expected) < 5 * math.sqrt(expected) + 1


def test_samples_are_the_same_for_the_same_generator() -> None:
    model = random_model()
    population = np.array([0, 1] * 8)
    first, second = (sample(model, population, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(first, second)
    other = sample(model, population, np.random.default_rng(8))
    assert not np.array_equal(first, other)


def test_a_code_with_no_chance_does_not_make_the_loss_infinite() -> None:
    model = random_model()
    with torch.no_grad():
        model.decoder.logits.fill_(80.0)
        model.recombination.logits.fill_(-80.0)
        model.decoder.logits[1] = -80.0
    haplotypes, population = random_people(5)
    losses = person_losses(model, haplotypes, population)
    losses.sum().backward()
    assert torch.isfinite(losses).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
