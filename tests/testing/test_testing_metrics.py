"""The kit passes good metrics and catches every breach, each by its own check."""

from __future__ import annotations

from typing import Any

import kit_metrics as toys
import pytest

from haplobench import SubmetricSpec
from haplobench.testing import ConformanceError, check_metric


def failures(target: str, **changes: Any) -> dict[str, str]:
    with pytest.raises(ConformanceError) as caught:
        check_metric(toys.spec(target, **changes))
    return {failure.check: str(failure) for failure in caught.value.failures}


def test_good_metrics_pass() -> None:
    passed = check_metric(toys.spec("Good", figures=(toys.figure("draw_nothing"),)))
    assert set(passed) == {
        "description",
        "submetrics",
        "params",
        "writes",
        "measure",
        "result",
        "series",
        "determinism",
        "panels",
        "batches",
        "the holdout itself",
        "a cohort without variation",
        "order",
        "one person",
        "panels without populations",
        "haploid people",
        "no recombination map and no sequence",
        "figures",
    }
    assert "batches" not in check_metric(toys.spec("Good", input="panel"))
    assert "order" in check_metric(toys.spec("frequency_error", input="panel"))
    assert "a cohort at other sites" in check_metric(
        toys.spec("SiteFree", site_matched=False, family="privacy")
    )
    check_metric(toys.spec("Clock", input="telemetry", family="performance"))


@pytest.mark.parametrize(
    ("target", "check", "words"),
    [
        ("NoSuchClass", "measure", "NoSuchClass"),
        ("Undeclared", "result", "extra"),
        ("Missing", "result", "no count"),
        ("NaN", "result", "error: a finite float, or None with a note; found nan"),
        ("NumpyFloat", "result", "np.float32(1.0)"),
        ("NoNote", "result", "error: a note"),
        ("BadError", "result", "standard error"),
        ("SameLabels", "result", "error twice with labels {'bin': 'a'}"),
        ("NumberLabels", "result", "labels str to str"),
        ("NotAResult", "result", "dict"),
        ("Ragged", "series", "float64(3,)"),
        ("Objects", "series", "object(2,)"),
        ("Unseeded", "determinism", "error"),
        ("Mutates", "measure", "read-only"),
        ("MutatesReference", "panels", "differ after measuring"),
        ("Writes", "writes", "measured.txt"),
        ("ByBatch", "batches", "batches of 7 people"),
        ("frequency_difference", "measure", "neither a function of (reference, cohort, params"),
        ("Correlation", "result", "a cohort without variation"),
        ("NeedsVariation", "a cohort without variation", "ZeroDivisionError"),
        ("NeedsLabels", "panels without populations", "labels"),
        ("NeedsMap", "no recombination map and no sequence", "AssertionError"),
        ("NeedsTwo", "one person", "ValueError: too few"),
        ("Backwards", "order", "no worse than haplotypes of reference alleles only"),
    ],
)
def test_each_breach_is_caught(target: str, check: str, words: str) -> None:
    found = failures(target)
    assert check in found
    assert words in found[check]


@pytest.mark.parametrize("target", ["Undeclared", "Ragged", "Mutates", "Writes", "ByBatch"])
def test_one_mistake_is_one_failure(target: str) -> None:
    found = failures(target, family="privacy")
    assert len(found) == 1


def test_other_sites_must_not_break_a_site_free_metric() -> None:
    found = failures("Good", site_matched=False)
    assert "ValueError" in found["a cohort at other sites"]


def test_time_zero_must_not_break_a_metric_on_telemetry() -> None:
    found = failures("DividesByZero", input="telemetry", family="performance")
    assert "a cell that took no time" in found["telemetry"]
    assert "ZeroDivisionError" in found["telemetry"]


def test_figures_must_draw_the_metrics_own_series() -> None:
    pytest.importorskip("altair")
    assert "KeyError" in failures("Good", figures=(toys.figure("draw_wrongly"),))["figures"]
    assert "draw_missing" in failures("Good", figures=(toys.figure("draw_missing"),))["figures"]


@pytest.mark.parametrize(
    ("submetrics", "words"),
    [
        ((), "distinct names"),
        ((*toys.SUBMETRICS, toys.SUBMETRICS[0]), "distinct names"),
        (
            (toys.SUBMETRICS[1], SubmetricSpec("error", "Error", "E.", "closer")),
            "closer with an ideal",
        ),
        ((toys.SUBMETRICS[1], SubmetricSpec("error", "Error", "", "lower")), "a definition"),
    ],
)
def test_declarations(submetrics: tuple[SubmetricSpec, ...], words: str) -> None:
    assert words in failures("Good", submetrics=submetrics)["submetrics"]


def test_the_message_says_what_where_and_why() -> None:
    with pytest.raises(
        ConformanceError, match=r"metric 'toy' breaks its contract in 1 place:"
    ) as e:
        check_metric(toys.spec("NaN", family="privacy"))
    assert "Records are JSON" in str(e.value)
    assert isinstance(e.value, AssertionError)
