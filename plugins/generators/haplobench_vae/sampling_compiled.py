"""Sampling from a window prior on the CPU: a prior's weights and states as integers of 16 bits.

How large a number can become is known beforehand, whatever is sampled: a state in its normal form
has a norm of sqrt(dimension), and what weights make of it can't exceed the weights' norm times
that (Cauchy and Schwarz). So scales are set once, and no sum can exceed 31 bits. Steps of a state
are 1 / 5,700 of its standard deviation at 32 dimensions: probabilities are those of float32 to
some 1e-4.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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
from haplobench_vae.sampling_kernels import (
    LANES,
    ROWS,
    Pairs,
    Reals,
    attention,
    choose_codes,
    draw_alleles,
    feed_forward,
    normalise,
    tokens,
)

# A hundredth below what 16 and 32 bits hold: room for what rounding adds to bounds.
_MOST, _MOST_SUM = 32_500.0, 0.98 * 2**31
# Exponentials are powers of 2: of what is multiplied by this beforehand.
_LOG2_E = math.log2(math.e)


class CompiledSampler(BlockSampler):
    """A sampler on the CPU: all that changes from window to window is in buffers made once."""

    def __init__(self, model: WindowPrior, size: int, temperature: float) -> None:
        super().__init__(model, size, temperature)
        shape, n = model.shape, _up(size, LANES)
        with torch.no_grad():
            self._weights = _Weights.of(model)
            self._layers = [_Layer.of(block, self._ring, n) for block in model.layers()]
        d, units = shape.dimension, max(layer.narrow.shape[1] for layer in self._layers)
        wide = max(n, _up(shape.sites, LANES), _up(shape.residual, LANES), _up(d, LANES))
        self._hidden = np.zeros((d, n), np.float32)
        self._normal, self._state = np.zeros((2, _up(d, 2) // 2 * n), np.int32)
        self._normal = self._normal.reshape(-1, n)
        self._state = self._state.reshape(n, -1)
        self._query = np.zeros((self._layers[0].query.shape[0] // 2, n), np.int32)
        self._attended = np.zeros((_up(d, ROWS) // 2, n), np.int32)
        self._units = np.zeros((units, n), np.int32)
        self._scores = np.zeros((self._ring + 1, n), np.float32)
        self._softened = np.zeros(((self._ring + 1) // 2, n), np.int32)
        self._sums = np.zeros((ROWS, n), np.int32)
        self._wide_sums = np.zeros((ROWS, wide), np.int32)
        self._code_weights = np.zeros((shape.codes, n), np.float32)
        self._residual = np.zeros((n, _up(shape.residual, LANES)), np.int16)
        self._told = np.zeros((n, d), np.float32)
        self._drawn = np.zeros((n, _up(shape.sites, LANES)), np.int16)
        self._code = np.zeros(n, np.int64)
        self._code_level = np.zeros(n, np.float32)
        self._allele_level = np.zeros((n, shape.sites), np.float32)

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
        model, shape, part, size = self._model, self._model.shape, part_marker(), self._size
        weights, code, drawn = self._weights, self._code, self._drawn
        people = np.zeros(code.size, np.int64)
        people[:size] = population
        with torch.no_grad():
            condition = model.condition(torch.from_numpy(people)).t().contiguous().numpy()
        alleles = np.empty((size, n_sites), np.int8)
        probability = np.empty((size if probabilities else 0, n_sites), np.float32)
        code_level, allele_level = (
            torch.from_numpy(level[:size]) for level in (self._code_level, self._allele_level)
        )
        drawn[:] = 0
        known = np.zeros((1, shape.dimension), np.float32), 0, np.zeros_like(code)
        for window in range(shape.n_windows):
            first, earlier = window * shape.codes, max(0, window - 1)
            with part("tokens"):
                tokens(
                    drawn.view(np.int32),
                    weights.token[earlier],
                    weights.token_by[earlier],
                    *known,
                    weights.windows[window],
                    condition,
                    self._hidden,
                    self._told,
                    self._wide_sums,
                )
                known = weights.code_embedding, first, code
            self._advance(window, part)
            with part("levels"):
                levels.fill(code_level, allele_level)
            with part("codes"):
                if codes is None:
                    choose_codes(
                        weights.head[window],
                        weights.head_by[window],
                        weights.head_bias[window],
                        self._normal,
                        self._code_level,
                        code,
                        self._code_weights,
                        self._sums,
                    )
                else:
                    code[:size] = codes[window]
            with part("alleles"):
                sites = slice(window * shape.sites, min((window + 1) * shape.sites, n_sites))
                draw_alleles(
                    self._normal,
                    self._state,
                    weights.residual_state,
                    weights.residual_by,
                    weights.residual_bias,
                    weights.unit_by,
                    weights.residual_code,
                    first,
                    code,
                    weights.out[window],
                    weights.out_by[window],
                    weights.tables[window],
                    self._inverse * _LOG2_E,
                    self._allele_level,
                    self._residual,
                    self._residual.view(np.int32),
                    self._wide_sums,
                    drawn,
                    alleles[:, sites],
                    probability[:, sites],
                )
        return Drawn(alleles, probability)

    def _advance(self, window: int, part: PartMarker) -> None:
        """The state of a window into `_normal`; keys and values of it go into the rings."""
        latest, count = window % self._ring, min(window + 1, self._ring)
        hidden, normal, scale = self._hidden, self._normal, self._weights.scale
        added = self._weights.nothing
        for i, layer in enumerate(self._layers):
            with part(f"blocks.{i}.attention"):
                attention(
                    hidden,
                    added,
                    scale,
                    normal,
                    layer.query,
                    layer.query_by,
                    layer.query_shift,
                    layer.key,
                    layer.key_by,
                    layer.value,
                    layer.value_by,
                    layer.merge,
                    layer.merge_by,
                    layer.far,
                    layer.score_by,
                    layer.keys,
                    layer.values,
                    latest,
                    count,
                    self._query,
                    self._attended,
                    self._scores,
                    self._softened,
                    self._sums,
                )
            with part(f"blocks.{i}.feed_forward"):
                feed_forward(
                    hidden,
                    layer.merge_bias,
                    scale,
                    normal,
                    layer.widen,
                    layer.widen_by,
                    layer.widen_shift,
                    layer.narrow,
                    layer.narrow_by,
                    self._units,
                    self._sums,
                )
                added = layer.narrow_bias
        normalise(hidden, added, scale, normal)


class _Weights(NamedTuple):
    """A prior's weights outside its layers, as compiled code takes them.

    The first axis of arrays of three is the windows'; `…_by` are what integers are multiplied by.
    """

    token: Pairs
    token_by: Reals
    code_embedding: Reals
    windows: Reals
    head: Pairs
    head_by: Reals
    head_bias: Reals
    residual_state: Pairs
    residual_by: Reals
    residual_bias: Reals
    residual_code: Reals
    unit_by: Reals
    out: Pairs
    out_by: Reals
    tables: Reals
    nothing: Reals
    scale: float

    @classmethod
    def of(cls, model: WindowPrior) -> _Weights:
        shape = model.shape
        normal = _Normal(shape.dimension)
        embedding = _array(model.allele_embedding)
        token, token_by = fixed(embedding.swapaxes(1, 2), math.sqrt(shape.sites))
        # Alleles differ from what the code's table says: the table's part goes with the code.
        known = _array(model.code_embedding).reshape(shape.n_windows, shape.codes, -1).copy()
        for window, table in enumerate(model.logits):
            known[window] -= _array(torch.sigmoid(table)) @ embedding[window]
        gain, shift = _array(model.norm.weight), _array(model.norm.bias)
        head = _array(model.head).swapaxes(1, 2)
        heads, head_by = fixed(head * gain, normal.norm)
        state = _array(model.residual_state.weight)
        bias = _array(model.residual_state.bias) + state @ shift
        states, state_by = fixed(state * gain, normal.norm)
        code = _array(model.residual_code)
        most = normal.most(state * gain) + np.maximum(code.max(axis=0) + bias, 0)
        unit_by = _per(_MOST, most)
        out, out_by = fixed(
            _array(model.residual_out).swapaxes(1, 2) / unit_by, _MOST * math.sqrt(shape.residual)
        )
        return cls(
            token=as_lanes(token),
            token_by=token_by,
            code_embedding=known.reshape(-1, shape.dimension),
            windows=_array(model.window_embedding),
            head=as_rows(heads),
            head_by=head_by / normal.scale * _LOG2_E,
            head_bias=(_array(model.head_bias) + head @ shift) * np.float32(_LOG2_E),
            residual_state=as_lanes(states),
            residual_by=state_by / normal.scale,
            residual_bias=bias,
            residual_code=code,
            unit_by=unit_by,
            out=as_lanes(out, _up(shape.residual, LANES)),
            out_by=out_by,
            tables=_array(model.logits),
            nothing=np.zeros(shape.dimension, np.float32),
            scale=normal.scale,
        )


class _Layer(NamedTuple):
    """A transformer layer's weights as compiled code takes them, and its ring of keys and values.

    Keys have no bias: it adds the same to a query's every score. That of values, whose weights
    sum to 1, is part of `merge_bias`.
    """

    query: Pairs
    query_by: Reals
    query_shift: Reals
    key: Pairs
    key_by: Reals
    value: Pairs
    value_by: Reals
    merge: Pairs
    merge_by: Reals
    merge_bias: Reals
    far: Reals
    score_by: Reals
    widen: Pairs
    widen_by: Reals
    widen_shift: Reals
    narrow: Pairs
    narrow_by: Reals
    narrow_bias: Reals
    keys: Pairs
    values: Pairs

    @classmethod
    def of(cls, block: Block, ring: int, n: int) -> _Layer:
        weight, bias = _array(block.qkv.weight), _array(block.qkv.bias)
        d, heads = weight.shape[1], block.heads
        normal = _Normal(d)
        bias = bias + weight @ _array(block.attention_norm.bias)
        weight = weight * _array(block.attention_norm.weight)
        width = d // heads
        # Heads are filled up to whole groups of rows.
        full = (0, 0), (0, _up(width, ROWS) - width), (0, 0)
        by_head = heads, width, d
        small = np.float32(1 / math.sqrt(width))
        query, key = (
            np.pad(part.reshape(by_head), full).reshape(-1, d)
            for part in (weight[:d] * small, weight[d : 2 * d])
        )
        query_bias = np.pad((bias[:d] * small).reshape(heads, width, 1), full).reshape(-1)
        most_query = (normal.most(query) + np.abs(query_bias)).reshape(heads, -1)
        most_key = normal.most(key).reshape(heads, -1)
        query_scale, key_scale = (
            np.minimum(
                _per(_MOST, most.max(axis=1)),
                _per(math.sqrt(_MOST_SUM), np.linalg.norm(most, axis=1)),
            )
            for most in (most_query, most_key)
        )
        rows = query.shape[0] // heads
        queries, query_by = fixed(query, normal.norm)
        keys, key_by = fixed(key, normal.norm)
        value_scale = _per(_MOST, normal.most(weight[2 * d :]))
        values, value_by = fixed(weight[2 * d :], normal.norm)
        merge, merge_by = fixed(_array(block.merge.weight) / value_scale, _MOST * math.sqrt(d))
        widen_weight, widen_bias = _array(block.widen.weight), _array(block.widen.bias)
        widen_bias = widen_bias + widen_weight @ _array(block.feed_norm.bias)
        widen_weight = widen_weight * _array(block.feed_norm.weight)
        unit_scale = _per(_MOST, normal.most(widen_weight) + np.maximum(widen_bias, 0))
        widen, widen_by = fixed(widen_weight, normal.norm)
        together = np.linalg.norm(widen_weight * unit_scale[:, None], 2) * math.sqrt(d)
        together += np.linalg.norm(np.maximum(widen_bias, 0) * unit_scale)
        narrow, narrow_by = fixed(_array(block.narrow.weight) / unit_scale, float(together))
        merge_bias = _array(block.merge.bias) + _array(block.merge.weight) @ bias[2 * d :]
        return cls(
            query=as_rows(queries),
            query_by=query_by / normal.scale * np.repeat(query_scale, rows),
            query_shift=query_bias * np.repeat(query_scale, rows),
            key=as_rows(keys),
            key_by=key_by / normal.scale * np.repeat(key_scale, rows),
            value=as_rows(values),
            value_by=_padded(value_by / normal.scale * value_scale),
            merge=as_rows(merge, _up(d, ROWS)),
            merge_by=merge_by,
            merge_bias=merge_bias,
            far=_array(block.distance_bias) * _LOG2_E,
            score_by=np.reciprocal(query_scale * key_scale) * _LOG2_E,
            widen=as_rows(widen),
            widen_by=_padded(widen_by / normal.scale * unit_scale),
            widen_shift=_padded(widen_bias * unit_scale),
            narrow=as_rows(narrow, _up(widen.shape[0], ROWS)),
            narrow_by=narrow_by,
            narrow_bias=_array(block.narrow.bias),
            keys=np.zeros((ring * query.shape[0] // 2, n), np.int32),
            values=np.zeros((_up(ring, 2) // 2 * _up(d, ROWS), n), np.int32),
        )


class _Normal:
    """A state in its normal form: what it is multiplied by, and how large that can be.

    `norm`: of the integers, rounding included.
    """

    def __init__(self, dimension: int) -> None:
        self._root = np.float32(math.sqrt(dimension))
        self.scale = float(_MOST / self._root)
        self.norm = _MOST + float(self._root)

    def most(self, weights: Reals) -> Reals:
        """The most that products of each row (rows, dimension) with a state can be: (rows,)."""
        most: Reals = np.linalg.norm(weights, axis=-1) * self._root
        return most


def _per(most: float, values: Reals) -> Reals:
    """`most` by each of the values; 1 where there is next to nothing, which rounds to 0."""
    here = values > most * np.finfo(np.float32).tiny
    return np.divide(most, values, out=np.ones_like(values), where=here)


def fixed(weights: Reals, norm: float) -> tuple[NDArray[np.int16], Reals]:
    """Weights (…, rows, k) as integers of 16 bits, and what gives them back, (…, rows).

    As large as can be for products with integers of a norm up to `norm` to fit in 32 bits.
    """
    scale = np.minimum(
        _per(_MOST, np.abs(weights).max(axis=-1)),
        _per(_MOST_SUM / norm, np.linalg.norm(weights, axis=-1)),
    )
    return np.rint(weights * scale[..., None]).astype(np.int16), np.reciprocal(scale)


def _up(size: int, to: int) -> int:
    """The next multiple."""
    return -(-size // to) * to


def _padded(values: Reals) -> Reals:
    """Filled up with zeros to whole groups of rows."""
    return np.pad(values, (0, -values.size % ROWS))


def as_rows(values: NDArray[np.int16], k: int = 2) -> Pairs:
    """Rows (…, rows, k) as the first factor of products: filled up, along k to at least `k`."""
    *front, rows, depth = values.shape
    full = np.zeros((*front, _up(rows, ROWS), max(_up(depth, 2), k)), np.int16)
    full[..., :rows, :depth] = values
    return full.view(np.int32)


def as_lanes(values: NDArray[np.int16], k: int = 2) -> Pairs:
    """Rows (…, rows, k) as the second factor of products, whose lanes they become."""
    pairs = np.swapaxes(as_rows(values, k), -1, -2)
    missing = -pairs.shape[-1] % LANES
    return np.ascontiguousarray(np.pad(pairs, [*[(0, 0)] * (pairs.ndim - 1), (0, missing)]))


def _array(values: Tensor) -> Reals:
    """The tensor's memory as an array."""
    shared: Reals = values.detach().numpy()
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
