"""The remote panel, against a server on this machine that can be told to misbehave."""

from __future__ import annotations

import hashlib
import http.server
import itertools
import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pysam
import pytest

from haplobench import BenchError, FormatError, RunContext
from haplobench.data.formats import ReadOptions, read_panel
from haplobench.data.formats.bgzf import Offset, Tabix, blocks
from haplobench.datasets import IgsrParams, igsr
from haplobench.datasets.igsr import PANEL_FILE, Igsr, vcf_name

PEOPLE = 40
SITES = 6_000
NAME = vcf_name("4")
REGION = "4:93400000-93700000"


@dataclass
class Server:
    """What is served, how it misbehaves, and what was asked."""

    url: str
    files: dict[str, bytes]
    ranges: bool = True
    drop_after: int | None = None  # bytes of each answer, then the connection closes
    status: int = 0  # an error for every request
    mangle: Callable[[str, int, bytes], bytes] = lambda name, start, body: body
    asked: list[tuple[str, str]] = field(default_factory=list)
    sent: int = 0


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A release folder in small: a VCF of one chromosome, its index, the panel file."""
    folder = tmp_path_factory.mktemp("release")
    rng = np.random.default_rng(7)
    positions = 93_000_000 + np.cumsum(rng.integers(1, 400, SITES))
    lines = [
        "##fileformat=VCFv4.1",
        "##contig=<ID=4,length=191154276>",
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">',
        "\t".join(
            [
                *("#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT"),
                *(f"P{i}" for i in range(PEOPLE)),
            ]
        ),
    ]
    for number, position in enumerate(positions):
        # Long deletions overlap windows far behind their position.
        ref, alt = ("A" * 30_000, "A") if number % 900 == 450 else ("C", "T")
        calls = "\t".join(f"{a}|{b}" for a, b in rng.integers(0, 2, (PEOPLE, 2)))
        note = rng.bytes(60).hex()  # keeps the blocks many
        lines.append(f"4\t{position}\t{note}\t{ref}\t{alt}\t.\tPASS\t.\tGT\t{calls}")
    path = folder / NAME
    with pysam.BGZFile(str(path), "wb") as out:
        out.write(("\n".join(lines) + "\n").encode())
    pysam.tabix_index(str(path), preset="vcf")
    labels = ["sample\tpop\tsuper_pop\tgender\t\t"]
    labels += [
        f"P{i}\t{'GBR' if i % 2 else 'YRI'}\t{'EUR' if i % 2 else 'AFR'}\tmale" for i in range(60)
    ]
    (folder / PANEL_FILE).write_text("\n".join(labels) + "\n")
    return {each.name: each.read_bytes() for each in folder.iterdir()}


@pytest.fixture
def server(
    release: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    monkeypatch.setenv("HAPLOBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(igsr, "PAUSE_S", 0.001)
    state = Server("", dict(release))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            asked = self.headers.get("Range", "")
            state.asked.append((name, asked))
            if state.status or name not in state.files:
                self.send_error(state.status or 404)
                return
            body = state.files[name]
            start, match = 0, re.fullmatch(r"bytes=(\d+)-(\d*)", asked)
            if match and state.ranges:
                start = int(match[1])
                stop = min(len(body), int(match[2]) + 1) if match[2] else len(body)
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(body)}")
                body = body[start:stop]
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", hashlib.md5(state.files[name]).hexdigest())
            self.end_headers()
            body = state.mangle(name, start, body)
            if state.drop_after is not None:
                body = body[: state.drop_after]
            state.sent += len(body)
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        state.url = f"http://127.0.0.1:{running.server_port}/release/"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield state
        running.shutdown()
        thread.join()


@pytest.fixture
def ctx(tmp_path: Path) -> RunContext:
    (tmp_path / "scratch").mkdir()
    return RunContext(seed=0, artifacts=tmp_path, scratch=tmp_path / "scratch")


@pytest.fixture
def local(release: dict[str, bytes], tmp_path: Path) -> Path:
    """The same files on disk, to be read directly."""
    folder = tmp_path / "local"
    folder.mkdir()
    for name, body in release.items():
        (folder / name).write_bytes(body)
    return folder


def params(server: Server, region: str = REGION, **others: object) -> IgsrParams:
    return IgsrParams.model_validate(
        {"region": region, "base_url": server.url, "retries": 2, "timeout_s": 5.0} | others
    )


@pytest.mark.parametrize(
    "region",
    [
        REGION,
        "chr4:93000001-93010000",
        "4:93400000-93400300",
        "4:93900000-",
        "4:1-93050000",
        "4",
    ],
)
def test_region_is_what_the_local_file_gives(
    server: Server, ctx: RunContext, local: Path, region: str
) -> None:
    loaded = Igsr().load(params(server, region), ctx)
    options = ReadOptions(region=region, panel_file=local / PANEL_FILE, build="GRCh37")
    expected, skipped = read_panel(local / NAME, options)
    assert loaded.panel.digest == expected.digest
    assert loaded.skipped == skipped
    assert set(loaded.panel.superpopulation) == {"AFR", "EUR"}
    assert loaded.provenance["url"] == server.url + NAME


def test_small_region_costs_few_bytes_and_a_second_time_none(
    server: Server, ctx: RunContext
) -> None:
    Igsr().load(params(server, "4:93400000-93420000"), ctx)
    assert server.sent < 0.35 * len(server.files[NAME])
    asked = len(server.asked)
    again = Igsr().load(params(server, "4:93400000-93420000"), ctx)
    assert len(server.asked) == asked
    assert again.panel.n_sites > 50


def test_populations_are_chosen(server: Server, ctx: RunContext) -> None:
    loaded = Igsr().load(params(server, populations=("GBR",)), ctx)
    assert set(loaded.panel.population) == {"GBR"}
    assert loaded.panel.n_samples == PEOPLE // 2
    with pytest.raises(FormatError, match=r"'GBS'.*did you mean GBR"):
        Igsr().load(params(server, populations=("GBS",)), ctx)


def test_dropped_connections_are_continued(server: Server, ctx: RunContext, local: Path) -> None:
    server.drop_after = 70_000
    loaded = Igsr().load(params(server), ctx)
    expected, _ = read_panel(
        local / NAME,
        ReadOptions(region=REGION, panel_file=local / PANEL_FILE, build="GRCh37"),
    )
    assert loaded.panel.digest == expected.digest
    starts = [int(asked[6:].partition("-")[0]) for name, asked in server.asked if name == NAME]
    assert len(starts) > 3
    # Each request begins where the last one broke off: nothing comes twice. (The first is
    # of the header.)
    steps = [later - earlier for earlier, later in itertools.pairwise(starts[1:])]
    assert set(steps) == {70_000}


def test_interrupted_fetch_is_continued_by_the_next_run(server: Server, ctx: RunContext) -> None:
    server.drop_after = 50_000
    calls = 0

    def dies_after_the_third(name: str, start: int, body: bytes) -> bytes:
        nonlocal calls
        calls += name == NAME
        return b"" if name == NAME and calls > 3 else body

    server.mangle = dies_after_the_third
    with pytest.raises(BenchError, match=r"can't be fetched.*are kept and continued from"):
        Igsr().load(params(server), ctx)
    server.mangle, server.drop_after = Server.mangle, None
    before = len(server.asked)
    Igsr().load(params(server), ctx)
    later = [asked for name, asked in server.asked[before:] if name == NAME]
    assert len(later) == 1  # one request for the rest, none for what had come


def test_file_that_changed_meanwhile_is_fetched_anew(server: Server, ctx: RunContext) -> None:
    server.drop_after = 400
    folder = igsr.Remote.at(server.url)

    def swap(name: str, start: int, body: bytes) -> bytes:
        if name == PANEL_FILE and start == 0 and len(server.asked) == 1:
            server.files[PANEL_FILE] = server.files[PANEL_FILE].replace(b"YRI", b"LWK")
        return body

    server.mangle = swap
    path = folder.whole(PANEL_FILE)
    assert path.read_bytes() == server.files[PANEL_FILE]
    assert b"YRI" not in path.read_bytes()


def test_server_without_ranges_is_refused_for_a_region(server: Server, ctx: RunContext) -> None:
    server.ranges = False
    with pytest.raises(BenchError, match="serves no byte ranges"):
        Igsr().load(params(server), ctx)
    assert len([name for name, _ in server.asked if name == NAME]) == 1  # and no retry
    assert not list(igsr.cache_folder().rglob(f"{NAME}*.part"))
    # A whole chromosome needs none.
    assert Igsr().load(params(server, "4"), ctx).panel.n_sites > SITES * 0.9


def test_whole_file_without_ranges_starts_again_and_gives_up(
    server: Server, ctx: RunContext
) -> None:
    server.ranges, server.drop_after = False, 100_000
    with pytest.raises(BenchError, match="can't be fetched: connection dropped at byte 100000"):
        Igsr().load(params(server, "4"), ctx)


def test_damaged_bytes_are_never_used(server: Server, ctx: RunContext, tmp_path: Path) -> None:
    def flip(name: str, start: int, body: bytes) -> bytes:
        if name != NAME or start == 0:
            return body
        middle = len(body) // 2
        return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]

    server.mangle = flip
    with pytest.raises(FormatError, match=r"BGZF block at byte \d+: "):
        Igsr().load(params(server), ctx)
    assert len([name for name, asked in server.asked if name == NAME]) == 3  # header, part, part
    cached = [path.name for path in (tmp_path / "cache").rglob(f"{NAME}.*-*") if path.is_file()]
    assert not [
        name for name in cached if not name.endswith((".lock", ".json")) and ".0-" not in name
    ]
    server.mangle = Server.mangle
    assert Igsr().load(params(server), ctx).panel.n_sites > 500


def test_damage_once_on_the_way_is_mended(server: Server, ctx: RunContext) -> None:
    damaged = False

    def flip_once(name: str, start: int, body: bytes) -> bytes:
        nonlocal damaged
        if name != NAME or start == 0 or damaged:
            return body
        damaged = True
        return body[:1000] + bytes(10) + body[1010:]

    server.mangle = flip_once
    assert Igsr().load(params(server), ctx).panel.n_sites > 500
    assert damaged


def test_cache_damaged_on_disk_is_fetched_again(
    server: Server, ctx: RunContext, tmp_path: Path
) -> None:
    first = Igsr().load(params(server), ctx)
    pieces = [
        path
        for path in (tmp_path / "cache").rglob(f"{NAME}.*-*")
        if path.suffix not in (".json", ".lock")
    ]
    assert len(pieces) == 2
    for path in pieces:
        body = bytearray(path.read_bytes())
        body[len(body) // 2] ^= 1
        path.write_bytes(body)
    asked = len(server.asked)
    again = Igsr().load(params(server), ctx)
    assert again.panel.digest == first.panel.digest
    assert len(server.asked) == asked + 2


def test_md5_of_whole_files(server: Server, ctx: RunContext) -> None:
    good = hashlib.md5(server.files[NAME]).hexdigest()
    Igsr().load(params(server, "4", checksums={NAME: good}), ctx)
    with pytest.raises(FormatError, match=r"MD5 .*, expected 0000"):
        Igsr().load(params(server, "4", checksums={NAME: "0" * 32}), ctx)


def test_temporary_refusals_are_tried_again(server: Server, ctx: RunContext) -> None:
    server.status = 503
    with pytest.raises(BenchError, match="can't be fetched: Service Unavailable"):
        Igsr().load(params(server), ctx)
    assert len(server.asked) == 3  # once, and two retries
    server.status = 0
    Igsr().load(params(server), ctx)


def test_absent_file(server: Server, ctx: RunContext) -> None:
    with pytest.raises(BenchError, match=r"ALL\.chr5.*the server says 404"):
        Igsr().load(params(server, "5:1-1000"), ctx)


def test_offline(server: Server, ctx: RunContext) -> None:
    nobody = params(server).model_copy(update={"base_url": "http://127.0.0.1:9/"})
    with pytest.raises(BenchError, match=r"can't be fetched: .*refused.*check the network"):
        Igsr().load(nobody, ctx)


def test_wrong_requests(server: Server, ctx: RunContext) -> None:
    with pytest.raises(BenchError, match="expected an autosome"):
        Igsr().load(params(server, "X:1-1000"), ctx)
    with pytest.raises(BenchError, match="expected http"):
        Igsr().load(params(server, base_url="ftp://127.0.0.1/"), ctx)
    with pytest.raises(FormatError, match=r"no (record|site to read) in 4:99000000-"):
        Igsr().load(params(server, "4:99000000-"), ctx)
    server.files[f"{NAME}.tbi"] = b"no index"
    (igsr.cache_folder()).exists() and shutil.rmtree(igsr.cache_folder())
    with pytest.raises(FormatError, match="not a whole tabix index"):
        Igsr().load(params(server), ctx)


def test_cache_that_cannot_be_written(
    server: Server, ctx: RunContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "blocked").write_text("")
    monkeypatch.setenv("HAPLOBENCH_CACHE", str(tmp_path / "blocked"))
    with pytest.raises(BenchError, match=r"can't be written.*set HAPLOBENCH_CACHE"):
        Igsr().load(params(server), ctx)


def test_fingerprint_is_of_content_alone(server: Server) -> None:
    one = Igsr().fingerprint(params(server))
    assert one == Igsr().fingerprint(params(server, retries=0))
    assert one != Igsr().fingerprint(params(server, "4:93400000-93700001"))


def test_spans_of_the_index_hold_every_record_of_the_region(local: Path) -> None:
    index = Tabix.read(local / f"{NAME}.tbi")
    records: list[tuple[int, int]] = []  # position, virtual offset of the line's start
    line, where = b"", 0
    for offset, _, text in blocks(local / NAME):
        for within in range(len(text)):
            if not line:
                where = offset << 16 | within
            line += text[within : within + 1]
            if line.endswith(b"\n"):
                if not line.startswith(b"#"):
                    records.append((int(line.split(b"\t", 2)[1]), where))
                line = b""
    assert len(records) == SITES
    assert index.first == Offset.of(records[0][1])
    rng = np.random.default_rng(3)
    for start in rng.integers(92_900_000, 94_300_000, 200).tolist():
        end = start + int(rng.integers(0, 100_000))
        inside = [where for position, where in records if start <= position <= end]
        span = index.span("4", start, end)
        if not inside:
            continue
        assert span is not None
        begin, stop = (each.block << 16 | each.within for each in span)
        assert begin <= inside[0]
        assert stop > inside[-1]
        # Not the whole chromosome: the index's bins are of 64 KiB of file at least.
        assert stop - begin <= inside[-1] - inside[0] + (5 << 32)
    assert json.dumps(index.contigs) == '["4"]'
