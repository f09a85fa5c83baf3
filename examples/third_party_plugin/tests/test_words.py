"""Both keep haplobench's contract, and do what they say."""

from pathlib import Path

import numpy as np
import pytest
from haplobench import Measurement, Params, SampleRequest
from haplobench.registry import load_registry
from haplobench.testing import (
    check_generator,
    check_metric,
    example_context,
    example_panel,
    example_reference,
)

from haplobench_words.inbreeding import coefficient, inbreeding
from haplobench_words.params import WordChainParams
from haplobench_words.word_chain import WordChain

REGISTRY = load_registry(["haplobench_words"])


def test_contracts() -> None:
    check_generator("word-chain", registry=REGISTRY)
    check_metric("inbreeding", registry=REGISTRY)


def test_only_words_of_training_people(tmp_path: Path) -> None:
    train = example_panel(n_samples=40, n_sites=48)
    ctx = example_context(tmp_path, train)
    fitted = WordChain().fit(train, WordChainParams(window=6), ctx)
    sampled = np.concatenate(list(fitted.sample(SampleRequest(600), ctx)))
    for start in range(0, 48, 6):
        real = {row.tobytes() for row in train.haplotypes[:, start : start + 6]}
        assert {row.tobytes() for row in sampled[:, start : start + 6]} <= real
    assert len(np.unique(sampled, axis=0)) > len(np.unique(train.haplotypes, axis=0))


def test_selfed_people_are_fully_inbred(tmp_path: Path) -> None:
    reference = example_reference()
    panel = reference.holdout
    selfed = panel.with_haplotypes(np.repeat(panel.haplotypes[::2], 2, axis=0))
    assert coefficient(selfed) == pytest.approx(1.0)
    ctx = example_context(tmp_path, panel)
    found = inbreeding(reference, selfed, Params(), ctx).measurements["difference"]
    expected = coefficient(panel)
    assert isinstance(found, Measurement)
    assert expected is not None
    assert found.value == pytest.approx(1 - expected)
