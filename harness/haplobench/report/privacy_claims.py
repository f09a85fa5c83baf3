"""Claims of differential privacy: of whom, and which generators differ in little else."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from haplobench.errors import FormatError, PluginError
from haplobench.report.model import Cell, Column, DatasetSummary, Summary, possible
from haplobench.report.style import FLOOR_COLOUR, TICKS, FigureStyle, inline
from haplobench.results.description import SubmetricInfo
from haplobench.results.table import Run, row_label

if TYPE_CHECKING:
    import altair

    from haplobench.plugin.privacy import PrivacyStatement
    from haplobench.report.figures import Figure


@dataclass(frozen=True)
class PrivacyClaim:
    """What a row of the tables claims.

    Attributes
    ----------
    epsilon : float
        Of one fit: the largest over its seeds; infinite: no bound, and `no_bound` says why.
    delta : float
        The largest over its seeds.
    unit, accountant, mechanism, noise : str
        As stated, of its first seed; `noise`: where the noise came from, in words.
    no_bound, caution : str
        Why there is no finite ε; what to know of a δ that is large for so many people.
    total : Total or None
        Of all its fits; None where the run doesn't say.
    """

    epsilon: float
    delta: float
    unit: str = ""
    accountant: str = ""
    mechanism: str = ""
    noise: str = ""
    no_bound: str = ""
    caution: str = ""
    total: Total | None = None

    @property
    def text(self) -> str:
        """For a reader: `ε 7.99, δ 0.0005 per person, for one fit; PRV (opacus 1.6)`."""
        if math.isinf(self.epsilon):
            return f"ε\N{NO-BREAK SPACE}∞: {self.no_bound or 'trained without noise: no claim'}"
        from haplobench.plugin.privacy import delta_words

        unit = f" per {self.unit}" if self.unit else ""
        head = f"ε\N{NO-BREAK SPACE}{self.epsilon:.3g}, δ\N{NO-BREAK SPACE}{self.delta:.2g}{unit}"
        parts = [
            f"{head}, for one fit: it holds {delta_words(self.delta)}",
            "" if self.total is None else self.total.text,
            self.accountant,
            self.mechanism,
            self.noise,
            self.caution,
        ]
        return "; ".join(part for part in parts if part)

    @property
    def words(self) -> str:
        """What ε of all its fits means, for a reader who knows no ε; empty without a bound."""
        epsilon = self.epsilon if self.total is None else self.total.epsilon
        if math.isinf(epsilon):
            return ""
        who = self.unit or "record"
        if epsilon > math.log(1e6):
            return f"an ε of {epsilon:.3g} promises no {who} anything in practice"
        return (
            f"whatever is seen of this generator is at most {math.exp(epsilon):,.3g} times as "
            f"probable with any one {who} among its training data as without (e^ε)"
        )


@dataclass(frozen=True)
class Total:
    """ε of several fits of the same people together (see `haplobench.compose_claims`).

    Attributes
    ----------
    epsilon, delta : float
    fits, shadow_fits : int
        Shadow fits as a person is in them: one of each pair.
    method : str
        Of composing, or why there is no bound.
    datasets, without_bound : tuple of str
        Datasets whose people these are; of a total over rows, the rows that have no bound and
        are left out.
    """

    epsilon: float
    delta: float
    fits: int
    shadow_fits: int = 0
    method: str = ""
    datasets: tuple[str, ...] = ()
    without_bound: tuple[str, ...] = ()

    @property
    def counted(self) -> str:
        """`3 fits and 12 shadow fits`."""
        fits = f"{self.fits} fit{'s' * (self.fits != 1)}"
        if not self.shadow_fits:
            return fits
        return f"{fits} and {self.shadow_fits} shadow fit{'s' * (self.shadow_fits != 1)}"

    @property
    def text(self) -> str:
        """`3 fits together: ε 16.1, δ 1e-06, by privacy loss distributions`."""
        together = " together" * (self.fits + self.shadow_fits > 1)
        if math.isinf(self.epsilon):
            return f"{self.counted}{together}: ε\N{NO-BREAK SPACE}∞ ({self.method})"
        return (
            f"{self.counted}{together}: ε\N{NO-BREAK SPACE}{self.epsilon:.3g}, "
            f"δ\N{NO-BREAK SPACE}{self.delta:.2g}, by {self.method}"
        )


@dataclass(frozen=True)
class EpsilonSeries:
    """Generators that differ only in the parameter that their ε goes by.

    `label` names what they share and other lines don't; `cohorts` are in order of ε.
    """

    label: str
    cohorts: tuple[str, ...]


def read_claims(run: Run) -> dict[str, dict[str, PrivacyClaim]]:
    """Claims by dataset and row label, of run.json; rows that claim nothing are left out."""
    found: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for entry in run.info.get("claims") or ():
        rows = found.setdefault(str(entry.get("dataset", "")), {})
        rows.setdefault(_row_label(entry), []).append(entry)
    totals = {
        (one["datasets"][0], _row_label(one)): _total(one)
        for one in run.info.get("privacy_totals") or ()
        if "generator" in one
    }
    return {
        dataset: {
            label: _claim(entries, totals.get((dataset, label))) for label, entries in rows.items()
        }
        for dataset, rows in found.items()
    }


def claim_rows(run: Run) -> list[tuple[str, str, PrivacyClaim]]:
    """Dataset, row label and claim, of rows that claim something, in the order of the tables."""
    claims = read_claims(run)
    return [
        (dataset, label, claims[dataset][label])
        for dataset in run.datasets
        for label in run.cohorts
        if label in claims.get(dataset, {})
    ]


def claim_totals(run: Run) -> list[Total]:
    """Of all rows with a bound on the same people, where there are any."""
    totals = [_total(one) for one in run.info.get("privacy_totals") or () if "generator" not in one]
    return [total for total in totals if total.fits]


CLAIM_HEADS = ("ε of one fit", "δ", "Fits + shadows", "ε of all", "δ of all")
"""Heads of the table of claims, after dataset and generator."""


def claim_cells(claim: PrivacyClaim) -> tuple[str, str, str, str, str]:
    """A row of the table of claims."""
    total = claim.total
    return (
        _bound(claim.epsilon),
        f"{claim.delta:.2g}" if math.isfinite(claim.epsilon) else "–",
        f"{total.fits} + {total.shadow_fits}" if total else "–",
        _bound(total.epsilon) if total else "–",
        f"{total.delta:.2g}" if total and math.isfinite(total.epsilon) else "–",
    )


def _bound(epsilon: float) -> str:
    return f"{epsilon:.3g}" if math.isfinite(epsilon) else "∞"


def claim_sentences(run: Run) -> list[str]:
    """What the table of claims means, and what everything in it comes to together."""
    rows = claim_rows(run)
    if not rows:
        return []
    from haplobench.plugin.privacy import delta_words

    bounded = [(label, claim) for _, label, claim in rows if math.isfinite(claim.epsilon)]
    sentences = []
    if bounded:
        units = sorted({claim.unit or "record" for _, claim in bounded})
        greatest = max(claim.delta for _, claim in bounded)
        sentences.append(
            f"ε bounds what any one {' or '.join(units)} changes, {delta_words(greatest)} (δ). "
            "Draws from a fitted generator, however many, cost nothing more (post-processing); "
            "each further fit on the same people does, each seed and each setting. Shadow fits "
            "count: nobody is given their models, but numbers made from them are in the records."
        )
    for total in claim_totals(run):
        sentences.append(
            f"All that claims a bound on the people of {', '.join(total.datasets)}: {total.text}."
        )
        if total.without_bound:
            others = ", ".join(total.without_bound)
            sentences.append(f"Nothing bounds what {others} give away of the same people.")
    if bounded:
        sentences.append(
            "These are of this run alone, and of what its generators give away: the metrics' "
            "numbers are measured on the people themselves and are not covered."
        )
    for words in dict.fromkeys(
        claim.no_bound or claim.noise for *_, claim in rows if claim.no_bound or claim.noise
    ):
        labels = dict.fromkeys(
            label for _, label, claim in rows if words == (claim.no_bound or claim.noise)
        )
        sentences.append(f"{', '.join(labels)}: {words}.")
    cautions = dict.fromkeys(claim.caution for *_, claim in rows if claim.caution)
    return sentences + [f"Caution: {words}." for words in cautions]


def _row_label(entry: Mapping[str, Any]) -> str:
    return row_label(str(entry.get("generator", "")), int(entry.get("world_size") or 1))


def _total(entry: Mapping[str, Any]) -> Total:
    epsilon, delta = entry.get("epsilon"), entry.get("delta")
    return Total(
        epsilon=math.inf if epsilon is None else float(epsilon),
        delta=0.0 if delta is None else float(delta),
        fits=int(entry.get("fits") or 0),
        shadow_fits=int(entry.get("shadow_fits") or 0),
        method=str(entry.get("method") or ""),
        datasets=tuple(entry.get("datasets") or ()),
        without_bound=tuple(entry.get("without_bound") or ()),
    )


def _claim(entries: Sequence[Mapping[str, Any]], total: Total | None) -> PrivacyClaim:
    stated = [_statement(entry) for entry in entries]
    worst = max(stated, key=lambda one: one.epsilon)
    return PrivacyClaim(
        epsilon=worst.epsilon,
        delta=max(one.delta for one in stated),
        **{name: getattr(stated[0], name) for name in ("unit", "accountant", "mechanism")},
        noise="" if worst.noise_source == "unstated" else worst.noise_words,
        no_bound=worst.no_bound,
        caution=next((one.caution for one in stated if one.caution), ""),
        total=total,
    )


def _statement(entry: Mapping[str, Any]) -> PrivacyStatement:
    """A claim of run.json as what it was made of; older runs' lack some of it.

    Raises FormatError, naming dataset and generator, where it states what no claim can.
    """
    from haplobench.plugin.privacy import PrivacyStatement

    known = {one.name for one in fields(PrivacyStatement)}
    given = {"unit": "record", "accountant": "unnamed", "sampling": "unstated", "delta": 0.0}
    given |= {key: value for key, value in entry.items() if key in known}
    try:
        return PrivacyStatement.from_json(json.dumps(given))
    except (PluginError, TypeError, ValueError, AttributeError) as error:
        place = f"{entry.get('dataset')}, {entry.get('generator')}"
        raise FormatError(f"run.json: claims: {place}: {error}") from None


def epsilon_series(run: Run, claims: Mapping[str, PrivacyClaim]) -> list[EpsilonSeries]:
    """Rows that claim privacy, joined to lines along which only ε's parameter changes.

    Which parameter that is, is found: the one without which the most generators of a plugin
    agree in all others while their ε differ. A generator that agrees with no other is a line by
    itself.
    """
    result: list[EpsilonSeries] = []
    for name in dict.fromkeys(run.cohorts[label].name for label in claims if label in run.cohorts):
        cohorts = [c for c in run.cohorts.values() if c.name == name and c.label in claims]
        params = {
            c.label: {**flat(c.params), "ranks": c.label.removeprefix(_plain_label(c.label))}
            for c in cohorts
        }
        result += _series(name, params, {label: claims[label].epsilon for label in params})
    names = [line.label for line in result]
    several = len({run.cohorts[line.cohorts[0]].name for line in result}) > 1
    if several or len(set(names)) < len(names):
        result = [
            EpsilonSeries(", ".join(filter(None, (run.cohorts[line.cohorts[0]].name, line.label))),
                 line.cohorts)
            for line in result
        ]  # fmt: skip
    return result


def _plain_label(label: str) -> str:
    head, bracket, _ = label.rpartition(" (")
    return head if bracket and label.endswith(" ranks)") else label


def _series(
    name: str, params: Mapping[str, Mapping[str, Any]], epsilons: Mapping[str, float]
) -> list[EpsilonSeries]:
    keys = sorted({key for values in params.values() for key in values})
    varying = [key for key in keys if len({_text(p.get(key)) for p in params.values()}) > 1]
    best: dict[tuple[str, ...], list[str]] = {(label,): [label] for label in params}
    moved, most = "", 0
    for key in varying:
        groups: dict[tuple[str, ...], list[str]] = {}
        for label, values in params.items():
            shared = tuple(_text(values.get(other)) for other in varying if other != key)
            groups.setdefault(shared, []).append(label)
        joined = sum(
            len(labels)
            for labels in groups.values()
            if len({epsilons[label] for label in labels}) == len(labels) > 1
        )
        if joined > most:
            best, moved, most = groups, key, joined
    shown = [key for key in varying if key != moved]
    found = []
    for labels in best.values():
        values = params[labels[0]]
        if moved:
            text = ", ".join(f"{_short(key)} {_text(values.get(key))}".strip() for key in shown)
        else:
            text = labels[0]
        ordered = sorted(labels, key=lambda label: epsilons[label])
        found.append(EpsilonSeries(text or name, tuple(ordered)))
    return found


def flat(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested parameters by their path: `model.window`."""
    found: dict[str, Any] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + str(key)] = value
    return found


def _short(key: str) -> str:
    return "" if key == "ranks" else key.rpartition(".")[2].replace("_", " ")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def distinct(bounds: Iterable[float]) -> list[float]:
    """Finite ε in order, those that agree to two digits once: what an axis is marked with."""
    found: dict[str, float] = {}
    for bound in sorted(bounds):
        if math.isfinite(bound) and bound > 0:
            found.setdefault(f"{bound:.2g}", float(f"{bound:.2g}"))
    return list(found.values())


_FAMILIES = {
    "fidelity": ("Fidelity against claimed ε", ("fidelity", "utility")),
    "privacy": ("Attacks against claimed ε", ("privacy",)),
    "performance": ("Cost against claimed ε", ("performance",)),
}
_CAPTION = (
    "One panel per headline number; ε of adding or removing one record, on a logarithmic axis, at "
    "its right end (none) generators without a bound: trained without noise, or with noise that "
    "comes from the seed. A line joins generators that differ in ε alone. {floor}Bars: {bars}."
)
_FLOOR = "Grey: the floor's 5–95 % range. "
NONE_GAP = 2.0
"""How far right of the largest ε `none` stands, as a factor."""


def draw_claims(summary: Summary) -> list[Figure]:
    """Figures of datasets whose generators claim ε that differ in their first two digits."""
    from haplobench.report.figures import Figure, render_chart, slug

    figures = []
    claims = read_claims(summary.run)
    order = FigureStyle(order=tuple(summary.run.cohorts))
    for label, dataset in summary.datasets.items():
        present = {cohort.label for cohort in dataset.cohorts if cohort.role == "generator"}
        here = {name: claim for name, claim in claims.get(label, {}).items() if name in present}
        if len({f"{claim.epsilon:.2g}" for claim in here.values()}) < 2:
            continue
        joined = epsilon_series(summary.run, here)
        for name, (title, families) in _FAMILIES.items():
            columns = [c for family in families for c in dataset.headline(family)]
            chart = _chart(dataset, columns, here, joined)
            if chart is None:
                continue
            floor = _FLOOR if any(column.key in dataset.floors for column in columns) else ""
            figures.append(
                Figure(
                    dataset=label,
                    metric="claims",
                    name=f"{name}-by-epsilon",
                    title=title,
                    caption=_CAPTION.format(floor=floor, bars=_bars(dataset, columns, here)),
                    svg=render_chart(chart, order),
                    file=f"{slug(label)}/claims-{name}",
                )
            )
    return figures


def _chart(
    dataset: DatasetSummary,
    columns: Sequence[Column],
    claims: Mapping[str, PrivacyClaim],
    joined: Sequence[EpsilonSeries],
) -> altair.ConcatChart | None:
    import altair as alt

    ticks = distinct(claim.epsilon for claim in claims.values())
    if not ticks:
        return None
    none = max(claim.epsilon for claim in claims.values() if math.isfinite(claim.epsilon))
    none *= NONE_GAP
    style = FigureStyle(order=tuple(line.label for line in joined), floor=())
    panels = []
    for column in columns:
        rows = _rows(dataset, column, claims, joined, none)
        if len({f"{row['x']:.2g}" for row in rows}) < 2 or _is_the_claim(rows):
            continue
        panels.append(_panel(dataset, column, rows, style, ticks, none))
    if not panels:
        return None
    spacing = {"row": 66, "column": 58}
    chart: altair.ConcatChart = alt.concat(
        *panels, columns=3, spacing=spacing, bounds="flush"
    ).resolve_scale(color="shared", shape="shared", strokeDash="shared")
    return chart


def _rows(
    dataset: DatasetSummary,
    column: Column,
    claims: Mapping[str, PrivacyClaim],
    joined: Sequence[EpsilonSeries],
    none: float,
) -> list[dict[str, Any]]:
    rows = []
    for line in joined:
        for label in line.cohorts:
            cell = dataset.cell(label, column)
            if cell.value is None:
                continue
            epsilon = claims[label].epsilon
            low, high = _interval(cell, column.submetric)
            rows.append(
                {
                    "generator": label,
                    "line": line.label,
                    "x": epsilon if math.isfinite(epsilon) else none,
                    "epsilon": f"{epsilon:.3g}" if math.isfinite(epsilon) else "none",
                    "value": cell.value,
                    "low": low,
                    "high": high,
                }
            )
    return rows


def _is_the_claim(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a number only repeats ε, and would be drawn against itself."""
    return all(math.isclose(row["value"], row["x"], rel_tol=1e-2) for row in rows)


def _interval(cell: Cell, submetric: SubmetricInfo) -> tuple[float, float]:
    assert cell.value is not None
    if cell.spread_over == "standard error" and cell.spread is not None:
        half = 1.96 * cell.spread
        return possible(cell.value - half, cell.value, cell.value + half, submetric)
    if cell.low is None or cell.high is None:
        return cell.value, cell.value
    return cell.low, cell.high


def _bars(
    dataset: DatasetSummary, columns: Sequence[Column], claims: Mapping[str, PrivacyClaim]
) -> str:
    """What the bars of a figure stand for."""
    over = {
        cell.spread_over
        for column in columns
        for label in claims
        if (cell := dataset.cell(label, column)).value is not None and cell.spread_over
    }
    told = ["1.96 standard errors of the metric"] * ("standard error" in over)
    told += [f"least to greatest over {name}" for name in sorted(over - {"standard error"})]
    return " or ".join(told) or "none, one draw"


def _panel(
    dataset: DatasetSummary,
    column: Column,
    rows: list[dict[str, Any]],
    style: FigureStyle,
    ticks: Sequence[float],
    none: float,
) -> altair.LayerChart | altair.FacetChart:
    import altair as alt

    base = alt.Chart(inline(rows))
    labels = list(style.order)
    floor = dataset.floors.get(column.key)
    infinite = any(row["epsilon"] == "none" for row in rows)
    values = [*ticks, none] if infinite else list(ticks)
    first, last = min(row["x"] for row in rows), max(row["x"] for row in rows)
    axis = alt.Axis(
        values=values,
        labelExpr=f"datum.value > {none * 0.99} ? 'none' : format(datum.value, '~g')",
        labelOverlap="greedy",
    )
    x = alt.X(
        "x:Q",
        title="Claimed ε",
        scale=alt.Scale(type="log", domain=[first * 0.85, last * 1.2], nice=False),
        axis=axis,
    )
    unit = f" ({column.submetric.unit})" if column.submetric.unit else ""
    y_scale = alt.Scale(zero=False, nice=True, padding=6)
    y_axis = alt.Axis(tickCount=4, labelExpr=TICKS)
    y = alt.Y("value:Q", title=None, scale=y_scale, axis=y_axis)
    y_low = alt.Y("low:Q", title=None, scale=y_scale, axis=y_axis)
    several = len(labels) > 1
    legend = alt.Legend(orient="bottom", columns=3, labelLimit=260, symbolDash=[1, 0], offset=24)
    colour = alt.Color(
        "line:N", scale=style.scale(labels), title=None, legend=legend if several else None
    )
    dash = alt.StrokeDash("line:N", scale=style.dash_scale(labels), title=None, legend=None)
    shape = alt.Shape(
        "line:N", scale=style.shape_scale(labels), title=None, legend=legend if several else None
    )
    layers: list[Any] = []
    if floor is not None:
        band = inline([{"low": floor.low, "high": floor.high}])
        band_chart = alt.Chart(band)
        layers.append(
            band_chart.mark_rect(color=FLOOR_COLOUR, opacity=0.22, aria=False).encode(
                y=y_low, y2="high:Q"
            )
        )
        # A band too thin to be seen as a rectangle is still a line.
        layers.append(
            band_chart.mark_rule(color=FLOOR_COLOUR, strokeDash=[4, 3], aria=False).encode(
                y=alt.Y("high:Q", title=None, scale=y_scale, axis=y_axis)
            )
        )
    layers += [
        base.mark_line(opacity=0.75, aria=False).encode(
            x=x, y=y, color=colour, strokeDash=dash, order="x:Q"
        ),
        base.mark_rule(opacity=0.6, aria=False).encode(x=x, y=y_low, y2="high:Q", color=colour),
        base.mark_point(filled=True, size=42, opacity=1)
        .encode(
            x=x,
            y=y,
            color=colour,
            shape=shape,
            description=alt.Description("text:N"),
        )
        .transform_calculate(text=_told(column.title)),
    ]
    title = alt.TitleParams(f"{column.title}{unit}", fontSize=11, fontWeight=600, limit=250)
    panel: altair.LayerChart | altair.FacetChart = alt.layer(*layers).properties(
        width=190, height=120, title=title
    )
    return panel


def _told(title: str) -> str:
    """Vega's expression of what a point says."""
    name = title.replace("\\", "").replace("'", "’").replace(";", ",").replace(":", "")
    return (
        "'Generator: ' + datum.generator + '; Claimed ε: ' + datum.epsilon + "
        f"'; {name}: ' + format(datum.value, '.4~g')"
    )
