"""Executors: where the processes of stages run, this machine or a cluster."""

from __future__ import annotations

from haplobench.errors import BenchError
from haplobench.plugin import Binary, Module
from haplobench.runner.executors.local import Executor, LocalExecutor
from haplobench.suite.schema import ExecutorSettings


def make_executor(settings: ExecutorSettings, jobs: int | None = None) -> Executor:
    """The executor that a suite asks for; `jobs` None: 1 here, 16 on a cluster.

    Raises BenchError if it isn't installed.
    """
    if settings.name == "local":
        return LocalExecutor(jobs or 1)
    missing = [
        need.missing()
        for need in (
            Module("submitit", "haplobench[slurm]"),
            Binary("sbatch", "run bench on a machine of the cluster that submits jobs"),
        )
        if need.missing()
    ]
    if missing:
        raise BenchError(f"executor slurm needs {'; '.join(missing)}")
    from haplobench.runner.executors.slurm import SlurmExecutor

    return SlurmExecutor(settings, jobs or 16)
