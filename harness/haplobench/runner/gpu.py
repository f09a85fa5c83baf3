"""What a stage does to its GPU: utilisation and energy, by NVML."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any

_EVERY = 0.2
_PERCENT = 100.0
_MILLI = 1e-3


class GPUWatch:
    """Watches a CUDA device: `with GPUWatch(ctx.device) as gpu: …`, then `gpu.facts()`.

    NVML is asked every 0.2 s in a thread. On another device, and where NVML or the Python
    module `pynvml` (nvidia-ml-py) is missing, nothing is watched and the facts say why.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._note = ""
        self._shares: list[float] = []
        self._energy: float | None = None
        self._nvml: Any = None
        self._handle: Any = None
        self._stop = threading.Event()

    def __enter__(self) -> GPUWatch:
        if not self._device.startswith("cuda"):
            self._note = "no GPU"
            return self
        try:
            import pynvml
            import torch

            pynvml.nvmlInit()
            # NVML knows nothing of CUDA_VISIBLE_DEVICES: found by its own name.
            uuid = torch.cuda.get_device_properties(self._device).uuid
            self._handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
        except Exception as error:  # whatever a driver or its absence raises: a number less
            self._note = f"NVML: {error or type(error).__name__}"
            return self
        self._nvml = pynvml
        self._begin = self._joules()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._nvml is None:
            return
        self._stop.set()
        self._thread.join()
        end = self._joules()
        if self._begin is not None and end is not None:
            self._energy = end - self._begin
        self._nvml.nvmlShutdown()

    def _watch(self) -> None:
        while True:
            try:
                rates = self._nvml.nvmlDeviceGetUtilizationRates(self._handle)
            except self._nvml.NVMLError as error:
                self._note = f"NVML: {error}"
                return
            self._shares.append(rates.gpu / _PERCENT)
            if self._stop.wait(_EVERY):
                return

    def _joules(self) -> float | None:
        """Since the driver was loaded; None where the GPU doesn't count."""
        try:
            return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) * _MILLI
        except self._nvml.NVMLError:
            return None

    def facts(self) -> dict[str, Any]:
        """`gpu_utilisation` (0-1, mean), `gpu_energy` (J), None if unknown; `gpu_note`: why."""
        shares = self._shares
        return {
            "gpu_utilisation": sum(shares) / len(shares) if shares else None,
            "gpu_energy": self._energy,
            "gpu_note": self._note,
        }
