"""Generators that reach for what isn't theirs, all of it below temporary folders.

Each says in its artifacts what it got hold of, and then goes on as an honest one would.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import haplobench
from haplobench import GeneratorSpec, Params, hookimpl

NOTE = "haplobench-test-note"


class IntruderParams(Params):
    how: list[str] = []  # noqa: RUF012
    where: str = "fit"
    forged: str = ""


def toy(name: str) -> Path:
    """A file beside the toy plugins."""
    import toy_datasets

    return Path(toy_datasets.__file__).with_name(name)


def store(ctx: Any) -> Path:
    return Path(ctx.artifacts).parents[2].parent


def got(ctx: Any, text: str) -> None:
    with (Path(ctx.artifacts) / "got.txt").open("a") as file:
        file.write(f"{text}\n")


def read(ctx: Any, whose: str, pattern: str) -> None:
    found = [np.load(path).size for path in sorted(store(ctx).glob(pattern))]
    got(ctx, f"{whose}: {len([size for size in found if size])} panels")


def read_source(ctx: Any) -> None:
    try:
        got(ctx, f"source: {toy('people.txt').read_text().count('person')} people")
    except OSError as error:
        got(ctx, f"source: {type(error).__name__}")


def spoil(paths: list[Path]) -> None:
    """Change a bit of each file, as quietly as can be."""
    for path in paths:
        times = path.stat()
        path.chmod(0o644)
        with path.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            last = file.read(1)
            file.seek(-1, os.SEEK_END)
            file.write(bytes([last[0] ^ 1]))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def records(ctx: Any) -> list[Path]:
    return sorted(store(ctx).parent.glob("*/records.jsonl"))


def append(ctx: Any) -> None:
    for path in records(ctx):
        last = json.loads(path.read_text().splitlines()[-1])
        with path.open("a") as file:
            file.write(json.dumps({**last, "replicate": 7, "value": 0.0}) + "\n")


def rewrite(ctx: Any) -> None:
    for path in records(ctx):
        path.write_text(path.read_text().replace('"value":0.', '"value":9.'))


def change_metric(ctx: Any, params: IntruderParams) -> None:
    with toy("toy_metrics.py").open("a") as file:
        file.write("\nMINE = 1\n")


def open_harness(ctx: Any) -> None:
    opened = []
    for path in (haplobench.__file__, np.__file__):
        try:
            with open(path, "r+b"):
                opened.append(path)
        except OSError:
            pass
    got(ctx, f"code: {len(opened)} files")


def plant(ctx: Any, forged: str) -> None:
    """Lay the results of another generator into the store, before it has any."""
    planted = 0
    for path in Path(forged).rglob("*.json"):
        target = store(ctx) / path.relative_to(forged)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
            planted += 1
    got(ctx, f"planted: {planted} results")


def places(ctx: Any) -> list[Path]:
    here = [Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"), store(ctx), store(ctx).parent]
    return [folder / NOTE for folder in here]


def leave(ctx: Any) -> None:
    for path in places(ctx):
        with contextlib.suppress(OSError):
            path.write_text("a note")


def collect(ctx: Any) -> None:
    found = [path for path in places(ctx) if path.exists()]
    for path in found:
        path.unlink()
    got(ctx, f"left: {len(found)} notes")


def look_around(ctx: Any) -> None:
    """Other processes: of a stage's own there are guardian and worker, and who started them."""
    others = [int(pid) for pid in os.listdir("/proc") if pid.isdigit()]
    got(ctx, f"processes: {len([pid for pid in others if pid not in (os.getpid(), os.getppid())])}")


HOLDOUT, COHORT = "prepare/*/holdout/haplotypes.npy", "sample/*/draw0/haplotypes.npy"
WAYS: dict[str, Callable[[Any, IntruderParams], None]] = {
    "read-holdout": lambda ctx, _: read(ctx, "held out", HOLDOUT),
    "read-cohort": lambda ctx, _: read(ctx, "cohorts", COHORT),
    "read-source": lambda ctx, _: read_source(ctx),
    "change-holdout": lambda ctx, _: spoil(sorted(store(ctx).glob(HOLDOUT))),
    "change-cohort": lambda ctx, _: spoil(sorted(store(ctx).glob(COHORT))),
    "append-records": lambda ctx, _: append(ctx),
    "rewrite-records": lambda ctx, _: rewrite(ctx),
    "change-metric": change_metric,
    "open-harness": lambda ctx, _: open_harness(ctx),
    "plant": lambda ctx, params: plant(ctx, params.forged),
    "leave": lambda ctx, _: leave(ctx),
    "collect": lambda ctx, _: collect(ctx),
    "look-around": lambda ctx, _: look_around(ctx),
}


def intrude(ctx: Any, params: IntruderParams) -> None:
    for how in params.how:
        WAYS[how](ctx, params)


class Fitted:
    def __init__(self, frequencies: Any, params: IntruderParams) -> None:
        self.frequencies, self.params = frequencies, params

    def save(self, directory: Path) -> None:
        (directory / "model.json").write_text(self.params.model_dump_json())
        np.save(directory / "frequencies.npy", self.frequencies)

    def sample(self, request: Any, ctx: Any) -> Any:
        if self.params.where == "sample":
            intrude(ctx, self.params)
        draws = ctx.rng("sample").random((request.n_haplotypes, self.frequencies.size))
        yield (draws < self.frequencies).astype(np.int8)


class Intruder:
    def fit(self, train: Any, params: IntruderParams, ctx: Any) -> Fitted:
        if params.where == "fit":
            intrude(ctx, params)
        return Fitted(train.frequencies, params)

    def load(self, directory: Path, ctx: Any) -> Fitted:
        params = IntruderParams.model_validate_json((directory / "model.json").read_text())
        return Fitted(np.load(directory / "frequencies.npy"), params)


@hookimpl
def haplobench_generators() -> list[GeneratorSpec]:
    target, params = "intruders:Intruder", IntruderParams
    return [
        GeneratorSpec(name="intruder", version="1", target=target, summary="Bad.", params=params)
    ]
