"""What a paper takes of a run: tables, a methods paragraph, and references, as LaTeX and BibTeX."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from haplobench.references import Citation, cite
from haplobench.report import facts, view
from haplobench.report import leaderboard_texts as texts
from haplobench.report.figures import Figure, slug
from haplobench.report.formatting import listed
from haplobench.report.latex import (
    POINTS,
    Cell,
    Grid,
    Line,
    breakable,
    escape,
    shortest,
    tables,
    wrap,
)
from haplobench.report.leaderboard import Leaderboard
from haplobench.report.model import Column, DatasetSummary, Summary
from haplobench.report.summary import select
from haplobench.report.verdict import Inside, brief_leaks, explain, reach_verdicts
from haplobench.results.records import FLOOR
from haplobench.results.table import Run
from haplobench.units import counted

_LEGEND = (
    "Mean; beneath it ± the {spread}, or in brackets an attack's 95 % interval. Floor: median of "
    "{draws} draws of real people, their 5–95 % range beneath. ● within that range or where 95 % "
    "of further draws would lie, ◆ better than 99 % would be, ○ outside, × far outside, or a leak; "
    "? can't tell. Bold: the run's best generator. ↓ lower, ↑ higher, → nearer to the ideal is "
    "better."
)


@dataclass(frozen=True)
class Selection:
    """The rows and numbers of a run that are shown: all of them unless named.

    Attributes
    ----------
    only : tuple of str
        Labels of generators and controls; the floor is always there.
    metrics : tuple of str
        Names of metrics, or `metric/number`: as `summary.select` has them.
    """

    only: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.only or self.metrics)

    def labels(self, dataset: DatasetSummary) -> list[str]:
        """Labels of a dataset's rows, in their order, without the floor."""
        rows = [cohort.label for cohort in view.others(dataset)]
        return [label for label in rows if not self.only or label in self.only]

    def board(self, board: Leaderboard) -> Leaderboard:
        """A leaderboard's lines of these rows, in the places that they have in the whole run."""
        rows = tuple(
            row
            for row in board.rows
            if not self.only or row.role == FLOOR or row.label in self.only
        )
        return replace(board, rows=rows)

    def run(self, run: Run) -> Run:
        """The run with these rows and metrics alone: what figures are drawn of."""
        metrics = {name.partition("/")[0] for name in self.metrics} or set(run.metrics)
        return replace(
            run,
            cohorts={
                label: cohort
                for label, cohort in run.cohorts.items()
                if not self.only or cohort.role == FLOOR or label in self.only
            },
            metrics={name: metric for name, metric in run.metrics.items() if name in metrics},
        )


# --- tables -----------------------------------------------------------------------------------


def render_tables(
    summary: Summary, boards: Sequence[Leaderboard], selection: Selection, width_mm: float
) -> dict[str, str]:
    """LaTeX of every table by a file name without its ending: numbers by family, and verdicts."""
    written = {}
    shown = select(summary, selection.metrics, selection.only)
    for label, dataset in summary.datasets.items():
        labels = selection.labels(dataset)
        name = slug(label)
        grid = _verdicts(summary, boards, label, labels, width_mm * POINTS)
        written[f"{name}-verdicts"] = tables(
            grid.parts(width_mm * POINTS),
            width_mm,
            f"Verdicts on {label}.",
            f"tab:{name}-verdicts",
            [f"{explain(summary.rules)} {_distance_words()}"],
        )
        for family in dataset.families():
            columns = shown.datasets[label].headline(family)
            if not columns:
                continue
            notes = view.Notes()
            points = width_mm * POINTS
            down, across = (
                _numbers_grid(dataset, columns, labels, notes, room)
                for room in (points / 3, points / 4.2)
            )
            legend = _LEGEND.format(
                spread=view.spread_words(summary.run.info),
                draws=max((floor.n for floor in dataset.floors.values()), default=0),
            )
            written[f"{name}-{slug(family)}"] = tables(
                shortest(down.parts(points), across.transposed().parts(points)),
                width_mm,
                f"{family.capitalize()} on {label}.",
                f"tab:{name}-{slug(family)}",
                [*(f"{code}: {reason}." for code, reason in notes.items()), legend],
            )
    return written


def _distance_words() -> str:
    return ". ".join(texts.EXPLANATION.split(". ")[:2]) + "."


def _numbers_grid(
    dataset: DatasetSummary,
    columns: Sequence[Column],
    labels: Sequence[str],
    notes: view.Notes,
    share: float,
) -> Grid:
    """Numbers down, the floor and generators across; heads of at most `share` points."""
    floors = any(column.key in dataset.floors for column in columns)
    heads = [wrap("Floor", share)] * floors + [wrap(label, share) for label in labels]
    rows = []
    for column in columns:
        decimals = view.column_decimals(dataset, column)
        head = view.head(column)
        best = dataset.best(column)
        unit = f" ({head.unit})" if head.unit else ""
        gap = " " if head.ideal else "\N{NO-BREAK SPACE}"
        title = wrap(f"{head.title}{unit}{gap}{head.arrow}{head.ideal}", share)
        cells = []
        if floors:
            floor = view.show_floor(dataset.floors.get(column.key), decimals)
            cells.append(_cell(floor.text, floor.spread))
        for label in labels:
            cell = dataset.cell(label, column)
            winner = best is not None and label in best.cohorts
            shown = view.show_cell(cell, decimals, notes, winner)
            beneath = f"±\N{NARROW NO-BREAK SPACE}{shown.spread}" if shown.spread else ""
            if cell.attack is not None and None not in (cell.attack.low, cell.attack.high):
                beneath = f"[{cell.attack.low:.2f}, {cell.attack.high:.2f}]".replace("-", "−")
            text = f"{shown.text} {shown.mark}".strip()
            cells.append(_cell(text, beneath, shown.best, shown.note))
        rows.append((title, *cells))
    return Grid((wrap("", share), *heads), tuple(rows))


def _cell(text: str, beneath: str, bold: bool = False, note: str = "") -> Cell:
    first = Line(text, bold=bold, note=note)
    return (first, Line(beneath, small=True)) if beneath else (first,)


def _verdicts(
    summary: Summary,
    boards: Sequence[Leaderboard],
    dataset: str,
    labels: Sequence[str],
    points: float,
) -> Grid:
    """Rows: rank, distance with its interval, faithful, useful, leaks; in the order of verdicts."""
    places = {
        row.label: row
        for board in reversed(boards)
        if board.dataset == dataset
        for row in texts.show_rows(board)
    }
    found = next(v for v in reach_verdicts(summary, boards) if v.dataset == dataset)
    useful = any(row.useful.judged for row in found.rows)
    share = points / 5
    rows = []
    for row in found.rows:
        if row.generator not in labels:
            continue
        place = places.get(row.generator)
        rows.append(
            (
                (
                    *wrap(row.generator, share),
                    Line(f"rank {place.rank}" if place else "–", small=True),
                ),
                _cell(place.distance, place.interval) if place else (Line("–"),),
                _inside(row.faithful),
                *([_inside(row.useful)] if useful else []),
                wrap(brief_leaks(row.leaks, 50), 1.3 * share, small=True),
            )
        )
    heads = ["", "Distance", "Faithful", *(["Useful"] if useful else []), "Leaks"]
    return Grid(tuple((Line(head),) for head in heads), tuple(rows))


def _inside(inside: Inside) -> Cell:
    if not inside.judged:
        return wrap(inside.answer, 36, small=True)
    return _cell(inside.answer, f"{inside.inside} of {inside.judged}")


# --- methods ----------------------------------------------------------------------------------


@dataclass
class Bibliography:
    """Sources in the order in which they are first cited, each with a key of its own."""

    sources: dict[str, Citation] = field(default_factory=dict)

    def key(self, source: Citation) -> str:
        """The key that a source is cited by."""
        key, number = source.key, 2
        while self.sources.setdefault(key, source).text != source.text:
            key, number = f"{source.key}x{number}", number + 1
        return key

    def cited(self, citations: Iterable[str]) -> str:
        """LaTeX that cites these, or nothing."""
        keys = [self.key(cite(citation)) for citation in citations]
        return rf"~\cite{{{','.join(dict.fromkeys(keys))}}}" if keys else ""


def render_methods(
    summary: Summary, boards: Sequence[Leaderboard], selection: Selection
) -> tuple[str, Bibliography]:
    """The methods paragraph of a run as LaTeX, and what it cites."""
    run = selection.run(summary.run)
    info, books = run.info, Bibliography()
    version = str((info.get("versions") or {}).get("haplobench", ""))
    sha = str((info.get("git") or {}).get("sha", ""))[:9]
    own = books.key(_haplobench(version))
    rows = {label: c for label, c in run.cohorts.items() if c.role != FLOOR}
    code = f"(version {version}{f', commit {sha}' if sha else ''})" if version else ""
    lines = [
        f"{breakable(listed(list(rows)) or 'No one')} were compared by haplobench "
        f"{escape(code)}~\\cite{{{own}}}."
    ]
    splits = _splits(run.folder)
    for label in summary.datasets:
        about = run.datasets[label]
        known = dict(facts.dataset_facts(about))
        parts = [
            ("", "Region"),
            ("variant sites: ", "Variant sites"),
            ("haplotypes: ", "Haplotypes"),
        ]
        text = "; ".join(lead + known[name] for lead, name in parts if name in known)
        lines.append(
            f"Panel {breakable(f'{label}: {text}')}{books.cited(about.get('citations') or ())}"
            f"{escape(splits.get(label, ''))}."
        )
    for cohort in rows.values():
        given = {key: value for key, value in cohort.params.items() if value is not None}
        about_it = [f"version {cohort.version}"] if cohort.version else []
        about_it += [f"{key} {text}" for key, text in view.flatten(given)]
        kind = f"{cohort.name} " if cohort.name not in ("", cohort.label) else ""
        words = f"{cohort.label} ({kind}{'; '.join(about_it) or 'no parameters'})"
        lines.append(f"{breakable(words)}{books.cited(cohort.citations)}.")
    lines.append("Parameters without a value were left to the generator.")
    families: dict[str, list[str]] = {}
    for metric in run.metrics.values():
        versioned = f" {metric.version}" if metric.version else ""
        words = breakable(f"{metric.name}{versioned}") + books.cited(metric.citations)
        families.setdefault(metric.family, []).append(words)
    for family, names in families.items():
        lines.append(f"{escape(family.capitalize())} was measured by {', '.join(names)}.")
    seeds = [str(seed) for seed in info.get("seeds") or ()]
    if seeds:
        fits = (
            f"repeated with the seeds {listed(seeds)}" if seeds[1:] else f"of the seed {seeds[0]}"
        )
        draws = counted(int(info.get("draws") or 1), "cohort")
        spread = view.spread_words(info).removeprefix("the ")
        lines.append(escape(f"Every fit was {fits} and gave {draws}; ± is the {spread}."))
    if info.get("floor_draws"):
        lines.append(
            escape(
                f"The noise floor of a number is what it is of {info['floor_draws']} draws of real "
                "people in the place of synthetic ones."
            )
        )
    if boards:
        lines.append(escape(_distance_words()))
    lines.append(escape(explain(summary.rules)))
    versions = [f"{name} {text}" for name, text in (info.get("versions") or {}).items()]
    if versions:
        machine = (info.get("hardware") or {}).get("cpu")
        on = f", on {machine}" if machine else ""
        lines.append(f"Versions: {breakable(', '.join(versions) + on)}.")
    body = "\n".join(lines)
    return f"{{\\sloppy\n{body}\\par}}\n", books


def _splits(folder: Path) -> dict[str, str]:
    """How each dataset was split, as the run's resolved suite has it."""
    import yaml

    try:
        suite: Any = yaml.safe_load((folder / "suite.yaml").read_text(encoding="utf-8"))
        entries = {entry["label"]: entry.get("split") or {} for entry in suite["datasets"]}
    except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError):
        return {}
    return {
        label: f", split by person ({_split_words(split)})"
        for label, split in entries.items()
        if isinstance(split, dict) and split
    }


def _split_words(split: Mapping[str, Any]) -> str:
    words = {key: value for key, value in split.items() if isinstance(value, (int, float, str))}
    return ", ".join(f"{key} {value}" for key, value in words.items())


# --- references and the document -----------------------------------------------------------------


def _haplobench(version: str) -> Citation:
    """The program itself, as `CITATION.cff` names it."""
    return Citation(
        "haplobench",
        "misc",
        {
            "author": "{The haplobench maintainers}",
            "title": "{haplobench}: a benchmark harness for synthetic human genomes",
            "howpublished": f"Version {version or 'unknown'}",
        },
    )


def render_bibtex(books: Bibliography) -> str:
    """BibTeX of the sources, in ASCII."""
    entries = []
    for key, source in books.sources.items():
        lines = [f"@{source.kind}{{{key},"]
        for name, value in source.fields.items():
            raw = name in ("doi", "pages", "year") or value.startswith("https://")
            text = value if raw else escape(value, braces="note" not in source.fields)
            lines.append(f"  {name} = {{{text}}},")
        entries.append("\n".join([*lines, "}"]))
    return "\n\n".join(entries) + "\n"


def render_document(
    title: str, tables: Sequence[str], figures: Sequence[Figure], width_mm: float, cited: bool
) -> str:
    """A whole document that shows everything that was written, and how to include it."""
    lines = [
        r"\documentclass[10pt]{article}",
        rf"\usepackage[textwidth={width_mm:g}mm,textheight=240mm]{{geometry}}",
        r"\usepackage{booktabs,graphicx}",
        r"\begin{document}",
        rf"{{\sloppy\section*{{{breakable(title)}}}}}",
        r"\input{methods}",
    ]
    for name in tables:
        lines += [rf"\input{{{name}}}", r"\clearpage"]
    for figure in figures:
        lines += [
            r"\begin{figure}[t]\centering\sloppy",
            rf"\includegraphics{{figures/{figure.file}.pdf}}",
            rf"\caption{{{breakable(f'{figure.title} ({figure.dataset}). {figure.caption}')}}}",
            r"\end{figure}",
            r"\clearpage",
        ]
    if cited:
        lines += [r"{\sloppy", r"\bibliographystyle{unsrt}", r"\bibliography{references}}"]
    return "\n".join([*lines, r"\end{document}", ""])
