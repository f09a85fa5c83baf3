"""What a run rests on, known before it starts: datasets, code, plugins and hardware, as keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from haplobench.errors import BenchError, SuiteError
from haplobench.plugin import GeneratorSpec, MetricSpec
from haplobench.registry import Registry, resolve
from haplobench.resolved_suite import DatasetEntry, Suite, digest_of
from haplobench.results.provenance import Provenance
from haplobench.runner import code
from haplobench.runner.plan import Keys
from haplobench.runner.recording import Failure


@dataclass
class DatasetStage:
    """A prepared dataset in the store; `failure` in its place if the plugin broke."""

    entry: DatasetEntry
    key: str
    folder: Path
    facts: dict[str, Any] = field(default_factory=dict)
    failure: Failure | None = None


def hardware_of(suite: Suite, origin: Provenance) -> str:
    """What stages run on: this machine, or what is asked of the cluster that it submits to."""
    if suite.executor.name == "local":
        return origin.fingerprint
    asked = suite.executor
    return f"{origin.fingerprint} {asked.partition} {asked.constraint} {asked.gpus_per_node}"


def plugin_modules(registry: Registry) -> tuple[str, ...]:
    """Modules of all plugins that a registry holds."""
    return tuple(sorted({source.module for source in registry.sources.values()}))


def dataset_stages(suite: Suite, registry: Registry, keys: Keys) -> list[DatasetStage]:
    """Datasets with the keys of their prepare stage; all that can't be found at once."""
    found = []
    problems = []
    for entry in suite.datasets:
        spec = registry.dataset(entry.name)
        try:
            dataset = resolve(spec.target)()
            fingerprint = str(dataset.fingerprint(spec.params.model_validate(entry.params)))
        except BenchError as error:
            problems.append(f"dataset {entry.label}: {error}")
            continue
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            problems.append(f"dataset {entry.label}: {where}{error.strerror or error}")
            continue
        except Exception as error:  # a plugin is someone else's code
            problems.append(
                f"dataset {entry.label}: its fingerprint can't be taken: "
                f"{type(error).__name__}: {error}"
            )
            continue
        found.append(DatasetStage(entry, keys.prepare(spec, entry, fingerprint), Path()))
    if problems:
        raise SuiteError(problems)
    return found


def state_of(suite: Suite, registry: Registry, keys: Keys, prepare: Sequence[str]) -> str:
    """Digest of everything that a run's records rest on: a run is resumed only where it's equal."""
    specs: list[GeneratorSpec | MetricSpec] = [
        registry.generator(entry.name) for entry in suite.generators
    ]
    specs += [registry.metric(entry.name) for entry in suite.metrics]
    missing = [entry.missing for entry in suite.generators]
    missing += [entry.missing for entry in suite.metrics]
    return digest_of(
        {
            "suite": suite.digest,
            "prepare": list(prepare),
            "code": [
                [spec.name, spec.version, code.plugin_code(spec.target, keys.plugins).digest]
                for spec in specs
            ],
            "harness": code.harness_code(
                *(f"haplobench.runner.stage_{stage}" for stage in ("fit", "sample", "measure")),
                "haplobench.runner.context",
            ).digest,
            "missing": missing,
            "hardware": keys.hardware,
        }
    )
