"""Conformance of a metric."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from haplobench.data.panel import Panel
from haplobench.plugin import (
    CohortSeries,
    Measurement,
    MetricResult,
    MetricSpec,
    Params,
    Reference,
    RunContext,
    Telemetry,
)
from haplobench.plugin.metrics import apply_metric
from haplobench.registry import Registry, resolve
from haplobench.testing.checks import Findings, HaltError, check_description, conformance, watched
from haplobench.testing.panels import (
    example_context,
    example_panel,
    example_reference,
    example_shadows,
    haploid,
    panel_state,
    without_labels,
)

_ANY_COHORT = "A generator may make anything, and a metric that raises leaves a hole in the table."
_RECORDS = (
    "Records are JSON: a number that is missing, NaN or unlabelled can't be stored or compared."
)
_TELEMETRY = Telemetry(12.5, 20.0, 0.5, 0.4, 9 << 27, 5 << 27, 1 << 28, 1 << 28, 1000, 742, 140_000)
_INSTANT = Telemetry(0.0, 0.0, 0.0, 0.0, 1 << 28, 1 << 28, 1 << 28, 1 << 28, 1000, 742, 140_000)
Table = dict[tuple[str, tuple[tuple[str, str], ...]], float | None]
"""Values by submetric and labels."""


def check_metric(
    metric: str | MetricSpec,
    reference: Reference | None = None,
    synthetic: Panel | None = None,
    *,
    params: Mapping[str, Any] | Params | None = None,
    seed: int = 0,
    registry: Registry | None = None,
) -> tuple[str, ...]:
    """Check that a metric keeps its contract.

    Measures real people, the holdout itself, a cohort without variation, cohorts and panels
    without population labels, of haploid people, without recombination map and sequence and,
    if the metric allows it, at other sites: description, params, light import (by name only),
    declared submetrics, finite values, series, figures, determinism, order (fidelity: the holdout
    scores no worse than a cohort without variation), no changes to the panels, no files
    outside the folders; for `input="batches"` also that any cut gives the same result.

    `metric`: a name in the registry, or a description.
    `reference`: `example_reference()` if None.
    `synthetic`: cohort at the reference's sites; more people of the example panel if None.

    Returns the names of the checks passed. Raises ConformanceError that lists every failure,
    PluginError for an unknown name or if this machine lacks what the metric needs.
    """
    if reference is None:
        reference = example_reference(60, 60)
        if synthetic is None:
            people = np.arange(60)
            holdout = reference.holdout
            reference = Reference(reference.train, holdout.select_samples(people[:30]))
            synthetic = holdout.select_samples(people[30:])
    real, cohort = reference, reference.train if synthetic is None else synthetic

    def check(spec: MetricSpec, findings: Findings, folder: Path, params: Params) -> None:
        _Check(spec, findings, folder, params, seed).run(real, cohort)

    return conformance("metric", metric, params, registry, check, describe=_describe)


def _describe(findings: Findings, spec: MetricSpec) -> None:
    """What all specs have in common; names, directions and ideals of the submetrics."""
    check_description(findings, spec)
    names = [submetric.name for submetric in spec.submetrics]
    why = "Tables and comparisons read what is better from the declaration."
    distinct = bool(names) and len(set(names)) == len(names)
    findings.expect(distinct, "submetrics", "submetrics of distinct names", f"{names}", why)
    for submetric in spec.submetrics:
        findings.expect(
            submetric.direction in ("lower", "higher", "info")
            or (submetric.direction == "closer" and submetric.ideal is not None),
            "submetrics",
            f"{submetric.name}: direction lower, higher, info, or closer with an ideal",
            f"{submetric.direction!r}, ideal {submetric.ideal}",
            why,
        )
        findings.expect(
            bool(submetric.title and submetric.definition) and submetric.min_effect >= 0,
            "submetrics",
            f"{submetric.name}: a title, a definition and min_effect >= 0",
            f"{submetric.title!r}, {submetric.definition!r}, {submetric.min_effect}",
            why,
        )


@dataclass
class _Check:
    """One run of the checks; `folder` holds everything it writes."""

    spec: MetricSpec
    findings: Findings
    folder: Path
    params: Params
    seed: int

    def run(self, reference: Reference, synthetic: Panel) -> None:
        """Measure what the metric reads."""
        if self.spec.input == "telemetry":
            self.telemetry(reference)
        else:
            train = self.mapped("train", reference.train)
            holdout = self.mapped("holdout", reference.holdout)
            self.cohorts(Reference(train, holdout), self.mapped("synthetic", synthetic))

    def mapped(self, name: str, panel: Panel) -> Panel:
        """The panel as in a run: mapped into memory read-only."""
        panel.save(self.folder / name)
        return Panel.load(self.folder / name)

    def context(self, panel: Panel, **changes: Any) -> RunContext:
        for name in ("artifacts", "scratch"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        return example_context(self.folder, panel, self.seed, **changes)

    def measure(
        self,
        check: str,
        what: str,
        why: str,
        reference: Reference,
        cohort: Panel | Telemetry,
        batch: int = 1024,
        **changes: Any,
    ) -> tuple[Table, MetricResult]:
        """Measure `cohort`, by `batch` haplotypes if it streams, and judge the result's form."""
        if self.spec.shadows:
            changes["shadows"] = example_shadows(self.folder / "shadows", reference)
        with (
            watched(self.findings, self.folder),
            self.findings.attempt(check, f"{what} to be measured", why, vital=True),
        ):
            target, ctx = resolve(self.spec.target), self.context(reference.train, **changes)
            result = apply_metric(
                self.spec, target, reference, cohort, self.params, ctx, batch=batch
            )
        return judged_result(self.findings, self.spec, result, what), result

    def telemetry(self, reference: Reference) -> None:
        """A metric on telemetry: a usual cell, and one that took no measurable time."""
        why = "A cell can be over before the clock moves; every cell is measured."
        for what, cost in (("a usual cell", _TELEMETRY), ("a cell that took no time", _INSTANT)):
            _, result = self.measure("telemetry", what, why, reference, cost)
            self.figures([(what, result)])

    def cohorts(self, reference: Reference, synthetic: Panel) -> None:
        """A metric on haplotypes: usual, degenerate and unlabelled cohorts."""
        panels = (reference.train, reference.holdout, synthetic)
        before = [panel_state(panel) for panel in panels]
        usual, result = self.measure(
            "measure", "a cohort of real people", _ANY_COHORT, reference, synthetic
        )
        self.findings.expect(
            before == [panel_state(panel) for panel in panels],
            "panels",
            "the panels unchanged",
            "arrays differ after measuring",
            "Other metrics measure the same panels.",
        )
        again, _ = self.measure(
            "measure", "a cohort of real people", _ANY_COHORT, reference, synthetic
        )
        self.findings.expect(
            usual == again,
            "determinism",
            "the same cohort and seed to give the same values",
            difference(usual, again),
            "Draw from ctx.rng(*key) alone.",
        )
        if self.spec.input == "batches":
            self.streaming(reference, synthetic, usual)
        self.degenerate(reference, synthetic)
        self.figures([("synthetic", result)])

    def streaming(self, reference: Reference, synthetic: Panel, whole: Table) -> None:
        """Any cut into batches gives the same values."""
        why = "Cohorts come in batches of any size."
        for people in (7, 1):
            what = f"batches of {people} people"
            size = people * synthetic.ploidy
            cut, _ = self.measure("batches", what, why, reference, synthetic, batch=size)
            self.findings.expect(
                close(whole, cut),
                "batches",
                f"{what} to give what one batch gives",
                difference(whole, cut),
                why,
            )

    def degenerate(self, reference: Reference, synthetic: Panel) -> None:
        """Cohorts and panels that lack something are measured, or said not to be."""

        def measured(what: str, one: Reference, cohort: Panel, **changes: Any) -> Table:
            try:
                return self.measure(what, what, _ANY_COHORT, one, cohort, **changes)[0]
            except HaltError:
                return {}

        same = measured("the holdout itself", reference, reference.holdout)
        constant = measured(
            "a cohort without variation",
            reference,
            synthetic.with_haplotypes(np.zeros_like(np.asarray(synthetic.haplotypes))),
        )
        self.order(same, constant)
        measured("one person", reference, synthetic.select_samples(np.arange(1)))
        measured(
            "panels without populations",
            Reference(without_labels(reference.train), without_labels(reference.holdout)),
            without_labels(synthetic),
        )
        measured(
            "haploid people",
            Reference(haploid(reference.train), haploid(reference.holdout)),
            haploid(synthetic),
        )
        measured(
            "no recombination map and no sequence",
            reference,
            synthetic,
            recombination_map=None,
            sequence=None,
        )
        if not self.spec.site_matched:
            elsewhere = example_panel(30, n_sites=150, seed=1)
            measured(
                "a cohort at other sites",
                reference,
                replace(elsewhere, positions=elsewhere.positions + 17),
            )

    def order(self, same: Table, constant: Table) -> None:
        """Fidelity: the holdout itself scores no worse than a cohort without variation."""
        if self.spec.family != "fidelity":
            return
        for submetric in self.spec.submetrics:
            good, bad = (table.get((submetric.name, ())) for table in (same, constant))
            if (
                not submetric.headline
                or submetric.direction == "info"
                or good is None
                or bad is None
            ):
                continue
            if submetric.direction == "closer":
                assert submetric.ideal is not None
                good, bad = abs(good - submetric.ideal), abs(bad - submetric.ideal)
            elif submetric.direction == "higher":
                good, bad = -good, -bad
            self.findings.expect(
                good <= bad + 1e-9,
                "order",
                f"{submetric.name}: the holdout itself to score no worse than haplotypes of "
                "reference alleles only",
                f"{same[submetric.name, ()]:.6g} against {constant[submetric.name, ()]:.6g}",
                "A fidelity metric that prefers junk, or a direction declared the wrong way.",
            )

    def figures(self, results: Sequence[tuple[str, MetricResult]]) -> None:
        """Every declared figure draws what the metric's series hold."""
        if not self.spec.figures or importlib.util.find_spec("altair") is None:
            return
        from haplobench.report.style import FigureStyle

        labels = [label for label, _ in results]
        cohorts = [
            CohortSeries(label, "generator", 0, 0, result.series) for label, result in results
        ]
        cohorts += [CohortSeries("floor", "floor", 0, i, results[0][1].series) for i in range(2)]
        for figure in self.spec.figures:
            with (
                watched(self.findings, self.folder),
                self.findings.attempt(
                    "figures",
                    f"{figure.name}: {figure.target} to draw the metric's own series",
                    "Reports are drawn from stored series.",
                ),
            ):
                chart = resolve(figure.target)(cohorts, FigureStyle(order=tuple(labels)))
                if chart is not None:
                    chart.to_dict()


def judged_result(findings: Findings, spec: MetricSpec, result: Any, what: str) -> Table:
    """The values of a result by submetric and labels, its form checked."""
    given = type(result).__name__
    findings.require(isinstance(result, MetricResult), "result", "a MetricResult", given, _RECORDS)

    def expect(ok: bool, expected: str, found: object) -> None:
        findings.expect(ok, "result", expected, f"{found} ({what})", _RECORDS)

    declared = {submetric.name for submetric in spec.submetrics}
    undeclared, absent = (set(result.measurements) - declared, declared - set(result.measurements))
    expect(not undeclared, "only declared submetrics", ", ".join(sorted(undeclared)))
    expect(
        not absent,
        "every declared submetric; value None and a note where not applicable",
        f"no {', '.join(sorted(absent))}",
    )
    table: Table = {}
    for name, measured in result.measurements.items():
        for one in [measured] if isinstance(measured, Measurement) else list(measured):
            value, error, labels = one.value, one.standard_error, dict(one.labels)
            finite = (
                isinstance(value, int | float)
                and not isinstance(value, bool)
                and bool(np.isfinite(value))
            )
            if value is None:
                expect(bool(one.note), f"{name}: a note where the value is None", "none")
            else:
                expect(finite, f"{name}: a finite float, or None with a note", repr(value))
            expect(
                error is None
                or (isinstance(error, float) and bool(np.isfinite(error)) and error >= 0),
                f"{name}: a standard error that is a finite float of 0 or more, or None",
                repr(error),
            )
            texts = all(isinstance(text, str) for text in (*labels, *labels.values()))
            expect(
                texts and (one.n is None or isinstance(one.n, int)),
                f"{name}: n an int and labels str to str",
                f"n={one.n!r}, labels={labels!r}",
            )
            key = name, tuple(sorted(labels.items()))
            expect(
                key not in table,
                "labels that tell the values of a submetric apart",
                f"{name} twice with labels {labels}",
            )
            # What isn't finite was just reported, and would only differ from itself below.
            table[key] = value if finite else None
    _series(findings, result, what)
    return table


def _series(findings: Findings, result: MetricResult, what: str) -> None:
    """Tables of equally long one-dimensional columns that npz can hold without pickle."""
    for table, columns in result.series.items():
        arrays = list(columns.values())
        sound = all(
            isinstance(array, np.ndarray) and array.ndim >= 1 and array.dtype != object
            for array in arrays
        )
        findings.expect(
            sound and len({len(array) for array in arrays}) <= 1,
            "series",
            f"{table}: arrays of one length, no object dtype",
            f"{ {name: _form(array) for name, array in columns.items()} } ({what})",
            "Figures are drawn from these tables long after the run.",
        )


def _form(array: Any) -> str:
    return f"{array.dtype}{array.shape}" if isinstance(array, np.ndarray) else type(array).__name__


def close(one: Table, other: Table) -> bool:
    """Equal but for the rounding of sums taken in another order."""
    if one.keys() != other.keys():
        return False
    for key, a in one.items():
        b = other[key]
        if a is None or b is None:
            if a is not b:
                return False
        elif not np.isclose(a, b, rtol=1e-9, atol=1e-12):
            return False
    return True


def difference(one: Table, other: Table) -> str:
    """The first value that two tables disagree about."""
    for key in one.keys() | other.keys():
        if one.get(key) != other.get(key):
            return f"{key[0]} {dict(key[1]) or ''} {one.get(key)} and {other.get(key)}"
    return "no difference"
