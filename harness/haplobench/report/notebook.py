"""A run as notebooks and programs use it: a table, a verdict, figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from haplobench.errors import BenchError
from haplobench.files import near_names, write_whole
from haplobench.report.exchange import tidy_rows
from haplobench.report.formatting import row_text
from haplobench.report.leaderboard import Leaderboard, leaderboards
from haplobench.report.model import Failure, Summary
from haplobench.report.summary import summarise
from haplobench.report.verdict import DatasetVerdicts, Verdict, explain, lead, reach_verdicts, show
from haplobench.report.view import MARKS, Shown, TableView, headline_tables
from haplobench.results.records import Record
from haplobench.results.table import Run
from haplobench.suite.schema import VerdictSettings

if TYPE_CHECKING:
    import pandas as pd

_MUTED = "opacity: 0.65"
_COLOURS = {
    **dict.fromkeys(("better", "within", "clear"), "#2b8a3e"),
    **dict.fromkeys(("outside", "unclear"), "#b07400"),
    **dict.fromkeys(("far", "leak", "failed"), "#c92a2a"),
}


class Result:
    """A finished run: what `haplobench.evaluate` and `haplobench.load_run` give.

    Attributes
    ----------
    run : Run
        Its records, and what run.json says of them.
    """

    def __init__(self, run: Run) -> None:
        self.run = run

    @property
    def folder(self) -> Path:
        """Where the run lies."""
        return self.run.folder

    @cached_property
    def summary(self) -> Summary:
        """Every number beside its floor, over seeds and draws."""
        return summarise(self.run)

    @cached_property
    def leaderboards(self) -> list[Leaderboard]:
        """Generators by their distance from the floor, of each dataset."""
        return leaderboards(self.summary)

    @property
    def failures(self) -> list[Failure]:
        """What failed."""
        return self.summary.failures

    @property
    def warnings(self) -> list[str]:
        """What is amiss with the panels."""
        return [text for one in self.run.datasets.values() for text in one.get("warnings") or ()]

    def to_dataframe(self, *, records: bool = False) -> pd.DataFrame:
        """One row per dataset, generator and number, as in summary.csv; empty where unknown.

        With `records`, one row per seed and draw in their stead, the floor's draws among them.
        """
        import pandas as pd

        if records:
            # By name, since a record read of an older run has not all of its fields in `vars`.
            names = [item.name for item in fields(Record)]
            rows = [[getattr(record, name) for name in names] for record in self.run.records]
            return pd.DataFrame(rows, columns=names)
        return pd.DataFrame(tidy_rows(self.summary))

    def verdict(self, rules: VerdictSettings | None = None) -> Verdicts:
        """Of each generator whether it is faithful, useful, and leaks; by its suite's rules."""
        summary = self.summary if rules is None else summarise(self.run, rules)
        boards = self.leaderboards if rules is None else leaderboards(summary)
        return Verdicts(tuple(reach_verdicts(summary, boards)), summary.rules)

    def plot(self, metric: str = "leaderboard", figure: str = "", *, dataset: str = "") -> Drawing:
        """Draw a figure of the report: of a metric, by its name; or the leaderboard.

        Parameters
        ----------
        metric : str
            As in `figures()`.
        figure : str
            Its name, where the metric has several; the first otherwise.
        dataset : str
            A label; the first otherwise.

        Raises
        ------
        BenchError
            If the run has no such figure, with those that it has; or if it can't be drawn.
        """
        from haplobench.report.figures import draw_boards, draw_figures

        self.run.require(dataset=dataset)
        dataset = dataset or next(iter(self.run.datasets))
        if metric == "leaderboard":
            drawn = [
                one for one in draw_boards(self.run, self.leaderboards) if one.dataset == dataset
            ]
            if not drawn:
                raise BenchError(f"{dataset}: nobody is ranked, so there's no leaderboard to draw")
            return Drawing(drawn[0].title, drawn[0].caption, drawn[0].svg)
        known = self.figures()
        names = known.get(metric)
        if names is None:
            near = near_names(metric, known, lead="") or f"there are {', '.join(known) or 'none'}"
            raise BenchError(f"no figure of {metric!r} in this run", hint=near)
        if figure and figure not in names:
            raise BenchError(
                f"{metric} has no figure {figure!r}", hint=f"there are {', '.join(names)}"
            )
        name = figure or names[0]
        info = self.run.metrics[metric]
        alone = replace(info, figures=tuple(one for one in info.figures if one.name == name))
        part = replace(
            self.run,
            datasets={dataset: self.run.datasets[dataset]},
            metrics={metric: alone},
        )
        figures, problems = draw_figures(part)
        if not figures:
            reason = str(problems[0]) if problems else f"{dataset}: nothing to draw of {metric}"
            raise BenchError(reason)
        return Drawing(figures[0].title, figures[0].caption, figures[0].svg)

    def figures(self) -> dict[str, list[str]]:
        """Names of the figures that can be drawn, by metric."""
        measured = {record.metric for record in self.run.records if record.series}
        return {
            name: [figure.name for figure in metric.figures]
            for name, metric in self.run.metrics.items()
            if metric.figures and name in measured
        }

    def __repr__(self) -> str:
        info = self.run.info
        rows = ", ".join(c.label for c in self.run.cohorts.values() if c.role == "generator")
        metrics = len({record.metric for record in self.run.records if record.metric})
        status = info.get("status") or "of unknown state"
        return (
            f"<Result: {rows or 'nobody'} on {', '.join(self.run.datasets)}; {metrics} metrics; "
            f"{status}; {self.folder}>"
        )

    def _repr_html_(self) -> str:
        """Verdicts, and the headline numbers beside their floors."""
        parts = [self.verdict()._repr_html_()]
        for label, dataset in self.summary.datasets.items():
            parts += [
                _table(f"{label} · {table.title}", table) for table in headline_tables(dataset)
            ]
        for text in self.warnings:
            parts.append(f"<p><strong>warning:</strong> {escape(text)}</p>")
        for failure in self.failures:
            place = " · ".join(filter(None, (failure.dataset, failure.cohort, failure.metric)))
            parts.append(f"<p><strong>failed:</strong> {escape(f'{place}: {failure.reason}')}</p>")
        parts.append(f"<p style='{_MUTED}'>{escape(str(self.folder))}</p>")
        return "".join(parts)


@dataclass(frozen=True)
class Verdicts:
    """What is said of each generator, by dataset, and the rules that it is said by."""

    datasets: tuple[DatasetVerdicts, ...]
    rules: VerdictSettings

    def __iter__(self) -> Iterator[Verdict]:
        """Every row, of all datasets, from the best to the worst, then controls."""
        for dataset in self.datasets:
            yield from dataset.rows

    def to_dataframe(self) -> pd.DataFrame:
        """One row per dataset and generator: the three answers."""
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "dataset": row.dataset,
                    "generator": row.generator,
                    "role": row.role,
                    "faithful": row.faithful.answer,
                    "useful": row.useful.answer,
                    "leaks": row.leaks.answer,
                }
                for row in self
            ]
        )

    def __repr__(self) -> str:
        lines = []
        for dataset in self.datasets:
            lines.append(f"{dataset.dataset}: {lead(dataset)}")
            for row, answers in show(dataset):
                lines += [row.generator]
                lines += [f"  {name}: {a.whole}" for name, a in zip(_ASKED, answers, strict=True)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        parts = []
        for dataset in self.datasets:
            rows = "".join(
                f"<tr><th style='text-align: left'>{escape(row_text(row.generator, row.role))}</th>"
                + "".join(
                    f"<td style='text-align: left; {_colour(answer.band)}' "
                    f"title='{escape(answer.whole, quote=True)}'>"
                    f"{MARKS.get(answer.band, '–')} {escape(answer.brief)}</td>"
                    for answer in answers
                )
                + "</tr>"
                for row, answers in show(dataset)
            )
            heads = "".join(f"<th style='text-align: left'>{name}</th>" for name in _ASKED)
            parts.append(
                f"<p><strong>{escape(dataset.dataset)} · verdict.</strong> {escape(lead(dataset))}"
                f"</p><table><tr><th></th>{heads}</tr>{rows}</table>"
            )
        parts.append(f"<p style='{_MUTED}'>{escape(explain(self.rules))}</p>")
        return "".join(parts)


_ASKED = ("faithful", "useful", "leaks")


@dataclass(frozen=True)
class Drawing:
    """A figure: notebooks show it, `save` writes it.

    Attributes
    ----------
    title, caption : str
    svg : str
    """

    title: str
    caption: str
    svg: str

    def save(self, path: Path | str) -> None:
        """Write `.svg` or `.png`, told by the ending. Raises BenchError for others."""
        from haplobench.report.svg import clean, to_png

        path = Path(path)
        if path.suffix not in (".svg", ".png"):
            raise BenchError(f"{path}: expected .svg or .png")
        svg = clean(self.svg, label=self.title)
        write_whole(path, svg if path.suffix == ".svg" else to_png(svg))

    def __repr__(self) -> str:
        return f"<Drawing: {self.title}>"

    def _repr_html_(self) -> str:
        from haplobench.report.svg import clean

        return (
            f"<figure style='margin: 0'>{clean(self.svg, label=self.title)}"
            f"<figcaption style='{_MUTED}'>{escape(self.title)}. {escape(self.caption)}"
            "</figcaption></figure>"
        )


def _colour(band: str) -> str:
    return f"color: {_COLOURS[band]}" if band in _COLOURS else ""


def _table(title: str, table: TableView) -> str:
    """A headline table, the floor first, with its notes."""
    heads = "".join(
        f"<th title='{escape(head.help, quote=True)}'>{escape(head.title)}"
        + f" ({escape(head.unit)})" * bool(head.unit)
        + f" {head.arrow}{head.ideal}</th>"
        for head in table.heads
    )
    rows = [] if table.floor is None else [("floor", "floor", table.floor.cells)]
    rows += [(row.label, row.role, row.cells) for row in table.rows]
    body = "".join(
        f"<tr><th style='text-align: left'>{escape(row_text(label, role))}</th>"
        + "".join(map(_cell, cells))
        + "</tr>"
        for label, role, cells in rows
    )
    notes = "".join(f"<div>n/a {code}: {escape(reason)}</div>" for code, reason in table.notes)
    return (
        f"<p><strong>{escape(title)}</strong></p><table><tr><th></th>{heads}</tr>{body}</table>"
        f"<div style='{_MUTED}'>{notes}</div>"
    )


def _cell(cell: Shown) -> str:
    # The floor's is a range.
    spread = f" ({cell.spread})" if cell.kind == "floor" else f" ±{cell.spread}"
    text = escape(cell.text) + escape(spread) * bool(cell.spread)
    text += f" {cell.mark}" * bool(cell.mark) + f" <sup>{cell.note}</sup>" * bool(cell.note)
    tip = escape(cell.tip, quote=True)
    return f"<td style='{_colour(cell.kind)}' title='{tip}'>{text}</td>"
