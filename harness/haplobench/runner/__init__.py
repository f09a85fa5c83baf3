"""The runner: a suite's cells, each stage in a process of its own, stored and resumed apart.

Light to import, since every stage's process imports it; `run_suite`, `RunOutcome` and
`evaluate` are loaded when asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from haplobench.runner.evaluation import evaluate
    from haplobench.runner.run import RunOutcome, run_suite

__all__ = ["RunOutcome", "evaluate", "run_suite"]


def __getattr__(name: str) -> Any:
    if name in ("run_suite", "RunOutcome"):
        from haplobench.runner import run

        return getattr(run, name)
    if name == "evaluate":
        from haplobench.runner.evaluation import evaluate

        return evaluate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
