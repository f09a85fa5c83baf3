"""Run the steps of a workflow on this machine, in the order and with the words of its YAML.

Usage: ci_example.py [WORKFLOW.yml] [NAME=VALUE …]

A step's `run` is given to bash as on GitHub; `uses` is left out, and so is a step whose `if`
asks for what only GitHub knows. NAME=VALUE overrides the workflow's `env`; BASE is HEAD unless
given. Exits as the first step that fails.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

WORKFLOW = Path(__file__).resolve().parent.parent / ".github" / "workflows" / "haplobench.yml"
_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
_OUTPUT = re.compile(r"steps\.(\w+)\.outputs\.(\w+)")


def run_steps(workflow: Path) -> list[dict[str, Any]]:
    """The steps of a workflow that are commands and don't need GitHub, in order."""
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
    return [
        step
        for job in jobs.values()
        for step in job["steps"]
        if "run" in step and "github." not in str(step.get("if", ""))
    ]


def main(arguments: list[str]) -> int:
    """Run the steps; the exit code of the first that fails."""
    given = dict(word.split("=", 1) for word in arguments if "=" in word)
    files = [word for word in arguments if "=" not in word]
    workflow = Path(files[0]) if files else WORKFLOW
    declared = yaml.safe_load(workflow.read_text(encoding="utf-8")).get("env", {})
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    common = {**declared, "BASE": head.stdout.strip(), **given}
    outputs: dict[tuple[str, str], str] = {}
    with tempfile.TemporaryDirectory() as folder:
        summary = Path(folder) / "summary.md"
        for step in run_steps(workflow):
            said = Path(folder) / "output"
            said.write_text("")
            environment = {
                name: _value(str(text), outputs)
                for name, text in {**common, **step.get("env", {})}.items()
            }
            told = {"GITHUB_OUTPUT": str(said), "GITHUB_STEP_SUMMARY": str(summary)}
            print(f"\n== {step['name']}", flush=True)
            command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
            code = subprocess.run(command, env={**os.environ, **environment, **told}).returncode
            if code:
                print(f"== {step['name']}: exit code {code}", flush=True)
                return code
            for line in said.read_text().splitlines():
                name, _, value = line.partition("=")
                outputs[step.get("id", ""), name] = value
    return 0


def _value(text: str, outputs: dict[tuple[str, str], str]) -> str:
    """A value with the outputs of earlier steps; other expressions are empty, as on GitHub."""

    def found(match: re.Match[str]) -> str:
        output = _OUTPUT.fullmatch(match[1])
        return outputs.get((output[1], output[2]), "") if output else ""

    return _EXPRESSION.sub(found, text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
