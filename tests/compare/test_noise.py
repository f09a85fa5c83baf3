"""What numbers lend each other: against distributions of known shape, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import polygamma

from haplobench.compare.noise import (
    FAR,
    FIT,
    REAL,
    Lender,
    Likeness,
    Noise,
    Spread,
    _inverse_trigamma,
    lender,
    likeness,
    noise_of,
)


def test_noise_is_that_within_sides_within_seeds_and_of_the_floor() -> None:
    base = {1: {0: 1.0, 1: 3.0}, 2: {0: 4.0, 1: 6.0}}
    head = {1: {0: 2.0, 1: 2.0}}
    noise = noise_of(base, head, [[10.0, 11.0, 12.0]])
    # Means 2 and 5 of base: 4.5 by one degree of freedom; head has one seed.
    assert noise.seeds == Spread(4.5, 1)
    # Draws: squares 2, 2 and 0 by three degrees, halved for the mean of two draws.
    assert noise.draws == Spread(pytest.approx(4 / 3 / 2), 3)
    assert noise.floor == Spread(0.5, 2)
    assert noise.far == pytest.approx(11 - 3)
    assert noise_of(base, head, differences=[1.0, 3.0, 5.0]).seeds == Spread(2.0, 2)


def test_a_likeness_is_found_again() -> None:
    """Variances are 4 times their references, scaled inverse chi-squared of 6 degrees."""
    rng = np.random.default_rng(1)
    references = rng.lognormal(0, 3, 4000)
    truths = 4 * references * 6 / rng.chisquare(6, references.size)
    own = truths * rng.chisquare(2, references.size) / 2
    found = likeness(
        [(Spread(one, 2), Spread(lent, 9)) for one, lent in zip(own, references, strict=True)]
    )
    assert found is not None
    assert found.scale == pytest.approx(4, rel=0.1)
    assert found.freedom == pytest.approx(6, rel=0.25)
    assert likeness([(Spread(1.0, 2), Spread(1.0, 9))] * 19) is None


@pytest.mark.parametrize("at", [0.05, 0.7, 3.0, 200.0])
def test_inverse_of_the_trigamma_function(at: float) -> None:
    assert _inverse_trigamma(float(polygamma(1, at))) == pytest.approx(at, rel=1e-6)


def test_shrinkage_by_hand() -> None:
    shrunk = Likeness(2.0, 4.0).shrink(Spread(1.0, 2.0), Spread(5.0, 9.0))
    assert shrunk == Spread((4 * 2 * 5 + 2 * 1) / 6, 6)
    assert Likeness(2.0, 4.0).shrink(Spread(1.0, 2.0), Spread()) == Spread(1.0, 2.0)


def test_one_seed_borrows_from_draws_or_the_floor_and_from_how_far_it_is() -> None:
    nobody = Lender()
    assert nobody.lend(Noise()) == Spread()
    floor = Spread(2.0, 9)
    assert nobody.lend(Noise(floor=floor)) == Spread(2 * REAL**2, 9)
    assert nobody.lend(Noise(draws=Spread(3.0, 2), floor=floor)) == Spread(3 * FIT**2, 11)
    far = Noise(draws=Spread(3.0, 2), floor=floor, far=1000.0)
    assert nobody.lend(far).variance == pytest.approx((1000 * FAR) ** 2)


def test_numbers_of_one_generator_lend_to_one_that_two_seeds_make_look_calm() -> None:
    rng = np.random.default_rng(2)
    floor = Spread(1.0, 9)
    loud = [Noise(Spread(100 * rng.chisquare(2) / 2, 2), floor=floor) for _ in range(40)]
    calm = Noise(Spread(1e-3, 2), floor=floor)
    lent = lender([*loud, calm]).lend(calm)
    assert lent.variance > 10
    assert lent.freedom > 2
