"""What the harness hands to a plugin: the context of a run, and a request to sample."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from haplobench.distributed.group import NullGroup, ProcessGroup

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from haplobench.data.genome import RecombinationMap, ReferenceSequence
    from haplobench.data.panel import Panel
    from haplobench.plugin.privacy import PrivacyStatement


class Params(BaseModel):
    """Parameters of a plugin: frozen, unknown keys forbidden, checked before anything runs.

    A number is taken where a text is asked for: YAML reads `contig: 22` as a number.
    """

    model_config = ConfigDict(
        # An infinite bound stays one in the JSON of a saved model.
        ser_json_inf_nan="constants",
        frozen=True,
        extra="forbid",
        coerce_numbers_to_str=True,
        defer_build=True,
    )

    def needed(self) -> tuple[Need, ...]:
        """What these parameters need of the machine, beside what the spec names."""
        return ()

    def fingerprint(self) -> str:
        """What identifies the content of files that a generator's or a metric's parameters name.

        A stage is computed anew where it differs. It isn't part of what was asked: commits
        stay comparable.
        """
        return ""

    def unrepeatable(self) -> str:
        """Why a second fit with the same seed gives another model; empty where it gives the same.

        Only noise that protects people is a reason. What a fitted generator draws stays a
        function of the seed.
        """
        return ""


def _rising(edges: tuple[float, ...]) -> tuple[float, ...]:
    rising = all(low < high for low, high in pairwise(edges))
    if len(edges) < 2 or not rising or edges[0] < 0 or edges[-1] > 0.5:
        raise ValueError(f"two or more increasing edges within 0-0.5 expected, found {edges}")
    return edges


MafEdges = Annotated[tuple[float, ...], AfterValidator(_rising)]
"""Edges of bins by minor allele frequency; a bin leaves its lower edge out, not its upper one."""


@dataclass(frozen=True)
class Module:
    """A Python module that must be importable, and what to `pip install` to have it."""

    name: str
    install: str

    def missing(self) -> str:
        """Empty if present, else what is missing and how to get it."""
        if importlib.util.find_spec(self.name) is not None:
            return ""
        return f"Python module {self.name} (pip install '{self.install}')"


@dataclass(frozen=True)
class Binary:
    """A program that must be on PATH, and how to get it."""

    name: str
    install: str

    def missing(self) -> str:
        """Empty if present, else what is missing and how to get it."""
        return "" if shutil.which(self.name) else f"program {self.name} ({self.install})"


@dataclass(frozen=True)
class GPU:
    """A CUDA GPU that the operating system shows."""

    def missing(self) -> str:
        """Empty if present, else what is missing."""
        if Path("/dev/nvidia0").exists() and os.environ.get("CUDA_VISIBLE_DEVICES", "0"):
            return ""
        return "a CUDA GPU (none is visible on this machine)"


Need = Module | Binary | GPU


# Describing a plugin needs no arrays: `bench list` stays fast because numpy isn't loaded here.


@dataclass(frozen=True, eq=False)
class Shadow:
    """A cohort of the same generator, with the same parameters, fitted on a half of all people.

    Attributes
    ----------
    train, holdout : (n,) bool
        Which of the reference's training and held-out people it was fitted on.
    folder : Path
        The cohort's folder: as many haplotypes as it was fitted on.
    """

    train: NDArray[np.bool_]
    holdout: NDArray[np.bool_]
    folder: Path

    def cohort(self) -> Panel:
        """The cohort, mapped into memory."""
        from haplobench.data.panel import Panel

        return Panel.load(self.folder)


@dataclass(frozen=True)
class RunContext:
    """Everything a plugin may use beside its own data. There are no globals.

    Attributes
    ----------
    seed : int
        Seed of the cell (a suite's `seeds`).
    artifacts : Path
        Folder for what the user should find afterwards (FASTQ, logs, plots).
    scratch : Path
        Folder for temporary files, deleted when the stage ends.
    device : str
        A torch device name: `cpu` or `cuda:N`.
    group : ProcessGroup
        The ranks of this cell when fitting. Only rank 0 writes, and only its model is saved.
        Sampling needs none: each rank is asked for its own haplotypes.
    recombination_map : RecombinationMap or None
        Of the dataset's region, where it has one.
    sequence : ReferenceSequence or None
        Reference bases under the panel's region (see `surrogate`).
    synthetic_sequence : ReferenceSequence or None
        For metrics: the bases the generator itself laid under its haplotypes, if it did.
    privacy_statement : PrivacyStatement or None
        For metrics: the differential privacy that the generator claims, if it does.
    shadows : tuple of Shadow
        For metrics that ask for them: cohorts of the same generator fitted on other people.
    paths : tuple of Panel
        For metrics: of an `Explorable` generator, what it puts between training people of different
        populations; one panel for each two people, a person for each step, both ends included.
    min_maf : float
        The MAF under which the dataset's sites were left out (on the training part).
    threads : int
        Threads this process may use.
    deadline : float or None
        `time.monotonic()` at which the stage will be killed.
    validation : (n,) int64 or None
        People of the training panel, by index, whom the suite sets apart for early stopping.
    progress : Callable[[float, str], None]
        Report a fraction done (0-1) and a few words.
    log : logging.Logger
    checkpoint : Path or None
        For long fits: an existing folder to keep progress in, shared by all ranks. What was
        left there by an attempt that died, or by a run that was killed, is still there; it is
        removed when the stage is done. Write whole files (temporary name, `os.replace`), rank
        0 only. None outside the runner.
    """

    seed: int
    artifacts: Path
    scratch: Path
    device: str = "cpu"
    group: ProcessGroup = field(default_factory=NullGroup)
    recombination_map: RecombinationMap | None = None
    sequence: ReferenceSequence | None = None
    synthetic_sequence: ReferenceSequence | None = None
    privacy_statement: PrivacyStatement | None = None
    shadows: tuple[Shadow, ...] = ()
    paths: tuple[Panel, ...] = ()
    min_maf: float = 0.0
    threads: int = 1
    deadline: float | None = None
    validation: NDArray[np.int64] | None = None
    progress: Callable[[float, str], None] = lambda fraction, message: None
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("haplobench"))
    checkpoint: Path | None = None

    def seed_for(self, *key: str | int) -> int:
        """A 63-bit seed that depends on the cell's seed and `key` alone (for torch, msprime, …)."""
        text = "\0".join([str(self.seed), *(f"{type(k).__name__}:{k}" for k in key)])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1

    def rng(self, *key: str | int) -> np.random.Generator:
        """A generator that depends on the cell's seed and `key` alone.

        Key it by stage and absolute haplotype block, never by rank: then the result is the
        same whatever the world size.
        """
        import numpy as np

        return np.random.default_rng(self.seed_for(*key))


@dataclass(frozen=True)
class SampleRequest:
    """What to sample.

    Attributes
    ----------
    n_haplotypes : int
        Even where people are diploid: rows 2i and 2i + 1 are one person.
    start : int
        Absolute index of the first haplotype. Haplotype `i` must not depend on where a
        request starts or how it is cut into batches.
    batch_size : int
        At most so many haplotypes in one yielded array.
    populations : (n_haplotypes,) str or None
        For conditional generators: the population of each haplotype to be sampled.
    """

    n_haplotypes: int
    start: int = 0
    batch_size: int = 1024
    populations: NDArray[np.str_] | None = None

    def blocks(self, size: int = 256) -> Iterator[tuple[int, slice, slice]]:
        """Cut into absolute blocks of `size` haplotypes, to key randomness by block.

        Yields (block index, rows of that block wanted, rows of this request they fill).
        Draw all `size` haplotypes of a block from `ctx.rng("sample", block)`, keep the rows wanted.
        """
        end = self.start + self.n_haplotypes
        for block in range(self.start // size, -(-end // size)):
            low, high = max(self.start, block * size), min(end, (block + 1) * size)
            yield (
                block,
                slice(low - block * size, high - block * size),
                slice(low - self.start, high - self.start),
            )

    def batches(
        self, draw: Callable[[int], NDArray[np.int8]], size: int = 256
    ) -> Iterator[NDArray[np.int8]]:
        """Yield what was asked for, in batches of at most `batch_size`.

        `draw(block)` gives all haplotypes of an absolute block: `(size, n_sites) int8`.
        """
        for block, wanted, _ in self.blocks(size):
            rows = draw(block)[wanted]
            for first in range(0, len(rows), self.batch_size):
                yield rows[first : first + self.batch_size]
