"""The temperature at which sampled haplotypes have the training haplotypes' LD.

Noise in alleles lowers r² at every distance, roughly in proportion. A decoder trained on few
people is too unsure of them; how much differs from panel to panel. So the temperature is found
for each, on the training people.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from haplobench import RunContext, SampleRequest
from haplobench.distributed import shard
from haplobench_vae.fitted import FittedVAE

_LOWEST, _HIGHEST = 0.5, 1.0
_HALVINGS = 5
_MOST_HAPLOTYPES = 512
_MIN_MAF = 0.05
_LAGS = 2 ** np.arange(9)  # LD sites
_UNKNOWN = 0.7


def calibrated(
    fitted: FittedVAE,
    haplotypes: NDArray[np.int8],
    population: NDArray[np.int64],
    ctx: RunContext,
) -> FittedVAE:
    """The model with the temperature at which samples have the LD of `haplotypes`.

    By bisection over 0.5-1.0, always with the same random numbers: haplotypes of the same
    number and populations as up to 512 of the training haplotypes (n, n_sites) int8, whose
    populations (n,) int64 are given. Distances weigh by their r²: a prior that recombines too
    much lacks LD where there is little, which no temperature mends, and alleles made too sure
    for its sake would have too much LD where there is most. 0.7 where fewer than two sites
    have a MAF over 5 %. Ranks share the haplotypes of a sample among them.
    """
    rows = np.arange(haplotypes.shape[0])
    if rows.size > _MOST_HAPLOTYPES:
        rows = np.sort(ctx.rng("vae", "calibration").permutation(rows)[:_MOST_HAPLOTYPES])
    real = haplotypes[rows]
    frequencies = (real == 1).sum(0) / np.maximum((real >= 0).sum(0), 1)
    sites = np.flatnonzero(np.minimum(frequencies, 1 - frequencies) > _MIN_MAF)
    if sites.size < 2:
        return _at(fitted, _UNKNOWN)
    target = r2_by_lag(real[:, sites])
    labels = np.array(fitted.populations.names)[population[rows]]
    # Even, as requests are; other random numbers than those of samples.
    even = rows.size + rows.size % 2
    group = ctx.group
    own = shard(even, group.rank, group.size, align=fitted.block)
    request = SampleRequest(
        own.stop - own.start, own.start, populations=np.resize(labels, even)[own]
    )
    quiet = replace(
        ctx, seed=ctx.seed_for("vae", "calibration"), progress=lambda fraction, message: None
    )
    low, high = _LOWEST, _HIGHEST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        sampled = np.zeros((even, sites.size), np.int8)
        if request.n_haplotypes:
            batches = _at(fitted, middle).sample(request, quiet)
            sampled[own] = np.concatenate([batch[:, sites] for batch in batches])
        sampled = group.all_reduce(sampled)
        if target @ (r2_by_lag(sampled[: rows.size]) - target) > 0:
            low = middle
        else:
            high = middle
    return _at(fitted, round((low + high) / 2, 4))


def r2_by_lag(haplotypes: NDArray[np.int8]) -> NDArray[np.float64]:
    """Mean r² of sites 1, 2, 4, … 256 columns apart, as far as there are: (n_lags,) float64.

    `haplotypes` is (n, n_sites) int8, negative where missing (taken as average). A column
    that doesn't vary has r² 0 with every other.
    """
    called = haplotypes >= 0
    counts = np.maximum(called.sum(0), 1)
    means = (haplotypes == 1).sum(0) / counts
    centred = np.where(called, haplotypes - means, 0).astype(np.float32)
    deviation = np.sqrt((centred**2).mean(0))
    standard = centred / np.where(deviation > 0, deviation, 1)
    lags = [int(k) for k in _LAGS if k < standard.shape[1]]
    n = standard.shape[0]
    found = [
        np.mean((np.einsum("ns,ns->s", standard[:, :-k], standard[:, k:]) / n) ** 2) for k in lags
    ]
    return np.array(found, np.float64)


def _at(fitted: FittedVAE, temperature: float) -> FittedVAE:
    params = fitted.params.model_copy(update={"temperature": temperature})
    return replace(fitted, params=params)
