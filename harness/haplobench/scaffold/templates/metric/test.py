"""The metric $name keeps haplobench's contract and computes what it should."""

from dataclasses import replace
from pathlib import Path

import pytest
from haplobench import Measurement, Params
from haplobench.registry import load_registry
from haplobench.testing import check_metric, example_context, example_reference

from $module.metric import $title


def test_it_keeps_the_contract() -> None:
    registry = load_registry(["$module"])
    check_metric("$name", registry=registry)


def test_the_value_is_the_difference(tmp_path: Path) -> None:
    reference = example_reference()
    metric = $title(reference, Params(), example_context(tmp_path, reference.holdout))
    flipped = replace(reference.holdout, haplotypes=1 - reference.holdout.haplotypes)
    metric.update(flipped)
    found = metric.result().measurements["difference"]
    assert isinstance(found, Measurement)
    expected = abs(1 - 2 * reference.holdout.frequencies).mean()
    assert found.value == pytest.approx(expected)
