"""The peers keep the contract of generators, and refuse what they can't model."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from peer_cases import QUICK, REGISTRY, context, fitted, panel, sampled

from haplobench import PanelError, PluginError
from haplobench.registry import missing_needs, resolve
from haplobench.testing import check_generator, example_panel

NAMES = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            bool(missing := missing_needs(spec.needs)), reason=f"it needs {', '.join(missing)}"
        ),
    )
    for name, spec in REGISTRY.generators.items()
]
TRAIN = example_panel(n_samples=12, n_sites=40, populations=("YRI", "CEU"))


@pytest.mark.parametrize("name", NAMES)
def test_conformance(name):
    passed = check_generator(name, example_panel(20, 40), params=QUICK[name], registry=REGISTRY)
    assert {"start", "load"} <= set(passed)
    assert ("populations" in passed) == REGISTRY.generator(name).conditional


def test_each_cites_its_paper():
    assert all(spec.citations for spec in REGISTRY.generators.values())


def test_description_imports_no_heavy_library():
    heavy = "('numba', 'numpy', 'scipy', 'torch', 'haplobench_peers.common')"
    code = f"import sys, haplobench_peers; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", NAMES)
def test_missing_alleles_and_empty_panels_are_refused(name, tmp_path):
    holes = TRAIN.haplotypes.copy()
    holes[3, 5] = -1
    with pytest.raises(PanelError, match=f"generator {name}: .*missing alleles") as refused:
        fitted(name, panel(holes), context(tmp_path))
    assert "max_missing" in str(refused.value)
    with pytest.raises(PanelError, match="0 sites, expected at least one"):
        fitted(name, panel(np.zeros((4, 0))), context(tmp_path))


@pytest.mark.parametrize("name", NAMES)
def test_sites_that_do_not_vary_stay_so(name, tmp_path):
    alleles = TRAIN.haplotypes.copy()
    alleles[:, 7], alleles[:, 8] = 0, 1
    ctx = context(tmp_path)
    drawn = sampled(fitted(name, panel(alleles), ctx), ctx, 3000)
    assert not drawn[:, 7].any()
    assert drawn[:, 8].all()


@pytest.mark.parametrize("name", NAMES)
def test_a_panel_of_one_haplotype_is_given_back(name, tmp_path):
    """All its sites are fixed."""
    lone = panel(TRAIN.haplotypes[:1], ploidy=1)
    ctx = context(tmp_path)
    drawn = sampled(fitted(name, lone, ctx), ctx, 5)
    assert np.array_equal(drawn, np.repeat(lone.haplotypes, 5, axis=0))


@pytest.mark.parametrize("name", NAMES)
def test_one_site(name, tmp_path):
    ctx = context(tmp_path)
    drawn = sampled(fitted(name, panel(TRAIN.haplotypes[:, :1]), ctx), ctx, 4)
    assert drawn.shape == (4, 1)


@pytest.mark.parametrize("name", NAMES)
def test_another_generators_folder_is_refused(name, tmp_path):
    (tmp_path / "generator.json").write_text('{"generator": "markov", "facts": {}}')
    with pytest.raises(PluginError, match=f"not a fitted '{name}': it holds 'markov'"):
        resolve(REGISTRY.generator(name).target)().load(tmp_path, context(tmp_path))
