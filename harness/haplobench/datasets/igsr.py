"""The 1000 Genomes Project, phase 3, by region through the release's remote tabix index."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock

from haplobench.data.contigs import plain_name, same_contig
from haplobench.data.formats import ReadOptions, read_panel
from haplobench.data.formats.bgzf import MAX_BLOCK, Offset, Tabix, blocks, compress
from haplobench.data.formats.options import BGZF_END, Region, require_whole
from haplobench.datasets import IgsrParams
from haplobench.datasets.file import read_surroundings
from haplobench.errors import BenchError, FormatError
from haplobench.files import cache_folder, write_json
from haplobench.plugin import LoadedDataset, RunContext
from haplobench.references import cite

PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_READ_BYTES = 1 << 18
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_WORTH_A_RETRY = frozenset({408, 425, 429, 500, 502, 503, 504})

Progress = Callable[[float, str], None]


class _ChangedError(Exception):
    """The remote file is another one than when the partial file was begun."""


@dataclass
class _Partial:
    """A partial file, and the record beside it of what it is part of."""

    path: Path
    validator: str = ""
    total: int | None = None

    @property
    def notes(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def restore(self) -> None:
        try:
            notes = json.loads(self.notes.read_text())
            self.validator, self.total = str(notes["validator"]), notes["total"]
        except (OSError, ValueError, KeyError, TypeError):
            self.discard()

    def note(self) -> None:
        self.notes.write_text(json.dumps({"validator": self.validator, "total": self.total}))

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)
        self.validator, self.total = "", None


@dataclass(frozen=True)
class Remote:
    """A folder of files on a server, and its local cache.

    Attributes
    ----------
    base_url : str
    folder : Path
        Where the cache of this base URL lies.
    timeout_s : float
        Longest silence of the server.
    retries : int
        Attempts after one that brought nothing new.
    """

    base_url: str
    folder: Path
    timeout_s: float = 30.0
    retries: int = 5
    progress: Progress = field(default=lambda fraction, message: None)

    @classmethod
    def at(cls, base_url: str, **options: Any) -> Remote:
        """The remote folder `base_url`, cached under the user's cache folder.

        Raises BenchError unless the URL is http or https.
        """
        if urllib.parse.urlsplit(base_url).scheme not in ("http", "https"):
            raise BenchError(f"base_url {base_url!r}: expected http:// or https://")
        base_url = base_url.rstrip("/") + "/"
        key = hashlib.sha256(base_url.encode()).hexdigest()[:12]
        return cls(base_url, cache_folder() / "igsr" / key, **options)

    def whole(self, name: str, md5: str = "") -> Path:
        """A whole file, from the cache or fetched.

        Raises BenchError if the server can't be reached or hasn't the file, FormatError if
        what came isn't what was announced or hasn't the MD5 sum.
        """

        def check(path: Path) -> None:
            if md5 and (found := _digest(path, "md5")) != md5.lower():
                raise FormatError(
                    f"{self.base_url}{name}: MD5 {found}, expected {md5}", hint="fetch it again"
                )

        path = self._cached(name, self.folder / name, 0, None, check)
        check(path)  # a sum given since it was cached
        return path

    def part(self, name: str, start: int, stop: int, check: Callable[[Path], None]) -> Path:
        """Bytes `start` to `stop` (excluded; or the file's end) of a file.

        `check` may cut the fetched file shorter, and raises FormatError if it is damaged.
        Errors as for `whole`; BenchError too if the server serves no ranges.
        """
        path = self.folder / f"{name}.{start}-{stop}"
        return self._cached(name, path, start, stop, check)

    def _cached(
        self,
        name: str,
        path: Path,
        start: int,
        stop: int | None,
        check: Callable[[Path], None],
    ) -> Path:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BenchError(
                f"{self.folder}: the cache can't be written: {error}", hint="set HAPLOBENCH_CACHE"
            ) from None
        record = path.with_name(path.name + ".json")
        with filelock.FileLock(f"{path}.lock"):
            if path.exists() and _agrees(path, record):
                return path
            path.unlink(missing_ok=True)
            record.unlink(missing_ok=True)
            partial = _Partial(path.with_name(path.name + ".part"))
            try:
                self._fetch(name, partial, start, stop)
                check(partial.path)
            except FormatError:
                # Damaged on the way, perhaps: once more from the start.
                partial.discard()
                self._fetch(name, partial, start, stop)
                try:
                    check(partial.path)
                except FormatError:
                    partial.discard()
                    raise
            facts = {
                "url": self.base_url + name,
                "sha256": _digest(partial.path, "sha256"),
                "size": partial.size,
                "validator": partial.validator,
            }
            write_json(record, facts)
            partial.path.replace(path)
            partial.notes.unlink(missing_ok=True)
        return path

    def _fetch(self, name: str, partial: _Partial, start: int, stop: int | None) -> None:
        """Bring the partial file to its full length, over as many connections as it takes."""
        partial.restore()
        failures = 0
        while True:
            before = partial.size
            try:
                self._continue(name, partial, start, stop)
                return
            except _ChangedError:
                partial.discard()
                error: Exception = BenchError("the file changed on the server meanwhile")
            except urllib.error.HTTPError as refusal:
                if refusal.code not in _WORTH_A_RETRY:
                    raise BenchError(
                        f"{self.base_url}{name}: the server says {refusal.code} {refusal.reason}",
                        hint="check base_url and region",
                    ) from None
                error = refusal
            except (OSError, http.client.HTTPException) as dropped:
                error = dropped
            failures = 0 if partial.size > before else failures + 1
            if failures > self.retries:
                reason = getattr(error, "reason", None) or error
                raise BenchError(
                    f"{self.base_url}{name}: can't be fetched: {reason or type(error).__name__}",
                    hint=f"{partial.size} bytes are kept and continued from; check the network, "
                    "or give base_url of a mirror",
                )
            time.sleep(min(_LONGEST_PAUSE_S, PAUSE_S * 2 ** max(0, failures - 1)))

    def _continue(self, name: str, partial: _Partial, start: int, stop: int | None) -> None:
        """One request for what is still lacking; returns once nothing is."""
        have = partial.size
        if partial.total is not None and have >= partial.total:
            return
        headers = {"User-Agent": "haplobench", "Accept-Encoding": "identity"}
        if have or start or stop is not None:
            last = "" if stop is None else str(stop - 1)
            headers["Range"] = f"bytes={start + have}-{last}"
        request = urllib.request.Request(self.base_url + name, headers=headers)
        with self._answer(request) as answer:
            validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
            if have and validator != partial.validator:
                raise _ChangedError
            length = answer.headers.get("Content-Length")
            total: int | None
            if answer.status == 206:
                total = self._announced(name, answer.headers, start + have, start)
            elif stop is not None or start:
                raise BenchError(
                    f"{self.base_url}{name}: the server serves no byte ranges",
                    hint="choose another mirror, or the whole chromosome as region",
                )
            else:
                if have:
                    partial.discard()  # it starts again from the first byte
                total = int(length) if length else None
            partial.validator, partial.total = validator, total
            partial.note()
            with partial.path.open("ab") as out:
                for block in iter(lambda: answer.read(_READ_BYTES), b""):
                    out.write(block)
                    if total:
                        self.progress(min(1.0, partial.size / total), f"fetching {name}")
            if total is not None and partial.size > total:
                partial.discard()
                raise FormatError(f"{self.base_url}{name}: more bytes came than announced")
            if total is not None and partial.size < total:
                raise ConnectionError(f"connection dropped at byte {start + partial.size}")

    def _announced(self, name: str, headers: Any, expected: int, start: int) -> int:
        """Bytes of the whole part, told by Content-Range of an answer that begins at `expected`."""
        match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
        if match is None or int(match[1]) != expected:
            raise FormatError(
                f"{self.base_url}{name}: the server sent range {headers.get('Content-Range')!r}, "
                f"expected one from byte {expected}"
            )
        return int(match[2]) + 1 - start

    @contextmanager
    def _answer(self, request: urllib.request.Request) -> Iterator[Any]:
        with urllib.request.urlopen(request, timeout=self.timeout_s) as answer:
            yield answer


def _agrees(path: Path, record: Path) -> bool:
    """Whether a cached file is still what was recorded when it came."""
    try:
        facts = json.loads(record.read_text())
        return bool(
            path.stat().st_size == facts["size"] and _digest(path, "sha256") == facts["sha256"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, algorithm).hexdigest()


PANEL_FILE = "integrated_call_samples_v3.20130502.ALL.panel"
_AUTOSOMES = tuple(str(number) for number in range(1, 23))


def vcf_name(contig: str) -> str:
    """Name of an autosome's file in the release."""
    return f"ALL.chr{contig}.phase3_shapeit2_mvncall_integrated_v5b.20130502.genotypes.vcf.gz"


class Igsr:
    """The `igsr` dataset."""

    def load(self, params: IgsrParams, ctx: RunContext) -> LoadedDataset:
        """Fetch what the region needs (nothing that the cache holds), and read it.

        Raises BenchError if the server can't be reached, hasn't the files or serves no
        ranges; FormatError if what came is damaged.
        """
        region = Region.parse(params.region)
        contig = plain_name(region.contig)
        if contig not in _AUTOSOMES:
            raise BenchError(
                f"params.region: contig {region.contig!r}, expected an autosome, 1 to 22"
            )
        remote = Remote.at(
            params.base_url,
            timeout_s=params.timeout_s,
            retries=params.retries,
            progress=ctx.progress,
        )
        name = vcf_name(contig)
        panel_file = remote.whole(PANEL_FILE, params.checksums.get(PANEL_FILE, ""))
        if region.start == 1 and region.end is None:
            path = remote.whole(name, params.checksums.get(name, ""))
            require_whole(path)
        else:
            index = remote.whole(f"{name}.tbi", params.checksums.get(f"{name}.tbi", ""))
            path = ctx.scratch / f"{name.removesuffix('.vcf.gz')}.region.vcf.gz"
            fetch_region(remote, name, Tabix.read(index), region, path)
        options = ReadOptions(
            region=str(Region(contig, region.start, region.end)),
            panel_file=panel_file,
            build="GRCh37",
            **params.model_dump(
                include={"populations", "superpopulations", "samples", "max_missing"}
            ),
        )
        panel, skipped = read_panel(path, options, scratch=ctx.scratch)
        recombination_map, sequence = read_surroundings(panel, params.map, params.fasta)
        provenance = {
            "url": remote.base_url + name,
            "region": str(region),
            "release": "1000 Genomes Project, phase 3, 20130502, GRCh37",
            "citation": cite("1000genomes2015").text,
        }
        if recombination_map is not None and recombination_map.remark:
            provenance["map"] = f"{params.map} ({recombination_map.remark})"
        return LoadedDataset(panel, recombination_map, sequence, skipped, provenance)

    def files(self, params: IgsrParams) -> list[Path]:
        """What was fetched of all releases."""
        return [cache_folder() / "igsr"]

    def fingerprint(self, params: IgsrParams) -> str:
        """The parameters that choose content; the release itself doesn't change."""
        return params.model_dump_json(exclude={"timeout_s", "retries"})


def fetch_region(remote: Remote, name: str, index: Tabix, region: Region, path: Path) -> None:
    """Write the header and the blocks that hold a region as a small bgzipped VCF at `path`.

    It may hold some records before and after the region too.
    """
    contig = next((each for each in index.contigs if same_contig(each, region.contig)), None)
    if contig is None:
        raise FormatError(
            f"{remote.base_url}{name}: no contig {region.contig!r}; "
            f"it holds {', '.join(index.contigs)}"
        )
    span = index.span(contig, region.start, region.end)
    if span is None:
        raise FormatError(f"{remote.base_url}{name}: no record in {region}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as out:
        for begin, end in ((Offset(0, 0), index.first), span):
            for block in _between(remote, name, begin, end):
                out.write(block)
        out.write(BGZF_END)


def _between(remote: Remote, name: str, begin: Offset, end: Offset) -> Iterator[bytes]:
    """BGZF blocks from one offset to another, the outer ones cut to what is between."""
    # The last block's length is known once it is here; if nothing of it is wanted it stays away.
    stop = end.block + (MAX_BLOCK if end.within else 0)

    def check(path: Path) -> None:
        covered = begin.block
        for offset, block, _ in blocks(path, begin.block):
            if offset > end.block or (offset == end.block and not end.within):
                break
            covered = offset + len(block)
        if covered < end.block or (end.within and covered <= end.block):
            raise FormatError(
                f"{remote.base_url}{name}: cut short at byte {covered}, "
                f"expected records up to byte {end.block}"
            )
        with path.open("r+b") as handle:
            handle.truncate(covered - begin.block)

    piece = remote.part(name, begin.block, stop, check)
    for offset, block, text in blocks(piece, begin.block):
        low = begin.within if offset == begin.block else 0
        high = end.within if offset == end.block else len(text)
        cut = text[low:high]
        if cut:
            yield block if len(cut) == len(text) else compress(cut)
