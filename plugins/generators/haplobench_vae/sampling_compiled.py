"""Sampling from a window prior on the CPU: BLAS products, and compiled code between them.

Haplotypes are the last axis wherever the transformer is concerned, so that a loop over them is
one of vector instructions. Arrays of compiled functions are float32 and contiguous where nothing
else is said. All these functions live in this one module, because numba's disk cache notices a
change of the file that a function is in, but not of a function it calls elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from haplobench.kernels import compiled
from haplobench_vae.codebooks import Codebooks
from haplobench_vae.prior import Block, PriorShape, WindowPrior
from haplobench_vae.sampling import (
    ArgmaxLevels,
    BlockSampler,
    Drawn,
    Levels,
    PartMarker,
    part_marker,
)

Reals = NDArray[np.float32]
Codes = NDArray[np.int64]
# Sums may be taken in any order, always the same on one machine.
_jit = partial(compiled, fastmath=True)


class CompiledSampler(BlockSampler):
    """A sampler on the CPU: all that changes from window to window is in buffers made once.

    Products are written where they are needed, transposed where that is so.
    """

    def __init__(self, model: WindowPrior, size: int, temperature: float) -> None:
        super().__init__(model, size, temperature)
        shape = model.shape
        d, ring = shape.dimension, self._ring
        with torch.no_grad():
            self._layers = [_Layer.of(block, d, ring, size) for block in model.layers()]
            self._difference_base = torch.sigmoid(model.logits).numpy()
        self._hidden, self._normal, self._query, self._attended = (
            torch.zeros(d, size) for _ in range(4)
        )
        self._scores = torch.empty(ring, shape.heads, size)
        self._units = torch.empty(shape.feed_forward * d, size)
        self._code_scores = torch.empty(shape.codes, size)
        self._inner = torch.empty(size, shape.residual)
        self._alleles = torch.empty(size, shape.sites)
        self._code_level = torch.empty(size)
        self._allele_level = torch.empty(size, shape.sites)
        self._code = np.zeros(size, np.int64)

    @torch.inference_mode()
    def draw(
        self,
        population: NDArray[np.int64],
        levels: Levels,
        n_sites: int,
        *,
        codes: NDArray[np.int64] | None = None,
        probabilities: bool = False,
    ) -> Drawn:
        """One block of haplotypes: see `BlockSampler`."""
        model, shape, part = self._model, self._model.shape, part_marker()
        condition = model.condition(torch.from_numpy(population)).t().contiguous().numpy()
        alleles = np.empty((self._size, n_sites), np.int8)
        probability = np.empty((self._size if probabilities else 0, n_sites), np.float32)
        embedding = _shared(model.code_embedding)
        windows, head_bias = _shared(model.window_embedding), _shared(model.head_bias)
        residual_code, tables = _shared(model.residual_code), model.logits.numpy()
        hidden, code, level = self._hidden.numpy(), self._code, self._allele_level.numpy()
        drawn = self._alleles.numpy()
        nothing = np.zeros((1, shape.dimension), np.float32)
        for window in range(shape.n_windows):
            before = window * shape.codes
            with part("tokens"):
                if window:
                    earlier = model.allele_embedding[window - 1]
                    torch.mm(earlier.t(), self._alleles.t(), out=self._hidden)
                    source = embedding, before - shape.codes, code
                else:
                    hidden[:] = 0
                    source = nothing, 0, np.zeros_like(code)
                add_known(hidden, *source, windows[window], condition)
            state = self._advance(window, part)
            with part("levels"):
                levels.fill(self._code_level, self._allele_level)
            with part("codes"):
                if codes is None:
                    torch.mm(model.head[window].t(), state, out=self._code_scores)
                    below_highest(self._code_scores.numpy(), head_bias[window])
                    weights = self._code_scores.exp_().numpy()
                    draw_codes(weights, self._code_level.numpy(), code)
                else:
                    code[:] = codes[window]
            with part("alleles"):
                torch.mm(state.t(), model.residual_state.weight.t(), out=self._inner)
                bias = _shared(model.residual_state.bias)
                rectify_with_code(self._inner.numpy(), bias, residual_code, before, code)
                torch.mm(self._inner, model.residual_out[window], out=self._alleles)
                add_tables(drawn, tables[window], code, self._inverse)
                self._alleles.sigmoid_()
                sites = slice(window * shape.sites, min((window + 1) * shape.sites, n_sites))
                if probabilities:
                    probability[:, sites] = drawn[:, : sites.stop - sites.start]
                base = self._difference_base[window]
                draw_alleles(drawn, level, base, code, alleles[:, sites])
        return Drawn(alleles, probability)

    def _advance(self, window: int, part: PartMarker) -> Tensor:
        """State (dimension, size) of a window, whose keys and values go into the rings."""
        shape = self._model.shape
        width = shape.dimension // shape.heads
        latest = window % self._ring
        hidden, normal = self._hidden.numpy(), self._normal.numpy()
        query = self._query.view(shape.heads, width, -1).numpy()
        attended = self._attended.view(shape.heads, width, -1).numpy()
        scores = self._scores[: min(window + 1, self._ring)]
        added = np.zeros(shape.dimension, np.float32)
        for i, layer in enumerate(self._layers):
            with part(f"blocks.{i}.attention"):
                normalise(hidden, added, *layer.attention_norm, normal)
                torch.mm(layer.query, self._normal, out=self._query)
                torch.mm(layer.key_value, self._normal, out=layer.cache[latest].flatten(0, 2))
                cache = layer.cache.numpy()
                score(query, layer.query_bias, cache, latest, layer.far, scores.numpy())
                attend(scores.softmax(0).numpy(), cache, latest, attended)
                self._hidden.addmm_(layer.merge, self._attended)
            with part(f"blocks.{i}.feed_forward"):
                normalise(hidden, layer.merge_bias, *layer.feed_norm, normal)
                torch.mm(layer.widen, self._normal, out=self._units)
                rectify(self._units.numpy(), layer.widen_bias)
                self._hidden.addmm_(layer.narrow, self._units)
                added = layer.narrow_bias
        norm = self._model.norm
        normalise(hidden, added, _shared(norm.weight), _shared(norm.bias), normal)
        return self._normal


@dataclass(frozen=True)
class _Layer:
    """A transformer layer's weights as its products take them, and its ring of keys and values.

    Keys have no bias: it adds the same to a query's every score. That of values, whose weights
    sum to 1, is part of `merge_bias`.
    """

    attention_norm: tuple[NDArray[np.float32], NDArray[np.float32]]
    feed_norm: tuple[NDArray[np.float32], NDArray[np.float32]]
    query: Tensor
    query_bias: NDArray[np.float32]
    key_value: Tensor
    far: NDArray[np.float32]
    merge: Tensor
    merge_bias: NDArray[np.float32]
    widen: Tensor
    widen_bias: NDArray[np.float32]
    narrow: Tensor
    narrow_bias: NDArray[np.float32]
    cache: Tensor

    @classmethod
    def of(cls, block: Block, d: int, ring: int, size: int) -> _Layer:
        width = d // block.heads
        weight, bias = block.qkv.weight, block.qkv.bias
        small = 1 / math.sqrt(width)
        return cls(
            attention_norm=(
                _shared(block.attention_norm.weight),
                _shared(block.attention_norm.bias),
            ),
            feed_norm=(_shared(block.feed_norm.weight), _shared(block.feed_norm.bias)),
            query=weight[:d] * small,
            query_bias=(bias[:d] * small).view(block.heads, width).numpy(),
            key_value=weight[d:].clone(),
            far=_shared(block.distance_bias),
            merge=block.merge.weight,
            merge_bias=(block.merge.bias + block.merge.weight @ bias[2 * d :]).numpy(),
            widen=block.widen.weight,
            widen_bias=_shared(block.widen.bias),
            narrow=block.narrow.weight,
            narrow_bias=_shared(block.narrow.bias),
            cache=torch.empty(ring, 2, block.heads, width, size),
        )


def _shared(values: Tensor) -> NDArray[np.float32]:
    """The tensor's memory as an array."""
    shared: NDArray[np.float32] = values.detach().numpy()
    return shared


def load_kernels() -> None:
    """Load the compiled code, or compile it: half a second that the first block would take."""
    shape = PriorShape(
        n_windows=2,
        sites=2,
        codes=2,
        populations=1,
        superpopulation=(0,),
        dimension=2,
        layers=1,
        heads=1,
        feed_forward=1,
        reach=2,
        residual=1,
    )
    codebooks = Codebooks(torch.zeros(2, 2, 2), torch.zeros(2, 2))
    model = WindowPrior(shape, codebooks, torch.Generator().manual_seed(0))
    CompiledSampler(model, 1, 1.0).draw(np.zeros(1, np.int64), ArgmaxLevels(), 4)


@_jit
def add_known(
    token: Reals, embedding: Reals, first: int, code: Codes, window: Reals, condition: Reals
) -> None:
    """Add to `token` (dimension, n) what else the next position is told.

    The row `first` + `code` (n,) of `embedding`, the `window`'s own (dimension,) and the
    `condition` (dimension, n).
    """
    dimension, n = token.shape
    for c in range(dimension):
        here = window[c]
        for i in range(n):
            token[c, i] += embedding[first + code[i], c] + here + condition[c, i]


@_jit
def normalise(hidden: Reals, bias: Reals, gain: Reals, shift: Reals, out: Reals) -> None:
    """Add `bias` (dimension,) to `hidden` (dimension, n), and its layer norm into `out`."""
    dimension, n = hidden.shape
    mean, scale = np.zeros(n, np.float32), np.zeros(n, np.float32)
    for c in range(dimension):
        constant = bias[c]
        for i in range(n):
            hidden[c, i] += constant
            mean[i] += hidden[c, i]
    share = np.float32(1 / dimension)
    for i in range(n):
        mean[i] *= share
    for c in range(dimension):
        for i in range(n):
            scale[i] += (hidden[c, i] - mean[i]) ** 2
    for i in range(n):
        scale[i] = np.float32(1) / np.sqrt(scale[i] * share + np.float32(1e-5))
    for c in range(dimension):
        up, by = shift[c], gain[c]
        for i in range(n):
            out[c, i] = (hidden[c, i] - mean[i]) * scale[i] * by + up


@_jit
def score(query: Reals, bias: Reals, cache: Reals, latest: int, far: Reals, out: Reals) -> None:
    """Scores (count, heads, n) of the latest `count` positions, by their distance from 0 on.

    `query` is (heads, width, n) and lacks its `bias` (heads, width); `cache`
    (reach, 2, heads, width, n) is a ring of keys and values with the latest at `latest`; `far`
    (heads, reach) are the biases of distances.
    """
    count = out.shape[0]
    heads, width, n = query.shape
    for h in range(heads):
        for c in range(width):
            constant = bias[h, c]
            for i in range(n):
                query[h, c, i] += constant
        for distance in range(count):
            key, row = cache[(latest - distance) % cache.shape[0], 0, h], out[distance, h]
            row[:] = far[h, distance]
            for c in range(width):
                for i in range(n):
                    row[i] += key[c, i] * query[h, c, i]


@_jit
def attend(weights: Reals, cache: Reals, latest: int, out: Reals) -> None:
    """Mean (heads, width, n) of the values in `cache` by `weights` (count, heads, n).

    The cache and the order are those of `score`.
    """
    count = weights.shape[0]
    heads, width, n = out.shape
    for h in range(heads):
        out[h] = 0
        for distance in range(count):
            value, weight = cache[(latest - distance) % cache.shape[0], 1, h], weights[distance, h]
            for c in range(width):
                for i in range(n):
                    out[h, c, i] += weight[i] * value[c, i]


@_jit
def rectify(units: Reals, bias: Reals) -> None:
    """Add `bias` (m,) to `units` (m, n) and replace what is negative by 0."""
    for c in range(units.shape[0]):
        constant = bias[c]
        for i in range(units.shape[1]):
            units[c, i] = max(units[c, i] + constant, np.float32(0))


@_jit
def below_highest(scores: Reals, bias: Reals) -> None:
    """Add `bias` (codes,) to `scores` (codes, n) and take each haplotype's highest off."""
    codes, n = scores.shape
    # Not -inf: `fastmath` knows no infinities.
    highest = scores[0] + bias[0]
    for k in range(codes):
        constant = bias[k]
        for i in range(n):
            scores[k, i] += constant
            highest[i] = max(highest[i], scores[k, i])
    for k in range(codes):
        for i in range(n):
            scores[k, i] -= highest[i]


@_jit
def draw_codes(weights: Reals, level: Reals, code: Codes) -> None:
    """Codes (n,) drawn ∝ `weights` (codes, n), which are summed up, at uniform `level` (n,)."""
    codes, n = weights.shape
    for k in range(1, codes):
        for i in range(n):
            weights[k, i] += weights[k - 1, i]
    threshold = level * weights[codes - 1]
    passed = np.zeros(n, np.int32)
    # The last one is never passed by: a level may round up to 1.
    for k in range(codes - 1):
        for i in range(n):
            passed[i] += np.int32(weights[k, i] <= threshold[i])
    for i in range(n):
        code[i] = passed[i]


@_jit
def rectify_with_code(units: Reals, bias: Reals, table: Reals, first: int, code: Codes) -> None:
    """Add `bias` (m,) and row `first` + `code` of `table` to `units` (n, m); negative: 0."""
    for i in range(units.shape[0]):
        row = table[first + code[i]]
        for c in range(units.shape[1]):
            units[i, c] = max(units[i, c] + bias[c] + row[c], np.float32(0))


@_jit
def add_tables(logits: Reals, tables: Reals, code: Codes, factor: float) -> None:
    """Add rows `code` of `tables` (codes, sites) to `logits` (n, sites); multiply by `factor`."""
    by = np.float32(factor)
    for i in range(logits.shape[0]):
        row = tables[code[i]]
        for s in range(logits.shape[1]):
            logits[i, s] = (logits[i, s] + row[s]) * by


@_jit
def draw_alleles(
    probability: Reals, level: Reals, tables: Reals, code: Codes, out: NDArray[np.int8]
) -> None:
    """Alleles at uniform `level` (n, sites) into `out`, n rows of as many sites or fewer.

    `probability` (n, sites) becomes the difference of the alleles from what the `tables`
    (codes, sites) of probabilities say.
    """
    width = out.shape[1]
    for i in range(probability.shape[0]):
        row = tables[code[i]]
        for s in range(width):
            # Strictly below: probability 0 never gives the allele.
            out[i, s] = level[i, s] < probability[i, s]
        for s in range(probability.shape[1]):
            drawn = np.float32(level[i, s] < probability[i, s])
            probability[i, s] = drawn - row[s]
