"""The generators: files for a program, its runs block by block, and what it made.

Programs write matrices, the output of ms, or panels at the training sites.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from haplobench import BenchError, FormatError, Panel, RecombinationMap, RunContext, SampleRequest
from haplobench.data.contigs import same_contig
from haplobench.data.formats import ReadOptions, read_panel, write_panel
from haplobench.data.formats.people import write_labels
from haplobench.data.formats.sites import MISSING_CALLS, NO_ALTERNATE
from haplobench.data.labels import read_labels
from haplobench_command import (
    CommandLines,
    CommandParams,
    ConditionalCommandParams,
    FitShell,
    OwnSitesCommandParams,
    SampleShell,
    fill,
)

# Of a number of sites.
_DIGITS = 9
_ROWS = 512


def read_rows(
    path: Path,
    output_format: str,
    n_haplotypes: int,
    sites: Panel,
    absent_sites: Literal["refuse", "reference"],
) -> NDArray[np.int8]:
    """Haplotypes at the sites of `sites`: `(n_haplotypes, n_sites) int8`.

    Raises BenchError if there are other people or sites than asked for, or missing alleles.
    """
    _require(path)
    if output_format == "matrix":
        return read_matrix(path, n_haplotypes, sites.n_sites)
    panel, skipped = _read(path, n_haplotypes)
    if output_format == "hapt" and not path.with_suffix(".legend").exists():
        if panel.n_sites != sites.n_sites:
            raise FormatError(
                f"{path.name}: {panel.n_sites} sites without a .legend, expected {sites.n_sites}"
            )
        return panel.haplotypes
    unread = {reason: n for reason, n in skipped.items() if n and reason != NO_ALTERNATE}
    if unread:
        raise FormatError(
            f"{path.name}: records that can't be a site of the panel: "
            + ", ".join(f"{n} {reason}" for reason, n in unread.items()),
            hint="write every site of the panel once, with its two alleles",
        )
    return _aligned(path, panel, sites, absent_sites)


def read_own_sites(path: Path, output_format: str, n_haplotypes: int, like: Panel) -> Panel:
    """A cohort with sites of its own, of the ploidy of `like`.

    Raises BenchError if there are other people than asked for, no sites or missing alleles.
    """
    _require(path)
    if output_format == "ms":
        return read_ms(path, n_haplotypes, like)
    if output_format == "matrix":
        raise FormatError(
            f"{path.name}: a matrix names no positions; write VCF or ms, or use `command`"
        )
    panel, _ = _read(path, n_haplotypes)
    return panel


def _require(path: Path) -> None:
    if not path.is_file() or not path.stat().st_size:
        raise BenchError(
            f"command sample: wrote nothing to {{output}} ({path.name})",
            hint="name {output} in the command, or print the haplotypes to stdout",
        )


def _read(path: Path, n_haplotypes: int) -> tuple[Panel, dict[str, int]]:
    # Sites with missing calls are read, and refused: left out, they would seem absent.
    options = ReadOptions(snps_only=False, max_missing=1.0)
    panel, skipped = read_panel(path, options, scratch=path.parent)
    if panel.n_haplotypes != n_haplotypes:
        raise FormatError(
            f"{path.name}: {panel.n_haplotypes} haplotypes, expected {n_haplotypes} (of "
            f"{n_haplotypes // panel.ploidy} people)"
        )
    if MISSING_CALLS in skipped:
        raise FormatError(f"{path.name}: has records without any allele, expected 0 and 1")
    if panel.has_missing:
        site = int(np.flatnonzero(panel.allele_counts[1] < n_haplotypes)[0])
        raise FormatError(
            f"{path.name}: {panel.contig}:{panel.positions[site]} has missing alleles, expected "
            "0 and 1"
        )
    return panel, skipped


def _aligned(
    path: Path, cohort: Panel, sites: Panel, absent_sites: Literal["refuse", "reference"]
) -> NDArray[np.int8]:
    """The rows of `cohort` at the sites of the panel, in its order."""
    if not same_contig(cohort.contig, sites.contig):
        raise FormatError(f"{path.name}: contig {cohort.contig!r}, expected {sites.contig!r}")
    at = np.minimum(np.searchsorted(cohort.positions, sites.positions), cohort.n_sites - 1)
    there = cohort.positions[at] == sites.positions
    for letters, other in ((cohort.ref, sites.ref), (cohort.alt, sites.alt)):
        differ = there & (letters[at] != other) & (letters[at] != "N") & (other != "N")
        if differ.any():
            i = int(np.flatnonzero(differ)[0])
            raise FormatError(
                f"{path.name}: {cohort.contig}:{sites.positions[i]} is {cohort.ref[at[i]]}>"
                f"{cohort.alt[at[i]]}, in the panel {sites.ref[i]}>{sites.alt[i]}",
                hint="keep the panel's alleles, or use `command-own-sites`",
            )
    if cohort.n_sites > there.sum():
        extra = np.setdiff1d(cohort.positions, sites.positions)
        raise FormatError(
            f"{path.name}: {extra.size} sites that the panel doesn't have, the first at "
            f"{cohort.contig}:{extra[0]}",
            hint="leave them out, or use `command-own-sites`",
        )
    if not there.all() and absent_sites == "refuse":
        first = int(sites.positions[np.flatnonzero(~there)[0]])
        raise FormatError(
            f"{path.name}: {int((~there).sum())} of the panel's {sites.n_sites} sites are absent, "
            f"the first {sites.contig}:{first}",
            hint="say `absent_sites: reference` where nobody carries their alternate allele",
        )
    rows = np.zeros((cohort.n_haplotypes, sites.n_sites), np.int8)
    rows[:, there] = cohort.haplotypes[:, at[there]]
    return rows


def write_matrix(haplotypes: NDArray[np.int8], path: Path) -> None:
    """Write `(n_haplotypes, n_sites) int8` as rows of 0, 1 and . (missing) separated by tabs."""
    letters = np.frombuffer(b"01.", np.uint8)
    text = np.full((_ROWS, 2 * haplotypes.shape[1]), ord("\t"), np.uint8)
    text[:, -1] = ord("\n")
    with path.open("wb") as out:
        for start in range(0, len(haplotypes), _ROWS):
            block = haplotypes[start : start + _ROWS]
            text[: len(block), 0::2] = letters[block]
            out.write(text[: len(block)].tobytes())


def read_matrix(path: Path, n_haplotypes: int, n_sites: int) -> NDArray[np.int8]:
    """Read rows of 0 and 1, tabs, blanks or nothing between: `(n_haplotypes, n_sites) int8`.

    Raises FormatError naming the line.
    """
    out = np.empty((n_haplotypes, n_sites), np.int8)
    row = 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            line = line.removeprefix(BOM_UTF8) if number == 1 else line
            alleles = np.frombuffer(line.translate(None, b" \t\r\n"), np.int8) - ord("0")
            if not alleles.size:
                continue
            if alleles.size != n_sites or ((alleles != 0) & (alleles != 1)).any():
                raise FormatError(
                    f"{path.name}:{number}: found {line[:30]!r}, {alleles.size} characters; "
                    f"expected {n_sites} alleles 0 or 1, one for each site"
                )
            if row == n_haplotypes:
                raise FormatError(f"{path.name}:{number}: more than {n_haplotypes} haplotypes")
            out[row] = alleles
            row += 1
    if row != n_haplotypes:
        raise FormatError(f"{path.name}: {row} haplotypes, expected {n_haplotypes}")
    return out


def read_ms(path: Path, n_haplotypes: int, like: Panel) -> Panel:
    """Read one replicate in the format of ms (Hudson 2002) as a panel over the region of `like`.

    Positions from 0 to 1 become bp from the first to the last site of `like`; of sites that fall
    on one bp the later ones move on by one, and those past the end are left out. Alleles are N,
    since ms names none.

    Raises FormatError naming the line.
    """
    lines = path.read_bytes().splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith(b"segsites:")]
    if len(starts) != 1:
        raise FormatError(
            f"{path.name}: {len(starts)} lines `segsites:`, expected one replicate in ms's format"
        )
    start = starts[0]
    number = lines[start].removeprefix(b"segsites:").strip()
    if not number.isdigit() or len(number) > _DIGITS:
        raise FormatError(
            f"{path.name}:{start + 1}: found {number[:30]!r}, expected a number of sites"
        )
    n_sites = int(number)
    if not n_sites:
        raise FormatError(f"{path.name}:{start + 1}: no segregating sites")
    if not lines[start + 1 :] or not lines[start + 1].startswith(b"positions:"):
        raise FormatError(f"{path.name}:{start + 2}: expected `positions:`")
    relative = _relative(lines[start + 1].split()[1:], f"{path.name}:{start + 2}")
    rows = [line.strip() for line in lines[start + 2 :] if line.strip()]
    if relative.size != n_sites or {len(row) for row in rows} != {n_sites}:
        raise FormatError(
            f"{path.name}:{start + 2}: {relative.size} positions and rows of "
            f"{sorted({len(row) for row in rows})} alleles, expected {n_sites} sites"
        )
    if len(rows) != n_haplotypes:
        raise FormatError(f"{path.name}: {len(rows)} haplotypes, expected {n_haplotypes}")
    haplotypes = np.frombuffer(b"".join(rows), np.int8).reshape(len(rows), n_sites) - ord("0")
    if ((haplotypes != 0) & (haplotypes != 1)).any():
        raise FormatError(f"{path.name}: alleles other than 0 and 1")
    first, last = int(like.positions[0]), int(like.positions[-1])
    order = np.argsort(relative, kind="stable")
    wanted = first + np.floor(relative[order] * (last - first + 1)).astype(np.int64)
    ranks = np.arange(n_sites)
    positions = np.maximum.accumulate(wanted - ranks) + ranks
    keep = positions <= last
    return Panel(
        haplotypes=np.ascontiguousarray(haplotypes[:, order[keep]]),
        positions=positions[keep],
        contig=like.contig,
        samples=np.array([f"synthetic{i + 1}" for i in range(n_haplotypes // like.ploidy)]),
        ploidy=like.ploidy,
        build=like.build,
    )


def _relative(texts: list[bytes], place: str) -> NDArray[np.float64]:
    """Positions of ms, which lie from 0 to 1."""
    try:
        relative = np.array([float(text) for text in texts], np.float64)
    except ValueError as error:
        raise FormatError(f"{place}: {error}") from None
    outside = ~((relative >= 0) & (relative <= 1))
    if outside.any():
        raise FormatError(f"{place}: position {relative[outside][0]:g}, expected 0 to 1")
    return relative


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
