"""What a plugin needs: its parameters, and modules, programs and devices of the machine."""

from __future__ import annotations

import importlib.util
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict


class Params(BaseModel):
    """Parameters of a plugin: frozen, unknown keys forbidden, checked before anything runs.

    A number is taken where a text is asked for: YAML reads `contig: 22` as a number.
    """

    model_config = ConfigDict(
        # An infinite bound stays one in the JSON of a saved model.
        ser_json_inf_nan="constants",
        frozen=True,
        extra="forbid",
        coerce_numbers_to_str=True,
        defer_build=True,
    )

    def needed(self) -> tuple[Need, ...]:
        """What these parameters need of the machine, beside what the spec names."""
        return ()

    def fingerprint(self) -> str:
        """What identifies the content of files that a generator's parameters name.

        A stage is computed anew where it differs. It isn't part of what was asked: commits
        stay comparable.
        """
        return ""

    def unrepeatable(self) -> str:
        """Why a second fit with the same seed gives another model; empty where it gives the same.

        Only noise that protects people is a reason. What a fitted generator draws stays a
        function of the seed.
        """
        return ""


@dataclass(frozen=True)
class Module:
    """A Python module that must be importable, and what to `pip install` to have it."""

    name: str
    install: str

    def missing(self) -> str:
        """Empty if present, else what is missing and how to get it."""
        if importlib.util.find_spec(self.name) is not None:
            return ""
        return f"Python module {self.name} (pip install '{self.install}')"


@dataclass(frozen=True)
class Binary:
    """A program that must be on PATH, and how to get it."""

    name: str
    install: str

    def missing(self) -> str:
        """Empty if present, else what is missing and how to get it."""
        return "" if shutil.which(self.name) else f"program {self.name} ({self.install})"


@dataclass(frozen=True)
class GPU:
    """A CUDA GPU that the operating system shows."""

    def missing(self) -> str:
        """Empty if present, else what is missing."""
        if Path("/dev/nvidia0").exists() and os.environ.get("CUDA_VISIBLE_DEVICES", "0"):
            return ""
        return "a CUDA GPU (none is visible on this machine)"


Need = Module | Binary | GPU
