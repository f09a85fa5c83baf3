"""Datasets that come with haplobench: described here, read in the modules named by `target`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field, model_validator

from haplobench.data.formats.options import RegionText
from haplobench.plugin import DatasetSpec, Module, Params, hookimpl

IGSR_RELEASE = "https://ftp.1000genomes.ebi.ac.uk/vol1/ftp/release/20130502/"


class EmbeddedParams(Params):
    """A panel in the package; `region` and `populations` choose a part of it.

    `panel`: `chr20-eur` has 300 Europeans and 9,349 SNPs with MAF of at least 1 % in 3 Mb;
    `chr1-all` all 2,504 people of five superpopulations, and all 4,294 SNPs of 140 kb.
    """

    panel: Literal["chr20-eur", "chr1-all"] = "chr20-eur"
    region: RegionText = ""
    populations: tuple[str, ...] = ()


class FileParams(Params):
    """Haplotypes of a file; `~` in paths is the home folder.

    Suites and `bench data` expand `${HAPLOBENCH_DATA}` and other variables of the environment.

    Attributes
    ----------
    path : str
        VCF, BCF, VCF Zarr, PLINK 1 or 2, or `.hapt`; by its ending.
    region, contig, populations, superpopulations, samples, snps_only, max_missing,
    allow_unphased, skip_unphased, strict, haploid, build
        As in `ReadOptions`.
    panel_file : str
        Population labels: the 1000 Genomes panel file (`sample`, `pop`, `super_pop`), its
        pedigrees, the IGSR portal's table of samples, a `.psam`, or columns named likewise.
    pedigree_file : str
        Families, kept on one side of the split: PLINK's `.fam`, a pedigree of the 1000 Genomes
        Project, or columns named likewise. A `.fam` or `.psam` beside the haplotypes, and a
        panel file with such columns, are read without it.
    map : str
        Recombination map: SHAPEIT, HapMap, Eagle, IMPUTE2, PLINK, bedGraph or deCODE columns.
    fasta : str
        Reference sequence, to lay under the haplotypes.
    citation, licence : str
        Noted in the provenance.
    """

    path: str
    region: RegionText = ""
    contig: str = ""
    panel_file: str = ""
    pedigree_file: str = ""
    populations: tuple[str, ...] = ()
    superpopulations: tuple[str, ...] = ()
    samples: tuple[str, ...] = ()
    snps_only: bool = True
    max_missing: float = Field(default=0.0, ge=0.0, le=1.0)
    allow_unphased: bool = False
    skip_unphased: bool = False
    strict: bool = False
    haploid: bool = False
    build: str = ""
    map: str = ""
    fasta: str = ""
    citation: str = ""
    licence: str = ""


class IgsrParams(Params):
    """A region of the 1000 Genomes Project, phase 3 (GRCh37), fetched by its remote index.

    Attributes
    ----------
    region : str
        `20:1000000-4000000`, or `20` for the whole chromosome; autosomes.
    populations, superpopulations, samples : tuple of str
    max_missing : float
    map, fasta : str
        Local files, as in the `file` dataset.
    base_url : str
        Folder of the release, or of a mirror.
    checksums : dict
        MD5 of whole files by name, verified where a whole file is fetched.
    timeout_s : float
        Longest silence of the server.
    retries : int
        Attempts after the first, with growing pauses.
    """

    region: RegionText = Field(min_length=1)
    populations: tuple[str, ...] = ()
    superpopulations: tuple[str, ...] = ()
    samples: tuple[str, ...] = ()
    max_missing: float = Field(default=0.0, ge=0.0, le=1.0)
    map: str = ""
    fasta: str = ""
    base_url: str = IGSR_RELEASE
    checksums: dict[str, str] = Field(default_factory=dict)
    timeout_s: float = Field(default=30.0, gt=0)
    retries: int = Field(default=5, ge=0, le=20)


class SimulatedParams(Params):
    """A panel simulated under a demographic model of the stdpopsim catalogue.

    Attributes
    ----------
    species, model : str
        Identifiers in the catalogue, for example `HomSap` and `OutOfAfrica_3G09`.
    samples : dict
        Diploid people by population of the model; empty takes `people` shared out evenly.
    people : int
        How many, where `samples` is empty.
    length : int
        bp, of a generic contig with the species' mean recombination rate, or `cm_per_mb`.
    cm_per_mb : float or None
        Recombination rate of the generic contig, cM/Mb.
    contig, region : str
        A chromosome of the species instead of `length`, or a region of it.
    map : str
        Recombination map of that chromosome; without it the chromosome's mean rate.
    min_count : int
        Sites with fewer copies of the minor allele are left out as they are simulated.
    seed_offset : int
        Gives other genomes from the same seed of a suite.
    told : tuple of str
        What is told with the haplotypes: `labels` of populations, and the `map` they were
        simulated with. A panel that lacks them shows how a generator does without.
    """

    species: str = "HomSap"
    model: str = "OutOfAfrica_3G09"
    samples: dict[str, int] = Field(default_factory=dict)
    people: int = Field(default=600, ge=1)
    length: int = Field(default=3_000_000, ge=1)
    cm_per_mb: float | None = Field(default=None, gt=0, le=1e6)
    contig: str = ""
    region: RegionText = ""
    map: str = ""
    told: tuple[Literal["labels", "map"], ...] = ("labels", "map")
    min_count: int = Field(default=1, ge=1)
    seed_offset: int = 0

    @model_validator(mode="after")
    def _counts(self) -> SimulatedParams:
        for population, count in self.samples.items():
            if count < 0:
                raise ValueError(f"samples.{population}: {count} people can't be sampled")
        if self.samples and not any(self.samples.values()):
            raise ValueError("samples: nobody is to be sampled")
        if self.map and not (self.contig or self.region):
            raise ValueError("map: needs the contig or region that it maps")
        if self.cm_per_mb is not None and (self.contig or self.region):
            raise ValueError("cm_per_mb: is of a generic contig; a chromosome has rates of its own")
        return self


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
