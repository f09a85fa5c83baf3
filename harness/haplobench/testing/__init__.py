"""Conformance kit for plugin authors: one call that says whether a plugin keeps its contract.

    from haplobench.testing import check_generator

    def test_conformance():
        check_generator("my-generator")

Each `check_…` returns the names of the checks passed, or raises `ConformanceError`, which
lists every failure with what was expected, what was found, and why it matters.
"""

from haplobench.testing.checks import ConformanceError, Failure
from haplobench.testing.generators import check_generator
from haplobench.testing.metrics import check_metric
from haplobench.testing.panels import (
    check_dataset,
    example_context,
    example_panel,
    example_reference,
    example_shadows,
)

__all__ = [
    "ConformanceError", "Failure", "check_dataset", "check_generator", "check_metric",
    "example_context", "example_panel", "example_reference", "example_shadows",
]  # fmt: skip
