"""Paths as users write them in suites."""

from __future__ import annotations

import os
import re
from pathlib import Path

from haplobench.errors import FormatError

# Where this project's real data lie, from the current folder, unless the variable is set.
DEFAULTS = {"HAPLOBENCH_DATA": "../shared/data"}
_VARIABLE = re.compile(r"\$(?:\{(?P<braced>\w+)\}|(?P<bare>\w+))")


def expand(text: str) -> Path:
    """A path with `~` and `${VARIABLE}` expanded; relative ones are of the current folder.

    Raises FormatError naming a variable that isn't set and has no default.
    """

    def value(match: re.Match[str]) -> str:
        name = match["braced"] or match["bare"]
        found = os.environ.get(name) or DEFAULTS.get(name)
        if found is None:
            raise FormatError(f"{text}: the environment variable {name} isn't set")
        return found

    return Path(_VARIABLE.sub(value, text)).expanduser()
