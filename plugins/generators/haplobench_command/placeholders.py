"""Placeholders of command lines: which there are, how they are found and filled in."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from haplobench.validation import near_names

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
