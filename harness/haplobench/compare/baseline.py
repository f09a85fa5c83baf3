"""Baselines: one run's numbers in a small, sorted text file that is committed and diffed.

A baseline is JSONL. The first line says whose run it is, the next ones what was run (datasets,
generators) and what each number means; then one line per number of a generator, with all seeds'
values, so that a change of one number is a change of one line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from haplobench.compare.model import Cohort, Key, Number, Side, SideData
from haplobench.errors import FormatError
from haplobench.files import parse_json
from haplobench.results.description import SubmetricInfo, check_baseline_line
from haplobench.results.records import check_schema, current_name
from haplobench.units import counted

SCHEMA = 1
DIGITS = 6
"""Significant digits of a stored value."""
FOLDER = Path("results/baselines")

_DEFINED = ("title", "unit", "direction", "ideal", "min_effect", "headline", "family")
_SIDE = ("suite", "run_id", "git_sha", "git_dirty", "hardware", "machine", "started")


def render_baseline(data: SideData, name: str) -> str:
    """The text of a baseline; numbers for information only are left out."""
    side = data.side
    head: dict[str, Any] = {"baseline": name, "schema": SCHEMA}
    head |= {key: getattr(side, key) for key in _SIDE}
    head["seeds"] = list(side.seeds)
    if data.settings:
        head["compare"] = dict(data.settings)
    lines: list[Mapping[str, Any]] = [head]
    lines += [{"dataset": k, "digest": v} for k, v in sorted(data.datasets.items())]
    for (dataset, generator), cohort in sorted(data.cohorts.items()):
        lines.append(
            {
                "dataset": dataset,
                "generator": generator,
                "role": cohort.role,
                "plugin": cohort.generator,
                "params": cohort.params,
                "world_size": cohort.world_size,
                "hardware": sorted(cohort.hardware),
                "cells": {str(seed): cell for seed, cell in sorted(cohort.cells.items())},
                **({"unrepeatable": cohort.unrepeatable} if cohort.unrepeatable else {}),
            }
        )
    kept = {
        key: number
        for key, number in data.numbers.items()
        if number.values
        and (known := data.submetric(key)) is not None
        and known.direction != "info"
    }
    lines += _numbers(data, kept)
    for (dataset, generator, metric), seeds in sorted(data.failures.items()):
        failed = {str(seed): reason for seed, reason in sorted(seeds.items())}
        lines.append(
            {"dataset": dataset, "generator": generator, "metric": metric, "failed": failed}
        )
    for key in sorted(kept, key=_order):
        line: dict[str, Any] = {
            "dataset": key.dataset,
            "generator": key.generator,
            "metric": key.metric,
            "submetric": key.submetric,
        }
        if key.labels:
            line["labels"] = dict(key.labels)
        line["values"] = {
            str(seed): [rounded(draws[draw]) for draw in sorted(draws)]
            for seed, draws in sorted(kept[key].values.items())
        }
        lines.append(line)
    return "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines)


def lacking(kept: SideData, new: SideData) -> list[str]:
    """What a baseline holds and a run lacks, in words: datasets, generators, metrics, seeds."""
    gone = [place for place in kept.cohorts if place not in new.cohorts]
    datasets = list(dict.fromkeys(dataset for dataset, _ in kept.cohorts))
    whole = [
        name for name in datasets if all((name, g) in gone for d, g in kept.cohorts if d == name)
    ]
    found = [f"dataset {name}" for name in whole]
    found += [f"generator {place[1]} on {place[0]}" for place in gone if place[0] not in whole]
    had, has = (
        list(dict.fromkeys(key.metric for key, number in side.numbers.items() if number.values))
        for side in (kept, new)
    )
    found += [f"metric {name}" for name in had if name not in has]
    for place, cohort in kept.cohorts.items():
        fewer = len(new.cohorts[place].cells) if place in new.cohorts else len(cohort.cells)
        if fewer < len(cohort.cells):
            lost = counted(len(cohort.cells) - fewer, "seed")
            found.append(f"{lost} of {place[1]} on {place[0]}")
    return found


def _numbers(data: SideData, kept: Mapping[Key, Number]) -> list[Mapping[str, Any]]:
    """A line for each metric's number: what it means, and by which version it was data."""
    found = {}
    for key, number in kept.items():
        definition = data.submetric(key)
        line = {"metric": key.metric, "submetric": key.submetric, "version": number.version}
        line |= {name: getattr(definition, name) for name in _DEFINED}
        found[key.metric, key.submetric] = line
    return [found[key] for key in sorted(found)]


def _order(key: Key) -> tuple[Any, ...]:
    return (key.dataset, key.generator, key.metric, key.submetric, key.labels)


def rounded(value: float) -> float | int:
    """A value to `DIGITS` significant digits; a whole number without its point."""
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def is_baseline(first_line: bytes | str) -> bool:
    """Whether a file that begins with this line is a baseline (and not records)."""
    try:
        row = parse_json(first_line)
    except ValueError:
        return False
    return isinstance(row, dict) and "baseline" in row


def parse_baseline(lines: Iterable[str], place: str, side: Side) -> SideData:
    """Read a baseline's lines.

    Raises FormatError, naming place and line, on what is no baseline or a newer program's.
    """
    data = SideData(side)
    versions: dict[tuple[str, str], Mapping[str, Any]] = {}
    for at, line in enumerate(lines, 1):
        try:
            row = check_baseline_line(parse_json(line), f"{place}:{at}")
            if "submetric" in row:
                row = {**row, "submetric": current_name(row["metric"], row["submetric"])}
            if at == 1:
                schema = row.get("schema") if isinstance(row, dict) else None
                check_schema(schema, f"{place}:{at}", SCHEMA)
                data.side = _side(side, row)
                data.settings = row.get("compare")
            elif "digest" in row:
                data.datasets[row["dataset"]] = row["digest"]
            elif "cells" in row:
                data.cohorts[row["dataset"], row["generator"]] = Cohort(
                    role=row["role"],
                    generator=row["plugin"],
                    params=row["params"],
                    world_size=row["world_size"],
                    cells={int(seed): cell for seed, cell in row["cells"].items()},
                    hardware=set(row["hardware"]),
                    unrepeatable=str(row.get("unrepeatable") or ""),
                )
            elif "version" in row:
                versions[row["metric"], row["submetric"]] = row
            elif "failed" in row:
                data.failures[row["dataset"], row["generator"], row["metric"]] = {
                    int(seed): reason for seed, reason in row["failed"].items()
                }
            else:
                key, number = _number(row, versions)
                data.numbers[key] = number
        except FormatError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FormatError(
                f"{place}:{at}: not a line of a baseline: {type(error).__name__}: {error}"
            ) from None
    data.definitions = {
        key: SubmetricInfo(key[1], **{name: row[name] for name in _DEFINED if name in row})
        for key, row in versions.items()
    }
    return data


def _side(side: Side, row: Mapping[str, Any]) -> Side:
    known = {name: row[name] for name in _SIDE if name in row}
    return replace(side, **known, seeds=tuple(row.get("seeds") or ()))


def _number(
    row: Mapping[str, Any], versions: Mapping[tuple[str, str], Mapping[str, Any]]
) -> tuple[Key, Number]:
    known = versions[row["metric"], row["submetric"]]
    labels = tuple(sorted((row.get("labels") or {}).items()))
    key = Key(row["dataset"], row["generator"], row["metric"], row["submetric"], labels)
    values = {
        int(seed): {draw: float(value) for draw, value in enumerate(draws)}
        for seed, draws in row["values"].items()
    }
    number = Number(
        version=known["version"],
        family=known["family"],
        unit=known["unit"],
        direction=known["direction"],
        values=values,
    )
    return key, number
