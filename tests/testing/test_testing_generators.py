"""The kit passes good generators and catches every breach, each by its own check."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import kit_generators as toys
import pytest

from haplobench import Module, PluginError
from haplobench.registry import load_registry
from haplobench.testing import ConformanceError, check_generator, example_panel


def failures(target: str, **changes: Any) -> dict[str, str]:
    with pytest.raises(ConformanceError) as caught:
        check_generator(toys.spec(target, **changes))
    return {failure.check: str(failure) for failure in caught.value.failures}


def test_good_generators_pass() -> None:
    passed = check_generator(toys.spec("Good", conditional=True))
    assert set(passed) == {
        "description",
        "params",
        "writes",
        "holdout",
        "fit",
        "training panel",
        "sample",
        "shape",
        "determinism",
        "seed",
        "batch size",
        "start",
        "save",
        "load",
        "populations",
        "unlabelled panel",
        "haploid panel",
    }
    check_generator(toys.spec("Elsewhere", site_matched=False))
    check_generator(toys.spec("DiligentWriter"))
    check_generator(toys.spec("RefusesUnlabelled"))


def test_a_fit_with_fresh_noise_declares_it() -> None:
    assert "determinism" in check_generator(toys.spec("Private", params=toys.PrivateParams))
    assert "identical haplotypes" in failures("Private")["determinism"]
    # The noise that is declared must be there.
    said = failures("Good", params=toys.PrivateParams)["determinism"]
    assert "other haplotypes, as its noise is nobody's to repeat" in said


@pytest.mark.parametrize(
    ("target", "check", "words"),
    [
        ("Raises", "fit", "ValueError: no luck today at kit_generators.py"),
        ("Mutates", "training panel", "differ after fit"),
        ("MutatesAlleles", "fit", "read-only"),
        ("ReturnsNothing", "fit", "NoneType without sample and save"),
        ("WritesHere", "writes", "notes.txt"),
        ("WritesBesideTrain", "writes", "hidden.txt"),
        ("Peeks", "holdout", "haplotypes.npy"),
        ("ProgramWrites", "writes", "out.log"),
        ("NeedsLabels", "unlabelled panel", "IndexError: population 0"),
        ("UnseededFit", "determinism", "fitting again with the same seed"),
        ("Float", "shape", "float32 array"),
        ("Twos", "shape", "alleles 0 and 1"),
        ("FewColumns", "shape", "(520, 199)"),
        ("TooMany", "shape", "522"),
        ("OneBatch", "shape", "batch_size = 64"),
        ("SamplingRaises", "sample", "out of luck"),
        ("Unseeded", "determinism", "the same request twice"),
        ("OneSeed", "seed", "another seed"),
        ("ByBatch", "batch size", "batches of 64"),
        ("FromZero", "start", "haplotypes 252 to 381"),
        ("Pickles", "save", "state.bin"),
        ("AbsolutePath", "load", "FileNotFoundError"),
        ("KeepsInScratch", "load", "FileNotFoundError"),
        ("ForgetsItsClaim", "load", "the same PrivacyStatement"),
        ("NoSuchClass", "fit", "NoSuchClass"),
    ],
)
def test_each_breach_is_caught(target: str, check: str, words: str) -> None:
    found = failures(target)
    assert check in found
    assert words in found[check]
    # One mistake, one failure (an unseeded draw also depends on everything else).
    if target not in ("Unseeded", "ByBatch"):
        assert set(found) == {check}


@pytest.mark.slow
def test_ranks_must_fit_what_one_rank_fits() -> None:
    pytest.importorskip("torch")
    assert "world size" in check_generator(toys.spec("TwoRanks", distributed=True))
    assert "mean z²" in failures("OneRankOnly", distributed=True)["world size"]


def test_what_passed_is_told_beside_what_failed() -> None:
    with pytest.raises(ConformanceError) as caught:
        check_generator(toys.spec("Pickles"))
    assert {"fit", "shape", "load"} <= set(caught.value.passed)
    assert "save" not in caught.value.passed


def test_a_state_changed_by_saving_is_caught() -> None:
    assert set(failures("Forgets")) == {"load"}


def test_populations_must_be_honoured_if_so_declared() -> None:
    assert set(failures("IgnoresPopulations", conditional=True)) == {"populations"}
    check_generator(toys.spec("IgnoresPopulations", conditional=False))


def test_site_free_breaches() -> None:
    assert "2 × Panel" in failures("TwoPanels", site_matched=False)["shape"]
    assert set(failures("SameDrawsElsewhere", site_matched=False)) == {"start"}
    assert set(failures("OthersBySites", site_matched=False)) == {"variants"}
    assert "ndarray" in failures("Good", site_matched=False)["shape"]
    assert "Panel" in failures("Elsewhere", site_matched=True)["shape"]


def test_params_and_description() -> None:
    assert "extra='ignore'" in failures("Good", params=toys.LooseParams)["params"]
    assert "columns" in failures("Good", params=toys.NeedyParams)["params"]
    check_generator(toys.spec("Good", params=toys.NeedyParams), params={"columns": 3})
    assert "ForeignParams" in failures("Good", params=toys.ForeignParams)["params"]
    assert "a name" in failures("Good", name="My Generator")["description"]
    assert "a summary" in failures("Good", summary=" ")["description"]


def test_several_breaches_are_listed_together() -> None:
    found = failures("Pickles", name="UPPER", version="")
    assert set(found) == {"description", "save"}


def test_lacking_needs_are_said() -> None:
    spec = toys.spec("Good", needs=(Module("no_such_module", "no-such-module"),))
    with pytest.raises(PluginError, match="can't be checked without Python module no_such_module"):
        check_generator(spec)


def test_the_surroundings_are_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = os.environ.get("TMPDIR"), tempfile.tempdir
    check_generator(toys.spec("Good"), example_panel(20, n_sites=50), n_haplotypes=40)
    with pytest.raises(ConformanceError):
        check_generator(toys.spec("WritesHere"), example_panel(20, n_sites=50))
    assert Path.cwd() == tmp_path
    assert (os.environ.get("TMPDIR"), tempfile.tempdir) == before
    assert not list(tmp_path.iterdir())


def test_heavy_imports_are_caught_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Path(toys.__file__).parent
    (tmp_path / "heavy_toy.py").write_text(
        "import scipy\n"
        "from haplobench import hookimpl\n"
        "import kit_generators\n"
        "@hookimpl\n"
        "def haplobench_generators():\n"
        "    return [kit_generators.spec('Good')]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(here)]))
    registry = load_registry(["heavy_toy"])
    with pytest.raises(ConformanceError) as caught:
        check_generator("toy", registry=registry)
    (failure,) = caught.value.failures
    assert failure.check == "light import"
    assert "scipy" in failure.found
    with pytest.raises(PluginError, match="no generator is named 'tow'"):
        check_generator("tow", registry=registry)
    sys.modules.pop("heavy_toy")
