"""Tables of people: their names, populations, sexes and families, under the columns in use."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from haplobench.errors import FormatError
from haplobench.files import cells, numbered_lines, read_text

LABELS_OF_DATASETS = {
    "population": "sample_population",
    "superpopulation": "sample_superpopulation",
}
"""Arrays of VCF Zarr and of xarray datasets with people's labels, by the labels of a panel."""

FAM_COLUMNS = ("FID", "IID", "PAT", "MAT", "SEX", "PHENO1")
# What files call their columns, in lower case without signs; of several the first counts, and
# the next where it is empty: PLINK's, the 1000 Genomes panel's and pedigrees', the IGSR portal's.
_COLUMNS = {
    "sample": (
        "iid",
        "sample",
        "sampleid",
        "indv",
        "samplename",
        "individualid",
        "individual",
        "participantid",
        "participant",
        "subjectid",
        "subject",
        "eid",
    ),
    "family": ("fid", "familyid", "family"),
    "father": ("pat", "fatherid", "father", "paternalid"),
    "mother": ("mat", "motherid", "mother", "maternalid"),
    "sex": ("sex", "gender"),
    "population": ("pop", "population", "populationcode", "popcode", "populationname"),
    "superpopulation": (
        "superpop",
        "superpopulation",
        "superpopulationcode",
        "superpopcode",
        "superpopulationname",
    ),
}
_SEXES = {
    **dict.fromkeys(("1", "m", "male"), "male"),
    **dict.fromkeys(("2", "f", "female"), "female"),
}
# In PLINK's files and pedigrees, for nobody and for unknown.
_NOBODY = frozenset({"", "0", "NA", "NONE", "."})
# What stands for no label; 0 may be a population's name.
_UNLABELLED = frozenset({"NA", "N/A", "NAN", "NONE", "."})


@dataclass(frozen=True)
class Label:
    """What a table says of a person; a text is empty where it says nothing.

    `population`, `superpopulation`; `sex` is `male` or `female`; `family` is the family's name,
    `father` and `mother` are names as in the table's own column of samples.
    """

    population: str = ""
    superpopulation: str = ""
    sex: str = ""
    family: str = ""
    father: str = ""
    mother: str = ""


def known(text: str | None) -> str:
    """A cell of a PLINK table or a pedigree: empty for what stands for unknown."""
    return "" if text is None or text in _NOBODY else text


def known_sex(text: str) -> str:
    """`male` or `female` from a cell of any table; empty for what stands for unknown."""
    return _SEXES.get(text.lower(), "")


def column_indices(header: Sequence[str]) -> dict[str, list[int]]:
    """Where a header has the columns of `Label` and `sample`; those it hasn't are left out."""
    names = ["".join(filter(str.isalnum, cell.lower())) for cell in header]
    places = {
        key: [names.index(synonym) for synonym in synonyms if synonym in names]
        for key, synonyms in _COLUMNS.items()
    }
    return {key: at for key, at in places.items() if at}


def read_labels(path: Path | str) -> Mapping[str, Label]:
    """Labels by sample: of a table with columns `sample` and `pop`, and perhaps `super_pop`.

    The columns' names may be those of the 1000 Genomes panel file, its pedigrees, the IGSR
    portal's table of samples or PLINK's `.psam`; separated by tabs, commas, semicolons or
    blanks. Other columns, and empty header fields at the end (as published), are passed over.
    Raises FormatError that names the line.
    """
    return _read_people(Path(path), ("population", "superpopulation"), "sample, pop and super_pop")


def read_pedigree(path: Path | str) -> Mapping[str, Label]:
    """Sexes, families and parents by sample, and populations where the table has them.

    Tables as for `read_labels`, of which only the column of samples must be there, and PLINK's
    `.fam` without header. Raises FormatError that names the line.
    """
    return _read_people(Path(path), (), "sample, and family, father, mother or sex")


def _read_people(path: Path, needed: tuple[str, ...], expected: str) -> Mapping[str, Label]:
    labels: dict[str, Label] = {}
    columns: dict[str, list[int]] = {}
    separator = ""
    for number, line in numbered_lines(read_text(path)):
        if not line.strip() or line.startswith("##"):
            continue
        if not columns:
            separator, columns = table_header(line)
            if not columns and not needed and len(line.split()) == len(FAM_COLUMNS):
                separator, columns = " ", column_indices(FAM_COLUMNS)
            elif not columns or (needed and needed[0] not in columns):
                names = ", ".join(filter(None, cells(line, separator or "\t")))
                raise FormatError(
                    f"{path}:{number}: found columns {names[:60] or 'none'}, expected {expected}"
                )
            else:
                continue
        row = cells(line, separator)
        if not any(row):
            continue
        values = {key: _value(row, at) for key, at in columns.items()}
        for key in values.keys() & {"population", "superpopulation"}:
            values[key] = "" if values[key].upper() in _UNLABELLED else values[key]
        if not all(values[key] for key in ("sample", *needed) if key in columns):
            raise FormatError(
                f"{path}:{number}: found {line[:60]!r}, expected a sample with its labels in the "
                f"columns of the header"
            )
        name = values.pop("sample")
        if name in labels:
            raise FormatError(f"{path}:{number}: sample {name!r} occurs a second time")
        for key in ("family", "father", "mother"):
            values[key] = known(values.get(key))
        values["sex"] = known_sex(values.get("sex", ""))
        labels[name] = Label(**values)
    if not columns:
        raise FormatError(f"{path}:1: found columns none, expected {expected}")
    if not labels:
        raise FormatError(f"{path}: holds no samples")
    return labels


def _value(row: Sequence[str], at: Sequence[int]) -> str:
    """The first of some cells that isn't empty."""
    return next((row[i] for i in at if i < len(row) and row[i]), "")


def table_header(line: str) -> tuple[str, dict[str, list[int]]]:
    """Separator and columns of a header line; no columns if it names none of samples."""
    for separator in ("\t", ",", ";", " "):
        columns = column_indices(cells(line, separator))
        if "sample" in columns:
            return separator, columns
    return "", {}


class SampleNames:
    """A panel's names, found by what other tables call the same people.

    PLINK joins the family's name (FID) and the person's own (IID) by `_` where a format has room
    for one: people of one panel may be `P000`, `F1_P000`, `0_P000` or `P000_P000`.
    """

    def __init__(self, samples: Iterable[str]) -> None:
        self.samples = frozenset(samples)
        self._by_tail: dict[str, list[str]] = defaultdict(list)
        for name in sorted(self.samples):
            for tail in _tails(name):
                self._by_tail[tail].append(name)

    def find(self, name: str, family: str = "", *, of_family: bool = False) -> list[str]:
        """Samples who may be the person of that name and family: one, none, or more to choose from.

        With `of_family` nobody is found under another family's name.
        """
        if known(family):
            joined = (name, f"{family}_{name}", f"{name}_{name}", f"0_{name}")
            hits = [each for each in dict.fromkeys(joined) if each in self.samples]
            if hits or of_family:
                return hits
        if name in self.samples:
            return [name]
        return self._by_tail.get(name) or [t for t in _tails(name) if t in self.samples]


def _tails(name: str) -> list[str]:
    """What follows each `_` of a name."""
    parts = name.split("_")
    return ["_".join(parts[i:]) for i in range(1, len(parts)) if any(parts[i:])]


def match_labels(samples: Sequence[str], labels: Mapping[str, Label], path: Path) -> dict[str, str]:
    """Name in a table of labels by sample; samples that the table hasn't are left out.

    A sample is found under its own name, else as `SampleNames` finds it. Raises FormatError
    where more than one sample or more than one name of the table may be meant.
    """
    matched = {name: name for name in samples if name in labels}
    left = SampleNames(name for name in samples if name not in matched)
    if not left.samples:
        return matched
    for name, label in labels.items():
        if name in matched:
            continue
        hits = left.find(name, label.family)
        if len(hits) > 1:
            raise FormatError(
                f"{path}: {name!r} may be sample {hits[0]!r} or {hits[1]!r}",
                hint="name people as the panel does",
            )
        for sample in hits:
            if sample in matched:
                raise FormatError(
                    f"{path}: sample {sample!r} may be {matched[sample]!r} or {name!r}",
                    hint="name people as the panel does",
                )
            matched[sample] = name
    return matched
