"""The generator $name keeps haplobench's contract and learns what it should."""

from pathlib import Path

import numpy as np
from haplobench import Params, SampleRequest
from haplobench.registry import load_registry
from haplobench.testing import check_generator, example_context, example_panel

from $module.generator import $title


def test_it_keeps_the_contract() -> None:
    registry = load_registry(["$module"])
    check_generator("$name", registry=registry)


def test_frequencies_are_learnt(tmp_path: Path) -> None:
    train = example_panel()
    ctx = example_context(tmp_path, train)
    fitted = $title().fit(train, Params(), ctx)
    sampled = np.concatenate(list(fitted.sample(SampleRequest(5000), ctx)))
    error = np.sqrt(train.frequencies * (1 - train.frequencies) / 5000)
    assert (np.abs(sampled.mean(axis=0) - train.frequencies) < 5 * error).all()
