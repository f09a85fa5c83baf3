"""run_suite with tiny plugins: records, series, and failures that cost their own cell only."""

from __future__ import annotations

import json
import math
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_runs import HARNESS, Events, bad, records_of, run, values

import haplobench
from haplobench import BenchError, Panel
from haplobench.report.model import Cell
from haplobench.report.summary import summarise
from haplobench.results.records import Record
from haplobench.results.run_folder import RunFolder
from haplobench.results.table import load_run
from haplobench.runner.progress import ProgressReporter
from haplobench.suite.load import load_suite


def test_a_run_leaves_records_series_and_a_description(
    toys: Any, suite_text: str, shared_out: Path
) -> None:
    outcome = run(
        toys,
        suite_text,
        shared_out,
        "generators=[frequency, elsewhere, conditional]",
        "metrics=all",
    )
    assert outcome.exit_code == 0
    folder = RunFolder(outcome.run_folder)
    records = folder.records()
    assert not bad(records)

    def of(generator: str, metric: str, submetric: str) -> list[Record]:
        return [
            r
            for r in records
            if (r.generator, r.metric, r.submetric) == (generator, metric, submetric)
        ]

    # Unasked: the floor and the control.
    assert {r.generator: r.role for r in records} == {
        "floor": "floor",
        "independent": "control",
        "frequency": "generator",
        "elsewhere": "generator",
        "conditional": "generator",
    }
    # As many haplotypes as are held out: 24 people, a quarter, two haplotypes each.
    assert [r.value for r in of("frequency", "spectrum", "seen")] == [12.0, 12.0]
    # Half of the held-out people for a metric whose floor is `holdout`.
    assert [r.value for r in of("floor", "spectrum", "seen")] == [6.0, 6.0]
    first, second = of("frequency", "difference", "difference")
    assert first.value != second.value  # two draws are two cohorts
    assert (first.n, first.standard_error, first.replicate) == (60, 0.1, 0)

    tables = folder.series(first)["sites"]
    assert first.value == pytest.approx(np.abs(tables["real"] - tables["synthetic"]).mean())

    # Sites of its own: refused site by site, measured otherwise.
    assert {(r.status, r.note) for r in of("elsewhere", "difference", "")} == {
        ("not-applicable", "sites differ")
    }
    assert len(of("elsewhere", "spectrum", "maf")) == 2
    # A conditional generator is asked for the held-out people's populations.
    labels = {r.labels["population"]: r.value for r in of("conditional", "people", "people")}
    assert labels == {"FIN": 3.0, "GBR": 3.0}
    # What a metric declares and doesn't report is said, not lost.
    assert {r.note for r in of("frequency", "spectrum", "unreported")} == {
        "the metric did not report it"
    }
    # Telemetry: there for cells, not for real people.
    assert all(r.value > 0 for r in of("frequency", "cost", "wall"))
    assert {r.status for r in of("floor", "cost", "")} == {"not-applicable"}

    info = folder.info()
    assert info["status"] == "complete"
    dataset = info["datasets"]["toy"]
    assert dataset["n_holdout_haplotypes"] == 12
    assert dataset["n_train_haplotypes"] == 36
    assert dataset["n_validation_haplotypes"] == 4
    assert dataset["populations"] == {"FIN": 12, "GBR": 12}
    assert dataset["skipped"]["indel"] == 3
    assert info["generators"]["elsewhere"]["site_matched"] is False
    assert info["verdict"]["version"] == 3
    told = {digest for one in info["cohorts"] for digest in one["digests"].values()}
    panels = outcome.run_folder.parent.rglob("draw*/panel.json")
    assert told <= {replace(Panel.load(path.parent)).digest for path in panels}
    assert {tuple(one["digests"]) for one in info["cohorts"]} == {("draw0", "draw1")}
    assert len(info["cohorts"]) == 4
    assert [m["name"] for m in info["metrics"]["spectrum"]["submetrics"]] == [
        "maf",
        "seen",
        "unreported",
    ]
    note = outcome.run_folder / "artifacts/toy.frequency.seed1/fit/note.txt"
    assert note.read_text() == "for the user"
    again = load_suite(outcome.run_folder / "suite.yaml", [], toys.registry())
    assert [entry.label for entry in again.generators] == [
        "independent",
        "frequency",
        "elsewhere",
        "conditional",
    ]


def test_maf_is_chosen_on_the_training_people_alone(
    toys: Any, suite_text: str, tmp_path: Path
) -> None:
    run(toys, suite_text, tmp_path, "datasets[0].filters.min_maf=0.3", "generators=[]")
    (folder,) = (tmp_path / "toy/stages/prepare").iterdir()
    train, holdout = Panel.load(folder / "train"), Panel.load(folder / "holdout")
    assert 0 < train.n_sites < 60
    assert train.maf.min() >= 0.3
    assert holdout.maf.min() < 0.3
    assert train.same_sites(holdout)
    assert not set(train.samples) & set(holdout.samples)


def test_two_fresh_runs_give_the_same_values(toys: Any, suite_text: str, tmp_path: Path) -> None:
    one = run(toys, suite_text, tmp_path / "one", "generators=[]")
    two = run(toys, suite_text, tmp_path / "two", "generators=[]", jobs=2)
    first = values(records_of(one))
    assert first == values(records_of(two))
    assert any(value[0] is not None for value in first.values())


BAD = {
    "raises-in-fit": ({"misbehave": "raise"}, "fit", "boom in fit"),
    "raises-in-sample": ({"misbehave": "raise", "where": "sample"}, "sample", "boom in sample"),
    "dies": ({"misbehave": "die"}, "fit", "SIGSEGV"),
    "exits": ({"misbehave": "exit"}, "fit", "called exit(0)"),
    "dtype": ({"misbehave": "dtype"}, "sample", "has dtype float32, expected int8"),
    "alphabet": ({"misbehave": "alphabet"}, "sample", "has allele 2, expected 0 or 1"),
    "too-few": ({"misbehave": "too few"}, "sample", "yielded 10 haplotypes in 2 batches"),
    "too-many": ({"misbehave": "too many"}, "sample", "to 14, expected 12 in all"),
    "sites": ({"misbehave": "sites"}, "sample", "has shape (8, 59), expected (haplotypes, 60)"),
    "list": ({"misbehave": "list"}, "sample", "is list, expected an int8 array"),
}


def test_bad_generators_cost_their_own_cells(toys: Any, suite_text: str, shared_out: Path) -> None:
    items = [
        {"name": "frequency", "label": label, "params": params}
        for label, (params, _, _) in BAD.items()
    ]
    outcome = run(toys, suite_text, shared_out, f"generators={json.dumps(items)}", "sample.draws=1")
    assert outcome.exit_code == 1
    assert sorted(outcome.failed) == sorted(f"toy/{label}/seed1" for label in BAD)
    records = records_of(outcome)
    failed = {r.generator: r for r in bad(records)}
    assert len(bad(records)) == len(BAD)  # one record a cell
    for label, (_, phase, says) in BAD.items():
        record = failed[label]
        assert (record.metric, record.phase, record.status) == ("", phase, "failed"), label
        assert says in record.error, label
        assert record.value is None
        assert record.wall_s is not None
    assert failed["raises-in-fit"].error_type == "ZeroDivisionError"
    assert "toy_generators.py" in failed["raises-in-fit"].error  # the traceback's last lines
    assert "generator frequency" in failed["dtype"].error
    # The others go on.
    assert {r.generator for r in records if r.status == "ok"} == {"floor", "independent"}


def test_a_site_free_generator_yields_exactly_one_panel(
    toys: Any, suite_text: str, shared_out: Path
) -> None:
    items = [
        {"name": "elsewhere", "label": how.replace(" ", "-"), "params": {"misbehave": how}}
        for how in ("too few", "twice", "nothing")
    ]
    outcome = run(toys, suite_text, shared_out, f"generators={json.dumps(items)}")
    errors = {r.generator: r.error for r in bad(records_of(outcome))}
    assert "batch 1 of sample() has 10 haplotypes, expected 12" in errors["too-few"]
    assert "batch 2 of sample() is a second Panel, expected exactly one" in errors["twice"]
    assert "yielded nothing, expected one Panel" in errors["nothing"]


def test_site_free_cohorts_are_filtered_on_their_own_maf(
    toys: Any, suite_text: str, shared_out: Path
) -> None:
    run(toys, suite_text, shared_out, "generators=[elsewhere]")
    panels = [Panel.load(path) for path in (shared_out / "toy/stages/sample").glob("*/draw0")]
    (panel,) = [panel for panel in panels if panel.positions[1] - panel.positions[0] == 10]
    assert panel.n_sites == 39  # the toy's first site has no variation
    assert panel.maf.min() >= 0.05


def test_a_hanging_generator_is_killed_at_its_limit_and_says_where_it_hung(
    toys: Any, suite_text: str, shared_out: Path
) -> None:
    outcome = run(
        toys,
        suite_text,
        shared_out,
        "generators[0].params.misbehave=hang",
        "generators[0].limits.time=2s",
    )
    (record,) = bad(records_of(outcome))
    assert (record.status, record.phase) == ("timeout", "fit")
    assert "2.0s" in record.error
    assert "in misbehave" in record.error  # the line of the plugin where it stood
    assert 2 <= (record.wall_s or 0) < 6


def test_a_generator_that_exhausts_memory_is_killed_at_its_limit(
    toys: Any, suite_text: str, shared_out: Path
) -> None:
    outcome = run(
        toys,
        suite_text,
        shared_out,
        "generators[0].params.misbehave=allocate",
        "generators[0].limits.memory=300MiB",
    )
    (record,) = bad(records_of(outcome))
    assert (record.status, record.phase) == ("memory", "fit")
    assert "past its limit of 300.0 MiB" in record.error


def test_a_metric_that_raises_costs_its_own_rows(
    toys: Any, suite_text: str, shared_out: Path
) -> None:
    outcome = run(
        toys,
        suite_text,
        shared_out,
        "metrics=[{name: spectrum, params: {misbehave: raise}}, difference]",
    )
    assert outcome.exit_code == 1
    records = records_of(outcome)
    failed = bad(records)
    assert {(r.metric, r.submetric, r.phase, r.status) for r in failed} == {
        ("spectrum", "", "measure", "failed")
    }
    assert "boom in metric" in failed[0].error
    assert "toy_metrics.py" in failed[0].error  # the last lines of the traceback
    measured = {(r.generator, r.replicate) for r in records if r.metric == "difference"}
    assert measured == {(g, d) for g in ("floor", "independent", "frequency") for d in (0, 1)}


@pytest.mark.parametrize(("how", "status"), [("hang", "timeout"), ("die", "failed")])
def test_after_a_metric_that_hangs_or_dies_the_others_are_measured(
    toys: Any, suite_text: str, shared_out: Path, how: str, status: str
) -> None:
    outcome = run(
        toys,
        suite_text,
        shared_out,
        f"metrics=[people, {{name: spectrum, params: {{misbehave: {how}}}}}, difference]",
        "limits.time=2s",
        "generators=[]",
    )
    records = records_of(outcome)
    failed = bad(records)
    assert {(r.metric, r.status) for r in failed} == {("spectrum", status)}
    # Once a cell: what hung on the first cohort isn't waited for again on the second.
    for generator in ("floor", "independent"):
        walls = [r.wall_s for r in failed if r.generator == generator]
        assert len(walls) == 2
        assert walls.count(0.0) == 1
    for metric in ("people", "difference"):
        measured = {
            (r.generator, r.replicate) for r in records if r.metric == metric and r.status == "ok"
        }
        assert measured == {(g, d) for g in ("floor", "independent") for d in (0, 1)}


def test_nan_is_a_failed_record_never_a_value(toys: Any, suite_text: str, shared_out: Path) -> None:
    outcome = run(
        toys, suite_text, shared_out, "metrics=[{name: spectrum, params: {misbehave: nan}}]"
    )
    assert outcome.exit_code == 1
    records = records_of(outcome)
    failed = bad(records)
    assert {(r.submetric, r.value) for r in failed} == {("maf", None)}
    assert "nan" in failed[0].error
    assert {r.status for r in records if r.submetric == "seen"} == {"ok"}
    assert "NaN" not in (outcome.run_folder / "records.jsonl").read_text()
    assert all(r.value is None or math.isfinite(r.value) for r in records)


def test_a_number_the_spec_does_not_know_is_refused(
    toys: Any, suite_text: str, shared_out: Path
) -> None:
    outcome = run(
        toys, suite_text, shared_out, "metrics=[{name: spectrum, params: {misbehave: undeclared}}]"
    )
    assert {"surprise" in r.error for r in bad(records_of(outcome))} == {True}


def test_unphased_panels_refuse_phased_metrics(
    toys: Any, suite_text: str, shared_out: Path
) -> None:
    outcome = run(toys, suite_text, shared_out, "datasets[0].params.phased=false", "generators=[]")
    records = records_of(outcome)
    notes = {(r.metric, r.note) for r in records if r.status == "not-applicable" and r.note}
    assert ("difference", "not phased") in notes
    assert ("spectrum", "not phased") not in notes


def test_a_dataset_to_mend_stops_the_run_with_one_line_before_any_fit(
    toys: Any, suite_text: str, tmp_path: Path
) -> None:
    with pytest.raises(BenchError) as caught:
        run(toys, suite_text, tmp_path, "datasets[0].params.broken=true")
    assert str(caught.value) == "dataset toy: toy.vcf:7: found 'x', expected a genotype"
    assert not (tmp_path / "toy/stages/fit").exists()
    assert not list((tmp_path / "toy").glob("2*"))  # no empty run is left behind


def test_all_datasets_to_mend_are_named_and_good_ones_kept(
    toys: Any, suite_text: str, tmp_path: Path
) -> None:
    more = (
        "datasets=[{name: toy, label: a, params: {broken: true}}, {name: toy, label: fine}, "
        "{name: toy, label: b, params: {broken: true}}]"
    )
    with pytest.raises(BenchError) as caught:
        run(toys, suite_text, tmp_path, more)
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["dataset a", "dataset b"]
    assert len(list((tmp_path / "toy/stages/prepare").iterdir())) == 1


def test_a_dataset_plugin_that_breaks_costs_its_own_cells(
    toys: Any, suite_text: str, shared_out: Path
) -> None:
    more = "datasets=[{name: toy, label: tiny, params: {n_sites: -1}}, {name: toy, label: fine}]"
    outcome = run(toys, suite_text, shared_out, more)
    records = records_of(outcome)
    failed = bad(records)
    assert {(r.dataset, r.phase) for r in failed} == {("tiny", "prepare")}
    assert {r.generator for r in failed} == {"floor", "independent", "frequency"}
    assert {r.dataset for r in records if r.status == "ok"} == {"fine"}


def test_an_optional_generator_that_cannot_run_is_a_stated_row(
    toys: Any, suite_text: str, shared_out: Path
) -> None:
    toys.write(
        "needy",
        """
        from haplobench import Binary, GeneratorSpec, hookimpl

        @hookimpl
        def haplobench_generators():
            return [GeneratorSpec(
                name="needy", version="1", target="toy_generators:Frequency", summary="Toy.",
                needs=(Binary("no-such-program", "apt-get install it"),),
            )]
        """,
    )
    outcome = run(
        toys,
        suite_text,
        shared_out,
        "generators=[frequency, {name: needy, optional: true}]",
        registry=toys.registry("needy"),
    )
    assert outcome.exit_code == 0
    (record,) = [r for r in records_of(outcome) if r.generator == "needy"]
    assert record.status == "not-applicable"
    assert record.note == "not available: needs program no-such-program (apt-get install it)"


def test_observers_see_stages_and_one_that_raises_is_survived(
    toys: Any, suite_text: str, shared_out: Path
) -> None:
    toys.write(
        "watcher",
        """
        from haplobench import hookimpl

        seen = []

        @hookimpl
        def haplobench_stage_finished(event):
            seen.append((event.cell, event.stage, event.status))
            if event.status == "ok":
                raise RuntimeError("observer's own trouble")
        """,
    )
    run(toys, suite_text, shared_out, "generators=[]")
    registry = toys.registry("watcher")
    new = "metrics=[{name: spectrum, params: {only_for: observers}}]"
    outcome = run(toys, suite_text, shared_out, "generators=[]", new, registry=registry)
    assert outcome.exit_code == 0
    import sys

    assert sys.modules["watcher"].seen == [
        ("toy", "prepare", "cached"),
        ("toy/floor", "measure", "ok"),
        ("toy/independent/seed1", "fit", "cached"),
        ("toy/independent/seed1", "sample", "cached"),
        ("toy/independent/seed1", "measure", "ok"),
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_results_that_cannot_be_written_are_one_line(
    toys: Any, suite_text: str, tmp_path: Path
) -> None:
    out = tmp_path / "locked"
    out.mkdir()
    out.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(BenchError, match="can't be written"):
        run(toys, suite_text, out)


def test_a_file_where_the_results_should_go_is_one_line(
    toys: Any, suite_text: str, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("not a folder")
    with pytest.raises(BenchError, match="can't be written or read: Not a directory"):
        run(toys, suite_text, tmp_path / "out")


def test_progress_of_a_plugin_reaches_the_reporter(
    toys: Any, suite_text: str, shared_out: Path
) -> None:
    told: list[tuple[str, float, str]] = []

    class Watching(ProgressReporter):
        def stage_progress(self, cell: str, stage: str, fraction: float, message: str) -> None:
            told.append((stage, fraction, message))

    run(
        toys,
        suite_text,
        shared_out,
        "generators[0].params.pause=0.5",
        reporter=Watching(),
    )
    assert ("fit", 0.5, "half way") in told


def test_a_run_needs_no_home_and_leaves_nothing_beside_its_results(
    toys: Any, suite_text: str, tmp_path: Path
) -> None:
    """As in a container with `--user` and a read-only installation; metrics' kernels apart."""
    package = Path(haplobench.__file__).parent
    before = {path for path in package.rglob("*") if "__pycache__" not in path.parts}
    settings = {"PYTHONPATH": str(toys.folder), "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/proc/0"}
    environment = {**os.environ, **settings}
    for name in ("XDG_CACHE_HOME", "NUMBA_CACHE_DIR"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", HARNESS, str(toys.suite_file(suite_text)), str(tmp_path / "out")],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert {path for path in package.rglob("*") if "__pycache__" not in path.parts} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "plugins"]


# --- the store -----------------------------------------------------------------------------------


def test_a_second_run_takes_everything_from_the_store(
    toys: Any, suite_text: str, shared_out: Path
) -> None:
    first = run(toys, suite_text, shared_out)
    events = Events()
    second = run(toys, suite_text, shared_out, reporter=events)
    assert events.ran() == set()
    assert second.run_folder != first.run_folder
    assert values(records_of(first)) == values(records_of(second))
    fresh = Events()
    run(toys, suite_text, shared_out, "generators=[]", reporter=fresh, fresh=True)
    assert fresh.ran() == {
        ("toy", "prepare"),
        ("toy/floor", "measure"),
        *(("toy/independent/seed1", stage) for stage in ("fit", "sample", "measure")),
    }


def test_mending_a_metric_measures_it_again_and_fits_nothing(
    toys: Any, suite_text: str, shared_out: Path
) -> None:
    more = ("metrics=all", "generators=[]", "floor.draws=1", "sample.draws=1")
    toys.write(
        "other_metrics",
        (toys.folder / "toy_metrics.py")
        .read_text()
        .replace("toy_metrics:", "other_metrics:")
        .replace('name="', 'name="other-'),
    )
    run(toys, suite_text, shared_out, *more, registry=toys.registry("other_metrics"))
    path = toys.folder / "other_metrics.py"
    path.write_text(path.read_text().replace("np.abs(found - real).mean()", "0.25"))
    events = Events()
    outcome = run(
        toys,
        suite_text,
        shared_out,
        *more,
        registry=toys.registry("other_metrics"),
        reporter=events,
    )
    assert {stage for _, stage in events.ran()} == {"measure"}
    records = records_of(outcome)
    found = {r.metric: r.value for r in records if r.submetric.endswith("difference")}
    assert found["other-difference"] == 0.25
    assert found["difference"] != 0.25


def test_changed_code_is_never_reused_but_comments_may_change(
    toys: Any, suite_text: str, shared_out: Path
) -> None:
    run(toys, suite_text, shared_out, "generators=[]")
    path = toys.folder / "toy_generators.py"
    path.write_text(path.read_text() + "\n# A remark.\n")
    remark = Events()
    run(toys, suite_text, shared_out, "generators=[]", reporter=remark)
    assert remark.ran() == set()
    path.write_text(path.read_text().replace("random((8,", "random((8 + 0,"))
    changed = Events()
    run(toys, suite_text, shared_out, "generators=[]", reporter=changed)
    assert ("toy/independent/seed1", "fit") in changed.ran()
    assert ("toy/floor", "measure") not in changed.ran()


def test_a_failed_cell_is_tried_again_by_the_next_run(
    toys: Any, suite_text: str, shared_out: Path
) -> None:
    broken = "generators[0].params.misbehave=raise"
    assert run(toys, suite_text, shared_out, broken).exit_code == 1
    events = Events()
    run(toys, suite_text, shared_out, broken, reporter=events)
    assert events.ran() == {("toy/frequency/seed1", "fit")}


def test_the_floor_is_as_large_as_the_cohorts_or_there_is_no_mark(
    toys: Any, suite_text: str, shared_out: Path
) -> None:
    def marks(haplotypes: int | str) -> tuple[set[float], dict[str, Any], Cell]:
        asked = [f"sample.haplotypes={haplotypes}", "metrics=[difference, spectrum]"]
        outcome = run(toys, suite_text, shared_out, *asked)
        seen = {
            record.value
            for record in records_of(outcome)
            if (record.generator, record.submetric) == ("floor", "seen")
        }
        ((label, dataset),) = summarise(load_run(outcome.run_folder)).datasets.items()
        cohort = next(c.label for c in dataset.cohorts if c.role == "generator")
        column = next(c for c in dataset.columns if c.metric == "difference")
        info = RunFolder(outcome.run_folder).info()["datasets"][label]
        return seen, info, dataset.cell(cohort, column)

    seen, info, cell = marks(4)
    assert seen == {4.0}
    assert "marks" not in info
    assert cell.value is not None
    assert cell.band
    n_train = info["n_train_haplotypes"]
    _, info, cell = marks(2 * n_train)
    assert "no mark: the cohorts have" in info["marks"]["note"]
    assert cell.value is not None
    assert (cell.band, cell.score) == ("", None)
    assert cell.mark_note == info["marks"]["note"]
