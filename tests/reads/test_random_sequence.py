"""`random-sequence`: uniform alleles over a uniform sequence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from haplobench import Panel, SampleRequest
from haplobench.testing import example_context, example_panel
from haplobench_reads import haplobench_generators
from haplobench_reads.genome import RandomSequence

SPECS = {spec.name: spec for spec in haplobench_generators()}


@pytest.fixture(scope="module")
def panel() -> Panel:
    return example_panel(n_samples=40, n_sites=120)


def test_random_sequence_is_uniform_in_alleles_and_bases(panel: Panel, tmp_path: Path) -> None:
    ctx = example_context(tmp_path, panel)
    generator = RandomSequence().fit(panel, SPECS["random-sequence"].params(), ctx)  # type: ignore[arg-type]
    rows: NDArray[np.int8] = np.concatenate(list(generator.sample(SampleRequest(1000), ctx)))
    assert stats.binomtest(int(rows.sum()), rows.size, 0.5).pvalue > 1e-4
    background = generator.reference_sequence()
    assert background.surrogate
    assert ctx.sequence is not None
    assert (background.start, background.bases.size) == (
        ctx.sequence.start,
        ctx.sequence.bases.size,
    )
    letters, counts = np.unique(background.bases, return_counts=True)
    assert letters.tobytes() == b"ACGT"
    assert stats.chisquare(counts).pvalue > 1e-4
    # 41 % G+C, as under real people, would be caught.
    assert (
        stats.chisquare(counts, counts.sum() * np.array([0.295, 0.205, 0.205, 0.295])).pvalue < 1e-9
    )
    np.testing.assert_array_equal(background.bases, generator.reference_sequence().bases)


def test_random_sequence_without_a_dataset_sequence_spans_the_sites(
    panel: Panel, tmp_path: Path
) -> None:
    ctx = example_context(tmp_path, panel, sequence=None)
    background = (
        RandomSequence().fit(panel, SPECS["random-sequence"].params(), ctx).reference_sequence()  # type: ignore[arg-type]
    )
    assert (background.start, background.bases.size) == (panel.positions[0], panel.span)
