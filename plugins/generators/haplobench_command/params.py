"""Parameters: the command lines with placeholders, the formats, the environment."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
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

from haplobench import Binary, Module, Params
from haplobench.plugin import Need
from haplobench_command import placeholders

InputFormat = Literal["vcf.gz", "vcf", "bcf", "pgen", "bed", "hapt", "matrix"]
OutputFormat = Literal["vcf.gz", "vcf", "bcf", "pgen", "hapt", "matrix"]
_LARGE = 64 << 20


def _in_fit(text: str) -> str:
    return placeholders.check(text, placeholders.FIT, "fit")


def _in_sample(text: str) -> str:
    return placeholders.check(text, placeholders.SAMPLE, "sample")


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

    Attributes
    ----------
    fit, sample : list of str, or {shell: str}
        Where `fit` is missing, `sample` is handed the training people, if it names {train}.
    input_format : str
        Of {train}: `matrix` has one haplotype a row, alleles 0, 1 and . (missing) separated by
        tabs.
    environment : dict
        Variables for the program. Of ours it has PATH, LD_LIBRARY_PATH and LANG alone.
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
        return frozenset(
            name for text in self._texts(stage) for name in placeholders.names_in(text)
        )

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
            if isinstance(line, list) and not placeholders.names_in(line[0]):
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
            found = shutil.which(word) if os.sep not in word else None
            path = Path(found) if found else self.folder / word
            if path.is_file():
                yield path


class CommandParams(CommandLines):
    """Of a program that makes haplotypes at the panel's own sites.

    Attributes
    ----------
    output_format : str
        Of {output}: `matrix` may have tabs, blanks or nothing between alleles.
    absent_sites : str
        A site of the panel that the output doesn't have: `refuse`, or `reference`, for programs
        that leave sites out at which nobody carries the alternate allele.
    block : int
        Haplotypes of one run of `sample`, even. A run is the same whoever asks for part of it.
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
