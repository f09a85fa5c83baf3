"""What a generator samples, checked batch by batch and made a panel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from haplobench.distributed.group import ProcessGroup, shard
from haplobench.errors import PanelError, PluginError
from haplobench.panel import Panel
from haplobench.plugin import GeneratorSpec, SampleRequest
from haplobench.runner.prepared import Prepared

_BLOCK = 256


class Collected:
    """Takes a rank's batches of a cohort, checks each, and makes a panel of all ranks' rows.

    The cohort is shared out over the ranks in contiguous parts: `part` is the request that this
    one's generator is to be asked; None where it has nothing to do (a generator with sites of
    its own gives one whole panel, which rank 0 asks for).
    """

    def __init__(
        self,
        spec: GeneratorSpec,
        request: SampleRequest,
        train: Panel,
        scratch: Path,
        group: ProcessGroup,
    ) -> None:
        self.spec = spec
        self.request = request
        self.train = train
        self.group = group
        self.first, self.part = _part(spec, request, train.ploidy, group)
        self.panel: Panel | None = None
        self.rows = 0
        self.batches = 0
        if spec.site_matched:
            # On disk, so that a large cohort never has to fit in memory.
            path = scratch / f"draw{request.start}.npy"
            shape = (request.n_haplotypes, train.n_sites)
            if group.rank == 0:
                self.haplotypes = np.lib.format.open_memmap(path, "w+", np.int8, shape)
            group.barrier()
            if group.rank:
                self.haplotypes = np.lib.format.open_memmap(path, "r+")

    def _refuse(self, found: str, expected: str) -> PluginError:
        return PluginError(
            f"generator {self.spec.name}: batch {self.batches} of sample() {found}, "
            f"expected {expected}"
        )

    def take(self, batch: object) -> None:
        """Check a batch and keep it; PluginError says what was found and what expected."""
        self.batches += 1
        if self.spec.site_matched:
            self._take_rows(batch)
        else:
            self._take_panel(batch)

    def _take_rows(self, batch: object) -> None:
        n_sites, wanted = self.train.n_sites, self.part.n_haplotypes if self.part else 0
        if not isinstance(batch, np.ndarray):
            raise self._refuse(f"is {type(batch).__name__}", "an int8 array")
        if batch.ndim != 2 or batch.shape[1] != n_sites:
            raise self._refuse(f"has shape {batch.shape}", f"(haplotypes, {n_sites})")
        if batch.dtype != np.int8:
            raise self._refuse(f"has dtype {batch.dtype}", "int8")
        if batch.shape[0] > self.request.batch_size:
            raise self._refuse(
                f"has {batch.shape[0]} haplotypes", f"at most batch_size {self.request.batch_size}"
            )
        if self.rows + batch.shape[0] > wanted:
            raise self._refuse(
                f"brings the rows to {self.rows + batch.shape[0]}", f"{wanted} in all"
            )
        if batch.size and (batch.min() < 0 or batch.max() > 1):
            bad = int(batch.min() if batch.min() < 0 else batch.max())
            raise self._refuse(f"has allele {bad}", "0 or 1")
        begin = self.first + self.rows
        self.haplotypes[begin : begin + batch.shape[0]] = batch
        self.rows += batch.shape[0]

    def _take_panel(self, batch: object) -> None:
        if not isinstance(batch, Panel):
            raise self._refuse(
                f"is {type(batch).__name__}", "one Panel, since its sites are its own"
            )
        if self.panel is not None:
            raise self._refuse("is a second Panel", "exactly one")
        if batch.n_haplotypes != self.request.n_haplotypes:
            raise self._refuse(
                f"has {batch.n_haplotypes} haplotypes", str(self.request.n_haplotypes)
            )
        if batch.ploidy != self.train.ploidy:
            raise self._refuse(f"has ploidy {batch.ploidy}", str(self.train.ploidy))
        if batch.has_missing:
            raise self._refuse("has missing alleles", "0 or 1")
        self.panel = batch

    def cohort(self, prepared: Prepared) -> Panel | None:
        """The cohort as a panel: all rows there, labelled if conditional, filtered if site-free.

        On rank 0; None elsewhere.
        """
        if self.spec.site_matched:
            self._check_rows()
            if self.group.rank:
                self.haplotypes.flush()
            self.group.barrier()
        if self.group.rank:
            return None
        if not self.spec.site_matched:
            if self.panel is None:
                raise PluginError(
                    f"generator {self.spec.name}: sample() yielded nothing, expected one Panel"
                )
            keep = self.panel.common_sites(prepared.facts["min_maf"])
            if not keep.any():
                raise PluginError(
                    f"generator {self.spec.name}: none of the {self.panel.n_sites} sites sampled "
                    f"has a MAF of {prepared.facts['min_maf']:g} or more"
                )
            return self.panel if keep.all() else self.panel.select_sites(keep)
        try:
            return self.train.with_haplotypes(self.haplotypes, **_labels(prepared, self.request))
        except PanelError as error:
            raise PluginError(f"generator {self.spec.name}: {error}") from None

    def _check_rows(self) -> None:
        wanted = self.part.n_haplotypes if self.part else 0
        if self.rows != wanted:
            raise PluginError(
                f"generator {self.spec.name}: sample() yielded {self.rows} haplotypes in "
                f"{self.batches} batches, expected {wanted}"
            )


def _part(
    spec: GeneratorSpec, request: SampleRequest, ploidy: int, group: ProcessGroup
) -> tuple[int, SampleRequest | None]:
    """First row and request of a rank's part: whole people, whole blocks where there are many."""
    if not spec.site_matched:
        return 0, request if group.rank == 0 else None
    n = request.n_haplotypes
    rows = shard(n, group.rank, group.size, align=_BLOCK if n >= _BLOCK * group.size else ploidy)
    if rows.start == rows.stop:
        return rows.start, None
    populations = None if request.populations is None else request.populations[rows]
    return rows.start, replace(
        request,
        n_haplotypes=rows.stop - rows.start,
        start=request.start + rows.start,
        populations=populations,
    )


def _labels(prepared: Prepared, request: SampleRequest) -> dict[str, NDArray[np.str_]]:
    if request.populations is None:
        return {}
    population = request.populations[:: prepared.train.ploidy]
    real = (prepared.train, prepared.holdout)
    above = {
        str(name): str(group)
        for panel in real
        for name, group in zip(panel.population, panel.superpopulation, strict=True)
    }
    groups = [above[str(name)] for name in population]
    return {"population": population, "superpopulation": np.array(groups, np.str_)}
