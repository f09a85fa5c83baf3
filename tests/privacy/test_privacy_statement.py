"""The statement that a generator makes of its differential privacy."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haplobench import Measurement, Params, PrivacyStatement, Reference
from haplobench.testing import example_context, example_panel
from haplobench_privacy.statement import Statement

CLAIM = PrivacyStatement(
    epsilon=8.0,
    delta=1e-5,
    unit="person",
    accountant="PRV",
    sampling="Poisson, rate 0.1",
    n_records=240,
    per_client={"north": 8.0, "south": 6.5},
    choices={"sites": "public"},
)

epsilons = st.floats(min_value=0, allow_nan=False, allow_infinity=True)


@given(epsilons, st.floats(0, 1, exclude_max=True), st.dictionaries(st.text(), epsilons))
def test_what_is_written_is_read_again(
    epsilon: float, delta: float, clients: dict[str, float]
) -> None:
    claim = replace(CLAIM, epsilon=epsilon, delta=delta, per_client=clients)
    assert PrivacyStatement.from_json(claim.to_json()) == claim


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon": -1.0}, "epsilon is -1.0"),
        ({"epsilon": math.nan}, "epsilon is nan"),
        ({"delta": 1.0}, "delta is 1.0"),
        ({"unit": ""}, "unit is empty"),
        ({"per_client": {"north": -2.0}}, "north is -2.0"),
        ({"adjacency": "none"}, "adjacency is 'none'"),
    ],
)
def test_what_cannot_be_a_claim_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(CLAIM, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["[]", "{}", '{"epsilon": 1, "other": 2}', '{"epsilon": 1}'])
def test_what_is_no_statement_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="privacy statement"):
        PrivacyStatement.from_json(text)


def measured(claim: PrivacyStatement | None, folder: Path) -> dict[str, Measurement]:
    panel = example_panel(20)
    ctx = replace(example_context(folder, panel), privacy_statement=claim)
    metric = Statement(Reference(panel, panel), Params(), ctx)
    metric.update(panel)
    return dict(metric.result().measurements)  # type: ignore[arg-type]


def test_the_metric_reports_what_is_claimed(tmp_path: Path) -> None:
    found = measured(CLAIM, tmp_path)
    assert {name: one.value for name, one in found.items()} == {
        "epsilon": 8.0,
        "delta": 1e-5,
        "least_client_epsilon": 6.5,
        "clients": 2.0,
    }
    assert found["epsilon"].n == 240
    for words in ("unit person", "PRV", "Poisson", "sites: public"):
        assert words in found["epsilon"].note
    none = measured(None, tmp_path)
    assert {one.value for one in none.values()} == {None}
    boundless = measured(replace(CLAIM, epsilon=math.inf, per_client={}), tmp_path)
    assert boundless["epsilon"].value is None
    assert "no claim" in boundless["epsilon"].note
    assert boundless["clients"].value == 1
