"""Panels that are to be compared: common sites, and nobody in two of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from panel_cases import REAL, SYNTHETIC, TRAIN, case

from haplobench import BenchError, Panel, RunContext
from haplobench.runner.given_panels import Panels, SiteSettings, fit_together


def test_a_cohort_with_coordinates_of_its_own_is_laid_over_the_region() -> None:
    ctx = RunContext(seed=1, artifacts=Path(), scratch=Path())
    real = replace(REAL, positions=REAL.positions + 1_000_000)
    panels = fit_together(real, SYNTHETIC, None, SiteSettings(0.0), ctx)
    assert panels.cohort.positions[0] == real.positions[0]
    assert np.array_equal(np.diff(panels.cohort.positions), np.diff(SYNTHETIC.positions))
    remark = "; ".join(panels.remarks)
    assert "0 of the 60 real sites" in remark
    assert "(20:100-6000) lie outside the real region (20:1000100-1006000)" in remark
    # Sites of its own inside the region stay where they are.
    inside = replace(SYNTHETIC, positions=real.positions + 7)
    panels = fit_together(real, inside, None, SiteSettings(0.0), ctx)
    assert np.array_equal(panels.cohort.positions, inside.positions)
    assert "moved" not in "; ".join(panels.remarks)


CTX = RunContext(seed=1, artifacts=Path(), scratch=Path())


def together(*panels: Panel | None, **settings: Any) -> Panels:
    real, synthetic, *train = panels
    assert real is not None
    assert synthetic is not None
    return fit_together(real, synthetic, *(train or [None]), SiteSettings(**settings), CTX)


def test_leaving_fixed_records_out_gives_the_same_cohort() -> None:
    real = case("ev_real")
    whole, polymorphic = case("ev_syn_collapse"), case("ev_syn_collapse_poly")
    assert (whole.n_sites, polymorphic.n_sites) == (699, 451)
    one, other = (together(real, cohort) for cohort in (whole, polymorphic))
    np.testing.assert_array_equal(one.cohort.haplotypes, other.cohort.haplotypes)
    assert "248 more lie within its region and count as fixed" in other.remarks[0]
    assert one.prepared.facts.n_sites == other.prepared.facts.n_sites


def test_a_tool_that_writes_alternate_homozygotes_lacks_reference_ones_only() -> None:
    fixed = SYNTHETIC.haplotypes.copy()
    fixed[:, [30, 50]] = 1  # kept: fixed for the alternate allele
    fixed[:, [40, 45]] = 0  # lacking
    cohort = replace(SYNTHETIC, haplotypes=fixed)
    lacking = cohort.select_sites(np.delete(np.arange(60), [40, 45]))
    assert (REAL.frequencies[[40, 45]] > 0.5).all()
    np.testing.assert_array_equal(together(REAL, lacking).cohort.haplotypes, fixed)


def test_absent_sites_are_left_out_if_asked_or_perhaps_unread() -> None:
    lacking = SYNTHETIC.select_sites(np.delete(np.arange(60), [20, 30, 40]))
    for settings in ({"absent": "leave-out"}, {"unread": 3}):
        panels = together(REAL, lacking, **settings)
        assert panels.cohort.n_sites == 57
        assert panels.prepared.facts.skipped["not in the synthetic panel"] == 3
    assert together(REAL, lacking, unread=2).cohort.n_sites == 60


def test_a_cohort_of_part_of_the_region_is_compared_there() -> None:
    part = SYNTHETIC.select_sites(np.arange(20, 40))  # a third of the real sites
    panels = together(REAL, part)
    assert panels.site_matched
    assert panels.prepared.train.span == 1901
    warning = "; ".join(panels.remarks)
    assert "covers 2,100-4,000 of the real region 100-6,000: 40 real sites outside" in warning
    assert "warning: only 20 of the 60 real sites can be compared: 40 not in the synth" in warning
    # Other sites, a third of the region: what counts per base pair counts there.
    own = replace(part, positions=part.positions + 7)
    panels = together(REAL, own, TRAIN)
    assert not panels.site_matched
    assert (panels.prepared.holdout.n_sites, panels.prepared.train.n_sites) == (19, 19)
    assert panels.prepared.facts.skipped["outside the synthetic panel's region"] == 41
    # A longer cohort is cut to the real region.
    long = replace(SYNTHETIC, positions=10 * SYNTHETIC.positions + 7)
    assert together(REAL, long).cohort.positions[-1] <= REAL.positions[-1]
    with pytest.raises(BenchError, match="covers 201 of the real region's 5,901 bp"):
        together(REAL, own.select_sites(np.arange(3)))


def test_missing_alleles_are_allowed_as_in_suites_and_few_sites_refused() -> None:
    holes = SYNTHETIC.haplotypes.copy()
    holes[0, 2:] = -1
    cohort = replace(SYNTHETIC, haplotypes=holes)
    with pytest.raises(BenchError, match=r"only 2 of the 60 .* 58 missing alleles.*--max-missing"):
        together(REAL, cohort)
    assert together(REAL, cohort, max_missing=0.05).cohort.n_sites == 60
    with pytest.raises(BenchError, match=r"only 2 of the synthetic panel's 60 sites"):
        together(REAL, replace(cohort, positions=cohort.positions + 7))
    half = SYNTHETIC.haplotypes.copy()
    half[0, 30:] = -1
    panels = together(REAL, replace(SYNTHETIC, haplotypes=half))
    assert panels.remarks[-1].startswith("warning: only 30 of the 60 real sites can be compared")


def test_panels_without_positions_are_matched_by_column() -> None:
    def numbered(panel: Panel) -> Panel:
        nothing = np.empty(0, "U1")
        return replace(
            panel, positions=np.arange(1, panel.n_sites + 1), contig="", ref=nothing, alt=nothing
        )

    panels = together(REAL, numbered(SYNTHETIC), numbered(TRAIN))
    assert panels.site_matched
    np.testing.assert_array_equal(panels.cohort.positions, REAL.positions)
    np.testing.assert_array_equal(panels.cohort.haplotypes, SYNTHETIC.haplotypes)
    np.testing.assert_array_equal(panels.prepared.train.haplotypes, TRAIN.haplotypes)
    assert together(numbered(REAL), SYNTHETIC).prepared.facts.contig == "20"
    assert together(numbered(REAL), numbered(SYNTHETIC)).cohort.n_sites == 60
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
    assert panels.cohort.n_samples == 60
    assert not any("warning" in remark for remark in panels.remarks)
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
    with pytest.raises(BenchError, match=r"60 of the 60 synthetic people are real people"):
        together(train, copycat)
    with pytest.raises(BenchError, match=r"the synthetic panel is the training panel: 60 of its"):
        together(real, train, train)
