"""Errors that are the user's to mend: one line each, never a traceback."""

from __future__ import annotations

# What was found may be a file's whole content.
_LONGEST_LINE = 2000


def shortened(text: str, limit: int) -> str:
    """A text of at most some `limit` characters: of a longer one beginning and end, and the gap."""
    if len(text) <= limit:
        return text
    head, tail = limit * 2 // 3, limit // 3
    gap = len(text) - head - tail
    return f"{text[:head]} [… {gap:,} characters left out …] {text[len(text) - tail :]}"


class BenchError(Exception):
    """A mistake or a lack that the user can mend.

    The message is one line that names the file, line or key, what was found and what
    was expected; `hint` says what to do. The command line prints both and exits 2.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__("\n".join(shortened(line, _LONGEST_LINE) for line in message.split("\n")))
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message} ({self.hint})" if self.hint else message


class PanelError(BenchError):
    """A panel whose arrays contradict each other or the definition of a panel."""


class FormatError(BenchError):
    """A file that can't be read as the format it claims: names file and line or record."""


class UnphasedError(FormatError):
    """A file whose haplotypes aren't known: genotypes without phase, or in several phase sets."""


class PluginError(BenchError):
    """A plugin that is missing, broken, declared twice or breaks its contract."""


class SuiteError(BenchError):
    """A suite that doesn't validate; `problems` holds every problem found, one line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
