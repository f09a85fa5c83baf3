"""The made-up panel looks like one: variation, linkage that decays, populations that differ."""

from __future__ import annotations

from pathlib import Path

import kit_metrics as toys
import numpy as np
import pytest

from haplobench.testing import (
    ConformanceError,
    check_dataset,
    example_context,
    example_panel,
    example_reference,
)


def test_the_same_seed_gives_the_same_panel() -> None:
    assert example_panel(seed=3).digest == example_panel(seed=3).digest
    assert example_panel(seed=3).digest != example_panel(seed=4).digest


@pytest.mark.parametrize("seed", range(5))
def test_every_site_varies_and_rare_alleles_are_common(seed: int) -> None:
    panel = example_panel(100, n_sites=400, seed=seed)
    assert panel.haplotypes.shape == (200, 400)
    assert (panel.maf > 0).all()
    assert (panel.maf < 0.25).mean() > 0.5


@pytest.mark.parametrize("seed", range(5))
def test_linkage_decays(seed: int) -> None:
    panel = example_panel(200, n_sites=400, seed=seed)
    r2 = np.corrcoef(panel.haplotypes.T.astype(float)) ** 2
    near, far = (np.diagonal(r2, gap).mean() for gap in (1, 150))
    assert near > 0.08
    assert near > 4 * far


def test_populations_differ_and_may_be_chosen() -> None:
    panel = example_panel(200)
    assert set(panel.population) == {"YRI", "CEU"}
    assert set(panel.superpopulation) == {"AFR", "EUR"}
    frequencies = [
        panel.haplotypes[panel.haplotype_populations == name].mean(axis=0)
        for name in ("YRI", "CEU")
    ]
    assert np.abs(frequencies[0] - frequencies[1]).mean() > 0.05
    assert set(example_panel(populations=("north", "south", "east")).population) == {
        "north",
        "south",
        "east",
    }
    assert not example_panel(populations=()).labelled


def test_the_reference_shares_sites_not_people(tmp_path: Path) -> None:
    reference = example_reference(20, 10)
    assert reference.train.same_sites(reference.holdout)
    assert not set(reference.train.samples) & set(reference.holdout.samples)
    ctx = example_context(tmp_path, reference.train, seed=5, threads=2)
    assert (ctx.seed, ctx.threads) == (5, 2)
    assert ctx.sequence is not None
    offsets = reference.train.positions - ctx.sequence.start
    assert (ctx.sequence.bases[offsets].view("S1").astype(str) == reference.train.ref).all()


def test_a_good_dataset_passes() -> None:
    passed = check_dataset(toys.dataset("GoodDataset"), params={"n_samples": 12})
    assert {"load", "panel", "determinism", "fingerprint", "provenance", "writes"} <= set(passed)


@pytest.mark.parametrize(
    ("target", "check", "words"),
    [
        ("UnseededDataset", "determinism", "panels of different digests"),
        ("RestlessDataset", "fingerprint", "the same str twice"),
        ("SourcelessDataset", "provenance", "where the data came from"),
        ("EmptyDataset", "panel", "0 sites"),
        ("OtherMapDataset", "recombination map", "contig '7'"),
        ("PanelOnlyDataset", "load", "Panel"),
        ("RaisingDataset", "load", "OSError: no network"),
        ("WritingDataset", "writes", "download.vcf"),
    ],
)
def test_each_breach_is_caught(target: str, check: str, words: str) -> None:
    with pytest.raises(ConformanceError) as caught:
        check_dataset(toys.dataset(target))
    (failure,) = caught.value.failures
    assert failure.check == check
    assert words in str(failure)


def test_params_that_do_not_fit_are_said() -> None:
    with pytest.raises(ConformanceError, match="n_people"):
        check_dataset(toys.dataset("GoodDataset"), params={"n_people": 3})
