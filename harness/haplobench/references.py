"""References: the sources that specs cite by key, once, in `references.bib` beside this module."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

_ENTRY = re.compile(r"^@(\w+)\{([^,\s]+),\n((?:  \w+ = \{.*\},\n)+)\}$", re.MULTILINE)
_FIELD = re.compile(r"^  (\w+) = \{(.*)\},$", re.MULTILINE)
_DOI = re.compile(r"\b10\.\d{4,9}/[^\s;,]*[^\s;,.)]|\barXiv:\d{4}\.\d{4,5}")
_WHERE = ("journal", "booktitle", "publisher", "institution", "howpublished")


@dataclass(frozen=True)
class Citation:
    """One source.

    Attributes
    ----------
    key : str
        What specs and BibTeX call it.
    kind : str
        BibTeX's: `article`, `book`, `misc`, …
    fields : mapping
        As in `references.bib`: BibTeX's names, text in Unicode, braces around kept capitals.
        Prose that is no entry of it is a `misc` whose one field, beside a DOI, is `note`.
    """

    key: str
    kind: str
    fields: Mapping[str, str]

    @property
    def doi(self) -> str:
        """Its DOI, `10.…`; or empty."""
        return self.fields.get("doi", "")

    @property
    def text(self) -> str:
        """It as one line for a reader, with its DOI."""
        if "note" in self.fields:
            return self.fields["note"]
        names = [name.replace(", ", " ") for name in self._authors]
        if names[-1] == "others":
            listed = f"{', '.join(names[:-1])} et al."
        else:
            listed = " & ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
        place = next((self.fields[name] for name in _WHERE if name in self.fields), "")
        parts = [place, self.fields.get("volume", ""), self.fields.get("number", "")]
        where = " ".join(part for part in parts if part)
        pages = self.fields.get("pages", "").replace("--", "-")
        where = ", ".join(part for part in (where, pages) if part)
        year = f" ({self.fields['year']})" if "year" in self.fields else ""
        doi = f", doi:{self.doi}" if self.doi else ""
        return _bare(f"{listed.rstrip('.')}. {self.fields['title']}. {where}{year}{doi}")

    def named_in(self, prose: str) -> bool:
        """Whether prose names its first author, its year, and its title or first page."""
        words = re.findall(r"[\w']+", prose.lower())
        first = re.findall(r"\w+", self._authors[0].partition(",")[0].lower())
        page = self.fields.get("pages", "").partition("--")[0].lower()
        title = " ".join(re.findall(r"\w+", self.fields["title"].lower()))
        return (
            self.fields.get("year", "") in words
            and set(first) <= set(words)
            and (page in words or title in " ".join(re.findall(r"\w+", prose.lower())))
        )

    @property
    def _authors(self) -> list[str]:
        return self.fields["author"].split(" and ")


def _bare(text: str) -> str:
    return text.replace("{", "").replace("}", "")


@cache
def references() -> Mapping[str, Citation]:
    """Every source of `references.bib` by its key, in the file's order."""
    text = resources.files("haplobench").joinpath("references.bib").read_text(encoding="utf-8")
    return {
        key: Citation(key, kind, dict(_FIELD.findall(body)))
        for kind, key, body in _ENTRY.findall(text)
    }


@cache
def cite(citation: str) -> Citation:
    """The source that a spec or a run cites.

    `citation` is a key of `references.bib`, or prose, as others' plugins and old runs have it: the
    entry with the same text or DOI, or whose author, year, and page or title it names, or else a
    source of its own.
    """
    if citation in references():
        return references()[citation]
    found = _DOI.search(citation)
    doi = found[0].replace("arXiv:", "10.48550/arXiv.") if found else ""
    for known in references().values():
        same = doi and known.doi.lower() == doi.lower()
        if known.text == citation or same or (not doi and known.named_in(citation)):
            return known
    words = re.findall(r"[A-Za-z]+", citation)
    year = re.search(r"\b(1[89]|20)\d\d\b", citation)
    key = f"{words[0].lower() if words else 'source'}{year[0] if year else ''}"
    return Citation(
        f"{key}note" if key in references() else key,
        "misc",
        {"note": citation} | ({"doi": doi} if doi else {}),
    )
