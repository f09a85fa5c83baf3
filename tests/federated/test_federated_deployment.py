"""The Flower app of examples/federated: SuperLink and SuperNodes on the loopback, and its rules."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from federated_network import LocalNetwork

from haplobench import BenchError, SampleRequest
from haplobench.data.formats import ReadOptions, read_panel, write_panel
from haplobench.data.formats.people import write_labels
from haplobench.data.panel import Panel
from haplobench.testing import example_context, example_panel
from haplobench_federated.accounting import Ledger
from haplobench_federated.client_panels import SiteList
from haplobench_federated.deployment import HospitalApp, coordinate, hospital, parameters
from haplobench_federated.generator import Federated
from haplobench_federated.model import WindowCodeFamily
from haplobench_federated.params import FederatedParams

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "federated"


SETTINGS: dict[str, Any] = {
    "params.clients": 2,
    "params.rounds": 2,
    "params.local_steps": 2,
    "params.sampling_rate": 0.2,
    "params.epsilon": 8.0,
    "params.accountant": "rdp",
    "params.model.window": 8,
    "params.model.codes": 4,
}


@pytest.fixture
def people() -> Panel:
    return example_panel(n_samples=40, n_sites=32, seed=5)


@pytest.fixture
def hospitals(people: Panel, tmp_path: Path) -> list[dict[str, Any]]:
    """Node configurations of two hospitals with files of their own."""
    SiteList.of(people).write(tmp_path / "site_list.json")
    found = []
    for name, chosen in (("north", np.arange(25)), ("south", np.arange(25, 40))):
        own = people.select_samples(chosen)
        write_panel(own, tmp_path / f"{name}.vcf.gz")
        write_labels(own, tmp_path / f"{name}.tsv")
        found.append(
            {"panel": str(tmp_path / f"{name}.vcf.gz"), "labels": str(tmp_path / f"{name}.tsv"),
             "ledger": str(tmp_path / f"{name}.json"),
             "site_list": str(tmp_path / "site_list.json")}
        )  # fmt: skip
    return found


def settings(folder: Path, **changes: Any) -> dict[str, Any]:
    given = {"site_list": str(folder / "site_list.json"), "out": str(folder / "out")}
    return {**SETTINGS, **given, **{f"params.{key}": value for key, value in changes.items()}}


def run(folder: Path, hospitals: list[dict[str, Any]], **changes: Any) -> Any:
    asked = settings(folder, **changes)
    grid = LocalNetwork(HospitalApp(), hospitals, asked)
    return coordinate(grid, asked, WindowCodeFamily())


def spent(hospital: dict[str, Any], delta: float) -> float:
    return Ledger.from_json(Path(hospital["ledger"]).read_text()).epsilon(delta, "rdp")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Processes:
    """Programs that are started, watched, and ended by their process ids."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[bytes]] = []
        self.seen: dict[int, psutil.Process] = {}
        self.peers: set[str] = set()
        self.path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = {
            **os.environ,
            # Flower's programs start others of Flower's by name.
            "PATH": self.path,
            "FLWR_HOME": str(folder / "flwr"),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
            "OMP_NUM_THREADS": "1",
        }

    def start(self, name: str, *arguments: str) -> None:
        program = shutil.which(name, path=self.path)
        assert program is not None
        with (self.folder / f"{name}-{len(self.started)}.log").open("wb") as log:
            self.started.append(
                subprocess.Popen(
                    [program, *arguments], stdout=log, stderr=log, env=self.environment
                )
            )

    def look(self) -> None:
        """Note all descendants, and whom they are connected to."""
        for process in self.started:
            try:
                for one in (found := psutil.Process(process.pid)).children(recursive=True):
                    self.seen[one.pid] = one
                self.seen[found.pid] = found
            except psutil.NoSuchProcess:
                continue
        for one in list(self.seen.values()):
            try:
                self.peers |= {c.raddr.ip for c in one.net_connections("inet") if c.raddr}
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue

    def stop(self) -> list[int]:
        """End all; ids of those that are left after 20 s, which are killed."""
        self.look()
        for process in reversed(self.started):
            process.send_signal(signal.SIGTERM)
        for process in self.started:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        _, left = psutil.wait_procs(list(self.seen.values()), timeout=20)
        alive = [one for one in left if one.is_running() and one.status() != "zombie"]
        for one in alive:
            one.kill()
        return [one.pid for one in alive]

    def logs(self) -> str:
        return "\n".join(
            f"{path.name}:\n{path.read_text(errors='replace')[-1500:]}"
            for path in sorted(self.folder.glob("*.log"))
        )


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    found = Processes(tmp_path)
    yield found
    found.stop()


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError(f"nothing listens on port {port}")


def warm_started(model: Path, demo: Path, folder: Path) -> float:
    """How far the weights are from `model`'s after a step of almost no length from them."""
    north, south = (
        read_panel(demo / f"{name}.vcf.gz", ReadOptions(panel_file=demo / f"{name}.tsv"))[0]
        for name in ("north", "south")
    )
    parts: dict[str, Any] = {
        name: np.concatenate([getattr(north, name), getattr(south, name)])
        for name in ("haplotypes", "samples", "population", "superpopulation", "family")
    }
    params = FederatedParams.model_validate(
        {"clients": 1, "rounds": 1, "local_steps": 1, "strategy": "fedavg", "optimiser": "sgd",
         "learning_rate": 1e-12, "averaging": 0.0, "privacy": "none", "initial": str(model)}
    )  # fmt: skip
    everybody = replace(north, **parts)
    (folder / "warm").mkdir()
    ctx = example_context(folder / "warm", everybody)
    after = Federated().fit(everybody, params, ctx).model.state_dict()
    before = Federated().load(model, ctx).model.state_dict()
    assert before.keys() == after.keys()
    return max(float((after[name] - before[name]).abs().max()) for name in before)


def test_hospitals_train_one_model_and_keep_their_ledgers(
    hospitals: list[dict[str, Any]], people: Panel, tmp_path: Path
) -> None:
    fitted = run(tmp_path, hospitals)
    claim = fitted.privacy_statement()
    bounds = [spent(one, claim.delta) for one in hospitals]
    assert claim.delta == 1e-6
    assert 0 < claim.epsilon <= 8
    assert claim.epsilon == pytest.approx(max(bounds))
    assert sorted(claim.per_client.values()) == pytest.approx(sorted(bounds))
    loaded = Federated().load(tmp_path / "out" / "model", example_context(tmp_path, people))
    assert loaded.privacy_statement() == claim


def test_a_second_run_finds_the_budget_spent(
    hospitals: list[dict[str, Any]], tmp_path: Path
) -> None:
    first = run(tmp_path, hospitals).privacy_statement()
    with pytest.raises(BenchError, match="every client refused: budget"):
        run(tmp_path, hospitals, noise_multiplier=0.5)
    assert all(spent(one, first.delta) <= 8 for one in hospitals)
    more = run(tmp_path, hospitals, epsilon=20.0).privacy_statement()
    assert first.epsilon < more.epsilon <= 20


def test_a_hospital_spends_no_more_than_it_says_itself(
    hospitals: list[dict[str, Any]], tmp_path: Path
) -> None:
    hospitals[0]["epsilon"] = 1.0
    claim = run(tmp_path, hospitals).privacy_statement()
    assert spent(hospitals[0], claim.delta) <= 1 < spent(hospitals[1], claim.delta)
    with pytest.raises(BenchError, match="privacy none: this hospital asks for local"):
        run(tmp_path, hospitals, privacy="none")


def test_who_withdrew_is_not_among_a_hospitals_people(
    hospitals: list[dict[str, Any]], people: Panel, tmp_path: Path
) -> None:
    (tmp_path / "withdrawn.txt").write_text(f"{people.samples[3]}\n{people.samples[7]}\n")
    node = {**hospitals[0], "withdrawn": tmp_path / "withdrawn.txt"}
    params = parameters(settings(tmp_path))
    site = hospital(node, params, WindowCodeFamily())
    kept = np.delete(np.arange(25), [3, 7])
    expected = people.select_samples(kept).haplotypes.reshape(23, 2, -1)
    assert np.array_equal(site.people.haplotypes, expected)
    assert site.repeatable_seed is None


def test_what_a_run_may_not_ask(hospitals: list[dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"run configuration: params\.roundz"):
        parameters({"params.roundz": 2})
    with pytest.raises(BenchError, match=r"params\.privacy\.repeatable_noise: expected false"):
        parameters({"params.repeatable_noise": True})
    del hospitals[0]["ledger"]
    with pytest.raises(BenchError, match="--node-config: ledger missing"):
        run(tmp_path, hospitals)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_superlink_and_two_supernodes(processes: Processes, tmp_path: Path) -> None:
    demo, out = tmp_path / "demo", tmp_path / "out"
    subprocess.run([sys.executable, str(EXAMPLE / "make_demo.py"), str(demo)], check=True)
    link = free_port()
    config = tmp_path / "flwr" / "config.toml"
    config.parent.mkdir()
    config.write_text(
        '[superlink]\ndefault = "hospitals"\n'
        f'[superlink.hospitals]\naddress = "127.0.0.1:{link}"\ninsecure = true\n'
    )
    here = ("--insecure", "--host", "127.0.0.1", "--port")
    processes.start("flower-superlink", *here, str(link))
    for name in ("north", "south"):
        node = {
            "panel": demo / f"{name}.vcf.gz",
            "labels": demo / f"{name}.tsv",
            "ledger": demo / f"{name}.ledger.json",
            "site_list": demo / "site_list.json",
        }
        said = " ".join(f'{key}="{value}"' for key, value in node.items())
        processes.start(
            "flower-supernode", *here, str(free_port()),
            *("--superlink", f"127.0.0.1:{link}", "--node-config", said),
        )  # fmt: skip
    wait_for_port(link)
    asked = {"site_list": f'"{demo}/site_list.json"', "out": f'"{out}"'}
    asked |= {"params.training.rounds": 1, "params.privacy.accountant": '"rdp"'}
    asked |= {"params.privacy.frequencies": '"half"'}
    said = " ".join(f"{key}={value}" for key, value in asked.items())
    submitted = subprocess.run(
        [str(Path(sys.executable).parent / "flwr"), "run", str(EXAMPLE), "--run-config", said],
        env=processes.environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "Successfully started run" in submitted.stdout, submitted.stdout + submitted.stderr
    deadline = time.monotonic() + 180
    while not (out / "federation.json").is_file():
        processes.look()
        assert "ServerApp raised" not in processes.logs()
        assert time.monotonic() < deadline, processes.logs()
        time.sleep(0.3)
    left = processes.stop()
    assert left == []
    assert processes.peers <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    assert len(processes.seen) >= 6  # each node's own, and the one that its app ran in

    report = json.loads((out / "federation.json").read_text())
    assert [(one["answered"], one["averaged"]) for one in report["rounds"]] == [(2, 2)]
    sites = SiteList.read(demo / "site_list.json").sites
    ctx = example_context(tmp_path, sites)
    fitted = Federated().load(out / "model", ctx)
    claim = fitted.privacy_statement()
    ledgers = [
        Ledger.from_json((demo / f"{name}.ledger.json").read_text()) for name in ("north", "south")
    ]
    assert claim.epsilon == pytest.approx(
        max(ledger.epsilon(claim.delta, "rdp") for ledger in ledgers)
    )
    assert claim.epsilon <= 8
    assert not math.isinf(claim.epsilon)
    rows = np.concatenate(list(fitted.sample(SampleRequest(60), ctx)))
    assert rows.shape == (60, sites.n_sites)
    assert warm_started(out / "model", demo, tmp_path) == pytest.approx(0.0, abs=1e-4)
