"""Provenance: the code, the installed versions and the hardware that a run rests on."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil

_SHOWN = (
    "haplobench", "numpy", "scipy", "numba", "scikit-learn", "torch", "msprime", "stdpopsim",
    "tskit", "pydantic",
)  # fmt: skip


@dataclass(frozen=True)
class Provenance:
    """Where and with what a run was made.

    Attributes
    ----------
    git : dict
        `sha` and `dirty` of the working tree that haplobench is run from; empty sha where it
        isn't in one.
    versions : dict
        Of Python and the distributions that matter most.
    lock_digest : str
        SHA-256 (16 hex digits) of the versions of everything that is installed.
    hardware : dict
        `cpu`, `cores`, `memory` (bytes), `gpus` (name, memory in bytes, driver), `system`, and
        `fingerprint`: 16 hex digits of CPU, cores and GPUs.
    """

    git: dict[str, Any]
    versions: dict[str, str]
    lock_digest: str
    hardware: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """The hardware's fingerprint."""
        return str(self.hardware["fingerprint"])


def provenance() -> Provenance:
    """Look at this machine and this working tree."""
    return Provenance(
        git=_git(Path(__file__).parent),
        versions=_versions(),
        lock_digest=_lock_digest(),
        hardware=hardware(),
    )


@cache
def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in _SHOWN:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


@cache
def _lock_digest() -> str:
    """From the names of metadata folders, `numpy-2.4.6.dist-info`: reading them all is slow."""
    installed = {
        path.name
        for entry in sys.path
        for kind in ("dist-info", "egg-info")
        for path in Path(entry or ".").glob(f"*.{kind}")
    }
    return hashlib.sha256("\n".join(sorted(installed)).encode()).hexdigest()[:16]


def _git(folder: Path) -> dict[str, Any]:
    """Commit and state of the working tree that holds this code."""
    absent = {"sha": "", "dirty": False}
    if shutil.which("git") is None:
        return absent

    def ask(*arguments: str) -> str | None:
        environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *arguments],
                capture_output=True, text=True, timeout=20, env=environment, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    top = ask("rev-parse", "--show-toplevel")
    sha = ask("rev-parse", "HEAD")
    # An installed copy may lie in somebody else's repository: that one says nothing of ours.
    if not top or not sha or not (Path(top) / "harness" / "haplobench").is_dir():
        return absent
    return {"sha": sha, "dirty": bool(ask("status", "--porcelain", "--untracked-files=normal"))}


@cache
def hardware() -> dict[str, Any]:
    """CPU model, cores, memory and GPUs of this machine, see `Provenance.hardware`."""
    found: dict[str, Any] = {
        "cpu": _cpu_model(),
        "cores": available_cores(),
        "memory": int(psutil.virtual_memory().total),
        "gpus": _gpus(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    text = repr((found["cpu"], found["cores"], [gpu["name"] for gpu in found["gpus"]]))
    found["fingerprint"] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return found


def available_cores() -> int:
    """Cores that this process may use: its affinity, and its control group's share."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:
        cores = os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            cores = min(cores, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):
        pass
    return max(1, cores)


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _gpus() -> list[dict[str, Any]]:
    """NVIDIA GPUs, through nvidia-ml-py where it is installed."""
    try:
        import pynvml  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        driver = pynvml.nvmlSystemGetDriverVersion()
        handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
        return [
            {
                "name": _text(pynvml.nvmlDeviceGetName(handle)),
                "memory": int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
                "driver": _text(driver),
            }
            for handle in handles
        ]
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
