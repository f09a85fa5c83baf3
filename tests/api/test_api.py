"""The Python API: the command line's numbers, and what a notebook shows."""

from __future__ import annotations

import html
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import haplobench
from haplobench import BenchError, Panel, Result
from haplobench.cli import main
from haplobench.data.formats import write_panel
from haplobench.results.records import Record
from haplobench.testing import example_panel

FIXTURES = Path(__file__).parents[1] / "compare" / "fixtures"

METRICS = ("allele-frequency", "nearest-neighbours")


def numbers(result: Result) -> dict[tuple[Any, ...], str]:
    """Every number as its bytes, by what it is of."""
    return {
        (r.generator, r.replicate, r.metric, r.submetric, str(r.labels)): f"{r.value!r} {r.status}"
        for r in result.run.records
        if r.family != "performance"
    }


def panels(folder: Path) -> dict[str, Path]:
    panel = example_panel(60, n_sites=80, populations=("FIN", "YRI"))
    rng = np.random.default_rng(1)
    synthetic = (rng.random((40, 80)) < panel.frequencies).astype(np.int8)
    made = {
        "real": panel.select_samples(np.arange(20)),
        "train": panel.select_samples(np.arange(20, 60)),
        "synthetic": panel.with_haplotypes(synthetic),
    }
    # A site that only the cohort's file lacks, beside a record that is left out on reading.
    made["synthetic"] = made["synthetic"].select_sites(np.arange(80) != 7)
    paths = {name: folder / f"{name}.vcf" for name in made}
    for name, path in paths.items():
        write_panel(made[name], path)
    with paths["synthetic"].open("a") as out:
        last = int(panel.positions[-1]) + 50
        out.write(f"20\t{last}\t.\tA\tC,G\t.\tPASS\t.\tGT" + "\t0|1" * 20 + "\n")
    return paths


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Path], Path, Result]:
    folder = tmp_path_factory.mktemp("api")
    paths = panels(folder)
    result = haplobench.evaluate(
        paths["real"], paths["synthetic"], train=paths["train"], metrics=METRICS,
        out=folder / "paths",
    )  # fmt: skip
    return paths, folder, result


@pytest.mark.slow
def test_the_command_line_and_a_notebook_give_the_same_bytes(
    scored: tuple[dict[str, Path], Path, Result],
) -> None:
    paths, folder, result = scored
    options = [part for name in METRICS for part in ("--metric", name)]
    files = [part for name, path in paths.items() for part in (f"--{name}", str(path))]
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", *files, *options, "--out", str(folder / "command")])
    assert not stop.value.code
    command = haplobench.load_run("evaluate", folder / "command")
    assert numbers(command) == numbers(result)
    assert len(numbers(result)) > 100
    # Panels in memory know what their files held beside them, which says what an absent site is.
    read = {name: haplobench.read_panel(path) for name, path in paths.items()}
    assert read["synthetic"].left_out == {"multi-allelic": 1}
    held = haplobench.evaluate(
        read["real"], read["synthetic"], train=read["train"], metrics=METRICS,
        dataset="real.vcf", out=folder / "panels",
    )  # fmt: skip
    assert numbers(held) == numbers(result)


def test_records_of_an_older_run_have_the_columns_of_todays(tmp_path: Path) -> None:
    older = FIXTURES / "records-schema1.jsonl"
    (tmp_path / "records.jsonl").write_bytes(older.read_bytes())
    table = haplobench.load_run(tmp_path).to_dataframe(records=True)
    assert list(table.columns) == [item.name for item in fields(Record)]
    assert table.detectable.isna().all()
    assert (table["schema"] == 1).all()


@pytest.mark.slow
def test_a_result_is_a_table_a_verdict_and_figures(
    scored: tuple[dict[str, Path], Path, Result], tmp_path: Path
) -> None:
    result = scored[2]
    table = result.to_dataframe()
    row = table.query("generator == 'synthetic' and submetric == 'rmse' and labels == ''").iloc[0]
    records = result.to_dataframe(records=True)
    same = records.query(
        "generator == 'synthetic' and metric == @row.metric and submetric == 'rmse'"
    )
    assert row.value == same[same.labels == {}].value.mean()
    assert row.floor_draws == 10
    said = {one.generator: one.leaks.answer for one in result.verdict()}
    assert said["copycat"] == "yes"
    assert "copycat" in repr(result.verdict())
    assert result.verdict().to_dataframe().set_index("generator").leaks["copycat"] == "yes"
    page = result._repr_html_()
    for text in ("synthetic", "copycat (control)", "floor", "verdict", str(result.folder)):
        assert text in page
    assert "<script" not in page
    assert "allele-frequency" in result.figures()
    for drawing in (result.plot(), result.plot("allele-frequency")):
        assert drawing._repr_html_().startswith("<figure")
    drawing.save(tmp_path / "drawn.svg")
    drawing.save(tmp_path / "drawn.png")
    assert (tmp_path / "drawn.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "drawn.svg").read_text().startswith("<svg")
    for call, words in (
        (lambda: result.plot("alele-frequency"), "did you mean allele-frequency"),
        (lambda: result.plot("allele-frequency", "no"), "has no figure 'no'"),
        (lambda: result.plot(dataset="no"), "no dataset is called 'no'"),
        (lambda: drawing.save(tmp_path / "drawn.pdf"), "expected .svg or .png"),
    ):
        with pytest.raises(BenchError, match=words):
            call()
    again = haplobench.load_run(result.folder)
    assert numbers(again) == numbers(result)
    assert "synthetic on real.vcf" in repr(again)


def test_arrays_take_the_real_contig_and_what_is_amiss_is_a_warning(tmp_path: Path) -> None:
    panel = example_panel(24, n_sites=60)
    rng = np.random.default_rng(2)
    rows = (rng.random((24, 60)) < panel.frequencies).astype(np.int8)
    with pytest.warns(UserWarning, match="nobody is held out"):
        result = haplobench.evaluate(
            panel, {"mine": (rows, panel.positions), "copied": panel.with_haplotypes(rows[::-1])},
            trained_on_everybody=True, metrics="allele-frequency", floor_draws=2, out=tmp_path,
        )  # fmt: skip
    table = result.to_dataframe().query("labels == '' and submetric == 'rmse'")
    values = table.set_index("generator").value
    assert values["mine"] == values["copied"] > 0
    assert result.warnings[0] in html.unescape(result._repr_html_())
    assert {one.leaks.answer for one in result.verdict()} == {"can't tell"}
    assert "can't tell" in repr(result.verdict())


def some(n: int, **more: Any) -> Panel:
    return replace(example_panel(n, n_sites=40), **more)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda p: haplobench.evaluate(p, [p, p]), "several cohorts that aren't files have no"),
        (lambda p: haplobench.evaluate(p, p, train=p, split=0.2), "--train and --split: expected"),
        (lambda p: haplobench.evaluate(p, p, region="20"), "a panel in memory has its own"),
        (lambda p: haplobench.evaluate(p, p, absent_sites="no"), "expected fixed or leave-out"),
        (lambda p: haplobench.evaluate(p, p, split=2), "expected a share between 0 and 1"),
        (lambda p: haplobench.evaluate(p, p, labels=["a", "b"]), "labels: 2 for 1 cohorts"),
        (lambda p: haplobench.read_panel(p, region="20"), "a Panel is taken as it is"),
        (lambda p: haplobench.load_run("nowhere"), "nowhere"),
    ],
)
def test_calls_that_contradict_themselves_are_one_line(
    call: Callable[[Panel], Any], words: str
) -> None:
    with pytest.raises(BenchError, match=words) as caught:
        call(some(24))
    assert "\n" not in str(caught.value)


def test_a_panel_says_what_it_holds() -> None:
    panel = some(24, left_out={"indel": 3}, build="GRCh37")
    for text in (repr(panel), panel._repr_html_()):
        assert "48 of 24 people" in text
        assert "3 indel" in text
        assert "GRCh37" in text
    empty = Panel(np.empty((0, 0), np.int8), np.empty(0, np.int64), "", np.empty(0, str))
    assert "none" in repr(empty)
    assert "<b>" not in some(2, contig="<b>")._repr_html_()


def test_the_import_is_light() -> None:
    code = (
        "import sys, time\n"
        "start = time.process_time()\n"
        "import haplobench\n"
        "took = time.process_time() - start\n"
        "assert haplobench.evaluate.__module__ or True\n"
        "print(took)\n"
    ).replace("assert haplobench.evaluate.__module__ or True\n", "")
    code += "assert not {'numpy', 'pydantic', 'rich', 'typer'} & set(sys.modules)\n"
    taken = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        taken.append(float(done.stdout))
    assert min(taken) <= 0.06
