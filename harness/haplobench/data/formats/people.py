"""Which people of a file to keep, and their population labels."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from haplobench.data.formats.options import ReadOptions, labels_beside, staged
from haplobench.data.formats.sites import Variants, parts
from haplobench.data.labels import Label, match_labels, read_labels, read_pedigree
from haplobench.data.panel import Panel
from haplobench.data.split import declared_families
from haplobench.errors import FormatError
from haplobench.files import near_names


@dataclass(frozen=True, eq=False)
class People:
    """The people kept of a file.

    Attributes
    ----------
    index : (n_samples,) int64
        Their places among all of the file's samples, increasing.
    samples, population, superpopulation, family : (n_samples,) str
    sex : (n_samples,) str
        `male`, `female`, or empty where nothing says it.
    everybody : bool
        Whether nobody was left out.
    """

    index: NDArray[np.int64]
    samples: NDArray[np.str_]
    population: NDArray[np.str_]
    superpopulation: NDArray[np.str_]
    sex: NDArray[np.str_]
    family: NDArray[np.str_]
    everybody: bool


def choose_people(
    path: Path,
    names: Sequence[str],
    options: ReadOptions,
    own_labels: Sequence[Label] | None = None,
) -> People:
    """Choose among a file's samples by name and population.

    `own_labels` are what the file itself says of people, perhaps their sex alone;
    `options.panel_file` overrules it where it says something, and `options.pedigree_file` what
    either says of families.
    Raises FormatError for an unknown sample or population (with near names), for a sample
    without label, where a population is asked for but no labels are given, and for a pedigree
    of other people.
    """
    if not names:
        raise FormatError(f"{path}: has no samples")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise FormatError(f"{path}: sample {twice!r} occurs more than once")
    _check_known("sample", options.samples, names, path)
    wanted = set(options.samples)
    kept = [i for i, name in enumerate(names) if not wanted or name in wanted]
    own = dict(zip(names, own_labels, strict=True)) if own_labels is not None else {}
    labels = own if any(label.population for label in own.values()) else None
    table = labels
    named = {name: name for name in names}
    if options.panel_file is not None:
        table = dict(read_labels(options.panel_file))
        named = match_labels(names, table, options.panel_file)
        labels = {name: table[named[name]] for name in names if name in named}
        for i in kept:
            if names[i] not in labels:
                raise FormatError(
                    f"{options.panel_file}: no line for sample {names[i]!r} of {path}",
                    hint="add its line, or name the samples to read",
                )
    if options.populations or options.superpopulations:
        if labels is None or table is None:
            raise FormatError(
                f"{path}: people can't be chosen by population: no labels are given",
                hint="set panel_file",
            )
        where = options.panel_file or path
        known = table.values()
        _check_known(
            "population", options.populations, {label.population for label in known}, where
        )
        _check_known(
            "superpopulation",
            options.superpopulations,
            {label.superpopulation for label in known},
            where,
        )
        kept = [
            i
            for i in kept
            if (not options.populations or labels[names[i]].population in options.populations)
            and (
                not options.superpopulations
                or labels[names[i]].superpopulation in options.superpopulations
            )
        ]
    if not kept:
        raise FormatError(f"{path}: none of its {len(names)} samples is among those asked for")
    people = [names[i] for i in kept]
    sexes = [
        (labels or {}).get(names[i], Label()).sex or own.get(names[i], Label()).sex for i in kept
    ]
    chosen = [labels[names[i]] if labels is not None else Label() for i in kept]
    _check_labels(options.panel_file or path, people, chosen)
    return People(
        index=np.array(kept, np.int64),
        samples=np.array(people, np.str_),
        population=np.array([label.population for label in chosen], np.str_),
        superpopulation=np.array([label.superpopulation for label in chosen], np.str_),
        sex=np.array(sexes, np.str_),
        family=_families(path, people, names, options, (table, named), own),
        everybody=len(kept) == len(names),
    )


def _families(
    path: Path,
    people: Sequence[str],
    names: Sequence[str],
    options: ReadOptions,
    labelled: tuple[Mapping[str, Label] | None, Mapping[str, str]],
    own: Mapping[str, Label],
) -> NDArray[np.str_]:
    """Families of some `people` of a file's `names`, by the first of pedigree file, panel file
    and the file itself that knows of any."""
    if options.pedigree_file is not None:
        pedigree = read_pedigree(options.pedigree_file)
        named = match_labels(names, pedigree, options.pedigree_file)
        if not named:
            raise FormatError(
                f"{options.pedigree_file}: its {len(pedigree)} people are none of the samples of "
                f"{path}",
                hint="name people as the panel does",
            )
        if not any(one.family or one.father or one.mother for one in pedigree.values()):
            raise FormatError(
                f"{options.pedigree_file}: none of its {len(pedigree)} people has a family or a "
                "parent; expected columns of families, fathers or mothers",
                hint="leave pedigree_file out if nothing is known of families",
            )
        return declared_families(people, pedigree, named)
    for table, called in (labelled, (own, {name: name for name in names})):
        if table and any(one.family or one.father or one.mother for one in table.values()):
            return declared_families(people, table, called)
    return np.full(len(people), "")


def _check_known(kind: str, asked: Sequence[str], known: Collection[str], where: Path) -> None:
    for name in asked:
        if name not in known:
            listed = sorted(filter(None, known))
            hint = near_names(name, listed, lead="")
            if not hint and len(listed) <= 30:
                hint = f"there are {', '.join(listed)}"
            raise FormatError(f"{where}: no {kind} is named {name!r}", hint=hint)


def _check_labels(where: Path, people: Sequence[str], labels: Sequence[Label]) -> None:
    """Refuse labels that would make two populations of one."""
    spelt: dict[tuple[str, str], str] = {}
    for name, label in zip(people, labels, strict=True):
        kinds = {"population": label.population, "superpopulation": label.superpopulation}
        for kind, text in kinds.items():
            first = spelt.setdefault((kind, text.casefold()), text)
            if text != first:
                raise FormatError(
                    f"{where}: sample {name!r} is of {kind} {text!r}, others are of {first!r}",
                    hint="spell a label in one way",
                )


@contextmanager
def staged_labelled(path: Path, panel: Panel | Variants) -> Iterator[Path]:
    """As `staged`, with the labels in a table beside the file, see `labels_beside`."""
    beside = labels_beside(path)
    with staged(path) as folder:
        yield folder
        if panel.labelled:
            write_labels(panel, folder / beside.name)
    if not panel.labelled:
        beside.unlink(missing_ok=True)  # of what the file held before


def write_labels(panel: Panel | Variants, path: Path | str) -> None:
    """Write a panel's labels as a tab-separated file that `read_labels` reads.

    Superpopulations only where everybody has one. Raises FormatError if a person has no population.
    """
    if not panel.labelled:
        raise FormatError(f"{path}: the panel has people without a population label")
    with Path(path).open("w", encoding="utf-8") as table:
        columns = 3 if all((above != "").all() for _, _, above in parts(panel)) else 2
        table.write("\t".join(("sample", "pop", "super_pop")[:columns]) + "\n")
        for part in parts(panel):
            table.writelines("\t".join(row) + "\n" for row in zip(*part[:columns], strict=True))
