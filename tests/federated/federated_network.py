"""Hospitals in one process, each with a node configuration of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flwr.app import Context, RecordDict
from flwr.clientapp import ClientApp

from haplobench_federated.grid import InProcessGrid, node_id


class LocalNetwork(InProcessGrid):
    """A grid whose clients have node configurations as SuperNodes would.

    What a client raises is raised here: a SuperNode would log it and answer with an error.
    """

    def __init__(
        self, app: ClientApp, nodes: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]
    ) -> None:
        contexts = {
            client: Context(1, node_id(client), dict(node), RecordDict(), dict(settings))
            for client, node in enumerate(nodes)
        }
        super().__init__(app, contexts)
