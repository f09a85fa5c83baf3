"""What the prepare stage's people are cut into."""

from __future__ import annotations

import numpy as np
import pytest

from haplobench import Panel
from haplobench.data.prepared import Prepared
from haplobench.runner.worker.prepare import shadow_members, shadow_prepared
from haplobench.testing import example_panel


@pytest.mark.parametrize("n", [40, 41, 43])
def test_everybody_is_in_half_of_the_shadows(n: int) -> None:
    panel = example_panel(n, n_sites=30, seed=3)
    train, holdout = (panel.select_samples(part) for part in np.split(np.arange(n), [31]))
    drawn = [np.concatenate(shadow_members(train, holdout, i)) for i in range(6)]
    assert (np.sum(drawn, axis=0) == 3).all()
    assert all(abs(int(members.sum()) - n / 2) <= 1 for members in drawn)
    assert not np.array_equal(drawn[0], drawn[2])
    prepared = Prepared(train, holdout, np.arange(6), np.ones(train.n_sites, bool), None, None, {})
    shadow = shadow_prepared(prepared, 3)
    names = {*train.samples[drawn[3][:31]], *holdout.samples[drawn[3][31:]]}
    assert set(shadow.train.samples) == names
    assert not names & set(shadow.holdout.samples)
    assert shadow.validation.size == round(shadow.train.n_samples * 6 / 31)
    assert isinstance(shadow.train, Panel)
    for i, name in enumerate(shadow.train.samples):
        own = np.flatnonzero(panel.samples == name)[0]
        np.testing.assert_array_equal(
            shadow.train.haplotypes[2 * i : 2 * i + 2], panel.haplotypes[2 * own : 2 * own + 2]
        )
