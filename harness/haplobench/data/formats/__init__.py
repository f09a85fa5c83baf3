"""File formats of haplotypes: one module each, chosen here by the file's ending."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haplobench.data.formats.options import ReadOptions, Region, labels_beside
from haplobench.errors import FormatError
from haplobench.files import near_names

if TYPE_CHECKING:
    from haplobench.data.panel import Panel

__all__ = ["ENDINGS", "ReadOptions", "Region", "read_panel", "write_panel"]

# Format modules by ending; the longest ending that fits decides.
ENDINGS = {
    ".vcf": "vcf",
    ".vcf.gz": "vcf",
    ".vcf.bgz": "vcf",
    ".bcf": "vcf",
    ".vcz": "vcz",
    ".zarr": "vcz",
    ".bed": "plink1",
    ".bim": "plink1",
    ".fam": "plink1",
    ".pgen": "plink2",
    ".pvar": "plink2",
    ".pvar.zst": "plink2",
    ".psam": "plink2",
    ".hapt": "hapt",
    ".hapt.gz": "hapt",
}
_INSTALL = "pip install 'haplobench[formats]'"


def read_panel(
    path: Path | str, options: ReadOptions | None = None, *, scratch: Path | None = None
) -> tuple[Panel, dict[str, int]]:
    """Read haplotypes from a file, its format told by its ending.

    VCF and BCF (`.vcf`, `.vcf.gz`, `.bcf`), VCF Zarr (`.vcz`, `.zarr`), PLINK 1 (`.bed`),
    PLINK 2 (`.pgen`) and `.hapt`. Returns the panel and the records left out, counted by
    reason. With a `scratch` folder, haplotypes past 256 MiB are mapped from a file there.
    Formats that libraries read are read in a process of its own, which they end at some damaged
    files. Labels are those of `options.panel_file`, or of the table beside it (`labels_beside`), or
    the file's own.

    Raises FormatError: one line that names file, record or line, and cause.
    """
    path = Path(path)
    panel: Panel
    skipped: dict[str, int]
    options = options or ReadOptions()
    module = _format(path)
    beside = labels_beside(path)
    if options.panel_file is None and beside.is_file():
        options = options.model_copy(update={"panel_file": beside})
    if module.__name__.endswith(".hapt"):  # read by Python alone
        panel, skipped = module.read(path, options, scratch)
    else:
        from haplobench.data.formats.apart import read_apart

        panel, skipped = read_apart(lambda: module.read(path, options, scratch), path, scratch)
    if options.haploid and panel.ploidy > 1:
        if not panel.phased:
            raise FormatError(
                f"{path}: unphased, so that it can't be read as haploid", hint="phase the file"
            )
        panel = panel.as_haploid()
    return panel, skipped


def write_panel(panel: Panel, path: Path | str, notes: Mapping[str, str] | None = None) -> None:
    """Write a panel to a file (whole or not at all), its format told by its ending.

    VCF is bgzipped and indexed; PLINK formats come as their three files. Population labels, where
    everybody has one, go into `.psam`, `.hapt` and VCF Zarr, and into a table beside other formats
    (`labels_beside`); `notes` on how it was made into headers, where there are any.

    Raises FormatError for an unknown ending, or for what the format can't hold.
    """
    path = Path(path)
    _format(path).write(panel, path, notes)


def _format(path: Path) -> Any:
    fitting = [ending for ending in ENDINGS if path.name.endswith(ending)]
    if not fitting:
        raise FormatError(
            f"{path}: unknown ending; expected one of {', '.join(ENDINGS)}",
            hint=near_names("".join(path.suffixes[-2:]), ENDINGS, lead=""),
        )
    module = ENDINGS[max(fitting, key=len)]
    try:
        return importlib.import_module(f"haplobench.data.formats.{module}")
    except ModuleNotFoundError as error:
        raise FormatError(f"{path}: needs the Python module {error.name}", hint=_INSTALL) from None
