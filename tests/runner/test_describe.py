"""What the claims of a run come to: seeds, shadows, shared fits, and people in several datasets."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from dp_accounting import get_epsilon_gaussian

from haplobench import PrivacyCharge, PrivacyStatement
from haplobench.runner.describe import ClaimLog, people_of
from haplobench.runner.plan import Cell
from haplobench.testing import example_panel


def statement(noise: float = 5.0, **changes: Any) -> PrivacyStatement:
    charge = PrivacyCharge(noise, 1.0, 30)
    given: dict[str, Any] = {"noise_source": "entropy", "charges": (charge,)} | changes
    return PrivacyStatement(8.0, 1e-6, "person", "PRV", "all", **given)


def sampled(folder: Path, name: str, claim: PrivacyStatement | None) -> Path:
    (folder / name).mkdir(exist_ok=True)
    if claim is not None:
        (folder / name / "privacy.json").write_text(claim.to_json())
    return folder / name


def cell(dataset: str, label: str, seed: int) -> Cell:
    made = SimpleNamespace(
        name=f"{dataset}/{label}/seed{seed}",
        dataset=SimpleNamespace(label=dataset),
        generator=SimpleNamespace(ranks=1),
        label=label,
        seed=seed,
    )
    return cast("Cell", made)


def gaussian(*fits: tuple[float, int]) -> float:
    """ε of fits of a noise, so many each, as one Gaussian mechanism."""
    return get_epsilon_gaussian(sum(30 * n / z**2 for z, n in fits) ** -0.5, 1e-6)


@pytest.fixture
def log(tmp_path: Path) -> ClaimLog:
    """Two settings of two seeds on one dataset, one of them on a second, and no claim beside."""
    log = ClaimLog()
    for dataset, label, noise in (("a", "much", 20.0), ("a", "some", 5.0), ("b", "some", 5.0)):
        for seed in (1, 2):
            name = f"{dataset}-{label}-{seed}"
            log.add(cell(dataset, label, seed), sampled(tmp_path, name, statement(noise)), [])
    log.add(cell("a", "open", 1), sampled(tmp_path, "open", None), [])
    return log


def totals(log: ClaimLog, **people: str) -> dict[tuple[str, str], dict[str, Any]]:
    known = {label: frozenset(names) for label, names in people.items()}
    return {
        (",".join(one["datasets"]), one.get("generator", "all")): one for one in log.totals(known)
    }


def test_seeds_and_settings_of_the_same_people_add_up(log: ClaimLog) -> None:
    said = totals(log, a="xy", b="zw")
    assert set(said) == {("a", "much"), ("a", "some"), ("b", "some"), ("a", "all"), ("b", "all")}
    assert said["a", "much"]["fits"] == 2
    assert said["a", "much"]["epsilon"] == pytest.approx(gaussian((20.0, 2)), rel=1e-3)
    assert said["a", "some"]["epsilon"] == pytest.approx(gaussian((5.0, 2)), rel=1e-3)
    both = gaussian((20.0, 2), (5.0, 2))
    assert said["a", "all"]["epsilon"] == pytest.approx(both, rel=1e-3)
    assert said["a", "all"]["without_bound"] == ["open"]
    assert said["b", "all"]["epsilon"] == pytest.approx(gaussian((5.0, 2)), rel=1e-3)


def test_datasets_that_share_a_person_are_taken_together(log: ClaimLog) -> None:
    whole = totals(log, a="xy", b="yz")["a,b", "all"]
    assert whole["fits"] == 6
    assert whole["epsilon"] == pytest.approx(gaussian((20.0, 2), (5.0, 4)), rel=1e-3)


def test_a_person_is_in_one_shadow_of_each_pair(tmp_path: Path) -> None:
    log = ClaimLog()
    shadows = [
        sampled(tmp_path, f"shadow{i}", statement(noise)) for i, noise in enumerate((6.0, 7.0) * 2)
    ]
    log.add(cell("a", "some", 1), sampled(tmp_path, "model", statement()), shadows)
    row = totals(log, a="xy")["a", "some"]
    assert (row["fits"], row["shadow_fits"]) == (1, 2)
    assert row["epsilon"] == pytest.approx(gaussian((5.0, 1), (6.0, 2)), rel=1e-3)


def test_one_fit_under_two_labels_is_one_release(tmp_path: Path) -> None:
    log = ClaimLog()
    folder = sampled(tmp_path, "same", statement())
    for label in ("first", "second"):
        log.add(cell("a", label, 1), folder, [])
    whole = totals(log, a="xy")["a", "all"]
    assert (whole["fits"], whole["epsilon"]) == (1, 8.0)


def test_repeatable_noise_leaves_no_bound(tmp_path: Path, log: ClaimLog) -> None:
    seeded = PrivacyStatement(math.inf, 1e-6, "person", "PRV", "all", noise_source="seed")
    log.add(cell("a", "much", 3), sampled(tmp_path, "seeded", seeded), [])
    said = totals(log, a="xy")
    assert said["a", "much"]["epsilon"] is None
    assert "whoever has the seed" in said["a", "much"]["method"]
    assert said["a", "all"]["without_bound"] == ["much", "open"]
    assert said["a", "all"]["epsilon"] == pytest.approx(gaussian((5.0, 2)), rel=1e-3)
    entry = next(one for one in log.entries() if one["seed"] == 3)
    assert (entry["epsilon"], entry["noise_source"]) == (None, "seed")


def test_people_are_known_by_name(tmp_path: Path) -> None:
    panel = example_panel(12)
    for part, chosen in (("train", range(8)), ("holdout", range(8, 12))):
        (tmp_path / part).mkdir()
        panel.select_samples(list(chosen)).save(tmp_path / part)
    assert people_of(tmp_path, held_out=False) == frozenset(panel.samples[:8].tolist())
    assert people_of(tmp_path, held_out=True) == frozenset(panel.samples.tolist())


def test_where_no_row_has_a_bound_the_total_is_no_number(tmp_path: Path) -> None:
    log = ClaimLog()
    seeded = PrivacyStatement(math.inf, 1e-6, "person", "PRV", "all", noise_source="seed")
    log.add(cell("a", "seeded", 1), sampled(tmp_path, "seeded", seeded), [])
    whole = totals(log, a="xy")["a", "all"]
    assert (whole["fits"], whole["epsilon"], whole["without_bound"]) == (0, None, ["seeded"])
