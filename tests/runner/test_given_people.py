"""Whose people a cohort's are, and who is held out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from panel_cases import case

from haplobench import Panel
from haplobench.runner.given_people import hold_out, likeness

REAL, TRAIN = case("ev_real"), case("ev_train")


def cohort(rows: np.ndarray) -> Panel:
    return REAL.with_haplotypes(np.ascontiguousarray(rows))


def independent() -> np.ndarray:
    """Forty people's haplotypes by allele frequencies alone."""
    shape = (80, REAL.n_sites)
    return (np.random.default_rng(1).random(shape) < REAL.frequencies).astype(np.int8)


def test_strangers_raise_no_doubt_and_are_counted() -> None:
    found = likeness(cohort(independent()), REAL, TRAIN, seed=1)
    assert found.warnings == ()
    assert found.doubt == ""
    assert "have a real person's genotypes at every site" in found.remark


def test_one_real_person_is_named_and_leaves_the_others_to_be_judged() -> None:
    rows = independent()
    rows[[0, 1]] = REAL.haplotypes[[6, 7]]
    found = likeness(cohort(rows), REAL, TRAIN, seed=1)
    n = rows.shape[0] // 2
    name = REAL.samples[3]
    assert found.warnings == (
        f"1 of the cohort's {n} people are people of --real; in so short a region strangers may be "
        "as alike",
    )
    assert found.remark.endswith(f"these people of --real are in it: synthetic1 ({name} there)")
    assert found.doubt == found.exposed == ""


def test_a_few_people_of_real_who_are_no_chance_raise_the_question_of_an_exchange() -> None:
    rng = np.random.default_rng(2)
    real, train = (
        REAL.with_haplotypes((rng.random(REAL.haplotypes.shape) < 0.3).astype(np.int8))
        for _ in range(2)
    )
    rows = (rng.random((80, REAL.n_sites)) < 0.3).astype(np.int8)
    rows[[0, 1]] = real.haplotypes[[6, 7]]
    found = likeness(cohort(rows), real, train, seed=1)
    (warning,) = found.warnings
    assert warning == (
        "1 of the cohort's 40 people are people of --real; perhaps --real and --train are "
        "exchanged, or the generator has seen --real"
    )
    assert found.exposed == "people of --real are in it: 1"


def test_all_real_haplotypes_dealt_anew_are_said_loudly() -> None:
    rows = REAL.haplotypes[np.random.default_rng(1).permutation(REAL.n_haplotypes)]
    for train in (TRAIN, None):
        found = likeness(cohort(rows), REAL, train, seed=1)
        n = REAL.n_haplotypes
        said = f"{n} of the cohort's {n} haplotypes are haplotypes of --real, many more than of"
        assert any(warning.startswith(said) for warning in found.warnings)
        assert found.doubt == "made of copies of --real people"


def test_exchanged_panels_are_noticed_where_nobody_is_copied_whole() -> None:
    rng = np.random.default_rng(1)
    half = TRAIN.n_sites // 2
    mixed = TRAIN.haplotypes.copy()
    mixed[:, half:] = mixed[rng.permutation(mixed.shape[0]), half:]
    mine = TRAIN.with_haplotypes(mixed)
    assert likeness(mine, REAL, TRAIN, seed=1).warnings == ()
    found = likeness(mine, TRAIN, REAL, seed=1)
    assert "the cohort is nearer to --real than to --train" in found.warnings[-1]
    assert "perhaps --real and --train are exchanged" in found.warnings[-1]
    assert found.doubt == "nearer to --real than to --train"


def test_who_is_held_out_depends_on_names_and_seed_and_not_on_the_order() -> None:
    train, held = hold_out(REAL, 0.2, 1)
    assert (train.n_samples, held.n_samples) == (32, 8)
    turned = REAL.select_samples(np.arange(REAL.n_samples)[::-1])
    again = hold_out(turned, 0.2, 1)[1]
    assert sorted(again.samples) == sorted(held.samples)
    assert sorted(hold_out(REAL, 0.2, 2)[1].samples) != sorted(held.samples)
    listed = hold_out(REAL, np.array([3, 5, 7]), 1)[1]
    assert listed.samples.tolist() == REAL.samples[[3, 5, 7]].tolist()


def test_relatives_are_held_out_together() -> None:
    rows = REAL.haplotypes.copy()
    rows[2::4] = rows[0::4]  # pairs of people who share a haplotype, and more
    rows[3::4] = rows[1::4]
    twins = replace(REAL, haplotypes=rows)
    _, held = hold_out(twins, 0.2, 1)
    places = {int(np.flatnonzero(REAL.samples == name)[0]) // 2 for name in held.samples}
    assert held.n_samples == 2 * len(places)
