"""VCF Zarr: read chunk by chunk, so that a chromosome never has to fit in memory.

The layout is that of bio2zarr: Czech et al., GigaScience 14, giaf049 (2025).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numcodecs  # type: ignore[import-untyped]
import numpy as np
import zarr
from numpy.typing import NDArray

from haplobench.data.formats.collector import Collector
from haplobench.data.formats.options import ReadOptions, Region, staged
from haplobench.data.formats.people import choose_people
from haplobench.data.formats.sites import (
    Texts,
    Variants,
    bands,
    by_sites,
    choose_contig,
    choose_sites,
)
from haplobench.data.labels import LABELS_OF_DATASETS, Label
from haplobench.data.panel import Panel
from haplobench.errors import FormatError
from haplobench.files import require_file

T = TypeVar("T")
R = TypeVar("R")
_NEEDED = (
    "call_genotype",
    "contig_id",
    "sample_id",
    "variant_allele",
    "variant_contig",
    "variant_position",
)
_VERSION = "0.5"
# "Missing" among floats: a NaN of its own, which programs write as `.` (an ordinary one as `nan`).
_MISSING_FLOAT = np.array(0x7F800001, np.uint32).view(np.float32)
_CHUNK_SITES = 1000
_CHUNK_SAMPLES = 10_000
# Decoded calls of one block of sites; the next block is read meanwhile where it is no larger.
_AHEAD_BYTES = 1 << 27
_BLOSC_HEADER = 16
_BLOCK = 1 << 19


def read(
    path: Path, options: ReadOptions, scratch: Path | None = None
) -> tuple[Panel, dict[str, int]]:
    """Read a VCF Zarr folder; of a region, only the chunks that hold it.

    Raises FormatError naming the folder and the array.
    """
    require_file(path, folder=True)
    store = _Store.open(path)
    names = store.texts("sample_id")
    own = {
        name: store.texts(array) for name, array in LABELS_OF_DATASETS.items() if store.has(array)
    }
    labels = [Label(**dict(zip(own, row, strict=True))) for row in zip(*own.values(), strict=True)]
    people = choose_people(path, names, options, labels or None)
    contigs = store.texts("contig_id")
    wanted = options.wanted
    contig, start, stop = store.rows(contigs, wanted)
    positions = store.get("variant_position", start, stop).astype(np.int64)
    alleles = store.get("variant_allele", start, stop).astype(object)
    ref = [str(row[0]) for row in alleles]
    alternates = [
        [str(allele) for allele in row[1:] if allele not in ("", None)] for row in alleles
    ]
    sites, skipped = choose_sites(positions, ref, alternates, wanted, snps_only=options.snps_only)
    genotype = store.array("call_genotype")
    ploidy = int(genotype.shape[2])
    collector = Collector(path, options, people, scratch=scratch, at_most=sites.size)
    collector.skipped.merge(skipped)
    chunk = int(genotype.chunks[0])
    whose = None if people.everybody else people.index
    blocks = np.split(sites, np.flatnonzero(np.diff((sites + start) // chunk)) + 1)

    def calls(
        inside: NDArray[np.int64],
    ) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.int64] | None]:
        low, high = int(inside[0]), int(inside[-1]) + 1
        rows = slice(None) if inside.size == high - low else inside - low
        sets = store.phase_sets(start + low, start + high, whose)
        return (
            store.get("call_genotype", start + low, start + high, whose)[rows],
            store.phased(start + low, start + high, whose, len(names))[rows],
            None if sets is None else sets[rows],
        )

    small = chunk * people.index.size * ploidy <= _AHEAD_BYTES
    blocks = [block for block in blocks if block.size]
    for inside, block in zip(blocks, _in_order(calls, blocks, small), strict=True):
        collector.add(
            contig,
            positions[inside],
            [ref[i] for i in inside],
            [alternates[i][0] for i in inside],
            *block,
        )
    return collector.finish(contig)


def _in_order(call: Callable[[T], R], items: Sequence[T], ahead: bool) -> Iterator[R]:
    """`call` of each item, in turn; with `ahead`, a thread is at the next one meanwhile."""
    if not ahead:
        yield from map(call, items)
        return
    with ThreadPoolExecutor(1) as thread:
        following = [thread.submit(call, item) for item in items[:1]]
        for item in items[1:]:
            following.append(thread.submit(call, item))
            yield following.pop(0).result()
        yield from (last.result() for last in following)


@dataclass(frozen=True)
class _Store:
    """The arrays of a VCF Zarr group; failures to read them told as FormatError."""

    path: Path
    group: Any
    opened: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path) -> _Store:
        for described in itertools.chain(
            path.iterdir(), path.glob("*/.z*"), path.glob("*/zarr.json")
        ):
            require_file(described, folder=described.is_dir())
        try:
            store = cls(path, zarr.open_group(str(path), mode="r"))
        except Exception as error:  # damaged JSON, wrong types
            raise FormatError(f"{path}: not a Zarr group: {error}") from None
        lacking = [name for name in _NEEDED if not store.has(name)]
        if lacking:
            raise FormatError(f"{path}: not a VCF Zarr: lacks the arrays {', '.join(lacking)}")
        variants = store.array("variant_position").shape[0]
        samples = store.array("sample_id").shape[0]
        for name, ndim, expected in (
            ("call_genotype", 3, (variants, samples)),
            ("variant_allele", 2, (variants,)),
            ("variant_contig", 1, (variants,)),
        ):
            shape = store.array(name).shape
            if len(shape) != ndim or shape[: len(expected)] != expected:
                raise FormatError(f"{path}: array {name} has shape {shape}, expected {expected}, …")
        return store

    def array(self, name: str) -> Any:
        """An array, unread; FormatError where its description can't be read."""
        if name in self.opened:
            return self.opened[name]
        try:
            array = self.group[name]
        except Exception as error:  # damaged JSON, unknown codecs, wrong types
            raise FormatError(
                f"{self.path}: array {name} can't be opened: {error}",
                hint="its .zarray is damaged: convert it again",
            ) from None
        if not isinstance(array, zarr.Array):
            raise FormatError(f"{self.path}: {name} is no array")
        self.opened[name] = array
        return array

    def has(self, name: str) -> bool:
        """Whether there is an array of that name."""
        return (self.path / name).is_dir()

    def get(
        self,
        name: str,
        start: int,
        stop: int,
        people: NDArray[np.int64] | None = None,
        *,
        sparse: bool = False,
    ) -> NDArray[Any]:
        """Rows `start` to `stop` of an array, of some people where it has them.

        Raises FormatError if a chunk of theirs can't be read or, unless the array is `sparse`,
        isn't there: Zarr would read a lost one as zeros, that is as reference alleles.
        """
        array = self.array(name)
        if not sparse:
            for key in self._keys(array, start, stop, people):
                chunk = self.path / name / key
                if not chunk.is_file():
                    raise FormatError(
                        f"{self.path}: array {name}, rows {start} to {stop}: "
                        f"the chunk {key} is not there",
                        hint="copy or convert it again, with ZARR_ARRAY__WRITE_EMPTY_CHUNKS=True: "
                        "without it, a chunk of reference alleles alone looks like a lost one",
                    )
                _check_length(array, chunk)
                _check_texts(array, chunk)
        try:
            if people is None:
                return np.asarray(array[start:stop])
            return np.asarray(array.oindex[start:stop, people])
        except Exception as error:  # each codec fails in its own way
            raise FormatError(
                f"{self.path}: array {name}, rows {start} to {stop}: can't be read: {error}",
                hint="a chunk is damaged: convert it again",
            ) from None

    @staticmethod
    def _keys(array: Any, start: int, stop: int, people: NDArray[np.int64] | None) -> Iterator[str]:
        """Where the chunks (with sharding, the shards) of some rows and people lie."""
        sizes = array.shards or array.chunks
        places = [
            range(-(-length // size)) for length, size in zip(array.shape, sizes, strict=True)
        ]
        places[0] = range(start // sizes[0], -(-stop // sizes[0]))
        columns = places[1:] if people is None else [np.unique(people // sizes[1]), *places[2:]]
        for place in itertools.product(places[0], *columns):
            yield array.metadata.encode_chunk_key(tuple(map(int, place)))

    def texts(self, name: str) -> list[str]:
        return [str(text) for text in self.get(name, 0, self.array(name).shape[0])]

    def phased(
        self, start: int, stop: int, people: NDArray[np.int64] | None, n_samples: int
    ) -> NDArray[np.bool_]:
        """(n, n_samples) bool: nothing is phased where the store doesn't say."""
        if self.has("call_genotype_phased"):
            # A chunk that isn't there is unphased, which can't be taken for more than it is.
            phased = self.get("call_genotype_phased", start, stop, people, sparse=True)
            return phased.astype(np.bool_, copy=False)
        return np.zeros((stop - start, n_samples if people is None else people.size), np.bool_)

    def phase_sets(
        self, start: int, stop: int, people: NDArray[np.int64] | None
    ) -> NDArray[np.int64] | None:
        """(n, n_samples) int64, -1 for none; None where the store has no phase sets."""
        if not self.has("call_PS") or self.array("call_PS").dtype.kind not in "iu":
            return None
        sets = self.get("call_PS", start, stop, people).astype(np.int64)
        return np.where(sets < 0, -1, sets)

    def _present(self, numbers: NDArray[Any], contigs: Sequence[str]) -> list[str]:
        """Names of the contigs with these numbers, each once, in their order."""
        present = list(dict.fromkeys(numbers.tolist()))
        if wrong := [number for number in present if not 0 <= number < len(contigs)]:
            raise FormatError(
                f"{self.path}: contig number {wrong[0]}, but contig_id has {len(contigs)} names"
            )
        return [contigs[number] for number in present]

    def rows(self, contigs: Sequence[str], wanted: Region | None) -> tuple[str, int, int]:
        """Contig, and first and last row (excluded) of the chunks that can hold the region.

        By the store's `region_index` (a row per chunk and contig: chunk, contig, first
        position, last position, furthest end, records) where it has one.
        """
        n = int(self.array("variant_position").shape[0])
        if self.has("region_index"):
            index = self.get("region_index", 0, self.array("region_index").shape[0])
            contig = choose_contig(self.path, self._present(index[:, 1], contigs), wanted)
            near = mine = index[index[:, 1] == contigs.index(contig)]
            chunk = int(self.array("variant_position").chunks[0])
            # All of a contig's rows are one run; find its ends inside the outer chunks.
            first, last = int(mine[0, 0]) * chunk, min(n, (int(mine[-1, 0]) + 1) * chunk)
            if wanted is not None:
                near = mine[mine[:, 3] >= wanted.start]
                if wanted.end is not None:
                    near = near[near[:, 2] <= wanted.end]
                if not near.size:
                    return contig, first, first
                first = int(near[0, 0]) * chunk
                last = min(n, (int(near[-1, 0]) + 1) * chunk)
        else:
            first, last, contig, chunk, near = 0, n, "", n, np.empty((0, 6), np.int32)
        # Of the first contig alone, bio2zarr writes no chunk; the index tells one from a lost one.
        sparse = len(contigs) == 1 or bool(contig)
        numbers = self.get("variant_contig", first, last, sparse=sparse)
        if not contig:
            contig = choose_contig(self.path, self._present(numbers, contigs), wanted)
        rows = np.flatnonzero(numbers == contigs.index(contig))
        for number, *_, records in near.tolist():
            low, high = np.searchsorted(rows + first, (number * chunk, (number + 1) * chunk))
            if high - low != records or not records:
                raise FormatError(
                    f"{self.path}: array region_index counts {records} records of contig {contig} "
                    f"in chunk {number}, found {high - low} in variant_contig",
                    hint="a chunk was lost, or the index is of other records: convert it again",
                )
        if rows.size != rows[-1] - rows[0] + 1:
            raise FormatError(
                f"{self.path}: records of contig {contig} lie among others",
                hint="sort the file before converting it",
            )
        return contig, first + int(rows[0]), first + int(rows[-1]) + 1


def _check_length(array: Any, chunk: Path) -> None:
    """Raise FormatError for a chunk of Blosc that is shorter than it says.

    What a decoder makes of it isn't what was written. The header's last four of 16 bytes are the
    chunk's length (Blosc 1's format).
    """
    if array.shards or not array.compressors:
        return
    codec = array.compressors[-1]
    if not isinstance(codec, (numcodecs.Blosc, zarr.codecs.BloscCodec)):
        return
    with chunk.open("rb") as handle:
        head = handle.read(_BLOSC_HEADER)
    size = chunk.stat().st_size
    if len(head) < _BLOSC_HEADER or int.from_bytes(head[-4:], "little") > size:
        raise FormatError(
            f"{chunk}: {size:,} bytes, and Blosc's header tells of more",
            hint="the chunk was cut short: copy or convert it again",
        )


def _check_texts(array: Any, chunk: Path) -> None:
    """Raise FormatError for a chunk of texts (Zarr format 2) that counts more than it holds.

    numcodecs would ask for the memory first. Other failures are left to Zarr.
    """
    if array.metadata.zarr_format != 2 or "vlen-utf8" not in {f.codec_id for f in array.filters}:
        return
    _, *filters = array.filters  # texts become bytes by the first
    try:
        content = chunk.read_bytes()
        for codec in (*array.compressors, *reversed(filters)):
            content = bytes(codec.decode(content))
    except Exception:  # each codec fails in its own way
        return
    count = int.from_bytes(content[:4], "little")
    room = max(0, len(content) - 4) // 4
    if count > room:
        raise FormatError(
            f"{chunk}: counts {count:,} texts, and there is room for {room:,}",
            hint="the chunk is damaged: convert it again",
        )


def write(panel: Panel, path: Path, notes: Mapping[str, str] | None = None) -> None:
    """Write a VCF Zarr folder (Zarr format 2) with a region index, as bio2zarr lays it out."""
    write_variants(Variants.of(panel, notes), path)


def write_variants(panel: Variants, path: Path) -> None:
    """The same, of alleles that come site by site: a thousand sites are held at a time."""
    with staged(path) as folder:
        store = folder / path.name
        describe(panel, store, _CHUNK_SAMPLES)
        for start, band in bands(panel.blocks(), min(_CHUNK_SITES, panel.n_sites)):
            for person in range(0, panel.n_samples, _CHUNK_SAMPLES):
                people = slice(person * panel.ploidy, (person + _CHUNK_SAMPLES) * panel.ploidy)
                block = band[:, people].reshape(band.shape[0], -1, panel.ploidy)
                place = start // _CHUNK_SITES, person // _CHUNK_SAMPLES
                for name, content in _chunks(block, panel, _CHUNK_SAMPLES, place):
                    (store / name).write_bytes(content)


def column_chunks(
    head: Variants, chunk_samples: int, column: int, haplotypes: NDArray[np.int8]
) -> Iterator[tuple[str, bytes]]:
    """Yield all chunks of calls of a column of people: names in the store, and contents.

    `haplotypes` (n, n_sites) int8 of 0 and 1 are those of the column's `chunk_samples` people;
    fewer in the last. `describe` writes the rest of the store.
    """
    for start in range(0, head.n_sites, _CHUNK_SITES):
        block = by_sites(haplotypes[:, start : start + _CHUNK_SITES])
        calls = block.reshape(block.shape[0], -1, head.ploidy)
        yield from _chunks(calls, head, chunk_samples, (start // _CHUNK_SITES, column))


def chunk_names(n_sites: int, column: int) -> list[str]:
    """Names of the chunks that `column_chunks` yields, in this order."""
    return [name for chunk in range(-(-n_sites // _CHUNK_SITES)) for name in _names(chunk, column)]


def _names(chunk: int, column: int) -> tuple[str, str, str]:
    key = f"{chunk}.{column}"
    return f"call_genotype/{key}.0", f"call_genotype_mask/{key}.0", f"call_genotype_phased/{key}"


def _chunks(
    calls: NDArray[np.int8], head: Variants, chunk_samples: int, place: tuple[int, int]
) -> Iterator[tuple[str, bytes]]:
    """Yield the chunks of calls (sites, people, ploidy) as Zarr writes them, but faster.

    `place`: number of the chunk among sites, and among people.
    """
    size = min(_CHUNK_SITES, head.n_sites), min(chunk_samples, head.n_samples)
    whole = (*size, head.ploidy)
    missing = calls.min(initial=0) < 0
    contents = (
        _encoded(calls, whole),
        # The same for all but a panel with missing alleles.
        _encoded(calls < 0, whole) if missing else _constant(False, calls.shape, whole),
        _constant(head.phased, calls.shape[:2], size),
    )
    yield from zip(_names(*place), contents, strict=True)


@lru_cache(maxsize=32)
def _constant(value: bool, shape: tuple[int, ...], whole: tuple[int, ...]) -> bytes:
    return _encoded(np.full(shape, value), whole)


def _encoded(values: NDArray[Any], whole: tuple[int, ...]) -> bytes:
    """A chunk's bytes: whole chunks, of which those at an end are filled up with zeros.

    Raises FormatError if they don't decode to what they were.
    """
    filled = values
    if values.shape != whole:
        filled = np.zeros(whole, values.dtype)
        filled[tuple(map(slice, values.shape))] = values
    filled = np.ascontiguousarray(filled)
    codec = _compressor(values.dtype)
    content = bytes(codec.encode(filled))
    decoded = codec.decode(content, out=np.empty_like(filled))
    # In its own place: a comparison would take as much memory again.
    if np.bitwise_xor(decoded, filled, out=decoded).any():
        raise FormatError("a chunk of calls was compressed wrongly", hint="test this machine")
    return content


def describe(
    panel: Variants,
    path: Path,
    chunk_samples: int,
    counts: NDArray[np.int64] | None = None,
) -> None:
    """Write a VCF Zarr folder with everything but the calls, whose arrays are there, empty.

    `counts` (n_sites,): of alternate alleles, where they are known and none is missing.
    """
    group = zarr.create_group(str(path), zarr_format=2)
    _describe(group, panel)
    dimensions = ("variants", "samples", "ploidy")
    shape = (panel.n_sites, panel.n_samples, panel.ploidy)
    for name, axes, kind in (
        ("call_genotype", 3, np.int8),
        ("call_genotype_mask", 3, np.bool_),
        ("call_genotype_phased", 2, np.bool_),
    ):
        _empty(group, name, shape[:axes], kind, dimensions[:axes], chunk_samples)
    if counts is not None:
        alternate = counts.astype(np.int32)[:, None]
        text = "Alternate allele count"
        _array(group, "variant_AC", alternate, ("variants", "alt_alleles"), description=text)
        called = np.full(panel.n_sites, panel.n_haplotypes, np.int32)
        _array(group, "variant_AN", called, ("variants",), description="Alleles called")
    header = [["fileformat", "VCFv4.2"], *map(list, panel.header)]
    facts: dict[str, Any] = {"vcf_zarr_version": _VERSION, "source": "haplobench"}
    facts["vcf_meta_information"] = header
    group.attrs.update({**facts, **dict(panel.header)})


def _describe(group: Any, panel: Variants) -> None:
    """Write sites and people."""
    n = panel.n_sites
    alleles = np.stack([panel.ref, panel.alt], axis=1).astype(object)
    sites = ("variants",)
    contig = {"assembly": panel.build} if panel.build else {}
    _array(group, "contig_id", np.array([panel.contig], object), ("contigs",), **contig)
    people: dict[str, Texts] = {"sample_id": panel.samples}
    if panel.labelled:
        people |= {array: getattr(panel, name) for name, array in LABELS_OF_DATASETS.items()}
    for array, texts in people.items():
        names = _empty(group, array, (panel.n_samples,), object, ("samples",))
        for start in range(0, panel.n_samples, _CHUNK_SAMPLES):
            rows = slice(start, min(panel.n_samples, start + _CHUNK_SAMPLES))
            names[rows] = texts[rows].astype(object)
    _array(group, "filter_id", np.array(["PASS"], object), ("filters",))
    passed = np.array(["All filters passed"], object)
    _array(group, "filter_description", passed, ("filters",))
    _array(group, "variant_contig", np.zeros(n, np.int8), sites)
    _array(group, "variant_position", panel.positions.astype(np.int32), sites)
    lengths = np.char.str_len(panel.ref).astype(np.int32)
    _array(group, "variant_length", lengths, sites)
    _array(group, "variant_allele", alleles, ("variants", "alleles"))
    _array(group, "variant_id", np.full(n, ".", object), sites)
    _array(group, "variant_id_mask", np.ones(n, np.bool_), sites)
    _array(group, "variant_quality", np.full(n, _MISSING_FLOAT), sites)
    _array(group, "variant_filter", np.ones((n, 1), np.bool_), ("variants", "filters"))
    _array(
        group,
        "region_index",
        _region_index(panel),
        ("region_index_values", "region_index_fields"),
    )


def _array(
    group: Any, name: str, values: NDArray[Any], dimensions: tuple[str, ...], **attributes: str
) -> None:
    array = _empty(group, name, values.shape, values.dtype, dimensions)
    array[:] = values
    array.attrs.update(attributes)


def _empty(
    group: Any,
    name: str,
    shape: tuple[int, ...],
    dtype: Any,
    dimensions: tuple[str, ...],
    chunk_samples: int = _CHUNK_SAMPLES,
) -> Any:
    """An array without a fill value, as bio2zarr makes them, and with every chunk written.

    A fill value is "missing" to xarray: 0 would turn reference alleles into NaN. And a chunk
    that isn't there must mean that it was lost, not that nobody carries anything there.
    """
    limits = {"variants": _CHUNK_SITES, "samples": chunk_samples}
    chunks = tuple(
        max(1, min(size, limits.get(dimension, size)))
        for size, dimension in zip(shape, dimensions, strict=True)
    )
    return group.create_array(
        name,
        shape=shape,
        chunks=chunks,
        dtype=str if np.dtype(dtype) == object else dtype,
        fill_value=None,
        config={"write_empty_chunks": True},
        compressors=_compressor(np.dtype(dtype)),
        attributes={"_ARRAY_DIMENSIONS": list(dimensions)},
    )


def _compressor(dtype: np.dtype[Any]) -> Any:
    """By Blosc: level 1 in large blocks leaves no more than level 3 in small, in half the time."""
    if dtype in (np.bool_, np.int8):
        return numcodecs.Blosc(cname="zstd", clevel=1, shuffle=2, blocksize=_BLOCK)
    return numcodecs.Blosc(cname="zstd", clevel=7, shuffle=1)


def _region_index(panel: Variants) -> NDArray[np.int32]:
    """A row per chunk: its number, contig, first and last position, furthest end, records."""
    rows = []
    ends = panel.positions + np.char.str_len(panel.ref) - 1
    for number, start in enumerate(range(0, panel.n_sites, _CHUNK_SITES)):
        chunk = slice(start, start + _CHUNK_SITES)
        positions = panel.positions[chunk]
        rows.append((number, 0, positions[0], positions[-1], ends[chunk].max(), positions.size))
    return np.array(rows, np.int32).reshape(-1, 6)
