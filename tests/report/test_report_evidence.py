"""What all attacks together say: Holm's correction, and when "no leak seen" may be said."""

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from haplobench.report.evidence import holm


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_statsmodels(seed: int) -> None:
    p = np.random.default_rng(seed).random(12) ** 3
    assert holm(list(p)) == pytest.approx(multipletests(p, method="holm")[1])
