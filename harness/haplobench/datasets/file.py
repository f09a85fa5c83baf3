"""Haplotypes from a file of the user's."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from codecs import BOM_UTF8
from pathlib import Path

import numpy as np

from haplobench.data.contigs import same_contig
from haplobench.data.formats import ReadOptions, read_panel
from haplobench.data.formats.options import labels_beside, require_whole
from haplobench.data.genome import RecombinationMap, ReferenceSequence
from haplobench.data.panel import Panel
from haplobench.datasets import FileParams
from haplobench.errors import FormatError
from haplobench.files import file_digest, require_file
from haplobench.plugin import LoadedDataset, RunContext

# More disagreeing sites than this, and the sequence is another build's or contig's.
_MAX_MISMATCH = 0.01
_NO_BASE = 0
_UPPER = np.full(256, _NO_BASE, np.uint8)
for _base in b"ACGTN":
    _UPPER[_base] = _UPPER[_base + 32] = _base
for _code in b"RYSWKMBDHVryswkmbdhv":
    _UPPER[_code] = ord("N")
_COMPLEMENT = np.arange(256, dtype=np.uint8)
for _base, _other in zip(b"ACGT", b"TGCA", strict=True):
    _COMPLEMENT[_base] = _other


def read_sequence(path: Path, panel: Panel) -> ReferenceSequence:
    """Bases from the panel's first site to its last.

    By the `.fai` index where there is one beside it, else read through. Lower case is made
    upper, ambiguity codes N.

    Raises FormatError if the contig or the region isn't in the file, if the file holds
    something else than bases there, if its index isn't its own, or if more than 1 % of the
    panel's reference alleles are other bases there (another build, or the other strand).
    """
    require_file(path)
    start, end = int(panel.positions[0]), int(panel.positions[-1])
    index = path.with_name(path.name + ".fai")
    if index.exists():
        require_file(index)
        text = _indexed(path, panel.contig, start, end)
    else:
        require_whole(path)
        text = _streamed(path, panel.contig, start, end)
    if len(text) != end - start + 1:
        raise FormatError(
            f"{path}: contig {panel.contig} ends before {panel.contig}:{end}",
            hint="is it of the panel's build?",
        )
    bases = _UPPER[np.frombuffer(text, np.uint8)]
    wrong = np.flatnonzero(bases == _NO_BASE)
    if wrong.size:
        raise FormatError(
            f"{path}: {panel.contig}:{start + int(wrong[0])} holds {chr(text[wrong[0]])!r}, "
            f"expected a base ({wrong.size} such characters in the region)"
        )
    single = np.isin(panel.ref, list("ACGTacgt"))
    known = np.frombuffer("".join(np.char.upper(panel.ref[single])).encode(), np.uint8)
    there = bases[panel.positions[single] - start]
    differ = (known != there) & (there != ord("N"))
    if known.size and differ.mean() > _MAX_MISMATCH:
        flipped = differ & (_COMPLEMENT[known] == there)
        raise FormatError(
            f"{path}: {int(differ.sum())} of {known.size} reference alleles of the panel are "
            f"other bases there, the first at {panel.contig}:{panel.positions[single][differ][0]}",
            hint="the panel names the other strand's bases: flip them (bcftools +fixref)"
            if flipped.sum() > 0.9 * differ.sum()
            else "is it of the panel's build?",
        )
    return ReferenceSequence(bases, start, surrogate=False)


def _indexed(path: Path, contig: str, start: int, end: int) -> bytes:
    import pysam

    try:
        with pysam.FastaFile(str(path)) as fasta:
            name = _name(path, contig, list(fasta.references))
            _check_index(path, name)
            return str(fasta.fetch(name, start - 1, end)).encode()
    except (OSError, ValueError, KeyError) as error:
        raise FormatError(f"{path}: can't be read by its index: {error}") from None


def _check_index(path: Path, name: str) -> None:
    """Raise FormatError unless a plain FASTA has the contig where its index says.

    A compressed one isn't looked into: its bases are compared with the panel's anyway.
    """
    if path.suffix in (".gz", ".bgz"):
        return
    for line in path.with_name(f"{path.name}.fai").read_text().splitlines():
        entry, length, offset, bases, width = line.split("\t")[:5]
        if entry != name:
            continue
        lines, rest = divmod(int(length), max(1, int(bases)))
        end = int(offset) + lines * int(width) + rest
        with path.open("rb") as handle:
            back = min(int(offset), 4096)
            handle.seek(int(offset) - back)
            header = handle.read(back).split(b"\n")[-2:]
            handle.seek(end)
            after = handle.read(4096).lstrip()
        starts = len(header) == 2 and header[0][1:].split(maxsplit=1)[:1] == [name.encode()]
        if not starts or header[1] or (after and not after.startswith(b">")):
            raise FormatError(
                f"{path}: contig {name} isn't where {path.name}.fai says: the index is older "
                "than the file, or another file's",
                hint="samtools faidx makes it anew",
            )


def _streamed(path: Path, contig: str, start: int, end: int) -> bytes:
    names: list[str] = []
    taken: list[bytes] = []
    position, inside = 0, False
    opener = gzip.open if path.suffix in (".gz", ".bgz") else open
    try:
        with opener(path, "rb") as lines:
            for line in lines:
                line = line if names else line.removeprefix(BOM_UTF8)
                if line.startswith(b">"):
                    if inside:
                        break
                    words = line[1:].split(maxsplit=1)
                    names.append(words[0].decode(errors="replace") if words else "")
                    inside = same_contig(names[-1], contig)
                elif not names:
                    raise FormatError(f"{path}:1: expected a FASTA header that starts with >")
                elif inside:
                    bases = line.strip()
                    low, high = start - 1 - position, end - position
                    if high > 0 and low < len(bases):
                        taken.append(bases[max(0, low) : high])
                    position += len(bases)
                    if position >= end:
                        break
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{path}: can't be read: {error}") from None
    if not inside:
        _name(path, contig, names)
    return b"".join(taken)


def _name(path: Path, contig: str, names: list[str]) -> str:
    for name in names:
        if same_contig(name, contig):
            return name
    raise FormatError(f"{path}: no contig {contig!r}; it holds {', '.join(names[:30]) or 'none'}")


# Of these suffixes are the other files of a format that comes as several.
_COMPANIONS = (".bim", ".fam", ".pvar", ".pvar.zst", ".psam", ".legend", ".legend.gz")


class File:
    """The `file` dataset."""

    def load(self, params: FileParams, ctx: RunContext) -> LoadedDataset:
        """Read the panel, and its map and reference sequence if they are given.

        Raises FormatError: one line that names file, record or line, and cause.
        """
        path = Path(params.path).expanduser()
        tables = {"panel_file", "pedigree_file"}
        options = ReadOptions(
            panel_file=_path(params.panel_file),
            pedigree_file=_path(params.pedigree_file),
            **params.model_dump(
                include=set(ReadOptions.model_fields) - tables, exclude_defaults=True
            ),
        )
        ctx.progress(0.0, f"reading {path.name}")
        panel, skipped = read_panel(path, options, scratch=ctx.scratch)
        provenance = {"path": str(path), "citation": params.citation, "licence": params.licence}
        if path.is_file():
            ctx.progress(0.9, "checksums")
            provenance["sha256"] = file_digest(path)
        recombination_map, sequence = read_surroundings(panel, params.map, params.fasta)
        for key, text in (("map", params.map), ("fasta", params.fasta)):
            if text:
                provenance[key] = str(_path(text))
        if recombination_map is not None and recombination_map.remark:
            provenance["map"] += f" ({recombination_map.remark})"
        return LoadedDataset(
            panel,
            recombination_map,
            sequence,
            skipped,
            {key: value for key, value in provenance.items() if value},
        )

    def files(self, params: FileParams) -> list[Path]:
        """The panel's file, and those that belong to its format."""
        path = Path(params.path).expanduser()
        stem = (
            path.with_suffix("") if path.suffix != ".gz" else path.with_suffix("").with_suffix("")
        )
        companions = [stem.with_name(stem.name + ending) for ending in _COMPANIONS]
        companions.append(labels_beside(path))
        return [path, *(companion for companion in companions if companion.exists())]

    def fingerprint(self, params: FileParams) -> str:
        """Parameters, and path, size and times of every file they name.

        The time of a file's last change of any kind is among them, which no program sets back
        as it does the time of its content. What is fitted rests on the content itself.
        """
        path, *companions = self.files(params)
        named = [
            path,
            *(
                Path(text).expanduser()
                for text in (params.panel_file, params.pedigree_file, params.map, params.fasta)
                if text
            ),
            *companions,
        ]
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
        path = Path(map_path).expanduser()
        if not path.is_file():
            raise FormatError(f"{path}: no such recombination map")
        start = int(panel.positions[0])
        whole = RecombinationMap.read(path, panel.contig)
        try:
            recombination_map = whole.region(start, max(int(panel.positions[-1]), start + 1))
        except FormatError as error:
            raise FormatError(f"{path}: {error.args[0]}", hint=error.hint) from None
    fasta = _path(fasta_path)
    sequence = read_sequence(fasta, panel) if fasta else None
    return recombination_map, sequence


def _path(text: str) -> Path | None:
    return Path(text).expanduser() if text else None


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
