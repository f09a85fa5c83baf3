"""The generator word-chain: words of each window, and how often one follows another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from haplobench import Panel, RunContext, SampleRequest
from numpy.typing import NDArray

from haplobench_words.params import WordChainParams

_BLOCK = 256


@dataclass
class Fitted:
    """The windows' words and chances.

    `words[w]` is `(n_words, sites of window w) int8`; `follows[w]` is `(n_words before, n_words)
    float64`, the chance of at most each word after each one before (the first window: one row).
    """

    words: list[NDArray[np.int8]]
    follows: list[NDArray[np.float64]]

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[NDArray[np.int8]]:
        """Yield haplotypes; a block's draws are keyed by its number alone."""

        def draw(block: int) -> NDArray[np.int8]:
            uniform = ctx.rng("sample", block).random((len(self.words), _BLOCK))
            state = np.zeros(_BLOCK, np.int64)
            parts = []
            for words, follows, chance in zip(self.words, self.follows, uniform, strict=True):
                state = (follows[state] <= chance[:, None]).sum(axis=1)
                parts.append(words[state])
            return np.concatenate(parts, axis=1)

        return request.batches(draw, _BLOCK)

    def save(self, directory: Path) -> None:
        """Write arrays, and how many there are."""
        arrays: dict[str, Any] = {f"words{i}": words for i, words in enumerate(self.words)}
        arrays |= {f"follows{i}": follows for i, follows in enumerate(self.follows)}
        np.savez_compressed(directory / "chain.npz", **arrays)
        (directory / "chain.json").write_text(json.dumps({"windows": len(self.words)}))


class WordChain:
    """Counts words and successions among the training haplotypes."""

    def fit(self, train: Panel, params: WordChainParams, ctx: RunContext) -> Fitted:
        """Count; a missing allele counts as the reference."""
        haplotypes = np.maximum(np.asarray(train.haplotypes), 0)
        words, follows = [], []
        before = np.zeros(len(haplotypes), np.int64)
        for start in range(0, train.n_sites, params.window):
            columns = haplotypes[:, start : start + params.window]
            found, which = np.unique(columns, axis=0, return_inverse=True)
            which = which.reshape(-1)
            counts = np.zeros((before.max() + 1, len(found)))
            np.add.at(counts, (before, which), 1)
            by_word = counts / counts.sum(axis=1, keepdims=True)
            overall = counts.sum(axis=0) / counts.sum()
            chances = (1 - params.backoff) * by_word + params.backoff * overall
            cumulative = np.cumsum(chances, axis=1)
            cumulative[:, -1] = 1.0
            words.append(found.astype(np.int8))
            follows.append(cumulative)
            before = which
            ctx.progress(start / train.n_sites, "counting words")
        return Fitted(words, follows)

    def load(self, directory: Path, ctx: RunContext) -> Fitted:
        """Read what `save` wrote."""
        n = json.loads((directory / "chain.json").read_text())["windows"]
        with np.load(directory / "chain.npz") as arrays:
            return Fitted(
                [arrays[f"words{i}"] for i in range(n)], [arrays[f"follows{i}"] for i in range(n)]
            )
