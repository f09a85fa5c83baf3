"""Which client holds which people. A person is never split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from haplobench import BenchError, FormatError, Panel
from haplobench.user_text import numbered_lines, read_text
from haplobench_federated.params import FederatedParams


def partition(
    panel: Panel, params: FederatedParams, rng: np.random.Generator
) -> dict[str, NDArray[np.int64]]:
    """Share out the people of a panel: each client's name, and its people's indices, increasing.

    Raises BenchError where people have no label to go by, where the file names people that
    don't exist or misses some, or where a client would have nobody.
    """
    if params.partition == "file":
        assert params.partition_file is not None  # checked by the parameters
        clients = by_file(panel, Path(params.partition_file))
    else:
        names = [f"client-{i}" for i in range(params.clients)]
        if panel.n_samples < params.clients:
            raise BenchError(
                f"partition: {panel.n_samples} people for {params.clients} clients; expected at "
                "least one each"
            )
        if params.partition == "iid":
            parts = np.array_split(rng.permutation(panel.n_samples), params.clients)
        elif params.partition == "dirichlet":
            parts = dirichlet(panel.population, params.clients, params.concentration, rng)
        else:
            parts = by_label(panel, params.partition, params.clients)
        clients = dict(zip(names, parts, strict=True))
    for name, people in clients.items():
        if not people.size:
            raise BenchError(
                f"partition {params.partition}: {name} has no people",
                hint="fewer clients, or a greater concentration",
            )
    return {name: np.sort(people).astype(np.int64) for name, people in clients.items()}


def by_label(panel: Panel, which: str, clients: int) -> list[NDArray[np.int64]]:
    """Whole populations or superpopulations, the largest first, to the smallest client so far."""
    labels = panel.population if which == "population" else panel.superpopulation
    if (labels == "").any():
        raise BenchError(f"partition {which}: not every person of the panel has a {which}")
    names, counts = np.unique(labels, return_counts=True)
    if names.size < clients:
        raise BenchError(
            f"partition {which}: {names.size} labels for {clients} clients; expected at most "
            f"{names.size} clients"
        )
    sizes = np.zeros(clients, np.int64)
    held: list[list[NDArray[np.int64]]] = [[] for _ in range(clients)]
    for label in np.lexsort((names, -counts)):
        smallest = int(np.argmin(sizes))
        held[smallest].append(np.flatnonzero(labels == names[label]))
        sizes[smallest] += counts[label]
    return [np.concatenate(parts) for parts in held]


def dirichlet(
    labels: NDArray[np.str_], clients: int, concentration: float, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Each label's people by shares drawn from a symmetric Dirichlet distribution.

    Hsu, Qi & Brown 2019, arXiv:1909.06335.
    """
    held: list[list[NDArray[np.int64]]] = [[] for _ in range(clients)]
    for label in np.unique(labels):
        people = rng.permutation(np.flatnonzero(labels == label))
        shares = rng.dirichlet(np.full(clients, concentration))
        cuts = np.round(np.cumsum(shares)[:-1] * people.size).astype(np.int64)
        for client, part in enumerate(np.split(people, cuts)):
            held[client].append(part)
    return [np.concatenate(parts) for parts in held]


def by_file(panel: Panel, path: Path) -> dict[str, NDArray[np.int64]]:
    """As the file says; people it names who are not in the panel are passed over."""
    client_of: dict[str, str] = {}
    for number, fields in enumerate(_lines(path), 1):
        if len(fields) != 2 or not all(fields):
            raise FormatError(
                f"{path}: line {number}: found {len(fields)} fields, expected sample and client, "
                "separated by a tab"
            )
        sample, client = fields
        if client_of.setdefault(sample, client) != client:
            raise FormatError(
                f"{path}: line {number}: {sample} is at {client} and at {client_of[sample]}; "
                "expected one client per person"
            )
    missing = [str(sample) for sample in panel.samples if str(sample) not in client_of]
    if missing:
        raise BenchError(
            f"{path}: {len(missing)} people of the panel are at no client, the first is "
            f"{missing[0]}"
        )
    at = np.array([client_of[str(sample)] for sample in panel.samples])
    return {str(name): np.flatnonzero(at == name) for name in np.unique(at)}


def _lines(path: Path) -> Sequence[list[str]]:
    return [line.split("\t") for _, line in numbered_lines(read_text(path)) if line.strip()]
