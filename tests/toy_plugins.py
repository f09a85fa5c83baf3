"""Tiny plugins in a folder of their own, which the stages' processes import through PYTHONPATH."""

from __future__ import annotations

import importlib
import itertools
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from haplobench.registry import Registry, load_registry
from haplobench.runner import fingerprints

DATASETS = '''
"""A panel of 24 people in two populations at 60 sites."""
import os
import time
import numpy as np
from haplobench import BenchError, DatasetSpec, LoadedDataset, Panel, Params, hookimpl


class ToyParams(Params):
    n_samples: int = 24
    n_sites: int = 60
    broken: bool = False
    phased: bool = True
    contig: str = "20"
    strangers_on: str = ""


class Toy:
    def load(self, params, ctx):
        if os.environ.get("TOY_LINGER") == "prepare":
            time.sleep(3)
        if params.broken:
            raise BenchError("toy.vcf:7: found 'x', expected a genotype")
        rng = ctx.rng("toy")
        n = 2 * params.n_samples
        shape = (n, params.n_sites)
        frequencies = rng.uniform(0.2, 0.8, params.n_sites)
        haplotypes = (rng.random(shape) < frequencies).astype(np.int8)
        return LoadedDataset(
            Panel(
                haplotypes,
                100 * np.arange(1, params.n_sites + 1),
                params.contig,
                np.array(
                    [
                        f"{'stranger' if params.contig == params.strangers_on else 'person'}{i}"
                        for i in range(params.n_samples)
                    ]
                ),
                ref=np.full(params.n_sites, "A"),
                alt=np.full(params.n_sites, "C"),
                population=np.array(["FIN", "GBR"] * (params.n_samples // 2)),
                superpopulation=np.full(params.n_samples, "EUR"),
                phased=params.phased,
            ),
            skipped={"indel": 3},
            provenance={"source": "simulated"},
        )

    def fingerprint(self, params):
        return repr(params)


@hookimpl
def haplobench_datasets():
    return [
        DatasetSpec(
            name="toy", version="1", target="toy_datasets:Toy", summary="Toy.", params=ToyParams
        )
    ]
'''

GENERATORS = '''
"""Generators, good and bad."""
import json
import os
import subprocess
import time
import numpy as np
from haplobench import GeneratorSpec, Panel, Params, hookimpl


class FrequencyParams(Params):
    misbehave: str = ""
    where: str = "fit"
    pause: float = 0.0


class Fitted:
    def __init__(self, frequencies, params, positions):
        self.frequencies, self.params, self.positions = frequencies, params, positions

    def save(self, directory):
        np.save(directory / "frequencies.npy", self.frequencies)
        np.save(directory / "positions.npy", self.positions)
        (directory / "params.json").write_text(self.params.model_dump_json())

    def sample(self, request, ctx):
        misbehave(self.params, "sample", ctx)
        rows = np.empty((request.n_haplotypes, self.frequencies.size), np.int8)
        for block, kept, filled in request.blocks(8):
            draws = ctx.rng("sample", block).random((8, self.frequencies.size))
            rows[filled] = (draws[kept] < self.frequencies).astype(np.int8)
        how = self.params.misbehave
        if how == "dtype":
            rows = rows.astype(np.float32)
        elif how == "alphabet":
            rows[0, 0] = 2
        elif how == "too few":
            rows = rows[:-2]
        elif how == "too many":
            rows = np.concatenate([rows, rows[:2]])
        elif how == "sites":
            rows = rows[:, 1:]
        elif how == "list":
            rows = rows.tolist()
        for start in range(0, len(rows), request.batch_size):
            yield rows[start : start + request.batch_size]


class Frequency:
    fitted = Fitted

    def fit(self, train, params, ctx):
        (ctx.artifacts / "note.txt").write_text("for the user")
        ctx.progress(0.5, "half way")
        time.sleep(params.pause)
        misbehave(params, "fit", ctx)
        return self.fitted(train.frequencies, params, train.positions)

    def load(self, directory, ctx):
        params = FrequencyParams.model_validate_json((directory / "params.json").read_text())
        return self.fitted(
            np.load(directory / "frequencies.npy"), params, np.load(directory / "positions.npy")
        )


class ElsewhereFitted(Fitted):
    def sample(self, request, ctx):
        rng = ctx.rng("sample", request.start)
        n = request.n_haplotypes - (2 if self.params.misbehave == "too few" else 0)
        rows = (rng.random((n, 40)) < 0.4).astype(np.int8)
        rows[:, 0] = 0
        panel = Panel(rows, 7 + 10 * np.arange(40), "20", np.arange(n // 2).astype(str))
        if self.params.misbehave != "nothing":
            yield panel
        if self.params.misbehave == "twice":
            yield panel


class Elsewhere(Frequency):
    fitted = ElsewhereFitted


def linger(stage):
    """Take a while, and count how often, where a test asks for it."""
    if "TOY_COUNT" in os.environ:
        with open(os.environ["TOY_COUNT"], "a") as lines:
            lines.write(stage + "\\n")
    if os.environ.get("TOY_LINGER") == stage:
        time.sleep(3)


def misbehave(params, stage, ctx):
    linger(stage)
    if params.where != stage:
        return
    if params.misbehave == "full":
        raise OSError(28, "No space left on device")
    if params.misbehave == "spawn":
        child = subprocess.Popen(["sleep", "977"])
        with open(os.environ["TOY_PID"], "w") as handle:
            handle.write(str(child.pid))
        while True:
            time.sleep(0.05)
    if params.misbehave == "raise":
        raise ZeroDivisionError("boom in " + stage)
    if params.misbehave == "hang":
        while True:
            time.sleep(0.05)
    if params.misbehave == "allocate":
        hoard = []
        while True:
            hoard.append(np.ones(2_000_000))
            time.sleep(0.005)
    if params.misbehave == "die":
        os.kill(os.getpid(), 11)
    if params.misbehave == "exit":
        raise SystemExit(0)


def spec(name, **more):
    kind = "Elsewhere" if not more.get("site_matched", True) else "Frequency"
    return GeneratorSpec(
        name=name, version="1", target=f"toy_generators:{kind}", summary="Toy.",
        params=FrequencyParams, **more,
    )


@hookimpl
def haplobench_generators():
    return [
        spec("independent", control="A lower bound."),
        spec("frequency"),
        spec("conditional", conditional=True),
        spec("elsewhere", site_matched=False),
    ]
'''

METRICS = '''
"""Metrics, good and bad."""
import os
import time
import numpy as np
from haplobench import (
    Measurement, MetricResult, MetricSpec, Params, SubmetricSpec, hookimpl,
)


class ToyParams(Params):
    misbehave: str = ""
    only_for: str = ""


class Difference:
    """Mean absolute difference of allele frequencies, from batches."""

    def __init__(self, reference, params, ctx):
        self.reference, self.params = reference, params
        self.total, self.n = 0, 0

    def update(self, batch):
        self.total = self.total + batch.haplotypes.sum(axis=0)
        self.n += batch.n_haplotypes

    def result(self):
        found = self.total / self.n
        real = self.reference.holdout.frequencies
        value = float(np.abs(found - real).mean())
        return MetricResult(
            {"difference": Measurement(value, n=real.size, standard_error=0.1)},
            {"sites": {"real": real, "synthetic": found}},
        )


class Spectrum:
    """Mean MAF: needs no common sites; may misbehave."""

    def __init__(self, reference, params, ctx):
        self.params = params

    def update(self, cohort):
        self.cohort = cohort
        if os.environ.get("TOY_LINGER") == "measure":
            time.sleep(3)
        how = self.params.misbehave
        if how == "raise":
            raise ZeroDivisionError("boom in metric")
        if how == "hang":
            while True:
                time.sleep(0.05)
        if how == "die":
            os.kill(os.getpid(), 9)

    def result(self):
        value = float(self.cohort.maf.mean())
        if self.params.misbehave == "nan":
            value = float("nan")
        measurements = {
            "maf": Measurement(value, n=self.cohort.n_sites, labels={"part": "all"}),
            "seen": Measurement(float(self.cohort.n_haplotypes)),
        }
        if self.params.misbehave == "undeclared":
            measurements["surprise"] = Measurement(1.0)
        return MetricResult(measurements)


class Cost:
    def __init__(self, reference, params, ctx):
        pass

    def update(self, telemetry):
        self.telemetry = telemetry

    def result(self):
        t = self.telemetry
        return MetricResult(
            {
                "wall": Measurement(t.fit_wall),
                "size": Measurement(float(t.n_haplotypes)),
                "memory": Measurement(float(t.fit_peak_rss - t.fit_base_rss)),
            }
        )


class People:
    """How many of the cohort's people carry each population's label."""

    def __init__(self, reference, params, ctx):
        self.labels = np.unique(reference.holdout.population)

    def update(self, cohort):
        self.cohort = cohort

    def result(self):
        return MetricResult(
            {
                "people": [
                    Measurement(
                        float((self.cohort.population == label).sum()),
                        labels={"population": str(label)},
                    )
                    for label in self.labels
                ]
            }
        )


def number(name):
    return SubmetricSpec(name=name, title=name, definition="Toy.", direction="lower")


@hookimpl
def haplobench_metrics():
    common = {"version": "1", "summary": "Toy.", "params": ToyParams}
    return [
        MetricSpec(
            name="difference", target="toy_metrics:Difference", family="fidelity",
            input="batches", submetrics=(number("difference"),), **common,
        ),
        MetricSpec(
            name="spectrum", target="toy_metrics:Spectrum", family="fidelity",
            site_matched=False, phased=False, floor="holdout", sites="all",
            submetrics=(number("maf"), number("seen"), number("unreported")), **common,
        ),
        MetricSpec(
            name="cost", target="toy_metrics:Cost", family="performance", input="telemetry",
            site_matched=False, submetrics=(number("wall"), number("size"), number("memory")),
            **common,
        ),
        MetricSpec(
            name="people", target="toy_metrics:People", family="fidelity", contigs="joined",
            submetrics=(number("people"),), **common,
        ),
    ]
'''

# A generator made for several ranks.
RANKS = '''
"""Allele frequencies, summed over ranks; may misbehave on one of them."""
import json
import os
import signal
import time
import numpy as np
from haplobench import GeneratorSpec, Params, hookimpl
from haplobench.distributed.group import shard


class SharedParams(Params):
    misbehave: str = ""
    rank: int = 1
    memory: int = 0


class Fitted:
    def __init__(self, frequencies):
        self.frequencies = frequencies

    def save(self, directory):
        np.save(directory / "frequencies.npy", self.frequencies)

    def sample(self, request, ctx):
        assert ctx.group.size == 1
        rows = np.empty((request.n_haplotypes, self.frequencies.size), np.int8)
        for block, kept, filled in request.blocks(8):
            draws = ctx.rng("sample", block).random((8, self.frequencies.size))
            rows[filled] = (draws[kept] < self.frequencies).astype(np.int8)
        for start in range(0, len(rows), request.batch_size):
            yield rows[start : start + request.batch_size]


class Shared:
    def fit(self, train, params, ctx):
        rank, size = ctx.group.rank, ctx.group.size
        hoard = np.ones(params.memory, np.uint8)
        if params.memory:
            time.sleep(60)
        begun = 0
        progress = ctx.checkpoint / "progress.json"
        if progress.is_file():
            begun = json.loads(progress.read_text())["step"]
        counts = np.zeros(train.n_sites, np.int64)
        for step in range(begun, 4):
            rows = train.haplotypes[shard(train.n_haplotypes, rank, size)]
            counts = ctx.group.all_reduce(rows.sum(axis=0, dtype=np.int64))
            if rank == 0:
                progress.with_suffix(".new").write_text(json.dumps({"step": step + 1}))
                progress.with_suffix(".new").replace(progress)
            ctx.group.barrier()
            if step == 2 and rank == params.rank:
                misbehave(params, begun)
        if rank == 0:
            (ctx.artifacts / "begun.txt").write_text(str(begun))
        return Fitted(counts / train.n_haplotypes)

    def load(self, directory, ctx):
        return Fitted(np.load(directory / "frequencies.npy"))


def misbehave(params, begun):
    how = params.misbehave
    if how == "kill" or (how == "kill once" and begun == 0):
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "raise":
        raise ZeroDivisionError("boom in one rank")
    if how == "leave":
        os._exit(3)
    if how == "hang":
        linger()


def linger():
    while True:
        time.sleep(0.05)


@hookimpl
def haplobench_generators():
    return [
        GeneratorSpec(
            name="shared", version="1", target="toy_ranks:Shared", summary="Toy.",
            params=SharedParams, distributed=True,
        )
    ]
'''

SOURCES = {"toy_datasets": DATASETS, "toy_generators": GENERATORS, "toy_metrics": METRICS}
_COUNT = itertools.count()
_FOLDERS: set[str] = set()


class Toys:
    """A folder of plugins, registries of them, and suites that use them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        _FOLDERS.add(str(folder))
        for module, text in SOURCES.items():
            self.write(module, text)

    def write(self, module: str, text: str) -> None:
        (self.folder / f"{module}.py").write_text(textwrap.dedent(text))

    def registry(self, *more: str) -> Registry:
        """The toys' plugins and `more`, imported anew from this folder."""
        forget_modules()
        sys.path.insert(0, str(self.folder))
        importlib.invalidate_caches()
        fingerprints.forget()
        return load_registry([*SOURCES, *more])

    def suite_file(self, text: str) -> Path:
        path = self.folder / f"suite{next(_COUNT)}.yaml"
        path.write_text(textwrap.dedent(text))
        return path


def forget_modules() -> None:
    """Forget plugins of all toy folders: the same names lie in several."""
    sys.path[:] = [entry for entry in sys.path if entry not in _FOLDERS]
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if path and str(Path(path).parent) in _FOLDERS:
            del sys.modules[name]


@pytest.fixture
def toys(tmp_path: Path) -> Iterator[Toys]:
    """Plugins that the test may change."""
    yield Toys(tmp_path / "plugins")
    forget_modules()


@pytest.fixture(scope="session")
def shared_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of results whose store of stages many tests share: keys keep them apart."""
    return tmp_path_factory.mktemp("results")


SUITE = """
name: toy
seeds: [1]
datasets:
  - name: toy
    filters: {min_maf: 0.05}
    split: {holdout: 0.25, validation: 0.1, seed: 1}
generators: [frequency]
metrics: [difference, spectrum]
sample: {draws: 2, batch_size: 8}
floor: {draws: 2}
limits: {time: 60s, memory: 2GiB}
"""


@pytest.fixture
def suite_text() -> str:
    return SUITE


@pytest.fixture(scope="module")
def module_toys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toys]:
    """Plugins that a module's tests share."""
    yield Toys(tmp_path_factory.mktemp("toys") / "plugins")
    forget_modules()
