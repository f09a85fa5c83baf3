"""Scoring panels without a generator: floors, sites, and what can't be compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_run_suite import bad, records_of

from haplobench import BenchError, Panel, RunContext, SuiteError
from haplobench.data.formats import ReadOptions, read_panel
from haplobench.registry import load_registry
from haplobench.report.summary import summarise
from haplobench.results.records import Record
from haplobench.results.run_folder import RunFolder
from haplobench.results.table import load_run
from haplobench.runner.evaluate import NEEDS_TRAIN, Evaluation, evaluate
from haplobench.runner.given_panels import Panels, SiteSettings, fit_together


def panel(n: int, seed: int, prefix: str = "p", n_sites: int = 60, **more: Any) -> Panel:
    rng = np.random.default_rng(seed)
    rows = (rng.random((2 * n, n_sites)) < np.linspace(0.2, 0.8, n_sites)).astype(np.int8)
    return Panel(
        rows,
        100 * np.arange(1, n_sites + 1),
        "20",
        np.array([f"{prefix}{i}" for i in range(n)]),
        ref=np.full(n_sites, "A"),
        alt=np.full(n_sites, "C"),
        **more,
    )


CASES = Path(__file__).parent / "cases"


def case(name: str) -> Panel:
    """A small panel that once failed, from `cases/`: simulated with msprime, two populations."""
    read, _ = read_panel(CASES / f"{name}.vcf.gz", ReadOptions(max_missing=1.0))
    return read


REAL, TRAIN, SYNTHETIC = panel(12, 1, "r"), panel(20, 2, "t"), panel(10, 3, "s")


def score(toys: Any, out: Path, *panels: Panel | None, **more: Any) -> tuple[Path, list[Record]]:
    outcome = evaluate(Evaluation(*panels, floor_draws=2, **more), toys.registry(), out)
    assert outcome.exit_code == (1 if bad(records_of(outcome)) else 0)
    return outcome.run_folder, records_of(outcome)


def found(records: list[Record], generator: str, metric: str) -> list[Record]:
    return [r for r in records if (r.generator, r.metric) == (generator, metric)]


def test_a_cohort_against_held_out_and_training_people(toys: Any, shared_out: Path) -> None:
    folder, records = score(toys, shared_out, REAL, SYNTHETIC, TRAIN, label="mine")
    assert {r.generator: r.role for r in records} == {"floor": "floor", "mine": "generator"}
    (difference,) = found(records, "mine", "difference")
    expected = np.abs(REAL.frequencies - SYNTHETIC.frequencies).mean()
    assert difference.value == pytest.approx(float(expected))
    assert RunFolder(folder).series(difference)["sites"]["real"].shape == (60,)
    # The floor as in a suite: training people against the held-out, or halves of these.
    assert [r.value for r in found(records, "floor", "spectrum") if r.submetric == "seen"] == [
        12.0,
        12.0,
    ]
    assert len(found(records, "floor", "difference")) == 2
    assert {r.note for r in found(records, "mine", "cost")} == {"nothing was fitted or sampled"}
    info = RunFolder(folder).info()
    assert info["generators"]["mine"]["site_matched"] is True
    assert info["datasets"]["real"]["n_train_haplotypes"] == 40
    assert info["status"] == "complete"


def test_without_training_people_what_needs_them_says_so(toys: Any, shared_out: Path) -> None:
    _, records = score(toys, shared_out, REAL, SYNTHETIC)
    for generator in ("floor", "synthetic"):
        assert {r.note for r in found(records, generator, "spectrum")} == {NEEDS_TRAIN}
    floor = found(records, "floor", "difference")
    assert len(floor) == 2
    assert floor[0].value != floor[1].value  # halves drawn anew


def test_common_sites_are_compared_and_the_others_counted(toys: Any, shared_out: Path) -> None:
    fewer = SYNTHETIC.select_sites(np.arange(5, 60))
    turned = replace(
        fewer,
        haplotypes=(1 - fewer.haplotypes).astype(np.int8),
        ref=fewer.alt,
        alt=fewer.ref,
        contig="chr20",
    )
    folder, records = score(toys, shared_out, REAL, turned, TRAIN, metrics=["difference"])
    (difference,) = found(records, "synthetic", "difference")
    expected = np.abs(REAL.frequencies - SYNTHETIC.frequencies)[5:].mean()
    assert difference.value == pytest.approx(float(expected))
    assert RunFolder(folder).info()["datasets"]["real"]["skipped"] == {
        "not in the synthetic panel": 5
    }


def test_other_sites_refuse_what_compares_site_by_site(toys: Any, shared_out: Path) -> None:
    elsewhere = replace(SYNTHETIC, positions=SYNTHETIC.positions + 7)
    folder, records = score(
        toys, shared_out, REAL, elsewhere, TRAIN, metrics=["difference", "spectrum"]
    )
    assert {r.note for r in found(records, "synthetic", "difference")} == {"sites differ"}
    values = {r.submetric: r.value for r in found(records, "synthetic", "spectrum")}
    assert values["seen"] == 20.0
    assert RunFolder(folder).info()["generators"]["synthetic"]["site_matched"] is False


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


def test_missing_alleles_and_rare_sites_are_left_out_and_counted(
    toys: Any, shared_out: Path
) -> None:
    holes = SYNTHETIC.haplotypes.copy()
    holes[3, [4, 9]] = -1
    rare = TRAIN.haplotypes.copy()
    rare[:, 20] = 0
    folder, records = score(
        toys,
        shared_out,
        REAL,
        replace(SYNTHETIC, haplotypes=holes),
        replace(TRAIN, haplotypes=rare),
        metrics=["difference"],
    )
    assert found(records, "synthetic", "difference")[0].n == 57
    assert RunFolder(folder).info()["datasets"]["real"]["skipped"] == {
        "missing alleles in the synthetic panel": 2,
        "MAF below 0.01": 1,
    }


def test_panels_that_do_not_fit_together_are_one_line(toys: Any, tmp_path: Path) -> None:
    registry = toys.registry()

    def refused(*panels: Panel | None, **more: Any) -> str:
        with pytest.raises(BenchError) as caught:
            evaluate(Evaluation(*panels, **more), registry, tmp_path)
        return str(caught.value)

    haploid = replace(
        SYNTHETIC,
        ploidy=1,
        samples=np.arange(20).astype(str),
        population=np.empty(0, "U1"),
        superpopulation=np.empty(0, "U1"),
        family=np.empty(0, "U1"),
    )
    assert "ploidy is 1, the real one's 2" in refused(REAL, haploid)
    moved = replace(TRAIN, positions=TRAIN.positions + 7)
    assert "only 0 of the training panel's 60 sites" in refused(REAL, SYNTHETIC, moved)
    mixed = Panel(
        np.concatenate([TRAIN.haplotypes, REAL.haplotypes[:4]]),
        TRAIN.positions,
        "20",
        np.concatenate([TRAIN.samples, REAL.samples[:2]]),
        ref=TRAIN.ref,
        alt=TRAIN.alt,
    )
    assert "2 people are in the real and in the training panel, r0" in refused(
        REAL, SYNTHETIC, mixed
    )
    # The same names with other genomes are other people (files without names number them).
    assert "at least 4 are needed" in refused(panel(3, 9), SYNTHETIC)
    with pytest.raises(SuiteError, match="did you mean difference"):
        evaluate(Evaluation(REAL, SYNTHETIC, metrics=("differense",)), registry, tmp_path)


# --- sites: absent, missing, elsewhere ------------------------------------------------------------

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


def test_unphased_real_people_beside_phased_ones_are_not_phased(
    toys: Any, shared_out: Path
) -> None:
    for real, train in ((replace(REAL, phased=False), TRAIN), (REAL, replace(TRAIN, phased=False))):
        _, records = score(toys, shared_out, real, SYNTHETIC, train, metrics=["difference"])
        assert {record.note for record in records} == {"not phased"}


def test_one_person_is_no_cohort(toys: Any, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="1 synthetic people with 2 haplotypes; at least 2"):
        evaluate(Evaluation(case("ev_real"), case("rand1")), toys.registry(), tmp_path)


# --- people -------------------------------------------------------------------------------------


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


# --- marks --------------------------------------------------------------------------------------


def marks(out: Path, *panels: Panel | None, metrics: list[str]) -> dict[tuple[str, str, str], str]:
    """Places of a cohort's numbers by metric, submetric and labels, as the report has them."""
    outcome = evaluate(Evaluation(*panels, tuple(metrics)), load_registry(), out)
    assert outcome.exit_code == 0
    (dataset,) = summarise(load_run(outcome.run_folder)).datasets.values()
    assert [cohort.label for cohort in dataset.cohorts] == ["floor", "synthetic"]
    cells = {column.key: dataset.cell("synthetic", column) for column in dataset.columns}
    return {key: cell.place for key, cell in cells.items() if cell.place}


FIDELITY = ["allele-frequency", "allele-frequency-spectrum", "haplotype-words", "ld-decay"]


@pytest.mark.parametrize(
    ("cohort", "train"), [("sz_syn6", "sz_train"), ("sz_syn40", "sz_train"), ("sz_syn40", "")]
)
def test_real_people_are_within_the_floor_whatever_their_number(
    cohort: str, train: str, tmp_path: Path
) -> None:
    learned = case(train) if train else None
    places = marks(tmp_path, case("sz_real"), case(cohort), learned, metrics=FIDELITY)
    values = list(places.values())
    assert len(values) > 20
    assert values.count("within") >= 0.9 * len(values), places
    assert not {"better", "far"} & set(values), places


def test_a_cohort_too_large_for_a_floor_is_marked_some_people_at_a_time(
    toys: Any, shared_out: Path
) -> None:
    big = panel(30, 4, "s")
    folder, records = score(toys, shared_out, REAL, big, TRAIN, metrics=["difference"])
    (difference,) = found(records, "synthetic", "difference")
    expected = np.abs(REAL.frequencies - big.frequencies).mean()
    assert difference.value == pytest.approx(float(expected))  # the number is of everybody
    some = found(records, "synthetic, 10 people at a time", "difference")
    assert [record.role for record in some] == ["subsample"] * 2
    run = load_run(folder)
    assert list(run.cohorts) == ["floor", "synthetic"]
    (dataset,) = summarise(run).datasets.values()
    (column,) = (c for c in dataset.columns if c.metric == "difference")
    cell = dataset.cell("synthetic", column)
    assert cell.value == difference.value
    assert cell.mark_value == pytest.approx(np.mean([record.value for record in some]))
    assert "10 of the cohort's 30 people at a time, against 12 of the 12 real" in cell.mark_note
    # A cohort that a floor can be as large as needs none of it.
    folder, _ = score(toys, shared_out, REAL, SYNTHETIC, TRAIN, metrics=["difference"])
    assert "marks" not in RunFolder(folder).info()["datasets"]["real"]
