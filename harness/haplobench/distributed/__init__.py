"""Distribution: how the ranks of one cell speak to each other and train one model together.

A plugin is handed a `ProcessGroup` as `ctx.group`; `data_parallel` trains a torch model over
it; `shard` and `batch_part` say who does what. Nothing here imports torch before it's used.
"""

from haplobench.distributed.backends import data_parallel, group_from_environment
from haplobench.distributed.group import Counters, NullGroup, ProcessGroup, batch_part, shard
from haplobench.distributed.training import StepMeter, Trainer, shared_like, whole

__all__ = [
    "Counters", "NullGroup", "ProcessGroup", "StepMeter", "Trainer", "batch_part", "data_parallel",
    "group_from_environment", "shard", "shared_like", "whole",
]  # fmt: skip
