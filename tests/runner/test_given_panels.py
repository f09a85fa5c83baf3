"""Panels that are to be compared: common sites, and nobody in two of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from panel_cases import REAL, SYNTHETIC, TRAIN, case

from haplobench import BenchError, Panel, RunContext
from haplobench.runner.given_panels import Panels, fit_together, hold_out, likeness
from haplobench.runner.given_sites import GivenCohort, SiteSettings


def mine(panel: Panel, unread: int = 0) -> GivenCohort:
    return GivenCohort("mine", panel, unread)


def test_a_cohort_with_coordinates_of_its_own_is_laid_over_the_region() -> None:
    ctx = RunContext(seed=1, artifacts=Path(), scratch=Path())
    real = replace(REAL, positions=REAL.positions + 1_000_000)
    panels = fit_together(real, [mine(SYNTHETIC)], None, SiteSettings(0.0, own=True), ctx)
    assert panels.cohorts[0].panel.positions[0] == real.positions[0]
    assert np.array_equal(np.diff(panels.cohorts[0].panel.positions), np.diff(SYNTHETIC.positions))
    remark = "; ".join(panels.remarks)
    assert "0 of the 60 real sites" in remark
    assert "(20:100-6000) lie outside the real region (20:1000100-1006000)" in remark
    # Sites of its own inside the region stay where they are.
    inside = replace(SYNTHETIC, positions=real.positions + 7)
    panels = fit_together(real, [mine(inside)], None, SiteSettings(0.0, own=True), ctx)
    assert np.array_equal(panels.cohorts[0].panel.positions, inside.positions)
    assert "moved" not in "; ".join(panels.remarks)


CTX = RunContext(seed=1, artifacts=Path(), scratch=Path())


def together(*panels: Panel | None, **settings: Any) -> Panels:
    real, synthetic, *train = panels
    assert real is not None
    assert synthetic is not None
    cohort = mine(synthetic, settings.pop("unread", 0))
    return fit_together(real, [cohort], *(train or [None]), SiteSettings(**settings), CTX)


def test_leaving_fixed_records_out_gives_the_same_cohort() -> None:
    real = case("ev_real")
    whole, polymorphic = case("ev_syn_collapse"), case("ev_syn_collapse_poly")
    assert (whole.n_sites, polymorphic.n_sites) == (699, 451)
    one, other = (together(real, cohort) for cohort in (whole, polymorphic))
    np.testing.assert_array_equal(
        one.cohorts[0].panel.haplotypes, other.cohorts[0].panel.haplotypes
    )
    assert "248 more lie within its region and count as fixed" in other.remarks[0]
    assert one.prepared.facts.n_sites == other.prepared.facts.n_sites


def test_a_tool_that_writes_alternate_homozygotes_lacks_reference_ones_only() -> None:
    fixed = SYNTHETIC.haplotypes.copy()
    fixed[:, [30, 50]] = 1  # kept: fixed for the alternate allele
    fixed[:, [40, 45]] = 0  # lacking
    cohort = replace(SYNTHETIC, haplotypes=fixed)
    lacking = cohort.select_sites(np.delete(np.arange(60), [40, 45]))
    assert (REAL.frequencies[[40, 45]] > 0.5).all()
    np.testing.assert_array_equal(together(REAL, lacking).cohorts[0].panel.haplotypes, fixed)


def test_absent_sites_are_left_out_if_asked_or_perhaps_unread() -> None:
    lacking = SYNTHETIC.select_sites(np.delete(np.arange(60), [20, 30, 40]))
    for settings in ({"absent": "leave-out"}, {"unread": 3}):
        panels = together(REAL, lacking, **settings)
        assert panels.cohorts[0].panel.n_sites == 57
        assert panels.prepared.facts.skipped["not in the synthetic panel"] == 3
    assert together(REAL, lacking, unread=2).cohorts[0].panel.n_sites == 60


def test_a_cohort_of_part_of_the_region_is_compared_there() -> None:
    part = SYNTHETIC.select_sites(np.arange(20, 40))  # a third of the real sites
    panels = together(REAL, part)
    assert panels.cohorts[0].site_matched
    assert panels.prepared.train.span == 1901
    warning = "; ".join(panels.remarks + panels.warnings)
    assert "covers 2,100-4,000 of the real region 100-6,000: 40 real sites outside" in warning
    assert "only 20 of the 60 real sites can be compared: 40 not in the synth" in warning
    # Other sites, a third of the region: what counts per base pair counts there.
    own = replace(part, positions=part.positions + 7)
    panels = together(REAL, own, TRAIN, own=True)
    assert not panels.cohorts[0].site_matched
    assert (panels.prepared.holdout.n_sites, panels.prepared.train.n_sites) == (19, 19)
    assert panels.prepared.facts.skipped["outside the region of the synthetic panel"] == 41
    # A longer cohort is cut to the real region.
    long = replace(SYNTHETIC, positions=10 * SYNTHETIC.positions + 7)
    assert together(REAL, long, own=True).cohorts[0].panel.positions[-1] <= REAL.positions[-1]
    with pytest.raises(BenchError, match="covers 201 of the real region's 5,901 bp"):
        together(REAL, own.select_sites(np.arange(3)), own=True)


def test_missing_alleles_are_allowed_as_in_suites_and_few_sites_refused() -> None:
    holes = SYNTHETIC.haplotypes.copy()
    holes[0, 2:] = -1
    cohort = replace(SYNTHETIC, haplotypes=holes)
    with pytest.raises(BenchError, match=r"only 2 of the 60 .* 58 missing alleles.*--max-missing"):
        together(REAL, cohort)
    assert together(REAL, cohort, max_missing=0.05).cohorts[0].panel.n_sites == 60
    with pytest.raises(BenchError, match=r"only 2 of the synthetic panel's 60 sites"):
        together(REAL, replace(cohort, positions=cohort.positions + 7), own=True)
    half = SYNTHETIC.haplotypes.copy()
    half[0, 30:] = -1
    panels = together(REAL, replace(SYNTHETIC, haplotypes=half))
    assert panels.warnings[-1].startswith("only 30 of the 60 real sites can be compared")


def test_panels_without_positions_are_matched_by_column() -> None:
    def numbered(panel: Panel) -> Panel:
        nothing = np.empty(0, "U1")
        return replace(
            panel, positions=np.arange(1, panel.n_sites + 1), contig="", ref=nothing, alt=nothing
        )

    panels = together(REAL, numbered(SYNTHETIC), numbered(TRAIN))
    assert panels.cohorts[0].site_matched
    np.testing.assert_array_equal(panels.cohorts[0].panel.positions, REAL.positions)
    np.testing.assert_array_equal(panels.cohorts[0].panel.haplotypes, SYNTHETIC.haplotypes)
    np.testing.assert_array_equal(panels.prepared.train.haplotypes, TRAIN.haplotypes)
    assert together(numbered(REAL), SYNTHETIC).prepared.facts.contig == "20"
    assert together(numbered(REAL), numbered(SYNTHETIC)).cohorts[0].panel.n_sites == 60
    fewer = numbered(SYNTHETIC.select_sites(np.arange(59)))
    with pytest.raises(BenchError, match=r"59 columns, the real panel 60 sites.*\.legend"):
        together(REAL, fewer)
    with pytest.raises(BenchError, match=r"59 columns, the real panel 60 sites"):
        together(numbered(REAL), fewer)


def named(people: Panel, names: str) -> Panel:
    return replace(people, samples=np.array([names.format(name) for name in people.samples]))


def test_the_same_people_are_refused_and_copies_under_new_names_scored() -> None:
    real, train = case("ev_real"), case("ev_train")
    copycat = named(train, "syn_{}x")
    panels = together(real, copycat, train)
    assert panels.cohorts[0].panel.n_samples == 60
    assert not panels.warnings
    with pytest.raises(BenchError, match=r"60 people are in the real and in the training panel"):
        together(named(train, "{0}_{0}"), copycat, train)
    some = np.arange(48)
    mixed = replace(
        real.select_samples(np.arange(12)),
        haplotypes=np.concatenate([train.haplotypes[:96], real.haplotypes[:24]]),
        samples=np.array([f"line/{i}" for i in range(60)]),
        population=np.empty(0, "U1"),
        superpopulation=np.empty(0, "U1"),
        family=np.empty(0, "U1"),
    )
    with pytest.raises(BenchError, match=r"line/0 \(T000 there\) among them \(\d\d of the 60 real"):
        together(mixed, copycat, train.select_samples(some))
    panels = together(train, copycat)
    assert panels.warnings[0] == "60 of the cohort's 60 people are people of --real"
    (said,) = (text for text in panels.remarks if "these people of --real are in it" in text)
    assert "in it: syn_T000x (T000 there), " in said
    assert said.endswith("syn_T004x (T004 there) and 55 more")
    assert panels.cohorts[0].doubt == "made of copies of --real people"
    with pytest.raises(BenchError, match=r"the synthetic panel is the training panel: 60 of its"):
        together(real, train, train)


def turned(panel: Panel, sites: np.ndarray) -> Panel:
    """A panel with the other strand's bases at some sites: A and C become T and G."""
    ref, alt = panel.ref.copy(), panel.alt.copy()
    ref[sites], alt[sites] = "T", "G"
    return replace(panel, ref=ref, alt=alt)


def test_a_cohort_of_other_sites_is_refused_and_told_why() -> None:
    def refused(cohort: Panel, real: Panel = REAL) -> str:
        with pytest.raises(BenchError, match="only .* of the 60 real sites") as caught:
            together(real, cohort)
        assert "--own-sites" in caught.value.hint
        return str(caught.value)

    irregular = np.cumsum(np.random.default_rng(1).integers(1, 300, 60))
    real = replace(REAL, positions=irregular, build="GRCh37")
    assert "they are of contig 21, the real ones of 20" in refused(replace(SYNTHETIC, contig="21"))
    other = replace(SYNTHETIC, positions=irregular + 19_359, build="GRCh38")
    assert "its file says GRCh38, the real one's GRCh37" in refused(other, real)
    unstated = replace(other, build="")
    assert "real ones moved by 19,359 bp, as between builds" in refused(unstated, real)
    strand = turned(SYNTHETIC, np.arange(2, 60))
    assert "at 58 of 60 common positions its alleles are the other strand's" in refused(strand)
    far = replace(SYNTHETIC, positions=np.arange(1, 61) * 97 + 1_000_000)
    assert "they lie at 20:1,000,097-1,005,820, the real ones at 100-6,000" in refused(far)
    # A simulator's, by alleles that are no bases.
    plain = np.full(60, "0"), np.full(60, "1")
    binary = replace(SYNTHETIC, positions=irregular, contig="1", ref=plain[0], alt=plain[1])
    assert not together(REAL, binary).cohorts[0].site_matched


def test_some_sites_of_the_other_strand_and_another_stated_build_are_said() -> None:
    panels = together(replace(REAL, build="GRCh37"), replace(SYNTHETIC, build="GRCh38"))
    assert panels.warnings == ("its file says GRCh38, the real one's GRCh37, yet positions agree",)
    panels = together(REAL, turned(SYNTHETIC, np.arange(5)))
    assert panels.warnings == (
        "at 5 of 60 common positions its alleles are the other strand's (of A/T and C/G sites, 0, "
        "the strand can't be told)",
    )


def test_alleles_that_seem_exchanged_are_warned_of() -> None:
    for sites, n in ((np.arange(60), 60), (np.arange(0, 60, 4), 15)):
        haplotypes = np.zeros_like(SYNTHETIC.haplotypes)  # nobody carries the alternate alleles
        real = REAL.with_haplotypes(np.zeros_like(REAL.haplotypes))
        haplotypes[:, sites] = 1
        (text,) = together(real, SYNTHETIC.with_haplotypes(haplotypes), min_maf=0.0).warnings
        assert text.startswith(f"at {n} of 60 sites its frequencies are rather those of the other")
    assert not together(REAL, SYNTHETIC).warnings


def test_people_who_are_in_a_panel_twice_are_warned_of() -> None:
    real, cohort, train = case("sz_real"), case("sz_syn40"), case("sz_train")

    def twice(panel: Panel, n: int) -> Panel:
        samples = np.array([*panel.samples, *(f"again{i}" for i in range(n))])
        rows = np.concatenate([panel.haplotypes, panel.haplotypes[: 2 * n]])
        nobody = np.full(samples.size, "")
        return panel.with_haplotypes(
            rows, samples=samples, population=nobody, superpopulation=nobody
        )

    assert not together(real, cohort, train).warnings
    for learned in (train, None):
        (text,) = together(twice(real, 10), cohort, learned).warnings
        assert text.startswith(
            f"10 pairs of real people have the same genotypes, {real.samples[0]} and again0 among"
        )
    (text,) = together(real, cohort, twice(train, 80)).warnings
    assert "pairs of training people have the same genotypes" in text


def test_sites_that_only_training_people_have_are_warned_of() -> None:
    """A file of real people without the sites at which none of them differs hides leaks."""
    varies = np.arange(60) % 4 != 0
    fitted = together(REAL.select_sites(varies), SYNTHETIC, TRAIN)
    assert any(
        line.startswith("15 of the training panel's 60 sites are not in the real one")
        for line in fitted.warnings
    ), fitted.warnings
    assert not any(
        "not in the real one" in line for line in together(REAL, SYNTHETIC, TRAIN).warnings
    )


EVALUATED, EVALUATED_TRAIN = case("ev_real"), case("ev_train")


def cohort(rows: np.ndarray) -> Panel:
    return EVALUATED.with_haplotypes(np.ascontiguousarray(rows))


def independent() -> np.ndarray:
    """Forty people's haplotypes by allele frequencies alone."""
    shape = (80, EVALUATED.n_sites)
    return (np.random.default_rng(1).random(shape) < EVALUATED.frequencies).astype(np.int8)


def test_strangers_raise_no_doubt_and_are_counted() -> None:
    found = likeness(cohort(independent()), EVALUATED, EVALUATED_TRAIN, seed=1)
    assert found.warnings == ()
    assert found.doubt == ""
    assert "have a real person's genotypes at every site" in found.remark


def test_one_real_person_is_named_and_leaves_the_others_to_be_judged() -> None:
    rows = independent()
    rows[[0, 1]] = EVALUATED.haplotypes[[6, 7]]
    found = likeness(cohort(rows), EVALUATED, EVALUATED_TRAIN, seed=1)
    n = rows.shape[0] // 2
    name = EVALUATED.samples[3]
    assert found.warnings == (
        f"1 of the cohort's {n} people are people of --real; in so short a region strangers may be "
        "as alike",
    )
    assert found.remark.endswith(f"these people of --real are in it: synthetic1 ({name} there)")
    assert found.doubt == found.exposed == ""


def test_a_few_people_of_real_who_are_no_chance_raise_the_question_of_an_exchange() -> None:
    rng = np.random.default_rng(2)
    real, train = (
        EVALUATED.with_haplotypes((rng.random(EVALUATED.haplotypes.shape) < 0.3).astype(np.int8))
        for _ in range(2)
    )
    rows = (rng.random((80, EVALUATED.n_sites)) < 0.3).astype(np.int8)
    rows[[0, 1]] = real.haplotypes[[6, 7]]
    found = likeness(cohort(rows), real, train, seed=1)
    (warning,) = found.warnings
    assert warning == (
        "1 of the cohort's 40 people are people of --real; perhaps --real and --train are "
        "exchanged, or the generator has seen --real"
    )
    assert found.exposed == "people of --real are in it: 1"


def test_all_real_haplotypes_dealt_anew_are_said_loudly() -> None:
    rows = EVALUATED.haplotypes[np.random.default_rng(1).permutation(EVALUATED.n_haplotypes)]
    for train in (EVALUATED_TRAIN, None):
        found = likeness(cohort(rows), EVALUATED, train, seed=1)
        n = EVALUATED.n_haplotypes
        said = f"{n} of the cohort's {n} haplotypes are haplotypes of --real, many more than of"
        assert any(warning.startswith(said) for warning in found.warnings)
        assert found.doubt == "made of copies of --real people"


def test_exchanged_panels_are_noticed_where_nobody_is_copied_whole() -> None:
    rng = np.random.default_rng(1)
    half = EVALUATED_TRAIN.n_sites // 2
    mixed = EVALUATED_TRAIN.haplotypes.copy()
    mixed[:, half:] = mixed[rng.permutation(mixed.shape[0]), half:]
    mine = EVALUATED_TRAIN.with_haplotypes(mixed)
    assert likeness(mine, EVALUATED, EVALUATED_TRAIN, seed=1).warnings == ()
    found = likeness(mine, EVALUATED_TRAIN, EVALUATED, seed=1)
    assert "the cohort is nearer to --real than to --train" in found.warnings[-1]
    assert "perhaps --real and --train are exchanged" in found.warnings[-1]
    assert found.doubt == "nearer to --real than to --train"


def test_who_is_held_out_depends_on_names_and_seed_and_not_on_the_order() -> None:
    train, held = hold_out(EVALUATED, 0.2, 1)
    assert (train.n_samples, held.n_samples) == (32, 8)
    turned = EVALUATED.select_samples(np.arange(EVALUATED.n_samples)[::-1])
    again = hold_out(turned, 0.2, 1)[1]
    assert sorted(again.samples) == sorted(held.samples)
    assert sorted(hold_out(EVALUATED, 0.2, 2)[1].samples) != sorted(held.samples)
    listed = hold_out(EVALUATED, np.array([3, 5, 7]), 1)[1]
    assert listed.samples.tolist() == EVALUATED.samples[[3, 5, 7]].tolist()


def test_relatives_are_held_out_together() -> None:
    rows = EVALUATED.haplotypes.copy()
    rows[2::4] = rows[0::4]  # pairs of people who share a haplotype, and more
    rows[3::4] = rows[1::4]
    twins = replace(EVALUATED, haplotypes=rows)
    _, held = hold_out(twins, 0.2, 1)
    places = {int(np.flatnonzero(EVALUATED.samples == name)[0]) // 2 for name in held.samples}
    assert held.n_samples == 2 * len(places)
