"""The models behind the planted regressions, see `aa_plants`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from aa_plants import ChainParams, LeakParams, NoiseParams, SlowParams
from numpy.typing import NDArray

from haplobench import Params, RunContext, SampleRequest
from haplobench_baselines import LiStephensParams, MarkovParams
from haplobench_baselines.li_stephens import LiStephens
from haplobench_baselines.markov import Markov


def _plain(params: Params, kind: type[Params]) -> Any:
    """The parameters of the model inside."""
    return kind(**{name: getattr(params, name) for name in kind.model_fields})


@dataclass(frozen=True, eq=False)
class _Worse:
    """A fitted model and by how much it is made worse."""

    inner: Any
    amount: float

    def save(self, directory: Path) -> None:
        """Write the model, and the amount beside it."""
        (directory / "inner").mkdir()
        self.inner.save(directory / "inner")
        (directory / "amount").write_text(repr(self.amount))


class _Noisy(_Worse):
    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[Any]:
        """Each allele is, with a small probability, that of another haplotype at its site."""
        # Replacing a share e of alleles by independent ones leaves (1 - e)^4 of r².
        share = 1 - (1 - self.amount) ** 0.25
        batches = list(self.inner.sample(request, ctx))
        rows = np.concatenate(batches)
        rng = ctx.rng("plant", request.start)
        strangers = rng.permuted(rows, axis=0)
        chosen = rng.random(rows.shape) < share
        mixed = np.where(chosen, strangers, rows)
        for start in range(0, len(mixed), request.batch_size):
            yield mixed[start : start + request.batch_size]


@dataclass(frozen=True, eq=False)
class _Leaking(_Worse):
    train: NDArray[np.int8]

    def save(self, directory: Path) -> None:
        """Write the training haplotypes too."""
        super().save(directory)
        np.save(directory / "train.npy", self.train)

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[Any]:
        """The first people are training people, both haplotypes."""
        rows = np.concatenate(list(self.inner.sample(request, ctx)))
        train = self.train
        n = round(self.amount * len(rows) / 2)
        rng = ctx.rng("plant", request.start)
        people = rng.choice(len(train) // 2, size=n, replace=False)
        rows[: 2 * n] = train.reshape(-1, 2, train.shape[1])[people].reshape(2 * n, -1)
        for start in range(0, len(rows), request.batch_size):
            yield rows[start : start + request.batch_size]


class _Slow(_Worse):
    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[Any]:
        """The same haplotypes, later."""
        start = time.process_time()
        batches = list(self.inner.sample(request, ctx))
        _spend((self.amount - 1) * (time.process_time() - start))
        yield from batches


def _spend(seconds: float) -> None:
    """Use so much processor time."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


class _Plant:
    model: type[Any]
    fitted: type[_Worse]

    def load(self, directory: Path, ctx: RunContext) -> _Worse:
        """Read what `save` wrote."""
        inner = self.model().load(directory / "inner", ctx)
        return self.fitted(inner, float((directory / "amount").read_text()))


class Noise(_Plant):
    """Li-Stephens with weaker LD."""

    model, fitted = LiStephens, _Noisy

    def fit(self, train: Any, params: NoiseParams, ctx: RunContext) -> _Worse:
        """Fit the model."""
        inner = self.model().fit(train, _plain(params, LiStephensParams), ctx)
        return self.fitted(inner, params.fall)


class Leak(_Plant):
    """A Markov chain with training people."""

    model, fitted = Markov, _Leaking

    def fit(self, train: Any, params: LeakParams, ctx: RunContext) -> _Worse:
        """Fit the model and keep the training people."""
        inner = self.model().fit(train, _plain(params, MarkovParams), ctx)
        return _Leaking(inner, params.share, train.haplotypes)

    def load(self, directory: Path, ctx: RunContext) -> _Worse:
        """Read what `save` wrote."""
        inner = self.model().load(directory / "inner", ctx)
        amount = float((directory / "amount").read_text())
        return _Leaking(inner, amount, np.load(directory / "train.npy"))


class Slow(_Plant):
    """A slower Markov chain."""

    model, fitted = Markov, _Slow

    def fit(self, train: Any, params: SlowParams, ctx: RunContext) -> _Worse:
        """Fit the model, and then wait."""
        start = time.process_time()
        inner = self.model().fit(train, _plain(params, MarkovParams), ctx)
        _spend((params.factor - 1) * (time.process_time() - start))
        return self.fitted(inner, params.factor)


@dataclass(frozen=True, eq=False)
class _Chain:
    thresholds: NDArray[np.float64]

    def save(self, directory: Path) -> None:
        """Write what `load` needs."""
        np.save(directory / "thresholds.npy", self.thresholds)

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[Any]:
        """Every allele given the one before."""

        def draw(block: int) -> Any:
            draws = ctx.rng("sample", block).random((256, self.thresholds.shape[1]))
            haplotypes = np.empty(draws.shape, np.int8)
            before = np.zeros(256, np.int8)
            for site, threshold in enumerate(self.thresholds.T):
                before = (draws[:, site] < threshold[before]).astype(np.int8)
                haplotypes[:, site] = before
            return haplotypes

        return request.batches(draw)


class Chain:
    """The tutorial's generator, whole or broken."""

    def fit(self, train: Any, params: ChainParams, ctx: RunContext) -> _Chain:
        """Count pairs of neighbours; move the thresholds."""
        alleles, frequencies = train.haplotypes, train.frequencies
        before = np.zeros_like(alleles)
        before[:, 1:] = alleles[:, :-1]
        counted = [
            (np.sum(alleles * (before == allele), axis=0) + params.pseudocount * frequencies)
            / (np.sum(before == allele, axis=0) + params.pseudocount)
            for allele in (0, 1)
        ]
        kept = np.array(counted) * (1 - params.forgets) + frequencies * params.forgets
        return _Chain(kept + params.shift)

    def load(self, directory: Path, ctx: RunContext) -> _Chain:
        """Read what `save` wrote."""
        return _Chain(np.load(directory / "thresholds.npy"))
