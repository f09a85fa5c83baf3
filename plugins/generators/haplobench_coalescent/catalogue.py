"""`stdpopsim`: published demographies of its catalogue, population by population."""

from __future__ import annotations

import logging
import shutil
import subprocess
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import stdpopsim
import tskit
from numpy.typing import NDArray

from haplobench import Panel, PluginError, RunContext, SampleRequest
from haplobench.data.formats.sites import Cohort, Variants
from haplobench.data.panel import synthetic_names
from haplobench.files import near_names
from haplobench_coalescent import SLIM, StdpopsimParams
from haplobench_coalescent.simulation import (
    Region,
    mutate,
    region_of,
    seed_of,
    simulate,
)

_NAME = "stdpopsim"
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


class Catalogue:
    """Simulates what is published about the people's history; the panel gives only the region."""

    def fit(self, train: Panel, params: StdpopsimParams, ctx: RunContext) -> FittedCatalogue:
        """Look the demography up, and match its populations with the panel's labels.

        Raises PluginError for an unknown species, model or population, and where SLiM is the
        engine and isn't there.
        """
        if params.engine == "slim":
            _slim()
        demography = _demography(params)
        contig = stdpopsim.get_species(params.species).get_contig(length=train.span)
        rate = params.mutation_rate or demography.mutation_rate or contig.mutation_rate
        cm_per_mb = contig.recombination_map.mean_rate * 1e8
        fitted = FittedCatalogue(
            region=region_of(train, ctx, name=_NAME, cm_per_mb=cm_per_mb),
            params=params,
            mutation_rate=float(rate),
            people=People.of(train),
        )
        fitted.match(list(fitted.people.counts) or [params.population], ctx.log)
        return fitted

    def load(self, directory: Path, ctx: RunContext) -> FittedCatalogue:
        """Read what `save` wrote."""
        region, facts = Region.load(directory, _NAME)
        return FittedCatalogue(
            region=region,
            params=StdpopsimParams(**facts["params"]),
            mutation_rate=facts["mutation_rate"],
            people=People(**facts["people"]),
        )


@dataclass(frozen=True, eq=False)
class FittedCatalogue:
    """A region to simulate under a demography of the catalogue.

    `mutation_rate` is per bp and generation; `params` as given.
    """

    region: Region
    params: StdpopsimParams
    mutation_rate: float
    people: People

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[Panel]:
        """Yield one panel, labelled as `request.populations` asks.

        Without populations asked for: in the training people's proportions. People without
        a label are of `params.population`, and stay without one.
        """
        yield self.variants(request, ctx).panel()

    def variants(self, request: SampleRequest, ctx: RunContext) -> Variants:
        """The same, its alleles decoded by blocks of sites."""
        ploidy = self.region.ploidy
        n_people = -(-request.n_haplotypes // ploidy)
        if request.populations is None:
            labels = self.people.proportional(n_people)
        else:
            labels = request.populations[::ploidy]
        distinct, which = np.unique(labels, return_inverse=True)
        matched = self.match([name or self.params.population for name in distinct.tolist()])
        above = self.people.superpopulations
        groups = [above.get(label) or SUPERPOPULATIONS.get(label, "") for label in labels.tolist()]
        cohort = Cohort(synthetic_names(n_people), labels, np.array(groups, np.str_), ploidy)
        demes = np.array(matched)[which]
        if self.params.engine == "slim":
            ancestry = self._forward(demes, seed_of(ctx, "ancestry", request.start), ctx.log)
            return mutate(
                *(ancestry, self.region, cohort, demes, self.mutation_rate, ctx),
                start=request.start,
            )
        return simulate(
            self.region,
            cohort,
            demes,
            _demography(self.params).model,
            self.mutation_rate,
            ctx,
            start=request.start,
            ploidy=stdpopsim.get_species(self.params.species).ploidy,
        )

    def _forward(
        self, demes: NDArray[np.str_], seed: int, log: logging.Logger
    ) -> tskit.TreeSequence:
        """Ancestry by SLiM, without mutations; its samples as `mutate` takes them.

        Raises PluginError where the program isn't SLiM, or fails.
        """
        demography, program = _demography(self.params), _slim()
        ploidy = stdpopsim.get_species(self.params.species).ploidy
        names, counts = np.unique(demes, return_counts=True)
        haplotypes = dict(zip(names.tolist(), (counts * self.region.ploidy).tolist(), strict=True))
        contig = stdpopsim.Contig(
            recombination_map=self.region.rate_map(),
            mutation_rate=self.mutation_rate,
            ploidy=ploidy,
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            try:
                trees = stdpopsim.get_engine("slim").simulate(
                    demography,
                    contig,
                    {name: -(-n // ploidy) for name, n in haplotypes.items()},
                    seed=seed,
                    slim_path=program,
                    slim_scaling_factor=self.params.scaling_factor,
                    slim_burn_in=self.params.burn_in,
                    keep_mutation_ids_as_alleles=True,
                )
            except stdpopsim.SLiMException as error:
                raise PluginError(f"generator {_NAME}: {_complaint(str(error))}") from None
            except (OSError, tskit.FileFormatError) as error:
                raise PluginError(
                    f"generator {_NAME}: {program} wrote no tree sequence: {error}"
                ) from None
        for text in dict.fromkeys(str(warning.message) for warning in caught):
            log.warning("%s: %s", _NAME, text)
        number = {population.name: i for i, population in enumerate(demography.populations)}
        # Of a person of another ploidy than the panel's, haplotypes are as good as strangers'.
        nodes = [trees.samples(population=number[name])[:n] for name, n in haplotypes.items()]
        bare: tskit.TreeSequence = trees.delete_sites(range(trees.num_sites))
        return bare.simplify(np.concatenate(nodes))

    def match(self, labels: list[str], log: logging.Logger | None = None) -> list[str]:
        """Model population of each label; PluginError if one has none.

        Tells `log` of each that only stands in.
        """
        model = self.params.model
        populations = present_day(_demography(self.params))
        choices = [
            match_population(
                label,
                self.people.superpopulations.get(label, ""),
                model=model,
                populations=populations,
                overrides=self.params.populations,
            )
            for label in labels
        ]
        stand_ins: dict[str, list[str]] = {}
        for label, choice in zip(labels, choices, strict=True):
            if choice.nearest:
                stand_ins.setdefault(choice.population, []).append(label)
        for population, missing in stand_ins.items():
            if log:
                log.warning(
                    "%s: model %s has no population for %s: %s stands in (nearest)",
                    _NAME,
                    model,
                    ", ".join(missing),
                    population,
                )
        return [choice.population for choice in choices]

    def save(self, directory: Path) -> None:
        """Write the parameters and the map."""
        self.region.save(
            directory,
            _NAME,
            params=self.params.model_dump(),
            mutation_rate=self.mutation_rate,
            people=asdict(self.people),
        )


@dataclass(frozen=True)
class People:
    """Labels of the training people: how many have each, and each one's superpopulation.

    Both are empty where the panel has no labels.
    """

    counts: Mapping[str, int]
    superpopulations: Mapping[str, str]

    @classmethod
    def of(cls, train: Panel) -> People:
        """Count the labels of `train`."""
        if not train.labelled:
            return cls({}, {})
        labels, counts = np.unique(train.population, return_counts=True)
        above = dict(zip(train.population.tolist(), train.superpopulation.tolist(), strict=True))
        return cls(dict(zip(labels.tolist(), counts.tolist(), strict=True)), above)

    def proportional(self, n: int) -> NDArray[np.str_]:
        """Labels of n people in the training people's proportions; empty ones without labels."""
        labels = np.array(list(self.counts) or [""])
        ends = np.cumsum(list(self.counts.values()) or [1])
        at = (np.arange(n) + 0.5) / max(1, n) * ends[-1]
        spread: NDArray[np.str_] = labels[np.searchsorted(ends, at, side="right")]
        return spread


@dataclass(frozen=True)
class Match:
    """A population of the model; `nearest` says of whom, where it only stands in."""

    population: str
    nearest: str = ""


def match_population(
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

    `label`, `superpopulation`: as in the panel; `superpopulation` may be empty.
    `model`: its identifier, for messages.
    `populations`: the model's present-day populations.
    `overrides`: label to model population.

    Raises PluginError that lists the model's populations, if nothing fits.
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


def present_day(demography: stdpopsim.DemographicModel) -> list[str]:
    """Names of the model's populations that can be sampled today."""
    return [
        population.name
        for population in demography.populations
        if population.allow_samples and population.default_sampling_time == 0
    ]


def _slim() -> str:
    """Path of the program; PluginError where there is none, or another of that name."""
    program = shutil.which(SLIM.name)
    if program is None:
        raise PluginError(f"generator {_NAME}: engine slim needs {SLIM.missing()}")
    try:
        version = stdpopsim.get_engine("slim").get_version(program)
        recent = int(version.split(".")[0]) >= 4
    except (OSError, subprocess.CalledProcessError, ValueError, IndexError):
        version, recent = "none", False
    if not recent:
        raise PluginError(
            f"generator {_NAME}: {program} -v tells version {version}, expected SLiM's, 4 or later",
            hint="Debian's package slim is a login manager of the same name",
        )
    return program


def _complaint(text: str) -> str:
    """The engine's line, and the program's own, which points into its script after it."""
    first, *lines = [line.strip() for line in text.splitlines() if line.strip()]
    last = lines[-1] if lines else "it said nothing"
    return f"{first.rstrip('.')}: {next((s for s in lines if s.startswith('ERROR')), last)}"


def _demography(params: StdpopsimParams) -> stdpopsim.DemographicModel:
    """The model; PluginError with near names if species, model or populations aren't there."""
    species_id = find_name("species", params.species, [s.id for s in stdpopsim.all_species()])
    species = stdpopsim.get_species(species_id)
    model_id = find_name("model", params.model, [m.id for m in species.demographic_models])
    demography = species.get_demographic_model(model_id)
    if not present_day(demography):
        raise PluginError(f"generator stdpopsim: model {model_id} has no present-day population")
    return demography


def find_name(kind: str, name: str, known: Sequence[str]) -> str:
    """`name` if it is among `known`; else PluginError with near names."""
    if name in known:
        return name
    hint = near_names(name, known, lead="") or f"there are {', '.join(known)}"
    raise PluginError(f"generator stdpopsim: no {kind} is named {name!r}", hint=hint)
