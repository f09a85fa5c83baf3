"""The generators: files for a program, its runs block by block, and what it made."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench import BenchError, Panel, RecombinationMap, RunContext, SampleRequest
from haplobench.data.formats import write_panel
from haplobench.data.formats.people import write_labels
from haplobench.data.labels import read_labels
from haplobench_command.formats import read_own_sites, read_rows, write_matrix
from haplobench_command.specs import (
    CommandLines,
    CommandParams,
    ConditionalCommandParams,
    FitShell,
    OwnSitesCommandParams,
    SampleShell,
    fill,
)

_LARGEST_SEED = 2**31 - 1
_TAIL_LINES = 12
_TAIL_BYTES = 4096
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "LANG")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_PARAMS = {
    model.__name__: model
    for model in (CommandParams, ConditionalCommandParams, OwnSitesCommandParams)
}


class CommandGenerator:
    """A program: the class of `params` says whether its sites are the panel's or its own."""

    def fit(self, train: Panel, params: CommandLines, ctx: RunContext) -> FittedCommand:
        """Write the files that the commands name, and run `fit` if there is one.

        Raises BenchError if a file can't be had (no map, no labels) or the program fails.
        """
        folder = ctx.scratch / "command"
        folder.mkdir()
        sample, fit = params.used("sample"), params.used("fit")
        facts: dict[str, int | str] = {
            "n_sites": train.n_sites,
            "contig": train.contig,
            "first_position": int(train.positions[0]),
            "last_position": int(train.positions[-1]),
            "length": train.span,
            "n_train_haplotypes": train.n_haplotypes,
            "n_train_samples": train.n_samples,
        }
        if params.uses_populations or "train_labels" in sample | fit:
            write_labels(train, folder / "train_labels.tsv")
        if "train" in sample | fit:
            _write_train(train, folder / f"train.{params.input_format}")
        if params.fit is not None:
            scratch = ctx.scratch / "fit"
            scratch.mkdir()
            values = _values(folder, params, facts, ctx, fit, "fit")
            run("fit", params.fit, values | {"scratch": scratch}, params, ctx)
            if not any(folder.glob("model*")):
                raise BenchError("command fit: left nothing at {model}, which sample names")
        if "train" not in sample:
            for file in folder.glob("train.*"):
                file.unlink()
        nobody = np.zeros((train.ploidy, train.n_sites), np.int8)
        train.with_haplotypes(nobody).save(folder / "sites")
        head = {
            "model": type(params).__name__,
            "params": params.model_dump(mode="json"),
            "folder": str(params.folder),
            "facts": facts,
        }
        (folder / "command.json").write_text(json.dumps(head, indent=1) + "\n")
        return _opened(folder, params)

    def load(self, directory: Path, ctx: RunContext) -> FittedCommand:
        """Open the folder; nothing is copied."""
        head: dict[str, Any] = json.loads((directory / "command.json").read_text())
        params = _PARAMS[head["model"]].model_validate(head["params"])
        return _opened(directory, params.moved_from(Path(head["folder"])))


@dataclass
class FittedCommand:
    """A program after fitting: a folder with what its sample command names.

    The folder holds `model…` (what fit left), `train…` and `train_labels.tsv` where named, and
    `sites`, a panel of the training sites with nobody's alleles.
    """

    folder: Path
    params: CommandLines
    facts: dict[str, int | str]
    sites: Panel
    # The block sampled last, with the populations asked of it: draws often end within a block.
    _last: tuple[tuple[int, bytes], NDArray[np.int8]] | None = field(default=None, repr=False)

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[NDArray[np.int8]]:
        """Run the sample command once for each block of haplotypes that the request touches."""
        assert isinstance(self.params, CommandParams)
        size = self.params.block
        if size % self.sites.ploidy:
            raise BenchError(
                f"command: block {size} isn't a multiple of the ploidy {self.sites.ploidy}"
            )
        for block, wanted, rows in request.blocks(size):
            populations = None
            if self.params.uses_populations:
                populations = self._dealt(block * size, size)
                if request.populations is not None:
                    populations[wanted] = request.populations[rows]
            drawn = self._block(block, size, populations, ctx)[wanted]
            for first in range(0, len(drawn), request.batch_size):
                yield drawn[first : first + request.batch_size]

    def save(self, directory: Path) -> None:
        """Copy the folder."""
        shutil.copytree(self.folder, directory, dirs_exist_ok=True)

    def _dealt(self, start: int, n: int) -> NDArray[np.str_]:
        """Populations where none are asked for: the training people's, over and over."""
        labels = read_labels(self.folder / "train_labels.tsv")
        people = np.array([label.population for label in labels.values()])
        return np.repeat(people, self.sites.ploidy)[
            np.arange(start, start + n) % (people.size * self.sites.ploidy)
        ]

    def _block(
        self, block: int, size: int, populations: NDArray[np.str_] | None, ctx: RunContext
    ) -> NDArray[np.int8]:
        key = (block, b"" if populations is None else populations.tobytes())
        if self._last is None or self._last[0] != key:
            assert isinstance(self.params, CommandParams)
            output = self.make(size, f"block{block}", populations, ctx)
            rows = read_rows(
                output, self.params.output_format, size, self.sites, self.params.absent_sites
            )
            self._last = key, np.ascontiguousarray(rows)
            shutil.rmtree(output.parent, ignore_errors=True)
        return self._last[1]

    def make(
        self, n: int, what: str, populations: NDArray[np.str_] | None, ctx: RunContext
    ) -> Path:
        """Have the program make `n` haplotypes; returns the file it wrote."""
        folder = ctx.scratch / what
        scratch = folder / "scratch"
        scratch.mkdir(parents=True)
        output = folder / f"output.{self.params.output_format}"  # type: ignore[attr-defined]
        ploidy = self.sites.ploidy
        named = self.params.used("sample")
        values = _values(self.folder, self.params, self.facts, ctx, named, "sample", what)
        values |= {
            "scratch": scratch,
            "output": output,
            "n_haplotypes": n,
            "n_samples": n // ploidy,
        }
        if populations is not None:
            values["populations"] = folder / "populations.tsv"
            self._write_populations(populations[::ploidy], folder / "populations.tsv")
        printed = None if "output" in named else output
        run("sample", self.params.sample, values, self.params, ctx, output=printed)
        return output

    def _write_populations(self, people: NDArray[np.str_], path: Path) -> None:
        labels = read_labels(self.folder / "train_labels.tsv").values()
        above = {label.population: label.superpopulation for label in labels}
        lines = ["sample\tpop\tsuper_pop"]
        lines += [
            f"synthetic{i}\t{name}\t{above.get(str(name), '')}" for i, name in enumerate(people, 1)
        ]
        path.write_text("\n".join(lines) + "\n")


@dataclass
class FittedOwnSitesCommand(FittedCommand):
    """The same for a program with sites of its own: one run, one panel for each request."""

    def sample(  # type: ignore[override]
        self, request: SampleRequest, ctx: RunContext
    ) -> Iterator[Panel]:
        """Run the sample command once."""
        assert isinstance(self.params, OwnSitesCommandParams)
        what = f"from{request.start}"
        output = self.make(request.n_haplotypes, what, None, ctx)
        yield read_own_sites(output, self.params.output_format, request.n_haplotypes, self.sites)
        shutil.rmtree(output.parent, ignore_errors=True)


def _opened(folder: Path, params: CommandLines) -> FittedCommand:
    facts = json.loads((folder / "command.json").read_text())["facts"]
    fitted = FittedOwnSitesCommand if isinstance(params, OwnSitesCommandParams) else FittedCommand
    return fitted(folder, params, facts, Panel.load(folder / "sites"))


def _values(
    folder: Path,
    params: CommandLines,
    facts: dict[str, int | str],
    ctx: RunContext,
    named: frozenset[str],
    *key: str,
) -> dict[str, object]:
    """Values of the placeholders that both stages have; the seed is keyed by `key`."""
    if "map" in named:
        _write_map(ctx.recombination_map, str(facts["contig"]), ctx.scratch / "map.gmap")
    return {
        **facts,
        "train": folder / f"train.{params.input_format}",
        "train_labels": folder / "train_labels.tsv",
        "model": folder / "model",
        "map": ctx.scratch / "map.gmap",
        "artifacts": ctx.artifacts,
        "seed": 1 + ctx.seed_for("command", *key) % _LARGEST_SEED,
        "threads": ctx.threads,
        "min_maf": ctx.min_maf,
    }


def _write_train(train: Panel, path: Path) -> None:
    if path.suffix == ".matrix":
        write_matrix(train.haplotypes, path)
    else:
        write_panel(train, path)


def _write_map(genetic: RecombinationMap | None, contig: str, path: Path) -> None:
    if genetic is None:
        raise BenchError("command: {map} is named, and the dataset has no recombination map")
    lines = ["pos\tchr\tcM"]
    lines += [
        f"{bp}\t{contig}\t{cm:.9g}"
        for bp, cm in zip(genetic.positions, genetic.centimorgans, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")


def run(
    stage: str,
    line: list[str] | FitShell | SampleShell,
    values: Mapping[str, object],
    params: CommandLines,
    ctx: RunContext,
    *,
    output: Path | None = None,
) -> None:
    """Run a stage's command until it ends; the harness ends it, with this process, in time.

    `stage`: `fit` or `sample`, for messages.
    `values`: of the placeholders.
    `output`: takes what the program prints; None: it goes to the log with its complaints.

    Raises BenchError if it can't be started or exits other than 0, with the last lines of its
    stderr.
    """
    if isinstance(line, list):
        arguments = [fill(word, values) for word in line]
    else:
        arguments = ["/bin/sh", "-e", "-u", "-c", fill(line.shell, values, quoted=True)]
    shown = shlex.join(arguments) if isinstance(line, list) else arguments[-1]
    ctx.log.info("%s: %s", stage, shown)
    complaints = ctx.scratch / f"{stage}.stderr"
    try:
        with complaints.open("wb") as errors, (output or Path(os.devnull)).open("wb") as printed:
            done = subprocess.run(
                arguments,
                cwd=params.folder,
                env=_environment(params, ctx),
                stdin=subprocess.DEVNULL,
                stdout=printed if output else errors,
                stderr=errors,
                check=False,
            )
    except OSError as error:
        raise BenchError(
            f"command {stage}: {arguments[0]} can't be started: {error.strerror}"
        ) from None
    tail = _tail(complaints)
    if done.returncode:
        ended = (
            f"was ended by signal {-done.returncode}"
            if done.returncode < 0
            else f"exited with {done.returncode}"
        )
        raise BenchError(f"command {stage}: `{shown}` {ended}; its last words:\n{tail}")
    for text in tail.splitlines():
        ctx.log.info("%s: %s", stage, text)


def _environment(params: CommandLines, ctx: RunContext) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    folders = dict.fromkeys(("HOME", "TMPDIR"), str(ctx.scratch))
    threads = dict.fromkeys(_THREADS, str(ctx.threads))
    return inherited | folders | threads | dict(params.environment)


def _tail(path: Path) -> str:
    with path.open("rb") as handle:
        handle.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        text = handle.read().decode(errors="replace")
    return "\n".join(text.strip().splitlines()[-_TAIL_LINES:]) or "(it said nothing)"
