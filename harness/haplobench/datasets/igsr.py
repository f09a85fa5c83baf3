"""The 1000 Genomes Project, phase 3, by region through the release's remote tabix index."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from haplobench.contigs import plain_name, same_contig
from haplobench.datasets.bgzf import MAX_BLOCK, Offset, Tabix, blocks, compress
from haplobench.datasets.file import read_surroundings
from haplobench.datasets.formats import ReadOptions, read_panel
from haplobench.datasets.formats.files import BGZF_END, require_whole
from haplobench.datasets.formats.options import Region
from haplobench.datasets.params import IgsrParams
from haplobench.datasets.remote import Remote
from haplobench.errors import BenchError, FormatError
from haplobench.plugin import LoadedDataset, RunContext

PANEL_FILE = "integrated_call_samples_v3.20130502.ALL.panel"
_AUTOSOMES = tuple(str(number) for number in range(1, 23))
_CITATION = "The 1000 Genomes Project Consortium, Nature 526, 68-74 (2015)"


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
            "citation": _CITATION,
        }
        if recombination_map is not None and recombination_map.remark:
            provenance["map"] = f"{params.map} ({recombination_map.remark})"
        return LoadedDataset(panel, recombination_map, sequence, skipped, provenance)

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
