"""What the networks of peers share: threads, and parameters on their way down a loss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """So many threads of PyTorch's, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, threads))
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Learner:
    """Parameters that Adam moves down a loss, and `average`, which follows them."""

    def __init__(
        self, parameters: Iterable[Tensor], rate: float, moments: tuple[float, float]
    ) -> None:
        self.parameters = list(parameters)
        self.optimiser = torch.optim.Adam(self.parameters, rate, moments)
        self.average = [part.detach().clone() for part in self.parameters]

    def set_rate(self, rate: float) -> None:
        """Learning rate from now on."""
        self.optimiser.param_groups[0]["lr"] = rate

    def descend(self, loss: Tensor) -> None:
        """A step of Adam's."""
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()

    def follow(self, decay: float) -> None:
        """Move the average towards the parameters, by all but `decay` of the way."""
        with torch.no_grad():
            for kept, part in zip(self.average, self.parameters, strict=True):
                kept.lerp_(part, 1 - decay)

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """All that a fit in progress is made of, as views, by names that begin with `name`."""
        return {key: tensor.numpy() for key, tensor in self._tensors(name).items()}

    def restore(self, arrays: Mapping[str, NDArray[Any]], name: str) -> None:
        """Take up what `arrays` gave."""
        for part in self.parameters:
            # What Adam makes at its first step.
            self.optimiser.state[part] = {
                "step": torch.zeros(()),
                "exp_avg": torch.zeros_like(part.data),
                "exp_avg_sq": torch.zeros_like(part.data),
            }
        for key, tensor in self._tensors(name).items():
            tensor.copy_(torch.from_numpy(arrays[key]))

    def _tensors(self, name: str) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = {}
        for at, (part, kept) in enumerate(zip(self.parameters, self.average, strict=True)):
            tensors |= {f"{name}-{at}": part.data, f"{name}-{at}-average": kept}
            tensors |= {f"{name}-{at}-{k}": v for k, v in self.optimiser.state[part].items()}
        return tensors
