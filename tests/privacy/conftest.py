"""People of one made-up panel for the tests of privacy metrics."""

import numpy as np
import pytest

from haplobench import Panel
from haplobench.testing import example_panel


@pytest.fixture(scope="session")
def people() -> tuple[Panel, Panel, Panel]:
    """Train, holdout and unseen people, 160 each."""
    panel = example_panel(480, n_sites=400, seed=11)
    third = np.arange(160)
    return (
        panel.select_samples(third),
        panel.select_samples(third + 160),
        panel.select_samples(third + 320),
    )
