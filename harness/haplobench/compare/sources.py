"""Finding a side of a comparison: a folder, a file, a suite's run, a baseline, a git reference."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from haplobench.compare.baseline import FOLDER, is_baseline, parse_baseline
from haplobench.compare.measured import Measured, define, gather
from haplobench.compare.model import Side
from haplobench.errors import BenchError, FormatError, SuiteError
from haplobench.files import near_names, parse_json
from haplobench.results.records import check_record, check_schema, current_name
from haplobench.results.run_folder import RECORDS, resolve_run

_RUN = re.compile(rb'"run_id": ?"((?:[^"\\]|\\.)*)"')


def runs_in(stream: BinaryIO) -> dict[str, list[tuple[int, int]]]:
    """Ids of the runs in a file of records, in their order, with the byte ranges they lie in.

    Looks for the key alone and parses nothing: some hundreds of MB a second.
    """
    found: dict[bytes, list[tuple[int, int]]] = {}
    start = 0
    marker, last = b"", b""
    spans: list[tuple[int, int]] = []
    for line in stream:
        end = start + len(line)
        # Neighbouring lines nearly always belong to the same run: then one look is enough.
        if not (marker and line.startswith(marker)):
            match = _RUN.search(line)
            if match is None:
                start = end
                continue
            last = match[1]
            # Only at a line's beginning is the text sure to be the key and not part of a value.
            marker = line[: match.end()] if match.start() == 1 else b""
            spans = found.setdefault(last, [])
        if spans and spans[-1][1] == start:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
        start = end
    named = {}
    for name, value in found.items():
        with contextlib.suppress(ValueError):  # torn, or no text at all
            named[str(parse_json(b'"' + name + b'"'))] = value
    return named


def read_run(path: Path, run: str, side: Side) -> Measured:
    """Read one run of a file of records.

    Parameters
    ----------
    path : Path
    run : str
        A run's id or its beginning, `-2` for the last but one, or empty for the newest.
    side : Side
        What is known already; the rest is filled in from the records.

    Raises
    ------
    BenchError
        If the file holds no such run.
    FormatError
        If a line is JSON but no record, or its schema is newer than this program's.
    """
    with path.open("rb") as stream:
        found = runs_in(stream)
        name = _choose(list(found), run, path)
        rows = _rows(_lines(stream, found[name]), str(path))
        return gather(rows, side)


def _choose(names: list[str], run: str, path: Path) -> str:
    if not names:
        raise BenchError(f"{path}: no records")
    # Ids begin with the time of their start.
    names = sorted(names)
    if not run:
        return names[-1]
    if re.fullmatch(r"-\d+", run) and 1 <= -int(run) <= len(names):
        return names[int(run)]
    fitting = [name for name in names if name == run] or [n for n in names if n.startswith(run)]
    if len(fitting) != 1:
        listed = ", ".join(fitting[:5] or names[-5:])
        raise BenchError(
            f"{path}: {run!r} fits {len(fitting)} of {len(names)} runs", hint=f"runs: {listed}"
        )
    return fitting[0]


def _lines(stream: BinaryIO, spans: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    for start, end in spans:
        stream.seek(start)
        while stream.tell() < end:
            yield stream.readline()


def _rows(lines: Iterable[bytes], place: str) -> Iterator[Mapping[str, Any]]:
    for line in lines:
        try:
            row = parse_json(line)
        except ValueError:
            continue  # torn by a killed writer
        check_schema(row.get("schema") if isinstance(row, dict) else None, place)
        check_record(row, place)
        try:
            row["dataset"], row["generator"], row["seed"]
        except KeyError as error:
            raise FormatError(f"{place}: not a whole record: no {error}") from None
        row["submetric"] = current_name(row.get("metric", ""), row.get("submetric", ""))
        yield row


def read_folder(folder: Path, side: Side) -> Measured:
    """Read a run folder: its records, what its metrics mean, its suite's `compare`."""
    from haplobench.results.run_folder import RunFolder
    from haplobench.suite.source import read_marked

    run = RunFolder(folder)
    if not run.records_path.is_file():
        raise BenchError(f"{folder}: no records.jsonl", hint="see `bench run`")
    measured = read_run(run.records_path, "", side)
    describe(measured, run.info())
    try:
        tree = read_marked(folder / "suite.yaml", str(folder / "suite.yaml"))
    except SuiteError:
        return measured
    settings = tree.root.get("compare")
    measured.settings = settings if isinstance(settings, dict) else None
    return measured


def describe(measured: Measured, info: Mapping[str, Any]) -> None:
    """Add what a run.json says: definitions of the metrics, what can't repeat, the machine."""
    measured.definitions = define(info.get("metrics") or {})
    generators = info.get("generators") or {}
    for (_, label), cohort in measured.cohorts.items():
        plain = label.removesuffix(f" ({cohort.world_size} ranks)")
        cohort.unrepeatable = str((generators.get(plain) or {}).get("unrepeatable") or "")
    status = info.get("status") or "complete"
    measured.side = replace(measured.side, complete=status == "complete")
    hardware = info.get("hardware") or {}
    if hardware.get("cpu"):
        gpus = "".join(f", {gpu.get('name')}" for gpu in hardware.get("gpus") or ())
        machine = f"{hardware['cpu']}, {hardware.get('cores')} cores{gpus}"
        measured.side = replace(measured.side, machine=measured.side.machine or machine)


_LONGEST = 64 << 20
KINDS = ("run", "baseline", "git")


def open_side(
    text: str,
    *,
    out: Path = Path("results"),
    baselines: Path = FOLDER,
    suite: str = "",
    prefer: str = "baseline",
) -> Measured:
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
    kind, _, rest = text.partition(":")
    if kind in KINDS and rest:
        found = _OPENERS[kind](rest, text, out, baselines, suite)
        if found is None:
            raise BenchError(f"{text}: there is no such {kind}", hint=_hint(rest, out, baselines))
        return found
    found = _path(text)
    if found is not None:
        return found
    order = ["run", "baseline", "git"] if prefer == "run" else ["baseline", "run", "git"]
    for kind in order:
        found = _OPENERS[kind](text, text, out, baselines, suite)
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


def _path(text: str) -> Measured | None:
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


def read_file(path: Path, run: str, side: Side) -> Measured:
    """Read a baseline, or one run of a file of records (see `read_run`).

    What a file of records doesn't say of its metrics is taken from a run.json beside it or, if
    there is none, from the metrics that are installed.
    """
    with path.open("rb") as stream:
        first = stream.readline(_LONGEST)
    if is_baseline(first):
        with path.open(encoding="utf-8", errors="replace") as lines:
            return parse_baseline(lines, str(path), side)
    measured = read_run(path, run, side)
    if path.name == RECORDS and (path.parent / "run.json").is_file():
        from haplobench.results.run_folder import RunFolder

        describe(measured, RunFolder(path.parent).info())
    else:
        define_installed(measured)
    return measured


def define_installed(measured: Measured) -> None:
    """Take the definitions of the numbers from the metrics that are installed."""
    from dataclasses import asdict

    from haplobench.registry import load_registry

    entries = {
        name: {"family": spec.family, "submetrics": [asdict(item) for item in spec.submetrics]}
        for name, spec in load_registry().metrics.items()
    }
    measured.definitions = define(entries)


# --- names ----------------------------------------------------------------------------------


def _run(text: str, shown: str, out: Path, baselines: Path, suite: str) -> Measured | None:
    name, _, run = text.rpartition("@")
    if name:
        return _run_of_suite(name, run, shown, out)
    try:
        folder = resolve_run(text, out)
    except BenchError as error:
        if "fits" in str(error):
            raise
        return None
    return read_folder(folder, Side(shown, str(folder)))


def _run_of_suite(suite: str, run: str, shown: str, out: Path) -> Measured | None:
    if not (out / suite).is_dir():
        return None
    folders = sorted(path for path in (out / suite).iterdir() if (path / RECORDS).is_file())
    if run.startswith("-") and run[1:].isdigit() and 1 <= int(run[1:]) <= len(folders):
        return read_folder(folders[int(run)], Side(shown, str(folders[int(run)])))
    fitting = [path for path in folders if path.name.startswith(run)] if run else folders[-1:]
    if len(fitting) == 1:
        return read_folder(fitting[0], Side(shown, str(fitting[0])))
    listed = ", ".join(path.name for path in (fitting or folders)[-5:])
    raise BenchError(
        f"{shown}: {run!r} fits {len(fitting)} of {len(folders)} runs of {suite}",
        hint=f"runs: {listed}",
    )


def _baseline(text: str, shown: str, out: Path, baselines: Path, suite: str) -> Measured | None:
    path = baselines / f"{text}.jsonl"
    if "/" in text or not path.is_file():
        return None
    return read_file(path, "", Side(shown, str(path)))


# --- git ------------------------------------------------------------------------------------


def _git(text: str, shown: str, out: Path, baselines: Path, suite: str) -> Measured | None:
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


def _records(content: str, place: str, side: Side) -> Measured:
    """Records that were committed as they are."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="haplobench-") as folder:
        path = Path(folder) / Path(place).name
        path.write_text(content, encoding="utf-8")
        try:
            measured = read_run(path, "", side)
        except FormatError as error:
            raise FormatError(str(error).replace(str(path), place)) from None
    define_installed(measured)
    return measured


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


_OPENERS = {"run": _run, "baseline": _baseline, "git": _git}
