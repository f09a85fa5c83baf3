"""The statement: what it rests on, whom it doesn't name, and that a page holds it."""

import json
import re
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from leaks_fixture import build_listed

from haplobench.errors import BenchError
from haplobench.report.privacy_claims import PrivacyClaim
from haplobench.report.statement import (
    Statement,
    make_statement,
    render_json,
    render_text,
    statement_facts,
    write_statement,
)
from haplobench.report.summary import summarise
from haplobench.report.verdict import reach_verdicts
from haplobench.results.table import load_run


@pytest.fixture(scope="module")
def statement(tmp_path_factory: pytest.TempPathFactory) -> Statement:
    folder = build_listed(tmp_path_factory.mktemp("statement") / "run")
    summary = summarise(load_run(folder))
    rows = [row for one in reach_verdicts(summary) for row in one.rows]
    row = next(row for row in rows if row.generator == "patchwork" and row.dataset == "chr20-eur")
    return make_statement(summary, row)


def test_it_says_what_it_rests_on(statement: Statement) -> None:
    facts = dict(statement_facts(statement))
    assert facts["Cohorts, SHA-256 of their panels"] == [
        f"seed 1, draw 1: {'ab' * 32}",
        f"seed 1, cohort of the training panel's size: {'cd' * 32}",
    ]
    assert facts["Differential privacy"] == ["the generator claims none"]
    assert "utility: no headline number of this run measures it" in facts["Not assessed"]
    assert "rules of version 3" in facts["Rules"][0]


def test_nobody_is_named_unless_asked_for(statement: Statement) -> None:
    for text in (render_text(statement), render_json([statement])):
        assert "HG0" not in text
        assert "both haplotypes copied" in text
    assert "a training person; both haplotypes copied; q 0.01" in " ".join(
        render_text(statement).split()
    )
    assert "HG01; both" in " ".join(render_text(statement, names=True).split())
    (entry,) = json.loads(render_json([statement], names=True))["verdicts"]
    assert entry["leaks"]["worst_person"]["sample"] == "HG01"
    assert entry["leaks"]["people_named"] == 2
    assert entry["cohorts"] == {
        "seed 1, draw 1": "ab" * 32,
        "seed 1, cohort of the training panel's size": "cd" * 32,
    }


def test_epsilon_is_said_in_words(statement: Statement) -> None:
    claimed = replace(statement, claim=PrivacyClaim(1.0, 1e-6, "person"))
    words = dict(statement_facts(claimed))["Differential privacy"][1]
    assert "at most 2.72 times as probable with any one person" in words
    vain = replace(statement, claim=PrivacyClaim(40.0, 1e-6, "person"))
    assert "promises no person anything" in dict(statement_facts(vain))["Differential privacy"][1]
    (entry,) = json.loads(render_json([claimed]))["verdicts"]
    assert entry["claim"]["words"] == words


def test_it_warns_of_its_own_cohort_and_of_all(tmp_path: Path) -> None:
    folder = build_listed(tmp_path / "run")
    info = json.loads((folder / "run.json").read_text())
    info["datasets"]["chr20-eur"]["warnings"] = [
        "patchwork: mine",
        "chain: other",
        "of all: few",
        "contig 2: patchwork: there",
        "contigs 1, 2: chain: there",
    ]
    (folder / "run.json").write_text(json.dumps(info))
    summary = summarise(load_run(folder))
    rows = [row for one in reach_verdicts(summary) for row in one.rows]
    row = next(row for row in rows if (row.generator, row.dataset) == ("patchwork", "chr20-eur"))
    made = make_statement(summary, row)
    own = ["mine", "of all: few", "contig 2: there"]
    assert dict(statement_facts(made))["Warnings"] == own
    assert json.loads(render_json([made]))["verdicts"][0]["warnings"] == own


class _Texts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_html_says_the_same(statement: Statement, tmp_path: Path) -> None:
    write_statement(statement, tmp_path / "page.html")
    page = _Texts()
    page.feed((tmp_path / "page.html").read_text())
    for head, lines in statement_facts(statement):
        assert {head, *lines} <= set(page.texts)
    assert "HG0" not in "".join(page.texts)


def test_pdf_is_one_page_of_text_however_much_there_is(
    statement: Statement, tmp_path: Path
) -> None:
    lacking = tuple((f"reason {i}", ("number",)) for i in range(90))
    for one in (statement, replace(statement, verdict=replace(statement.verdict, lacking=lacking))):
        write_statement(one, tmp_path / "page.pdf")
        raw = (tmp_path / "page.pdf").read_bytes()
        assert raw.startswith(b"%PDF")
        assert len(re.findall(rb"/Type ?/Page\b", raw)) == 1
        parts = []
        for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", raw, re.DOTALL):
            try:
                parts.append(zlib.decompress(stream))
            except zlib.error:
                continue
        content = max(parts, key=lambda part: part.count(b"Tj"))
        # Letters, not outlines of letters; as many as there is to say.
        said = sum(
            len(re.sub(r"\s", "", line)) for _, lines in statement_facts(one) for line in lines
        )
        assert content.count(b"Tj") >= said


def test_other_endings_are_refused(statement: Statement, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"ends in \.html or \.pdf"):
        write_statement(statement, tmp_path / "page.doc")
