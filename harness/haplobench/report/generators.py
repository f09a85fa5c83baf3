"""One generator at a time: its place, what it does as well as real people, where it falls short."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from haplobench.report.leaderboard.board import Leaderboard
from haplobench.report.model import Column, DatasetSummary, Summary
from haplobench.report.view import STATES

_WORST = 5
_FAILED = ("failed", "timeout", "memory")


@dataclass(frozen=True)
class GeneratorView:
    """What the report says of one generator on one dataset.

    `tallies` are (family, numbers within the floor's range or better, numbers judged); `best`
    the numbers it is best in; `worst` (number, distance over the floor's), the farthest first;
    `lacking` (how many numbers, state, reason).
    """

    dataset: str
    rank: str
    tallies: tuple[tuple[str, int, int], ...]
    best: tuple[str, ...]
    worst: tuple[tuple[str, str], ...]
    lacking: tuple[tuple[int, str, str], ...]


def generator_views(
    summary: Summary, label: str, boards: Sequence[Leaderboard]
) -> list[GeneratorView]:
    """One view per dataset, in their order."""
    ranks = {board.dataset: board for board in boards}
    return [_view(dataset, label, ranks.get(name)) for name, dataset in summary.datasets.items()]


def _view(dataset: DatasetSummary, label: str, board: Leaderboard | None) -> GeneratorView:
    columns = dataset.headline()
    tallies = [(family, *dataset.tally(label, family)) for family in dataset.families()]
    best = [c.title for c in columns if (found := dataset.best(c)) and label in found.cohorts]
    return GeneratorView(
        dataset=dataset.label,
        rank=_rank(label, board),
        tallies=tuple(item for item in tallies if item[2]),
        best=tuple(best),
        worst=_worst(dataset, label, columns),
        lacking=_lacking(dataset, label, columns),
    )


def _rank(label: str, board: Leaderboard | None) -> str:
    if board is None:
        return ""
    n = sum(row.role == "generator" for row in board.rows)
    for row in board.rows:
        if row.label == label:
            share = f"{100 * row.overall:.0f} % of comparisons won on its weaker side"
            tie = ", shared" if row.tied else ""
            front = "; on the Pareto front" if row.front else ""
            if row.role == "control":
                return f"a control: not ranked; {share}"
            return f"rank {row.rank} of {n}{tie}; {share}{front}"
    reasons = dict(board.unranked)
    return f"not ranked: {reasons[label]}" if label in reasons else ""


def _worst(
    dataset: DatasetSummary, label: str, columns: Sequence[Column]
) -> tuple[tuple[str, str], ...]:
    found = []
    for column in columns:
        cell = dataset.cell(label, column)
        if cell.place in ("outside", "far") and cell.score is not None:
            found.append((cell.score, column.title))
    found.sort(key=lambda item: -item[0])
    texts = [
        (title, f"{score:.1f}×" if score < 9.95 else f"{score:,.0f}×")
        for score, title in found[:_WORST]
    ]
    return tuple(texts)


def _lacking(
    dataset: DatasetSummary, label: str, columns: Sequence[Column]
) -> tuple[tuple[int, str, str], ...]:
    counts: dict[tuple[str, str], int] = {}
    for column in columns:
        cell = dataset.cell(label, column)
        if cell.value is not None:
            continue
        failed = cell.state in _FAILED and cell.phase
        state = "not measured" if cell.state == "missing" else STATES[cell.state]
        key = (f"{state} in {cell.phase}" if failed else state, cell.reason)
        counts[key] = counts.get(key, 0) + 1
    return tuple((count, state, reason) for (state, reason), count in counts.items())
