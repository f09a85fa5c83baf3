"""Figures of the sequence metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import altair as alt
import numpy as np
from PIL import Image

from haplobench import CohortSeries
from haplobench_fidelity.figures_raster import facets, png

if TYPE_CHECKING:
    from haplobench.report.style import FigureStyle

_PIXELS = 8
_TINTS = 12
_PALE = 225


def first_draws(cohorts: Sequence[CohortSeries], table: str) -> dict[str, CohortSeries]:
    """The first seed's first draw of each cohort that has `table`, by label."""
    chosen: dict[str, CohortSeries] = {}
    for cohort in sorted(cohorts, key=lambda c: (c.seed, c.replicate)):
        if table in cohort.tables:
            chosen.setdefault(cohort.label, cohort)
    return chosen


def draw_spectrum(cohorts: Sequence[CohortSeries], style: FigureStyle) -> alt.TopLevelMixin | None:
    """Joint histogram of k-mer frequencies, a panel per cohort, in the cohort's colour."""
    chosen = first_draws(cohorts, "spectrum")
    if not chosen:
        return None
    tables = [cohort.tables["spectrum"] for cohort in chosen.values()]
    width = max(float(table["width"][0]) for table in tables)
    low = min(float(min(t["real_log10"].min(), t["synthetic_log10"].min())) for t in tables)
    high = max(float(max(t["real_log10"].max(), t["synthetic_log10"].max())) for t in tables)
    low -= width / 2
    n_bins = max(1, int(np.ceil((high + width / 2 - low) / width - 1e-9)))
    domain = (low, low + n_bins * width)
    urls = {}
    for label in style.sorted(list(chosen)):
        table = chosen[label].tables["spectrum"]
        cells = np.zeros((n_bins, n_bins))
        x = ((table["real_log10"] - low) / width).astype(int)
        y = ((table["synthetic_log10"] - low) / width).astype(int)
        np.add.at(cells, (n_bins - 1 - y, x), table["k_mers"])
        # On a logarithmic scale, or the one bin of common k-mers would hide the rest. Opaque
        # tints, because half-transparent images don't look the same in every program.
        weight = np.log1p(cells) / np.log1p(cells.max())
        tint = np.where(cells > 0, 1 + np.rint(weight * (_TINTS - 1)), 0).astype(np.uint8)
        image = Image.frombytes("P", (n_bins, n_bins), tint.tobytes())
        image.putpalette(_tints(style.colour(label)))
        image.info["transparency"] = 0
        side = n_bins * _PIXELS
        urls[label] = png(image.resize((side, side), Image.Resampling.NEAREST))
    return facets(
        urls,
        titles=("log10 frequency, held-out", "log10 frequency, synthetic"),
        domains=(domain, domain),
        diagonal=True,
        grid=False,
    )


def _tints(colour: str) -> list[int]:
    """Palette of an image: black (transparent), then from pale to `colour` (`#rrggbb`)."""
    full = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    steps = np.linspace(0.15, 1, _TINTS)
    return [0, 0, 0, *(round(_PALE + (c - _PALE) * float(step)) for step in steps for c in full)]
