"""Where values go: TensorBoard's event files, MLflow's runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from typing import Any


def write(values: Mapping[str, float]) -> None:
    """Write values by name to whatever the environment names."""
    if folder := os.environ.get("HAPLOBENCH_TENSORBOARD"):
        from tensorboard.compat.proto.summary_pb2 import Summary

        rows = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        _events(folder).add_summary(Summary(value=rows))
    if experiment := os.environ.get("HAPLOBENCH_MLFLOW"):
        import mlflow

        mlflow.set_experiment(experiment)
        if mlflow.active_run() is None:
            mlflow.start_run()
        mlflow.log_metrics({_named(name): value for name, value in values.items()})


class _Events:
    """An event file of TensorBoard's."""

    def __init__(self, folder: str) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        os.makedirs(folder, exist_ok=True)
        self.writer = EventFileWriter(folder)

    def add_summary(self, summary: Any) -> None:
        import time

        from tensorboard.compat.proto.event_pb2 import Event

        self.writer.add_event(Event(wall_time=time.time(), step=0, summary=summary))
        self.writer.flush()


@cache
def _events(folder: str) -> _Events:
    return _Events(folder)


def _named(name: str) -> str:
    """A name as MLflow takes it: letters, digits and `_ - . / :` and blanks."""
    return "".join(mark if mark.isalnum() or mark in "_-./: " else "_" for mark in name)
