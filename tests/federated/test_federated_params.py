"""Parameters that contradict each other."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest
from federation_fixture import QUICK, params
from secure_helpers import parameters

from haplobench import BenchError
from haplobench_federated.params import CompressionParams, FederatedParams

SHARED: dict[str, Any] = {
    "clients": 4,
    "local_steps": 1,
    "sampling_rate": 1.0,
    "noise": "shared",
    # Few people make for much noise.
    "secure": {"kind": "secagg", "clipping_range": 16.0},
}


def edge(compression: str, **changes: Any) -> CompressionParams:
    return CompressionParams.model_validate({"kind": compression} | changes)


def test_another_list_is_another_fit_and_names_stay_out_of_parameters(tmp_path: Path) -> None:
    listed = tmp_path / "withdrawn.txt"
    listed.write_text("A1\n")
    before, stat = params(withdrawn=str(listed)), listed.stat()
    assert before == type(before).model_validate(before.model_dump(mode="json", round_trip=True))
    first = before.fingerprint()
    listed.write_text("A2\n")
    os.utime(listed, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert before.fingerprint() != first
    assert "A2" not in before.model_dump_json()
    with pytest.raises(BenchError, match="would be kept in run folders; expected a file"):
        params(withdrawn=["A1"]).fingerprint()
    listed.write_text("# nobody\n")
    with pytest.raises(BenchError, match="holds no names"):
        before.fingerprint()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epsilon": None, "noise_multiplier": None}, "neither epsilon nor noise_multiplier"),
        ({"privacy": "central", "clipping": "ghost"}, "expected flat with central"),
        ({"privacy": "central", "strategy": "fedadam"}, "expected fedavg or fedprox"),
        ({"partition": "file"}, "partition_file is missing"),
        ({"accountant": "gdp"}, "prv"),
        ({"delta": 0}, r"delta\n.*greater than 0"),
        ({"epsilon": 0}, r"epsilon\n.*greater than 0"),
        ({"noise_multiplier": 2e4}, r"noise_multiplier\n.*less than or equal to 10000"),
        ({"clipping_norm": math.inf}, r"clipping_norm\n.*finite number"),
        ({"noise_multiplier": 0}, r"noise_multiplier\n.*greater than 0"),
        ({"withdrawn": ["a", "a"]}, "listed twice"),
        ({"secure_rng": True}, "leave it out, or ask for .*privacy.repeatable_noise: true"),
    ],
)
def test_parameters_that_contradict_each_other(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        type(params()).model_validate(QUICK | changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"secure": {"kind": "none"}}, "secure.kind none"),
        ({"optimiser": "adam"}, "optimiser adam, expected sgd"),
        ({"local_steps": 2}, "local_steps 2, expected 1"),
        ({"clipping": "adaptive"}, "clipping adaptive"),
        ({"robust": {"update_norm": 1.0}}, "robust.update_norm"),
        ({"secure": {"kind": "secagg", "neighbours": 2}}, "secure.neighbours 2"),
    ],
)
def test_what_the_server_could_not_compute_from_the_sum_is_refused(
    changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        FederatedParams.model_validate(QUICK | SHARED | changes)


@pytest.mark.parametrize("kind", ["secagg", "homomorphic"])
@pytest.mark.parametrize(
    "robust",
    [
        {"rule": "krum", "hostile": 1},
        {"rule": "multi_krum", "hostile": 1},
        {"rule": "trimmed_mean", "hostile": 1},
        {"rule": "median", "hostile": 1},
        {"screen": True},
    ],
)
def test_what_needs_single_updates_is_refused_with_secure_aggregation(
    kind: str, robust: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="needs to see single updates; only robust.update_norm"):
        parameters(clients=8, secure={"kind": kind}, robust=robust)
    parameters(clients=8, secure={"kind": kind}, robust={"update_norm": 1.0})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"secure": {"kind": "secagg"}, "clients": 2}, "expected at least 3"),
        (
            {"secure": {"kind": "secagg"}, "privacy": "central", "noise_multiplier": 1.0},
            "whose server clips each update",
        ),
        ({"robust": {"rule": "krum", "hostile": 1}, "clients": 4}, "expected at least 5"),
        ({"robust": {"hostile": 1}}, "the mean bears no hostile client"),
        (
            {"robust": {"rule": "median"}, "privacy": "central", "noise_multiplier": 1.0},
            "made for an average",
        ),
        (
            {"robust": {"screen": True}, "privacy": "central", "noise_multiplier": 1.0},
            "robust.screen: can't be combined with central privacy",
        ),
        ({"attack": {"kind": "scale"}}, "attack: is no parameter .*hostile_clients.py"),
        ({"attack": {"kind": "scale", "clients": 2}}, "attack: is no parameter"),
        ({"lacking_sites": 0.2}, "lacking_sites: is no parameter"),
        ({"missing_alleles": 0.1}, "missing_alleles: is no parameter"),
    ],
)
def test_guards_that_contradict_each_other(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parameters(**changes)


@pytest.mark.parametrize("compression", ["quantise", "top_k"])
def test_compression_is_refused_with_secure_aggregation(compression: str) -> None:
    with pytest.raises(ValueError, match="can't be combined with compression.kind"):
        parameters(secure={"kind": "secagg"}, edge={"compression": compression})
    with pytest.raises(ValueError, match="expected 4 or 8"):
        edge("quantise", bits=5)
