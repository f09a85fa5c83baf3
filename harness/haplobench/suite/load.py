"""Suites: find a YAML file, validate all of it, and name every problem with file, line and key."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import haplobench
from haplobench.errors import SuiteError
from haplobench.registry import Registry
from haplobench.suite.checks import SuiteChecker, check_profiles, write_out
from haplobench.suite.model import DatasetEntry, GeneratorEntry, MetricEntry, Suite
from haplobench.suite.schema import FloorSettings, Limits, SampleSettings
from haplobench.suite.source import MarkedTree, apply_override, near_names, read_marked

__all__ = [
    "DatasetEntry",
    "FloorSettings",
    "GeneratorEntry",
    "Limits",
    "MetricEntry",
    "SampleSettings",
    "Suite",
    "find_suite",
    "load_suite",
    "shipped_suites",
]


def load_suite(
    path_or_name: str | Path,
    overrides: Sequence[str],
    registry: Registry,
    *,
    only: Sequence[str] = (),
) -> Suite:
    """Load and validate a suite.

    Parameters
    ----------
    path_or_name : str or Path
        A YAML file, or the name of a shipped suite.
    overrides : sequence of str
        `key=value`, laid over the file after its profile: `seeds=[1]`,
        `generators[2].params.window=128`, `profile=quick`.
    registry : Registry
    only : sequence of str
        Labels: of generators to run besides the controls (empty: all), or of datasets.

    Raises
    ------
    SuiteError
        `problems` holds every problem found, each with file, line and key.
    """
    path, name = find_suite(path_or_name)
    tree = read_marked(path, name)
    problems = list(tree.problems)
    for override in overrides:
        if override.partition("=")[0].strip() == "profile":
            problems += _override(tree, override)
    write_out(tree.root)
    problems += check_profiles(tree)
    profile = tree.root.get("profile")
    if isinstance(profile, str) and isinstance(tree.root.get("profiles"), dict):
        if isinstance(tree.root["profiles"].get(profile), dict):
            try:
                tree.merge(("profiles", profile))
            except LookupError as error:
                problems.append(tree.problem(("profiles", profile), str(error.args[0])))
        else:
            near = near_names(profile, tree.root["profiles"])
            problems.append(tree.problem(("profile",), f"no profile is named {profile!r}{near}"))
    elif profile is not None:
        problems.append(tree.problem(("profile",), f"no profile is named {profile!r}"))
    for override in overrides:
        if override.partition("=")[0].strip() != "profile":
            problems += _override(tree, override)
    write_out(tree.root)
    checked = SuiteChecker(tree, registry, set(only))
    suite = checked.suite(path)
    problems += checked.problems
    if problems or suite is None:
        raise SuiteError(sorted(dict.fromkeys(problems), key=_line))
    return suite


def _line(problem: str) -> int:
    """The line that a problem names, to list problems in the order of the file."""
    match = re.match(r"[^\s]*?:(\d+): ", problem)
    return int(match[1]) if match else 0


def find_suite(path_or_name: str | Path) -> tuple[Path, str]:
    """The file of a suite, and its name for errors; SuiteError, with near names, if none is."""
    text = str(path_or_name)
    path = Path(text)
    if path.is_file():
        return path, text
    shipped = _shipped_files()
    if text in shipped:
        file = shipped[text]
        return file, f"suites/{file.name}"
    near = near_names(path.stem if path.suffix else text, shipped)
    if path.is_dir():
        raise SuiteError([f"{text}: a folder; expected a suite's YAML file{near}"])
    if path.suffix in (".yaml", ".yml") or os.sep in text:
        raise SuiteError([f"{text}: no such file{near}"])
    listed = "" if near else f"; shipped: {', '.join(shipped) or 'none'}"
    raise SuiteError([f"{text}: neither a file nor a shipped suite{near}{listed}"])


def shipped_suites() -> tuple[str, ...]:
    """Names of the suites that come with haplobench."""
    return tuple(_shipped_files())


def _shipped_files() -> dict[str, Path]:
    package = Path(haplobench.__file__).parent
    # In a wheel the suites lie in the package; in a checkout at its root.
    for folder in (package / "suites", package.parent.parent / "suites"):
        found = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
        if found:
            return found
    return {}


def _override(tree: MarkedTree, override: str) -> list[str]:
    try:
        apply_override(tree, override)
    except SuiteError as error:
        return error.problems
    return []
