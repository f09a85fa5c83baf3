"""The statement that a generator makes of its differential privacy."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haplobench import Measurement, Params, PrivacyCharge, PrivacyStatement, Reference
from haplobench.plugin.privacy import delta_words
from haplobench.testing import example_context, example_panel
from haplobench_privacy.statement import statement

CLAIM = PrivacyStatement(
    epsilon=8.0,
    delta=1e-5,
    unit="person",
    accountant="PRV",
    sampling="Poisson, rate 0.1",
    n_records=240,
    per_client={"north": 8.0, "south": 6.5},
    choices={"sites": "public"},
    noise_source="entropy",
    charges=(PrivacyCharge(4.0, 0.5, 10),),
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
        ({"noise_source": "dice"}, "noise_source is 'dice'"),
        ({"noise_source": "seed"}, "epsilon is 8 with noise_source seed; expected inf"),
        ({"noise_source": "none"}, "epsilon is 8 with noise_source none; expected inf"),
        ({"noise_source": "seed", "epsilon": math.inf}, "epsilon is 8 with noise_source seed"),
        ({"charges": (PrivacyCharge(0.0, 1.0),)}, "expected noise above 0"),
        ({"charges": (PrivacyCharge(1.0, 1.5),)}, "a rate above 0 and up to 1"),
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
    result = statement(Reference(panel, panel), panel, Params(), ctx)
    return dict(result.measurements)  # type: ignore[arg-type]


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


def test_a_claim_says_in_words_what_delta_and_the_noise_are(tmp_path: Path) -> None:
    note = measured(CLAIM, tmp_path)["epsilon"].note
    assert note.startswith("holds except with a probability of up to 1e-05; unit person")
    assert "operating system's entropy" in note
    assert "another fit with the same seed differs, by design" in note
    assert "large" not in note
    large = measured(replace(CLAIM, delta=1 / 240), tmp_path)
    for name in ("epsilon", "delta"):
        assert "publishes 1 of them outright, on average, would pass" in large[name].note
    assert delta_words(0.0) == "without exception"


def test_noise_that_can_be_repeated_is_no_bound_anywhere(tmp_path: Path) -> None:
    seeded = replace(
        CLAIM,
        epsilon=math.inf,
        per_client=dict.fromkeys(CLAIM.per_client, math.inf),
        noise_source="seed",
    )
    assert PrivacyStatement.from_json(seeded.to_json()) == seeded
    found = measured(seeded, tmp_path)
    for name in ("epsilon", "delta", "least_client_epsilon"):
        assert found[name].value is None
        assert "infinite for whoever has the seed or a second run" in found[name].note
    assert found["clients"].value == 2
