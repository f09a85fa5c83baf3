"""Checks of what all plugins have: a description, a params model, a light import."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from haplobench.errors import PluginError
from haplobench.plugin import Need, Params
from haplobench.registry import Registry, load_registry, missing_needs
from haplobench.testing.findings import Findings, HaltError

# Seconds to import, or programs' worth of memory: not for a plugin's descriptions.
HEAVY = (
    "allel",
    "altair",
    "cyvcf2",
    "jax",
    "matplotlib",
    "msprime",
    "numba",
    "pandas",
    "scipy",
    "sklearn",
    "stdpopsim",
    "tensorflow",
    "torch",
    "tskit",
    "zarr",
)


def named(kind: str, plugin: Any, registry: Registry | None) -> tuple[Any, str]:
    """The spec that `plugin` is or names, and the module it came from (empty if it is a spec).

    Raises PluginError for an unknown name, or if this machine lacks what the plugin needs.
    """
    module = ""
    if isinstance(plugin, str):
        registry = registry or load_registry()
        spec = getattr(registry, kind)(plugin)
        module = registry.source(f"{kind}s", plugin).module
    else:
        spec = plugin
    needs: tuple[Need, ...] = spec.needs
    missing = missing_needs(needs)
    if missing:
        raise PluginError(f"{kind} {spec.name}: can't be checked without {', '.join(missing)}")
    return spec, module


def checked_params(
    findings: Findings, model: type[Params], given: Mapping[str, Any] | Params | None
) -> Params:
    """Check a params model and build the params of this check."""
    why = "A misspelt key in a suite must be an error, not a silent default."
    if not findings.expect(
        isinstance(model, type) and issubclass(model, Params),
        "params",
        "a subclass of haplobench.Params",
        repr(model),
        why,
    ):
        raise HaltError
    config = model.model_config
    findings.expect(
        config.get("extra") == "forbid" and bool(config.get("frozen")),
        "params",
        "a frozen model that forbids unknown keys (as Params does)",
        f"extra={config.get('extra')!r}, frozen={config.get('frozen')!r}",
        why,
    )
    if isinstance(given, BaseModel):
        return given
    try:
        return model(**(given or {}))
    except ValidationError as error:
        findings.expect(
            False,
            "params",
            "defaults for every parameter" if given is None else f"{dict(given)} to be valid",
            "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()),
            "A suite may name a plugin without parameters; pass `params` to check it with some.",
        )
        raise HaltError from None


def check_description(findings: Findings, spec: Any) -> None:
    """Check what all specs have in common."""
    why = "Records, tables and messages name plugins by these."
    name = str(spec.name)
    findings.expect(
        bool(name) and name == name.lower() and all(c.isalnum() or c in "-_." for c in name),
        "description",
        "a name of lower-case letters, digits and -",
        repr(name),
        why,
    )
    for field_name in ("version", "summary"):
        value = getattr(spec, field_name)
        findings.expect(
            isinstance(value, str) and bool(value.strip()),
            "description",
            f"a {field_name}",
            repr(value),
            why,
        )


def check_light_import(findings: Findings, module: str) -> None:
    """Import the plugin's module alone, in a fresh interpreter, and see what came with it."""
    code = (
        f"import sys, {module}; "
        f"print(' '.join(m for m in {HEAVY!r} if m in sys.modules)); "
        f"[spec for kind in ('generators', 'metrics', 'datasets') "
        f"for spec in getattr({module}, 'haplobench_' + kind, list)()]; "
        f"print(' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    )
    # A plugin that isn't installed lies where this process was told to look.
    paths = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    findings.expect(
        done.returncode == 0,
        "light import",
        f"`import {module}` to work in a fresh interpreter",
        (done.stderr.strip().splitlines() or ["no message"])[-1],
        "Every command of `bench` imports every plugin's descriptions.",
    )
    heavy = sorted(set(done.stdout.split()))
    findings.expect(
        not heavy,
        "light import",
        f"`import {module}` to import nothing heavy; do that in the target's module",
        f"imports {', '.join(heavy)}",
        "Every command of `bench` imports every plugin's descriptions.",
    )
