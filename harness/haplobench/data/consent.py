"""Lists of people: of those who withdrew their consent, and of who is on which side of a split."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from haplobench.data.labels import FAM_COLUMNS, SampleNames, table_header
from haplobench.errors import BenchError, FormatError
from haplobench.files import cells, decode, numbered_lines, require_file

if TYPE_CHECKING:
    from haplobench.data.panel import Panel

# Words that lists of people have over their column of names, beside those of `labels`.
_OTHER_HEADERS = frozenset({"id", "name", "samples", "person", "withdrawn"})
_HEADER_HINT = "write one name a line, or name the columns: IID, or FID and IID"


@dataclass(frozen=True)
class _Entry:
    """One line of a list.

    `kind`: `name`; `family`, a FID and an IID; `fam`, a line of PLINK's `.fam`; `row`, several
    cells without header, of which the first or, as PLINK has it, the second is the name; `names`,
    the same separated by commas, so that all may be names; `header`.
    """

    line: int
    cells: tuple[str, ...] = field(repr=False)
    kind: str = "name"

    @property
    def text(self) -> str:
        return " ".join(self.cells)

    def parts(self, names: SampleNames) -> list[_Entry]:
        """The entry, or one for each of its names if it is a list of them on one line."""
        if self.kind == "names" and all(names.find(cell) for cell in self.cells):
            return [_Entry(self.line, (cell,)) for cell in dict.fromkeys(self.cells)]
        return [self]

    def people(self, names: SampleNames) -> list[str]:
        """Samples whom the line means; where it may mean this or that one, all of them."""
        if self.kind == "name":
            return names.find(self.cells[0])
        if self.kind == "header":
            return [name for cell in self.cells for name in names.find(cell)]
        first, second = self.cells[:2]
        as_plink = names.find(second, first, of_family=True)
        if self.kind == "family":
            return as_plink
        # Somebody named in a remark may be meant, too.
        others = (first,) if self.kind == "fam" else self.cells
        named = [cell for cell in others if cell in names.samples]
        loosely = [name for cell in others for name in names.find(cell)]
        return list(dict.fromkeys(as_plink + named if as_plink or named else loosely))


@dataclass(frozen=True)
class PeopleList:
    """A list of people, as a spreadsheet, an editor or PLINK wrote it.

    Its text and representation never hold the names.

    Attributes
    ----------
    source : str
        The file as the user named it; empty for names given one by one.
    digest : str
        SHA-256 (hex) of the list's content.
    """

    source: str
    digest: str
    _entries: tuple[_Entry, ...] = field(repr=False)

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """Read a file: a name a line, PLINK's `FID IID`, or a table with or without header.

        Separated by tabs, commas, semicolons or blanks; UTF-8 or, with a byte order mark,
        UTF-16. Blank lines and lines that start with `#` (but for a header) are passed over.
        Raises FormatError, which names the line, for a file that can't be read, has no names,
        or a line without name.
        """
        require_file(Path(path))
        try:
            data = Path(path).read_bytes()
            text = decode(data)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise FormatError(f"{path}: can't be read: {reason}") from None
        return cls(str(path), hashlib.sha256(data).hexdigest(), _entries(str(path), text))

    @classmethod
    def of(cls, names: Sequence[str]) -> Self:
        """The list of some names."""
        digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
        entries = tuple(_Entry(i, (name.strip(),)) for i, name in enumerate(names, 1))
        return cls("", digest, entries)

    def leave_out(
        self, *panels: Panel, allow_unknown: bool, key: str, private: bool = False
    ) -> tuple[list[Panel], dict[str, int]]:
        """Panels without the people of the list, and counts: `listed`, `left_out`, `unknown` and
        `repeated`.

        Parameters
        ----------
        panels : Panel
            Each name has to be one of theirs, of one panel or of several.
        allow_unknown : bool
            Whether names may match nobody: of people of other panels.
        key : str
            What errors call the setting.
        private : bool
            Errors give lines but no names: where they are kept with results.

        Raises
        ------
        BenchError
            All that is wrong in one line: names that match nobody, lines that may mean more
            than one person; or if nobody is left of a panel.
        """
        import numpy as np

        places, unknown = self.find(
            *panels,
            key=key,
            private=private,
            allow_unknown=allow_unknown,
            hint="mend them, or "
            + ("give --allow-unknown" if key.startswith("-") else "set allow_unknown")
            + " if they are of other panels",
        )
        kept = []
        for panel in panels:
            stays = ~np.isin(panel.samples, list(places))
            if not stays.any():
                where = f"{key}: {self.source}: " if self.source else f"{key}: "
                raise BenchError(f"{where}everybody in the panel withdrew; nobody is left")
            kept.append(panel if stays.all() else panel.select_samples(stays))
        repeats = (len(lines) > 1 for lines in [*places.values(), *unknown.values()])
        return kept, {
            "listed": len(places) + len(unknown),
            "left_out": len(places),
            "unknown": len(unknown),
            "repeated": sum(repeats),
        }

    def find(
        self,
        *panels: Panel,
        key: str,
        allow_unknown: bool = False,
        private: bool = False,
        hint: str = "name people as the panel does",
    ) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
        """Lines of the list by sample of the panels, and by entries that match nobody.

        Arguments and errors as of `leave_out`; `hint` says what to do about unknown names.
        """
        names = SampleNames(name for panel in panels for name in panel.samples.tolist())
        places: dict[str, list[int]] = {}
        unknown: dict[str, list[int]] = {}
        ambiguous: list[str] = []
        for entry in (part for each in self._entries for part in each.parts(names)):
            people = entry.people(names)
            if len(people) > 1 or (people and entry.kind == "header"):
                said = "" if private else f" {entry.text!r}"
                meant = people[:3] + ["a header"] * (entry.kind == "header")
                which = "more than one person" if private else " or ".join(meant)
                ambiguous.append(f"{self._place(entry.line)}{said} may be {which}")
            elif people:
                places.setdefault(people[0], []).append(entry.line)
            elif entry.kind != "header":
                unknown.setdefault(entry.text, []).append(entry.line)
        where = f"{key}: {self.source}: " if self.source else f"{key}: "
        if ambiguous:
            raise BenchError(where + "; ".join(ambiguous), hint=_HEADER_HINT)
        if unknown and not allow_unknown:
            told = ", ".join(
                f"{self._place(lines[0])}" + ("" if private else f" {text!r}")
                for text, lines in unknown.items()
            )
            total = sum(panel.n_samples for panel in panels)
            raise BenchError(
                f"{where}{len(unknown)} of {len(places) + len(unknown)} match nobody of the "
                f"{total:,} people: {told}",
                hint=hint,
            )
        return places, unknown

    def _place(self, line: int) -> str:
        return f"{'line' if self.source else 'name'} {line}"

    def as_job(self) -> dict[str, Any]:
        """For a stage's process: the file and its digest, or the names where there is no file."""
        if self.source:
            return {"file": self.source, "digest": self.digest}
        return {"names": [entry.text for entry in self._entries]}

    @classmethod
    def from_job(cls, job: Mapping[str, Any]) -> Self:
        """What `as_job` gave. Raises BenchError if the file has changed since."""
        if "names" in job:
            return cls.of(job["names"])
        listed = cls.read(job["file"])
        if listed.digest != job["digest"]:
            raise BenchError(
                f"{listed.source}: the list changed while the run was starting",
                hint="run the same command again",
            )
        return listed


class Withdrawn(BaseModel):
    """People who are neither trained on nor held out: they withdrew their consent.

    `file`: a list of their names, see `PeopleList.read`. `names`: the same given one by one.
    `allow_unknown`: whether names may match nobody in the panel. `unnamed`: how many names a run
    folder's suite had, which it doesn't keep.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    file: str = ""
    names: list[str] = Field(default_factory=list)
    allow_unknown: bool = False
    unnamed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.unnamed:
            raise ValueError(
                f"a run folder doesn't keep the names of the {self.unnamed} people who withdrew; "
                "give the list again"
            )
        if bool(self.file) == bool(self.names):
            raise ValueError("expected a file, or a list of names")
        twice = next((n for i, n in enumerate(self.names) if n in self.names[:i]), "")
        if twice:
            raise ValueError(f"{twice!r} is listed twice")
        return self

    def read(self) -> PeopleList:
        """The list. Raises FormatError as `PeopleList.read`."""
        return PeopleList.read(self.file) if self.file else PeopleList.of(self.names)


def _written_out(value: object) -> object:
    """A text as a `file`, a list as `names`; an empty list withdraws nobody."""
    if isinstance(value, str):
        return {"file": value}
    for name in value if isinstance(value, list | tuple) else ():
        if not isinstance(name, str):
            raise ValueError(
                f"{name!r} isn't text but YAML's {type(name).__name__}; quote the name"
            )
    return ({"names": list(value)} if value else None) if isinstance(value, list | tuple) else value


# What suites and parameters take: a file, names, or `Withdrawn`.
WithdrawnSetting = Annotated[
    Withdrawn | None,
    BeforeValidator(_written_out, json_schema_input_type=str | list[str] | Withdrawn | None),
]


def without_names(command: str) -> str:
    """A command line without the names of a list that `--set …withdrawn=[…]` gave."""
    return re.sub(r"(withdrawn(?:\.names)?\s*[:=]\s*)[\[{][^\]}]*", r"\1[names left out", command)


def withdrawal_text(counts: Mapping[str, int]) -> str:
    """The counts of `leave_out` in words: `2 of 2 withdrawn people left out`.

    Beside them there may be `doubles`: people who stay and have the genotypes of one who left.
    """
    text = f"{counts['left_out']:,} of {counts['listed']:,} withdrawn people left out"
    if unknown := counts.get("unknown"):
        text += f"; {unknown:,} match nobody in the panel"
    if repeated := counts.get("repeated"):
        text += f"; {repeated:,} listed more than once"
    if doubles := counts.get("doubles"):
        text += f"; {doubles:,} who stay have the genotypes of one of them (duplicates or twins)"
    return text


def _entries(source: str, text: str) -> tuple[_Entry, ...]:
    entries: list[_Entry] = []
    header, separator = "", ""
    columns: dict[str, list[int]] = {}
    sought = True
    for number, line in numbered_lines(text):
        line = line.strip(" ")
        # Excel's `sep=;` says what separates, for Excel.
        if not line.strip("\t,;\"' ") or line == header or (sought and line[:4] == "sep="):
            continue
        if line.count('"') % 2:
            raise FormatError(f"{source}:{number}: a quoted cell doesn't end on its line")
        if sought:
            separator, columns = _header(line)
            sought = line.startswith("#") and not columns
            if columns:
                header = line
                entries.append(_Entry(number, tuple(cells(line, separator)), "header"))
                continue
        if line.startswith("#"):
            continue
        several = columns and len(entries[0].cells) > 1
        entries.append(
            _of_table(source, number, cells(line, separator), columns)
            if several
            else _of_line(number, line)
        )
    if all(entry.kind == "header" for entry in entries):
        raise FormatError(
            f"{source}: holds no names", hint="leave the setting out while nobody has withdrawn"
        )
    return tuple(entries)


def _header(line: str) -> tuple[str, dict[str, list[int]]]:
    """Separator and columns of a header of a table of people; no columns for any other line."""
    separator, columns = table_header(line)
    comment = line.startswith("##") or line.startswith("# ")
    # A line of words isn't a header for having a column's name among them.
    if columns and not comment and (separator != " " or 0 in chain(*columns.values())):
        return separator, columns
    for separator in () if line.startswith("#") else "\t,;":
        for i, cell in enumerate(cells(line, separator)):
            if cell.lower() in _OTHER_HEADERS:
                return separator, {"sample": [i]}
    return "", {}


def _of_table(
    source: str, number: int, row: Sequence[str], columns: Mapping[str, Sequence[int]]
) -> _Entry:
    def cell(key: str) -> str:
        return next((row[i] for i in columns.get(key, ()) if i < len(row) and row[i]), "")

    name, family = cell("sample"), cell("family")
    if not name:
        raise FormatError(f"{source}:{number}: no name in the column that the header has for it")
    return _Entry(number, (family, name), "family") if family else _Entry(number, (name,))


def _of_line(number: int, line: str) -> _Entry:
    """An entry of a line without header: separated by tabs, or else by what comes first."""
    line = line.strip()
    separator = "\t" if "\t" in line else min(",; ", key=lambda mark: f"{line}{mark}".find(mark))
    row = tuple(filter(None, (cell.strip(",; ") for cell in cells(line, separator))))
    if len(row) < 2:
        return _Entry(number, row or (line,))
    if separator in ",;":
        return _Entry(number, row, "names")
    fam = len(row) == len(FAM_COLUMNS) and row[4] in ("0", "1", "2", "-9", "NA")
    return _Entry(number, row, "fam" if fam else "row")
