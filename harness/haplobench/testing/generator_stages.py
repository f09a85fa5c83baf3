"""A generator's stages as the conformance checks run them: fitted, sampled, and judged at once."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench.panel import Panel
from haplobench.plugin import Fitted, GeneratorSpec, Params, RunContext, SampleRequest
from haplobench.registry import resolve
from haplobench.testing.findings import Findings, HaltError
from haplobench.testing.panels import example_context, panel_state
from haplobench.testing.writes import watched


@dataclass
class GeneratorStages:
    """Fits and samples in one folder.

    Attributes
    ----------
    spec : GeneratorSpec
    findings : Findings
        Where what is judged is noted.
    folder : Path
        Holds everything that is written; what lies in its `holdout` may not be read.
    panel : Panel
        The training panel.
    seed : int
    n : int
        Haplotypes of a sample.
    params : Params
        Of the fit.
    """

    spec: GeneratorSpec
    findings: Findings
    folder: Path
    panel: Panel
    seed: int
    n: int
    params: Params = field(default_factory=Params)

    def context(self, seed: int) -> RunContext:
        """A context with empty folders of its own; those of other contexts stay."""
        return example_context(
            Path(tempfile.mkdtemp(prefix="stage", dir=self.folder)), self.panel, seed
        )

    def fit(self, train: Panel, seed: int) -> Fitted:
        """Fit, and see that the training panel stays as it was."""
        findings = self.findings
        before = panel_state(train)
        with (
            watched(findings, self.folder, holdout="holdout"),
            findings.attempt(
                "fit",
                "fit(train, params, ctx) of a read-only panel to return",
                "Nothing can be sampled.",
                vital=True,
            ),
        ):
            fitted: Fitted = resolve(self.spec.target)().fit(train, self.params, self.context(seed))
        findings.expect(
            panel_state(train) == before,
            "training panel",
            "the training panel unchanged",
            "its arrays differ after fit",
            "Metrics compare with the training people afterwards.",
        )
        missing = [name for name in ("sample", "save") if not hasattr(fitted, name)]
        findings.expect(
            not missing,
            "fit",
            "an object with sample and save",
            f"{type(fitted).__name__} without {' and '.join(missing)}",
            "Nothing can be sampled.",
        )
        if missing:
            raise HaltError
        return fitted

    def sample(
        self,
        fitted: Fitted,
        seed: int,
        *,
        n: int | None = None,
        start: int = 0,
        batch_size: int = 1024,
        populations: NDArray[np.str_] | None = None,
    ) -> NDArray[np.int8] | Panel:
        """Sample and judge what comes: the haplotypes together, or the one Panel."""
        n = self.n if n is None else n
        request = SampleRequest(n, start, batch_size, populations)
        with (
            watched(self.findings, self.folder, holdout="holdout"),
            self.findings.attempt(
                "sample", f"{request} to be sampled", "Nothing can be measured.", vital=True
            ),
        ):
            yielded = list(fitted.sample(request, self.context(seed)))
        if self.spec.site_matched:
            return self.joined(yielded, n, batch_size)
        self.shape(
            len(yielded) == 1 and isinstance(yielded[0], Panel),
            "exactly one Panel (site_matched is False)",
            f"{len(yielded)} × {_names(yielded)}",
        )
        panel = yielded[0]
        assert isinstance(panel, Panel)
        self.shape(panel.n_haplotypes == n, f"{n} haplotypes", f"{panel.n_haplotypes} haplotypes")
        self.shape(panel.n_sites > 0, "sites", "none")
        self.shape(not panel.has_missing, "alleles 0 and 1", "missing alleles")
        return panel

    def joined(self, yielded: list[Any], n: int, batch_size: int) -> NDArray[np.int8]:
        """The batches as one array, each judged."""
        for batch in yielded:
            self.shape(
                isinstance(batch, np.ndarray) and batch.dtype == np.int8,
                "int8 arrays (site_matched is True)",
                f"{batch.dtype} array" if isinstance(batch, np.ndarray) else type(batch).__name__,
            )
            self.shape(
                batch.ndim == 2 and batch.shape[1] == self.panel.n_sites,
                f"batches of shape (batch, {self.panel.n_sites})",
                f"shape {batch.shape}",
            )
            self.shape(
                0 < batch.shape[0] <= batch_size,
                f"1 to batch_size = {batch_size} haplotypes a batch",
                f"{batch.shape[0]}",
            )
            self.shape(
                bool(((batch == 0) | (batch == 1)).all()),
                "alleles 0 and 1",
                f"{np.unique(batch)[:5].tolist()}",
            )
        rows = sum(batch.shape[0] for batch in yielded)
        self.shape(rows == n, f"{n} haplotypes together", f"{rows}")
        # A copy: a generator may reuse its buffer.
        return np.concatenate(yielded)

    def shape(self, ok: bool, expected: str, found: str) -> None:
        """Note whether what came is what was promised; HaltError if not."""
        if not self.findings.expect(
            ok, "shape", expected, found, "The harness stores and measures what it is promised."
        ):
            raise HaltError


def _names(things: list[Any]) -> str:
    return ", ".join(sorted({type(thing).__name__ for thing in things})) or "nothing"
