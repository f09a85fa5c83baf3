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
            self._weights = _Weights.of(model)
        self._hidden, self._normal, self._query, self._attended = (
            torch.zeros(d, size) for _ in range(4)
        )
        scores, softened = torch.empty(2, ring, shape.heads, size)
        self._units = torch.empty(shape.feed_forward * d, size)
        self._code_scores = torch.empty(shape.codes, size)
        self._inner = torch.empty(size, shape.residual)
        self._alleles = torch.empty(size, shape.sites)
        self._code_level = torch.empty(size)
        self._allele_level = torch.empty(size, shape.sites)
        self._code = np.zeros(size, np.int64)
        # Views, made once: to make one takes as long as some of the products.
        by_head = shape.heads, d // shape.heads, size
        self._by_head = [values.view(by_head).numpy() for values in (self._query, self._attended)]
        self._scores = [
            (scores[:n], softened[:n], scores[:n].numpy(), softened[:n].numpy())
            for n in range(1, ring + 1)
        ]
        self._alleles_first = self._alleles.t()
        self._normal_last = self._normal.t()

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
        weights = self._weights
        condition = model.condition(torch.from_numpy(population)).t().contiguous().numpy()
        alleles = np.empty((self._size, n_sites), np.int8)
        probability = np.empty((self._size if probabilities else 0, n_sites), np.float32)
        hidden, code, level = self._hidden.numpy(), self._code, self._allele_level.numpy()
        drawn, inner = self._alleles.numpy(), self._inner.numpy()
        code_level, code_scores = self._code_level.numpy(), self._code_scores.numpy()
        nothing = np.zeros((1, shape.dimension), np.float32)
        for window in range(shape.n_windows):
            before = window * shape.codes
            with part("tokens"):
                if window:
                    earlier = weights.allele_embedding[window - 1]
                    torch.mm(earlier, self._alleles_first, out=self._hidden)
                    source = weights.code_embedding, before - shape.codes, code
                else:
                    hidden[:] = 0
                    source = nothing, 0, np.zeros_like(code)
                add_known(hidden, *source, weights.windows[window], condition)
            self._advance(hidden, window, part)
            with part("levels"):
                levels.fill(self._code_level, self._allele_level)
            with part("codes"):
                if codes is None:
                    torch.mm(weights.head[window], self._normal, out=self._code_scores)
                    below_highest(code_scores, weights.head_bias[window])
                    self._code_scores.exp_()
                    draw_codes(code_scores, code_level, code)
                else:
                    code[:] = codes[window]
            with part("alleles"):
                torch.mm(self._normal_last, weights.residual_state, out=self._inner)
                rectify_with_code(inner, weights.residual_bias, weights.residual_code, before, code)
                torch.mm(self._inner, weights.residual_out[window], out=self._alleles)
                add_tables(drawn, weights.tables[window], code, self._inverse)
                self._alleles.sigmoid_()
                sites = slice(window * shape.sites, min((window + 1) * shape.sites, n_sites))
                if probabilities:
                    probability[:, sites] = drawn[:, : sites.stop - sites.start]
                base = weights.difference_base[window]
                draw_alleles(drawn, level, base, code, alleles[:, sites])
        return Drawn(alleles, probability)

    def _advance(self, hidden: Reals, window: int, part: PartMarker) -> None:
        """The state of a window into `_normal`; keys and values of it go into the rings."""
        latest = window % self._ring
        normal, units = self._normal.numpy(), self._units.numpy()
        query, attended = self._by_head
        scores, softened, scored, weights = self._scores[min(window + 1, self._ring) - 1]
        added = self._weights.nothing
        for i, layer in enumerate(self._layers):
            with part(f"blocks.{i}.attention"):
                normalise(hidden, added, *layer.attention_norm, normal)
                torch.mm(layer.query, self._normal, out=self._query)
                torch.mm(layer.key_value, self._normal, out=layer.slots[latest])
                score(query, layer.query_bias, layer.ring, latest, layer.far, scored)
                torch.softmax(scores, 0, out=softened)
                attend(weights, layer.ring, latest, attended)
                self._hidden.addmm_(layer.merge, self._attended)
            with part(f"blocks.{i}.feed_forward"):
                normalise(hidden, layer.merge_bias, *layer.feed_norm, normal)
                torch.mm(layer.widen, self._normal, out=self._units)
                rectify(units, layer.widen_bias)
                self._hidden.addmm_(layer.narrow, self._units)
                added = layer.narrow_bias
        normalise(hidden, added, *self._weights.norm, normal)


@dataclass(frozen=True)
class _Weights:
    """A prior's weights outside its layers, as products and compiled code take them.

    Tuples have an item for each window.
    """

    allele_embedding: tuple[Tensor, ...]
    code_embedding: Reals
    windows: Reals
    head: tuple[Tensor, ...]
    head_bias: Reals
    residual_state: Tensor
    residual_bias: Reals
    residual_code: Reals
    residual_out: tuple[Tensor, ...]
    tables: Reals
    difference_base: Reals
    norm: tuple[Reals, Reals]
    nothing: Reals

    @classmethod
    def of(cls, model: WindowPrior) -> _Weights:
        return cls(
            allele_embedding=model.allele_embedding.detach().transpose(1, 2).unbind(),
            code_embedding=_shared(model.code_embedding),
            windows=_shared(model.window_embedding),
            head=model.head.detach().transpose(1, 2).unbind(),
            head_bias=_shared(model.head_bias),
            residual_state=model.residual_state.weight.detach().t(),
            residual_bias=_shared(model.residual_state.bias),
            residual_code=_shared(model.residual_code),
            residual_out=model.residual_out.detach().unbind(),
            tables=model.logits.numpy(),
            difference_base=torch.sigmoid(model.logits).numpy(),
            norm=(_shared(model.norm.weight), _shared(model.norm.bias)),
            nothing=np.zeros(model.shape.dimension, np.float32),
        )


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
    ring: NDArray[np.float32]
    slots: tuple[Tensor, ...]

    @classmethod
    def of(cls, block: Block, d: int, ring: int, size: int) -> _Layer:
        width = d // block.heads
        weight, bias = block.qkv.weight, block.qkv.bias
        small = 1 / math.sqrt(width)
        cache = torch.empty(ring, 2, block.heads, width, size)
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
            ring=cache.numpy(),
            slots=cache.flatten(1, 3).unbind(),
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
