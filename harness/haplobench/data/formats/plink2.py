"""PLINK 2 binary files: `.pgen`, `.pvar` and `.psam`, with phase."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pgenlib

from haplobench.data.formats.collector import Collector
from haplobench.data.formats.options import ReadOptions, staged
from haplobench.data.formats.people import choose_people
from haplobench.data.formats.plink import (
    check_writable,
    read_bim,
    read_psam,
    read_pvar,
    write_psam,
    write_pvar,
)
from haplobench.data.formats.sites import Variants, choose_contig
from haplobench.data.panel import Panel
from haplobench.errors import FormatError
from haplobench.files import require_file

_BATCH_CALLS = 1 << 24
_MISSING = -9


def read(
    path: Path, options: ReadOptions, scratch: Path | None = None
) -> tuple[Panel, dict[str, int]]:
    """Read `.pgen` with `.pvar` (or `.pvar.zst`, `.bim`) and `.psam` (or `.fam`).

    Labels come from the `.psam` file's Population and SuperPop columns unless a panel file
    is given. Raises FormatError naming file and line or record.
    """
    stem = path.with_name(path.name.removesuffix(".zst")).with_suffix("")
    pgen = _beside(stem, ".pgen")
    pvar = _beside(stem, ".pvar", ".pvar.zst", ".bim")
    psam = _beside(stem, ".psam", ".fam")
    names, labels = read_psam(psam)
    people = choose_people(psam, names, options, labels)
    wanted = options.wanted
    table = read_bim(pvar) if pvar.suffix == ".bim" else read_pvar(pvar)
    contig = choose_contig(pvar, table.contig_names, wanted)
    sites, skipped = table.choose(contig, wanted, snps_only=options.snps_only)
    collector = Collector(path, options, people, scratch=scratch, at_most=sites.size)
    collector.skipped.merge(skipped)
    n_alleles = [max(2, 1 + len(alternates)) for alternates in table.alternates]
    with _opened(
        pgen,
        raw_sample_ct=len(names),
        variant_ct=table.n_sites,
        allele_idx_offsets=np.cumsum([0, *n_alleles]).astype(np.uintp),
        sample_subset=None if people.everybody else people.index.astype(np.uint32),
    ) as source:
        step = max(1, _BATCH_CALLS // (2 * people.index.size))
        for start in range(0, sites.size, step):
            chosen = sites[start : start + step]
            codes = np.empty((chosen.size, 2 * people.index.size), np.int32)
            phase = np.empty((chosen.size, people.index.size), np.bool_)
            source.read_alleles_and_phasepresent_list(chosen.astype(np.uint32), codes, phase)
            codes[codes == _MISSING] = -1
            collector.add(
                contig,
                table.positions[chosen],
                [table.ref[i] for i in chosen],
                [table.alternates[i][0] for i in chosen],
                codes.reshape(chosen.size, -1, 2),
                phase,
            )
    return collector.finish(contig)


def _beside(stem: Path, *endings: str) -> Path:
    for ending in endings:
        path = stem.with_name(stem.name + ending)
        if path.exists():
            require_file(path)
            return path
    path = stem.with_name(stem.name + endings[0])
    raise FormatError(
        f"{path}: no such file", hint=f"a .pgen needs {' or '.join(endings)} beside it"
    )


@contextmanager
def _opened(path: Path, **options: Any) -> Iterator[Any]:
    """A pgenlib reader, closed at the end; its failures told as FormatError."""
    try:
        source = pgenlib.PgenReader(str(path).encode(), **options)
    except (RuntimeError, OSError, ValueError) as error:
        raise FormatError(f"{path}: {_text(error, path)}") from None
    try:
        yield source
    except RuntimeError as error:
        raise FormatError(f"{path}: {_text(error, path)}") from None
    finally:
        source.close()


def _text(error: Exception, path: Path) -> str:
    """pgenlib's message, which comes as bytes, without the path that we name ourselves."""
    said = error.args[0] if error.args else ""
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    return " ".join(text.replace(f" of {path}", "").replace(f"{path} is", "is").split())


def write(panel: Panel, path: Path, notes: Mapping[str, str] | None = None) -> None:
    """Write `.pgen` (phased unless the panel isn't), `.pvar` and `.psam` with labels.

    Raises FormatError for other than diploid people and for half-missing genotypes.
    """
    check_writable(panel, path)
    write_variants(Variants.of(panel, notes), path)


def write_variants(panel: Variants, path: Path) -> None:
    """The same, of alleles that come site by site, nobody half missing."""
    stem = path.with_name(path.name.removesuffix(".zst")).with_suffix("")
    with staged(path) as folder:
        pgen = folder / f"{stem.name}.pgen"
        writer = pgenlib.PgenWriter(
            str(pgen).encode(),
            panel.n_samples,
            variant_ct=panel.n_sites,
            nonref_flags=False,
            hardcall_phase_present=panel.phased,
        )
        for _, block in panel.blocks():
            codes = block.astype(np.int32)
            codes[codes < 0] = _MISSING
            writer.append_alleles_batch(codes, panel.phased)
        writer.close()
        write_pvar(panel, folder / f"{stem.name}.pvar")
        write_psam(panel, folder / f"{stem.name}.psam")
