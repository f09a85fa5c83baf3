"""The prior over window codes and the residual decoder: a causal transformer along the windows.

Attention is local (the latest `reach` windows), so that cost is linear in the number of windows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from haplobench_vae.codebooks import Codebooks


@dataclass(frozen=True)
class PriorShape:
    """Shape of the network.

    `n_windows`, `sites`, `codes`: of the codebooks.
    `populations`: labels it is conditioned on.
    `superpopulation`: of each population.
    `dimension`, `layers`, `heads`, `feed_forward`: of the transformer; `feed_forward` in multiples
    of `dimension`.
    `reach`: windows that attention looks back, the position itself included.
    `residual`: hidden units of the residual decoder.
    """

    n_windows: int
    sites: int
    codes: int
    populations: int
    superpopulation: tuple[int, ...]
    dimension: int
    layers: int
    heads: int
    feed_forward: int
    reach: int
    residual: int


class Block(nn.Module):
    """A pre-norm transformer layer (Vaswani et al. 2017) with learnt relative position biases."""

    def __init__(self, shape: PriorShape) -> None:
        super().__init__()
        d = shape.dimension
        self.heads, self.reach = shape.heads, shape.reach
        self.attention_norm = nn.LayerNorm(d)
        self.qkv = nn.Linear(d, 3 * d)
        self.merge = nn.Linear(d, d)
        self.feed_norm = nn.LayerNorm(d)
        self.widen = nn.Linear(d, shape.feed_forward * d)
        self.narrow = nn.Linear(shape.feed_forward * d, d)
        # Of the distance 0 … reach - 1.
        self.distance_bias = nn.Parameter(torch.zeros(shape.heads, shape.reach))

    def split(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (n, heads, length, dimension / heads)."""
        n, length, d = hidden.shape
        qkv = self.qkv(self.attention_norm(hidden))
        q, k, v = qkv.view(n, length, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        return q, k, v

    def finish(
        self, hidden: Tensor, attended: Tensor, factors: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Residual paths after attention; all are (…, dimension), `factors` as in `forward`."""
        merged: Tensor = self.merge(attended)
        hidden = hidden + (merged if factors is None else merged * factors[0])
        inner = functional.relu(self.widen(self.feed_norm(hidden)))
        fed: Tensor = self.narrow(inner)
        return hidden + (fed if factors is None else fed * factors[1])

    def forward(self, hidden: Tensor, factors: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """(n, length, dimension) to the same shape; position i sees i - reach + 1 … i.

        `factors` are of what attention and feed-forward add: dropout's.
        """
        q, k, v = self.split(hidden)
        length = q.shape[2]
        if length <= self.reach:
            bias = self._band(length, length, 0)
            attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias[None])
            return self.finish(hidden, attended.transpose(1, 2).flatten(2), factors)
        # Chunks of `reach` positions, each with the chunk before: linear in the length.
        size = self.reach
        chunks = -(-length // size)
        pad = chunks * size - length
        n, heads, _, width = q.shape
        q = functional.pad(q, (0, 0, 0, pad))
        k, v = (
            functional.pad(x, (0, 0, size, pad)).reshape(n, heads, chunks + 1, size, width)
            for x in (k, v)
        )
        k, v = (torch.cat([x[:, :, :-1], x[:, :, 1:]], dim=3) for x in (k, v))
        bias = self._band(size, 2 * size, size)[:, None].repeat(1, chunks, 1, 1)
        first = torch.zeros(chunks, 1, 2 * size, dtype=torch.bool, device=hidden.device)
        first[0, :, :size] = True
        bias = bias.masked_fill(first, -torch.inf)
        attended = functional.scaled_dot_product_attention(
            q.reshape(n, heads * chunks, size, width),
            k.flatten(1, 2),
            v.flatten(1, 2),
            attn_mask=bias.flatten(0, 1)[None],
        )
        attended = attended.view(n, heads, chunks * size, width)[:, :, :length]
        return self.finish(hidden, attended.transpose(1, 2).flatten(2), factors)

    def _band(self, queries: int, keys: int, offset: int) -> Tensor:
        """Biases (heads, queries, keys): query i stands at key offset + i; -inf out of reach."""
        device = self.distance_bias.device
        distance = (
            torch.arange(queries, device=device)[:, None]
            + offset
            - torch.arange(keys, device=device)[None]
        )
        inside = (distance >= 0) & (distance < self.reach)
        bias = self.distance_bias[:, distance.clamp(0, self.reach - 1)]
        return bias.masked_fill(~inside, -torch.inf)


class WindowPrior(nn.Module):
    """p(code of each window | windows before, population), and p(alleles | code, the same).

    What is known of the windows before are their codes and their alleles' differences from the
    codes' tables. The residual decoder adds to a code's logits what the transformer's state
    says beyond it; it starts at nothing.
    """

    logits: Tensor
    superpopulation: Tensor

    def __init__(self, shape: PriorShape, codebooks: Codebooks, generator: torch.Generator) -> None:
        super().__init__()
        self.shape = shape
        windows, codes, sites, d = shape.n_windows, shape.codes, shape.sites, shape.dimension
        self.code_embedding = nn.Parameter(torch.empty(windows * codes, d))
        self.allele_embedding = nn.Parameter(torch.zeros(windows, sites, d))
        self.window_embedding = nn.Parameter(torch.empty(windows, d))
        self.population_embedding = nn.Parameter(torch.empty(shape.populations, d))
        self.superpopulation_embedding = nn.Parameter(
            torch.empty(max(shape.superpopulation) + 1, d)
        )
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(d)
        self.head = nn.Parameter(torch.empty(windows, d, codes))
        self.head_bias = nn.Parameter(codebooks.log_weights.clone())
        self.residual_state = nn.Linear(d, shape.residual)
        self.residual_code = nn.Parameter(torch.empty(windows * codes, shape.residual))
        self.residual_out = nn.Parameter(torch.zeros(windows, shape.residual, sites))
        self.register_buffer("logits", codebooks.logits.clone())
        self.register_buffer("superpopulation", torch.tensor(shape.superpopulation))
        self._initialise(generator)

    def _initialise(self, generator: torch.Generator) -> None:
        d = self.shape.dimension
        with torch.no_grad():
            for parameter in (
                self.code_embedding,
                self.window_embedding,
                self.population_embedding,
                self.superpopulation_embedding,
            ):
                parameter.normal_(0.0, 0.3, generator=generator)
            self.head.normal_(0.0, 0.3 / math.sqrt(d), generator=generator)
            self.residual_code.normal_(0.0, 0.3, generator=generator)
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    module.weight.normal_(
                        0.0, 1 / math.sqrt(module.in_features), generator=generator
                    )
                    module.bias.zero_()
            depth = math.sqrt(2 * self.shape.layers)
            for block in self.layers():
                block.merge.weight.div_(depth)
                block.narrow.weight.div_(depth)

    def layers(self) -> Iterator[Block]:
        """Yield the transformer's layers in order."""
        for block in self.blocks:
            assert isinstance(block, Block)
            yield block

    def condition(self, population: Tensor) -> Tensor:
        """What every position is told: (n, dimension) of (n,) populations."""
        return (
            self.population_embedding[population]
            + self.superpopulation_embedding[self.superpopulation[population]]
        )

    def scores(
        self, codes: Tensor, alleles: Tensor, population: Tensor, factors: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What each window's codes and alleles are predicted to be, given those before.

        `codes` (n_windows, n) int64.
        `alleles` (n_windows, n, sites) int8: negative where missing.
        `population` (n,) int64.
        `factors` (n, 1 + 2 × layers, n_windows, dimension) float32 or None: of the tokens and of
        what each layer adds, in training: see `dropout`.

        Returns code scores (n_windows, n, codes), and the alleles' logits given the codes
        (n_windows, n, sites), float32.
        """
        shape = self.shape
        rows = codes + torch.arange(shape.n_windows, device=codes.device)[:, None] * shape.codes
        tables = functional.embedding(rows, self.logits.flatten(0, 1))
        difference = torch.where(alleles >= 0, alleles - torch.sigmoid(tables), 0.0)
        tokens = functional.embedding(rows[:-1], self.code_embedding) + torch.bmm(
            difference[:-1], self.allele_embedding[:-1]
        )
        tokens = functional.pad(tokens, (0, 0, 0, 0, 1, 0))
        hidden = tokens + self.window_embedding[:, None] + self.condition(population)[None]
        hidden = hidden.transpose(0, 1)
        if factors is not None:
            hidden = hidden * factors[:, 0]
        for i, block in enumerate(self.layers()):
            layer_factors = (
                None if factors is None else (factors[:, 2 * i + 1], factors[:, 2 * i + 2])
            )
            hidden = block(hidden, layer_factors)
        state = self.norm(hidden).transpose(0, 1)
        scores = torch.baddbmm(self.head_bias[:, None], state, self.head)
        inner = functional.relu(
            self.residual_state(state) + functional.embedding(rows, self.residual_code)
        )
        return scores, tables + torch.bmm(inner, self.residual_out)

    def forward(
        self, codes: Tensor, alleles: Tensor, population: Tensor, factors: Tensor | None = None
    ) -> Tensor:
        """Negative log-likelihood, nats: (n, 2), of the codes and of the alleles given them.

        Arguments are those of `scores`; missing alleles cost nothing.
        """
        scores, logits = self.scores(codes, alleles, population, factors)
        code_loss = functional.cross_entropy(
            scores.flatten(0, 1), codes.flatten(), reduction="none"
        )
        allele_loss = functional.binary_cross_entropy_with_logits(
            logits, alleles.clamp_min(0).float(), weight=(alleles >= 0).float(), reduction="none"
        )
        return torch.stack([code_loss.view(codes.shape).sum(0), allele_loss.sum((0, 2))], dim=1)


def dropout(shape: PriorShape, rate: float, seeds: Sequence[int], device: torch.device) -> Tensor:
    """Factors of dropout (Srivastava et al. 2014): 0 at `rate`, else 1 / (1 - rate).

    (len(seeds), 1 + 2 × layers, n_windows, dimension) float32; those of a haplotype depend on
    its own seed alone, not on the haplotypes beside it.
    """
    cells = 1 + 2 * shape.layers, shape.n_windows, shape.dimension
    factors = torch.empty(len(seeds), *cells, device=device)
    generator = torch.Generator(device)
    for row, seed in zip(factors, seeds, strict=True):
        row.bernoulli_(1 - rate, generator=generator.manual_seed(seed))
    return factors.div_(1 - rate)
