"""Haplotypes from a file of the user's."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from haplobench.datasets.fasta import read_sequence
from haplobench.datasets.formats import ReadOptions, read_panel
from haplobench.datasets.params import FileParams
from haplobench.datasets.paths import expand
from haplobench.errors import FormatError
from haplobench.panel import Panel
from haplobench.plugin import LoadedDataset, RunContext
from haplobench.recombination import RecombinationMap
from haplobench.sequence import ReferenceSequence

# Of these suffixes are the other files of a format that comes as several.
_COMPANIONS = (".bim", ".fam", ".pvar", ".pvar.zst", ".psam", ".legend", ".legend.gz")


class File:
    """The `file` dataset."""

    def load(self, params: FileParams, ctx: RunContext) -> LoadedDataset:
        """Read the panel, and its map and reference sequence if they are given.

        Raises FormatError: one line that names file, record or line, and cause.
        """
        path = expand(params.path)
        tables = {"panel_file", "pedigree_file"}
        options = ReadOptions(
            panel_file=expand(params.panel_file) if params.panel_file else None,
            pedigree_file=expand(params.pedigree_file) if params.pedigree_file else None,
            **params.model_dump(
                include=set(ReadOptions.model_fields) - tables, exclude_defaults=True
            ),
        )
        ctx.progress(0.0, f"reading {path.name}")
        panel, skipped = read_panel(path, options, scratch=ctx.scratch)
        provenance = {"path": str(path), "citation": params.citation, "licence": params.licence}
        if path.is_file():
            ctx.progress(0.9, "checksums")
            provenance["sha256"] = _sha256(path)
        recombination_map, sequence = read_surroundings(panel, params.map, params.fasta)
        for key, text in (("map", params.map), ("fasta", params.fasta)):
            if text:
                provenance[key] = str(expand(text))
        if recombination_map is not None and recombination_map.remark:
            provenance["map"] += f" ({recombination_map.remark})"
        return LoadedDataset(
            panel,
            recombination_map,
            sequence,
            skipped,
            {key: value for key, value in provenance.items() if value},
        )

    def fingerprint(self, params: FileParams) -> str:
        """Parameters, and path, size and times of every file they name.

        The time of a file's last change of any kind is among them, which no program sets back
        as it does the time of its content. What is fitted rests on the content itself.
        """
        path = expand(params.path)
        named = [
            path,
            *(
                expand(text)
                for text in (params.panel_file, params.pedigree_file, params.map, params.fasta)
                if text
            ),
        ]
        stem = (
            path.with_suffix("") if path.suffix != ".gz" else path.with_suffix("").with_suffix("")
        )
        companions = [stem.with_name(stem.name + ending) for ending in _COMPANIONS]
        named += [companion for companion in companions if companion.exists()]
        facts = [params.model_dump_json(), *(_stamp(each) for each in named)]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def read_surroundings(
    panel: Panel, map_path: str, fasta_path: str
) -> tuple[RecombinationMap | None, ReferenceSequence | None]:
    """The recombination map and the bases from a panel's first site to its last.

    Empty paths give None. Raises FormatError naming the file and what is wrong with it.
    """
    recombination_map = None
    if map_path:
        path = expand(map_path)
        if not path.is_file():
            raise FormatError(f"{path}: no such recombination map")
        start = int(panel.positions[0])
        whole = RecombinationMap.read(path, panel.contig)
        try:
            recombination_map = whole.region(start, max(int(panel.positions[-1]), start + 1))
        except FormatError as error:
            raise FormatError(f"{path}: {error.args[0]}", hint=error.hint) from None
    sequence = read_sequence(expand(fasta_path), panel) if fasta_path else None
    return recombination_map, sequence


def _stamp(path: Path) -> str:
    """Size and times of a file, or of everything in a folder (VCF Zarr)."""
    if not path.exists():
        raise FormatError(f"{path}: no such file")
    inside = sorted(path.rglob("*")) if path.is_dir() else [path]
    sha = hashlib.sha256()
    for each in inside:
        fact = each.stat()
        if each.is_file():
            times = f"{fact.st_mtime_ns} {fact.st_ctime_ns}"
            sha.update(f"{each.relative_to(path.parent)} {fact.st_size} {times}\n".encode())
    return f"{path} {sha.hexdigest()}"


def _sha256(path: Path) -> str:
    sha = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            sha.update(block)
    return sha.hexdigest()
