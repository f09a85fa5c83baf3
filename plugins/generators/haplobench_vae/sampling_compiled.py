"""Sampling from a window prior on the CPU: BLAS products, and compiled code between them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from haplobench_vae import sampling_kernels as kernels
from haplobench_vae.codebooks import Codebooks
from haplobench_vae.prior import Block, PriorShape, WindowPrior
from haplobench_vae.sampling import Drawn, Halves, Levels, PartMarker, part_marker


class CompiledSampler:
    """Draws haplotypes of a fixed number at a time; see `sampling.block_sampler`.

    All that changes from window to window is in buffers made once. The transformer's have
    haplotypes last: attention of one query each is then a sum of long rows. Products are
    written where they are needed, transposed where that is so.

    Parameters
    ----------
    model : WindowPrior
        On the CPU.
    size : int
        Haplotypes of a block.
    temperature : float
        Divides the logits of alleles.
    """

    def __init__(self, model: WindowPrior, size: int, temperature: float) -> None:
        self._model = model
        self._size = size
        self._inverse = 1.0 / temperature
        shape = model.shape
        d, ring = shape.dimension, min(shape.reach, shape.n_windows)
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
        """One block of haplotypes: see `sampling.BlockSampler`."""
        model, shape, part = self._model, self._model.shape, part_marker()
        condition = model.condition(torch.from_numpy(population)).t().contiguous().numpy()
        alleles = np.empty((self._size, n_sites), np.int8)
        found = np.empty((self._size if probabilities else 0, n_sites), np.float32)
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
                    told = embedding, before - shape.codes, code
                else:
                    hidden[:] = 0
                    told = nothing, 0, np.zeros_like(code)
                kernels.tell(hidden, *told, windows[window], condition)
            state = self._advance(window, part)
            with part("levels"):
                levels.fill(self._code_level, self._allele_level)
            with part("codes"):
                if codes is None:
                    torch.mm(model.head[window].t(), state, out=self._code_scores)
                    kernels.below_highest(self._code_scores.numpy(), head_bias[window])
                    weights = self._code_scores.exp_().numpy()
                    kernels.draw_codes(weights, self._code_level.numpy(), code)
                else:
                    code[:] = codes[window]
            with part("alleles"):
                torch.mm(state.t(), model.residual_state.weight.t(), out=self._inner)
                bias = _shared(model.residual_state.bias)
                kernels.rectify_with_code(self._inner.numpy(), bias, residual_code, before, code)
                torch.mm(self._inner, model.residual_out[window], out=self._alleles)
                kernels.add_tables(drawn, tables[window], code, self._inverse)
                self._alleles.sigmoid_()
                sites = slice(window * shape.sites, min((window + 1) * shape.sites, n_sites))
                if probabilities:
                    found[:, sites] = drawn[:, : sites.stop - sites.start]
                base = self._difference_base[window]
                kernels.draw_alleles(drawn, level, base, code, alleles[:, sites])
        return Drawn(alleles, found)

    def _advance(self, window: int, part: PartMarker) -> Tensor:
        """State (dimension, size) of a window, whose keys and values go into the rings."""
        shape = self._model.shape
        width = shape.dimension // shape.heads
        ring = self._layers[0].cache.shape[0]
        latest = window % ring
        hidden, normal = self._hidden.numpy(), self._normal.numpy()
        query = self._query.view(shape.heads, width, -1).numpy()
        attended = self._attended.view(shape.heads, width, -1).numpy()
        scores = self._scores[: min(window + 1, ring)]
        added = np.zeros(shape.dimension, np.float32)
        for i, layer in enumerate(self._layers):
            with part(f"blocks.{i}.attention"):
                kernels.normalise(hidden, added, *layer.attention_norm, normal)
                torch.mm(layer.query, self._normal, out=self._query)
                torch.mm(layer.key_value, self._normal, out=layer.cache[latest].flatten(0, 2))
                cache = layer.cache.numpy()
                kernels.score(query, layer.query_bias, cache, latest, layer.far, scores.numpy())
                kernels.attend(scores.softmax(0).numpy(), cache, latest, attended)
                self._hidden.addmm_(layer.merge, self._attended)
            with part(f"blocks.{i}.feed_forward"):
                kernels.normalise(hidden, layer.merge_bias, *layer.feed_norm, normal)
                torch.mm(layer.widen, self._normal, out=self._units)
                kernels.rectify(self._units.numpy(), layer.widen_bias)
                self._hidden.addmm_(layer.narrow, self._units)
                added = layer.narrow_bias
        norm = self._model.norm
        kernels.normalise(hidden, added, _shared(norm.weight), _shared(norm.bias), normal)
        return self._normal


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
    books = Codebooks(torch.zeros(2, 2, 2), torch.zeros(2, 2))
    model = WindowPrior(shape, books, torch.Generator().manual_seed(0))
    CompiledSampler(model, 1, 1.0).draw(np.zeros(1, np.int64), Halves(), 4)


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
