"""Which files and versions a stage's result rests on."""

from __future__ import annotations

import ast
import textwrap
from pathlib import Path

import numpy as np
import pytest

import haplobench
from haplobench.registry import load_registry
from haplobench.runner import fingerprints
from haplobench.runner.worker.job import Stage


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plugin with a package, one that imports it, and one that is a single file."""
    folder = tmp_path / "toypackage"
    (folder / "kernels").mkdir(parents=True)
    (folder / "__init__.py").write_text('"""A package."""\nfrom toypackage import ld\n')
    (folder / "ld.py").write_text("import numpy as np\nfrom . import kernels\n")
    (folder / "kernels" / "__init__.py").write_text("count = 1\n")
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "__init__.py").write_text(
        textwrap.dedent(
            """
            def fit():
                try:
                    from toypackage.ld import np
                finally:
                    from haplobench.data.formats import read_panel
            """
        )
    )
    (tmp_path / "lonely.py").write_text("y = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


TARGETS = ("toypackage.ld:np", "toypackage:ld", "user:fit", "lonely:y")


def digests() -> list[str]:
    fingerprints.forget()
    return [fingerprints.plugin_code(target).digest for target in TARGETS]


def test_a_plugin_is_its_package_and_those_it_imports(packages: Path) -> None:
    before = digests()
    assert before[0] == before[1]
    assert len(set(before)) == 3

    def changed(path: str, text: str) -> list[bool]:
        file = packages / path
        old = file.read_text() if file.exists() else None
        file.write_text(text)
        differs = [new != was for new, was in zip(digests(), before, strict=True)]
        file.unlink() if old is None else file.write_text(old)
        return differs

    assert changed("toypackage/kernels/__init__.py", "count = 2\n") == [True, True, True, False]
    assert changed("toypackage/ld.py", "import numpy as np\n") == [True, True, True, False]
    assert changed("user/__init__.py", "import toypackage\n") == [False, False, True, False]
    assert changed("lonely.py", "y = 2\n") == [False, False, False, True]
    assert changed("lonely.py", '"""Doc."""\n# a comment\ny = 1\n') == [False] * 4
    assert changed("toypackage/table.csv", "1,2\n") == [True, True, True, False]
    assert changed("README.md", "beside a plugin of one file\n") == [False] * 4
    assert changed("toypackage/kernels/cached.nbi", "numba's") == [False] * 4
    assert digests() == before


def test_what_another_module_of_the_package_imports_is_not_the_targets(packages: Path) -> None:
    folder = packages / "toypackage"
    (folder / "deep.py").write_text("import torch\n")
    (folder / "light.py").write_text("import scipy.stats\nfrom toypackage.shared import y\n")
    (folder / "shared.py").write_text("def y():\n    import pandas\n")
    (folder / "__init__.py").write_text('"""A package."""\nimport yaml\n')
    fingerprints.forget()
    light = fingerprints.imported("toypackage.light:y")
    assert light == {"scipy", "pandas", "yaml"}
    assert fingerprints.imported("toypackage.deep:x") == {"torch", "yaml"}
    # Where it can't be told what is imported, all that the package imports counts.
    (folder / "light.py").write_text("from . import shared\n")
    fingerprints.forget()
    assert "torch" in fingerprints.imported("toypackage.light:y")


def test_generators_without_torch_do_not_load_it() -> None:
    registry = load_registry()
    with_torch = {"vae", "vae-paper", "vae-federated", "wgan"}
    with_torch |= {"gan", "latent-diffusion", "dp-founders"}
    for name, spec in registry.generators.items():
        assert ("torch" in fingerprints.imported(spec.target)) == (name in with_torch), name


def test_versions_of_what_is_imported_count(
    packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digests()
    code = fingerprints.plugin_code("toypackage.ld:r2")
    assert code.versions["numpy"] == np.__version__
    assert "numpy" in code.modules
    assert "torch" not in code.modules
    assert "numpy" not in fingerprints.plugin_code("lonely:y").modules
    monkeypatch.setattr(fingerprints, "_versions", lambda modules: {"numpy": "0"})
    after = digests()
    assert all(new != was for new, was in zip(after, before, strict=True))


@pytest.mark.parametrize("stage", fingerprints.STAGES)
def test_a_stage_rests_on_all_that_its_modules_import_of_the_harness(stage: Stage) -> None:
    """Wherever in a function they import it; but for types, and for other stages' own modules."""
    root = Path(haplobench.__file__).parent

    files = fingerprints.stage_files(stage)
    others = set[Path]().union(*map(fingerprints.stage_files, fingerprints.STAGES))
    assert root / "runner" / "worker" / "main.py" in files
    assert not any(path.is_relative_to(root / "report") for path in others)
    for path in files:
        tree = ast.parse(path.read_text())
        of_types = {
            line
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for line in range(node.lineno, (node.end_lineno or 0) + 1)
        }
        names = {
            name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module and node.lineno not in of_types
            for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
            if name.startswith("haplobench.")
        }
        for name in names:
            base = root.joinpath(*name.split(".")[1:])
            module = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
            known = others if path.name == "main.py" else files
            assert module in known or not module.is_file(), f"{path}: {name}"
