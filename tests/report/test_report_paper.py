"""What a paper takes of a run, set by LaTeX itself: nothing too wide, nothing lost, all escaped."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from report_fixture import HOSTILE, build_run

from haplobench.errors import BenchError
from haplobench.references import references
from haplobench.report.figures import _cap_columns, print_style
from haplobench.report.latex import Grid, breakable, escape, pages, tables, wrap
from haplobench.report.model import Summary
from haplobench.report.paper import Bibliography, Selection, render_bibtex, render_methods
from haplobench.report.summary import summarise
from haplobench.report.write import write_report
from haplobench.results.table import load_run
from haplobench.units import parse_width

latex = pytest.mark.skipif(
    not shutil.which("pdflatex"), reason="no pdflatex: scripts/install_oracles.sh"
)
NASTY = [
    HOSTILE, r"\input{/etc/passwd}", "100% of_x^2 & #1 ~{}$", "[x]", "*", "--", "?`,,''<<>>",
    "ε-VAE 模型 µé ǖ łÅß", "x" * 90, "a_b/c" * 30, "\x00\n\x7f\u202e", "", "\\", "%", "]",
    "𝛼\U0010ffff",
]  # fmt: skip
CAPTION = "No label may break this."


def run_tex(folder: Path, name: str, *programs: str) -> str:
    """The log of the last run of pdflatex; fails where a program does."""
    for program in programs or ("pdflatex",):
        options = ["-interaction=nonstopmode", "-no-shell-escape"] * (program == "pdflatex")
        done = subprocess.run([program, *options, name], cwd=folder, capture_output=True)
        log = done.stdout.decode(errors="replace")
        assert done.returncode == 0, log[-3000:]
    return (folder / f"{name}.log").read_text(errors="replace")


def document(body: str) -> str:
    return (
        "\\documentclass[10pt]{article}\\usepackage[textwidth=85mm]{geometry}"
        f"\\usepackage{{booktabs,graphicx}}\\begin{{document}}{body}\\end{{document}}"
    )


@latex
def test_a_paper_compiles_at_85_mm_without_an_overfull_box(demo_run: Path, tmp_path: Path) -> None:
    paths = write_report(
        demo_run, tmp_path, ("latex", "bib", "pdf"), Selection(("chain", "network"), ("ld-decay",))
    )
    paper = tmp_path / "paper"
    assert {path.name for path in paths} >= {"paper.tex", "methods.tex", "references.bib"}
    log = run_tex(paper, "paper", "pdflatex", "bibtex", "pdflatex", "pdflatex")
    assert "Overfull" not in log
    assert "undefined" not in log
    assert "too large" not in log
    text = (paper / "chr20-eur-fidelity.tex").read_text()
    assert "network" in text
    assert "patchwork" not in text
    assert "AF RMSE" not in text
    drawn = sorted((paper / "figures").rglob("*.pdf"))
    assert [path.stem for path in drawn] == ["ld-decay-curve"] * 2
    for path in drawn:
        # Every font is in the file, and the page is 85 mm wide.
        assert b"/FontFile" in path.read_bytes()
        box = re.search(rb"/MediaBox \[0 0 ([\d.]+) ", path.read_bytes())
        assert box is not None
        assert float(box[1]) == pytest.approx(85 / 25.4 * 72, abs=0.1)


@latex
@pytest.mark.parametrize("width", [60, pytest.param(170, marks=pytest.mark.slow)])
def test_a_whole_run_with_hostile_names_compiles(tmp_path: Path, width: float) -> None:
    run = build_run(tmp_path / "run", hostile=True)
    write_report(run, tmp_path, ("latex", "bib"), width_mm=width)
    log = run_tex(tmp_path / "paper", "paper", "pdflatex", "bibtex", "pdflatex", "pdflatex")
    assert not re.search("Overfull|undefined|too large", log)
    shown = (tmp_path / "paper" / "methods.tex").read_text()
    assert r"\ensuremath{<}script\ensuremath{>}alert('x')" in shown
    assert shown.isascii()


@latex
@settings(
    max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.text(max_size=40), min_size=8, max_size=8))
@example(NASTY)
def test_any_label_is_set_as_it_is(tmp_path: Path, labels: list[str]) -> None:
    rows = tuple((wrap(label, 70), wrap(label, 60, small=True, bold=True)) for label in labels)
    table = tables(Grid((wrap("", 70), wrap("A", 60)), rows).parts(240), 85, CAPTION, "t", labels)
    text = "\\par ".join(breakable(label) for label in labels)
    assert (table + text).isascii()
    body = f"{{\\sffamily {table}}} {table} \\sloppy {text}"
    (tmp_path / "x.tex").write_text(document(body))
    assert "Overfull" not in run_tex(tmp_path, "x")


@latex
def test_all_references_are_read_by_bibtex(tmp_path: Path) -> None:
    books = Bibliography()
    for entry in references().values():
        assert books.key(entry) == entry.key
    bib = render_bibtex(books)
    assert bib.isascii()
    (tmp_path / "references.bib").write_text(bib)
    body = "\\nocite{*}\\bibliographystyle{unsrt}\\sloppy\\bibliography{references}"
    (tmp_path / "x.tex").write_text(document(body))
    run_tex(tmp_path, "x", "pdflatex", "bibtex", "pdflatex")
    said = (tmp_path / "x.blg").read_text()
    warnings = [line for line in said.splitlines() if line.startswith("Warning")]
    assert warnings == ["Warning--empty year in dwgsim"] or not warnings
    assert (tmp_path / "x.bbl").read_text().count(r"\bibitem") == len(references())


def test_letters_become_commands_that_every_document_has() -> None:
    assert escape("50 % of x_1 & {y}") == r"50 \% of x\_1 \& \{y\}"
    assert escape("r² ≥ 0.8 ± ε") == (
        r"r\ensuremath{^2} \ensuremath{\geq} 0.8 \ensuremath{\pm} \ensuremath{\varepsilon}"
    )
    assert escape("Rényi, Tasnádi, Agüera") == r"R\'{e}nyi, Tasn\'{a}di, Ag\"{u}era"
    assert escape("模") == r"\texttt{U+6A21}"
    # TeX would make a dash, an inverted mark or quotation marks of these.
    assert escape("--only ?` ,,") == "-{}-only ?{}` ,{},"
    assert escape("{Bayes} & co", braces=True) == r"{Bayes} \& co"


def test_sources_of_one_key_are_told_apart() -> None:
    books = Bibliography()
    first = books.cited(["Wright 1922, Am. Nat.", "Wright 1922, Genetics", "Wright 1922, Am. Nat."])
    assert first == r"~\cite{wright1922,wright1922x2}"
    assert render_bibtex(books).count("@misc{wright1922") == 2


def test_long_tables_are_cut_into_pages_and_lose_no_row() -> None:
    rows = tuple((wrap(f"row {n}", 50), wrap(str(n), 50)) for n in range(130))
    cut = pages([Grid((wrap("", 50), wrap("value", 50)), rows)] * 2)
    grids = [grid for page in cut for grid in page if isinstance(grid, Grid)]
    shown = [row[0][0].text for grid in grids for row in grid.rows]
    assert shown == [f"row {n}" for n in range(130)] * 2
    assert len(cut) == 5
    assert tables([Grid((wrap("", 50),), rows[:1])], 85, "A.", "a", ["why"]).count("why") == 1


def test_a_selection_names_what_the_run_has(demo_run: Path, tmp_path: Path) -> None:
    for selection, message in (
        (Selection(("netwerk",)), "'netwerk'"),
        (Selection((), ("ld-decay/rmsd",)), "'ld-decay/rmsd'"),
    ):
        with pytest.raises(BenchError, match=message):
            write_report(demo_run, tmp_path, ("latex", "pdf"), selection)
    with pytest.raises(BenchError, match="html shows the whole run"):
        write_report(demo_run, tmp_path, ("html",), Selection(("network",)))
    assert not list(tmp_path.iterdir())
    write_report(demo_run, tmp_path, ("latex",), Selection(("replayed",), ("frequency/lost",)))
    text = (tmp_path / "paper" / "chr1-fidelity.tex").read_text()
    assert "Sites lost" in text
    assert "replayed" in text
    assert "network" not in text
    assert "AF RMSE" not in text


def test_small_multiples_have_no_more_columns_than_fit(demo: Summary) -> None:
    assert [print_style(demo.run, width).columns for width in (200, 321, 642)] == [2, 2, 4]
    spec: dict[str, Any] = {
        "vconcat": [{"facet": {}, "columns": 4}, {"concat": [], "columns": 1}],
        "datasets": {"a": [{"columns": 9}]},
        "config": {"legend": {"columns": 3}},
    }
    _cap_columns(spec, 2)
    assert [part["columns"] for part in spec["vconcat"]] == [2, 1]
    assert spec["datasets"] == {"a": [{"columns": 9}]}
    assert spec["config"] == {"legend": {"columns": 3}}


def test_widths_of_paper() -> None:
    assert parse_width("8.5cm") == parse_width(" 85 MM") == 85
    assert parse_width("3.5in") == pytest.approx(88.9)
    assert parse_width("242pt") == pytest.approx(85.05, abs=0.01)
    for wrong in ("85", "mm", "5mm", "1e3mm", "-85mm", "500mm"):
        with pytest.raises(BenchError, match="expected 40mm to 400mm"):
            parse_width(wrong)


@pytest.mark.parametrize(
    ("seeds", "draws", "words"),
    [
        ([1], 1, "Every fit was of the seed 1 and gave 1 cohort;"),
        ([1, 2, 3], 3, "Every fit was repeated with the seeds 1, 2 and 3 and gave 3 cohorts;"),
    ],
)
def test_methods_say_how_often(demo_run: Path, seeds: list[int], draws: int, words: str) -> None:
    run = load_run(demo_run)
    run = replace(run, info={**run.info, "seeds": seeds, "draws": draws})
    text, _ = render_methods(summarise(run), (), Selection())
    assert words in text
    assert "the the" not in text
