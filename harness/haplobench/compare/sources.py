"""Finding a side of a comparison: a folder, a file, a suite's run, a baseline, a git reference."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from haplobench.compare.baseline import FOLDER, is_baseline, parse_baseline
from haplobench.compare.model import Side, SideData, gather
from haplobench.errors import BenchError, FormatError, SuiteError
from haplobench.files import near_names
from haplobench.results.description import SubmetricInfo
from haplobench.results.run_folder import RECORDS, RunFolder, resolve_run
from haplobench.results.table import read_run


def read_folder(folder: Path, side: Side) -> SideData:
    """Read a run folder: its records, what its metrics mean, its suite's `compare`."""
    from haplobench.suite.source import read_marked

    run = RunFolder(folder)
    if not run.records_path.is_file():
        raise BenchError(f"{folder}: no records.jsonl", hint="see `bench run`")
    data = gather(read_run(run.records_path), side)
    data.describe(run.info())
    try:
        tree = read_marked(folder / "suite.yaml", str(folder / "suite.yaml"))
    except SuiteError:
        return data
    settings = tree.root.get("compare")
    data.settings = settings if isinstance(settings, dict) else None
    return data


_LONGEST = 64 << 20


def open_side(
    text: str,
    *,
    out: Path = Path("results"),
    baselines: Path = FOLDER,
    suite: str = "",
    prefer: str = "baseline",
) -> SideData:
    """Read the side that a user means.

    Parameters
    ----------
    text : str
        In this order: a run folder; a file of records or a baseline, `FILE@RUN` for one run of
        it (its id, its beginning, or -2 for the last but one; else the newest); the name of a
        committed baseline; a run's id, or a suite's name for its newest run, `SUITE@RUN` for
        another; a git reference, `REF:NAME` for one of its several baselines. `run:`,
        `baseline:` or `git:` before it says which is meant.
    out, baselines : Path
        Folders of runs and of baselines.
    suite : str
        Picks among a git reference's several baselines.
    prefer : str
        `baseline` or `run`: what a name that is both means.

    Raises
    ------
    BenchError
        If nothing is called so.
    """
    openers: dict[str, Callable[[str], SideData | None]] = {
        "run": lambda name: _run(name, text, out),
        "baseline": lambda name: _baseline(name, text, baselines),
        "git": lambda name: _git(name, text, baselines, suite),
    }
    kind, _, rest = text.partition(":")
    if kind in openers and rest:
        found = openers[kind](rest)
        if found is None:
            raise BenchError(f"{text}: there is no such {kind}", hint=_hint(rest, out, baselines))
        return found
    found = _path(text)
    if found is not None:
        return found
    order = ["run", "baseline", "git"] if prefer == "run" else ["baseline", "run", "git"]
    for kind in order:
        found = openers[kind](text)
        if found is not None:
            return found
    raise BenchError(
        f"{text!r} is no run folder, file, run, suite with runs, baseline or git reference",
        hint=_hint(text, out, baselines),
    )


def _hint(text: str, out: Path, baselines: Path) -> str:
    names = [path.stem for path in sorted(baselines.glob("*.jsonl"))]
    if out.is_dir():
        names += [folder.name for folder in sorted(out.iterdir()) if folder.is_dir()]
    return near_names(text, names).strip(" ;,()") or "see `bench baseline list`, `bench run`"


# --- files and folders ----------------------------------------------------------------------


def _path(text: str) -> SideData | None:
    path = Path(text)
    if path.is_dir() and (path / RECORDS).is_file():
        return read_folder(path, Side(text, str(path)))
    name, _, run = text.rpartition("@")
    if path.is_file():
        return read_file(path, "", Side(text, str(path)))
    if name and Path(name).is_file():
        return read_file(Path(name), run, Side(text, name))
    if path.is_dir() and (path / "run.json").is_file():
        raise BenchError(f"{text}: a run without records", hint="see `bench run`")
    return None


def read_file(path: Path, run: str, side: Side) -> SideData:
    """Read a baseline, or one run of a file of records (see `read_run`).

    What a file of records doesn't say of its metrics is taken from a run.json beside it or, if
    there is none, from the metrics that are installed.
    """
    with path.open("rb") as stream:
        first = stream.readline(_LONGEST)
    if is_baseline(first):
        with path.open(encoding="utf-8", errors="replace") as lines:
            return parse_baseline(lines, str(path), side)
    data = gather(read_run(path, run), side)
    if path.name == RECORDS and (path.parent / "run.json").is_file():
        data.describe(RunFolder(path.parent).info())
    else:
        define_installed(data)
    return data


def define_installed(data: SideData) -> None:
    """Take the definitions of the numbers from the metrics that are installed."""
    from dataclasses import asdict

    from haplobench.registry import load_registry

    data.definitions = {
        (name, item.name): SubmetricInfo(**{**asdict(item), "family": item.family or spec.family})
        for name, spec in load_registry().metrics.items()
        for item in spec.submetrics
    }


# --- names ----------------------------------------------------------------------------------


def _run(text: str, shown: str, out: Path) -> SideData | None:
    try:
        folder = resolve_run(text, out)
    except BenchError as error:
        if " fits " in str(error):
            raise
        return None
    return read_folder(folder, Side(shown, str(folder)))


def _baseline(text: str, shown: str, baselines: Path) -> SideData | None:
    path = baselines / f"{text}.jsonl"
    if "/" in text or not path.is_file():
        return None
    return read_file(path, "", Side(shown, str(path)))


# --- git ------------------------------------------------------------------------------------


def _git(text: str, shown: str, baselines: Path, suite: str) -> SideData | None:
    reference, _, name = text.partition(":")
    if _ask("rev-parse", "--verify", "--quiet", f"{reference}^{{commit}}") is None:
        return None
    folder = _inside(baselines)
    listed = _ask("ls-tree", "--name-only", "--full-tree", reference, f"{folder}/") or ""
    files = [line for line in listed.splitlines() if line.endswith(".jsonl")]
    by_name = {Path(file).stem: file for file in files}
    if not files:
        raise BenchError(
            f"{shown}: no baselines in {folder} at {reference}", hint="see `bench baseline save`"
        )
    chosen = name or (suite if suite in by_name else "")
    if not chosen and len(files) == 1:
        chosen = next(iter(by_name))
    if chosen not in by_name:
        raise BenchError(
            f"{shown}: {len(files)} baselines at {reference}: {', '.join(by_name)}",
            hint=f"name one: {reference}:{next(iter(by_name))}",
        )
    content = _ask("show", f"{reference}:{by_name[chosen]}") or ""
    place = f"{reference}:{by_name[chosen]}"
    lines = content.splitlines()
    if not lines or not is_baseline(lines[0]):
        return _records(content, place, Side(shown, place))
    return parse_baseline(lines, place, Side(shown, place))


def _records(content: str, place: str, side: Side) -> SideData:
    """Records that were committed as they are."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="haplobench-") as folder:
        path = Path(folder) / Path(place).name
        path.write_text(content, encoding="utf-8")
        try:
            data = gather(read_run(path), side)
        except FormatError as error:
            raise FormatError(str(error).replace(str(path), place)) from None
    define_installed(data)
    return data


def _inside(baselines: Path) -> str:
    """The folder of baselines, from the top of the working tree."""
    top = _ask("rev-parse", "--show-toplevel")
    if top is None:
        return baselines.as_posix()
    try:
        return baselines.resolve().relative_to(Path(top.strip()).resolve()).as_posix()
    except ValueError:
        return baselines.as_posix()


def _ask(*arguments: str) -> str | None:
    """What git answers in the current folder; None where it fails or isn't there."""
    command: Sequence[str] = ("git", *arguments)
    try:
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None
