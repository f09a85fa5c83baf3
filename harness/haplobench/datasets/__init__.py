"""Datasets that come with haplobench: described here, read in the modules named by `target`."""

from __future__ import annotations

from collections.abc import Iterable

from haplobench.datasets.params import EmbeddedParams, FileParams, IgsrParams, SimulatedParams
from haplobench.plugin import DatasetSpec, Module
from haplobench.plugin.hooks import hookimpl

_CYVCF2 = Module("cyvcf2", "haplobench[formats]")
_PYSAM = Module("pysam", "haplobench[formats]")


@hookimpl
def haplobench_datasets() -> Iterable[DatasetSpec]:
    """The datasets `embedded`, `file`, `igsr` and `simulated`."""
    return (
        DatasetSpec(
            name="embedded",
            version="1",
            target="haplobench.datasets.embedded:Embedded",
            summary=(
                "Panels of the 1000 Genomes Project, phase 3, in the package itself: 300 Europeans "
                "at chr20:1-4 Mb, or all 2,504 people at chr1:11.70-11.84 Mb."
            ),
            params=EmbeddedParams,
            citations=("1000genomes2015",),
        ),
        DatasetSpec(
            name="file",
            version="1",
            target="haplobench.datasets.file:File",
            summary="Your own haplotypes: VCF, BCF, VCF Zarr, PLINK 1 and 2, or .hapt.",
            params=FileParams,
        ),
        DatasetSpec(
            name="igsr",
            version="1",
            target="haplobench.datasets.igsr:Igsr",
            summary=(
                "2,504 people of the 1000 Genomes Project, phase 3: any region, fetched through "
                "the release's remote index, cached and verified."
            ),
            params=IgsrParams,
            needs=(_CYVCF2, _PYSAM),
            citations=("1000genomes2015",),
        ),
        DatasetSpec(
            name="simulated",
            version="1",
            target="haplobench.datasets.simulated:Simulated",
            summary="Genomes simulated under any demographic model of the stdpopsim catalogue.",
            params=SimulatedParams,
            needs=(
                Module("stdpopsim", "haplobench[coalescent]"),
                Module("msprime", "haplobench[coalescent]"),
            ),
            citations=("adrion2020", "baumdicker2022"),
        ),
    )
