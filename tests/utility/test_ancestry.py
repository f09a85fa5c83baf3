"""Ancestry: scikit-learn's own numbers, controls that must fail, and what can't be told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structured_people import (
    context,
    independent,
    only,
    random_sequence,
    real_cohort,
    reference,
    value,
    with_missing,
)

from haplobench import MetricResult, Panel, Reference
from haplobench.testing.panels import haploid, without_labels
from haplobench_utility.ancestry import ancestry, balanced_accuracy, train_classifier
from haplobench_utility.specs_structure import ANCESTRY, AncestryParams


def measure(
    cohort: Panel, folder: Path, real: Reference | None = None, **params: Any
) -> MetricResult:
    real = real or reference()
    ctx = context(folder, real.train)
    settings = {"admixed_people": 6, "real_draws": 3, **params}
    return ancestry(real, cohort, AncestryParams(**settings), ctx)


def test_the_classifier_is_scikit_learns(tmp_path: Path) -> None:
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.metrics import balanced_accuracy_score, recall_score
    from sklearn.pipeline import make_pipeline

    holdout, cohort = reference().holdout, real_cohort()
    discriminant = LinearDiscriminantAnalysis(priors=[0.5, 0.5])
    model = make_pipeline(PCA(8, svd_solver="full"), discriminant)
    model.fit(cohort.dosages() / 2, cohort.superpopulation)
    called = model.predict(holdout.dosages() / 2)
    result = measure(cohort, tmp_path, components=8)
    expected = balanced_accuracy_score(holdout.superpopulation, called)
    assert value(result, "accuracy") == pytest.approx(expected, abs=0.02)
    recall = {m.labels["superpopulation"]: m.value for m in result.measurements["recall"]}
    for name in ("AB", "C"):
        truth = recall_score(holdout.superpopulation, called, labels=[name], average="macro")
        assert recall[name] == pytest.approx(truth, abs=0.03)
    ratio = value(result, "accuracy") / value(result, "accuracy_real")
    assert value(result, "accuracy_ratio") == pytest.approx(ratio)
    labels = np.array(["AB", "C"])
    assert balanced_accuracy(holdout.superpopulation, called, labels) == pytest.approx(expected)


def test_real_people_are_at_one_and_controls_are_not(tmp_path: Path) -> None:
    floor = [measure(real_cohort(seed=seed), tmp_path) for seed in range(4)]
    ratios = [value(result, "accuracy_ratio") for result in floor]
    assert np.mean(ratios) == pytest.approx(1, abs=0.03)
    assert abs(np.mean([value(result, "reverse_difference") for result in floor])) < 0.05
    local = min(value(result, "local_accuracy") for result in floor)
    error = max(value(result, "proportions_rmse") for result in floor)
    assert local > 0.8
    noise = measure(random_sequence(real_cohort()), tmp_path)
    assert value(noise, "accuracy_ratio") < min(ratios) - 0.2
    assert value(noise, "local_accuracy") < local - 0.1
    assert value(noise, "proportions_rmse") > error
    assert value(noise, "reverse_difference") < -0.2
    cohort = real_cohort()
    rows = np.random.default_rng(1).permutation(cohort.n_samples)
    dealt = replace(cohort, superpopulation=cohort.superpopulation[rows])
    assert value(measure(dealt, tmp_path), "accuracy_ratio") < min(ratios) - 0.2


def test_a_cohort_without_labels_is_a_guess(tmp_path: Path) -> None:
    result = measure(independent(real_cohort()), tmp_path)
    guess = only(result, "accuracy_ratio")
    assert guess.value == pytest.approx(0.5 / value(result, "accuracy_real"))
    assert "no labels" in guess.note
    for name in ("recall", "reverse_difference", "proportions_rmse", "local_accuracy"):
        assert only(result, name).value is None
        assert only(result, name).note == "the cohort has no labels"


def test_a_population_nobody_is_of_is_called_of_nobody(tmp_path: Path) -> None:
    cohort = real_cohort()
    two = cohort.select_samples(cohort.population != "A")
    assert value(measure(two, tmp_path), "accuracy_ratio") > 0.9
    one = cohort.select_samples(cohort.population != "C")
    result = measure(one, tmp_path)
    assert value(result, "accuracy") == 0.5
    assert "nobody of C" in only(result, "local_accuracy").note


def test_one_superpopulation_leaves_populations(tmp_path: Path) -> None:
    def some(panel: Panel) -> Panel:
        return panel.select_samples(panel.superpopulation == "AB")

    real = Reference(some(reference().train), some(reference().holdout))
    result = measure(some(real_cohort()), tmp_path, real)
    assert "fewer than two superpopulations" in only(result, "accuracy_ratio").note
    assert "fewer than two superpopulations" in only(result, "local_accuracy").note
    assert 0.5 < value(result, "population_accuracy_ratio") < 1.5
    assert only(result, "reverse_difference").value is not None
    unlabelled = Reference(without_labels(real.train), without_labels(real.holdout))
    nothing = measure(some(real_cohort()), tmp_path, unlabelled)
    assert all(only(nothing, s.name).note.startswith("needs two") for s in ANCESTRY.submetrics)


def test_missing_alleles_unphased_and_haploid_people(tmp_path: Path) -> None:
    whole = measure(real_cohort(), tmp_path)
    real = Reference(reference().train, with_missing(reference().holdout))
    result = measure(with_missing(real_cohort()), tmp_path, real)
    for name in ("accuracy", "local_accuracy"):
        assert value(result, name) == pytest.approx(value(whole, name), abs=0.06)
    unphased = measure(replace(real_cohort(), phased=False), tmp_path)
    assert only(unphased, "local_accuracy").note == "not phased"
    assert value(unphased, "proportions_rmse") == value(whole, "proportions_rmse")
    halves = Reference(haploid(reference().train), haploid(reference().holdout))
    assert value(measure(haploid(real_cohort()), tmp_path, halves), "accuracy") > 0.7


def test_cohorts_of_other_sizes(tmp_path: Path) -> None:
    one = measure(real_cohort().select_samples(np.arange(1)), tmp_path)
    assert (
        only(one, "accuracy_ratio").note == "as many real people are too few to train a classifier"
    )
    train = reference().train
    twice = train.with_haplotypes(
        np.concatenate([train.haplotypes] * 2),
        population=np.tile(train.population, 2),
        superpopulation=np.tile(train.superpopulation, 2),
    )
    many = measure(twice, tmp_path)
    assert only(many, "accuracy_ratio").note == "120 of 240 people"
    assert value(many, "accuracy_ratio") == pytest.approx(1, abs=0.05)
    same = np.zeros_like(train.haplotypes)
    flat = measure(replace(train, haplotypes=same), tmp_path)
    assert value(flat, "accuracy") == 0.5


def test_many_people_are_drawn_and_many_sites_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("haplobench_utility.ancestry._PEOPLE", 50)
    monkeypatch.setattr("haplobench_utility.ancestry._SITES", 300)
    train, holdout = reference().train, reference().holdout
    names = np.array(["AB", "C"])
    rng = np.random.default_rng(1)
    model = train_classifier(train, {"superpopulation": names}, 10, rng)
    called = model.call(holdout, "superpopulation")
    assert called is not None
    assert model.sites.size == 300
    assert balanced_accuracy(holdout.superpopulation, called, names) > 0.8
    assert model.call(holdout, "population") is None


def test_without_training_people_nothing_stands_for_real_panels(tmp_path: Path) -> None:
    """Classifiers of the held-out people would be tested on themselves."""
    holdout = reference().holdout
    found = measure(real_cohort(), tmp_path, Reference(holdout, holdout))
    assert value(found, "accuracy") > 0.9
    for name in ("accuracy_ratio", "accuracy_real", "population_accuracy_ratio"):
        assert only(found, name).value is None
        assert "no training people" in only(found, name).note
    assert "no training people" in only(found, "reverse_difference").note
