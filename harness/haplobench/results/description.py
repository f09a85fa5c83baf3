"""What run.json may hold: the types that its readers rest on, since it may be somebody else's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from haplobench.errors import FormatError
from haplobench.marked_yaml import key_text
from haplobench.validation import explain

Numbers = dict[str, int | float]


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class _GPU(_Part):
    name: str | None = None
    memory: float | None = None
    driver: str | None = None


class _Hardware(_Part):
    cpu: str | None = None
    cores: int | None = None
    memory: float | None = None
    gpus: list[_GPU] | None = None
    system: str | None = None
    fingerprint: str | None = None


class _Git(_Part):
    sha: str | None = None
    dirty: bool | None = None


class _Plugin(_Part):
    version: str | None = None
    distribution: str | None = None
    summary: str | None = None
    citations: list[str] | None = None


class _Evidence(_Part):
    kind: str
    told: bool
    pairs: int
    chance: float | None


class _Relatives(_Part):
    setting: str
    declared: int
    families: int
    people: int
    across: int
    reason: str
    evidence: list[_Evidence]


class _Dataset(_Plugin):
    name: str | None = None
    digest: str | None = None
    contig: str | None = None
    build: str | None = None
    start: int | None = None
    end: int | None = None
    ploidy: int | None = None
    phased: bool | None = None
    n_sites: int | None = None
    n_train_haplotypes: int | None = None
    n_holdout_haplotypes: int | None = None
    n_validation_haplotypes: int | None = None
    populations: Numbers | None = None
    superpopulations: Numbers | None = None
    min_maf: float | None = None
    relatives: _Relatives | None = None
    one_sided: Numbers | None = None
    skipped: Numbers | None = None
    provenance: dict[str, Any] | None = None


class _Generator(_Plugin):
    name: str | None = None
    role: str | None = None
    params: dict[str, Any] | None = None
    control: str | None = None
    site_matched: bool | None = None
    conditional: bool | None = None
    missing: list[str] | None = None


class _Submetric(_Part):
    name: str
    title: str | None = None
    definition: str | None = None
    unit: str | None = None
    direction: str | None = None
    ideal: float | None = None
    min_effect: float | None = None
    headline: bool | None = None


class _Figure(_Part):
    name: str
    title: str | None = None
    caption: str | None = None
    target: str | None = None


class _Metric(_Plugin):
    family: str | None = None
    floor: str | None = None
    submetrics: list[_Submetric] | None = None
    figures: list[_Figure] | None = None


class _Claim(_Part):
    dataset: str
    generator: str
    seed: int | None = None
    world_size: int | None = None
    epsilon: float | None = None
    delta: float | None = None


class _Description(_Part):
    run_id: str | None = None
    suite: str | None = None
    title: str | None = None
    suite_digest: str | None = None
    state: str | None = None
    status: str | None = None
    started: str | None = None
    finished: str | None = None
    command: str | None = None
    lock_digest: str | None = None
    versions: dict[str, str] | None = None
    hardware: _Hardware | None = None
    git: _Git | None = None
    datasets: dict[str, _Dataset] | None = None
    generators: dict[str, _Generator] | None = None
    metrics: dict[str, _Metric] | None = None
    claims: list[_Claim] | None = None
    failed: list[str] | None = None
    seeds: list[int] | None = None
    draws: int | None = None
    floor_draws: int | None = None
    jobs: int | None = None
    threads: int | None = None
    fresh: bool | None = None


def check_description(value: object, path: Path) -> dict[str, Any]:
    """A run.json's value as it is, if every key that readers know has the type they expect.

    Raises FormatError, naming file and key, where one hasn't.
    """
    if not isinstance(value, dict):
        raise FormatError(f"{path}: expected an object, found {type(value).__name__}")
    try:
        _Description.model_validate(value)
    except ValidationError as error:
        key, message = explain(error, _Description)[0]
        raise FormatError(f"{path}: {key_text(key)}: {message}") from None
    return value
