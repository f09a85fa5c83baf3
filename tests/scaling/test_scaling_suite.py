"""The shipped scaling suite: every profile loads, and a small run of its kind compares well."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from typer.testing import CliRunner

from haplobench import SuiteError
from haplobench.cli import app
from haplobench.registry import load_registry
from haplobench.results.notes import read_costs
from haplobench.results.run_folder import RunFolder
from haplobench.runner.run import run_suite
from haplobench.scaling.curves import memory_points, scaling_curves
from haplobench.scaling.losses import TOLERANCE, profiles_of, same_trainings
from haplobench.suite.load import load_suite

SUITE = Path(__file__).parents[2] / "suites" / "scaling.yaml"
PLUGINS = (
    "haplobench.datasets",
    "haplobench_baselines",
    "haplobench_coalescent",
    "haplobench_vae",
    "haplobench_performance",
)
SMALL = """
name: small
datasets:
  - name: simulated
    params: {model: OutOfAfrica_3G09, samples: {YRI: 30, CEU: 30}, length: 100_000}
    split: {holdout: 0.1, validation: 0.1, seed: 1}
generators:
  - &strong
    name: vae
    label: vae-strong
    world_size: [1, 2]
    params: {epochs: 3, patience: 3, batch_size: 16, overlap: false, temperature: 0.8}
  - {<<: *strong, label: vae-horovod, backend: horovod, optional: true}
  - {<<: *strong, label: vae-batch, world_size: 1, params: {epochs: 3, patience: 3, batch_size: 8,
     overlap: false, temperature: 0.8}}
  - {<<: *strong, label: vae-profile, world_size: 1, torch_profile: true}
metrics: [time, ranks]
sample: {haplotypes: 1024, draws: 1, batch_size: 128}
floor: {draws: 1}
limits: {time: 5m, memory: 4GiB}
"""

pytest.importorskip("torch", reason="vae is trained by torch")


@pytest.mark.parametrize(("profile", "most"), [("", 2), ("quick", 2), ("node4", 4), ("node16", 16)])
def test_every_profile_loads(profile: str, most: int) -> None:
    suite = load_suite(SUITE, [f"profile={profile}"] if profile else [], load_registry(PLUGINS))
    entries = {entry.label: entry for entry in suite.generators}
    strong, horovod = entries["vae-strong"], entries["vae-horovod"]
    assert max(strong.world_size) == most
    assert (strong.params, strong.world_size) == (horovod.params, horovod.world_size)
    assert (strong.backend, horovod.backend) == ("torch", "horovod")
    weak = entries["vae-weak"]
    assert (weak.scaling.mode, weak.world_size) == ("weak", strong.world_size)
    # The model must not depend on how many people train it, which weak scaling changes.
    assert None not in (weak.params["codes"], weak.params["dropout"])
    assert {label for label in entries if "batch" in label} == {
        "vae-batch32", "vae-batch128", "vae-batch512"
    }  # fmt: skip
    assert entries["vae-profile"].torch_profile


def test_horovod_may_be_optional(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "horovod" else find(name)
    )
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    suite = load_suite(path, [], load_registry(PLUGINS))
    (left,) = [entry for entry in suite.generators if entry.missing]
    assert (left.label, left.missing) == ("vae-horovod", ("Horovod (make horovod)",))
    path.write_text(SMALL.replace(", optional: true", ""))
    with pytest.raises(SuiteError, match="Horovod is not installed"):
        load_suite(path, [], load_registry(PLUGINS))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ranks_and_back_ends_have_the_same_losses(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    registry = load_registry(PLUGINS)
    suite = load_suite(path, [], registry)
    folder = run_suite(suite, registry, tmp_path / "results").run_folder
    costs = read_costs(RunFolder(folder))
    (group,) = same_trainings(RunFolder(folder), costs)
    there = importlib.util.find_spec("horovod") is not None
    assert [(one.ranks, one.backend) for one in group] == [
        (1, ""),
        (2, "torch"),
        *([(2, "horovod")] if there else []),
    ]
    for one in group[1:]:
        assert one.from_first is not None
        assert one.from_first <= TOLERANCE
    if there:
        assert group[2].from_torch is not None
        assert group[2].from_torch <= TOLERANCE
    assert {(curve.generator, curve.stage) for curve in scaling_curves(folder)} >= {
        ("vae-strong", "training"),
        ("vae-strong", "generation"),
    }
    assert [point.batch for point in memory_points(costs)] == [8, 16]
    profiles = {(profile.stage, profile.kind): profile for profile in profiles_of(costs)}
    parts = profiles["training", "parts"]
    assert 0 < (parts.use(parts.rows[0], "seconds") or 0) < 1
    done = CliRunner().invoke(app, ["scale", str(folder)], env={"COLUMNS": "150"})
    assert done.exit_code == 0, done.output
    for text in ("where a training step's time goes", "the same training", "Peak memory"):
        assert text in done.output
