"""`vae`: probabilities, codes of real people, and ways through the latent space."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from haplobench import BenchError, Explorable, Panel, RunContext, SampleRequest
from haplobench.cli import main
from haplobench.data.formats import read_panel
from haplobench.testing import example_context, example_panel
from haplobench_vae.specs import VAEParams
from haplobench_vae.vae import VAE, FittedVAE

PARAMS = {"window": 20, "codes": 48, "dimension": 32, "reach": 8, "epochs": 8}


@pytest.fixture(scope="module")
def panel() -> Panel:
    return example_panel(n_samples=200, n_sites=200, seed=3)


@pytest.fixture(scope="module")
def ctx(panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> RunContext:
    return example_context(tmp_path_factory.mktemp("fit"), panel)


@pytest.fixture(scope="module")
def fitted(panel: Panel, ctx: RunContext) -> FittedVAE:
    return VAE().fit(panel, VAEParams.model_validate(PARAMS), ctx)


def people(panel: Panel, group: str, n: int = 20) -> Panel:
    return panel.select_samples(np.flatnonzero(panel.superpopulation == group)[:n])


def test_alleles_are_drawn_with_the_probabilities(fitted: FittedVAE, ctx: RunContext) -> None:
    request = SampleRequest(3000, batch_size=700)
    alleles = np.concatenate(list(fitted.sample(request, ctx)))
    parts = list(fitted.probabilities(request, ctx))
    p = np.concatenate(parts)
    assert p.dtype == np.float32
    assert max(part.shape[0] for part in parts) <= 700
    assert p.shape == alleles.shape
    assert ((p >= 0) & (p <= 1)).all()
    # Calibrated: among alleles drawn at about the same probability, that share is alternate.
    bins = np.minimum((p * 10).astype(int), 9)
    for b in range(10):
        chosen = bins == b
        expected, n = p[chosen].mean(), chosen.sum()
        error = 5 * np.sqrt(max(expected * (1 - expected), 1e-4) / n)
        assert alleles[chosen].mean() == pytest.approx(expected, abs=error + 1e-3)


def test_probabilities_do_not_depend_on_the_cut(fitted: FittedVAE, ctx: RunContext) -> None:
    whole = np.concatenate(list(fitted.probabilities(SampleRequest(300), ctx)))
    part = np.concatenate(list(fitted.probabilities(SampleRequest(20, 250, 7), ctx)))
    np.testing.assert_array_equal(part, whole[250:270])


def test_codes_are_the_most_probable_and_carry_the_haplotype(
    fitted: FittedVAE, panel: Panel, ctx: RunContext
) -> None:
    assert isinstance(fitted, Explorable)
    codes = fitted.encode(panel, ctx)
    assert codes.shape == (panel.n_haplotypes, fitted.tiling.n_windows)
    tables = 1 / (1 + np.exp(-fitted.codebooks.logits.numpy().astype(float)))
    window = 3
    alleles = panel.haplotypes[:, window * 20 : (window + 1) * 20].astype(float)
    p = tables[window][:, :20]
    joint = alleles @ np.log(p).T + (1 - alleles) @ np.log1p(-p).T
    joint += fitted.codebooks.log_weights[window].numpy()
    np.testing.assert_array_equal(codes[:, window], joint.argmax(axis=1))
    # Both ends of a way are what its codes decode to: near the haplotype itself.
    back = fitted.interpolate(panel, panel, 2, ctx)
    np.testing.assert_array_equal(back[0], back[1])
    wrong = (back[0] != panel.haplotypes).mean()
    by_chance = (panel.haplotypes[::-1] != panel.haplotypes).mean()
    assert wrong < by_chance / 4


def test_points_on_the_way_lie_between_the_ends(
    fitted: FittedVAE, panel: Panel, ctx: RunContext
) -> None:
    groups = np.unique(panel.superpopulation)
    first, second = people(panel, groups[0]), people(panel, groups[1])
    way = fitted.interpolate(first, second, 9, ctx)
    assert way.shape == (9, first.n_haplotypes, panel.n_sites)

    def dosages(haplotypes: NDArray[np.int8]) -> NDArray[np.int64]:
        return haplotypes.reshape(-1, 2, panel.n_sites).sum(axis=1)

    pca = PCA(2, svd_solver="full").fit(dosages(panel.haplotypes))
    scores = np.array([pca.transform(dosages(step)) for step in way])
    start, end = scores[0], scores[-1]
    # Where each point lies on the straight line between its ends: 0 at the first, 1 at the last.
    along = ((scores - start) * (end - start)).sum(-1) / ((end - start) ** 2).sum(-1)
    mean = along.mean(axis=1)
    assert (np.diff(mean) > 0).all()
    assert mean[4] == pytest.approx(0.5, abs=0.2)
    assert ((along > -0.15) & (along < 1.15)).mean() > 0.95
    # And off it by less than the ends are apart.
    line = start + along[..., None] * (end - start)
    apart = np.linalg.norm(end - start, axis=-1)
    assert (np.linalg.norm(scores - line, axis=-1) / apart).mean() < 0.35
    # Step by step, fewer alleles are the first's and more the second's.
    differ = np.array([[(step != end).mean() for end in (way[0], way[-1])] for step in way])
    assert (np.diff(differ[:, 0]) >= 0).all()
    assert (np.diff(differ[:, 1]) <= 0).all()


def test_a_traversal_changes_one_window_and_what_follows_from_it(
    fitted: FittedVAE, panel: Panel, ctx: RunContext
) -> None:
    one = panel.select_samples([5])
    own = fitted.interpolate(one, one, 2, ctx)[0]
    made = fitted.traverse(one, 4, 12, ctx)
    assert made.shape == (12, 2, panel.n_sites)
    here = slice(80, 100)
    np.testing.assert_array_equal(made[:, :, :80], np.broadcast_to(own[:, :80], (12, 2, 80)))
    assert len(np.unique(made[:, 0, here], axis=0)) > 6
    # The other windows keep their codes: what changes there, the decoder's context changes.
    assert (made[:, :, 100:] != own[:, 100:]).mean() < (made[:, :, here] != own[:, here]).mean() / 4
    with pytest.raises(BenchError, match="no window 10; expected 0 to 9"):
        fitted.traverse(one, 10, 3, ctx)


def test_other_sites_are_refused(fitted: FittedVAE, ctx: RunContext) -> None:
    with pytest.raises(BenchError, match="found 50 sites, expected the 200"):
        fitted.encode(example_panel(n_sites=50), ctx)


def test_a_saved_model_answers_the_same(
    fitted: FittedVAE, panel: Panel, ctx: RunContext, tmp_path: Path
) -> None:
    fitted.save(tmp_path)
    again = VAE().load(tmp_path, ctx)
    np.testing.assert_array_equal(again.encode(panel, ctx), fitted.encode(panel, ctx))
    two = people(panel, "EUR", 2)
    np.testing.assert_array_equal(
        again.interpolate(two, two, 2, ctx), fitted.interpolate(two, two, 2, ctx)
    )


SUITE = """
name: tiny
seeds: [1]
datasets:
  - name: embedded
    label: eur
    params: {region: "20:1000000-1100000"}
    split: {holdout: 0.2, validation: 0.1, seed: 1}
generators:
  - {name: vae, params: {window: 32, codes: 16, dimension: 16, heads: 2, epochs: 2}}
metrics: [allele-frequency]
sample: {haplotypes: 20, draws: 1}
floor: {draws: 1}
"""


def test_commands_explore_and_generate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(SUITE)

    def bench(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(list(arguments))
        said = capsys.readouterr()
        return int(stop.value.code or 0), said.out, said.err

    ran = bench("run", "tiny.yaml", "--only", "vae", "--no-report")
    assert ran[0] == 0, ran
    for ending in ("bcf", "vcz", "pgen"):
        made = bench("generate", "tiny", "-g", "vae", "-n", "600", "--to", f"x.{ending}")
        assert made[0] == 0, made
        assert "600 haplotypes" in made[1]
    cohorts = [read_panel(tmp_path / f"x.{ending}")[0] for ending in ("bcf", "vcz", "pgen")]
    for cohort in cohorts:
        np.testing.assert_array_equal(cohort.haplotypes, cohorts[0].haplotypes)
    assert cohorts[0].samples[-1] == "synthetic300"
    part = bench(
        *("generate", "tiny", "-g", "vae", "-n", "40", "--start", "500", "--to", "part.vcz")
    )
    assert part[0] == 0, part
    found = read_panel(tmp_path / "part.vcz")[0]
    np.testing.assert_array_equal(found.haplotypes, cohorts[0].haplotypes[500:540])
    assert found.samples[0] == "synthetic251"

    names = ("HG00096", "HG00171")
    way = bench(
        *("explore", "tiny", "-g", "vae", "--from", names[0], "--until", names[1]),
        *("--steps", "5", "--to", "way"),
    )
    assert way[0] == 0, way
    steps = read_panel(tmp_path / "way" / "haplotypes.vcf.gz")[0]
    assert steps.samples.tolist() == [f"step{i}" for i in range(1, 6)]
    assert np.load(tmp_path / "way" / "latents.npy").shape[0] == 4
    assert (tmp_path / "way" / "pca.svg").read_text().startswith("<svg")
    rows = (tmp_path / "way" / "pca.tsv").read_text().splitlines()
    assert [row.split("\t")[0] for row in rows] == ["person", *names, *steps.samples]
    walk = bench(
        *("explore", "tiny", "-g", "vae", "--from", names[0], "--latent", "0", "--to", "walk"),
        *("--format", "bcf"),
    )
    assert walk[0] == 0, walk
    assert read_panel(tmp_path / "walk" / "haplotypes.bcf")[0].n_samples == 9

    for arguments, message in (
        (["generate", "tiny", "-g", "vea", "-n", "4", "--to", "y.bcf"], "there are: eur/copycat"),
        (["generate", "tiny", "-g", "vae", "-n", "4", "--to", "y.bed"], "can't be streamed"),
        (["generate", "tiny", "-g", "vae", "-n", "4", "--to", "y.bcf", "--population", "JPT"],
         "'JPT' is asked for"),
        (["explore", "tiny", "-g", "independent", "--from", names[0], "--latent", "0",
          "--to", "z"], "no latent space to explore"),
        (["explore", "tiny", "-g", "vae", "--from", "Anna", "--latent", "0", "--to", "z"],
         "nobody is called 'Anna'"),
        (["explore", "tiny", "-g", "vae", "--from", names[0], "--to", "z"], "either --until"),
    ):  # fmt: skip
        code, _, complaint = bench(*arguments)
        assert code == 2, (arguments, complaint)
        assert message in complaint
        assert len(complaint.strip().splitlines()) == 1
