"""Executor `slurm`: each stage is a job of a cluster, submitted through submitit.

A job has one task a node, which starts that node's ranks as torchrun's agent would and
keeps the limits; ranks find each other through a file that all nodes see, so results must
lie on a file system that they share. Datasets are prepared on the submitting machine, since
compute nodes often have no network.
"""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from haplobench.errors import BenchError, FormatError
from haplobench.files import read_as, write_json
from haplobench.runner.executors.local import LocalExecutor, StageTask
from haplobench.runner.executors.process import (
    Ending,
    Outcome,
    RanksHere,
    run_limited,
    stage_environment,
)
from haplobench.runner.worker.cost import Beat
from haplobench.suite.schema import ExecutorSettings

# Seconds without a sign of life from the harness after which a node gives up.
ABANDONED = 120.0


@dataclass(frozen=True)
class NodeTask:
    """A stage as each node is told it; paths are absolute, on a file system they share.

    `heartbeat` is a file that the harness touches while it lives; the stage's memory limit, and
    `gpus`, are a node's.
    """

    stage: StageTask
    heartbeat: Path
    nodes: int
    gpus: int

    @property
    def ranks_here(self) -> int:
        """Ranks of each node."""
        return self.stage.job.world_size // self.nodes

    def outcome(self, node: int) -> Outcome | None:
        """What a node has said of its end; None if it hasn't yet."""
        try:
            return read_as(Outcome, self._path(node))
        except (FileNotFoundError, FormatError):
            return None

    def tell(self, node: int, outcome: Outcome) -> None:
        """Say how a node's ranks ended."""
        write_json(self._path(node), asdict(outcome))

    def _path(self, node: int) -> Path:
        return self.heartbeat.with_name(f"node{node}.json")


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
    watcher = threading.Thread(target=_watch_heartbeat, args=(task.heartbeat, stop), daemon=True)
    watcher.start()
    stage, job = task.stage, task.stage.job
    environment = stage_environment(job.threads)
    if not task.gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    outcome = run_limited(
        stage.path,
        log=stage.log,
        memory_limit=stage.memory_limit,
        time_limit=job.time_limit,
        environment=environment,
        stop=stop,
        ranks=RanksHere(node * task.ranks_here, task.ranks_here, job.world_size),
        since=lambda: Beat.read(Path(job.status)).since if stage.per_item else None,
    )
    if out_of_time.is_set():
        outcome = Outcome("timeout", outcome.wall, outcome.peak, "the job's time was up")
    task.tell(node, outcome)


def _watch_heartbeat(path: Path, stop: threading.Event) -> None:
    """Set `stop` when the harness has removed its heartbeat's file or no longer touches it."""
    seen, at = 0.0, time.monotonic()
    while not stop.wait(1.0):
        try:
            beat = path.stat().st_mtime
        except OSError:
            stop.set()
            return
        if beat != seen:
            seen, at = beat, time.monotonic()
        elif time.monotonic() - at > ABANDONED:
            stop.set()


_SETUP_MINUTES = 10
_GRACE = 20.0
_MEMORY_MARGIN = 1.1
_LOOK = 0.2
_OVER = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL",
         "PREEMPTED", "BOOT_FAIL", "DEADLINE", "FINISHED"}  # fmt: skip
_ENDINGS: dict[str, Ending] = {
    "TIMEOUT": "timeout",
    "DEADLINE": "timeout",
    "OUT_OF_MEMORY": "memory",
}


@dataclass(frozen=True)
class JobState:
    """What the cluster says of a job: `state` as Slurm spells it, and why."""

    state: str
    reason: str = ""

    @property
    def over(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.state in _OVER


class SlurmExecutor:
    """Stages as jobs of a cluster, up to `jobs` of them side by side.

    `cluster` is submitit's: `slurm`, or `local` (processes of this machine, for tests). `poll`:
    seconds between questions to the cluster.
    """

    def __init__(
        self,
        settings: ExecutorSettings,
        jobs: int = 16,
        *,
        cluster: Literal["slurm", "local"] = "slurm",
        poll: float = 2.0,
    ) -> None:
        self.settings = settings
        self.slots = max(1, jobs)
        self.cluster = cluster
        self.poll = poll
        self._here = LocalExecutor(1)
        # submitit's executors keep state: one submission at a time.
        self._submitting = threading.Lock()

    def run(self, task: StageTask, stop: threading.Event, watch: Callable[[Beat], None]) -> Outcome:
        """Submit a stage and wait for it; cancel it when `stop` is set."""
        if task.job.stage == "prepare":
            return self._here.run(task, stop, watch)
        size = task.job.world_size
        nodes = max(n for n in range(1, self.settings.nodes + 1) if size % n == 0)
        gpus = size // nodes if task.job.gpu and self.settings.gpus_per_node else 0
        if gpus > self.settings.gpus_per_node:
            text = (
                f"needs {gpus} GPUs a node, one for each rank; executor.gpus_per_node is "
                f"{self.settings.gpus_per_node} (and executor.nodes {self.settings.nodes})"
            )
            return Outcome("failed", 0.0, 0, text)
        folder = task.path.parent / "cluster"
        folder.mkdir()
        heartbeat = folder / "heartbeat"
        heartbeat.touch()
        stage = replace(
            task,
            path=task.path.resolve(),
            log=task.log.resolve(),
            memory_limit=task.memory_limit // nodes,
        )
        node_task = NodeTask(stage, heartbeat.resolve(), nodes, gpus)
        job = self._submit(node_task, folder)
        return self._wait(job, node_task, folder, stop, watch)

    def retire(self) -> None:
        """See `Executor`; jobs of a cluster don't wait for more to do."""

    def _submit(self, task: NodeTask, folder: Path) -> Any:
        import submitit

        settings, stage = self.settings, task.stage
        memory = stage.memory_limit * _MEMORY_MARGIN / (1 << 30)
        parameters: dict[str, Any] = {
            "name": f"haplobench-{stage.log.stem}",
            "nodes": task.nodes,
            "tasks_per_node": 1,
            "cpus_per_task": stage.job.threads * task.ranks_here,
            "gpus_per_node": task.gpus,
            "mem_gb": round(memory, 2),
            "timeout_min": _minutes(stage)
            if settings.time is None
            else max(1, int(settings.time // 60)),
        }
        of_slurm = {
            "slurm_partition": settings.partition,
            "slurm_account": settings.account,
            "slurm_constraint": settings.constraint,
            "slurm_qos": settings.qos,
            "slurm_additional_parameters": dict(settings.extra) or None,
            "slurm_signal_delay_s": 30,
            "slurm_srun_args": ["--kill-on-bad-exit=1"],
        }
        if self.cluster == "slurm":
            parameters |= {name: value for name, value in of_slurm.items() if value is not None}
        with self._submitting:
            try:
                executor = submitit.AutoExecutor(folder=folder / "submitit", cluster=self.cluster)
                executor.update_parameters(**parameters)
                return executor.submit(run_node, task)
            except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                lines = str(getattr(error, "output", "") or error).strip().splitlines()
                raise BenchError(
                    f"Slurm refused the job: {lines[-1] if lines else type(error).__name__}",
                    hint="look at executor: in the suite, and at `sinfo`",
                ) from None

    def _wait(
        self,
        job: Any,
        task: NodeTask,
        folder: Path,
        stop: threading.Event,
        watch: Callable[[Beat], None],
    ) -> Outcome:
        start = polled = time.monotonic()
        state = JobState("PENDING")
        ended: float | None = None
        try:
            while True:
                if stop.wait(_LOOK):
                    return Outcome("stopped", time.monotonic() - start, 0)
                outcomes = [task.outcome(node) for node in range(task.nodes)]
                done = [outcome for outcome in outcomes if outcome is not None]
                bad = [outcome for outcome in done if outcome.ending != "ok"]
                if bad or len(done) == task.nodes:
                    if not bad:
                        self._let_end(job)
                    return _together(bad or done)
                if ended is not None and time.monotonic() - ended > _GRACE:
                    return self._lost(job, state, folder, time.monotonic() - start)
                if time.monotonic() - polled > self.poll:
                    polled = time.monotonic()
                    with contextlib.suppress(OSError):
                        task.heartbeat.touch()
                    state = self._state(job)
                    if state.over and ended is None:
                        # What a node wrote may take a while to be seen here.
                        ended = polled if state.state == "COMPLETED" else polled - _GRACE + 2.0
                beat = Beat.read(Path(task.stage.job.status))
                if state.state == "PENDING" and beat == Beat():
                    why = f": {state.reason}" if state.reason not in ("", "None") else ""
                    beat = Beat(message=f"job {job.job_id} is pending{why}")
                watch(beat)
        finally:
            task.heartbeat.unlink(missing_ok=True)
            self._cancel(job)

    def _state(self, job: Any) -> JobState:
        if self.cluster == "local":
            return JobState(str(job.state).upper())
        return slurm_state(str(job.job_id))

    def _lost(self, job: Any, state: JobState, folder: Path, wall: float) -> Outcome:
        """How a job ended whose nodes could no longer say."""
        why = f" ({state.reason})" if state.reason not in ("", "None") else ""
        text = f"job {job.job_id} ended as {state.state}{why}"
        for path in sorted(folder.glob("submitit/*.err")):
            lines = path.read_text(errors="replace").strip().splitlines()[-4:]
            text += "".join(f"\n{line}" for line in lines)
        return Outcome(_ENDINGS.get(state.state, "failed"), wall, 0, text)

    def _let_end(self, job: Any) -> None:
        """Give a job whose nodes are done the time to end by itself."""
        end = time.monotonic() + _GRACE
        while not self._state(job).over and time.monotonic() < end:
            time.sleep(_LOOK)

    def _cancel(self, job: Any) -> None:
        """End what is left of a job; one that is over already isn't there to be cancelled."""
        with contextlib.suppress(Exception):
            if self.cluster == "local" or not self._state(job).over:
                job.cancel(check=False)


def _minutes(task: StageTask) -> int:
    """Time to ask for: the stage's limit for each of its items, and some to start."""
    settings = task.job.settings
    items = 1
    if task.job.stage == "sample":
        items = int(settings["draws"]) + int(bool(settings.get("train_cohort")))
    elif task.job.stage == "measure":
        items = len(settings["items"])
    return int(items * task.job.time_limit / 60) + _SETUP_MINUTES


def _together(outcomes: list[Outcome]) -> Outcome:
    """One outcome of several nodes': of those handed over, the first that isn't ok."""
    worst = next((outcome for outcome in outcomes if outcome.ending != "ok"), outcomes[0])
    wall = max(outcome.wall for outcome in outcomes)
    peak = sum(outcome.peak for outcome in outcomes)
    return Outcome(worst.ending, wall, peak, worst.detail, worst.rank)


def slurm_state(job_id: str) -> JobState:
    """What Slurm says of a job, with or without its accounting."""
    shown = _ask("scontrol", "--oneliner", "show", "job", job_id)
    if match := re.search(r"\bJobState=(\w+)", shown):
        reason = re.search(r"\bReason=(\S+)", shown)
        return JobState(match[1], reason[1] if reason else "")
    # The controller forgets a job some minutes after its end.
    known = _ask("sacct", "-X", "-n", "-P", "-o", "State", "-j", job_id).split()
    return JobState(known[0] if known else "COMPLETED")


def _ask(*command: str) -> str:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        return done.stdout if done.returncode == 0 else ""
    return ""
