"""Integers that are summed under masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haplobench_federated.secure_arithmetic import Quantisation, error_bound

tenseal = pytest.importorskip("tenseal", reason="TenSEAL is absent: pip install tenseal")


def test_the_bound_is_on_the_sum_of_ciphertexts() -> None:
    """Against TenSEAL alone: what decryption of a sum of ten gives."""
    context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 60])
    context.global_scale = 2.0**40
    values = np.random.default_rng(0).uniform(-100, 100, (10, 4096))
    total = tenseal.ckks_vector(context, values[0].tolist())
    for row in values[1:]:
        total = total + tenseal.ckks_vector(context, row.tolist())
    error = np.abs(np.array(total.decrypt()) - values.sum(axis=0)).max()
    assert 1e-10 < error <= error_bound(10, 1)


@settings(deadline=None, max_examples=25)
@given(
    bits=st.integers(4, 32),
    reach=st.floats(1e-3, 100),
    people=st.lists(st.integers(1, 3000), min_size=1, max_size=12),
    seed=st.integers(0, 2**32),
)
def test_quantised_sums_are_within_half_a_step(
    bits: int, reach: float, people: list[int], seed: int
) -> None:
    quantisation = Quantisation(bits, reach, sum(people))
    rng = np.random.default_rng(seed)
    values = rng.uniform(-reach, reach, (len(people), 20))
    values[0, :2] = -reach, reach
    total = np.zeros(20, quantisation.dtype)
    for n, value in zip(people, values, strict=True):
        total = total + quantisation.quantise(value, n)
    error = quantisation.average(total, sum(people)) - np.average(values, axis=0, weights=people)
    most = quantisation.error_bound * len(people) / sum(people)
    assert np.abs(error).max() <= most * (1 + 1e-9) + reach * 1e-14
    assert quantisation.error_bound == pytest.approx(reach / (2**bits - 1))


def test_a_modulus_that_sums_would_overflow_is_widened_or_refused() -> None:
    assert Quantisation(20, 1.0, 4096).dtype == np.uint32
    assert Quantisation(20, 1.0, 4097).dtype == np.uint64
    with pytest.raises(ValueError, match="exceed 64 bits"):
        Quantisation(32, 1.0, 2**33)
    with pytest.raises(ValueError, match="aren't finite"):
        Quantisation(20, 1.0, 3).quantise(np.array([np.nan]), 1)
    with pytest.raises(ValueError, match="people"):
        Quantisation(20, 1.0, 3).quantise(np.zeros(1), 4)
