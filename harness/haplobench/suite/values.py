"""What the values of a suite's keys may be: shares, lists of people, sizes, seeds, contigs."""

from __future__ import annotations

import math
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from haplobench.data.contigs import plain_name
from haplobench.units import parse_duration, parse_size

_MOST_CONTIGS = 10_000

NAME = r"^[A-Za-z0-9][A-Za-z0-9._+-]*$"

Duration = Annotated[float, BeforeValidator(parse_duration)]
Size = Annotated[int, BeforeValidator(parse_size)]
# A cell's files are named by its dataset's and its generator's label.
Name = Annotated[str, Field(pattern=NAME, max_length=80)]
# Beyond these a number is a slip of the pen; no run would come to its end.
MOST_HAPLOTYPES = 1_000_000_000
MOST_DRAWS = 1_000_000
Seed = Annotated[int, Field(ge=0, lt=1 << 63)]


def _share(value: object) -> object:
    """A share below 1, or a count of people of 1 and more."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected a share (0.2) or a count of people (60), found {value!r}")
    if not 0 <= value < math.inf or (value >= 1 and value != int(value)):
        raise ValueError(f"expected a share below 1 or a whole count of people, found {value!r}")
    return value


def _part(value: object) -> object:
    """A share, or a file or list of people."""
    if not isinstance(value, str | list):
        return _share(value)
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise ValueError(f"expected a share, a file or a list of names, found {value!r}")
    return value


def _haplotypes(value: object) -> object:
    number = value if isinstance(value, int) and not isinstance(value, bool) else 0
    if value == "holdout" or 0 < number <= MOST_HAPLOTYPES:
        return value
    raise ValueError(
        f"expected holdout or a positive number of haplotypes of at most {MOST_HAPLOTYPES:,}, "
        f"found {value!r}"
    )


def series(value: object) -> object:
    """YAML's lists as what can't be changed."""
    return tuple(value) if isinstance(value, list) else value


def one_or_more(value: object) -> object:
    """As `series`, but not of nothing."""
    if value == []:
        raise ValueError("list should have at least 1 item, found none")
    return series(value)


def _distinct(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"expected one or more different seeds, found {list(seeds)}")
    return seeds


def _world_sizes(value: object) -> object:
    sizes = value if isinstance(value, list | tuple) else [value]
    whole = [size for size in sizes if isinstance(size, int) and not isinstance(size, bool)]
    if not sizes or len(set(whole)) < len(sizes) or min(whole) < 1:
        raise ValueError(f"expected a number of ranks, or a list of different ones, found {value}")
    return tuple(sizes)


_RANGE = re.compile(r"(?P<lead>\D*)(?P<first>\d+)\.\.(?P=lead)?(?P<last>\d+)")


def contig_names(value: object) -> tuple[str, ...]:
    """Contigs of a list of names, in which `1..22` and `chr1..chr22` are ranges.

    Raises ValueError for what is no name, for a contig given twice, and for fewer than two.
    """
    names: list[str] = []
    for item in value if isinstance(value, list | tuple) else [value]:
        if isinstance(item, bool) or not isinstance(item, int | str):
            raise ValueError(f"expected names of contigs, or a range such as 1..22, found {item!r}")
        span = _RANGE.fullmatch(str(item))
        if span is None:
            names.append(str(item))
            continue
        first, last = int(span["first"]), int(span["last"])
        if not first < last < first + _MOST_CONTIGS:
            raise ValueError(f"{item!r} is no range of contigs; expected one such as 1..22")
        names += [f"{span['lead']}{number}" for number in range(first, last + 1)]
    plain = [plain_name(name) for name in names]
    for at, name in enumerate(names):
        if re.fullmatch(NAME, name) is None:
            raise ValueError(f"{name!r} is no name of a contig: letters, digits and ._+- are")
        if plain[at] in plain[:at]:
            other = names[plain.index(plain[at])]
            raise ValueError(f"{name!r} is given twice" + f", as {other!r}" * (other != name))
    if len(names) == 1:
        raise ValueError(f"expected two or more contigs, found {names[0]!r} alone")
    return tuple(names)


Haplotypes = Annotated[int | Literal["holdout"], BeforeValidator(_haplotypes)]
Part = Annotated[float | str | list[str], BeforeValidator(_part)]
WorldSizes = Annotated[tuple[int, ...], BeforeValidator(_world_sizes)]
Seeds = Annotated[tuple[Seed, ...], BeforeValidator(series), AfterValidator(_distinct)]


class Strict(BaseModel):
    """Frozen, unknown keys forbidden, types as YAML gives them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
