"""Stages of runs, as they end, in TensorBoard or MLflow: where the environment asks for it.

`HAPLOBENCH_TENSORBOARD=FOLDER` and `HAPLOBENCH_MLFLOW=EXPERIMENT`; the numbers of a finished run
are written by `python -m haplobench_trackers RUN`.
"""

# Every `bench` command imports this module: import nothing heavy here.

from __future__ import annotations

import os

from haplobench import StageEvent, hookimpl


@hookimpl
def haplobench_stage_finished(event: StageEvent) -> None:
    """Seconds of a stage that was computed, under its cell's name."""
    if event.status == "cached":
        return
    values = {f"{event.cell}/{event.stage}": event.wall}
    if event.own is not None:
        values[f"{event.cell}/{event.stage}-own"] = event.own
    if os.environ.get("HAPLOBENCH_TENSORBOARD") or os.environ.get("HAPLOBENCH_MLFLOW"):
        from haplobench_trackers.sinks import write

        write(values)
