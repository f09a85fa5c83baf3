"""Figures: what the metrics' plugins draw from the series of a run, as SVG."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np
from numpy.typing import NDArray

from haplobench.errors import BenchError
from haplobench.plugin import CohortSeries
from haplobench.registry import load_registry, resolve
from haplobench.report.leaderboard import Leaderboard
from haplobench.report.leaderboard_texts import CAPTION, TITLE, draw_board
from haplobench.report.style import FLOOR_COLOUR, FigureStyle, inline, theme
from haplobench.report.svg import Renderer, render_spec, renderer, size
from haplobench.results.description import FigureInfo
from haplobench.results.records import SUBSAMPLE, Record
from haplobench.results.table import Run, row_label, why

if TYPE_CHECKING:
    from pathlib import Path

_THEME = "haplobench"
_NARROWEST = 120
"""Pixels of a plot that can still be read."""
_OWN = re.compile(r"leaderboard(-site-free)?$|claims-|scaling-", re.IGNORECASE)


@dataclass(frozen=True)
class Figure:
    """A figure as drawn: `svg` with what its marks say; `file` relative to the figures' folder."""

    dataset: str
    metric: str
    name: str
    title: str
    caption: str
    svg: str
    file: str


@dataclass(frozen=True)
class FigureProblem:
    """A figure that could not be drawn, and why, in one line."""

    dataset: str
    metric: str
    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.dataset}: figure {self.name} of {self.metric}: {self.reason}"


def figure_style(run: Run) -> FigureStyle:
    """The style of a run's figures: generators get the first colours, controls the next."""
    cohorts = run.cohorts.values()
    generators = [c.label for c in cohorts if c.role == "generator"]
    controls = [c.label for c in cohorts if c.role == "control"]
    floor = [c.label for c in cohorts if c.role == "floor"]
    return FigureStyle(order=(*generators, *controls, *floor), floor=tuple(floor))


def installed_targets() -> frozenset[str]:
    """Targets of all figures that installed metrics declare: a run's own may be anybody's."""
    return frozenset(figure.target for figure in current_figures().values())


def current_figures() -> dict[tuple[str, str], FigureInfo]:
    """Figures that installed metrics declare, by the names of both."""
    return {
        (spec.name, figure.name): FigureInfo(**vars(figure))
        for spec in load_registry().metrics.values()
        for figure in spec.figures
    }


def print_style(run: Run, width: float) -> FigureStyle:
    """`figure_style` for a column of print, of `width` pixels."""
    return replace(figure_style(run), legend="bottom", columns=max(2, round(width / 160)))


Drawing = Callable[[], tuple[list[Figure], list[FigureProblem]]]
"""Waits for figures in the making."""


def begin_figures(run: Run, boards: Sequence[Leaderboard], processes: Renderer) -> Drawing:
    """Begin the chart of each leaderboard, then every metric's figures, see `draw_figures`."""
    style = figure_style(run)
    charts = [(board, draw_board(board, style)) for board in boards]
    begun = [
        (board, processes.submit(_themed(chart, style, validate=False), style.order))
        for board, chart in charts
        if chart is not None
    ]
    drawing = _begin_figures(run, style, 0, processes)

    def wait() -> tuple[list[Figure], list[FigureProblem]]:
        first = [_board_figure(board, work.result()) for board, work in begun]
        figures, problems = drawing()
        return [*first, *figures], problems

    return wait


def draw_figures(
    run: Run, style: FigureStyle | None = None, width: float = 0
) -> tuple[list[Figure], list[FigureProblem]]:
    """Draw every figure of every metric for every dataset.

    In a `style` other than the run's if given, and as near to a `width` in pixels as the figure's
    code allows. A figure whose code isn't an installed metric's, raises or gives no chart costs
    only itself. One that returns None has nothing to draw and is left out. While one figure is
    rendered, the next is made.

    Raises
    ------
    BenchError
        If altair or vl-convert are not installed.
    """
    with renderer() as processes:
        return _begin_figures(run, style or figure_style(run), width, processes)()


def _begin_figures(run: Run, style: FigureStyle, width: float, processes: Renderer) -> Drawing:
    altair, _ = _libraries()
    installed, current = installed_targets(), current_figures()
    rows: dict[tuple[str, str], dict[str, Record]] = {}
    for record in run.records:
        if record.series:
            here = rows.setdefault((record.dataset, record.metric), {})
            here.setdefault(record.series, record)
    problems: list[FigureProblem] = []
    made: list[tuple[str, str, FigureInfo, Future[str | None] | Future[str]]] = []
    # Charts of installed metrics are checked by their tests, not again at every report.
    with altair.utils.schemapi.debug_mode(False):
        for dataset in run.datasets:
            for metric in run.metrics.values():
                if not metric.figures or (dataset, metric.name) not in rows:
                    continue
                cohorts, missing = read_series(run, rows[dataset, metric.name].values())
                if missing:
                    reason = f"{len(missing)} series missing or unreadable, first {missing[0]}"
                    problems.append(FigureProblem(dataset, metric.name, "(all)", reason))
                for info in metric.figures:
                    # What draws is today's code, wherever an older version had it: so are its
                    # words.
                    info = current.get((metric.name, info.name), info)
                    try:
                        if info.target not in installed:
                            raise BenchError(
                                "its metric isn't installed; figures of others' code aren't drawn"
                            )
                        work = _begin(processes, info, cohorts, style, width)
                    except BenchError as error:
                        problems.append(FigureProblem(dataset, metric.name, info.name, str(error)))
                        continue
                    if work is not None:
                        made.append((dataset, metric.name, info, work))

    def wait() -> tuple[list[Figure], list[FigureProblem]]:
        figures: list[Figure] = []
        files: set[str] = set()
        for dataset, name, info, work in made:
            try:
                svg = work.result()
            except Exception as error:  # whatever the conversion of a plugin's chart raises
                problems.append(FigureProblem(dataset, name, info.name, why("", str(error))))
                continue
            if svg is not None:
                file = _file(dataset, f"{name}-{info.name}", files)
                figures.append(
                    Figure(dataset, name, info.name, info.title, info.caption, svg, file)
                )
        return figures, problems

    return wait


def _begin(
    processes: Renderer,
    info: FigureInfo,
    cohorts: list[CohortSeries],
    style: FigureStyle,
    width: float,
) -> Future[str | None] | Future[str] | None:
    """A figure in the making; None where there is nothing to draw."""
    if width:  # drawn several times, each by what the one before came to
        done: Future[str | None] = Future()
        done.set_result(_drawn(partial(draw, info, cohorts), style, width))
        return done
    spec = _spec(info, cohorts, style, validate=False)
    return None if spec is None else processes.submit(spec, style.order)


def _drawn(
    draw: Callable[[FigureStyle], str | None], style: FigureStyle, width: float
) -> str | None:
    """An SVG, drawn anew with a plot as wide as makes it `width` pixels, where that helps."""
    svg = draw(style)
    excess = size(svg)[0] - width if svg and width else 0
    if not excess:
        return svg
    other = replace(style, width=style.width - 60)
    narrow = draw(other)
    gain = (size(svg or "")[0] - size(narrow or "")[0]) / 60
    if not gain:
        return svg
    return draw(replace(style, width=max(_NARROWEST, round(style.width - excess / gain))))


def draw_boards(
    run: Run, boards: Sequence[Leaderboard], style: FigureStyle | None = None, width: float = 0
) -> list[Figure]:
    """The chart of each leaderboard that ranks anybody; named as a figure of `leaderboard`."""
    style = style or figure_style(run)
    figures = []
    for board in boards:

        def draw_it(style: FigureStyle, board: Leaderboard = board) -> str | None:
            chart = draw_board(board, style)
            return None if chart is None else render_chart(chart, style)

        svg = _drawn(draw_it, style, width)
        if svg is not None:
            figures.append(_board_figure(board, svg))
    return figures


def _board_figure(board: Leaderboard, svg: str) -> Figure:
    free = "" if board.scope == "all" else f"-{board.scope}"
    title = f"{TITLE}, site-free numbers" if free else TITLE
    file = f"{slug(board.dataset)}/leaderboard{free}"
    return Figure(board.dataset, "leaderboard", f"distance{free}", title, CAPTION, svg, file)


def draw(info: FigureInfo, cohorts: list[CohortSeries], style: FigureStyle) -> str | None:
    """Draw one figure; None where it has nothing to draw.

    Raises
    ------
    BenchError
        If its code can't be imported, raises, or returns what is no chart.
    """
    spec = _spec(info, cohorts, style, validate=True)
    try:
        return None if spec is None else render_spec(spec, style.order)
    except Exception as error:
        raise BenchError(why(type(error).__name__, str(error))) from error


def _spec(
    info: FigureInfo, cohorts: list[CohortSeries], style: FigureStyle, *, validate: bool
) -> dict[str, Any] | None:
    """One figure as Vega-Lite, see `draw`; `validate`: against its schema."""
    _libraries()
    function = resolve(info.target)
    # Making it and its conversion run a plugin's code: whatever it raises is its own.
    try:
        chart = function(cohorts, style)
        if chart is None:
            return None
        if not hasattr(chart, "to_dict"):
            raise TypeError(f"expected an altair chart, found {type(chart).__name__}")
        return _themed(chart, style, validate)
    except Exception as error:
        raise BenchError(why(type(error).__name__, str(error))) from error


def render_chart(chart: Any, style: FigureStyle) -> str:
    """SVG of an altair chart in the report's look, its marks annotated (see `svg.annotate`).

    A chart of pictures brings its numbers as CSV in its `usermeta`, under `csv`.
    """
    return render_spec(_themed(chart, style, validate=True), style.order)


def _themed(chart: Any, style: FigureStyle, validate: bool) -> dict[str, Any]:
    altair, _ = _libraries()
    altair.theme.register(_THEME, enable=False)(lambda: {"config": dict(theme(style))})
    with (
        altair.theme.enable(_THEME),
        altair.data_transformers.enable("default", max_rows=None),
    ):
        spec: dict[str, Any] = chart.to_dict(validate=validate)
    if style.columns:
        _cap_columns(spec, style.columns)
    return spec


def _cap_columns(spec: Any, most: int) -> None:
    """Have no facets or concatenations of a Vega-Lite chart be more than so many in a row."""
    if isinstance(spec, list):
        for part in spec:
            _cap_columns(part, most)
    elif isinstance(spec, dict):
        for key, part in spec.items():
            if key not in ("data", "datasets", "config"):
                _cap_columns(part, most)
        if isinstance(spec.get("columns"), int):
            spec["columns"] = min(spec["columns"], most)


def read_series(run: Run, records: Iterable[Record]) -> tuple[list[CohortSeries], list[str]]:
    """Series named by these records, in the order of the tables, and paths that can't be read."""
    order = {label: at for at, label in enumerate(run.cohorts)}
    entries = [(row_label(row.generator, row.world_size), row) for row in records]
    series, missing = [], []
    root = run.folder.resolve()
    inside = cache(lambda folder: folder.resolve().is_relative_to(root))
    for label, row in sorted(
        (entry for entry in entries if entry[0] in order),
        key=lambda entry: (order[entry[0]], entry[1].seed, entry[1].replicate),
    ):
        tables = _read_tables(run.folder, row.series, inside)
        if tables is None:
            missing.append(row.series)
        elif row.role != SUBSAMPLE:
            series.append(CohortSeries(label, row.role, row.seed, row.replicate, tables))
    return series, missing


class _Tables(Mapping[str, Mapping[str, Any]]):
    """The tables of one file of series, each read when it is asked for: figures need few."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.columns: dict[str, list[str]] = {}
        with zipfile.ZipFile(path) as stored:
            for name in stored.namelist():
                table, _, column = name.removesuffix(".npy").partition("/")
                self.columns.setdefault(table, []).append(column)
        self.read: dict[str, dict[str, Any]] = {}

    def __getitem__(self, table: str) -> Mapping[str, Any]:
        if table not in self.read:
            import numpy as np

            columns = self.columns[table]
            with np.load(self.path, allow_pickle=False) as stored:
                self.read[table] = {name: stored[f"{table}/{name}"] for name in columns}
        return self.read[table]

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __contains__(self, table: object) -> bool:
        return table in self.columns


def _read_tables(
    folder: Path, series: str, inside: Callable[[Path], bool]
) -> Mapping[str, Mapping[str, Any]] | None:
    """The tables of a file under `folder`; None where it can't be read, or lies elsewhere."""
    path = folder / series
    if not inside(path.parent) or path.name in ("", "..") or path.is_symlink():
        return None
    try:
        return _Tables(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def _libraries() -> tuple[Any, Any]:
    try:
        import altair
        import vl_convert
    except ImportError as error:
        raise BenchError(
            f"figures need {error.name}", hint="pip install 'haplobench[report]'"
        ) from None
    return altair, vl_convert


def slug(text: str) -> str:
    """A file name of a label: letters, digits, dot, dash; never empty, never a path."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")[:80] or "unnamed"


def _file(dataset: str, name: str, taken: set[str]) -> str:
    """`<dataset>/<metric>-<name>`, numbered where labels differ only in what a slug loses."""
    base = file = f"{slug(dataset)}/{slug(name)}"
    number = 2
    # Those of the leaderboard, of claims and of scaling are the report's own.
    while file.lower() in taken or (file == base and _OWN.match(slug(name))):
        file, number = f"{base}-{number}", number + 1
    taken.add(file.lower())
    return file


# --- curves as small multiples, for plugins ---------------------------------------------------

Curve = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
# Panels side by side, and their size.
_COLUMNS = 5
_WIDTH, _HEIGHT = 130, 100


def curve_multiples(
    cohorts: Sequence[CohortSeries],
    style: FigureStyle,
    curve: Callable[[CohortSeries], Curve | None],
    *,
    x: Any,
    y: Any,
) -> alt.FacetChart | None:
    """One panel per generator: its mean curve, its seeds' (faint), the real one, the floor's range.

    `curve` gives (x, real y, synthetic y) of a cohort, each (n,), or None. `x` and `y` are
    altair encodings of the fields `x` and `y`. None where no generator has a curve.
    """
    drawn = [(cohort, found) for cohort in cohorts if (found := curve(cohort)) is not None]
    labels = style.sorted([cohort.label for cohort, _ in drawn if cohort.role != "floor"])
    if not labels:
        return None
    floor = _range([found for cohort, found in drawn if cohort.role == "floor"])
    rows: list[dict[str, Any]] = []
    for label in labels:
        mine = [(cohort.seed, found) for cohort, found in drawn if cohort.label == label]
        rows += [{"generator": label, "kind": "floor", **row} for row in floor]
        rows += _mean_rows(label, "real", [(at, real) for _, (at, real, _) in mine])
        rows += _mean_rows(label, "mean", [(at, synthetic) for _, (at, _, synthetic) in mine])
        seeds = sorted({seed for seed, _ in mine})
        for seed in seeds if len(seeds) > 1 else []:
            one = [(at, synthetic) for own, (at, _, synthetic) in mine if own == seed]
            rows += _mean_rows(label, f"seed {seed}", one)
    base = alt.Chart().properties(width=_WIDTH, height=_HEIGHT)
    kind = alt.datum.kind
    band = (
        base.transform_filter(kind == "floor")
        .mark_area(color=FLOOR_COLOUR, opacity=0.45)
        .encode(x=x, y=y, y2="high:Q")
    )
    colour = alt.Color("generator:N", scale=style.scale(labels), legend=None)
    faint = (
        base.transform_filter("indexof(datum.kind, 'seed') == 0")
        .mark_line(opacity=0.35, strokeWidth=0.8)
        .encode(x=x, y=y, color=colour, detail="kind:N")
    )
    mean = (
        base.transform_filter(kind == "mean")
        .mark_line(strokeWidth=1.8)
        .encode(x=x, y=y, color=colour)
    )
    real = (
        base.transform_filter(kind == "real")
        .mark_line(strokeWidth=1.2, strokeDash=[4, 3], color="black")
        .encode(x=x, y=y)
    )
    data = inline(rows)
    return alt.layer(band, faint, mean, real, data=data).facet(
        facet=alt.Facet("generator:N", sort=labels, title=None), columns=_COLUMNS
    )


def _mean_rows(
    label: str, kind: str, curves: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]
) -> list[dict[str, Any]]:
    """Mean over curves, at each x that any of them has."""
    return [
        {"generator": label, "kind": kind, "x": at, "y": float(np.mean(values))}
        for at, values in _by_x(curves).items()
    ]


def _range(curves: Sequence[Curve]) -> list[dict[str, float]]:
    values = _by_x([(at, synthetic) for at, _, synthetic in curves])
    return [{"x": at, "y": min(found), "high": max(found)} for at, found in values.items()]


def _by_x(
    curves: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> dict[float, list[float]]:
    found: dict[float, list[float]] = {}
    for at, values in curves:
        for x, y in zip(at.tolist(), values.tolist(), strict=True):
            found.setdefault(float(f"{x:.6g}"), []).append(y)
    return dict(sorted(found.items()))
