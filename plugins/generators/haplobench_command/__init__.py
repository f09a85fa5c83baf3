"""Generators declared in a suite: any program's command lines, no Python written.

The generators declared in a suite: placeholders of command lines, parameters, descriptions.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    model_validator,
)

from haplobench import Binary, GeneratorSpec, Module, Params, hookimpl
from haplobench.files import near_names
from haplobench.plugin import Need

_LARGE = 64 << 20
_TARGET = "haplobench_command.generator:CommandGenerator"
# What each stands for. Documentation and error messages are made of this.
COMMON = {
    "train": "file of the training people, in `input_format`",
    "train_labels": "TSV of the training people: sample, pop, super_pop",
    "map": "recombination map of the region: pos (bp), chr, cM",
    "model": "where `fit` leaves what it learnt: a file or folder of this name, or a prefix",
    "scratch": "empty folder for temporary files",
    "artifacts": "folder for what the user should find afterwards",
    "seed": "an integer from 1 to 2^31 - 1; the same for the same haplotypes",
    "threads": "threads that the program may use",
    "min_maf": "MAF under which the dataset's sites were left out",
    "n_sites": "sites of the training panel",
    "contig": "its contig",
    "first_position": "position of its first site, bp",
    "last_position": "position of its last site, bp",
    "length": "bp from its first to its last site, both included",
    "n_train_haplotypes": "haplotypes of the training panel",
    "n_train_samples": "people of the training panel",
}
SAMPLE_ONLY = {
    "output": "file to write, in `output_format`; where it isn't named, what is printed is taken",
    "n_haplotypes": "haplotypes to make",
    "n_samples": "people to make",
    "populations": "TSV of the people to make: sample, pop, super_pop",
}
FIT = frozenset(COMMON)
SAMPLE = FIT | frozenset(SAMPLE_ONLY)
# Doubled braces are literal ones; ${NAME} is left to the shell.
_PATTERN = re.compile(r"\{\{(?P<literal>\w+)\}\}|(?<!\$)\{(?P<name>[A-Za-z_]\w*)\}")


def names_in(text: str) -> list[str]:
    """The placeholders of a text, in order."""
    return [match["name"] for match in _PATTERN.finditer(text) if match["name"]]


def check(text: str, known: frozenset[str], stage: str) -> str:
    """The text itself; ValueError for a placeholder that the stage doesn't have."""
    for name in names_in(text):
        if name in known:
            continue
        if name in SAMPLE:
            raise ValueError(f"{{{name}}} is known while sampling only, not in {stage}")
        near = near_names(name, known) or f"; known: {', '.join(sorted(known))}"
        raise ValueError(
            f"unknown placeholder {{{name}}} in {stage}{near} (write {{{{{name}}}}} for literal "
            "braces)"
        )
    return text


def fill(text: str, values: Mapping[str, object], *, quoted: bool = False) -> str:
    """The text with its placeholders' values; `quoted` for a shell."""

    def value(match: re.Match[str]) -> str:
        if match["literal"]:
            return f"{{{match['literal']}}}"
        filled = str(values[match["name"]])
        return shlex.quote(filled) if quoted else filled

    return _PATTERN.sub(value, text)


InputFormat = Literal["vcf.gz", "vcf", "bcf", "pgen", "bed", "hapt", "matrix"]
OutputFormat = Literal["vcf.gz", "vcf", "bcf", "pgen", "hapt", "matrix"]


def _in_fit(text: str) -> str:
    return check(text, FIT, "fit")


def _in_sample(text: str) -> str:
    return check(text, SAMPLE, "sample")


FitText = Annotated[str, AfterValidator(_in_fit)]
SampleText = Annotated[str, AfterValidator(_in_sample)]


class _Shell(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class FitShell(_Shell):
    """A command line for `/bin/sh -e -u`; placeholders are quoted for it."""

    shell: FitText


class SampleShell(_Shell):
    """A command line for `/bin/sh -e -u`; placeholders are quoted for it."""

    shell: SampleText


def _form(line: object) -> str:
    return "dict" if isinstance(line, dict | BaseModel) else "list"


FitLine = Annotated[
    Annotated[list[FitText], Field(min_length=1), Tag("list")] | Annotated[FitShell, Tag("dict")],
    Discriminator(_form),
]
SampleLine = Annotated[
    Annotated[list[SampleText], Field(min_length=1), Tag("list")]
    | Annotated[SampleShell, Tag("dict")],
    Discriminator(_form),
]


class CommandLines(Params):
    """Command lines are lists: a program and its arguments, with no shell between.

    `fit` (optional) learns from {train} and leaves {model}; `sample` writes {output}, or prints
    it. Relative paths are of the folder in which `bench` was started.

    `fit`, `sample`: where `fit` is missing, `sample` is handed the training people, if it names
    {train}.
    `input_format`: of {train}: `matrix` has one haplotype a row, alleles 0, 1 and . (missing)
    separated by tabs.
    `environment`: variables for the program. Of ours it has PATH, LD_LIBRARY_PATH and LANG alone.
    """

    fit: FitLine | None = None
    sample: SampleLine
    input_format: InputFormat = "vcf.gz"
    environment: dict[str, str] = Field(default_factory=dict)

    uses_populations: ClassVar[bool] = False
    _folder: Path = PrivateAttr(default_factory=Path.cwd)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        used = self.used("sample")
        if self.fit is not None:
            if "model" not in self.used("fit"):
                raise ValueError("fit doesn't name {model}: where is it to leave what it learnt?")
            if "model" not in used:
                raise ValueError("sample doesn't name {model}, which fit leaves")
        elif "model" in used:
            raise ValueError("sample names {model}, and there is no fit to leave one")
        if not used & {"n_haplotypes", "n_samples", "populations"}:
            raise ValueError("sample names none of {n_haplotypes}, {n_samples} and {populations}")
        if self.uses_populations != ("populations" in used):
            raise ValueError(
                "sample doesn't name {populations}; use the generator `command`"
                if self.uses_populations
                else "sample names {populations}; use the generator `command-populations`"
            )
        return self

    def used(self, stage: Literal["fit", "sample"]) -> frozenset[str]:
        """Placeholders that a stage's command names."""
        return frozenset(name for text in self._texts(stage) for name in names_in(text))

    @property
    def folder(self) -> Path:
        """Where the commands are run: the working folder when these parameters were read."""
        return self._folder

    def moved_from(self, folder: Path) -> Self:
        """Run in `folder` instead, if no file that the commands name lies in the working folder."""
        here = any(
            not os.path.isabs(word) and (self.folder / word).is_file() for word in self._words()
        )
        if here or not folder.is_dir():
            return self
        there = self.model_copy()
        there._folder = folder
        return there

    def needed(self) -> tuple[Need, ...]:
        """The programs, and the modules of the formats."""
        needs: list[Need] = []
        for stage in ("fit", "sample"):
            line = getattr(self, stage)
            if isinstance(line, list) and not names_in(line[0]):
                program = line[0]
                if os.sep in program:
                    program = str(self.folder / program)
                needs.append(Binary(program, "named in the suite: not found, or not executable"))
        formats: set[str] = set()
        if "train" in self.used("fit") | self.used("sample"):
            formats.add(self.input_format)
        formats.add(getattr(self, "output_format", ""))
        for module, endings in {
            "cyvcf2": {"vcf", "vcf.gz", "bcf"},
            "pgenlib": {"pgen"},
            "bed_reader": {"bed"},
        }.items():
            if formats & endings:
                needs.append(Module(module, "haplobench[formats]"))
        return tuple(dict.fromkeys(needs))

    def fingerprint(self) -> str:
        """Of the programs and of every file that an argument names."""
        digest = hashlib.sha256()
        for path in self._files():
            stat = path.stat()
            digest.update(path.name.encode())
            if stat.st_size > _LARGE:
                digest.update(f"{stat.st_size} {stat.st_mtime_ns}".encode())
            else:
                digest.update(path.read_bytes())
        return digest.hexdigest()

    def _texts(self, stage: str) -> list[str]:
        line = getattr(self, stage)
        if line is None:
            return []
        return list(line) if isinstance(line, list) else [line.shell]

    def _words(self) -> Iterator[str]:
        """Of a shell's line the words: a program or a script among them is found too."""
        for stage in ("fit", "sample"):
            line = getattr(self, stage)
            yield from line if isinstance(line, list) else line.shell.split() if line else []

    def _files(self) -> Iterator[Path]:
        """Programs on PATH and files in the folder that are named anywhere."""
        for word in self._words():
            program = shutil.which(word) if os.sep not in word else None
            path = Path(program) if program else self.folder / word
            if path.is_file():
                yield path


class CommandParams(CommandLines):
    """Of a program that makes haplotypes at the panel's own sites.

    `output_format`: of {output}: `matrix` may have tabs, blanks or nothing between alleles.
    `absent_sites`: a site of the panel that the output doesn't have: `refuse`, or `reference`, for
    programs that leave sites out at which nobody carries the alternate allele.
    `block`: haplotypes of one run of `sample`, even. A run is the same whoever asks for part of it.
    """

    output_format: OutputFormat = "vcf.gz"
    absent_sites: Literal["refuse", "reference"] = "refuse"
    block: int = Field(default=256, ge=2, multiple_of=2)


class ConditionalCommandParams(CommandParams):
    """Of a program that reads in {populations} what population everybody shall be of."""

    uses_populations: ClassVar[bool] = True


class OwnSitesCommandParams(CommandLines):
    """Of a program whose sites are its own.

    `output_format`: also `ms`, the format of ms, scrm, msms and mspms. Its positions, from 0 to
    1, are laid over the region.
    """

    output_format: OutputFormat | Literal["ms"] = "vcf.gz"


SPECS = (
    GeneratorSpec(
        name="command",
        version="1",
        target=_TARGET,
        summary="A program of yours, in any language: its command lines stand in the suite.",
        params=CommandParams,
        programs=True,
    ),
    GeneratorSpec(
        name="command-populations",
        version="1",
        target=_TARGET,
        summary="A program that is told the population of everybody it samples, see `command`.",
        params=ConditionalCommandParams,
        programs=True,
        conditional=True,
    ),
    GeneratorSpec(
        name="command-own-sites",
        version="1",
        target=_TARGET,
        summary="A program whose sites are its own (a coalescent simulator), see `command`.",
        params=OwnSitesCommandParams,
        programs=True,
        site_matched=False,
    ),
)


@hookimpl
def haplobench_generators() -> list[GeneratorSpec]:
    """One specification for each thing that a program may promise about sites and populations."""
    return list(SPECS)
