"""Process groups: how the ranks of one cell speak to each other."""

from haplobench.distributed.group import NullGroup, ProcessGroup

__all__ = ["NullGroup", "ProcessGroup"]
