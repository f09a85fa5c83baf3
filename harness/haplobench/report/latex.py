"""Text and tables as LaTeX: pure ASCII, whatever a label holds, and never wider than asked for.

Everything compiles with `booktabs` and `graphicx`, whatever the document's fonts and encoding.
Tables break their own lines by the widths of letters, in a size of type of their own.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import zip_longest

POINTS = 72.27 / 25.4
"""TeX's points in a millimetre."""
_SIZE, _SMALL, _GAP = 8.0, 7.0, 3.0
_LONG = 20
_PAGE = 60
"""Lines of tables and their notes on a page, captions left room for."""
_ASCII = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\ensuremath{<}", ">": r"\ensuremath{>}", "|": r"\ensuremath{|}", '"': "{''}",
}  # fmt: skip
_SIGNS = {
    "\N{NO-BREAK SPACE}": "~", "\N{NARROW NO-BREAK SPACE}": r"\,", "‑": "-", "–": "--", "—": "---",
    "‘": "`", "’": "'", "“": "``", "”": "''", "…": r"\ldots{}", "§": r"\S{}", "ß": r"\ss{}",
    "æ": r"\ae{}", "Æ": r"\AE{}", "ø": r"\o{}", "Ø": r"\O{}", "å": r"\aa{}", "Å": r"\AA{}",
    "ł": r"\l{}", "Ł": r"\L{}", "œ": r"\oe{}", "ı": r"\i{}",
}  # fmt: skip
_MATHS = {
    "×": r"\times", "±": r"\pm", "−": "-", "·": r"\cdot", "≥": r"\geq", "≤": r"\leq",
    "≈": r"\approx", "≠": r"\neq", "∞": r"\infty", "→": r"\rightarrow", "↓": r"\downarrow",
    "↑": r"\uparrow", "●": r"\bullet", "○": r"\circ", "◆": r"\diamond", "°": r"^\circ",
    "¹": "^1", "²": "^2", "³": "^3", "µ": r"\mu",
}  # fmt: skip
_ACCENTS = {
    0x300: r"\`", 0x301: r"\'", 0x302: r"\^", 0x303: r"\~", 0x304: r"\=", 0x306: r"\u",
    0x307: r"\.", 0x308: r"\"", 0x30A: r"\r", 0x30B: r"\H", 0x30C: r"\v", 0x327: r"\c",
}  # fmt: skip
_NO_COMMAND = {"omicron"}
# Two of these in a row would be set as a dash, a quotation mark or another sign.
_LIGATURE = re.compile(r"(?<=[-'`,?!])(?=[-'`,])")


@cache
def _letter(letter: str) -> str:
    """A character, or a word of its own for one that no standard font has: `U+4E2D`."""
    if letter in _ASCII or letter in _SIGNS:
        return _ASCII.get(letter) or _SIGNS[letter]
    if letter in _MATHS:
        return rf"\ensuremath{{{_MATHS[letter]}}}"
    if letter.isascii() and letter.isprintable():
        return letter
    base, *marks = list(unicodedata.normalize("NFD", letter))
    accent = _ACCENTS.get(ord(marks[0])) if len(marks) == 1 else None
    if accent and base.isascii() and base.isalpha():
        dotless = {"i": r"\i", "j": r"\j"}.get(base, base) if accent != r"\c" else base
        return f"{accent}{{{dotless}}}"
    name = unicodedata.name(letter, "")
    if name.startswith("GREEK SMALL LETTER ") and name.count(" ") == 3:
        greek = name.rpartition(" ")[2].lower().replace("lamda", "lambda")
        if greek not in _NO_COMMAND:
            greek = {"epsilon": "varepsilon"}.get(greek, greek)
            return rf"\ensuremath{{\{greek}}}"
    return rf"\texttt{{U+{ord(letter):04X}}}"


def escape(raw: str, *, braces: bool = False) -> str:
    """Text that LaTeX shows as it is, on one line; `braces` keeps braces as BibTeX's own."""
    text = _LIGATURE.sub("\0", " ".join(_words(raw)))
    letters = (
        "{}" if letter == "\0" else letter if braces and letter in "{}" else _letter(letter)
        for letter in text
    )
    return "".join(letters)


def _words(raw: str) -> list[str]:
    """Words of a text; spaces that don't break stay in them."""
    return re.findall("(?:\\S|[\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}])+", raw)


def breakable(raw: str) -> str:
    """`escape` for running text: words too long for a line may break behind signs, or anywhere."""
    words = []
    for word in _words(raw):
        parts = re.findall(r".*?[-_/.,:;=@|]+|.+", word)
        parts = parts if len(_shown(word)) > _LONG else [word]
        pieces = (part if len(_shown(part)) > _LONG else [part] for part in parts)
        words.append(r"\allowbreak{}".join(escape(piece) for part in pieces for piece in part))
    return " ".join(words)


# --- widths -----------------------------------------------------------------------------------

_WIDTHS = {
    **dict.fromkeys("ijl.,:;'|!()[]/ ", 0.34), **dict.fromkeys("frtsIJ-–", 0.5),
    **dict.fromkeys("mwMW%@×±−—…→≥≤≈◆●○", 0.98),
}  # fmt: skip


def _shown(text: str) -> str:
    """A text with codes in the place of what no standard font has."""
    return "".join(f"U+{ord(c):04X}" if _letter(c).startswith(r"\texttt") else c for c in text)


def _width(text: str) -> float:
    """No less than the width of a text in em of Computer Modern, Times or Helvetica."""
    return sum(_WIDTHS.get(c, 0.8 if c.isupper() else 0.6) for c in _shown(text))


@dataclass(frozen=True)
class Line:
    """One line of a cell: its text, and how it is set."""

    text: str
    small: bool = False
    bold: bool = False
    note: str = ""

    @property
    def width(self) -> float:
        """Points, at most."""
        size = _SMALL if self.small else _SIZE
        return size * _width(self.text) * (1.15 if self.bold else 1) + 5.0 * _width(self.note)

    @property
    def latex(self) -> str:
        """LaTeX of it."""
        text = escape(self.text)
        text = rf"\textbf{{{text}}}" if self.bold else text
        text += rf"\textsuperscript{{{escape(self.note)}}}" if self.note else ""
        return rf"{{\hbsmall {text}}}" if self.small else text


Cell = tuple[Line, ...]
"""Its lines, from top to bottom."""


def wrap(raw: str, limit: float, *, small: bool = False, bold: bool = False) -> Cell:
    """A text broken into lines of at most so many points: at spaces, behind signs, or anywhere."""

    def fits(text: str) -> bool:
        return Line(text, small, bold).width <= limit

    lines = [""]
    for word in _words(raw):
        for at, part in enumerate(re.findall(r"[^-_/]*[-_/]+|[^-_/]+", word)):
            space = " " if at == 0 and lines[-1] else ""
            if fits(lines[-1] + space + part):
                lines[-1] += space + part
                continue
            if lines[-1]:
                lines.append("")
            for letter in part:
                if lines[-1] and not fits(lines[-1] + letter):
                    lines.append("")
                lines[-1] += letter
    return tuple(Line(line, small, bold) for line in lines)


# --- tables -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Grid:
    """A table: heads of its columns and rows, and a cell for each of both.

    The first of `heads` stands over the names of the rows.
    """

    heads: tuple[Cell, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def transposed(self) -> Grid:
        """Rows as columns."""
        table = list(zip(*((self.heads, *self.rows)), strict=True))
        return Grid(tuple(table[0]), tuple(tuple(row) for row in table[1:]))

    def widths(self) -> list[float]:
        """Points of each column."""
        return [
            max(line.width for cell in column for line in cell)
            for column in zip(self.heads, *self.rows, strict=True)
        ]

    def parts(self, points: float) -> list[Grid]:
        """Grids of the same rows, with as many columns each as fit beside the first."""
        first, *others = self.widths()
        parts: list[list[int]] = []
        room = 0.0
        for at, width in enumerate(others, 1):
            if not parts or width + 2 * _GAP > room:
                parts.append([])
                room = points - first - _GAP
            parts[-1].append(at)
            room -= width + 2 * _GAP
        return [
            Grid(
                (self.heads[0], *(self.heads[at] for at in part)),
                tuple((row[0], *(row[at] for at in part)) for row in self.rows),
            )
            for part in parts
        ]

    def latex(self) -> list[str]:
        """A `tabular*` of the width `\\hbwidth`."""
        lines = [
            rf"\begin{{tabular*}}{{\hbwidth}}{{@{{}}l@{{\extracolsep{{\fill}}}}"
            rf"{'r' * (len(self.heads) - 1)}@{{}}}}",
            r"\toprule",
            *_physical(self.heads, bottom=True),
            r"\midrule",
        ]
        for at, row in enumerate(self.rows, 1):
            lines += _physical(row)
            if at < len(self.rows) and max(map(len, row)) > 1:
                lines[-1] += r"[1.5pt]"
        return [*lines, r"\bottomrule", r"\end{tabular*}"]


def _physical(cells: Iterable[Cell], bottom: bool = False) -> list[str]:
    """Lines of a tabular for a row of cells, each with its own number of lines."""
    columns = [cell[::-1] if bottom else cell for cell in cells]
    rows = list(zip_longest(*columns))
    # A bracket or a star behind the end of a line would be that command's argument.
    texts = [
        re.sub(r"^(?=[\[*])", "{}", " & ".join(line.latex if line else "" for line in row)) + r" \\"
        for row in rows
    ]
    return texts[::-1] if bottom else texts


def shortest(*tables: Sequence[Grid]) -> Sequence[Grid]:
    """Of several ways to set a table, the one that takes the fewest lines."""

    def length(grids: Sequence[Grid]) -> int:
        return sum(max(map(len, row)) for grid in grids for row in (grid.heads, *grid.rows))

    return min(tables, key=length)


def pages(grids: Sequence[Grid], notes: Sequence[Cell] = ()) -> list[list[Grid | Cell]]:
    """Grids, then notes, by the pages that hold them; a grid of more rows than one holds is cut."""
    pages: list[list[Grid | Cell]] = []
    room = 0
    for grid in grids:
        part: list[tuple[Cell, ...]] = []
        head = max(map(len, grid.heads)) + 2
        if room < head + sum(max(map(len, row)) for row in grid.rows) <= _PAGE:
            room = 0
        for row in grid.rows:
            lines = max(map(len, row))
            if part and lines > room:
                pages[-1].append(replace(grid, rows=tuple(part)))
                part = []
            if not part:
                if not pages or head + lines > room:
                    pages.append([])
                    room = _PAGE
                room -= head
            room -= lines
            part.append(row)
        if part:
            pages[-1].append(replace(grid, rows=tuple(part)))
    for note in notes:
        if not pages or len(note) + 1 > room:
            pages.append([])
            room = _PAGE
        room -= len(note) + 1
        pages[-1].append(note)
    return pages


def tables(
    grids: Sequence[Grid], width_mm: float, caption: str, label: str, notes: Sequence[str] = ()
) -> str:
    """A `table` of grids under each other, or as many as they fill pages.

    `caption` and `notes` are raw text; the notes stand beneath the last one, in small print.
    """
    texts = ["% Needs \\usepackage{booktabs}."]
    points = width_mm * POINTS
    cut = pages(grids, [wrap(note, 0.9 * points, small=True) for note in notes])
    raw = iter(notes)
    full = sum(isinstance(page[0], Grid) for page in cut)
    for number, page in enumerate(cut, 1):
        more = f" ({number} of {full})" if full > 1 else ""
        texts += [
            r"\begin{table}[t]",
            rf"\newcommand{{\hbsmall}}{{\fontsize{{{_SMALL:g}}}{{{_SMALL * 1.2:.1f}}}\selectfont}}",
            rf"\newcommand{{\hbwidth}}{{{points:.2f}pt}}",
            r"\setlength{\belowcaptionskip}{4pt}\centering\sloppy",
            *([rf"\caption{{{breakable(caption + more)}}}"] if isinstance(page[0], Grid) else []),
            *([rf"\label{{{label}}}"] if number == 1 else []),
            rf"\fontsize{{{_SIZE:g}}}{{{_SIZE * 1.2:.1f}}}\selectfont",
            rf"\setlength{{\tabcolsep}}{{{_GAP:g}pt}}",
        ]
        for at, item in enumerate(page):
            texts += [r"\par\medskip"] * bool(at)
            if isinstance(item, Grid):
                texts += item.latex()
            else:
                text = breakable(next(raw))
                texts.append(rf"\parbox{{\hbwidth}}{{\hbsmall\raggedright {text}}}")
        texts.append(r"\end{table}")
    return "\n".join([*texts, ""])
