"""Panels of what Python programs hold: files, arrays, xarray and sgkit datasets, tree sequences."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from haplobench.data.formats import read_panel as read_file
from haplobench.data.formats.collector import Collector
from haplobench.data.formats.options import ReadOptions
from haplobench.data.formats.people import choose_people
from haplobench.data.formats.sites import choose_contig, choose_sites
from haplobench.data.labels import LABELS_OF_DATASETS, Label
from haplobench.data.panel import MISSING, Panel
from haplobench.errors import FormatError, PanelError, UnphasedError
from haplobench.files import near_names

PanelSource: TypeAlias = Any
"""A Panel; a path; (haplotypes, positions); an xarray or sgkit dataset; a tskit tree sequence."""

Read = tuple[Panel, dict[str, int]]
_OF_A_PANEL = frozenset(item.name for item in fields(Panel)) - {"haplotypes", "left_out"}
_VCF = (".vcf", ".vcf.gz", ".vcf.bgz", ".bcf")
_NEEDED = ("variant_position", "variant_allele", "call_genotype")
_BLOCK = 1024


def read_any(
    source: PanelSource,
    settings: Mapping[str, Any] | None = None,
    *,
    scratch: Path | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Read:
    """A panel of what somebody has, and the records left out of it, counted by reason.

    Parameters
    ----------
    source : Panel, path, array, pair of arrays, xarray.Dataset or tskit.TreeSequence
        See `haplobench.read_panel`.
    settings : mapping
        Of arrays the fields of `Panel`; of all others those of `ReadOptions`.
    scratch : Path or None
        Where panels of files past 256 MiB are mapped from.
    tell : callable
        Takes a line where what has no phase is read as unphased.

    Raises
    ------
    FormatError, PanelError
        If it can't be read, or is none of these.
    """
    settings = dict(settings or {})
    if isinstance(source, Panel):
        if settings:
            raise PanelError(f"{', '.join(settings)}: a Panel is taken as it is; select from it")
        return source, dict(source.left_out)
    if isinstance(source, (tuple, np.ndarray)):
        return _array_panel(source, settings), {}
    if isinstance(source, (str, Path)):
        return _read_file(Path(source), settings_of(ReadOptions, settings), scratch, tell)
    trees = hasattr(source, "tables") and hasattr(source, "variants")
    if not trees and not hasattr(source, "data_vars"):
        raise PanelError(
            f"a panel of {type(source).__name__}: expected a Panel, a path, haplotypes with their "
            "positions, an xarray or sgkit dataset or a tskit tree sequence",
            hint="numpy.asarray makes an array of most" if hasattr(source, "__array__") else "",
        )
    offset = settings.pop("offset", 0)
    options = settings_of(ReadOptions, settings)
    if trees:
        blocks: Callable[[ReadOptions], Read] = lambda how: _trees_panel(source, how, offset)  # noqa: E731
    else:
        if offset:
            raise PanelError("offset: positions of a dataset are 1-based bp already")
        blocks = lambda how: _dataset_panel(source, how)  # noqa: E731
    return _phased_or_not(blocks, options, tell)


Model = TypeVar("Model", bound=BaseModel)


def settings_of(model: type[Model], settings: Mapping[str, Any]) -> Model:
    """Settings as one of our models; PanelError, with near names, for what it hasn't."""
    try:
        return model(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "settings"
        known = sorted(model.model_fields)
        if first["type"] == "extra_forbidden":
            hint = near_names(name, known, lead="") or f"there are {', '.join(known)}"
            raise PanelError(f"{name}: there is no such setting", hint=hint) from None
        raise PanelError(f"{name}: {first['msg'].removeprefix('Value error, ')}") from None


def _phased_or_not(
    read: Callable[[ReadOptions], Read], options: ReadOptions, tell: Callable[[str], None]
) -> Read:
    """Read; if its haplotypes aren't known, say where and read it as unphased."""
    try:
        return read(options)
    except UnphasedError as error:
        if options.strict:
            raise
        remedy = "" if options.skip_unphased else "; --skip-unphased leaves out such sites instead"
        tell(f"{error.args[0]}: read as not phased{remedy}")
    return read(options.model_copy(update={"allow_unphased": True, "skip_unphased": False}))


def _read_file(
    path: Path, options: ReadOptions, scratch: Path | None, tell: Callable[[str], None]
) -> Read:
    with tempfile.TemporaryDirectory(prefix="haplobench-") as passing:
        folder = Path(passing) if scratch is None else scratch

        def read(how: ReadOptions) -> Read:
            if scratch is not None:
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
            return read_file(path, how, scratch=scratch)

        panel, skipped = _phased_or_not(read, options, tell)
    if not panel.build and path.name.endswith(_VCF):
        from haplobench.data.formats.vcf import stated_build

        panel = panel.changed(build=stated_build(path, panel.contig))
    return panel, skipped


# --- arrays -------------------------------------------------------------------------------------


def _array_panel(source: Any, settings: Mapping[str, Any]) -> Panel:
    """A panel of haplotypes, (n_haplotypes, n_sites), or calls, (n_sites, n_samples, ploidy)."""
    values = dict(settings)
    if isinstance(source, tuple):
        if len(source) != 2:
            raise PanelError(f"a panel of {len(source)} arrays: expected (haplotypes, positions)")
        source, values["positions"] = source
    if unknown := sorted(set(values) - _OF_A_PANEL):
        raise PanelError(
            f"{unknown[0]}: no field of a panel of arrays",
            hint=f"there are {', '.join(sorted(_OF_A_PANEL))}",
        )
    if values.get("positions") is None:
        raise PanelError("positions: none are given; expected bp, 1-based, one for each site")
    positions = np.asarray(values.pop("positions"))
    if positions.dtype.kind not in "iu":
        raise PanelError(f"positions: expected whole numbers of bp, found {positions.dtype}")
    alleles = np.asarray(source)
    if alleles.dtype.kind not in "iub":
        raise PanelError(
            f"haplotypes: expected whole numbers, found {alleles.dtype}: 0 reference, 1 alternate, "
            "-1 missing"
        )
    if np.ma.isMaskedArray(source):
        alleles = np.where(np.ma.getmaskarray(source), MISSING, alleles.astype(np.int64))
    if alleles.size and (int(alleles.min()) < MISSING or int(alleles.max()) > 1):
        raise PanelError(
            f"haplotypes: alleles are 0, 1 or -1 (missing), found {alleles.min()} to "
            f"{alleles.max()}",
            hint="dosages aren't haplotypes; leave out sites with several alternate alleles",
        )
    if alleles.ndim == 3:  # as scikit-allel and VCF Zarr have them
        sites, people, ploidy = alleles.shape
        if values.setdefault("ploidy", ploidy) != ploidy:
            raise PanelError(
                f"ploidy: {values['ploidy']}, and the array has {ploidy} (its last axis)"
            )
        alleles = alleles.reshape(sites, people * ploidy).T
    elif alleles.ndim == 2 and positions.size not in alleles.shape[1:]:
        turned = positions.size == alleles.shape[0]
        raise PanelError(
            f"haplotypes: {alleles.shape} with {positions.size} positions; expected "
            "(n_haplotypes, n_sites)",
            hint="give it transposed: haplotypes.T" if turned else "",
        )
    values.setdefault("contig", "")
    ploidy = values.get("ploidy", 2)
    if values.get("samples") is None:
        values["samples"] = np.array([f"p{i + 1}" for i in range(len(alleles) // max(1, ploidy))])
    haplotypes = np.ascontiguousarray(alleles, np.int8)
    return Panel(haplotypes=haplotypes, positions=positions.astype(np.int64), **values)


# --- xarray and sgkit ---------------------------------------------------------------------------


def _dataset_panel(data: Any, options: ReadOptions) -> Read:
    """A panel of a dataset with VCF Zarr's variables, which are sgkit's: read block by block."""
    where = Path("the dataset")
    if lacking := [name for name in _NEEDED if name not in data]:
        raise FormatError(
            f"{where}: lacks {', '.join(lacking)}; expected sgkit's (VCF Zarr's) variables"
        )
    calls = data["call_genotype"]
    n_sites, n_samples = calls.shape[:2]
    people = choose_people(where, _names(data, n_samples), options, _labels(data, n_samples))
    contigs = (
        _texts(data["contig_id"]) if "contig_id" in data else list(data.attrs.get("contigs", ""))
    )
    numbers = (
        np.asarray(data["variant_contig"]) if "variant_contig" in data else np.zeros(n_sites, int)
    )
    contigs = contigs or [""] * (int(numbers.max(initial=0)) + 1)
    present = [contigs[number] for number in dict.fromkeys(numbers.tolist())]
    contig = choose_contig(where, present, options.wanted)
    rows = np.flatnonzero(numbers == contigs.index(contig))
    positions = np.asarray(data["variant_position"])[rows].astype(np.int64)
    alleles = np.asarray(data["variant_allele"])[rows]
    named = [[_text(allele) for allele in row] for row in alleles.tolist()]
    ref = [row[0] for row in named]
    alternates = [[allele for allele in row[1:] if allele] for row in named]
    kept, skipped = choose_sites(
        positions, ref, alternates, options.wanted, snps_only=options.snps_only
    )
    collector = Collector(where, options, people, at_most=kept.size)
    collector.skipped.merge(skipped)
    for start in range(0, kept.size, _BLOCK):
        block = kept[start : start + _BLOCK]
        at = {calls.dims[0]: rows[block]}
        genotypes = np.asarray(calls.isel(at))[:, people.index]
        if "call_genotype_phased" in data:
            phased = np.asarray(data["call_genotype_phased"].isel(at))[:, people.index].astype(bool)
        else:
            phased = np.zeros(genotypes.shape[:2], bool)
        collector.add(
            contig, positions[block], [ref[i] for i in block],
            [alternates[i][0] for i in block], genotypes, phased,
        )  # fmt: skip
    return collector.finish(contig)


def _names(data: Any, n: int) -> list[str]:
    if "sample_id" in data:
        return _texts(data["sample_id"])
    return [f"p{i + 1}" for i in range(n)]


def _labels(data: Any, n: int) -> list[Label]:
    columns = {
        name: _texts(data[column]) if column in data else [""] * n
        for name, column in LABELS_OF_DATASETS.items()
    }
    return [Label(*row) for row in zip(*columns.values(), strict=True)]


def _texts(values: Any) -> list[str]:
    return [_text(value) for value in np.asarray(values).tolist()]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value or "")


# --- tree sequences -----------------------------------------------------------------------------


def _trees_panel(trees: Any, options: ReadOptions, offset: int) -> Read:
    """A panel of a tree sequence's sample individuals, in their order; its positions as they are.

    tskit counts from 0 or from 1 as its maker did (Kelleher et al., PLoS Computational Biology
    12, e1004842, 2016): `offset` bp are added, as `position_transform` of its `write_vcf` would.
    """
    where = Path("the tree sequence")
    nodes = np.asarray(trees.samples())
    owners = trees.nodes_individual[nodes]
    names, labels = [], []
    if (owners < 0).all():  # of programs that know no individuals
        ploidy, ordered = 1, nodes
        names = [f"node{node}" for node in nodes.tolist()]
        labels = [_label(trees, int(node)) for node in nodes]
    else:
        chosen, counts = np.unique(owners, return_counts=True)
        if chosen[0] < 0 or counts.min() != counts.max():
            raise FormatError(
                f"{where}: {counts.min()} to {counts.max()} sample nodes for each individual",
                hint="keep individuals of one ploidy: trees.simplify",
            )
        ploidy = int(counts[0])
        first = list(dict.fromkeys(owners.tolist()))
        ordered = np.concatenate([nodes[owners == owner] for owner in first])
        for owner in first:
            metadata = trees.individual(owner).metadata
            name = metadata.get("name") if isinstance(metadata, dict) else None
            names.append(str(name or f"tsk_{owner}"))
            labels.append(_label(trees, int(nodes[owners == owner][0])))
    people = choose_people(where, names, options, labels)
    kept = (people.index[:, None] * ploidy + np.arange(ploidy)).ravel()
    contig = options.wanted.contig if options.wanted else options.contig
    collector = Collector(where, options, people, at_most=trees.num_sites)
    for sites in _site_blocks(trees, ordered[kept], offset):
        positions, named, genotypes = sites
        ref, alternates = [row[0] for row in named], [row[1] for row in named]
        chosen_sites, skipped = choose_sites(
            positions, ref, alternates, options.wanted, snps_only=options.snps_only
        )
        collector.skipped.merge(skipped)
        alleles = genotypes[chosen_sites].reshape(chosen_sites.size, people.index.size, ploidy)
        collector.add(
            contig, positions[chosen_sites], [ref[i] for i in chosen_sites],
            [alternates[i][0] for i in chosen_sites], alleles,
        )  # fmt: skip
    return collector.finish(contig)


def _label(trees: Any, node: int) -> Label:
    population = trees.node(node).population
    metadata = trees.population(population).metadata if population >= 0 else None
    return Label(str(metadata.get("name") or "") if isinstance(metadata, dict) else "")


def _site_blocks(
    trees: Any, nodes: NDArray[Any], offset: int
) -> Iterator[tuple[NDArray[np.int64], list[tuple[str, list[str]]], NDArray[np.int8]]]:
    """Positions, alleles (reference, those others that somebody has) and genotypes of some sites.

    Genotypes are 0 for the ancestral allele, 1 for others, -1 missing: (sites, nodes) int8.
    """
    positions: list[int] = []
    named: list[tuple[str, list[str]]] = []
    rows: list[NDArray[np.int8]] = []
    for variant in trees.variants(samples=nodes, copy=False):
        genotypes = variant.genotypes
        seen = [int(code) for code in np.unique(genotypes[genotypes > 0])]
        if not seen and variant.num_alleles == 2:  # nobody's, but it has a name
            seen = [1]
        texts = [variant.alleles[0], *(variant.alleles[code] for code in seen)]
        # What mutation models without bases call 0 and 1 has no name.
        bases = ["N" if text in ("", "0", "1") else text for text in texts]
        positions.append(round(variant.site.position) + offset)
        named.append((bases[0], bases[1:]))
        rows.append(np.minimum(genotypes, 1).astype(np.int8))
        if len(rows) == _BLOCK:
            yield np.array(positions, np.int64), named, np.stack(rows)
            positions, named, rows = [], [], []
    if rows:
        yield np.array(positions, np.int64), named, np.stack(rows)
