"""Scoring panels without a generator: floors, sites, and marks."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from panel_cases import REAL, SYNTHETIC, TRAIN, case, panel
from rich.console import Console
from toy_runs import bad, records_of

from haplobench import BenchError, Panel, SuiteError
from haplobench.registry import load_registry
from haplobench.report.facts import dataset_facts
from haplobench.report.html import render_html
from haplobench.report.markdown import render_markdown
from haplobench.report.statement import make_statement, statement_facts
from haplobench.report.summary import summarise
from haplobench.report.terminal import print_summary
from haplobench.report.verdict import reach_verdicts
from haplobench.results.records import Record
from haplobench.results.run_folder import RunFolder
from haplobench.results.table import load_run
from haplobench.runner.evaluate import NEEDS_TRAIN, NOBODY_HELD_OUT, Evaluation, evaluate
from haplobench.runner.given_sites import GivenCohort, SiteSettings


def given(
    real: Panel, synthetic: Panel, *train: Panel | None, label: str = "synthetic", **more: Any
) -> Evaluation:
    return Evaluation(real, (GivenCohort(label, synthetic),), *train, **more)


def score(toys: Any, out: Path, *panels: Panel, **more: Any) -> tuple[Path, list[Record]]:
    outcome = evaluate(given(*panels, floor_draws=2, **more), toys.registry(), out)
    assert outcome.exit_code == (1 if bad(records_of(outcome)) else 0)
    return outcome.run_folder, records_of(outcome)


def found(records: list[Record], generator: str, metric: str) -> list[Record]:
    return [r for r in records if (r.generator, r.metric) == (generator, metric)]


def test_a_cohort_against_held_out_and_training_people(toys: Any, shared_out: Path) -> None:
    folder, records = score(toys, shared_out, REAL, SYNTHETIC, TRAIN, label="mine")
    assert {r.generator: r.role for r in records} == {
        "floor": "floor",
        "independent": "control",
        "mine": "generator",
    }
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
    (cohort,) = (entry for entry in info["cohorts"] if entry["generator"] == "mine")
    assert cohort["digests"] == {"draw0": SYNTHETIC.digest}


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
    with pytest.raises(BenchError, match="only 0 of the 60 real sites"):
        score(toys, shared_out, REAL, elsewhere, TRAIN, metrics=["spectrum"])
    sites = SiteSettings(own=True)
    folder, records = score(
        toys, shared_out, REAL, elsewhere, TRAIN, metrics=["difference", "spectrum"], sites=sites
    )
    assert {r.note for r in found(records, "synthetic", "difference")} == {"sites differ"}
    values = {r.submetric: r.value for r in found(records, "synthetic", "spectrum")}
    assert values["seen"] == 20.0
    assert RunFolder(folder).info()["generators"]["synthetic"]["site_matched"] is False


def test_missing_alleles_are_left_out_and_rare_sites_from_what_asks_for_the_filter(
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
        metrics=["difference", "spectrum"],
    )
    for cohort in ("synthetic", "floor"):
        assert {r.n for r in found(records, cohort, "difference")} == {57}
        assert found(records, cohort, "spectrum")[0].n == 58  # "all": what would be released
    told = RunFolder(folder).info()["datasets"]["real"]
    assert told["skipped"] == {"missing alleles in the synthetic panel": 2}
    assert (told["n_sites"], told["n_common_sites"]) == (58, 57)
    assert told["family_sites"] == {"fidelity": [57, 58]}
    facts = dict(dataset_facts(told))
    assert facts["Variant sites"] == "57, MAF ≥ 0.01 among the training people, 1 rarer"
    assert facts["Sites measured"] == "fidelity 57 or 58"
    text = io.StringIO()
    print_summary(summarise(load_run(folder)), Console(file=text, width=200))
    assert "real: sites measured: fidelity 57 or 58" in text.getvalue()


def test_panels_that_do_not_fit_together_are_one_line(toys: Any, tmp_path: Path) -> None:
    registry = toys.registry()

    def refused(*panels: Panel | None, **more: Any) -> str:
        with pytest.raises(BenchError) as caught:
            evaluate(given(*panels, **more), registry, tmp_path)
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
        evaluate(given(REAL, SYNTHETIC, metrics=("differense",)), registry, tmp_path)


def test_unphased_real_people_beside_phased_ones_are_not_phased(
    toys: Any, shared_out: Path
) -> None:
    for real, train in ((replace(REAL, phased=False), TRAIN), (REAL, replace(TRAIN, phased=False))):
        _, records = score(toys, shared_out, real, SYNTHETIC, train, metrics=["difference"])
        assert {record.note for record in records} == {"not phased"}


def test_one_person_is_no_cohort(toys: Any, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="1 synthetic people with 2 haplotypes; at least 2"):
        evaluate(given(case("ev_real"), case("rand1")), toys.registry(), tmp_path)


def marks(out: Path, *panels: Panel | None, metrics: list[str]) -> dict[tuple[str, str, str], str]:
    """Places of a cohort's numbers by metric, submetric and labels, as the report has them."""
    real, synthetic, train = panels
    assert real is not None
    assert synthetic is not None
    evaluation = given(real, synthetic, train, metrics=tuple(metrics))
    outcome = evaluate(evaluation, load_registry(), out)
    assert outcome.exit_code == 0
    (dataset,) = summarise(load_run(outcome.run_folder)).datasets.values()
    controls = ["independent", *(["copycat"] if train else [])]
    assert [cohort.label for cohort in dataset.cohorts] == ["floor", *controls, "synthetic"]
    cells = {column.key: dataset.cell("synthetic", column) for column in dataset.columns}
    return {key: cell.band for key, cell in cells.items() if cell.band}


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


@pytest.mark.parametrize(
    ("people", "sites", "answer"), [(40, 1, "can't tell"), (4, 488, "can't tell"), (40, 488, "yes")]
)
@pytest.mark.parametrize("train", ["sz_train", ""])
def test_people_are_faithful_only_where_independent_sites_would_not_be(
    people: int, sites: int, answer: str, train: str, tmp_path: Path
) -> None:
    common = np.sort(np.argsort(abs(case("sz_real").frequencies - 0.5))[:sites])

    def few(name: str) -> Panel:
        panel = case(name)
        return panel.select_sites(common).select_samples(np.arange(people))

    real, synthetic, learned = few("sz_real"), few("sz_syn40"), few(train) if train else None
    evaluation = given(real, synthetic, learned, metrics=("allele-frequency", "ld-decay"))
    outcome = evaluate(evaluation, load_registry(), tmp_path)
    (found,) = reach_verdicts(summarise(load_run(outcome.run_folder)))
    facts = dict(dataset_facts(RunFolder(outcome.run_folder).info()["datasets"]["real"]))
    assert ("for training" in facts["Haplotypes"]) == bool(train)
    rows = {row.generator: row.faithful.answer for row in found.rows}
    assert rows["synthetic"] == answer
    assert rows["independent"] in (("in part", "no") if answer == "yes" else ("in part", answer))


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
    assert list(run.cohorts) == ["floor", "independent", "synthetic"]
    (dataset,) = summarise(run).datasets.values()
    (column,) = (c for c in dataset.columns if c.metric == "difference")
    cell = dataset.cell("synthetic", column)
    assert cell.value == difference.value
    assert cell.mark_value == pytest.approx(np.mean([record.value for record in some]))
    assert "10 of the cohort's 30 people at a time, against 12 of the 12 real" in cell.mark_note
    # A cohort that a floor can be as large as needs none of it.
    folder, _ = score(toys, shared_out, REAL, SYNTHETIC, TRAIN, metrics=["difference"])
    assert "cohort_marks" not in RunFolder(folder).info()["datasets"]["real"]


def test_several_cohorts_are_rows_of_one_report_beside_controls(
    toys: Any, shared_out: Path
) -> None:
    fewer = panel(8, 5, "v").select_sites(np.delete(np.arange(60), [7]))
    cohorts = (GivenCohort("one", SYNTHETIC), GivenCohort("two", fewer))
    sites = SiteSettings(absent="leave-out")
    evaluation = Evaluation(REAL, cohorts, TRAIN, floor_draws=2, sites=sites)
    outcome = evaluate(evaluation, toys.registry(), shared_out)
    records = records_of(outcome)
    assert {r.generator: r.role for r in records} == {
        "floor": "floor",
        "independent": "control",
        "one": "generator",
        "one, 8 people at a time": "subsample",
        "two": "generator",
    }
    for label, mine in (("one", SYNTHETIC), ("two", panel(8, 5, "v"))):
        (difference,) = found(records, label, "difference")
        apart = np.delete(np.abs(REAL.frequencies - mine.frequencies), 7)
        assert difference.value == pytest.approx(float(apart.mean()))  # at what all have
    # As many as a draw of the floor has.
    (size,) = (r.value for r in found(records, "independent", "cost") if r.submetric == "size")
    assert size == 16
    told = RunFolder(outcome.run_folder).info()["datasets"]["real"]
    assert told["skipped"] == {"not in the panel two": 1}
    assert set(told["cohort_marks"]) == {"one"}
    (summary,) = summarise(load_run(outcome.run_folder)).datasets.values()
    shown = [cohort.label for cohort in summary.cohorts]
    assert shown == ["floor", "independent", "one", "two"]
    twice = (GivenCohort("one", SYNTHETIC), GivenCohort("one", fewer))
    with pytest.raises(SuiteError, match="label 'one': 2 cohorts have it"):
        evaluate(Evaluation(REAL, twice), toys.registry(), shared_out)
    mine = (GivenCohort("independent", SYNTHETIC),)
    with pytest.raises(SuiteError, match="label 'independent': it is the harness's own, a control"):
        evaluate(Evaluation(REAL, mine), toys.registry(), shared_out)


def test_who_was_trained_on_gives_no_verdict_on_privacy(toys: Any, shared_out: Path) -> None:
    folder, records = score(toys, shared_out, REAL, SYNTHETIC, trained_on_all=True)
    assert {r.note for r in found(records, "synthetic", "spectrum")} == {NOBODY_HELD_OUT}
    assert found(records, "synthetic", "difference")[0].value is not None
    (warning,) = RunFolder(folder).info()["datasets"]["real"]["warnings"]
    assert warning.startswith("no verdict on privacy: nobody is held out")
    run = load_run(folder)
    text = io.StringIO()
    print_summary(summarise(run), Console(file=text, width=400))
    page, plain = render_html(summarise(run)), render_markdown(summarise(run))
    for report in (text.getvalue(), page, plain):
        assert "no verdict on privacy: nobody is held out" in report


def test_a_cohort_of_real_haplotypes_is_not_green(toys: Any, shared_out: Path) -> None:
    order = np.random.default_rng(1).permutation(REAL.n_haplotypes)
    copies = SYNTHETIC.with_haplotypes(REAL.haplotypes[order][:20])
    folder, records = score(toys, shared_out, REAL, copies, TRAIN)
    assert {r.note for r in found(records, "synthetic", "spectrum")} == {
        "made of copies of --real people"
    }
    (summary,) = summarise(load_run(folder)).datasets.values()
    (column,) = (c for c in summary.columns if c.metric == "difference")
    cell = summary.cell("synthetic", column)
    assert (cell.state, cell.band) == ("ok", "")
    assert cell.mark_note == "no mark: made of copies of --real people"
    assert summary.cell("independent", column).band


def test_what_is_amiss_stands_under_the_verdict_and_in_the_statement(
    toys: Any, shared_out: Path
) -> None:
    order = np.random.default_rng(1).permutation(REAL.n_haplotypes)
    copies = SYNTHETIC.with_haplotypes(REAL.haplotypes[order][:20])
    folder, _ = score(toys, shared_out, REAL, copies)
    summary = summarise(load_run(folder))
    row = next(row for row in reach_verdicts(summary)[0].rows if row.role == "generator")
    facts = dict(statement_facts(make_statement(summary, row)))
    assert "haplotypes are haplotypes of --real" in " ".join(facts["Warnings"])
    text = io.StringIO()
    print_summary(summary, Console(file=text, width=80))
    shown = text.getvalue()
    assert shown.index("warning: ") < shown.index("A generator is faithful if")
