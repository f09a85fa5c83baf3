"""Verdicts: faithful, useful, leaks; by which rules, in what order, and in how many columns."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from report_fixture import build_run

from haplobench.errors import FormatError
from haplobench.report.evidence import Attack, Finding
from haplobench.report.leaderboard import leaderboards
from haplobench.report.model import Band, Cell, Column, DatasetSummary, Summary
from haplobench.report.summary import summarise
from haplobench.report.verdict import (
    DatasetVerdicts,
    Verdict,
    explain,
    in_two_lines,
    lead,
    reach_verdicts,
    show,
)
from haplobench.results.description import CohortInfo, SubmetricInfo
from haplobench.results.table import Run, load_run
from haplobench.suite.schema import VerdictSettings

LD = [f"LD number {i}" for i in range(5)]
ATTACKS = ("distance", "tracts", "kinship")


def _columns(family: str, titles: tuple[str, ...] | list[str], evidence: bool) -> list[Column]:
    return [
        Column(
            f"{family}-metric",
            family,
            SubmetricInfo(title, title, headline=True, evidence=evidence, material=0.65),
        )
        for title in titles
    ]


def _cell(column: Column, band: Band) -> Cell:
    if not column.submetric.evidence:
        return Cell("ok", 1.0, band=band)
    p = 0.001 if band == "leak" else 0.5
    assert band in ("leak", "unseen", "clear", "unclear")
    finding: Finding = band
    attack = Attack(column.submetric, p, p, 0.4, 0.6, 0.62, finding)
    return Cell("ok", 0.9, band=band, attack=attack)


def _verdicts(
    rows: Mapping[str, tuple[list[Band], list[Band] | str]],
    rules: VerdictSettings | None = None,
    controls: tuple[str, ...] = (),
) -> DatasetVerdicts:
    """Of rows with the bands of their fidelity numbers, and of attacks or why there are none."""
    columns = (*_columns("fidelity", LD, False), *_columns("privacy", ATTACKS, True))
    cells = {}
    for label, (bands, attacks) in rows.items():
        for column, band in zip(columns, bands, strict=False):
            cells[label, column.key] = _cell(column, band)
        for at, column in enumerate(columns[len(LD) :]):
            if isinstance(attacks, str):
                cells[label, column.key] = Cell("not-applicable", reason=attacks)
            else:
                cells[label, column.key] = _cell(column, attacks[at])
    cohorts = tuple(
        CohortInfo(label, "control" if label in controls else "generator") for label in rows
    )
    dataset = DatasetSummary("panel", cohorts, columns, {}, cells)
    run = Run(Path("nowhere"), {}, {}, {}, {}, [])
    summary = Summary(run, {"panel": dataset}, rules or VerdictSettings())
    (found,) = reach_verdicts(summary)
    return found


def _only(bands: list[Band], attacks: list[Band] | str = "x", **rules: float) -> Verdict:
    (row,) = _verdicts({"g": (bands, attacks)}, VerdictSettings.model_validate(rules)).rows
    return row


GOOD: list[Band] = ["within", "better", "within", "within", "within"]
CLEAR: list[Band] = ["clear"] * 3


def test_faithful_by_the_share_inside_and_never_with_a_number_far_off() -> None:
    assert _only(GOOD).faithful.answer == "yes"
    assert _only([*GOOD[:4], "outside"]).faithful.answer == "yes"
    assert _only([*GOOD[:4], "outside"], faithful=0.9).faithful.answer == "in part"
    far = _only([*GOOD[:4], "far"]).faithful
    assert (far.answer, far.inside, far.judged, far.far) == ("in part", 4, 5, ("LD number 4",))
    half: list[Band] = ["within", "within", "outside", "outside", "outside"]
    assert _only(half).faithful.answer == "no"
    assert _only(half, in_part=0.4).faithful.answer == "in part"
    assert _only([""] * 5).faithful.answer == "not assessed"
    assert _only(GOOD).useful.answer == "not assessed"


def test_why_nothing_is_assessed_is_said_and_a_cohorts_own_fault_comes_first() -> None:
    columns = _columns("fidelity", LD, False)
    cells = {("g", column.key): Cell("not-applicable", reason="needs more") for column in columns}
    cohort = CohortInfo("g", "generator")

    def first_line() -> str:
        dataset = DatasetSummary("panel", (cohort,), tuple(columns), {}, cells)
        summary = Summary(Run(Path("nowhere"), {}, {}, {}, {}, []), {"panel": dataset})
        ((row,),) = (one.rows for one in reach_verdicts(summary))
        return in_two_lines(row, 62)[0]

    assert first_line() == "faithful: not assessed: needs more"
    note = "no mark: made of copies of --real people"
    cells["g", columns[-1].key] = Cell("ok", 0.1, mark_note=note)
    assert first_line() == "faithful: not assessed: made of copies of --real people"


def test_nobody_is_faithful_by_numbers_that_no_control_fails() -> None:
    def answer(control: list[Band], own: list[Band] = GOOD) -> str:
        found = _verdicts({"g": (own, CLEAR), "c": (control, CLEAR)}, controls=("c",))
        return found.rows[0].faithful.answer

    assert answer(GOOD) == "can't tell"
    assert answer([*GOOD[:3], "outside", "outside"]) == "can't tell"  # as chance has it
    assert answer([*GOOD[:4], "far"]) == "yes"
    assert answer(["outside"] * 5) == "yes"
    assert answer([""] * 5) == "yes"  # it wasn't measured
    # What is told needs no control: the numbers did tell.
    assert answer(GOOD, ["far"] * 5) == "no"
    assert answer(GOOD, [*GOOD[:4], "far"]) == "in part"
    # A control is asked for the numbers alone that the generator is judged by.
    assert answer([*GOOD[:4], "far"], [*GOOD[:4], ""]) == "can't tell"


def test_what_no_control_fails_is_said_in_words() -> None:
    row = _verdicts({"g": (GOOD, CLEAR), "c": (GOOD, CLEAR)}, controls=("c",)).rows[0]
    assert in_two_lines(row, 90)[0] == (
        "faithful: can't tell (5 of 5 in the floor); no control fails"
    )
    assert in_two_lines(row, 40)[0] == "faithful: can't tell (5 of 5)"


def test_a_leak_is_a_leak_and_no_power_is_no_all_clear() -> None:
    assert _only(GOOD, CLEAR).leaks.answer == "not seen"
    assert _only(GOOD, CLEAR).leaks.sure
    partly = _only(GOOD, ["clear", "unclear", "clear"]).leaks
    assert (partly.answer, partly.sure) == ("not seen", False)
    weak = _only(GOOD, ["unclear"] * 3).leaks
    assert weak.answer == "can't tell"
    assert "too few people" in weak.reason
    none = _only(GOOD, "sites differ").leaks
    assert (none.answer, none.reason) == ("can't tell", "sites differ")
    leaks = _only(GOOD, ["unseen", "leak", "unseen"]).leaks
    assert (leaks.answer, leaks.attempts[0].title) == ("yes", "tracts")


def test_who_leaks_stands_below_who_does_not_and_controls_last() -> None:
    found = _verdicts(
        {
            "copy": (GOOD, CLEAR),
            "leaky": (GOOD, ["leak", "unseen", "unseen"]),
            "poor": (["far"] * 5, CLEAR),
            "fair": (GOOD, CLEAR),
            "foreign": (GOOD, "sites differ"),
            "alone": (["far"] * 5, CLEAR),
        },
        controls=("copy", "alone"),
    )
    order = ["fair", "poor", "foreign", "leaky", "copy", "alone"]
    assert [row.generator for row in found.rows] == order
    assert found.best == ("fair",)
    said = lead(found)
    assert said.startswith("Best: fair (faithful: yes; leaks: not seen).")
    assert "Leak: leaky. No leak seen: fair, poor. Can't tell: foreign." in said


def test_nobody_is_best_where_all_leak() -> None:
    leak: list[Band] = ["leak"] * 3
    assert _verdicts({"a": (GOOD, leak), "b": (GOOD, leak)}).best == ()


def test_nobody_is_best_who_is_not_faithful() -> None:
    leak: list[Band] = ["leak", "unseen", "unseen"]
    said = lead(_verdicts({"poor": (["far"] * 5, CLEAR), "leaky": (GOOD, leak)}))
    assert said.startswith(
        "Best: none: leaky leaks; poor is first by rank, but not faithful. Leak: leaky."
    ), said
    assert lead(_verdicts({"fair": (GOOD, CLEAR), "poor": (["far"] * 5, CLEAR)})).startswith(
        "Best: fair (faithful: yes; leaks: not seen)."
    )


def test_nobody_is_best_by_numbers_that_no_control_fails() -> None:
    row: list[Band] = list(GOOD)
    people = {"synthetic": (row, CLEAR), "other": (row, "sites differ"), "copy": (row, CLEAR)}
    said = lead(_verdicts(people, controls=("copy",)))
    assert said.startswith(
        "Best: none: synthetic is first by rank, but nobody can tell whether it is faithful."
    ), said


def test_the_leaderboard_has_the_say_in_who_is_best(demo: Summary) -> None:
    boards = leaderboards(demo)
    whole = [board for board in boards if board.scope == "all"]
    for board, found in zip(whole, reach_verdicts(demo, boards), strict=True):
        assert found.best == board.leaders
        ranked = [row.label for row in board.ranked]
        assert [row.generator for row in found.rows][: len(ranked)] == ranked


@pytest.mark.parametrize("width", [40, 58, 100, 300])
def test_lines_fit_and_name_what_they_can(width: int) -> None:
    bands: list[list[Band]] = [["leak", "leak", "unseen"], ["clear", "unclear", "clear"], CLEAR]
    for attacks in bands:
        row = _only(["far", "far", "outside", "within", "within"], attacks)
        for line in in_two_lines(row, width):
            assert len(line) <= width
    wide = in_two_lines(_only(["far", "far", *GOOD[:3]], ["leak", "unseen", "unseen"]), 300)
    assert wide == (
        "faithful: in part (3 of 5 in the floor); far off: LD number 0 · LD number 1",
        "leaks: yes; distance 0.900; p 0.001",
    )
    seen = in_two_lines(_only(GOOD, ["clear", "unclear", "clear"]), 300)[1]
    assert seen == "leaks: not seen; would show: distance ≥ 0.62 · kinship ≥ 0.62; 1 too weak"


def test_pages_colour_no_weak_answer_as_good() -> None:
    found = _verdicts({"a": (GOOD, ["clear", "unclear", "clear"]), "b": (GOOD, "sites differ")})
    assert [answers[2].band for _, answers in show(found)] == ["unclear", "unclear"]


def test_rules_are_said_with_their_version() -> None:
    said = explain(VerdictSettings(level=0.01, faithful=0.9)).replace("\N{NO-BREAK SPACE}", " ")
    for words in ("90 %", "50 %", "level 0.01", "version 3"):
        assert words in said


def test_people_who_are_named_are_counted(tmp_path: Path) -> None:
    folder = build_run(tmp_path / "run")
    run = load_run(folder)
    path = folder / "series" / "list.npz"
    path.parent.mkdir(exist_ok=True)
    flagged = np.array([True, False, True])
    np.savez(path, **{"people/sample": np.array(["a", "b", "c"]), "people/flagged": flagged})
    place = next(one for one in run.records if one.generator == "patchwork" and one.submetric)
    listed = replace(place, metric="copies", submetric="exact", series="series/list.npz")
    summary = summarise(replace(run, records=[*run.records, listed]))
    named = {
        (row.dataset, row.generator): row.leaks.named
        for found in reach_verdicts(summary)
        for row in found.rows
    }
    assert named.pop((place.dataset, "patchwork")) == 2
    assert set(named.values()) == {None}


def test_a_run_is_judged_by_the_rules_it_was_made_with(tmp_path: Path) -> None:
    folder = build_run(tmp_path / "run")
    info = json.loads((folder / "run.json").read_text())
    rules = {"version": 1, "level": 0.01, "faithful": 0.6, "in_part": 0.3, "material": {}}
    (folder / "run.json").write_text(json.dumps(info | {"verdict": rules}))
    assert summarise(load_run(folder)).rules.model_dump() == rules | {"version": 3}
    (folder / "run.json").write_text(json.dumps(info | {"verdict": {"version": 4}}))
    with pytest.raises(
        FormatError, match=r"run\.json: verdict\.version: expected 1, 2 or 3, found 4"
    ):
        summarise(load_run(folder))
