"""Names that parameters had in earlier builds, side by side: what each is now, in its section.

Suites and runs that say them so are still read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SECTIONS = {
    "federation": "clients partition concentration partition_file fraction round_seconds withdrawn",
    "training": "rounds local_steps sampling_rate memory_batch optimiser learning_rate schedule "
    "averaging initial model",
    "privacy": "noise honest epsilon delta noise_multiplier clipping clipping_norm "
    "clipping_quantile clipping_learning_rate accountant repeatable_noise frequencies "
    "frequencies_file frequencies_share",
    "aggregation": "strategy proximal_mu server_learning_rate secure robust",
}
OLD_NAMES = {
    "privacy": "privacy.kind",  # where it is a text: else it is the section
    "edge.compression": "aggregation.compression.kind",
    "edge.bits": "aggregation.compression.bits",
    "edge.top_share": "aggregation.compression.top_share",
    "edge.student": "training.student",
} | {name: f"{section}.{name}" for section, names in _SECTIONS.items() for name in names.split()}
"""Where each parameter that earlier builds had is now, by dotted names."""

_EXPERIMENT = "is no parameter any more: benchmarks/hostile_clients.py simulates such clients"
# By name: what runs without it may have kept, and what to say of anything else.
_GONE: dict[str, tuple[list[Any], str]] = {
    "attack": ([{}, {"kind": "none"}, {"kind": "none", "clients": 0, "factor": 5.0}], _EXPERIMENT),
    "lacking_sites": ([0], _EXPERIMENT),
    "missing_alleles": ([0], _EXPERIMENT),
    "secure_rng": (
        [],
        "is gone, as noise always comes from the operating system's entropy; leave it out, or ask "
        "for noise from the seed with privacy.repeatable_noise: true",
    ),
}
_ABSENT = object()


def sectioned(given: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters in sections; those by their old names are moved there.

    Raises ValueError for one that is given by both names, and for an experiment.
    """
    # Copies: what was given stays as it is.
    left = {key: dict(value) if isinstance(value, dict) else value for key, value in given.items()}
    for name, (harmless, why) in _GONE.items():
        if name in left and left.pop(name) not in harmless:
            raise ValueError(f"{name}: {why}")
    for old, new in OLD_NAMES.items():
        value = _taken(left, old)
        if value is not _ABSENT:
            _put(left, old, new, value)
    if left.get("edge") == {}:
        del left["edge"]
    return left


def _taken(left: dict[str, Any], old: str) -> Any:
    outer, _, inner = old.partition(".")
    held = left.get(outer)
    if inner:
        return held.pop(inner, _ABSENT) if isinstance(held, dict) else _ABSENT
    return _ABSENT if old == "privacy" and isinstance(held, dict) else left.pop(old, _ABSENT)


def _put(left: dict[str, Any], old: str, new: str, value: Any) -> None:
    *path, name = new.split(".")
    place = left
    for section in path:
        place[section] = dict(of) if isinstance(of := place.get(section, {}), dict) else of
        place = place[section]
        if not isinstance(place, dict):
            raise ValueError(f"{old}: is {new} now, and {section} isn't a section")
    if name in place:
        raise ValueError(f"{old}: is {new} now, which is given, too; expected that alone")
    place[name] = value
