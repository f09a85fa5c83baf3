"""Which population of a demography stands for a label of the panel."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from haplobench import PluginError

# The 1000 Genomes Project's populations (Nature 526, 68-74, 2015) by superpopulation.
_MEMBERS = {
    "AFR": ("ACB", "ASW", "ESN", "GWD", "LWK", "MSL", "YRI"),
    "AMR": ("CLM", "MXL", "PEL", "PUR"),
    "EAS": ("CDX", "CHB", "CHS", "JPT", "KHV"),
    "EUR": ("CEU", "FIN", "GBR", "IBS", "TSI"),
    "SAS": ("BEB", "GIH", "ITU", "PJL", "STU"),
}
SUPERPOPULATIONS = {label: group for group, labels in _MEMBERS.items() for label in labels}

# Names that the catalogue's models give to each superpopulation, best first.
_NAMES = {
    "AFR": ("YRI", "AFR", "African_Americans"),
    "AMR": ("AMR", "ADMIX"),
    "EAS": ("CHB", "EAS", "ASIA", "Han"),
    "EUR": ("CEU", "EUR"),
    "SAS": ("SAS",),
}
# Where a model has none of them, whom the group is closest to (Fst): both to Europeans.
_NEAREST = {"AMR": "EUR", "SAS": "EUR"}


@dataclass(frozen=True)
class Match:
    """A population of the model; `nearest` says of whom, where it only stands in."""

    population: str
    nearest: str = ""


def match(
    label: str,
    superpopulation: str,
    *,
    model: str,
    populations: Sequence[str],
    overrides: Mapping[str, str],
) -> Match:
    """The model population for a panel's label.

    In turn: what `overrides` say of the label or of its superpopulation; a model population
    of the same name; the model's name for the 1000 Genomes superpopulation; the only
    population, where the model has one; the nearest superpopulation's.

    Parameters
    ----------
    label, superpopulation : str
        As in the panel; `superpopulation` may be empty.
    model : str
        Its identifier, for messages.
    populations : sequence of str
        The model's present-day populations.
    overrides : mapping of str to str
        Label to model population.

    Raises
    ------
    PluginError
        That lists the model's populations, if nothing fits.
    """
    group = SUPERPOPULATIONS.get(label) or (label if label in _NAMES else superpopulation)
    for key in (label, superpopulation, group):
        if key in overrides:
            return Match(_present(overrides[key], key, model=model, populations=populations))
    if label in populations:
        return Match(label)
    for name in _NAMES.get(group, ()):
        if name in populations:
            return Match(name)
    if len(populations) == 1:
        return Match(populations[0], nearest=model)
    nearest = _NEAREST.get(group, "")
    for name in _NAMES.get(nearest, ()):
        if name in populations:
            return Match(name, nearest=nearest)
    raise PluginError(
        f"population {label!r} has no counterpart in model {model}, whose populations are "
        f"{', '.join(populations)}",
        hint=f"set populations: {{{label}: {populations[0]}}} or the like",
    )


def _present(name: str, key: str, *, model: str, populations: Sequence[str]) -> str:
    if name in populations:
        return name
    raise PluginError(
        f"populations.{key}: model {model} has no present-day population {name!r}, expected one "
        f"of {', '.join(populations)}"
    )


def find(kind: str, name: str, known: Sequence[str]) -> str:
    """`name` if it is among `known`; else PluginError with near names."""
    if name in known:
        return name
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or list(known)
    raise PluginError(
        f"generator stdpopsim: no {kind} is named {name!r}", hint=f"did you mean {', '.join(near)}?"
    )
