"""Traits of people, generated jointly with the haplotypes of another generator.

The generator `with-traits`: its description, its parameters, and the table of traits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, model_validator

from haplobench import FormatError, GeneratorSpec, Module, Params, hookimpl
from haplobench.files import cells, expand_path, file_digest, numbered_lines, read_text
from haplobench.plugin import Need

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class TraitTable:
    """`values` (n_samples, n_names) float64 of traits `names`, in the table's order."""

    samples: tuple[str, ...]
    names: tuple[str, ...]
    values: NDArray[np.float64]


def read_table(path: Path) -> TraitTable:
    """The table at `path`: a header, in it `sample`; tabs, commas or semicolons between cells.

    Lines that begin with # are comments. Raises FormatError that names file, line and column.
    """
    names: list[str] = []
    at, separator = -1, "\t"
    rows: dict[str, list[float]] = {}
    for number, line in numbered_lines(read_text(path)):
        if not line.strip() or line.startswith("#"):
            continue
        if not names:
            separator = next((mark for mark in "\t,;" if mark in line), "\t")
            names = cells(line, separator)
            at = _sample_column(path, number, names)
            continue
        row = cells(line, separator)
        if len(row) != len(names):
            raise FormatError(
                f"{path}:{number}: {len(row)} cells, expected {len(names)} as in the header"
            )
        if row[at] in rows:
            raise FormatError(f"{path}:{number}: sample {row[at]!r} has a row already")
        rows[row[at]] = [
            _number(path, number, names[i], cell) for i, cell in enumerate(row) if i != at
        ]
    import numpy as np

    if not rows:
        raise FormatError(f"{path}: no rows, expected a header and a row for each person")
    traits = [name for i, name in enumerate(names) if i != at]
    return TraitTable(tuple(rows), tuple(traits), np.array(list(rows.values()), np.float64))


def _sample_column(path: Path, number: int, names: list[str]) -> int:
    lowered = [name.lower() for name in names]
    if "sample" not in lowered or len(names) < 2:
        raise FormatError(
            f"{path}:{number}: found the columns {', '.join(names)[:80]!r}, expected `sample` and "
            "one for each trait"
        )
    for i, name in enumerate(names):
        if not name or name in names[:i]:
            raise FormatError(
                f"{path}:{number}: column {i + 1}: found {name!r}, expected a name of its own"
            )
    return lowered.index("sample")


def _number(path: Path, line: int, name: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise FormatError(
            f"{path}:{line}: column {name}: found {cell[:40]!r}, expected a number (leave out "
            "people of whom a trait isn't known)"
        )
    return value


Value = Annotated[float, Field(allow_inf_nan=False)]


class TraitsParams(Params):
    """Parameters of with-traits.

    `table`: TSV or CSV (`.gz` too) of the people: a column `sample`, and one of numbers for each
    trait (a trait, a gene's expression, a site's methylation); of the folder in which `bench` is
    started, if it is relative. Rows of others than the training people are passed over.
    `generator`, `params`: whose haplotypes these are, a generator that takes populations and has
    the panel's sites; and its parameters.
    `most_sites`: that have an effect on one trait.
    `given`: values of traits that everybody in the cohort has: haplotypes and other traits are
    drawn as of such people.
    `candidates`: people drawn for each that is kept, where `given` names any trait.
    """

    table: str = Field(min_length=1, max_length=4096)
    generator: str = "vae"
    params: dict[str, Any] = Field(default_factory=dict)
    most_sites: int = Field(10, ge=0, le=100)
    given: dict[str, Value] = Field(default_factory=dict)
    candidates: int = Field(64, ge=2, le=10_000)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """Refuse a generator, its parameters, a table or a trait that can't be, before a run."""

        self.inner_params()
        try:
            known = read_table(expand_path(self.table)).names
        except FormatError as error:
            raise ValueError(str(error)) from None
        for name in self.given:
            if name not in known:
                raise ValueError(
                    f"given: {name!r} is no column of {self.table} (there are: {', '.join(known)})"
                )
        return self

    def inner(self) -> GeneratorSpec:
        """The generator of the haplotypes; ValueError if there is none such."""
        from haplobench.registry import load_registry

        specs = load_registry().generators
        spec = specs.get(self.generator)
        fit = sorted(name for name, one in specs.items() if one.site_matched and one.conditional)
        if spec is None or self.generator not in fit or spec.name == SPEC.name:
            raise ValueError(
                f"generator: {self.generator!r} isn't one that takes populations and has the "
                f"panel's sites (there are: {', '.join(name for name in fit if name != SPEC.name)})"
            )
        return spec

    def inner_params(self) -> Params:
        """The parameters of the generator of the haplotypes; ValueError as `inner`."""
        return self.inner().params.model_validate(self.params)

    def needed(self) -> tuple[Need, ...]:
        """What the generator of the haplotypes needs."""
        return (*self.inner().needs, *self.inner_params().needed())

    def fingerprint(self) -> str:
        """Of the table, and of the other generator: its code, and what its parameters name."""
        from haplobench.runner.fingerprints import plugin_code

        spec = self.inner()
        code = plugin_code(spec.target, spec.needs).digest
        return file_digest(expand_path(self.table)) + code + self.inner_params().fingerprint()

    def unrepeatable(self) -> str:
        """As of the generator of the haplotypes."""
        return self.inner_params().unrepeatable()


SPEC = GeneratorSpec(
    name="with-traits",
    version="1",
    target="haplobench_traits.generator:WithTraits",
    summary=(
        "Another generator's haplotypes, jointly with traits of their people (expression, "
        "methylation, phenotypes) from a table; each can be drawn given the other."
    ),
    params=TraitsParams,
    needs=(Module("sklearn", "scikit-learn"), Module("scipy", "scipy")),
    conditional=True,
    citations=("chen2008", "ledoit2004", "smith1992"),
)


@hookimpl
def haplobench_generators() -> list[GeneratorSpec]:
    """The one generator: another's haplotypes, and traits of their people."""
    return [SPEC]
