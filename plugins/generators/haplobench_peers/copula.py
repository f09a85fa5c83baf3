"""`pca-copula`: a Gaussian copula with principal components, window after window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, special

from haplobench import Panel, RunContext, SampleRequest
from haplobench.plugin.generators import load_state, save_state
from haplobench_peers import CopulaParams
from haplobench_peers.common import Strata, refuse_unfit, sample_blocks

_NAME = "pca-copula"
Reals = NDArray[np.float64]


class PCACopula:
    """Alleles are latent Gaussians under a threshold: the Gaussian copula of a haplotype.

    Each stratum has its own: thresholds from its allele frequencies, which samples then have
    exactly, and a correlation matrix of the latents, from the correlations of pairs of sites. It is
    made a correlation matrix by its first `components` principal components, with
    independent noise for the rest. Windows follow each other by the conditional Gaussian, given
    the latents of the `overlap` sites before.

    Nothing beyond pairs of sites is learnt. Nobody's paper: the kind of baseline that a model of
    haplotypes has to beat (Emrich & Piedmonte 1991 of correlated binary variables; Montana 2005,
    HapSim, of haplotypes, without windows and components).
    """

    def fit(self, train: Panel, params: CopulaParams, ctx: RunContext) -> FittedCopula:
        """Estimate thresholds and correlations, stratum by stratum.

        Raises PanelError if alleles are missing, or if there are none.
        """
        refuse_unfit(train, _NAME)
        strata = Strata.of(train, params.within)
        stratum = strata.index(train)
        haplotypes = np.asarray(train.haplotypes)
        window = min(params.window, train.n_sites)
        firsts = range(0, train.n_sites, window)
        thresholds = np.empty((strata.n, train.n_sites), np.float32)
        carry, noise = [], []
        for group in range(strata.n):
            alleles = haplotypes[stratum == group].astype(np.float32)
            thresholds[group] = special.ndtri(alleles.mean(axis=0, dtype=np.float64))
            before: Reals = np.zeros((0, 0))
            for at, first in enumerate(firsts):
                known = min(first, params.overlap)
                here = alleles[:, first - known : first + window]
                correlation = nearest_correlation(latent_correlations(here), params.components)
                from_before, own, covariance = conditional(correlation, known, before)
                # All of one shape; sites that aren't there are never looked at.
                carry.append(_padded(from_before, window, params.overlap, right=False))
                noise.append(_padded(own, window, window, right=True))
                before = (
                    covariance[-params.overlap :, -params.overlap :] if params.overlap else before
                )
                ctx.progress(
                    (group * len(firsts) + at + 1) / (strata.n * len(firsts)),
                    f"stratum {group + 1} of {strata.n}",
                )
        shape = strata.n, len(firsts), window
        return FittedCopula(
            thresholds,
            np.stack(carry).reshape(*shape, params.overlap),
            np.stack(noise).reshape(*shape, window),
            strata,
            train.ploidy,
        )

    def load(self, directory: Path, ctx: RunContext) -> FittedCopula:
        """Read what `save` wrote."""
        arrays, facts = load_state(directory, _NAME)
        return FittedCopula(
            **arrays, strata=Strata.from_facts(facts["strata"]), ploidy=facts["ploidy"]
        )


def latent_correlations(alleles: NDArray[np.float32]) -> Reals:
    """Correlations of the latents of pairs of sites: (n_sites, n_sites).

    sin(π r / 2) of the alleles' correlation r, which is exact where both frequencies are a half
    (Sheppard 1899) and too near to 0 elsewhere. The tetrachoric correlation, which is exact
    everywhere, is 1 or -1 for all pairs of sites of which one haplotype in four is never seen: most
    neighbours. No Gaussian has so many, and the one nearest to them is further from the alleles'
    LD than this one's. 0 with sites that don't vary.

    `alleles` (n, n_sites) float32 of 0 and 1.
    """
    centred = alleles - alleles.mean(axis=0)
    deviation = np.sqrt((centred**2).mean(axis=0))
    standard = np.where(deviation > 0, centred / np.maximum(deviation, 1e-6), 0)
    r = (standard.T @ standard / len(standard)).astype(np.float64)
    correlation: Reals = np.sin(np.pi / 2 * r.clip(-1, 1))
    np.fill_diagonal(correlation, 1)
    return correlation


def nearest_correlation(matrix: Reals, components: int) -> Reals:
    """A correlation matrix near a symmetric one: its first components, and noise for the rest.

    Principal components of negative eigenvalues are left out. Where those kept explain more than
    a site's variance of 1, they are scaled down to 0.999 of it.
    """
    n = matrix.shape[0]
    first = max(0, n - components)
    values, vectors = linalg.eigh(matrix, subset_by_index=(first, n - 1))
    loadings = vectors * np.sqrt(np.maximum(values, 0))
    explained = (loadings**2).sum(axis=1)
    loadings *= np.minimum(1, np.sqrt(0.999 / np.maximum(explained, 1e-12)))[:, None]
    result: Reals = loadings @ loadings.T
    np.fill_diagonal(result, 1)
    return result


def conditional(correlation: Reals, known: int, before: Reals) -> tuple[Reals, Reals, Reals]:
    """How the latents of a window follow from the `known` ones before it.

    `correlation` (known + s, known + s): of both; `before` (known, known): the covariance that the
    known ones really have, from the windows before.

    Returns `carry` (s, known) and `noise` (s, s), such that carry @ known + noise @ standard normal
    has variance 1 at each site, and the covariance (known + s, known + s) that both then have.
    """
    inner, across = correlation[:known, :known], correlation[known:, :known]
    carry = linalg.solve(inner, across.T, assume_a="pos").T if known else across
    rest = correlation[known:, known:] - carry @ across.T
    noise = linalg.cholesky(rest + 1e-9 * np.eye(len(rest)), lower=True)
    covariance = carry @ before @ carry.T + noise @ noise.T
    scale = 1 / np.sqrt(np.diagonal(covariance))[:, None]
    carry, noise, covariance = carry * scale, noise * scale, covariance * scale * scale.T
    joint = np.block([[before, before @ carry.T], [carry @ before, covariance]])
    return carry, noise, joint


def _padded(matrix: Reals, rows: int, columns: int, *, right: bool) -> NDArray[np.float32]:
    """With zeros below, and to the right or to the left."""
    padded = np.zeros((rows, columns), np.float32)
    n, k = matrix.shape
    padded[:n, slice(0, k) if right else slice(columns - k, columns)] = matrix
    return padded


@dataclass(frozen=True, eq=False)
class FittedCopula:
    """Thresholds, and how windows follow each other, all float32.

    `thresholds` (n_strata, n_sites): infinite where a site doesn't vary. `carry` (n_strata,
    n_windows, s, overlap): of the latents before; `noise` (n_strata, n_windows, s, s): of standard
    normals.
    """

    thresholds: NDArray[np.float32]
    carry: NDArray[np.float32]
    noise: NDArray[np.float32]
    strata: Strata
    ploidy: int

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[NDArray[np.int8]]:
        """Yield (batch, n_sites) int8; the labels asked for may be superpopulations, too."""

        def draw(block: int, stratum: NDArray[np.int64]) -> NDArray[np.int8]:
            return self._draw(ctx.rng("sample", block), stratum)

        return sample_blocks(request, ctx, self.strata, self.ploidy, draw)

    def _draw(self, rng: np.random.Generator, stratum: NDArray[np.int64]) -> NDArray[np.int8]:
        n_windows, width, overlap = self.carry.shape[1:]
        latents = np.zeros((stratum.size, overlap + n_windows * width), np.float32)
        for window in range(n_windows):
            normal = rng.standard_normal((stratum.size, width), np.float32)
            first = window * width
            into = slice(overlap + first, overlap + first + width)
            for group in range(self.strata.n):
                # Of all rows, each time: then none depends on who else is of its stratum.
                drawn = normal @ self.noise[group, window].T
                drawn += latents[:, first : first + overlap] @ self.carry[group, window].T
                mine = stratum == group
                latents[mine, into] = drawn[mine]
        n_sites = self.thresholds.shape[1]
        below = latents[:, overlap : overlap + n_sites] < self.thresholds[stratum]
        return below.astype(np.int8)

    def save(self, directory: Path) -> None:
        """Write thresholds and matrices."""
        arrays = {name: getattr(self, name) for name in ("thresholds", "carry", "noise")}
        save_state(directory, _NAME, arrays, strata=self.strata.facts(), ploidy=self.ploidy)
