"""The same ServerApp and ClientApp where hospitals are machines of their own (`flwr run`).

The server's settings are the run's configuration (`[tool.flwr.app.config]`): `site_list`, `out`
and the parameters of `vae-federated` under `params`. A hospital's are its SuperNode's own
(`--node-config`): `panel`, `ledger` and `site_list`, and where it has them `labels` (people's
populations, tab-separated) and `withdrawn` (a list of people who left, see
`haplobench.data.consent.PeopleList`; with `allow_unknown=true` it may name people of other panels).
What a hospital reads, and what it may spend at most, is thus for it alone to say.
"""

from __future__ import annotations

import json
import logging
import math
import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.common.config import unflatten_dict
from flwr.serverapp import Grid, ServerApp
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import nn

from haplobench import BenchError, PrivacyStatement
from haplobench.data.consent import PeopleList, withdrawal_text
from haplobench.data.formats import ReadOptions, read_panel
from haplobench_federated.accounting import Ledger, privacy_statement
from haplobench_federated.client_app import ClientSite, client_app, client_mods, client_stages
from haplobench_federated.client_panels import SiteList, harmonise
from haplobench_federated.federation import (
    checked_delta,
    first_model,
    people_of,
    public_frequencies,
)
from haplobench_federated.generator import FittedFederated
from haplobench_federated.model import ModelFamily, WindowCodeFamily
from haplobench_federated.params import FederatedParams
from haplobench_federated.server_app import Progress, ServerPlan, run_rounds

LOG = logging.getLogger("haplobench.federated")
_CLIENT = ("panel", "ledger", "site_list")


class HospitalApp(ClientApp):  # type: ignore[misc]
    """The ClientApp of a SuperNode: parameters from the run, people from the node's own files.

    Batches and noise are always drawn from the operating system's entropy: a seed that a server
    knew would undo the noise. A hospital whose node configuration has `epsilon` spends no more
    than that, whatever the run asks for, and takes part in no run without noise of its own.
    """

    def __init__(self, family: ModelFamily | None = None) -> None:
        super().__init__()
        self._family = WindowCodeFamily() if family is None else family

    def __call__(self, message: Message, context: Context) -> Message:
        """Answer one message of the server."""
        params = parameters(context.run_config)
        own = context.node_config.get("epsilon")
        if own is not None:
            privacy = params.privacy
            if privacy.kind != "local":
                raise BenchError(
                    f"privacy {privacy.kind}: this hospital asks for local, with epsilon {own}"
                )
            asked = math.inf if privacy.epsilon is None else privacy.epsilon
            if privacy.shared and float(own) < asked:
                raise BenchError(
                    f"epsilon {asked:g}: this hospital spends {own} at most, and hospitals that "
                    "share noise all add as much; expected noise local, or that epsilon"
                )
            params = params.changed(privacy={"epsilon": min(float(own), asked)})

        site = hospital(context.node_config, params, self._family)

        def site_of(known: Context) -> ClientSite:
            return site

        stages = client_stages(params, lambda known: len(site.people))
        return client_app(site_of, client_mods(params, site_of), stages)(message, context)


def hospital(node: Mapping[str, Any], params: FederatedParams, family: ModelFamily) -> ClientSite:
    """What a hospital has, by its node configuration; people who withdrew are left out.

    Raises BenchError where a key is missing, FormatError where a file can't be read.
    """
    own = {key: str(value) for key, value in node.items()}
    missing = [key for key in _CLIENT if key not in own]
    if missing:
        raise BenchError(f"--node-config: {', '.join(missing)} missing")
    listed = SiteList.read(Path(own["site_list"]))
    labels = Path(own["labels"]) if "labels" in own else None
    panel, _ = read_panel(own["panel"], ReadOptions(panel_file=labels))
    if "withdrawn" in own:
        (panel,), counts = PeopleList.read(own["withdrawn"]).leave_out(
            panel,
            allow_unknown=own.get("allow_unknown", "").lower() == "true",
            key="--node-config: withdrawn",
            private=True,
        )
        LOG.info("%s: %s", own["panel"], withdrawal_text(counts))
    panel, _ = harmonise(panel, listed.sites, own["panel"])
    unknown = sorted(set(panel.population.tolist()) - set(listed.populations.names))
    if unknown:
        raise BenchError(f"{own['panel']}: population {unknown[0]!r} isn't on the site list")
    return ClientSite(
        name=own.get("name", Path(own["panel"]).name),
        people=people_of(panel, listed.populations),
        facts=listed.facts(public_frequencies(params, listed.sites.positions)),
        params=params,
        family=family,
        delta=checked_delta(params, listed.people, logging.getLogger(__name__)),
        seed=secrets.randbits(63),
        ledger_file=Path(own["ledger"]),
    )


def coordinator_app(family: ModelFamily | None = None) -> ServerApp:
    """The ServerApp: runs all rounds and writes `model/` and `federation.json` into `out`."""
    app = ServerApp()

    @app.main()  # type: ignore[untyped-decorator]
    def main(grid: Grid, context: Context) -> None:
        coordinate(grid, context.run_config, family or WindowCodeFamily())

    return app


def coordinate(grid: Grid, settings: Mapping[str, Any], family: ModelFamily) -> FittedFederated:
    """Run a federation over a grid whose clients are already there or to come.

    Raises BenchError for settings that can't be, or if no round was done.
    """
    params = parameters(settings)
    out, listed = Path(str(settings["out"])), SiteList.read(Path(str(settings["site_list"])))
    out.mkdir(parents=True, exist_ok=True)
    delta = checked_delta(params, listed.people, logging.getLogger(__name__))
    kept = out / "ledger.json"
    progress = Progress()
    if kept.is_file():
        progress.ledger = Ledger.from_json(kept.read_text())

    def build(frequencies: NDArray[np.float64] | None) -> nn.Module:
        if frequencies is None:
            frequencies = public_frequencies(params, listed.sites.positions)
        return first_model(family, listed.facts(frequencies), params, 0)

    plan = ServerPlan(
        params=params,
        clients=params.federation.clients,
        delta=delta,
        n_sites=listed.sites.n_sites,
        seed=secrets.randbits(63),
        build=build,
        before_release=lambda ledger: ledger.save(kept),
        after_round=lambda now: now.ledger.save(kept),
    )
    run_rounds(grid, plan, progress)
    if not any(cost["averaged"] for cost in progress.costs):
        why = progress.stopped or "no hospital gave an update; see the SuperNodes' logs"
        raise BenchError(f"vae-federated: no round was done: {why}")
    model = family.build(listed.facts(), params.training.model, 0)
    model.load_state_dict(progress.model_weights)
    fitted = FittedFederated(
        model.eval(),
        listed.sites.positions,
        listed.populations,
        listed.ploidy,
        params.training.model,
        reported_statement(params, delta, listed.people, progress),
        family,
    )
    (out / "model").mkdir(exist_ok=True)
    fitted.save(out / "model")
    report = {
        "rounds_done": progress.rounds_done,
        "stopped": progress.stopped,
        "rounds": progress.costs,
    }
    (out / "federation.json").write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
    return fitted


def reported_statement(
    params: FederatedParams, delta: float, people: int, progress: Progress
) -> PrivacyStatement:
    """The claim by what hospitals reported of their ledgers, which stay with them."""
    ledgers = {"server": progress.ledger} if params.privacy.kind == "central" else {}
    statement = privacy_statement(params, delta, people, ledgers, ())
    spent = dict(statement.per_client)
    if params.privacy.local:
        for cost in progress.costs:
            for client, said in cost["clients"].items():
                bound = math.inf if said["epsilon"] is None else float(said["epsilon"])
                spent[client] = max(bound, spent.get(client, 0.0))
    return replace(
        statement,
        epsilon=max(spent.values(), default=math.inf),
        per_client=spent,
        choices={
            **statement.choices,
            "sites": "public: the federation's site list",
            "MAF filter": "off",
        },
    )


def parameters(settings: Mapping[str, Any]) -> FederatedParams:
    """Parameters of a run's configuration: its keys under `params`.

    Raises BenchError, one line, where they can't be.
    """
    given = unflatten_dict(dict(settings)).get("params", {})
    try:
        params = FederatedParams.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in ("params", *first["loc"]))
        raise BenchError(f"run configuration: {where}: {first['msg']}") from None
    if params.privacy.repeatable_noise:
        raise BenchError(
            "run configuration: params.privacy.repeatable_noise: expected false, as noise that "
            "others can draw again protects nobody"
        )
    return params
