"""Codebooks: the discrete latent of each window, a mixture of products of Bernoullis.

A vector-quantised autoencoder of a window decodes each code into one table of allele
probabilities. Such tables are found here directly, by expectation maximisation of a Bernoulli
mixture per window (Bishop 2006, section 9.3.3), all windows at once as batched matrix products.
Windows share no parameters: how a panel is cut into them and put together again is here, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from haplobench.data.panel import MISSING
from haplobench.distributed import ProcessGroup

_Scalar = TypeVar("_Scalar", np.int8, np.float32)


@dataclass(frozen=True)
class WindowTiling:
    """Non-overlapping windows from site 0 on; the last may be shorter.

    `width`: sites per window, at most `n_sites`.
    `multiple`: windows are padded at their right end to a multiple of so many sites, as strided
    convolutions ask for.
    """

    n_sites: int
    width: int
    multiple: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.width <= self.n_sites:
            raise ValueError(f"width {self.width}: expected 1 to n_sites = {self.n_sites}")

    @property
    def n_windows(self) -> int:
        """Number of windows."""
        return -(-self.n_sites // self.width)

    @property
    def padded(self) -> int:
        """Sites per window after padding."""
        return -(-self.width // self.multiple) * self.multiple

    def groups(self, size: int) -> Iterator[range]:
        """Yield the windows in runs of at most `size`."""
        for first in range(0, self.n_windows, size):
            yield range(first, min(first + size, self.n_windows))

    def sites(self, windows: range) -> slice:
        """The sites of a run of windows."""
        return slice(windows.start * self.width, min(windows.stop * self.width, self.n_sites))

    def cut(self, haplotypes: NDArray[np.int8], windows: range) -> NDArray[np.int8]:
        """Cut (n_haplotypes, n_sites) into a run of windows.

        Returns (len(windows), n_haplotypes, padded) int8; -1 (missing) where padded.
        """
        block = haplotypes[:, self.sites(windows)]
        n = block.shape[0]
        whole = np.full((n, len(windows) * self.width), MISSING, np.int8)
        whole[:, : block.shape[1]] = block
        cut = np.full((len(windows), n, self.padded), MISSING, np.int8)
        cut[:, :, : self.width] = whole.reshape(n, len(windows), self.width).transpose(1, 0, 2)
        return cut

    def join(self, cut: NDArray[_Scalar], windows: range) -> NDArray[_Scalar]:
        """Undo `cut`: (len(windows), n, padded) becomes (n, sites of these windows)."""
        joined = cut[:, :, : self.width].transpose(1, 0, 2).reshape(cut.shape[1], -1)
        sites = self.sites(windows)
        return joined[:, : sites.stop - sites.start]


def all_windows(values: Tensor, windows: slice, n_windows: int, group: ProcessGroup) -> Tensor:
    """Every rank's windows together, on every rank and on the CPU: (n_windows, …).

    `values` are those of this rank's `windows`, of all `n_windows`; ranks have disjoint ones.
    """
    if group.size == 1:
        return values.cpu()
    # Nothing but zeros is added to a window: the sum is exact.
    whole = np.zeros((n_windows, *values.shape[1:]), values.cpu().numpy().dtype)
    whole[windows] = values.cpu().numpy()
    return torch.from_numpy(group.all_reduce(whole))


_GROUP_CELLS = 1 << 23  # responsibilities held at once


@dataclass(frozen=True)
class CodebookSettings:
    """How codebooks are fitted.

    `codes`: codes per window.
    `iterations`: of expectation maximisation.
    `smoothing`: weight of a site's frequency in each probability, in haplotypes.
    `dead`: a code that fewer haplotypes use than this is re-seeded with a badly explained one.
    """

    codes: int
    iterations: int = 12
    smoothing: float = 0.1
    dead: float = 1.5

    @property
    def reseeding(self) -> int:
        """After how many iterations codes are re-seeded: the last third is left alone."""
        return self.iterations * 2 // 3


@dataclass(frozen=True, eq=False)
class Codebooks:
    """What each code of each window stands for.

    `logits` (n_windows, codes, sites) float32: log(p / (1 - p)), p the probability of the alternate
    allele.
    `log_weights` (n_windows, codes) float32: log of the share of haplotypes that have the code.
    """

    logits: Tensor
    log_weights: Tensor

    def encode(self, alleles: Tensor) -> Tensor:
        """The most probable code of each window given its alleles: (n_windows, n) int64.

        `alleles` is (n_windows, n, sites) int8, negative where missing (which costs nothing).
        """
        return self.joint(alleles).argmax(-1)

    def joint(self, alleles: Tensor) -> Tensor:
        """log of p(code) p(alleles | code), nats: (n_windows, n, codes) float32."""
        observed = indicators(alleles)
        return torch.baddbmm(self.log_weights[:, None], observed, self._log_p.transpose(1, 2))

    @cached_property
    def _log_p(self) -> Tensor:
        # Every training step encodes: worked out once.
        return log_probabilities(self.logits)

    def order(self, window: int) -> Tensor:
        """The codes of a window along the first principal component of their tables: (codes,).

        Codes weigh by their shares; the first has the fewest alternate alleles of both ends.
        """
        tables = torch.sigmoid(self.logits[window]).double()
        weights = self.log_weights[window].double().exp()[:, None]
        centred = tables - (weights * tables).sum(0)
        axis = torch.linalg.svd(weights.sqrt() * centred, full_matrices=False).Vh[0]
        return torch.argsort(centred @ (axis * torch.where(axis.sum() < 0, -1, 1)))


def indicators(alleles: Tensor) -> Tensor:
    """Alternate and reference indicators side by side: (…, 2 × sites) float32; 0 if missing."""
    return torch.cat([alleles == 1, alleles == 0], dim=-1).float()


def joint_log_likelihood(observed: Tensor, logits: Tensor, log_weights: Tensor) -> Tensor:
    """log of p(code) p(alleles | code), nats: (n_windows, n, codes)."""
    return torch.baddbmm(log_weights[:, None], observed, log_probabilities(logits).transpose(1, 2))


def log_probabilities(logits: Tensor) -> Tensor:
    """log p of the alternate and of the reference allele, side by side: (…, 2 × sites)."""
    log_sigmoid = torch.nn.functional.logsigmoid
    return torch.cat([log_sigmoid(logits), log_sigmoid(-logits)], dim=-1)


def fit_codebooks(alleles: Tensor, settings: CodebookSettings, seeds: Sequence[int]) -> Codebooks:
    """Fit windows' codebooks to (n_windows, n, sites) int8 alleles.

    The last tables are those of the haplotypes that `Codebooks.encode` gives each code, since
    that is what a prior over codes is trained on. `seeds` holds a seed for each window: of all
    its randomness, so that it doesn't depend on which windows are fitted beside it.
    """
    n_windows, n, sites = alleles.shape
    if not n_windows:
        empty = torch.zeros(0, settings.codes, sites, device=alleles.device)
        return Codebooks(empty, empty[..., 0])
    levels = torch.stack([_levels(settings, seed) for seed in seeds]).to(alleles.device)
    size = max(1, _GROUP_CELLS // max(1, n * settings.codes))
    parts = [
        _fit_group(alleles[first : first + size], settings, levels[first : first + size])
        for first in range(0, n_windows, size)
    ]
    return Codebooks(
        torch.cat([part.logits for part in parts]), torch.cat([part.log_weights for part in parts])
    )


def _levels(settings: CodebookSettings, seed: int) -> Tensor:
    """Uniform levels of one window: of its seeds, then of its re-seeds by iteration and code."""
    n = settings.codes * (1 + settings.reseeding) + 1
    return torch.rand(n, generator=torch.Generator().manual_seed(seed))


def _fit_group(alleles: Tensor, settings: CodebookSettings, levels: Tensor) -> Codebooks:
    observed = indicators(alleles)
    counts = observed.sum(dim=1, keepdim=True)
    alternate, reference = counts.chunk(2, dim=-1)
    frequencies = (alternate + 0.5) / (alternate + reference + 1)
    codes = settings.codes
    seeds = _seeds(observed, levels[:, : codes + 1])
    codebooks = _tables(seeds, frequencies, settings.smoothing)
    for iteration in range(settings.iterations):
        joint = joint_log_likelihood(observed, codebooks.logits, codebooks.log_weights)
        evidence = joint.logsumexp(dim=-1)
        share = (joint - evidence[..., None]).exp()
        uses = share.sum(dim=1)
        statistics = torch.cat([share.transpose(1, 2) @ observed, uses[..., None]], dim=-1)
        if iteration < settings.reseeding:
            level = levels[:, 1 + (iteration + 1) * codes :][:, :codes]
            statistics = _reseed(statistics, observed, evidence, settings.dead, level)
        codebooks = _tables(statistics, frequencies, settings.smoothing)
    hard = torch.nn.functional.one_hot(codebooks.encode(alleles), codes).float()
    statistics = torch.cat([hard.transpose(1, 2) @ observed, hard.sum(dim=1)[..., None]], dim=-1)
    return _tables(statistics, frequencies, settings.smoothing)


def _tables(statistics: Tensor, frequencies: Tensor, smoothing: float) -> Codebooks:
    """Codebooks of sums (n_windows, codes, 2 × sites + 1): indicators, and haplotypes per code.

    Sums, so that those of several ranks can be added before.
    """
    uses = statistics[..., -1]
    alternate, reference = statistics[..., :-1].chunk(2, dim=-1)
    logits = (alternate + smoothing * frequencies).log() - (
        reference + smoothing * (1 - frequencies)
    ).log()
    # A code nobody has keeps a little weight: a validation haplotype may have it.
    weights = uses + 0.1
    return Codebooks(logits, (weights / weights.sum(-1, keepdim=True)).log())


def _seeds(observed: Tensor, levels: Tensor) -> Tensor:
    """First statistics: single haplotypes far apart, by k-means++ (Arthur & Vassilvitskii 2007).

    `levels` (n_windows, codes + 1) are uniform: the first picks the first haplotype.
    """
    n_windows, n, _ = observed.shape
    window = torch.arange(n_windows, device=observed.device)
    chosen = (levels[:, 0] * n).long().clamp_max(n - 1)
    squares = observed.sum(-1)
    nearest = torch.full((n_windows, n), torch.inf, device=observed.device)
    seeds = []
    for step in range(1, levels.shape[1]):
        seed = observed[window, chosen]
        seeds.append(seed)
        products = torch.bmm(observed, seed[..., None])[..., 0]
        # Indicators of 0 and 1: the squared distance counts each differing allele twice.
        distance = squares + seed.sum(-1, keepdim=True) - 2 * products
        nearest = torch.minimum(nearest, distance.clamp_min(0))
        chosen = _draw(nearest + 1e-6, levels[:, step : step + 1])[:, 0]
    chosen_rows = torch.stack(seeds, dim=1)
    return torch.cat([chosen_rows, chosen_rows.new_ones(n_windows, len(seeds), 1)], dim=-1)


def _reseed(
    statistics: Tensor, observed: Tensor, evidence: Tensor, dead: float, level: Tensor
) -> Tensor:
    """Give codes that fewer than `dead` haplotypes use to haplotypes that are badly explained.

    `level` (n_windows, codes) picks them, uniform.
    """
    n_windows, codes = statistics.shape[:2]
    excess = (evidence.mean(dim=1, keepdim=True) - evidence).clamp_min(0) + 1e-6
    drawn = _draw(excess, level)
    seeds = observed.gather(1, drawn[..., None].expand(-1, -1, observed.shape[-1]))
    seeds = torch.cat([seeds, seeds.new_ones(n_windows, codes, 1)], dim=-1)
    return torch.where((statistics[..., -1:] < dead), seeds, statistics)


def _draw(weights: Tensor, level: Tensor) -> Tensor:
    """Indices drawn ∝ weights (n_windows, n) at uniform `level` (n_windows, m): inverse CDF."""
    # On the CPU: CUDA's own cumulative sum isn't deterministic.
    cumulative = weights.cpu().double().cumsum(dim=-1)
    drawn = torch.searchsorted(cumulative, level.cpu().double() * cumulative[:, -1:], right=True)
    return drawn.clamp_max(weights.shape[1] - 1).to(weights.device)
