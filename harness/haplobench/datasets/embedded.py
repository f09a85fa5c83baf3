"""The panels in the package: parts of the 1000 Genomes Project's phase 3."""

from __future__ import annotations

import hashlib
import io
import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench.data.contigs import same_contig
from haplobench.data.formats.options import ReadOptions, Region
from haplobench.data.formats.people import choose_people
from haplobench.data.genome import RecombinationMap
from haplobench.data.labels import Label
from haplobench.data.panel import Panel
from haplobench.datasets import EmbeddedParams
from haplobench.errors import FormatError
from haplobench.plugin import LoadedDataset, RunContext

STEMS = {"chr20-eur": "1kg_p3_chr20_1-4Mb_EUR300", "chr1-all": "1kg_p3_chr1_11.70-11.84Mb"}
"""Names of the packaged files, less their endings, by panel."""
# Of a map written with six decimals nothing is lost.
_CENTIMORGAN_UNIT = 1e-6
_LEFT_OUT = "skipped"


def encode(panel: Panel, recombination_map: RecombinationMap) -> bytes:
    """A diploid panel without missing alleles, and its map, as the bytes of a compressed `.npz`.

    Bits are packed a row per site; positions and cM are kept as differences, which
    compress better. The same panel gives the same bytes (with the same zlib).
    """
    populations, population = np.unique(panel.population, return_inverse=True)
    superpopulations, superpopulation = np.unique(panel.superpopulation, return_inverse=True)
    if panel.ploidy != 2 or panel.has_missing or (np.char.str_len(panel.ref) != 1).any():
        raise FormatError("only diploid panels of single-nucleotide sites can be embedded")
    steps = np.round(recombination_map.centimorgans / _CENTIMORGAN_UNIT).astype(np.int64)
    arrays: dict[str, NDArray[Any]] = {
        "bits": np.packbits(panel.haplotypes.T.astype(np.uint8), axis=1),
        "position_steps": np.diff(panel.positions, prepend=0).astype(np.int32),
        "ref": np.frombuffer("".join(panel.ref).encode(), np.uint8),
        "alt": np.frombuffer("".join(panel.alt).encode(), np.uint8),
        "samples": panel.samples.astype("S"),
        "populations": populations.astype("S"),
        "population": population.astype(np.uint8),
        "superpopulations": superpopulations.astype("S"),
        "superpopulation": superpopulation.astype(np.uint8),
        "map_position_steps": np.diff(recombination_map.positions, prepend=0).astype(np.int32),
        "map_microcentimorgan_steps": np.diff(steps, prepend=0).astype(np.int32),
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def decode(data: bytes, *, contig: str, build: str) -> tuple[Panel, RecombinationMap]:
    """The panel and the map that `encode` packed."""
    with np.load(io.BytesIO(data)) as table:
        arrays = {name: table[name] for name in table.files}
    samples = arrays["samples"].astype(np.str_)
    bits = np.unpackbits(arrays["bits"], axis=1, count=2 * samples.size)
    panel = Panel(
        haplotypes=np.ascontiguousarray(bits.T).view(np.int8),
        positions=np.cumsum(arrays["position_steps"], dtype=np.int64),
        contig=contig,
        samples=samples,
        ref=arrays["ref"].view("S1").astype(np.str_),
        alt=arrays["alt"].view("S1").astype(np.str_),
        population=arrays["populations"].astype(np.str_)[arrays["population"]],
        superpopulation=arrays["superpopulations"].astype(np.str_)[arrays["superpopulation"]],
        build=build,
    )
    steps = np.cumsum(arrays["map_microcentimorgan_steps"], dtype=np.int64)
    recombination_map = RecombinationMap(
        np.cumsum(arrays["map_position_steps"], dtype=np.int64),
        np.asarray(steps * _CENTIMORGAN_UNIT, np.float64),
        contig,
    )
    return panel, recombination_map


class Embedded:
    """The `embedded` dataset. Needs numpy only."""

    def load(self, params: EmbeddedParams, ctx: RunContext) -> LoadedDataset:
        """Unpack a panel after verifying its checksum.

        Raises FormatError if the packaged file is damaged, or if a region or population
        isn't in it.
        """
        about = _about(params)
        name = f"{STEMS[params.panel]}.npz"
        data = _data(name)
        found = hashlib.sha256(data).hexdigest()
        if found != about["sha256"]:
            raise FormatError(
                f"{name}: SHA-256 {found[:16]}…, expected {about['sha256'][:16]}…",
                hint="the installed package is damaged: install it again",
            )
        panel, recombination_map = decode(data, contig=about["contig"], build=about["build"])
        skipped: dict[str, int] = dict(about[_LEFT_OUT])
        if params.populations:
            labels = [
                Label(*pair) for pair in zip(panel.population, panel.superpopulation, strict=True)
            ]
            options = ReadOptions(populations=params.populations)
            people = choose_people(Path(name), panel.samples.tolist(), options, labels)
            panel = panel.select_samples(people.index)
        if params.region:
            panel = _region(panel, Region.parse(params.region), name)
            recombination_map = recombination_map.region(
                int(panel.positions[0]), max(int(panel.positions[-1]), int(panel.positions[0]) + 1)
            )
        provenance = {
            key: about[key] for key in ("source", "url", "licence", "citation", "sha256", "filter")
        }
        return LoadedDataset(panel, recombination_map, skipped=skipped, provenance=provenance)

    def files(self, params: EmbeddedParams) -> list[Path]:
        """The packaged file."""
        return [
            Path(str(resources.files("haplobench.datasets")))
            / "data"
            / f"{STEMS[params.panel]}.npz"
        ]

    def fingerprint(self, params: EmbeddedParams) -> str:
        """The packaged file's checksum and the parameters."""
        return f"{_about(params)['sha256']}:{params.model_dump_json()}"


def _region(panel: Panel, region: Region, name: str) -> Panel:
    if not same_contig(region.contig, panel.contig):
        raise FormatError(f"{name}: no contig {region.contig!r}; it holds {panel.contig}")
    inside = panel.positions >= region.start
    if region.end is not None:
        inside &= panel.positions <= region.end
    if not inside.any():
        raise FormatError(
            f"{name}: no site to read in {region}; it holds "
            f"{panel.contig}:{panel.positions[0]}-{panel.positions[-1]}"
        )
    return panel.select_sites(inside)


def _data(name: str) -> bytes:
    return resources.files("haplobench.datasets").joinpath("data", name).read_bytes()


def _about(params: EmbeddedParams) -> dict[str, Any]:
    about: dict[str, Any] = json.loads(_data(f"{STEMS[params.panel]}.json"))
    return about
