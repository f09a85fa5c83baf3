"""No seed of a suite, run or record reaches protective noise, and no draw comes twice."""

from __future__ import annotations

import ast
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from federation_fixture import QUICK, Witness, fit, params, weights

import haplobench_federated
from haplobench import Panel, SampleRequest
from haplobench.testing import example_context
from haplobench_federated.seeds import RepeatableNoise

PACKAGE = Path(haplobench_federated.__file__).parent


WAYS: dict[str, dict[str, Any]] = {
    "local": {"frequencies": "noised"},
    "flat": {"clipping": "flat", "local_steps": 2},
    "per_layer": {"clipping": "per_layer", "strategy": "fedprox"},
    "adaptive": {"clipping": "adaptive", "edge": {"compression": "quantise"}},
    "central": {"privacy": "central"},
    "shared": {
        "noise": "shared",
        "local_steps": 1,
        "secure": {"kind": "secagg", "clipping_range": 32.0},
    },
    "secagg": {"secure": {"kind": "secagg"}, "edge": {"student": {"people": 20, "steps": 10}}},
}


def plant_seeds() -> None:
    """What a library would draw its own noise from."""
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)


# Where else the package draws at random, and why that protects nobody.
DRAWS = {
    "updates.py": {"default_rng"},  # rounding of what is noised already
    "model.py": {"default_rng", "standard_normal"},  # weights to begin with
    "training.py": {"default_rng"},  # batches without privacy
    "seeds.py": {"seed", "manual_seed"},  # of libraries that draw without asking
    "secagg.py": {"shuffle"},  # who shares masks with whom
}


_NAMES = {
    "default_rng", "Generator", "RandomState", "seed", "manual_seed", "normal", "standard_normal",
    "randn", "randn_like", "gauss", "normalvariate", "laplace", "multivariate_normal", "shuffle",
    "SystemRandom", "normal_", "Normal",
}  # fmt: skip


def trees() -> dict[str, ast.Module]:
    return {path.name: ast.parse(path.read_text()) for path in sorted(PACKAGE.glob("*.py"))}


def called(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    """Names of all that is called, without what it is an attribute of."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", None) or getattr(node.func, "id", "")
            found.append((name, node))
    return found


@pytest.mark.parametrize("way", WAYS)
def test_two_fits_with_one_seed_share_no_noise(
    tmp_path: Path, people: Panel, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    def refused(*args: Any, **named: Any) -> Any:
        raise AssertionError("noise of another source")

    for place in (
        "torch.normal",
        "torch.randn",
        "numpy.random.normal",
        "opacus.optimizers.optimizer._generate_noise",
    ):
        monkeypatch.setattr(place, refused)
    monkeypatch.setattr(RepeatableNoise, "__init__", refused)
    witness = Witness(monkeypatch)
    taken = []
    for name in ("one", "other"):
        plant_seeds()
        # Of 16 people two batches of a half are alike once in 65,000 times.
        fit(tmp_path / name, people, seed=3, sampling_rate=0.5, **WAYS[way])
        taken.append(witness.taken())
    noise, batches = ([*first, *second] for first, second in zip(*taken, strict=True))
    assert len(noise) >= 2 * 3
    assert len(set(noise)) == len(noise), "noise came twice"
    if way != "central":  # whose guarantee needs no secret batches
        assert len(batches) >= 2 * 9
        assert len(set(batches)) > 0.9 * len(batches) or way == "shared"


def test_repeatable_noise_is_the_same_for_the_same_seed_and_no_other(
    tmp_path: Path, people: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    witness = Witness(monkeypatch)
    taken = []
    for name, seed in (("one", 3), ("again", 3), ("other", 4)):
        fit(tmp_path / name, people, seed=seed, frequencies="noised", repeatable_noise=True)
        taken.append(witness.taken())
    assert taken[0] == taken[1]
    assert len(set(taken[0][0])) == len(taken[0][0]) >= 12
    assert not set(taken[0][0]) & set(taken[2][0])


def test_what_is_random_stands_in_the_record(tmp_path: Path, people: Panel) -> None:
    found = {}
    for name, changes in (
        ("private", {}),
        ("repeatable", {"repeatable_noise": True}),
        ("none", {"privacy": "none"}),
    ):
        fit(tmp_path / name, people, rounds=1, **changes)
        report = json.loads((tmp_path / name / "artifacts" / "federation.json").read_text())
        found[name] = report["random"]
    assert found["private"]["source"] == "operating system's entropy"
    assert "protective noise" in found["private"]["differs"]
    assert "protective noise" in found["repeatable"]["repeats"]
    assert {found[name]["source"] for name in ("repeatable", "none")} == {"seed"}


def test_what_is_not_protective_still_follows_the_seed(tmp_path: Path, people: Panel) -> None:
    fitted = fit(tmp_path / "one", people)
    ctx = example_context(tmp_path, people, 0)
    rows = [np.concatenate(list(fitted.sample(SampleRequest(40), ctx))) for _ in range(2)]
    assert np.array_equal(*rows)
    plain = [fit(tmp_path / f"p{i}", people, privacy="none") for i in range(2)]
    assert weights(plain[0]) == weights(plain[1])


def test_nothing_else_in_the_package_draws_noise() -> None:
    for name, tree in trees().items():
        drawn = {one for one, _ in called(tree) if one in _NAMES}
        assert drawn <= DRAWS.get(name, set()), f"{name} draws by {sorted(drawn)}"
        assert DRAWS.get(name, set()) <= drawn, f"{name}: no longer draws"


def test_a_seed_reaches_noise_only_where_it_was_asked_for() -> None:
    for name, tree in trees().items():
        for function, call in called(tree):
            if function == "RepeatableNoise":
                assert name == "seeds.py"
            if function == "noise_source":
                first = call.args[0]
                assert isinstance(first, ast.Attribute)
                assert first.attr == "repeatable_seed"
            for keyword in call.keywords:
                if keyword.arg == "repeatable_seed":
                    assert name == "federation.py"
                    value = keyword.value
                    assert isinstance(value, ast.IfExp)
                    assert isinstance(value.test, ast.Attribute)
                    assert value.test.attr == "repeatable_noise"
                    assert isinstance(value.orelse, ast.Constant)
                    assert value.orelse.value is None


def test_the_default_is_noise_that_nobody_repeats() -> None:
    asked = params()
    assert not asked.privacy.repeatable_noise
    assert asked.unrepeatable()
    assert not type(asked).model_validate(QUICK | {"repeatable_noise": True}).unrepeatable()
    assert not type(asked).model_validate(QUICK | {"privacy": "none"}).unrepeatable()
