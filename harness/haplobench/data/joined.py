"""Panels of several contigs as one: their sites one contig after the other, people kept whole.

A joined panel's `contig` names them all, separated by commas (which no contig's name has), and its
positions are bp of the contig plus `STEP` times the contig's number, from 0: increasing throughout,
and so far apart from one contig to the next that no window in bp holds sites of two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from haplobench.data.contigs import same_contig
from haplobench.data.panel import Panel
from haplobench.data.prepared import Prepared, digests
from haplobench.errors import PanelError
from haplobench.units import counted

STEP = 10**10
"""bp from one contig's origin to the next one's; longer than any known chromosome."""
_BLOCK_BYTES = 1 << 26


def join_panels(panels: Sequence[Panel], scratch: Path) -> Panel:
    """The same people's panels of different contigs as one panel, in the order given.

    Its haplotypes are a memory-mapped file in the folder `scratch`, filled in blocks of rows:
    (n_haplotypes, n_sites of all) int8. Phase says nothing from one contig to the next. Its build
    is that of those whose build is known.

    Raises
    ------
    PanelError
        If the panels are of one contig twice, or of other people, labels, builds or ploidies; it
        names the first that is.
    """
    first = next((panel for panel in panels if panel.build), panels[0])
    first = panels[0].changed(build=first.build)
    for at, panel in enumerate(panels):
        for other in panels[:at]:
            if same_contig(panel.contig, other.contig):
                raise PanelError(f"two contigs are one: {other.contig} and {panel.contig}")
        _same_people(first, panel)
        if panel.n_sites and panel.positions[-1] >= STEP:
            raise PanelError(f"{panel.contig}: position {panel.positions[-1]}, expected < {STEP}")
    bounds = np.cumsum([0, *(panel.n_sites for panel in panels)])
    shape = (first.n_haplotypes, int(bounds[-1]))
    step = max(1, _BLOCK_BYTES // max(1, shape[1]))
    # An empty file can't be mapped.
    joined = (
        np.lib.format.open_memmap(scratch / "joined.npy", "w+", np.int8, shape)
        if all(shape)
        else np.empty(shape, np.int8)
    )
    for low in range(0, shape[0], step):
        for panel, start, end in zip(panels, bounds[:-1], bounds[1:], strict=True):
            joined[low : low + step, start:end] = panel.haplotypes[low : low + step]
    return replace(
        first,
        haplotypes=joined,
        positions=np.concatenate([panel.positions + i * STEP for i, panel in enumerate(panels)]),
        contig=",".join(panel.contig for panel in panels),
        ref=np.concatenate([panel.ref for panel in panels]),
        alt=np.concatenate([panel.alt for panel in panels]),
        phased=all(panel.phased for panel in panels),
        left_out={},
    )


def join_prepared(parts: Sequence[Prepared], scratch: Path) -> Prepared:
    """Prepared datasets of contigs as one, without map and sequence; `scratch` is an empty folder.

    Who is held out, and set apart for early stopping, is so on the first. Raises PanelError for
    contigs that don't belong together.
    """

    def joined(name: str) -> Panel:
        (scratch / name).mkdir()
        return join_panels([getattr(part, name) for part in parts], scratch / name)

    first, told = parts[0], [part.facts for part in parts]
    train = joined("train")
    nobody = all(part.holdout.digest == part.train.digest for part in parts)
    holdout = train if nobody else joined("holdout")
    common = np.concatenate([part.common for part in parts])
    digest, content = digests(train, holdout, first.validation, common, None, None)
    skipped: Counter[str] = Counter()
    for facts in told:
        skipped.update(facts.skipped)
    whole = replace(
        first.facts,
        digest=digest,
        content=content,
        contig=train.contig,
        contigs=tuple(facts.contig for facts in told),
        end=told[-1].end,
        phased=all(facts.phased for facts in told),
        n_sites=train.n_sites,
        n_common_sites=int(common.sum()),
        skipped=dict(skipped),
        recombination_map=all(facts.recombination_map for facts in told),
        surrogate_sequence=any(facts.surrogate_sequence for facts in told),
    )
    return Prepared(train, holdout, first.validation, common, None, None, whole)


def _same_people(first: Panel, panel: Panel) -> None:
    """Raise PanelError where a contig isn't of the first's people in their order, or its build."""
    for name in ("ploidy", "build"):
        one, other = getattr(first, name), getattr(panel, name)
        if one != other and other != "":
            raise PanelError(f"contig {panel.contig}: {name} {other!r}, expected {one!r}")
    order = order_of_people(panel, first)
    if (moved := np.flatnonzero(order != np.arange(order.size))).size:
        found, expected = (str(one.samples[moved[0]]) for one in (panel, first))
        raise PanelError(
            f"contig {panel.contig}: person {moved[0] + 1} is {found}, but {expected} on contig "
            f"{first.contig}, the first"
        )


def order_of_people(panel: Panel, *parts: Panel) -> NDArray[np.int64]:
    """Places in a contig's panel of the first contig's people, `parts` one after the other: (n,).

    Raises PanelError, with names, where its people or their labels are others.
    """
    names = np.concatenate([part.samples for part in parts])
    there = f"contig {parts[0].contig}, the first"
    if different := other_people(names, panel.samples):
        raise PanelError(
            f"contig {panel.contig}: its people aren't those of {there}: {different}",
            hint="keep the same people on all contigs; a dataset's samples or populations do so",
        )
    by_name = np.argsort(panel.samples)
    order = by_name[np.searchsorted(panel.samples, names, sorter=by_name)].astype(np.int64)
    for key in ("population", "superpopulation"):
        known = np.concatenate([getattr(part, key) for part in parts])
        own = getattr(panel, key)[order]
        if (differ := np.flatnonzero(known != own)).size:
            found, expected = (str(values[differ[0]]) for values in (own, known))
            raise PanelError(
                f"contig {panel.contig}: {key} of {names[differ[0]]} is {found!r}, but "
                f"{expected!r} on {there}"
            )
    return order


def other_people(known: NDArray[np.str_], found: NDArray[np.str_]) -> str:
    """How people found differ from those known, by name, up to three each; empty if they don't."""
    texts = []
    for text, names in (
        (("person isn't there", "people aren't there"), np.setdiff1d(known, found)),
        (("person is new", "people are new"), np.setdiff1d(found, known)),
    ):
        if names.size:
            shown = ", ".join(names[:3].tolist()) + (", …" if names.size > 3 else "")
            texts.append(f"{counted(names.size, *text)} ({shown})")
    return "; ".join(texts)


def contig_of_sites(panel: Panel) -> NDArray[np.int64]:
    """Number of each site's contig, from 0: (n_sites,) int64; 0 throughout unless joined."""
    if "," not in panel.contig:
        return np.zeros(panel.n_sites, np.int64)
    return panel.positions // STEP


def contigs_of(panel: Panel) -> list[Panel]:
    """The panels of a joined panel's contigs, haplotypes not copied; itself if it isn't joined."""
    names = panel.contig.split(",")
    if len(names) == 1:
        return [panel]
    # Kept with the panel, so that each contig's digest is taken once.
    if (kept := panel.__dict__.get("_contigs")) is not None:
        return list(kept)
    bounds = np.searchsorted(contig_of_sites(panel), np.arange(len(names) + 1))
    panel.__dict__["_contigs"] = parts = [
        replace(
            panel,
            haplotypes=panel.haplotypes[:, low:high],
            positions=panel.positions[low:high] - i * STEP,
            contig=name,
            ref=panel.ref[low:high],
            alt=panel.alt[low:high],
        )
        for i, (name, low, high) in enumerate(zip(names, bounds[:-1], bounds[1:], strict=True))
    ]
    return list(parts)
