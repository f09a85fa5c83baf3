"""Controls: copies leak, unseen people don't; and what must be refused or said."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from haplobench import (
    Measurement,
    MetricResult,
    MetricSpec,
    Panel,
    PanelError,
    Reference,
)
from haplobench.registry import resolve
from haplobench.testing import example_context, example_panel, example_shadows
from haplobench_privacy import haplobench_metrics

# What a generator claims doesn't depend on what it makes.
SPECS = {spec.name: spec for spec in haplobench_metrics() if spec.name != "privacy-statement"}


def measure(
    spec: MetricSpec,
    reference: Reference,
    synthetic: Panel,
    folder: Path,
    params: dict[str, Any] | None = None,
    **changes: Any,
) -> MetricResult:
    if spec.shadows:
        changes["shadows"] = example_shadows(folder / "shadows", reference, 6)
    result = resolve(spec.target)(
        reference,
        synthetic,
        spec.params(**(params or {})),
        example_context(folder, reference.train, **changes),
    )
    assert isinstance(result, MetricResult)
    return result


def first(result: MetricResult) -> dict[str, Measurement]:
    """Each submetric's measurement; of several, the first."""
    return {
        name: found if isinstance(found, Measurement) else found[0]
        for name, found in result.measurements.items()
    }


def values(result: MetricResult) -> dict[str, Any]:
    return {name: found.value for name, found in first(result).items()}


def test_a_copy_is_a_total_leak(people: tuple[Panel, Panel, Panel], tmp_path: Path) -> None:
    train, holdout, _ = people
    copy = train.with_haplotypes(train.haplotypes[::-1].copy())
    reference = Reference(train, holdout)
    found = {name: values(measure(spec, reference, copy, tmp_path)) for name, spec in SPECS.items()}
    nearest, tracts = found["nearest-neighbours"], found["copied-tracts"]
    attack, shadow = found["membership-inference"], found["membership-shadow"]
    assert nearest["distance_ratio"] == 0
    assert nearest["unseen_ratio"] == 0
    assert nearest["exact_copies"] == 1
    assert nearest["excess_copies"] == 1 - nearest["holdout_exact_copies"]
    assert nearest["excess_near"] > 0.9
    assert tracts["tract_sites"] == train.n_sites
    assert tracts["tract_bp"] == train.span
    assert tracts["tract_cm"] == pytest.approx((train.span - 1) * 1e-6)
    assert tracts["tract_ratio"] == train.n_sites / tracts["holdout_tract_sites"] > 2
    assert tracts["matched_ratio"] > 2
    assert tracts["excess_long"] > 0.9
    assert attack["auc"] > 0.99
    assert attack["tpr_at_low_fpr"] > 0.9
    assert attack["advantage"] > 0.95
    assert (
        first(measure(SPECS["membership-inference"], reference, copy, tmp_path))["auc"].low > 0.96
    )
    assert nearest["copied_haplotypes"] > 0.5
    assert attack["auc_tracts"] > 0.99
    assert attack["auc_kinship"] > 0.99
    assert found["kinship"]["duplicated_people"] > 0.9
    assert shadow["auc"] > 0.99
    assert shadow["calibrated_tpr"] > 0.9
    assert shadow["calibrated_fpr"] < 0.1
    assert found["membership-likelihood"]["auc"] > 0.55
    assert found["membership-likelihood"]["auc_candidates"] > 0.7
    assert found["attribute-inference"]["accuracy_train"] > 0.97
    assert found["attribute-inference"]["leak"] > 0.02
    assert found["attribute-inference"]["gain_over_reference"] > 0.02
    assert found["kinship"]["duplicates"] == 1
    assert found["kinship"]["excess_duplicates"] > 0.9
    assert found["leak-list"]["flagged"] == train.n_samples
    assert found["audit"]["epsilon_lower"] > 0.9 * found["audit"]["epsilon_ceiling"] > 1
    assert found["privacy-loss"]["privacy_loss"] > 0.4
    # Fidelity alone can't see it.
    assert found["adversarial-accuracy"]["aa_truth"] == pytest.approx(0.5, abs=0.08)
    assert found["adversarial-accuracy"]["aa_syn"] == pytest.approx(0.5, abs=0.08)


def test_unseen_people_leak_nothing(people: tuple[Panel, Panel, Panel], tmp_path: Path) -> None:
    train, holdout, unseen = people
    reference = Reference(train, holdout)
    found = {
        name: first(measure(spec, reference, unseen, tmp_path)) for name, spec in SPECS.items()
    }
    assert found["leak-list"]["flagged"].value == 0
    assert found["audit"]["epsilon_lower"].value == 0
    checked = 0
    for name, spec in SPECS.items():
        for submetric in spec.submetrics:
            excess = submetric.name.startswith("excess_")
            if not (submetric.direction == "closer" or submetric.evidence or excess):
                continue
            if submetric.name in ("flagged", "claim_refuted"):
                continue
            ideal = 0.0 if excess else submetric.ideal
            one = found[name][submetric.name]
            # The errors take haplotypes for independent, which relatives are not.
            assert one.standard_error is not None, submetric.name
            slack = 4 * one.standard_error + 0.01
            assert one.value == pytest.approx(ideal, abs=slack), submetric.name
            assert slack < 0.35, submetric.name
            checked += 1
    assert checked == 24


def test_independent_sites_fail_opposite_parts(
    people: tuple[Panel, Panel, Panel], tmp_path: Path
) -> None:
    train, holdout, _ = people
    rng = np.random.default_rng(1)
    drawn = (rng.random((holdout.n_haplotypes, train.n_sites)) < train.frequencies).astype(np.int8)
    found = values(
        measure(
            SPECS["adversarial-accuracy"],
            Reference(train, holdout),
            train.with_haplotypes(drawn),
            tmp_path,
        )
    )
    assert found["aa_truth"] > 0.95
    assert found["aa_syn"] < 0.45


def test_local_copying_shows_in_tracts_alone(
    people: tuple[Panel, Panel, Panel], tmp_path: Path
) -> None:
    """Part of each haplotype copied, the rest unseen: no exact copies, but long tracts."""
    train, holdout, unseen = people
    half = unseen.haplotypes.copy()
    half[:, 100:300] = train.haplotypes[:, 100:300]
    synthetic = train.with_haplotypes(half)
    reference = Reference(train, holdout)
    tracts = values(measure(SPECS["copied-tracts"], reference, synthetic, tmp_path))
    nearest = values(measure(SPECS["nearest-neighbours"], reference, synthetic, tmp_path))
    assert tracts["tract_ratio"] > 1.5
    assert tracts["excess_long"] > 0.1
    assert nearest["excess_copies"] == pytest.approx(0, abs=0.02)


def test_no_map_means_no_centimorgans(people: tuple[Panel, Panel, Panel], tmp_path: Path) -> None:
    train, holdout, unseen = people
    reference = Reference(train, holdout)
    with_map = measure(SPECS["copied-tracts"], reference, unseen, tmp_path)
    without = measure(SPECS["copied-tracts"], reference, unseen, tmp_path, recombination_map=None)
    assert values(with_map)["holdout_tract_cm"] > 0
    assert values(without)["holdout_tract_cm"] is None
    assert "map" in without.measurements["tract_cm"].note  # type: ignore[union-attr]
    assert values(without)["tract_bp"] == values(with_map)["tract_bp"]


@pytest.mark.parametrize("name", sorted(SPECS))
def test_a_large_cohort_is_subsampled_and_it_is_said(
    name: str, people: tuple[Panel, Panel, Panel], tmp_path: Path
) -> None:
    train, holdout, unseen = people
    result = measure(
        SPECS[name], Reference(train, holdout), unseen, tmp_path, {"max_haplotypes": 50}
    )
    notes = [one.note for one in first(result).values()]
    assert any("25 of 160 synthetic people" in note for note in notes)


@pytest.mark.parametrize("name", sorted(SPECS))
def test_sites_with_missing_alleles_are_left_out_and_it_is_said(
    name: str, people: tuple[Panel, Panel, Panel], tmp_path: Path
) -> None:
    train, holdout, unseen = people
    gaps = train.haplotypes.copy()
    gaps[3, [5, 70]] = -1
    more = holdout.haplotypes.copy()
    more[0, 399] = -1
    holed = Reference(replace(train, haplotypes=gaps), replace(holdout, haplotypes=more))
    keep = np.setdiff1d(np.arange(400), [5, 70, 399])
    found = measure(SPECS[name], holed, unseen, tmp_path, recombination_map=None)
    expected = measure(
        SPECS[name],
        Reference(train.select_sites(keep), holdout.select_sites(keep)),
        unseen.select_sites(keep),
        tmp_path,
        recombination_map=None,
    )
    assert values(found) == values(expected)
    notes = [one.note for one in first(found).values()]
    assert any("3 sites with missing alleles left out" in note for note in notes)


def test_what_cannot_be_compared_is_refused(
    people: tuple[Panel, Panel, Panel], tmp_path: Path
) -> None:
    train, holdout, unseen = people
    spec = SPECS["nearest-neighbours"]
    with pytest.raises(PanelError, match="synthetic: its sites differ"):
        measure(spec, Reference(train, holdout), unseen.select_sites(np.arange(9)), tmp_path)
    with pytest.raises(PanelError, match="holdout: 0 haplotypes"):
        measure(
            spec, Reference(train, holdout.select_samples(np.zeros(160, bool))), unseen, tmp_path
        )
    gaps = unseen.haplotypes.copy()
    gaps[0, 0] = -1
    with pytest.raises(PanelError, match="synthetic: missing alleles"):
        measure(spec, Reference(train, holdout), replace(unseen, haplotypes=gaps), tmp_path)
    nothing = replace(train, haplotypes=np.full_like(train.haplotypes, -1))
    with pytest.raises(PanelError, match="no site is free"):
        measure(spec, Reference(nothing, holdout), unseen, tmp_path)


def test_ratios_over_nothing_are_not_applicable(tmp_path: Path) -> None:
    panel = example_panel(20, n_sites=30)
    same = panel.with_haplotypes(np.zeros_like(panel.haplotypes))
    result = measure(SPECS["nearest-neighbours"], Reference(same, same), same, tmp_path)
    for name in ("distance_ratio", "unseen_ratio"):
        one = result.measurements[name]
        assert one.value is None  # type: ignore[union-attr]
        assert "identical" in one.note  # type: ignore[union-attr]
    other = same.with_haplotypes(np.ones_like(panel.haplotypes))
    result = measure(SPECS["copied-tracts"], Reference(same, same), other, tmp_path)
    assert result.measurements["matched_ratio"].value is None  # type: ignore[union-attr]
    assert result.measurements["tract_ratio"].value == 0  # type: ignore[union-attr]
