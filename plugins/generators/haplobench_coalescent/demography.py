"""A population's sizes in the past, estimated from the frequencies of its alleles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import demes
import numpy as np
from numpy.typing import NDArray

from haplobench import Panel, PluginError

_PROJECTED = 200  # haplotypes that a larger panel's spectrum is brought down to
_WHOLE = 300  # haplotypes up to which it isn't
_SURE = 5e-3  # chance of a site too rare for the panel to reach a class that is fitted, at most
_STARTS = ((2.0, 8.0, 0.2, 0.1), (0.3, 3.0, 0.2, 0.1))
_LOWER, _UPPER = (1e-2, 1e-2, 1e-3, 1e-3), (100.0, 100.0, 2.0, 2.0)
_EVALUATIONS = 120
_FEWEST_SITES = 50


@dataclass(frozen=True)
class Epochs:
    """Three epochs of one population, the oldest first.

    `sizes`: diploid people. `ends`: generations before the present at which the first and the
    second epoch end. `log_likelihood`, `constant`: composite log-likelihoods of the spectrum, of
    these epochs and of one constant size, in nats.
    """

    sizes: tuple[float, float, float]
    ends: tuple[float, float]
    log_likelihood: float
    constant: float

    def demes(self) -> str:
        """As Demes YAML (Gower et al. 2022), in generations."""
        builder: Any = demes.Builder(
            description="One population, three epochs, fitted to the training panel's spectrum.",
            time_units="generations",
        )
        ends = (*self.ends, 0.0)
        epochs = [
            {"start_size": size, "end_time": end}
            for size, end in zip(self.sizes, ends, strict=True)
        ]
        builder.add_deme("population", epochs=epochs)
        return demes.dumps(builder.resolve())


def three_epochs(
    panel: Panel,
    min_maf: float,
    mutation_rate: float,
    tell: Callable[[float, str], None] = lambda share, words: None,
) -> Epochs:
    """Three epochs that make the folded site-frequency spectrum likeliest.

    The spectrum that is expected is moments' (Jouganous et al. 2017). Panels of more than 300
    haplotypes are projected to 200. Classes that sites rarer than `min_maf`, left out of the
    panel, would have added to aren't fitted; sites with missing alleles are left out. All people
    count as one population, so structure is taken for changes of size. The three sizes are the same
    where Akaike's criterion prefers that to four more parameters.

    `mutation_rate`: per bp and generation, which scales sizes and times.

    Raises PluginError if fewer than 50 sites are polymorphic.
    """
    import moments
    from scipy import optimize

    kept, least = complete_sites(panel, min_maf)
    alternate, n = panel.allele_counts[0][kept], panel.n_haplotypes
    minor = np.minimum(alternate, n - alternate)
    data, first = spectrum(minor, n, least)
    size, fitted = data.size - 1, np.arange(first, (data.size - 1) // 2 + 1)
    observed = data[fitted]

    def expected(params: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sites in each class fitted, at theta = 1; `params`: two sizes and two durations."""
        whole = moments.Demographics1D.three_epoch(params, [size]).fold()
        return np.asarray(whole.data[fitted], np.float64)

    def log_likelihood(sites: NDArray[np.float64]) -> float:
        """Multinomial: sites are linked, so a composite one."""
        shares = np.maximum(sites / sites.sum(), 1e-300)
        return float(observed @ np.log(shares))

    low, high = np.log(_LOWER), np.log(_UPPER)
    done = 0

    def loss(logs: NDArray[np.float64]) -> float:
        nonlocal done
        done += 1
        tell(min(1, done / (len(_STARTS) * _EVALUATIONS)), "fitting the demography")
        inside = np.clip(logs, low, high)
        return -log_likelihood(expected(np.exp(inside))) + 100 * float(np.abs(logs - inside).sum())

    best = min(
        (
            optimize.minimize(
                loss,
                np.log(start),
                method="Nelder-Mead",
                options={"maxfev": _EVALUATIONS, "xatol": 1e-2, "fatol": 1e-2},
            )
            for start in _STARTS
        ),
        key=lambda result: float(result.fun),
    )
    params, constant = np.exp(np.clip(best.x, low, high)), expected(np.ones(4))
    if log_likelihood(expected(params)) < log_likelihood(constant) + params.size:
        params = np.ones(4)
    sites = expected(params)
    ancient = observed.sum() / sites.sum() / (4 * mutation_rate * panel.span)
    # moments' times are in units of 2 Na generations.
    older, recent = 2 * ancient * params[2], 2 * ancient * params[3]
    return Epochs(
        (float(ancient), float(ancient * params[0]), float(ancient * params[1])),
        (float(older + recent), float(recent)),
        log_likelihood(sites),
        log_likelihood(constant),
    )


def complete_sites(panel: Panel, min_maf: float) -> tuple[NDArray[np.bool_], int]:
    """Polymorphic sites without missing alleles, and minor alleles of the rarest that were kept.

    As in `estimate`, a panel filtered by someone else isn't taken for complete.

    Raises PluginError if they are fewer than 50.
    """
    alternate, called = panel.allele_counts
    n = panel.n_haplotypes
    minor = np.minimum(alternate, called - alternate)
    kept = (called == n) & (minor > 0)
    if kept.sum() < _FEWEST_SITES:
        raise PluginError(
            f"a demography can't be fitted to {kept.sum()} polymorphic sites without missing "
            f"alleles, expected at least {_FEWEST_SITES}",
            hint="set demography: constant",
        )
    return kept, max(1, int(np.ceil(min_maf * n - 1e-6)), int(minor[kept].min()))


def spectrum(minor: NDArray[np.int64], n: int, least: int) -> tuple[NDArray[np.float64], int]:
    """Folded spectrum of sites with `minor` alleles of n, and the first class that is complete.

    Sites by minor alleles of n, or of 200 haplotypes: (n + 1,) or (201,) float64. `least`: minor
    alleles of the rarest sites kept.
    """
    from scipy import stats

    counts = np.bincount(minor, minlength=n + 1).astype(np.float64)
    if n <= _WHOLE:
        return counts, least
    # Of n haplotypes 200 are drawn without replacement.
    kinds = np.flatnonzero(counts)
    drawn = stats.hypergeom.pmf(np.arange(_PROJECTED + 1)[:, None], n, kinds, _PROJECTED)
    projected = drawn @ counts[kinds]
    folded = np.zeros(_PROJECTED + 1)
    half = _PROJECTED // 2
    folded[: half + 1] = projected[: half + 1]
    folded[:half] += projected[:half:-1]
    first = 1 if least == 1 else int(stats.hypergeom.isf(_SURE, n, least - 1, _PROJECTED)) + 1
    return folded, first
