"""What a cluster's job does on each of its nodes: start the node's ranks, keep their limits."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from haplobench.runner.process import Outcome, RanksHere, run_limited, stage_environment
from haplobench.runner.telemetry import Beat

# Seconds without a sign of life from the harness after which a node gives up.
ABANDONED = 120.0


@dataclass(frozen=True)
class NodeTask:
    """A stage as each node is told it; paths are absolute, on a file system they share.

    `lease` is a file that the harness touches while it lives; `memory_limit` bytes and `gpus` are
    a node's; other fields as `Job` and `StageTask` have them.
    """

    job: str
    log: str
    lease: str
    status: str
    per_item: bool
    memory_limit: int
    time_limit: float
    threads: int
    world_size: int
    nodes: int
    gpus: int

    @property
    def ranks_here(self) -> int:
        """Ranks of each node."""
        return self.world_size // self.nodes

    def outcome(self, node: int) -> Outcome | None:
        """What a node has said of its end; None if it hasn't yet."""
        try:
            return Outcome(**json.loads(self._path(node).read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def tell(self, node: int, outcome: Outcome) -> None:
        """Say how a node's ranks ended."""
        scratch = self._path(node).with_suffix(".new")
        scratch.write_text(json.dumps(asdict(outcome)))
        os.replace(scratch, self._path(node))

    def _path(self, node: int) -> Path:
        return Path(self.lease).with_name(f"node{node}.json")


def run_node(task: NodeTask) -> None:
    """Run this node's ranks to their end or to their limits, and say how it ended."""
    import submitit

    node = submitit.JobEnvironment().node
    stop = threading.Event()
    out_of_time = threading.Event()

    def cancelled(*_: object) -> None:
        stop.set()

    def time_is_up(*_: object) -> None:
        out_of_time.set()
        stop.set()

    signal.signal(signal.SIGTERM, cancelled)
    # Slurm's warning before a job's time is up, as submitit asks for it.
    signal.signal(getattr(signal, f"SIG{submitit.JobEnvironment.USR_SIG}"), time_is_up)
    threading.Thread(target=_watch_lease, args=(Path(task.lease), stop), daemon=True).start()
    environment = stage_environment(task.threads)
    if not task.gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    status = Path(task.status)
    outcome = run_limited(
        Path(task.job),
        log=Path(task.log),
        memory_limit=task.memory_limit,
        time_limit=task.time_limit,
        environment=environment,
        stop=stop,
        ranks=RanksHere(node * task.ranks_here, task.ranks_here, task.world_size),
        since=lambda: Beat.read(status).since if task.per_item else None,
    )
    if out_of_time.is_set():
        outcome = Outcome("timeout", outcome.wall, outcome.peak, "the job's time was up")
    task.tell(node, outcome)


def _watch_lease(path: Path, stop: threading.Event) -> None:
    """Set `stop` when the harness has removed its lease or no longer renews it."""
    seen, at = 0.0, time.monotonic()
    while not stop.wait(1.0):
        try:
            found = path.stat().st_mtime
        except OSError:
            stop.set()
            return
        if found != seen:
            seen, at = found, time.monotonic()
        elif time.monotonic() - at > ABANDONED:
            stop.set()
