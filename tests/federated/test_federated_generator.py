"""Consent, and what the testing kit asks of a generator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from federation_fixture import QUICK, fit, weights

from haplobench import BenchError, Panel
from haplobench.registry import load_registry
from haplobench.testing import check_generator, example_panel


@pytest.mark.parametrize("partition", ["iid", "dirichlet", "population"])
def test_who_withdrew_leaves_no_trace(tmp_path: Path, people: Panel, partition: str) -> None:
    left = np.ones(people.n_samples, bool)
    left[[3, 17]] = False
    never = people.select_samples(left)
    names = [str(name) for name in people.samples[~left]]
    options: dict[str, Any] = {"partition": partition, "clients": 2, "frequencies": "noised"}
    options["repeatable_noise"] = True
    found = {}
    for name, panel, withdrawn in (("never", never, []), ("withdrew", people, names)):
        folder = tmp_path / name
        (folder / "checkpoint").mkdir(parents=True)
        fitted = fit(
            folder, panel, checkpoint=folder / "checkpoint", withdrawn=withdrawn, **options
        )
        (folder / "model").mkdir()
        fitted.save(folder / "model")
        found[name] = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in (
                folder / "checkpoint" / "federation.safetensors",
                *sorted((folder / "model").iterdir()),
                folder / "artifacts" / "privacy.json",
            )
        }
    assert found["never"] == found["withdrew"]
    assert not any(n.encode() in data for data in found["withdrew"].values() for n in names)
    assert found["never"] != {}
    full = fit(tmp_path / "all", people, **options)
    assert weights(full) != weights(fit(tmp_path / "again", never, **options))


def test_a_file_of_names_is_honoured_too(tmp_path: Path, people: Panel) -> None:
    listed = tmp_path / "withdrawn.txt"
    listed.write_text(f"{people.samples[5]}\nsomebody else\n")
    same: dict[str, Any] = {"repeatable_noise": True}
    with pytest.raises(BenchError, match=r"withdrawn.txt: 1 of 2 match nobody .*: line 2 \(mend"):
        fit(tmp_path / "unknown", people, withdrawn=str(listed), **same)
    known = {"file": str(listed), "allow_unknown": True}
    by_file = fit(tmp_path / "file", people, withdrawn=known, **same)
    report = json.loads((tmp_path / "file" / "artifacts" / "federation.json").read_text())
    assert report["withdrawn"] == {"listed": 2, "left_out": 1, "unknown": 1, "repeated": 0}
    by_list = fit(tmp_path / "list", people, withdrawn=[str(people.samples[5])], **same)
    assert weights(by_file) == weights(by_list)
    with pytest.raises(BenchError, match="everybody"):
        fit(tmp_path / "none", people, withdrawn=[str(name) for name in people.samples])


def test_the_testing_kit_takes_it_that_private_fits_differ() -> None:
    changes: dict[str, Any] = {"rounds": 6, "local_steps": 10, "sampling_rate": 0.5}
    changes |= {"frequencies": "noised", "noise_multiplier": 0.02, "clients": 1}
    passed = check_generator(
        "vae-federated",
        example_panel(60, n_sites=160),
        params=QUICK | changes | {"model": {"window": 16, "codes": 16}},
        registry=load_registry(["haplobench_federated"]),
    )
    assert "determinism" in passed
