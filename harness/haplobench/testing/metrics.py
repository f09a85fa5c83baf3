"""Conformance of a metric."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from haplobench.data.panel import Panel
from haplobench.plugin import (
    CohortSeries,
    MetricResult,
    MetricSpec,
    Params,
    Reference,
    RunContext,
    Telemetry,
)
from haplobench.plugin.metrics import apply_metric
from haplobench.registry import Registry, resolve
from haplobench.testing.checks import (
    Findings,
    HaltError,
    check_description,
    check_light_import,
    checked_params,
    named,
    watched,
)
from haplobench.testing.panels import (
    example_context,
    example_panel,
    example_reference,
    example_shadows,
    haploid,
    panel_state,
    without_labels,
)
from haplobench.testing.results import Table, close, difference, judged_result

_ANY_COHORT = "A generator may make anything, and a metric that raises leaves a hole in the table."
_TELEMETRY = Telemetry(12.5, 20.0, 0.5, 0.4, 9 << 27, 5 << 27, 1 << 28, 1 << 28, 1000, 742, 140_000)
_INSTANT = Telemetry(0.0, 0.0, 0.0, 0.0, 1 << 28, 1 << 28, 1 << 28, 1 << 28, 1000, 742, 140_000)


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

    Parameters
    ----------
    metric : str or MetricSpec
        A name in the registry, or a description.
    reference : Reference or None
        `example_reference()` if None.
    synthetic : Panel or None
        Cohort at the reference's sites; more people of the example panel if None.
    params : mapping, Params or None
    seed : int
    registry : Registry or None

    Returns
    -------
    tuple of str
        The checks passed.

    Raises
    ------
    ConformanceError
        Lists every failure.
    PluginError
        For an unknown name, or if this machine lacks what the metric needs.
    """
    spec, module = named("metric", metric, registry)
    if reference is None:
        reference = example_reference(60, 60)
        if synthetic is None:
            people = np.arange(60)
            holdout = reference.holdout
            reference = Reference(reference.train, holdout.select_samples(people[:30]))
            synthetic = holdout.select_samples(people[30:])
    synthetic = reference.train if synthetic is None else synthetic
    findings = Findings(f"metric {spec.name!r}")
    with tempfile.TemporaryDirectory(prefix="haplobench-check-") as folder:
        check = _Check(spec, findings, Path(folder).resolve(), seed)
        try:
            check_description(findings, spec)
            check.declarations()
            if module:
                check_light_import(findings, module)
            check.params = checked_params(findings, spec.params, params)
            if spec.input == "telemetry":
                check.telemetry(reference)
            else:
                check.cohorts(
                    Reference(
                        check.mapped("train", reference.train),
                        check.mapped("holdout", reference.holdout),
                    ),
                    check.mapped("synthetic", synthetic),
                )
        except HaltError:
            pass
    return findings.conclude()


@dataclass
class _Check:
    """One run of the checks; `folder` holds everything it writes."""

    spec: MetricSpec
    findings: Findings
    folder: Path
    seed: int
    params: Params = field(default_factory=Params)

    def declarations(self) -> None:
        """Names, directions and ideals of the submetrics."""
        names = [submetric.name for submetric in self.spec.submetrics]
        why = "Tables and comparisons read what is better from the declaration."
        self.findings.expect(
            bool(names) and len(set(names)) == len(names),
            "submetrics",
            "submetrics of distinct names",
            f"{names}",
            why,
        )
        for submetric in self.spec.submetrics:
            self.findings.expect(
                submetric.direction in ("lower", "higher", "info")
                or (submetric.direction == "closer" and submetric.ideal is not None),
                "submetrics",
                f"{submetric.name}: direction lower, higher, info, or closer with an ideal",
                f"{submetric.direction!r}, ideal {submetric.ideal}",
                why,
            )
            self.findings.expect(
                bool(submetric.title and submetric.definition) and submetric.min_effect >= 0,
                "submetrics",
                f"{submetric.name}: a title, a definition and min_effect >= 0",
                f"{submetric.title!r}, {submetric.definition!r}, {submetric.min_effect}",
                why,
            )

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
