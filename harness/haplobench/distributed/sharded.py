"""FSDP2: a model's parameters shared out over the ranks of a torch group."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from haplobench.distributed.group import ProcessGroup
from haplobench.distributed.torch_backend import count_cuda, event
from haplobench.distributed.training import Trainer

# Names of torch 2.13, which warns of those that 2.11 knows.
_ALL_GATHER = getattr(dist, "all_gather_single", dist.all_gather_into_tensor)
_REDUCE_SCATTER = getattr(dist, "reduce_scatter_single", dist.reduce_scatter_tensor)


class ShardedTrainer(Trainer):
    """A trainer over FSDP2: each rank keeps its share of every parameter, and of what rests on it.

    What ranks wait for each other is within `forward` and `backward` of the meter's parts.
    """

    def backward(self, loss: torch.Tensor, share: float) -> None:
        """See `Trainer.backward`; FSDP2 takes the mean over ranks, where their sum is wanted."""
        super().backward(loss, share * self.group.size)


def shard_parameters(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    layers: Sequence[torch.nn.Module],
    group: ProcessGroup,
    device: str,
) -> None:
    """Share a model's parameters out over the ranks, and have an optimizer without state follow.

    Along the first axis; `layers` one by one, then the rest. All are let go after the forward pass
    and gathered again in the backward pass. They move to `device`, and so do buffers.
    """
    before = {parameter: name for name, parameter in model.named_parameters()}
    mesh = init_device_mesh(torch.device(device).type, (group.size,))
    for module in (*layers, model):
        fully_shard(module, mesh=mesh, reshard_after_forward=True)
        assert isinstance(module, FSDPModule)
        gather: Any = _Counted("all_gather", _ALL_GATHER, group)
        scatter: Any = _Counted("reduce_scatter", _REDUCE_SCATTER, group)
        module.set_custom_all_gather(gather)
        module.set_custom_reduce_scatter(scatter)
    after = dict(model.named_parameters())
    for options in optimizer.param_groups:
        options["params"] = [after[before[parameter]] for parameter in options["params"]]


class _Counted:
    """A collective of FSDP2's whose calls and bytes are counted."""

    def __init__(self, name: str, collective: Callable[..., Any], group: ProcessGroup) -> None:
        self.name, self.collective, self.counters = name, collective, group.counters

    def allocate(
        self, size: Sequence[int], *, dtype: torch.dtype, device: torch.device
    ) -> torch.Tensor:
        return torch.empty(*size, dtype=dtype, device=device)

    def __call__(
        self, output_tensor: torch.Tensor, input_tensor: torch.Tensor, *args: Any, **options: Any
    ) -> Any:
        n_bytes = input_tensor.nbytes
        if not input_tensor.is_cuda:
            with self.counters.timed(self.name, n_bytes):
                return self.collective(output_tensor, input_tensor, *args, **options)
        start = event()
        work = self.collective(output_tensor, input_tensor, *args, **options)
        count_cuda(self.counters, start, n_bytes, self.name)
        return work
