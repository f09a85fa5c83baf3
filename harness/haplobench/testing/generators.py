"""Conformance of a generator."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench.data.panel import Panel
from haplobench.errors import BenchError, PluginError
from haplobench.plugin import (
    Fitted,
    GeneratorSpec,
    Params,
    PrivacyStatement,
    RunContext,
    SampleRequest,
    SitesStreamed,
)
from haplobench.registry import Registry, resolve
from haplobench.testing.checks import Findings, conformance, needs_pickle, watched
from haplobench.testing.panels import (
    example_context,
    example_panel,
    haploid,
    panel_state,
    without_labels,
)

_DETERMINISM = "A result that can't be had again can't be compared; draw from ctx.rng(*key) alone."
_BLOCKS = (
    "Sampling resumes and is shared out by absolute haplotype index; key randomness by "
    "SampleRequest.blocks, never by batch or request."
)
_MAX_DISTANCE = 2.0


def check_generator(
    generator: str | GeneratorSpec,
    panel: Panel | None = None,
    *,
    params: Mapping[str, Any] | Params | None = None,
    seed: int = 0,
    n_haplotypes: int = 520,
    registry: Registry | None = None,
) -> tuple[str, ...]:
    """Check that a generator keeps its contract.

    Fits four times on a small panel and samples about a dozen times: description, params,
    light import (by name only), shapes and alphabet, determinism in the seed, independence
    of batch size and start, save and load, populations, panels without labels and of haploid
    people, no changes to the training panel, no files outside the folders, no look at held-out
    people; for
    `distributed=True`, with torch installed, also that two ranks fit the same as one.

    `generator`: a name in the registry, or a description.
    `panel`: training panel; `example_panel()` if None.
    `params`: of the fit: choose quick ones. None: the defaults.
    `n_haplotypes`: haplotypes of the main sample, even; more than 512 cross the usual block
    borders.
    `registry`: where to look a name up; the installed plugins if None.

    Returns the names of the checks passed. Raises ConformanceError that lists every failure,
    PluginError for an unknown name or if this machine lacks what the generator needs.
    """

    def check(spec: GeneratorSpec, findings: Findings, folder: Path, params: Params) -> None:
        people = panel or example_panel()
        _Check(spec, findings, folder, people, params, seed, n_haplotypes).run()

    return conformance("generator", generator, params, registry, check)


class _Check:
    """Fits and samples in one folder, and notes in `findings` what is judged.

    `folder` holds everything that is written; what lies in its `holdout` may not be read.
    `n`: haplotypes of a sample.
    """

    def __init__(
        self,
        spec: GeneratorSpec,
        findings: Findings,
        folder: Path,
        panel: Panel,
        params: Params,
        seed: int,
        n: int,
    ) -> None:
        self.spec = spec
        self.findings = findings
        self.folder = folder
        self.panel = panel
        self.params = params
        self.seed = seed
        self.n = n

    def run(self) -> None:
        # As in a run: mapped into memory read-only, the held-out people in a folder beside.
        self.panel.save(self.folder / "train")
        example_panel(4, self.panel.n_sites, self.seed).save(self.folder / "holdout")
        train = Panel.load(self.folder / "train")
        fitted = self.fit(train, self.seed)
        whole = self.sample(fitted)
        self.determinism(train, fitted, whole)
        if self.spec.site_matched:
            self.cuts(fitted, whole)
        else:
            self.expect_same(
                "start",
                self.sample(fitted, start=self.n),
                whole,
                "another start to give other haplotypes",
                "Several draws are taken from one fitted generator.",
                same=False,
            )
            self.variants(fitted, whole)
        if self.spec.conditional:
            self.conditioning(fitted)
        self.round_trip(fitted, whole)
        self.unlabelled(train)
        self.haploid(train)
        if self.spec.distributed:
            self.ranks(whole)

    def context(self, seed: int | None = None) -> RunContext:
        """A context with empty folders of its own; those of other contexts stay."""
        folder = Path(tempfile.mkdtemp(prefix="stage", dir=self.folder))
        return example_context(folder, self.panel, self.seed if seed is None else seed)

    @contextmanager
    def stage(self, check: str, expected: str, why: str, *, vital: bool = False) -> Iterator[None]:
        """The generator's own code runs in it: what it writes, reads and raises is noted."""
        with (
            watched(self.findings, self.folder, holdout="holdout"),
            self.findings.attempt(check, expected, why, vital=vital),
        ):
            yield

    def fit(self, train: Panel, seed: int) -> Fitted:
        """Fit, and see that the training panel stays as it was."""
        before = panel_state(train)
        why = "Nothing can be sampled."
        expected = "fit(train, params, ctx) of a read-only panel to return"
        with self.stage("fit", expected, why, vital=True):
            fitted: Fitted = resolve(self.spec.target)().fit(train, self.params, self.context(seed))
        self.findings.expect(
            panel_state(train) == before,
            "training panel",
            "the training panel unchanged",
            "its arrays differ after fit",
            "Metrics compare with the training people afterwards.",
        )
        missing = [name for name in ("sample", "save") if not hasattr(fitted, name)]
        self.findings.require(
            not missing,
            "fit",
            "an object with sample and save",
            f"{type(fitted).__name__} without {' and '.join(missing)}",
            why,
        )
        return fitted

    def sample(
        self,
        fitted: Fitted,
        *,
        seed: int | None = None,
        n: int | None = None,
        start: int = 0,
        batch_size: int = 1024,
        populations: NDArray[np.str_] | None = None,
    ) -> NDArray[np.int8] | Panel:
        """Sample and judge what comes: the haplotypes together, or the one Panel."""
        n = self.n if n is None else n
        request = SampleRequest(n, start, batch_size, populations)
        expected = f"{request} to be sampled"
        with self.stage("sample", expected, "Nothing can be measured.", vital=True):
            yielded = list(fitted.sample(request, self.context(seed)))
        if self.spec.site_matched:
            return self.joined(yielded, n, batch_size)
        types = ", ".join(sorted({type(thing).__name__ for thing in yielded})) or "nothing"
        self.shape(
            len(yielded) == 1 and isinstance(yielded[0], Panel),
            "exactly one Panel (site_matched is False)",
            f"{len(yielded)} × {types}",
        )
        panel = yielded[0]
        assert isinstance(panel, Panel)
        self.shape(panel.n_haplotypes == n, f"{n} haplotypes", f"{panel.n_haplotypes} haplotypes")
        self.shape(panel.n_sites > 0, "sites", "none")
        self.shape(not panel.has_missing, "alleles 0 and 1", "missing alleles")
        return panel

    def joined(self, yielded: list[Any], n: int, batch_size: int) -> NDArray[np.int8]:
        """The batches as one array, each judged."""
        for batch in yielded:
            self.shape(
                isinstance(batch, np.ndarray) and batch.dtype == np.int8,
                "int8 arrays (site_matched is True)",
                f"{batch.dtype} array" if isinstance(batch, np.ndarray) else type(batch).__name__,
            )
            self.shape(
                batch.ndim == 2 and batch.shape[1] == self.panel.n_sites,
                f"batches of shape (batch, {self.panel.n_sites})",
                f"shape {batch.shape}",
            )
            self.shape(
                0 < batch.shape[0] <= batch_size,
                f"1 to batch_size = {batch_size} haplotypes a batch",
                f"{batch.shape[0]}",
            )
            alleles = np.unique(batch)
            self.shape(set(alleles) <= {0, 1}, "alleles 0 and 1", f"{alleles[:5].tolist()}")
        rows = sum(batch.shape[0] for batch in yielded)
        self.shape(rows == n, f"{n} haplotypes together", f"{rows}")
        # A copy: a generator may reuse its buffer.
        return np.concatenate(yielded)

    def shape(self, ok: bool, expected: str, found: str) -> None:
        """Note whether what came is what was promised; HaltError if not."""
        why = "The harness stores and measures what it is promised."
        self.findings.require(ok, "shape", expected, found, why)

    def expect_same(
        self,
        check: str,
        one: NDArray[np.int8] | Panel,
        other: NDArray[np.int8] | Panel,
        expected: str,
        why: str,
        *,
        same: bool = True,
    ) -> None:
        """Note whether two samples are (or are not) identical."""
        a, b = _haplotypes(one), _haplotypes(other)
        equal = np.array_equal(a, b)
        if isinstance(one, Panel) and isinstance(other, Panel):
            equal = equal and one.same_sites(other)
        if a.shape != b.shape:
            found = f"shapes {a.shape} and {b.shape}"
        else:
            differing = int((a != b).any(axis=1).sum())
            found = f"{differing} of {a.shape[0]} haplotypes differ"
        self.findings.expect(equal == same, check, expected, found, why)

    def determinism(self, train: Panel, fitted: Fitted, whole: NDArray[np.int8] | Panel) -> None:
        """The same seed gives the same bytes, another seed others."""
        self.expect_same(
            "determinism",
            self.sample(fitted),
            whole,
            "the same request twice to give identical haplotypes",
            _DETERMINISM,
        )
        noise = self.params.unrepeatable()
        self.expect_same(
            "determinism",
            self.sample(self.fit(train, self.seed)),
            whole,
            f"fitting again with the same seed to give other haplotypes, as {noise}"
            if noise
            else "fitting again with the same seed to give identical haplotypes",
            "Noise that comes twice cancels, and protects nobody." if noise else _DETERMINISM,
            same=not noise,
        )
        self.expect_same(
            "seed",
            self.sample(self.fit(train, self.seed + 1), seed=self.seed + 1),
            whole,
            "another seed to give other haplotypes",
            "Repeats over seeds measure spread; with one result for all there is none.",
            same=False,
        )

    def cuts(self, fitted: Fitted, whole: NDArray[np.int8] | Panel) -> None:
        """Haplotype i doesn't depend on batches or on where a request starts."""
        rows = _haplotypes(whole)
        for batch_size in (64, 38):
            self.expect_same(
                "batch size",
                self.sample(fitted, batch_size=batch_size),
                rows,
                f"batches of {batch_size} to give the same haplotypes as one of 1,024",
                _BLOCKS,
            )
        half = self.n // 4 * 2
        for start, n in ((half - 8, min(130, self.n - half + 8)), (self.n - 10, 10)):
            self.expect_same(
                "start",
                self.sample(fitted, start=start, n=n, batch_size=100),
                rows[start : start + n],
                f"haplotypes {start} to {start + n - 1} to be the same when asked for alone",
                _BLOCKS,
            )
        self.expect_same(
            "start",
            self.sample(fitted, start=self.n),
            rows,
            f"haplotypes from {self.n} on to be others than those from 0 on",
            "Several draws are taken from one fitted generator, one after the other.",
            same=False,
        )

    def variants(self, fitted: Fitted, whole: NDArray[np.int8] | Panel) -> None:
        """What is read by blocks of sites is what is sampled at once."""
        if not isinstance(fitted, SitesStreamed):
            return
        request = SampleRequest(self.n)
        with self.stage(
            "variants", f"{request} to be read by sites", "Nothing can be written.", vital=True
        ):
            panel = fitted.variants(request, self.context()).panel()
        expected = "variants() to give the panel of sample()"
        why = "`bench generate` reads a cohort by blocks of sites where it can."
        self.expect_same("variants", panel, whole, expected, why)

    def round_trip(self, fitted: Fitted, whole: NDArray[np.int8] | Panel) -> None:
        """What is saved, moved and loaded elsewhere samples the same; no pickle."""
        findings = self.findings
        saved, moved = self.folder / "saved", self.folder / "moved"
        saved.mkdir()
        with self.stage(
            "save", "save(directory) to write into an empty folder", "Fits are stored."
        ):
            fitted.save(saved)
        if findings.outcomes["save"] is not None:
            return
        pickled = sorted(path.name for path in saved.rglob("*") if needs_pickle(path))
        findings.expect(
            not pickled,
            "save",
            "no pickle (use npz, JSON, safetensors)",
            ", ".join(pickled),
            "Opening a stranger's results must not run a stranger's code.",
        )
        saved.rename(moved)
        for stage in self.folder.glob("stage*"):
            shutil.rmtree(stage)
        with self.stage(
            "load",
            "load(directory, ctx) of a folder that was moved, with empty scratch and artifacts",
            "Sampling runs in another process than fitting, and results are moved.",
        ):
            loaded: Fitted = resolve(self.spec.target)().load(moved, self.context())
        if findings.outcomes["load"] is None:
            self.expect_same(
                "load",
                self.sample(loaded),
                whole,
                "identical haplotypes after save and load",
                "Sampling runs in another process than fitting.",
            )
            self.privacy_claim(fitted, loaded)

    def privacy_claim(self, fitted: Fitted, loaded: Fitted) -> None:
        """A claim of differential privacy is a PrivacyStatement, and outlives save and load."""
        claims = [getattr(one, "privacy_statement", lambda: None)() for one in (fitted, loaded)]
        self.findings.expect(
            all(claim is None or isinstance(claim, PrivacyStatement) for claim in claims)
            and claims[0] == claims[1],
            "load",
            "the same PrivacyStatement, or None, after save and load",
            f"{claims[0]!r} and {claims[1]!r}",
            "The claim is asked of what was loaded, and audited.",
        )

    def conditioning(self, fitted: Fitted) -> None:
        """Each haplotype comes from the population asked for."""
        labels = np.unique(self.panel.population[self.panel.population != ""])
        if labels.size < 2:
            return
        first, second = labels[:2]
        people = np.random.default_rng(0).permutation(np.repeat([first, second], 120))
        populations = np.repeat(people, self.panel.ploidy)
        rows = _haplotypes(self.sample(fitted, n=populations.size, populations=populations))
        if not self.spec.site_matched:
            return
        real_labels = self.panel.haplotype_populations
        real, sampled = (
            np.mean(haplotypes[names == first], axis=0)
            - np.mean(haplotypes[names == second], axis=0)
            for haplotypes, names in ((self.panel.haplotypes, real_labels), (rows, populations))
        )
        r = float(np.corrcoef(real, sampled)[0, 1]) if sampled.any() and real.any() else 0.0
        self.findings.expect(
            r > 0.3,
            "populations",
            f"frequency differences between {first} and {second} like the training people's "
            "(r > 0.3 over sites)",
            f"r = {r:.2f}",
            "A conditional generator is asked for the held-out people's populations, haplotype "
            "by haplotype; if it can't, declare conditional=False.",
        )

    def ranks(self, whole: NDArray[np.int8] | Panel) -> None:
        """Two ranks fit what one rank fits, but for the rounding of sums in another order."""
        if not can_fit_in_ranks():
            return
        model = self.folder / "ranks"
        with self.findings.attempt(
            "world size",
            "two ranks to fit together, rank 0 to save",
            "distributed=True says that ctx.group is used: a suite may ask for any world size.",
        ):
            fit_in_ranks(self.spec, self.params, self.seed, model)
            fitted: Fitted = resolve(self.spec.target)().load(model, self.context())
        if self.findings.outcomes["world size"] is not None:
            return
        sampled = self.sample(fitted)
        if not self.spec.site_matched or np.array_equal(_haplotypes(sampled), _haplotypes(whole)):
            return
        z = _frequency_distance(_haplotypes(sampled), _haplotypes(whole))
        self.findings.expect(
            z <= _MAX_DISTANCE,
            "world size",
            "the haplotypes that one rank gives or, where floats are summed in another order, "
            f"allele frequencies no further apart than two samples' (mean z² ≤ {_MAX_DISTANCE:g})",
            f"mean z² = {z:.1f}",
            "Draws are keyed by what they are for, never by rank, and every rank's people count: "
            "then scaling changes the time alone.",
        )

    def unlabelled(self, train: Panel) -> None:
        """A panel without population labels is fitted, or refused in one line."""
        bare = without_labels(train)
        with (
            self.stage(
                "unlabelled panel",
                "a panel without populations to be fitted and sampled, or a BenchError",
                "Panels read from VCF or PLINK often have no labels.",
            ),
            suppress(BenchError),
        ):
            fitted = resolve(self.spec.target)().fit(bare, self.params, self.context())
            list(fitted.sample(SampleRequest(8), self.context()))

    def haploid(self, train: Panel) -> None:
        """A panel of haploid people gives haploid people, or is refused in one line."""
        n, found = 7, ""
        haploid(train).save(self.folder / "haploid")
        with (
            self.stage(
                "haploid panel",
                "a panel of haploid people to be fitted and sampled, or a BenchError",
                "Panels of men's X, of Y or of mitochondria hold one haplotype of each person.",
            ),
            suppress(BenchError),
        ):
            context, panel = self.context(), Panel.load(self.folder / "haploid")
            fitted = resolve(self.spec.target)().fit(panel, self.params, context)
            batches = list(fitted.sample(SampleRequest(n), self.context()))
            rows = sum(_haplotypes(batch).shape[0] for batch in batches)
            people = sum(
                batch.n_samples if isinstance(batch, Panel) else len(batch) for batch in batches
            )
            found = f"{rows} of {people} people"
        self.findings.expect(
            found in ("", f"{n} of {n} people"),
            "haploid panel",
            f"{n} of {n} people",
            found,
            "Each person of a haploid panel has one haplotype.",
        )


def _haplotypes(sampled: NDArray[np.int8] | Panel) -> NDArray[np.int8]:
    return sampled.haplotypes if isinstance(sampled, Panel) else sampled


def _frequency_distance(one: NDArray[np.int8], other: NDArray[np.int8]) -> float:
    """Mean over sites of the squared difference of frequencies in units of its sampling error."""
    p, q = one.mean(axis=0), other.mean(axis=0)
    pooled = (p + q) / 2
    variance = pooled * (1 - pooled) * (1 / len(one) + 1 / len(other))
    varying = variance > 0
    return float(np.mean((p - q)[varying] ** 2 / variance[varying])) if varying.any() else 0.0


_LIMIT = 600.0  # seconds
_SIZE = 2


def can_fit_in_ranks() -> bool:
    """Whether torch, which carries the ranks' group, is installed."""
    return importlib.util.find_spec("torch") is not None


def fit_in_ranks(spec: GeneratorSpec, params: Params, seed: int, model: Path) -> None:
    """Fit with two ranks on the panel `train` beside `model`, a folder that is made.

    Raises PluginError with the last words of the rank that failed first.
    """
    model.mkdir()
    job = {
        "target": spec.target,
        "model": f"{type(params).__module__}:{type(params).__qualname__}",
        "params": params.model_dump(mode="json", round_trip=True),
        "seed": seed,
    }
    model.with_name("ranks.json").write_text(json.dumps(job))
    paths = os.pathsep.join(entry for entry in sys.path if entry)
    ranks = [
        subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, str(model), str(rank)],
            env={**os.environ, "PYTHONPATH": paths},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(_SIZE)
    ]
    try:
        for rank, process in enumerate(ranks):
            _, stderr = process.communicate(timeout=_LIMIT)
            if process.returncode:
                last = (stderr.strip().splitlines() or ["no message"])[-1]
                raise PluginError(
                    f"rank {rank} of {_SIZE} exited with {process.returncode}: {last}"
                )
    except subprocess.TimeoutExpired:
        raise PluginError(f"{_SIZE} ranks weren't done after {_LIMIT:.0f} s") from None
    finally:
        for process in ranks:
            process.kill()
            process.wait()


def _fit(model: Path, rank: int) -> None:
    """What one rank does."""
    from haplobench.data.panel import Panel
    from haplobench.distributed.backends import open_group
    from haplobench.registry import resolve
    from haplobench.testing.panels import example_context

    job = json.loads(model.with_name("ranks.json").read_text())
    params = resolve(job["model"]).model_validate(job["params"])
    meeting = model.with_name("meeting.json")
    group = open_group(
        "torch", rank, _SIZE, local_rank=rank, local_size=_SIZE, meeting=meeting, timeout=_LIMIT
    )
    train = Panel.load(model.with_name("train"))
    ctx = example_context(model.with_name(f"rank{rank}"), train, job["seed"], group=group)
    fitted = resolve(job["target"])().fit(train, params, ctx)
    if rank == 0:
        fitted.save(model)
    group.close()


if __name__ == "__main__":
    _fit(Path(sys.argv[1]), int(sys.argv[2]))
