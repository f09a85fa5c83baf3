"""Parameters as earlier builds had them, side by side, and in sections."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from haplobench.files import jsonable
from haplobench_federated.old_names import OLD_NAMES, sectioned
from haplobench_federated.params import FederatedParams

# What a run folder of an earlier build holds of a generator without parameters.
KEPT: dict[str, Any] = {
    "clients": 4,
    "partition": "iid",
    "concentration": 1.0,
    "partition_file": None,
    "lacking_sites": 0.0,
    "missing_alleles": 0.0,
    "strategy": "fedadam",
    "proximal_mu": 0.1,
    "server_learning_rate": 0.4,
    "fraction": 1.0,
    "rounds": 40,
    "local_steps": 1,
    "round_seconds": None,
    "sampling_rate": 1.0,
    "memory_batch": 128,
    "optimiser": "sgd",
    "learning_rate": 0.25,
    "schedule": "cosine",
    "averaging": 0.9,
    "privacy": "local",
    "noise": "local",
    "honest": 1.0,
    "epsilon": 8.0,
    "delta": None,
    "noise_multiplier": None,
    "clipping": "ghost",
    "clipping_norm": 4.0,
    "clipping_quantile": 0.5,
    "clipping_learning_rate": 0.2,
    "accountant": "prv",
    "repeatable_noise": False,
    "frequencies": "noised",
    "frequencies_file": None,
    "frequencies_share": 0.05,
    "initial": None,
    "withdrawn": None,
    "secure": {
        "kind": "none",
        "neighbours": None,
        "threshold": 0.6,
        "bits": 20,
        "clipping_range": 4.0,
    },
    "robust": {
        "rule": "mean",
        "hostile": 0,
        "screen": False,
        "norm_factor": 3.0,
        "least_cosine": 0.0,
        "update_norm": None,
    },
    "attack": {"kind": "none", "clients": 0, "factor": 5.0},
    "edge": {"compression": "none", "bits": 8, "top_share": 0.05, "student": None},
    "model": {"window": 16, "codes": 32, "temperature": 0.7},
}


def asked(**given: Any) -> FederatedParams:
    return FederatedParams.model_validate(given)


def at(params: BaseModel, path: str) -> Any:
    value: Any = params
    for part in path.split("."):
        value = getattr(value, part)
    return value


def test_what_an_earlier_build_kept_is_read_and_says_the_same() -> None:
    assert asked(**KEPT) == asked()
    # Every old name stands in it, and what is not in the table is an experiment.
    for old, new in OLD_NAMES.items():
        outer, _, inner = old.partition(".")
        kept = KEPT[outer][inner] if inner else KEPT[outer]
        now = at(asked(), new)
        assert kept == (now.model_dump() if isinstance(now, BaseModel) else now), old
    names = {old.partition(".")[0] for old in OLD_NAMES}
    assert set(KEPT) - names == {"attack", "lacking_sites", "missing_alleles"}


@pytest.mark.parametrize(
    ("flat", "sections"),
    [
        ({"epsilon": 2, "clients": 3}, {"privacy": {"epsilon": 2}, "federation": {"clients": 3}}),
        ({"privacy": "none"}, {"privacy": {"kind": "none"}}),
        (
            {"privacy": "central", "rounds": 3, "training": {"averaging": 0.5}},
            {"privacy": {"kind": "central"}, "training": {"rounds": 3, "averaging": 0.5}},
        ),
        (
            {"edge": {"compression": "top_k", "top_share": 0.1, "student": {"codes": 4}}},
            {
                "aggregation": {"compression": {"kind": "top_k", "top_share": 0.1}},
                "training": {"student": {"codes": 4}},
            },
        ),
        (
            {"strategy": "fedprox", "robust": {"screen": True}, "model": {"codes": 8}, "edge": {}},
            {
                "aggregation": {"strategy": "fedprox", "robust": {"screen": True}},
                "training": {"model": {"codes": 8}},
            },
        ),
    ],
)
def test_both_spellings_are_the_same_parameters(
    flat: dict[str, Any], sections: dict[str, Any]
) -> None:
    before = json.dumps(flat)
    assert asked(**flat) == asked(**sections)
    assert json.dumps(flat) == before  # what was given is left alone


@pytest.mark.parametrize("old", [old for old in OLD_NAMES if old != "privacy"])
def test_a_parameter_that_is_given_by_both_names_is_refused(old: str) -> None:
    outer, _, inner = old.partition(".")
    given: dict[str, Any] = {outer: {inner: None} if inner else None}
    *path, last = OLD_NAMES[old].split(".")
    place = given
    for section in path:
        place = place.setdefault(section, {})
    place[last] = None
    with pytest.raises(ValueError, match=f"^{old}: is {OLD_NAMES[old]} now, which is given, too"):
        sectioned(given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"attack": {"kind": "scale", "clients": 2}}, "attack: is no parameter .*hostile_clients"),
        ({"lacking_sites": 0.1}, "lacking_sites: is no parameter"),
        ({"missing_alleles": 0.1}, "missing_alleles: is no parameter"),
        ({"secure_rng": True}, "secure_rng: is gone"),
        ({"rounds": 3, "training": 4}, "rounds: is training.rounds now, and training isn't"),
        ({"edge": {"bit": 4}}, "edge\n"),
        ({"edge": 4}, "edge\n"),
        ({"privacy": "locl"}, "privacy.kind\n"),
        ({"epsilom": 3}, "epsilom\n"),
    ],
)
def test_what_cannot_be_read_is_said(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        asked(**given)


# --- infinite numbers -----------------------------------------------------------------------


def numbers(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of all parameters that take a fraction, but those of sections that may lack."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from numbers(field.annotation, (*path, name))
        elif field.annotation in (float, float | None):
            yield (*path, name)


@pytest.mark.parametrize("path", sorted(numbers(FederatedParams)), ids=".".join)
@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_infinite_numbers_are_refused_but_for_an_infinite_budget(
    path: tuple[str, ...], value: float
) -> None:
    given: Any = value
    for part in reversed(path):
        given = {part: given}
    if path == ("privacy", "epsilon") and value == math.inf:
        # Accepted on purpose: no privacy. A run folder keeps it, and it is read again.
        params = asked(**given)
        assert not params.privacy.noised
        kept = json.dumps(jsonable(params.model_dump(mode="json", round_trip=True)))
        assert asked(**json.loads(kept, parse_constant=pytest.fail)) == params
        return
    with pytest.raises(ValidationError, match=rf"{'.'.join(path)}\n"):
        asked(**given)


def test_there_are_numbers_to_try() -> None:
    assert ("aggregation", "robust", "norm_factor") in set(numbers(FederatedParams))
    assert len(set(numbers(FederatedParams))) > 15
