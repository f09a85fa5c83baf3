"""Toy generators for the kit's tests: two good ones, and one per way to break the contract."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from haplobench import (
    GeneratorSpec,
    Panel,
    Params,
    PluginError,
    PrivacyStatement,
    RunContext,
    SampleRequest,
)
from haplobench.data.formats.sites import Variants


class QuickParams(Params):
    pseudocount: float = 1.0


class LooseParams(Params):
    model_config = ConfigDict(extra="ignore", frozen=True)


class NeedyParams(Params):
    columns: int


class ForeignParams(BaseModel):
    pass


class GoodFitted:
    """Independent sites by population."""

    def __init__(self, table: NDArray[np.float64], names: list[str]) -> None:
        self.table, self.names = table, names

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[NDArray[np.int8]]:
        rows = np.empty((request.n_haplotypes, self.table.shape[1]), np.int8)
        for block, wanted, filled in request.blocks():
            draws = ctx.rng("sample", block).random((256, self.table.shape[1]))[wanted]
            which: Any = 0
            if request.populations is not None:
                which = np.searchsorted(self.names, request.populations[filled]) + 1
            rows[filled] = draws < self.table[which]
        for start in range(0, len(rows), request.batch_size):
            yield rows[start : start + request.batch_size]

    def save(self, directory: Path) -> None:
        np.save(directory / "table.npy", self.table)
        (directory / "names.json").write_text(json.dumps(self.names))


class PrivateParams(Params):
    def unrepeatable(self) -> str:
        return "its noise is nobody's to repeat"


class Good:
    fitted: type[GoodFitted] = GoodFitted

    def fit(self, train: Panel, params: Any, ctx: RunContext) -> GoodFitted:
        names = sorted(set(train.population.tolist()) - {""})
        tables = [train.frequencies]
        labels = train.haplotype_populations
        tables += [train.haplotypes[labels == name].mean(axis=0) for name in names]
        return self.fitted(np.array(tables), names)

    def load(self, directory: Path, ctx: RunContext) -> GoodFitted:
        names = json.loads((directory / "names.json").read_text())
        return self.fitted(np.load(directory / "table.npy"), names)


class Private(Good):
    """Noises its frequencies afresh whenever it is fitted."""

    def fit(self, train: Panel, params: Any, ctx: RunContext) -> GoodFitted:
        fitted = super().fit(train, params, ctx)
        fitted.table = fitted.table + np.random.default_rng().uniform(-0.2, 0.2)
        return fitted


# --- site-free -----------------------------------------------------------------------------


class ElsewhereFitted:
    def __init__(self, frequencies: NDArray[np.float64]) -> None:
        self.frequencies = frequencies

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[Panel]:
        rng = ctx.rng("sample", request.start)
        n, n_sites = request.n_haplotypes, self.frequencies.size
        yield Panel(
            haplotypes=(rng.random((n, n_sites)) < self.frequencies).astype(np.int8),
            positions=5_000_000 + np.cumsum(rng.integers(1, 500, n_sites)),
            contig="20",
            samples=np.array([f"s{i}" for i in range(n // 2)]),
        )

    def save(self, directory: Path) -> None:
        np.save(directory / "frequencies.npy", self.frequencies)


class Elsewhere:
    fitted: type[ElsewhereFitted] = ElsewhereFitted

    def fit(self, train: Panel, params: Any, ctx: RunContext) -> ElsewhereFitted:
        return self.fitted(train.frequencies)

    def load(self, directory: Path, ctx: RunContext) -> ElsewhereFitted:
        return self.fitted(np.load(directory / "frequencies.npy"))


class TwoPanels(Elsewhere):
    class fitted(ElsewhereFitted):  # noqa: N801
        def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[Panel]:
            yield from super().sample(request, ctx)
            yield from super().sample(request, ctx)


class SameDrawsElsewhere(Elsewhere):
    class fitted(ElsewhereFitted):  # noqa: N801
        def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[Panel]:
            yield from super().sample(SampleRequest(request.n_haplotypes), ctx)


class OthersBySites(Elsewhere):
    class fitted(ElsewhereFitted):  # noqa: N801
        def variants(self, request: SampleRequest, ctx: RunContext) -> Variants:
            (panel,) = self.sample(request, ctx)
            return Variants.of(panel.with_haplotypes(1 - panel.haplotypes))


# --- broken in fit ---------------------------------------------------------------------------


class Raises(Good):
    def fit(self, train: Panel, params: Any, ctx: RunContext) -> GoodFitted:
        raise ValueError("no luck today")


class Mutates(Good):
    def fit(self, train: Panel, params: Any, ctx: RunContext) -> GoodFitted:
        train.positions[0] -= 1
        return super().fit(train, params, ctx)


class MutatesAlleles(Good):
    def fit(self, train: Panel, params: Any, ctx: RunContext) -> GoodFitted:
        train.haplotypes[train.haplotypes < 0] = 0
        return super().fit(train, params, ctx)


class ReturnsNothing(Good):
    def fit(self, train: Panel, params: Any, ctx: RunContext) -> Any:
        return None


class WritesHere(Good):
    def fit(self, train: Panel, params: Any, ctx: RunContext) -> GoodFitted:
        Path("notes.txt").write_text("here")
        return super().fit(train, params, ctx)


class WritesBesideTrain(Good):
    def fit(self, train: Panel, params: Any, ctx: RunContext) -> GoodFitted:
        (ctx.scratch.parent / "hidden.txt").write_text("there")
        return super().fit(train, params, ctx)


class ProgramWrites(Good):
    def fit(self, train: Panel, params: Any, ctx: RunContext) -> GoodFitted:
        subprocess.run([sys.executable, "-c", "open('out.log', 'w')"], check=True)
        return super().fit(train, params, ctx)


class NeedsLabels(Good):
    def fit(self, train: Panel, params: Any, ctx: RunContext) -> GoodFitted:
        if not train.labelled:
            raise IndexError("population 0")
        return super().fit(train, params, ctx)


class RefusesUnlabelled(Good):
    def fit(self, train: Panel, params: Any, ctx: RunContext) -> GoodFitted:
        if not train.labelled:
            raise PluginError("needs population labels")
        return super().fit(train, params, ctx)


class DiligentWriter(Good):
    """Writes where it may."""

    def fit(self, train: Panel, params: Any, ctx: RunContext) -> GoodFitted:
        import tempfile

        (ctx.artifacts / "log.txt").write_text("kept")
        (ctx.scratch / "deep").mkdir()
        (ctx.scratch / "deep" / "x").write_text("gone")
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "y").write_text("gone")
        return super().fit(train, params, ctx)


class Peeks(Good):
    def fit(self, train: Panel, params: Any, ctx: RunContext) -> GoodFitted:
        folder = Path(str(getattr(train.haplotypes, "filename", "."))).parent
        np.load(folder.with_name("holdout") / "haplotypes.npy")
        return super().fit(train, params, ctx)


class TwoRanks(Good):
    """Each rank counts its own half of the people; the counts are summed."""

    def fit(self, train: Panel, params: Any, ctx: RunContext) -> GoodFitted:
        mine = np.arange(train.n_samples)[ctx.group.rank :: ctx.group.size]
        counts = train.select_samples(mine).haplotypes.sum(axis=0, dtype=np.float64)
        return self.fitted(ctx.group.all_reduce(counts)[None] / train.n_haplotypes, [])


class OneRankOnly(TwoRanks):
    """Forgets what the other ranks have counted."""

    def fit(self, train: Panel, params: Any, ctx: RunContext) -> GoodFitted:
        fitted = super().fit(train, params, ctx)
        if ctx.group.size > 1:
            fitted.table = train.select_samples(np.arange(4)).frequencies[None]
        return fitted


class UnseededFit(Good):
    def fit(self, train: Panel, params: Any, ctx: RunContext) -> GoodFitted:
        fitted = super().fit(train, params, ctx)
        fitted.table = np.clip(fitted.table + np.random.default_rng().normal(0, 0.1), 0, 1)
        return fitted


# --- broken in sampling ----------------------------------------------------------------------


class Float(Good):
    class fitted(GoodFitted):  # noqa: N801
        def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[Any]:
            for batch in super().sample(request, ctx):
                yield batch.astype(np.float32)


class Twos(Good):
    class fitted(GoodFitted):  # noqa: N801
        def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[Any]:
            for batch in super().sample(request, ctx):
                yield batch * 2


class FewColumns(Good):
    class fitted(GoodFitted):  # noqa: N801
        def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[Any]:
            for batch in super().sample(request, ctx):
                yield batch[:, 1:]


class TooMany(Good):
    class fitted(GoodFitted):  # noqa: N801
        def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[Any]:
            yield from super().sample(request, ctx)
            yield from super().sample(SampleRequest(2), ctx)


class OneBatch(Good):
    class fitted(GoodFitted):  # noqa: N801
        def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[Any]:
            yield np.concatenate(list(super().sample(request, ctx)))


class SamplingRaises(Good):
    class fitted(GoodFitted):  # noqa: N801
        def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[Any]:
            raise RuntimeError("out of luck")
            yield


class ForgetsItsClaim(Good):
    class fitted(GoodFitted):  # noqa: N801
        claim: PrivacyStatement | None = None

        def privacy_statement(self) -> PrivacyStatement | None:
            return self.claim

    def fit(self, train: Panel, params: Any, ctx: RunContext) -> GoodFitted:
        fitted: Any = super().fit(train, params, ctx)
        fitted.claim = PrivacyStatement(1.0, 1e-5, "person", "PRV", "Poisson")
        return fitted  # type: ignore[no-any-return]


class Unseeded(Good):
    class fitted(GoodFitted):  # noqa: N801
        def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[Any]:
            rng = np.random.default_rng()
            for batch in super().sample(request, ctx):
                yield (rng.random(batch.shape) < self.table[0]).astype(np.int8)


class OneSeed(Good):
    class fitted(GoodFitted):  # noqa: N801
        def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[Any]:
            yield from super().sample(request, RunContext(7, ctx.artifacts, ctx.scratch))


class ByBatch(Good):
    class fitted(GoodFitted):  # noqa: N801
        def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[Any]:
            end = request.start + request.n_haplotypes
            for start in range(request.start, end, request.batch_size):
                rng = ctx.rng("sample", start)
                n = min(request.batch_size, end - start)
                yield (rng.random((n, self.table.shape[1])) < self.table[0]).astype(np.int8)


class FromZero(Good):
    """Draws the whole request from one stream: the start is ignored."""

    class fitted(GoodFitted):  # noqa: N801
        def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[Any]:
            yield from super().sample(
                SampleRequest(request.n_haplotypes, 0, request.batch_size, request.populations), ctx
            )


class IgnoresPopulations(Good):
    class fitted(GoodFitted):  # noqa: N801
        def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[Any]:
            yield from super().sample(
                SampleRequest(request.n_haplotypes, request.start, request.batch_size), ctx
            )


# --- broken in saving ------------------------------------------------------------------------


class Pickles(Good):
    class fitted(GoodFitted):  # noqa: N801
        def save(self, directory: Path) -> None:
            super().save(directory)
            (directory / "state.bin").write_bytes(pickle.dumps(self.names, protocol=4))


class Forgets(Good):
    class fitted(GoodFitted):  # noqa: N801
        def save(self, directory: Path) -> None:
            self.table = self.table.round(1)
            super().save(directory)


class AbsolutePath(Good):
    class fitted(GoodFitted):  # noqa: N801
        def save(self, directory: Path) -> None:
            super().save(directory)
            (directory / "where.txt").write_text(str(directory))

    def load(self, directory: Path, ctx: RunContext) -> GoodFitted:
        return super().load(Path((directory / "where.txt").read_text()), ctx)


class KeepsInScratch(Good):
    class fitted(GoodFitted):  # noqa: N801
        def __init__(self, table: NDArray[np.float64], names: list[str]) -> None:
            super().__init__(table, names)
            self.cache: Path | None = None

        def save(self, directory: Path) -> None:
            super().save(directory)
            (directory / "cache.txt").write_text(str(self.cache))

    def fit(self, train: Panel, params: Any, ctx: RunContext) -> GoodFitted:
        fitted = super().fit(train, params, ctx)
        assert isinstance(fitted, KeepsInScratch.fitted)
        fitted.cache = ctx.scratch / "table.npy"
        np.save(fitted.cache, fitted.table)
        return fitted

    def load(self, directory: Path, ctx: RunContext) -> GoodFitted:
        names = json.loads((directory / "names.json").read_text())
        return self.fitted(np.load((directory / "cache.txt").read_text()), names)


def spec(target: str, **changes: Any) -> GeneratorSpec:
    """A description of the toy of that name."""
    fields: dict[str, Any] = {
        "name": "toy",
        "version": "1",
        "target": f"kit_generators:{target}",
        "summary": "A toy.",
        "params": QuickParams,
    }
    return GeneratorSpec(**(fields | changes))
