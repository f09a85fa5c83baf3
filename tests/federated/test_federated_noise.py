"""The noise source against closed forms, and the sensitivity that its deviation rests on."""

from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import stats
from test_federated_private_steps import MODES, built, steps_of, tensors

import haplobench.noise
import haplobench_federated
from haplobench import Panel
from haplobench.noise import (
    NoiseSource,
    _table,
    cut,
    deviation,
    fine_step,
    rounded,
    rounded_sensitivity,
)
from haplobench_federated.seeds import RepeatableNoise

PACKAGE = Path(haplobench_federated.__file__).parent


def trees() -> dict[str, ast.Module]:
    paths = [Path(haplobench.noise.__file__), *sorted(PACKAGE.glob("*.py"))]
    return {path.name: ast.parse(path.read_text()) for path in paths}


def drawn(scale: float, n: int) -> NDArray[np.int64]:
    """The source's sampler on a stream that repeats, so that no test fails by chance."""
    return RepeatableNoise(0, "test").discrete_gaussian(scale, n)


def probabilities(scale: float, most: int) -> NDArray[np.float64]:
    """Of -most to most, by definition."""
    weights = np.exp(-(np.arange(-most, most + 1.0) ** 2) / (2 * scale**2))
    return np.asarray(weights / weights.sum())


class Silent(NoiseSource):
    """Adds nothing, and keeps how wide the noise was to be."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.sums: list[Any] = []

    def discrete_gaussian(self, deviation: float, n: int) -> NDArray[np.int64]:
        self.asked.append(deviation)
        return np.zeros(n, np.int64)


def test_the_source_takes_no_seed_and_knows_of_none() -> None:
    for name in ("noise.py", "aggregation.py", "private_steps.py"):
        tree = trees()[name]
        words = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        words |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        words |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not [word for word in words if "seed" in word.lower() or word == "random"], name
        imported = [
            getattr(node, "module", None) or node.names[0].name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        assert not any("seeds" in one or "repeatable" in one for one in imported), name


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.7, 20.3, 75.0])
def test_frequencies_are_the_discrete_gaussians(scale: float) -> None:
    n, most = 200_000, math.ceil(6 * scale) + 2
    values = drawn(scale, n)
    expected = n * probabilities(scale, most)
    observed = np.bincount(np.clip(values, -most, most) + most, minlength=2 * most + 1)
    often = expected > 10
    rest = expected[~often].sum() + 1e-9
    chi2 = stats.chisquare(
        np.append(observed[often], observed[~often].sum() + 1e-9), np.append(expected[often], rest)
    )
    assert chi2.pvalue > 1e-3


@pytest.mark.parametrize("scale", [1e3, 1e6, 3e11, 2.0**53.5])
def test_wide_noise_has_the_gaussians_shape_and_no_gaps(scale: float) -> None:
    values = drawn(scale, 100_000)
    assert stats.kstest(values / scale, "norm").pvalue > 1e-3
    assert values.var() / scale**2 == pytest.approx(1, rel=5 * math.sqrt(2 / values.size))
    # Every residue is there: floating point's Gaussian has few odd values among the great ones.
    counts = np.bincount(values % 8, minlength=8)
    assert stats.chisquare(counts).pvalue > 1e-3
    far = np.abs(values) > 2 * scale
    assert stats.chisquare(np.bincount(values[far] % 2, minlength=2)).pvalue > 1e-3


@pytest.mark.parametrize("scale", [0.5, 5.0, 31.9])
def test_the_table_holds_the_sums_of_probabilities_to_118_bits(scale: float) -> None:
    table = _table(scale)
    with mpmath.workprec(400):
        weights = [
            mpmath.exp(-(mpmath.mpf(table.width * i) ** 2) / (2 * mpmath.mpf(scale) ** 2))
            for i in range(40 * math.ceil(scale) + 40)
        ]
        whole = mpmath.fsum(weights)
        for i, threshold in enumerate(table.thresholds):
            share = mpmath.fsum(weights[: i + 1]) / whole
            assert abs(mpmath.mpf(threshold) / 2**128 - share) < mpmath.mpf(2) ** -118


def test_words_that_leave_the_bin_open_are_decided_by_64_bits_more() -> None:
    table = _table(5.0)

    class Lower(NoiseSource):
        value = 0

        def random_bytes(self, n: int) -> bytes:
            return self.value.to_bytes(n, "little")

    source = Lower()
    for index, threshold in enumerate(table.thresholds[:20]):
        words = np.array([threshold >> 64], np.uint64)
        low = threshold & (2**64 - 1)
        for source.value, expected in ((low - 1, index), (low, index + 1)):
            assert table.bins(words, source).tolist() == [expected]


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf, 2.0**54])
def test_deviations_that_cannot_be(scale: float) -> None:
    with pytest.raises(ValueError, match="expected above 0"):
        NoiseSource().discrete_gaussian(scale, 3)


def test_batches_are_poisson_samples() -> None:
    source = RepeatableNoise(1)
    sizes = [source.batch(1000, 0.3).size for _ in range(400)]
    assert np.mean(sizes) == pytest.approx(300, abs=5 * math.sqrt(210 / 400))
    assert np.var(sizes) == pytest.approx(210, rel=0.4)
    assert source.batch(5, 1.0).tolist() == [0, 1, 2, 3, 4]
    assert source.batch(0, 0.5).size == 0


@given(
    multiplier=st.floats(0.3, 20),
    moved=st.integers(1, 40),
    epsilon=st.floats(0.0, 6),
)
@settings(deadline=None, max_examples=60)
def test_noise_on_the_grid_tells_no_more_than_the_gaussian(
    multiplier: float, moved: int, epsilon: float
) -> None:
    """δ(ε) by its definition, against the Gaussian mechanism's (Balle & Wang 2018, thm 8)."""
    scale = deviation(multiplier, float(moved))
    most = math.ceil(14 * scale) + moved
    here = probabilities(scale, most)
    there = np.concatenate([np.zeros(moved), here[: here.size - moved]])
    found = np.maximum(here - math.exp(epsilon) * there, 0)[moved:].sum()
    half = 1 / (2 * multiplier)
    normal = stats.norm.cdf
    bound = normal(half - epsilon * multiplier) - math.exp(epsilon) * normal(
        -half - epsilon * multiplier
    )
    assert found <= bound * (1 + 1e-9) + 1e-12


def test_the_sum_of_shares_is_one_of_the_whole_variance() -> None:
    values = np.sum([RepeatableNoise(0, i).discrete_gaussian(8.0, 100_000) for i in range(4)], 0)
    most = 120
    expected = values.size * probabilities(16.0, most)
    observed = np.bincount(values + most, minlength=2 * most + 1)
    often = expected > 10
    scaled = expected[often] * observed[often].sum() / expected[often].sum()
    assert stats.chisquare(observed[often], scaled).pvalue > 1e-3


@given(
    total=arrays(np.float64, 12, elements=st.floats(-1e4, 1e4)),
    person=arrays(np.float64, 12, elements=st.floats(-1, 1)),
    step=st.floats(1e-4, 3),
)
def test_rounding_a_sum_moves_it_by_no_more_than_is_counted(
    total: NDArray[np.float64], person: NDArray[np.float64], step: float
) -> None:
    norm = float(np.linalg.norm(person))
    moved = rounded(total + person, step) - rounded(total, step)
    assert float(np.linalg.norm(moved)) <= rounded_sensitivity(norm, step, 12) + 1e-9


@given(
    person=arrays(np.float64, 9, elements=st.floats(-1, 1)),
    step=st.floats(1e-6, 3),
)
def test_cutting_makes_no_vector_longer(person: NDArray[np.float64], step: float) -> None:
    whole = cut(person, step)
    assert np.linalg.norm(whole) * step <= np.linalg.norm(person) * (1 + 1e-12)
    assert np.abs(whole * step - person).max() <= step * (1 + 1e-9)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("coarse", [False, True])
def test_a_person_moves_the_whole_steps_by_no_more_than_the_noise_is_for(
    people: Panel, mode: str, coarse: bool
) -> None:
    haplotypes, population = tensors(people)
    norm, multiplier = 0.5, 2.0
    released = []
    sources = []
    for person in (None, 0, 7, people.n_samples - 1):
        kept = np.arange(len(population)) != person
        steps = steps_of(built(people), mode, norm, multiplier)
        steps.noise = source = Silent()
        size = sum(p.numel() for p in steps._parameters())
        step = steps.grid_step = 0.07 if coarse else fine_step(norm, size)
        average = steps.step(haplotypes[kept], population[kept], 16)
        released.append(np.rint(average * steps.expected / step))
        sources.append(source)
    assert all(source.asked == sources[0].asked for source in sources), "noise tells who is there"
    gradient = steps.noise_multiplier
    for without in released[1:]:
        moved = float(np.linalg.norm(released[0] - without))
        assert deviation(gradient, moved) <= sources[0].asked[0] * (1 + 1e-12)
        assert moved > (0.9 if mode != "per_layer" else 0.4) * norm / step
