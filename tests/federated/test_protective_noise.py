"""The noise source against closed forms, and the sensitivity that its deviation rests on."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import pytest
from flwr.app import Array, ArrayRecord
from flwr.clientapp import ClientApp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import stats
from test_federated_clipping import MODES, built, steps_of, tensors

from haplobench import Panel
from haplobench_federated import aggregation, client_app
from haplobench_federated.grid import InProcessGrid
from haplobench_federated.noise import (
    NoiseSource,
    _table,
    cut,
    deviation,
    fine_step,
    rounded,
    rounded_sensitivity,
)
from haplobench_federated.seeds import RepeatableNoise
from haplobench_federated.updates import arrays_of, message_of


@pytest.fixture(autouse=True)
def _identity() -> None:
    InProcessGrid(ClientApp(), {})  # gives messages the identity that a runtime would


def drawn(scale: float, n: int) -> NDArray[np.int64]:
    """The source's sampler on a stream that repeats, so that no test fails by chance."""
    return RepeatableNoise(0, "test").discrete_gaussian(scale, n)


def probabilities(scale: float, most: int) -> NDArray[np.float64]:
    """Of -most to most, by definition."""
    weights = np.exp(-(np.arange(-most, most + 1.0) ** 2) / (2 * scale**2))
    return np.asarray(weights / weights.sum())


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


# --- what the accountants compose -----------------------------------------------------------


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


# --- sensitivity ----------------------------------------------------------------------------


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


class Silent(NoiseSource):
    """Adds nothing, and keeps how wide the noise was to be."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.sums: list[Any] = []

    def discrete_gaussian(self, deviation: float, n: int) -> NDArray[np.int64]:
        self.asked.append(deviation)
        return np.zeros(n, np.int64)


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


@pytest.mark.parametrize("ploidy", [1, 2, 3])
@pytest.mark.parametrize("step", [None, 0.013])
def test_a_person_moves_allele_counts_by_half_a_root_of_the_sites(
    ploidy: int, step: float | None
) -> None:
    rng = np.random.default_rng(ploidy)
    haplotypes = rng.integers(-1, 2, (300, ploidy, 50)).astype(np.int8)
    source = Silent()
    whole = client_app.noised_counts(haplotypes, 1.0, source, step)
    worst = max(
        float(np.linalg.norm(whole - client_app.noised_counts(rest, 1.0, source, step)))
        for rest in (np.delete(haplotypes, person, axis=0) for person in range(300))
    )
    used = step or fine_step(math.sqrt(50) / 2, 50)
    assert deviation(1.0, worst / used) <= source.asked[0] * (1 + 1e-12)
    mean = np.ma.masked_less(haplotypes, 0).mean(axis=1) - 0.5
    expected = mean.filled(0).sum(axis=0)
    assert np.abs(whole - expected).max() <= 300 * used


@given(updates=arrays(np.float32, (3, 20), elements=st.floats(-50, 50, width=32)))
@settings(max_examples=50)
def test_a_client_moves_the_central_sum_by_twice_the_norm(updates: NDArray[np.float32]) -> None:
    start = ArrayRecord({"w": Array(np.zeros(20))})
    replies = [message_of(ArrayRecord({"w": Array(one)}), 1) for one in updates]
    other = message_of(ArrayRecord({"w": Array(-10 * updates[2] + 1)}), 1)
    source, norm = Silent(), 1.5
    sums = [
        3 * arrays_of(aggregation.noised_average(three, start, norm, 4.0, source))["w"].numpy()
        for three in (replies, [*replies[:2], other])
    ]
    steps = float(np.linalg.norm(sums[0] - sums[1])) / fine_step(norm, 20)
    # Charged for half the multiplier, as a person may move a client's update across the ball.
    assert deviation(2.0, steps) <= source.asked[0] * (1 + 1e-9)


@pytest.mark.parametrize("multiplier", [0.7, 4.0])
def test_central_noise_is_as_wide_as_claimed(multiplier: float) -> None:
    start = ArrayRecord({"w": Array(np.zeros(20_000))})
    replies = [message_of(start, 1) for _ in range(5)]
    found = aggregation.noised_average(replies, start, 1.5, multiplier, RepeatableNoise(2))
    spread = float(arrays_of(found)["w"].numpy().std())
    assert spread == pytest.approx(multiplier * 1.5 / 5, rel=5 / math.sqrt(40_000))
