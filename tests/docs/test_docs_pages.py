"""The documentation builds without a warning, and what it tells the reader to type works."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import sysconfig
from itertools import takewhile
from pathlib import Path

import click
import pytest

from haplobench.registry import load_registry
from haplobench.suite.load import load_suite
from haplobench.suite.source import shipped_suites
from haplobench.testing import check_generator

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```', re.MULTILINE | re.DOTALL)
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def blocks(page: str) -> list[tuple[str, str, str]]:
    """(language, file name or empty, text) of a page's code blocks, in order."""
    return BLOCK.findall((DOCS / page).read_text(encoding="utf-8"))


def test_the_site_builds_without_warnings(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="needs the extra `docs`: `make docs` installs it")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    registry = load_registry()
    metrics = (tmp_path / "reference" / "metrics" / "index.html").read_text()
    for name, spec in registry.metrics.items():
        assert f'id="{name}"' in metrics
        assert all(item.name in metrics for item in spec.submetrics)
    generators = (tmp_path / "reference" / "generators" / "index.html").read_text()
    assert all(f'id="{name}"' in generators for name in registry.generators)
    for page in tmp_path.rglob("*.html"):
        loaded = re.findall(
            r'<(?:script|img|link)[^>]*(?:src|href)="(https?:[^"]+)"', page.read_text()
        )
        assert not loaded, f"{page.name} asks others for {loaded}"


@pytest.mark.parametrize("page", PAGES)
def test_every_command_shown_exists(page: str) -> None:
    from typer.main import get_command

    from haplobench.cli import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    rules = re.findall(r"^([a-z -]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = set(" ".join(rules).split())
    for language, _, text in blocks(page):
        if language == "sh":
            assert set(re.findall(r"^bench ([\w-]+)", text, re.MULTILINE)) <= set(commands)
            assert set(re.findall(r"^make ([\w-]+)", text, re.MULTILINE)) <= targets
    prose = (DOCS / page).read_text()
    assert set(re.findall(r"`bench ([a-z]+)", prose)) <= set(commands)
    assert set(re.findall(r"`make ([a-z-]+)", prose)) <= targets


def typed(page: str) -> list[list[str]]:
    """The words of every `bench` command in a page's shell blocks, up to a pipe."""
    text = "\n".join(text for language, _, text in blocks(page) if language == "sh")
    lines = re.findall(r"^(?:exec )?(bench .*)", text.replace("\\\n", " "), re.MULTILINE)
    commands = [shlex.split(line, comments=True) for line in lines]
    return [list(takewhile(lambda word: word not in "|&&;", words)) for words in commands]


@pytest.mark.parametrize("page", ["../README.md", *PAGES])
def test_every_command_shown_is_one_that_bench_takes(page: str) -> None:
    from typer.main import get_command

    from haplobench.cli import app

    for words in typed(page):
        command, names = get_command(app), words[1:]
        while isinstance(command, click.Group):
            command, names = command.commands[names[0]], names[1:]
        command.make_context(" ".join(words), names)  # an option that it hasn't raises


@pytest.mark.parametrize("page", ["../README.md", *PAGES])
def test_commands_about_one_model_name_one(page: str) -> None:
    registry = load_registry()
    for words in typed(page):
        if words[1] in ("generate", "explore") and words[2] in shipped_suites():
            suite = load_suite(words[2], [], registry)
            generator = next(words[n + 1] for n, word in enumerate(words) if word == "-g")
            (entry,) = [entry for entry in suite.generators if entry.label == generator]
            fitted = [dataset.label for dataset in suite.datasets if entry.fits(dataset.label)]
            named = [words[n + 1] for n, word in enumerate(words) if word == "-d"]
            assert named == fitted[:1] or (not named and len(fitted) == 1), " ".join(words)


@pytest.mark.parametrize("page", PAGES)
def test_pieces_of_suites_validate(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "withdrawn.txt").write_text("NA12878\n")  # as a piece names it
    (tmp_path / "expression.tsv").write_text("sample\tGENE1\nNA12878\t1\n")
    (tmp_path / "examples").symlink_to(ROOT / "examples")  # pieces name its files
    pieces = [text for language, name, text in blocks(page) if language == "yaml" and not name]
    for number, piece in enumerate(pieces):
        whole = {"name": "name: piece", "datasets": "datasets: [embedded]"}
        whole["generators"] = "generators: [markov]"
        text = "\n".join(line for key, line in whole.items() if f"\n{key}:" not in f"\n{piece}")
        path = tmp_path / f"piece{number}.yaml"
        path.write_text(f"{text}\n{piece}")
        load_suite(path, [], load_registry())


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_tutorial_works_as_it_stands(tmp_path: Path) -> None:
    """In an environment of its own, that takes its libraries from this one."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    site = next((venv / "lib").glob("python*/site-packages"))
    here = {sysconfig.get_path("purelib"), *(p for p in sys.path if p.endswith("site-packages"))}
    # `site` follows the .pth files of added folders, an editable haplobench's among them.
    (site / "outer.pth").write_text("".join(f"import site; site.addsitedir({p!r})\n" for p in here))
    bench = venv / "bin" / "bench"
    bench.write_text(f"#!{venv}/bin/python\nfrom haplobench.cli import main\nmain()\n")
    bench.chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    environment = {**os.environ, "PATH": f"{venv / 'bin'}:{os.environ['PATH']}"}
    environment |= {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "COLUMNS": "200"}
    ran = []
    for language, name, text in blocks("tutorial.md"):
        if name:
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_text(text)
        elif language == "sh":
            # No network in a test: what the distribution needs is here already.
            lines = text.replace(
                "pip install", f"{venv}/bin/python -m pip install --no-deps --no-build-isolation"
            )
            done = subprocess.run(
                ["sh", "-e", "-c", lines],
                cwd=work,
                env=environment,
                capture_output=True,
                text=True,
                timeout=600,
            )
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
            ran.append(done.stdout)
    shown = next(text for text in ran if "my-chain-smoothed" in text)
    assert "li-stephens" in shown
    assert "floor" in shown


@pytest.mark.slow
def test_the_torch_of_the_tutorial_keeps_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    draw, save = (text for language, _, text in blocks("tutorial.md") if "torch." in text)
    saved, loaded = save.splitlines()
    body = "\n".join(f"        {line}" for line in draw.splitlines())
    (tmp_path / "torch_by_tutorial.py").write_text(
        "import numpy as np\n"
        "import safetensors.torch\n"
        "import torch\n"
        "\n\n"
        "class Fitted:\n"
        "    n_latents = 4\n\n"
        "    def __init__(self, decoder):\n        self.decoder = decoder\n\n"
        f"    def sample(self, request, ctx):\n{body}\n        return request.batches(draw)\n\n"
        f"    def save(self, directory):\n        {saved}\n\n\n"
        "class Decoder:\n"
        "    def fit(self, train, params, ctx):\n"
        '        torch.manual_seed(ctx.seed_for("fit"))\n'
        "        return Fitted(torch.nn.Linear(4, train.n_sites))\n\n"
        "    def load(self, directory, ctx):\n"
        '        shape = safetensors.torch.load_file(directory / "decoder.safetensors")["bias"]\n'
        "        decoder = torch.nn.Linear(4, len(shape))\n"
        f"        {loaded}\n"
        "        return Fitted(decoder)\n"
    )
    (tmp_path / "described_by_tutorial.py").write_text(
        "from haplobench import GeneratorSpec, hookimpl\n\n\n"
        "@hookimpl\n"
        "def haplobench_generators():\n"
        '    return [GeneratorSpec("by-tutorial", "1", "torch_by_tutorial:Decoder", "Noise.")]\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    passed = check_generator("by-tutorial", registry=load_registry(["described_by_tutorial"]))
    assert passed
