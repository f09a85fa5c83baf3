"""Figures against claimed ε: who is joined to a line, what is drawn where, and what is not."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import report_fixture
from rich.console import Console

from haplobench import FormatError
from haplobench.report.model import Summary
from haplobench.report.privacy_claims import (
    PrivacyClaim,
    _is_the_claim,
    claim_cells,
    claim_rows,
    claim_sentences,
    distinct,
    draw_claims,
    epsilon_series,
    read_claims,
)
from haplobench.report.summary import summarise
from haplobench.report.terminal import print_claims
from haplobench.report.write import write_report
from haplobench.results.table import load_run

EPSILONS = (1.0, 8.0, math.inf)
CLIENTS = (1, 4)


def _label(clients: int, epsilon: float) -> str:
    return f"private-{clients}-{epsilon:g}"


@pytest.fixture(scope="module")
def claimed_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generators of one plugin at three ε and two numbers of clients, beside one without claim."""
    generators: dict[str, dict[str, Any]] = {
        "replayed": {"role": "control", "quality": 1.0, "leak": 40.0},
        "chain": {"role": "generator", "quality": 3.0, "leak": 0.1},
    }
    for clients in CLIENTS:
        for epsilon in EPSILONS:
            quality = (2 + 6 / epsilon) * clients**0.3
            generators[_label(clients, epsilon)] = {
                "role": "generator", "quality": quality, "leak": 0.02 * min(epsilon, 10),
            }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_fixture, "GENERATORS", generators)
        folder = report_fixture.build_run(tmp_path_factory.mktemp("claims") / "run")
    info = json.loads((folder / "run.json").read_text())
    info["claims"] = []
    for clients in CLIENTS:
        for epsilon in EPSILONS:
            label = _label(clients, epsilon)
            bound = None if math.isinf(epsilon) else epsilon
            info["generators"][label] |= {
                "name": "private",
                "params": {"model": {"window": 8}, "budget": str(epsilon), "clients": clients},
            }
            for seed in report_fixture.SEEDS:
                # The largest over the seeds is the row's.
                spent = bound and bound * (1 - 0.001 * seed)
                info["claims"].append(
                    {"dataset": "chr1", "generator": label, "seed": seed, "world_size": 1,
                     "epsilon": spent, "delta": 1e-3, "unit": "person", "accountant": "PRV"}
                )  # fmt: skip
    (folder / "run.json").write_text(json.dumps(info))
    return folder


@pytest.fixture(scope="module")
def claimed(claimed_run: Path) -> Summary:
    return summarise(load_run(claimed_run))


def test_claims_are_read_by_row_the_largest_over_seeds(claimed: Summary) -> None:
    claims = read_claims(claimed.run)
    assert set(claims) == {"chr1"}
    assert claims["chr1"][_label(1, 8.0)].epsilon == pytest.approx(8 * 0.999)
    assert math.isinf(claims["chr1"][_label(4, math.inf)].epsilon)
    assert "chain" not in claims["chr1"]
    assert claims["chr1"][_label(4, 1.0)].text.startswith("ε\xa00.999, δ\xa00.001 per person")


def test_one_seed_without_a_bound_leaves_none(claimed_run: Path, tmp_path: Path) -> None:
    info = json.loads((claimed_run / "run.json").read_text())
    for entry in info["claims"]:
        if entry["generator"] == _label(1, 8.0) and entry["seed"] == 2:
            entry["epsilon"] = None
    (tmp_path / "run.json").write_text(json.dumps(info))
    (tmp_path / "records.jsonl").write_bytes((claimed_run / "records.jsonl").read_bytes())
    claims = read_claims(load_run(tmp_path))
    assert math.isinf(claims["chr1"][_label(1, 8.0)].epsilon)


def test_lines_join_who_differs_in_the_budget_alone(claimed: Summary) -> None:
    found = epsilon_series(claimed.run, read_claims(claimed.run)["chr1"])
    assert {line.label: line.cohorts for line in found} == {
        f"clients {clients}": tuple(_label(clients, epsilon) for epsilon in EPSILONS)
        for clients in CLIENTS
    }


def test_generators_with_nothing_in_common_stand_alone(claimed: Summary) -> None:
    claims = {"chain": PrivacyClaim(2.0, 1e-3), _label(1, 1.0): PrivacyClaim(1.0, 1e-3)}
    found = epsilon_series(claimed.run, claims)
    assert sorted(line.cohorts for line in found) == [("chain",), (_label(1, 1.0),)]
    assert len({line.label for line in found}) == 2


def test_ticks_are_the_budgets_met() -> None:
    assert distinct([7.98, 8.0, 0.999, math.inf, 1.0, 7.991]) == [1.0, 8.0]


def _points(svg: str) -> list[dict[str, str]]:
    """What the points of a figure say, as the page's script reads it."""
    told = [text.replace("&#10;", "\n") for text in re.findall(r'data-t="([^"]*)"', svg)]
    rows = [
        dict(line.split(": ", 1) for line in text.splitlines() if ": " in line) for text in told
    ]
    return [row for row in rows if "Claimed ε" in row and "Generator" in row]


def test_every_headline_number_is_drawn_once_per_claim(claimed: Summary) -> None:
    figures = {figure.name: figure for figure in draw_claims(claimed)}
    assert set(figures) == {f"{n}-by-epsilon" for n in ("fidelity", "privacy", "performance")}
    dataset = claimed.datasets["chr1"]
    for family in ("fidelity", "privacy", "performance"):
        figure = figures[f"{family}-by-epsilon"]
        columns = dataset.headline(family)
        points = _points(figure.svg)
        assert len(points) == len(columns) * len(EPSILONS) * len(CLIENTS)
        for column in columns:
            for clients in CLIENTS:
                for epsilon in EPSILONS:
                    label = _label(clients, epsilon)
                    (point,) = (
                        row for row in points if row["Generator"] == label and column.title in row
                    )
                    value = dataset.cell(label, column).value
                    assert value is not None
                    drawn = float(point[column.title].replace("−", "-"))
                    assert drawn == pytest.approx(value, rel=1e-3)
                    expected = "none" if math.isinf(epsilon) else f"{epsilon * 0.999:.3g}"
                    assert point["Claimed ε"] == expected
        assert ">none<" in figure.svg
        assert all(f">{line}<" in figure.svg for line in ("clients 1", "clients 4"))
        assert ("Grey: the floor" in figure.caption) is (family != "performance")
        assert "least to greatest over seeds" in figure.caption


def test_the_claim_is_not_drawn_against_itself() -> None:
    assert _is_the_claim([{"value": 0.9998, "x": 1.0}, {"value": 7.99, "x": 7.99}])
    assert not _is_the_claim([{"value": 1.0, "x": 1.0}, {"value": 0.0, "x": 7.99}])


def test_nothing_is_drawn_without_two_degrees_of_privacy(demo: Summary) -> None:
    assert draw_claims(demo) == []


def _told(folder: Path, out: Path, **changes: Any) -> Summary:
    """The run with other claims and totals in its run.json."""
    info = json.loads((folder / "run.json").read_text()) | changes
    (out / "run.json").write_text(json.dumps(info))
    (out / "records.jsonl").write_bytes((folder / "records.jsonl").read_bytes())
    return summarise(load_run(out))


@pytest.fixture
def told(claimed_run: Path, tmp_path: Path) -> Summary:
    """One row with a bound and three fits, one whose noise comes from the seed."""
    common = {"dataset": "chr1", "world_size": 1, "delta": 1e-6, "unit": "person", "sampling": "x",
              "accountant": "PRV (opacus 1.6)", "n_records": 200}  # fmt: skip
    bound, open_row = _label(1, 8.0), _label(4, 8.0)
    claims = [
        {**common, "generator": bound, "seed": seed, "epsilon": 7.99, "noise_source": "entropy"}
        for seed in (1, 2, 3)
    ] + [{**common, "generator": open_row, "seed": 1, "epsilon": None, "noise_source": "seed"}]
    total = {"world_size": 1, "fits": 3, "shadow_fits": 12, "epsilon": 41.7, "delta": 1e-6,
             "method": "privacy loss distributions"}  # fmt: skip
    totals = [
        {"datasets": ["chr1"], "generator": bound, **total},
        {"datasets": ["chr1"], "generator": open_row, **total, "epsilon": None, "method": "seed"},
        {"datasets": ["chr1"], **total, "without_bound": [open_row, "chain"]},
    ]
    return _told(claimed_run, tmp_path, claims=claims, privacy_totals=totals)


def test_one_fit_stands_beside_all_of_them(told: Summary) -> None:
    rows = {label: claim_cells(claim) for _, label, claim in claim_rows(told.run)}
    assert rows == {
        _label(1, 8.0): ("7.99", "1e-06", "3 + 12", "41.7", "1e-06"),
        _label(4, 8.0): ("∞", "–", "3 + 12", "∞", "–"),
    }
    said = " ".join(claim_sentences(told.run))
    for words in (
        "except with a probability of up to 1e-06 (δ)",
        "cost nothing more (post-processing)",
        "Shadow fits count",
        "3 fits and 12 shadow fits together: ε\xa041.7, δ\xa01e-06, by privacy loss",
        f"Nothing bounds what {_label(4, 8.0)}, chain give away",
        f"{_label(1, 8.0)}: the noise came from the operating system's entropy: another fit with "
        "the same seed differs, by design.",
        f"{_label(4, 8.0)}: the noise comes from the seed: ε is infinite for whoever has the seed",
    ):
        assert words in said
    claims = read_claims(told.run)["chr1"]
    assert claims[_label(4, 8.0)].text.startswith("ε\xa0∞: the noise comes from the seed")


def test_every_form_of_the_report_holds_the_totals(told: Summary, tmp_path: Path) -> None:
    console = Console(width=80, file=io.StringIO(), force_terminal=False)
    print_claims(told, console)
    assert isinstance(console.file, io.StringIO)
    terminal = console.file.getvalue()
    assert max(map(len, terminal.splitlines())) <= 80
    paths = write_report(told.run.folder, tmp_path / "out", ("html", "md", "csv"))
    assert paths.html is not None
    assert paths.markdown is not None
    for form in (terminal, paths.html.read_text(), paths.markdown.read_text()):
        for words in ("ε of one fit", "ε of all", "7.99", "41.7", "∞", "3 + 12"):
            assert words in form
    with (tmp_path / "out" / "privacy-claims.csv").open() as handle:
        table = list(csv.DictReader(handle))
    assert [row["generator"] for row in table] == [_label(1, 8.0), _label(4, 8.0), ""]
    assert [row["epsilon"] for row in table] == ["7.99", "inf", ""]
    assert [row["total_epsilon"] for row in table] == ["41.7", "inf", "41.7"]
    assert "whoever has the seed" in table[1]["reason"]


def test_without_claims_nothing_is_said(demo: Summary, tmp_path: Path) -> None:
    console = Console(width=80, file=io.StringIO(), force_terminal=False)
    print_claims(demo, console)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == ""
    assert claim_sentences(demo.run) == []


def test_a_large_delta_is_cautioned_of(claimed_run: Path, tmp_path: Path) -> None:
    entry = {"dataset": "chr1", "generator": "chain", "seed": 1, "epsilon": 1.0, "delta": 0.005,
             "unit": "person", "accountant": "PRV", "sampling": "x", "n_records": 200}  # fmt: skip
    summary = _told(claimed_run, tmp_path, claims=[entry])
    assert any(
        sentence.startswith("Caution: delta 0.005 is large for 200 people: a mechanism that ")
        for sentence in claim_sentences(summary.run)
    )


def test_the_report_holds_the_figures(claimed_run: Path, tmp_path: Path) -> None:
    paths = write_report(claimed_run, tmp_path, ("html", "md", "svg"))
    assert {path.name for path in paths.figures} >= {
        "claims-fidelity.svg", "claims-privacy.svg", "claims-performance.svg",
    }  # fmt: skip
    assert paths.html is not None
    assert paths.markdown is not None
    page = paths.html.read_text()
    assert page.count("Fidelity against claimed ε") >= 1
    assert "PRV" in page  # stated where the generator is described
    assert "claims-privacy.svg" in paths.markdown.read_text()


def test_a_claim_that_none_can_be_is_one_line(claimed_run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(claimed_run, tmp_path / "run"))
    info = json.loads((folder / "run.json").read_text())
    info["claims"][0]["delta"] = 7.0
    (folder / "run.json").write_text(json.dumps(info))
    with pytest.raises(FormatError, match=r"claims: chr1, .*delta is 7"):
        read_claims(load_run(folder))
